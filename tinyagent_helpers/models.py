"""One interface to language models: llama.cpp or transformers in this process, or any OpenAI-compatible server.

A prompt goes in as one text. A model with a chat template gets it as the user's message, any other as it is. Text comes out
up to and with `END_OF_PLAN`, or until the model stops by itself. Decoding is greedy, unless samples are asked for. Weights are
read from GGUF and safetensors only. Nothing here imports torch, whose start alone takes longer than a plan.
"""

import codecs
import json
import os
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tinyagent_helpers.artifacts import DATA, InputError, read_json
from tinyagent_helpers.plans import END_OF_PLAN
from tinyagent_helpers.profiles import Profile
from tinyagent_helpers.prompts import check_length

NANO_BASE = DATA / "models" / "nano-base"
NANO_ADAPTER = DATA / "models" / "nano-adapter"
NANO_PLANNER = DATA / "models" / "nano-planner" / "planner.gguf"  # the two in one file, for llama.cpp
NANO_PLANNER_Q4 = NANO_PLANNER.with_name("planner-Q4_0.gguf")  # in four bits
NANO_CALLER = DATA / "models" / "nano-caller"  # the base, trained on with made-up functions, for the leaderboard
NANO_CALLER_Q4 = NANO_CALLER / "caller-Q4_0.gguf"
FILE_TYPES = {"0": "F32", "1": "F16", "2": "Q4_0", "7": "Q8_0", "15": "Q4_K_M"}  # llama.cpp's numbers for some of them
MAX_NEW_TOKENS = 300
MOST_SAID = 200_000  # characters of one answer that are read from a server
CHAT_OPTIONS = {"enable_thinking": False}  # a plan is wanted at once, also of models that could think aloud first
SMALL = (
    50e6  # bytes; so small a model gains a twentieth of a second from two threads, and loses many if they have to wait
)
TEMPLATE_KEY = "tinyagent.template"  # where a GGUF file says what prompt template it was trained on


Message = Mapping[str, Any]


class LanguageModel(Protocol):
    """Continues prompts. `template` is the hash of the prompt template it was trained on, "" for a general model;
    `context` is how many tokens it reads and writes, together."""

    name: str
    template: str
    context: int

    def count_tokens(self, prompt: str) -> int:
        """How many tokens the model reads for this prompt."""

    def stream(self, prompt: str, limit: int = MAX_NEW_TOKENS) -> Iterator[str]:
        """The continuation, piece by piece, at most `limit` tokens."""

    def complete(self, prompts: Sequence[str], limit: int = MAX_NEW_TOKENS) -> list[str]:
        """The continuations of many prompts."""

    def call(self, messages: Sequence[Message], functions: Sequence[Message], limit: int = MAX_NEW_TOKENS) -> str:
        """The answer to a conversation in which functions are offered, in OpenAI's format; calls are marked as
        <tool_call>{"name": ..., "arguments": {...}}</tool_call> by most models, and by servers here."""


def threads_for(path: str | Path) -> int:
    """How many threads llama.cpp should use for a file on this machine."""
    from psutil import cpu_count

    return 1 if Path(path).stat().st_size < SMALL else cpu_count(logical=False) or 1


class LlamaCppModel:
    """A GGUF file in this process, through llama.cpp. What a prompt begins with in common with the last one, or with one that was
    given to `keep`, is not read again; `draft` tokens at a time are looked up in the prompt before they are computed (see
    `decoding`); by default neither is done but the first.

    Raises:
        InputError: the file is not there, or not a model that llama.cpp can read.
    """

    def __init__(self, path: str | Path, draft: int = 0, threads: int = 0):
        from llama_cpp import Llama

        from tinyagent_helpers.decoding import Decoder

        if not Path(path).is_file():
            raise InputError(f"there is no file {path}; make one with tinyagent quantize")
        threads = threads or threads_for(path)
        options = {"n_ctx": 0, "n_gpu_layers": -1, "n_threads": threads, "n_threads_batch": threads, "verbose": False}
        try:
            self._llama = Llama(str(path), **options)
        except ValueError as error:
            raise InputError(f"llama.cpp cannot read {path} ({error}); is it a whole GGUF file?") from None
        weakref.finalize(self, self._llama.close)  # before the interpreter takes apart what closing needs
        self.name, self.template = Path(path).stem, self._llama.metadata.get(TEMPLATE_KEY, "")
        self.context, self.decoder = self._llama.n_ctx(), Decoder(self._llama, draft)
        self._chat = self._llama.metadata.get("tokenizer.chat_template")
        number = self._llama.metadata.get("general.file_type", "")
        self.type = FILE_TYPES.get(number, f"llama.cpp's type {number}")

    def ids(self, prompt: str) -> list[int]:
        """The tokens that the model reads for a prompt."""
        if self._chat:
            return self.tokens(self.rendered(prompt))
        return self._llama.tokenize(prompt.encode(), add_bos=True, special=True)  # if the model wants one

    @property
    def start(self) -> str:
        """The text of the token that every text begins with, "" for none."""
        return _mark(self._llama, self._llama.token_bos())

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text, and no others."""
        return self._llama.tokenize(text.encode(), add_bos=False, special=True)

    def count_tokens(self, prompt: str) -> int:
        """How many tokens the model reads for this prompt."""
        return len(self.ids(prompt))

    def keep(self, prompt: str) -> None:
        """Read a prompt and keep what the model knows of it: what others begin with in common with it is not read again."""
        self.decoder.keep(self.ids(prompt))

    def stream(self, prompt: str, limit: int = MAX_NEW_TOKENS, grammar: str = "") -> Iterator[str]:
        """The continuation, piece by piece; if a grammar is given, in its language."""
        return until_end(self._pieces(self.ids(prompt), limit, grammar))

    def complete(self, prompts: Sequence[str], limit: int = MAX_NEW_TOKENS) -> list[str]:
        """The continuations, one after another."""
        return ["".join(self.stream(prompt, limit)) for prompt in prompts]

    def call(self, messages: Sequence[Message], functions: Sequence[Message], limit: int = MAX_NEW_TOKENS) -> str:
        """The answer to a conversation in which functions are offered; a file without a chat template cannot be offered any.

        Raises:
            InputError: it has none, or (TooLong) the conversation does not fit.
        """
        check_can_call(self._chat, self.name)
        ids = self.tokens(conversation_text(self._llama, messages, functions))
        check_length(len(ids), limit, self.context)
        return "".join(self._pieces(ids, limit))

    def _pieces(self, ids: Sequence[int], limit: int, grammar: str = "") -> Iterator[str]:
        decoder, end = codecs.getincrementaldecoder("utf-8")("replace"), self._llama.token_eos()
        for token in self.decoder.tokens(ids, limit, end, grammar):
            text = decoder.decode(self._llama.detokenize([token], special=True))
            if token != end or text == END_OF_PLAN:
                yield text
            if token == end:
                return

    def rendered(self, prompt: str) -> str:
        """The text that the model reads for a prompt: the prompt, or what its chat template makes of it."""
        return chat_text(self._llama, prompt)


def chat_text(llama: Any, prompt: str) -> str:
    """A prompt as a loaded GGUF file's chat template wraps it; as it is, if the file has none."""
    if not llama.metadata.get("tokenizer.chat_template"):
        return prompt
    return conversation_text(llama, [{"role": "user", "content": prompt}])


def conversation_text(llama: Any, messages: Sequence[Message], functions: Sequence[Message] = ()) -> str:
    """A conversation, and the functions offered in it, as a loaded GGUF file's chat template writes them."""
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    template = llama.metadata["tokenizer.chat_template"]
    marks = {"eos_token": _mark(llama, llama.token_eos()), "bos_token": _mark(llama, llama.token_bos())}
    offered = {"tools": list(functions)} if functions else {}
    return Jinja2ChatFormatter(template, **marks)(messages=list(messages), **offered, **CHAT_OPTIONS).prompt


def check_can_call(template: str | None, name: str) -> None:
    """See that functions can be offered to a model.

    Raises:
        InputError: it has no chat template, or one that does not speak of tools.
    """
    if "tools" not in (template or ""):
        raise InputError(f"{name} has no chat template that offers functions; ask it in plan or in prompt mode")


def _mark(llama: Any, token: int) -> str:
    return llama.detokenize([token], special=True).decode() if token >= 0 else ""


class ServerModel:
    """A model behind an OpenAI-compatible server: llama.cpp, vLLM, Ollama, LM Studio or a hosted one."""

    def __init__(self, url: str, name: str, *, template: str = "", context: int = 32_768, timeout: float = 60.0):
        from openai import OpenAI  # takes a second, which a cold `ask` does not have

        self.name, self.template, self.context = name, template, context
        key = (
            os.environ.get("OPENAI_API_KEY", "none") if url.startswith("https://") else "none"
        )  # a key is no plain text
        self._client = OpenAI(base_url=url, api_key=key, timeout=timeout)

    def count_tokens(self, prompt: str) -> int:
        """An upper estimate, as servers have no common way to count: no tokenizer makes more tokens than bytes."""
        return len(prompt.encode())

    def stream(self, prompt: str, limit: int = MAX_NEW_TOKENS) -> Iterator[str]:
        """The continuation, piece by piece. Servers keep the mark at which a model stops to themselves; it is added, so that a
        plan is the same text as in one process.

        Raises:
            InputError: the server cannot be used.
        """
        message = {"role": "user", "content": prompt}
        yield from until_end(_said(choice) for choice in self._choices([message], limit))

    def call(self, messages: Sequence[Message], functions: Sequence[Message], limit: int = MAX_NEW_TOKENS) -> str:
        """The answer to a conversation in which functions are offered, its calls marked as other models mark them.

        Raises:
            InputError: the server cannot be used, or (TooLong) the conversation does not fit.
        """
        check_length(self.count_tokens(json.dumps([*messages, *functions])), limit, self.context)
        text, calls = "", {}
        for choice in self._choices(map(_with_text_arguments, messages), limit, tools=list(functions)):
            text += choice.delta.content or ""
            for part in choice.delta.tool_calls or ():
                name, arguments = calls.setdefault(part.index, ("", ""))
                calls[part.index] = name + (part.function.name or ""), arguments + (part.function.arguments or "")
            if len(text) + sum(len(arguments) for _, arguments in calls.values()) > MOST_SAID:
                break
        marked = [
            f'<tool_call>{{"name": {json.dumps(n)}, "arguments": {a or "{}"}}}</tool_call>' for n, a in calls.values()
        ]
        return "\n".join([text, *marked] if text else marked)

    def _choices(self, messages: Iterable[Message], limit: int, **more: Any) -> Iterator[Any]:
        """What the server says, piece by piece."""
        from httpx import HTTPError
        from openai import APIError

        asked = {"model": self.name, "messages": list(messages), "max_tokens": limit, "temperature": 0, **more}
        try:
            with self._client.chat.completions.create(**asked, stream=True) as chunks:
                yield from (chunk.choices[0] for chunk in chunks if chunk.choices)
        except (APIError, HTTPError) as error:
            raise InputError(
                f"{self.name} does not answer ({error}); check the URL, the model's name and the key"
            ) from None

    def complete(self, prompts: Sequence[str], limit: int = MAX_NEW_TOKENS) -> list[str]:
        """The continuations, one after another."""
        return ["".join(self.stream(prompt, limit)) for prompt in prompts]


def _with_text_arguments(message: Message) -> Message:
    """A message with the arguments of its calls as JSON texts, as servers want them; chat templates want objects."""
    calls = [call["function"] for call in message.get("tool_calls", ())]
    texts = [call | {"arguments": json.dumps(call["arguments"])} for call in calls]
    made = [call | {"function": text} for call, text in zip(message.get("tool_calls", ()), texts)]
    return {**message, "tool_calls": made} if made else message


def _said(choice: Any) -> str:
    return (choice.delta.content or "") + (END_OF_PLAN if choice.finish_reason == "stop" else "")


def until_end(pieces: Iterable[str]) -> Iterator[str]:
    """Pieces of text up to and with the end of the plan, wherever it is cut."""
    seen = given = ""
    for piece in pieces:
        seen += piece
        end = seen.find(END_OF_PLAN)
        whole = seen[: end + len(END_OF_PLAN)] if end >= 0 else seen
        yield whole[len(given) :]
        given = whole
        if end >= 0:
            return


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """What a model is made of, as training left it; nothing for a model from elsewhere."""
    folder = Path(folder)
    path = folder.with_suffix(".json") if folder.suffix == ".gguf" else folder / "manifest.json"
    return read_json(path) if path.exists() else {}


def served_manifest(url: str) -> dict[str, Any]:
    """What `tinyagent serve` says of its planner; nothing for another server."""
    from httpx import HTTPError, get

    try:
        made = get(f"{url.rstrip('/')}/planner", timeout=10).json()
    except (HTTPError, ValueError):
        return {}
    return made if isinstance(made, dict) and isinstance(made.get("template"), str) else {}


def load_planner(profile: Profile, path: str | Path = "", threads: int = 0) -> LanguageModel:
    """A tuned planner: a GGUF file, or the folder that fine-tuning left (an adapter or a whole model, with its manifest); on
    nano and without a path, the one that ships. `threads` for a GGUF file, 0 to choose.

    Raises:
        InputError: it is not there, or not what it should be.
    """
    if not path and profile.name != "nano":
        raise InputError(f"no planner ships for the profile {profile.name}; give --model, the folder that train wrote")
    path = Path(path or NANO_PLANNER)
    if path.suffix == ".gguf":
        return LlamaCppModel(path, threads=threads)
    from tinyagent_helpers.transformers_model import load_trained

    return load_trained(profile, path)
