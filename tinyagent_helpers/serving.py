"""The planner behind an OpenAI-compatible server on this machine: llama-cpp-python's, with the retriever in front. See notebook 07.

A chat message that is already a planner's or joiner's prompt is continued as it is: so the agent talks to it. Any other message
is a request: the server finds the tools for it, writes the prompt, and answers with the plan, so that any chat client can ask.
"""

import asyncio
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from llama_cpp import Llama
from llama_cpp.llama_chat_format import (
    ChatFormatterResponse,
    LlamaChatCompletionHandlerRegistry,
    chat_formatter_to_chat_completion_handler,
)
from llama_cpp.server.app import create_app, get_llama_proxy
from llama_cpp.server.settings import ModelSettings, ServerSettings

from tinyagent_helpers.artifacts import InputError
from tinyagent_helpers.models import MAX_NEW_TOKENS, TEMPLATE_KEY, LanguageModel, chat_text, threads_for
from tinyagent_helpers.planner import ModelPlanner
from tinyagent_helpers.plans import END_OF_PLAN
from tinyagent_helpers.prompts import HOW_TO_JOIN, WHAT_A_PLAN_IS

LOOPBACK, NAME = "127.0.0.1", "tinyagent"
STOPS_WITHIN = 10.0  # seconds
CACHE = 512 << 20  # bytes of prompts that stay read
OPENINGS = (WHAT_A_PLAN_IS[0].partition("{")[0], HOW_TO_JOIN)  # how the template's prompts begin
GREEDY = {
    "temperature": 0.0,
    "repeat_penalty": 1.0,
}  # the server's own 1.1 changes many plans, see notebook 07

HEARD = ("llama", "model", "stream", "stop")  # what a client may say; a plan is the same for everybody
SERVED = ("/v1/chat/completions", "/v1/models", "/v1/planner")


class PlannerChat:
    """Answers chat messages for llama-cpp-python's server, always greedily."""

    def __init__(self, planner: ModelPlanner):
        self.planner = planner
        self._continue = chat_formatter_to_chat_completion_handler(self._format)

    def _format(self, *, messages: Sequence[Mapping[str, Any]], **_: Any) -> ChatFormatterResponse:
        """The prompt; wrapped, for a chat model, which then has its own first token already."""
        message = _last_of_user(messages)
        try:
            prompt = message if message.startswith(OPENINGS) else self.planner.prompt(message, datetime.now())
        except InputError as error:
            raise HTTPException(400, str(error)) from None
        wrapped = self.planner.model.rendered(prompt)
        return ChatFormatterResponse(wrapped, stop=[END_OF_PLAN], added_special=wrapped != prompt)

    def __call__(self, *, messages: Sequence[Mapping[str, Any]], **options: Any) -> Any:
        """One chat completion, or its chunks. A plan for a mere request comes as it is read, see `PromptTemplate.read`."""
        kept = {name: value for name, value in options.items() if name in HEARD}
        most = min(options.get("max_tokens") or MAX_NEW_TOKENS, MAX_NEW_TOKENS)
        answer = self._continue(messages=messages, **kept, **GREEDY, max_tokens=most)
        if _last_of_user(messages).startswith(OPENINGS):
            return answer
        if options.get("stream"):
            return self._as_plan(answer, "delta")
        return next(self._as_plan(iter([answer]), "message"))

    def _as_plan(self, chunks: Iterator[dict[str, Any]], part: str) -> Iterator[dict[str, Any]]:
        waiting: deque[str] = deque()
        read = self.planner.template.read(waiting.popleft() for _ in iter(int, 1))  # one piece out for every piece in
        for chunk in chunks:
            said = chunk["choices"][0][part]
            if said.get("content"):
                waiting.append(said["content"])
                said["content"] = next(read)
            yield chunk


def _last_of_user(messages: Sequence[Mapping[str, Any]]) -> str:
    texts = [m["content"] for m in messages if m.get("role") == "user" and isinstance(m.get("content"), str)]
    return texts[-1] if texts else ""


class Served:
    """The server's model as far as a planner needs it to write a prompt: it counts tokens."""

    def __init__(self, llama: Llama):
        self._llama, self.name, self.context = llama, NAME, llama.n_ctx()
        self.template = llama.metadata.get(TEMPLATE_KEY, "")

    def count_tokens(self, prompt: str) -> int:
        """How many tokens the model reads for this prompt."""
        return len(self._llama.tokenize(self.rendered(prompt).encode(), add_bos=True, special=True))

    def rendered(self, prompt: str) -> str:
        """The text that the model reads for a prompt."""
        return chat_text(self._llama, prompt)


def application(path: Path, planner_of: Callable[[LanguageModel], ModelPlanner], made: Mapping[str, Any]) -> FastAPI:
    """The server for a GGUF file. `planner_of` makes the planner whose prompts it shows to its model; `made` is the model's
    manifest, which `GET /v1/planner` shows to agents.

    Raises:
        InputError: the file is not there, llama.cpp cannot read it, or it was trained on another prompt template.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}; make one with tinyagent quantize")
    threads = threads_for(path)
    model = ModelSettings(
        model=str(path), model_alias=NAME, n_ctx=0, n_gpu_layers=-1, logits_all=False, n_threads=threads,
        n_threads_batch=threads, chat_format=NAME, cache=True, cache_type="ram", cache_size=CACHE, verbose=False,
    )  # fmt: skip
    try:
        app = create_app(
            server_settings=ServerSettings(host=LOOPBACK, interrupt_requests=False), model_settings=[model]
        )
    except ValueError as error:
        raise InputError(f"llama.cpp cannot read {path} ({error}); is it a whole GGUF file?") from None
    chat = PlannerChat(planner_of(Served(asyncio.run(_loaded()))))
    LlamaChatCompletionHandlerRegistry().register_chat_completion_handler(NAME, chat, overwrite=True)

    @app.get("/v1/planner")
    def manifest() -> dict[str, Any]:
        return dict(made)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": {"message": error.detail, "type": "invalid_request_error"}}, error.status_code)

    @app.middleware("http")
    async def only_from_here(request: Request, answer: Any) -> Response:
        """A page from elsewhere that is open in a browser can reach 127.0.0.1, too; it is sent away."""
        asked, page = request.headers.get("host", ""), request.headers.get("origin", "")
        if not is_local(f"//{asked}") or (page and not is_local(page)):
            return PlainTextResponse("only programs and pages of this machine are answered", 403)
        if request.url.path not in SERVED:
            return PlainTextResponse(f"there are only {', '.join(SERVED)}", 404)
        return await answer(request)

    return app


async def _loaded() -> Llama:
    async with asynccontextmanager(get_llama_proxy)() as models:
        return models()


def is_local(url: str) -> bool:
    """Whether a URL names this machine."""
    try:
        return urlsplit(url).hostname in (LOOPBACK, "localhost")
    except ValueError:
        return False


def listen(port: int) -> socket.socket:
    """A socket on this machine's own address; port 0 stands for any that is free.

    Raises:
        InputError: the port is taken, or not to be had.
    """
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((LOOPBACK, port))
        opened.listen()
    except (OSError, OverflowError) as error:
        opened.close()
        raise InputError(
            f"cannot listen on port {port} ({error}): choose another one with --port, or stop the program that has it"
        ) from None
    return opened


def serve(app: FastAPI, opened: socket.socket) -> None:
    """Serve until interrupted; the first line printed is the address."""
    print(f"http://{LOOPBACK}:{opened.getsockname()[1]}/v1", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[opened])


@contextmanager
def running(*options: str) -> Iterator[str]:
    """`tinyagent serve` in a process of its own, on a free port; the address of its API.

    Raises:
        InputError: it did not start; with what it said.
    """
    command = [sys.executable, "-m", "tinyagent_helpers", "serve", "--port", "0", *options]
    with tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True)
        try:
            if not (url := process.stdout.readline().strip()):
                process.wait(STOPS_WITHIN)
                complaints.seek(0)
                raise InputError(f"the server did not start: {complaints.read().strip()}")
            yield url
        finally:
            process.terminate()
            try:
                process.wait(STOPS_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
