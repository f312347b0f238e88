"""Language models in this process through transformers: loaded from safetensors, trained or tuned, and continued in batches.
See `models` for the interface."""

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, TextIteratorStreamer
from transformers.utils.logging import disable_progress_bar

from tinyagent_helpers.artifacts import InputError, digest, read_json
from tinyagent_helpers.models import (
    CHAT_OPTIONS,
    MAX_NEW_TOKENS,
    NANO_BASE,
    Message,
    check_can_call,
    read_manifest,
    until_end,
)
from tinyagent_helpers.plans import END_OF_PLAN
from tinyagent_helpers.profiles import Profile
from tinyagent_helpers.prompts import check_length

disable_progress_bar()
UNSEEN = -100  # the label of a token that is not learned


class TransformersModel:
    """A model in this process. `batch` is how many prompts are continued at once."""

    def __init__(self, model: Any, tokenizer: Any, *, name: str, template: str = "", batch: int = 16):
        self.model, self.tokenizer = model.eval(), tokenizer
        self.name, self.template, self.batch = name, template, batch
        self.context = model.config.max_position_embeddings
        self._own_end = tokenizer.eos_token == END_OF_PLAN  # else the end of a plan is text like any other

    def count_tokens(self, prompt: str) -> int:
        """How many tokens the model reads for this prompt."""
        return len(self.ids(prompt))

    def stream(self, prompt: str, limit: int = MAX_NEW_TOKENS) -> Iterator[str]:
        """The continuation, piece by piece; generation runs in a thread and stops when nobody listens any more."""
        streamer = TextIteratorStreamer(self.tokenizer, skip_prompt=True, skip_special_tokens=not self._own_end)
        abandoned, failed = threading.Event(), []

        def work() -> None:
            try:
                self._generate([self.ids(prompt)], limit, streamer, lambda *_: abandoned.is_set())
            except Exception as error:  # whatever it is, it is raised where the stream is read
                failed.append(error)
            finally:
                streamer.end()

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        try:
            yield from until_end(streamer)
            if failed:
                raise failed[0]
        finally:
            abandoned.set()
            worker.join()

    def complete(self, prompts: Sequence[str], limit: int = MAX_NEW_TOKENS) -> list[str]:
        """The continuations of many prompts, those of like length together; in the order of the prompts."""
        ids = [self.ids(prompt) for prompt in prompts]
        texts, order = {}, sorted(range(len(ids)), key=lambda i: len(ids[i]))
        for start in range(0, len(order), self.batch):
            numbers = order[start : start + self.batch]
            made = self.tokenizer.batch_decode(
                self._generate([ids[i] for i in numbers], limit), skip_special_tokens=not self._own_end
            )
            texts |= {i: "".join(until_end([text])) for i, text in zip(numbers, made, strict=True)}
        return [texts[i] for i in range(len(prompts))]

    def sample(
        self, prompt: str, count: int, temperature: float = 1.0, seed: int = 0, limit: int = MAX_NEW_TOKENS
    ) -> list[str]:
        """Continuations drawn by chance: each token as often as the model thinks it likely, at this temperature."""
        torch.manual_seed(seed)
        made = self._generate([self.ids(prompt)] * count, limit, temperature=temperature)
        texts = self.tokenizer.batch_decode(made, skip_special_tokens=not self._own_end)
        return ["".join(until_end([text])) for text in texts]

    def ids(self, prompt: str) -> list[int]:
        """The tokens that the model reads for a prompt."""
        if not self.tokenizer.chat_template:
            return self.tokenizer(prompt)["input_ids"]
        return self._conversation([{"role": "user", "content": prompt}])

    def _conversation(self, messages: Sequence[Message], functions: Sequence[Message] = ()) -> list[int]:
        """The tokens of a conversation, and of the functions offered in it, by the model's chat template."""
        options = {"tools": list(functions)} if functions else {}
        text = self.tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=True, **options, **CHAT_OPTIONS
        )
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def call(self, messages: Sequence[Message], functions: Sequence[Message], limit: int = MAX_NEW_TOKENS) -> str:
        """The answer to a conversation in which functions are offered.

        Raises:
            InputError: the model has no chat template that does so, or (TooLong) the conversation does not fit.
        """
        check_can_call(self.tokenizer.chat_template, self.name)
        ids = self._conversation(messages, functions)
        check_length(len(ids), limit, self.context)
        return self.tokenizer.decode(self._generate([ids], limit)[0], skip_special_tokens=True)

    @torch.inference_mode()
    def _generate(
        self, prompts: Sequence[list[int]], limit: int, streamer: Any = None, stop: Any = None, temperature: float = 0.0
    ) -> torch.Tensor:
        """Continue prompts together, greedily at temperature 0. What they have in common, such as the tools, is read once:
        (prompts, new tokens)."""
        shared = min(len(os.path.commonprefix(prompts)), min(map(len, prompts)) - 1)
        longest, pad, device = max(map(len, prompts)), self.tokenizer.pad_token_id, self.model.device
        fill = [longest - len(ids) for ids in prompts]  # stands between what is shared and the rest
        ids = [p[:shared] + [pad] * n + p[shared:] for p, n in zip(prompts, fill, strict=True)]
        seen = [[1] * shared + [0] * n + [1] * (len(p) - shared) for p, n in zip(prompts, fill, strict=True)]
        cache = DynamicCache(config=self.model.config)
        if shared and len(prompts) > 1:
            start = torch.tensor([prompts[0][:shared]], device=device)
            self.model(input_ids=start, past_key_values=cache, logits_to_keep=1)
            cache.batch_repeat_interleave(len(prompts))
        made = self.model.generate(
            input_ids=torch.tensor(ids, device=device),
            attention_mask=torch.tensor(seen, device=device),
            past_key_values=cache,
            tokenizer=self.tokenizer,
            stop_strings=None if self._own_end else [END_OF_PLAN],
            stopping_criteria=[stop] if stop else None,
            streamer=streamer,
            max_new_tokens=limit,
            pad_token_id=pad,
            **({"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}),
        )
        return made[:, longest:]


def load_base(profile: Profile, path: str | Path = "", four_bits: bool = False) -> tuple[Any, Any]:
    """The model and tokenizer that a profile's planner starts from, or those at `path` (a folder or the hub's name).

    Raises:
        InputError: they are not there, or the profile may not fetch them.
    """
    source = str(path) or (str(NANO_BASE) if profile.name == "nano" else profile.planner)
    arguments: dict[str, Any] = {"local_files_only": not profile.network}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **arguments)
        if four_bits:
            from transformers import BitsAndBytesConfig

            arguments["quantization_config"] = BitsAndBytesConfig(
                load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
            )
            arguments["device_map"] = {"": device()}
        dtype = torch.bfloat16 if device().type == "cuda" and profile.name != "nano" else torch.float32
        model = AutoModelForCausalLM.from_pretrained(source, use_safetensors=True, dtype=dtype, **arguments)
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        why = (str(error).splitlines() or [repr(error)])[0]
        raise InputError(
            f"the model {source} cannot be loaded: {why}; give a folder with a model, or, with a network, the hub's name"
        ) from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model if four_bits else model.to(device()), tokenizer


def device() -> torch.device:
    """Where models live: this process' GPU, if there is one (LOCAL_RANK is set by `accelerate launch`), or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def computes_bf16() -> bool:
    """Whether this machine computes in bfloat16. Processors without AVX-512 or AMX for it only imitate it: one with AVX2 alone
    multiplied matrices 70 times slower than in 32 bits."""
    if device().type != "cpu":
        return True
    can = torch.cpu.get_capabilities()
    return any(can.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def load_trained(profile: Profile, folder: Path) -> TransformersModel:
    """The planner in a folder that training left: an adapter or a whole model, with its manifest.

    Raises:
        InputError: it is not there, or not what it should be.
    """
    manifest = read_manifest(folder)
    if (folder / "adapter_config.json").exists():
        base = manifest.get("base") or (NANO_BASE if profile.name == "nano" else "")
        model, tokenizer = load_base(profile, base)
        if (weights := manifest.get("weights")) and weights != digest(Path(base or NANO_BASE) / "model.safetensors"):
            raise InputError(
                f"the adapter in {folder} was trained on other weights than those in {base}; train it again"
            )
        add_adapter(model, folder)
    else:
        model, tokenizer = load_base(profile, folder)
    return TransformersModel(model, tokenizer, name=folder.name, template=manifest.get("template", ""))


@torch.no_grad()
def add_adapter(model: Any, folder: Path, scale: float = 1.0) -> None:
    """Add a LoRA adapter to the weights it was trained beside: W + scale * alpha / r * B A (Hu et al., 2021, section 4.1).

    Raises:
        InputError: it is for a model with other layers, or of another kind.
    """
    config = read_json(folder / "adapter_config.json")
    if more := [key for key in ("use_dora", "use_rslora", "alpha_pattern", "rank_pattern") if config.get(key)]:
        raise InputError(f"the adapter in {folder} uses {', '.join(more)}, which is not plain LoRA; train one without")
    try:
        tensors = load_file(folder / "adapter_model.safetensors")
    except (OSError, SafetensorError) as error:
        raise InputError(f"the adapter in {folder} cannot be read ({error}); train it again") from None
    for name, a in tensors.items():
        if ".lora_A." in name:
            b, layer = tensors[name.replace(".lora_A.", ".lora_B.")], name.removeprefix("base_model.model.")
            try:
                weight = model.get_submodule(layer.removesuffix(".lora_A.weight")).weight
                weight += (scale * config["lora_alpha"] / config["r"] * (b.float() @ a.float())).to(weight)
            except (AttributeError, RuntimeError) as error:
                raise InputError(f"the adapter in {folder} was trained on another base ({error})") from None
