"""How long a planner takes: reading its prompt and writing its plan, in 16 bits and fewer. Read and discussed in notebook 06.

Latency does not depend on the weights' values: a TinyLlama with random weights is as slow as a trained one. What it would write is
no plan, though, so it is made to write a given one, as fast as its way of decoding allows.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from tinyagent_helpers.artifacts import make_folder, once
from tinyagent_helpers.decoding import DRAFT, Decoder, look_up
from tinyagent_helpers.models import LlamaCppModel
from tinyagent_helpers.prompts import PromptTemplate
from tinyagent_helpers.quantize import TYPES, export
from tinyagent_helpers.tools import MAC_TOOLS

TINYLLAMA = {
    "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 32, "num_key_value_heads": 4,
    "vocab_size": 32_000, "max_position_embeddings": 4096, "tie_word_embeddings": False,
}  # fmt: skip
PROMPTS = (2_762, 1_397)  # tokens, with all tools and with those of ToolRAG: blog post, table 1
NEW = 60  # tokens of a plan
REQUEST = "Invite Sid and Lutfi to a meeting tomorrow at 3 pm"
PLAN = """1. get_email_address("Sid")
2. get_email_address("Lutfi")
3. create_calendar_event("Meeting", "2024-05-25 15:00:00", "2024-05-25 16:00:00", "", ["$1", "$2"], "", "")
4. join()<END_OF_PLAN>"""
CHANGING = 150  # tokens at the end of a prompt that another request changes: date and request


def write_given(decoder: Decoder, prompt: Sequence[int], plan: Sequence[int], draft: int = 0) -> int:
    """Let a model that has read a prompt write this plan, whatever it would have written: token by token, or with drafts that
    are looked up and kept as far as the plan agrees. Returns how often the model was asked."""
    steps, seen = decoder.steps, [*prompt, plan[0]]
    while len(seen) < len(prompt) + len(plan):
        left = plan[len(seen) - len(prompt) :]
        guess = look_up(seen, draft=min(draft, len(left) - 1)) if draft else []
        decoder.read(seen + guess, len(guess) + 1)
        right = next((i for i, (a, b) in enumerate(zip(guess, left)) if a != b), len(guess))
        seen += left[: right + 1]
    return decoder.steps - steps


def random_tinyllama(tokenizer: PreTrainedTokenizerBase, folder: Path) -> dict[str, Path]:
    """TinyLlama's shape with random weights, as a GGUF file of every kind; those that are there are not made again."""
    paths = {kind: make_folder(folder) / f"{kind}.gguf" for kind in TYPES}
    missing = [kind for kind, path in paths.items() if not path.exists()]
    if missing:
        torch.manual_seed(0)
        ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
        model = LlamaForCausalLM(LlamaConfig(**TINYLLAMA, **ends)).half()
        for kind in missing:
            export(model, tokenizer, paths[kind], kind)
    return paths


def measure_latency(
    paths: Mapping[str, Path],
    folder: Path,
    threads: int,
    report: Callable[[str], None],
    prompts: Sequence[int] = PROMPTS,
    repeats: int = 3,
) -> list[dict[str, Any]]:
    """A row for every file and length of prompt: seconds for reading all of the prompt, or only its end where the rest was kept;
    for writing the plan, or with drafts looked up; and for what that makes together, compared with the first file's. Medians
    of `repeats` runs, with the range of the whole. A file's rows are kept in `folder` and not measured again.

    Raises:
        InputError: the folder holds what was measured otherwise.
    """
    rows, how = [], (threads, tuple(prompts), repeats)
    for kind, path in paths.items():
        found = once(folder / f"{kind}.json", how, lambda: {"rows": [*_measured(path, *how)]})["rows"]
        rows += [{"file": kind} | row for row in found]
        report(f"{kind}: {found}")
    for row in rows:
        whole = next(r["read, s"] + r["write, s"] for r in rows if r["prompt"] == row["prompt"])
        together = {"both": row["read, s"] + row["write, s"], "kept": row["prefix kept, s"] + row["write, s"]}
        together["kept, lookup"] = row["prefix kept, s"] + row["lookup, s"]
        row |= {f"{name}, of F16's": round(seconds / whole, 2) for name, seconds in together.items()}
    return rows


def _measured(path: Path, threads: int, prompts: Sequence[int], repeats: int) -> Iterator[dict[str, Any]]:
    before = psutil.Process().memory_info().rss
    model = LlamaCppModel(path, threads=threads)
    for length in prompts:
        prompt, plan = _given(model, length)
        made = [_once(model.decoder, prompt, plan) for _ in range(repeats)]
        totals = [one["read, s"] + one["write, s"] for one in made]
        row = {"GB": round(path.stat().st_size / 1e9, 3), "threads": threads, "prompt": length, "new": len(plan)}
        row |= {"memory, MB": round((psutil.Process().memory_info().rss - before) / 1e6)}
        row |= {name: round(median(one[name] for one in made), 2) for name in made[0]}
        yield row | {"read and write, range": f"{min(totals):.2f} to {max(totals):.2f}"}


def _once(decoder: Decoder, prompt: list[int], plan: list[int]) -> dict[str, float]:
    """Seconds of each part, in one run."""
    made: dict[str, float] = {}
    decoder.forget()
    _timed(made, "read, s", lambda: decoder.read(prompt))
    _timed(made, "write, s", lambda: write_given(decoder, prompt, plan))
    _timed(made, "lookup, s", lambda: write_given(decoder, prompt, plan, DRAFT))
    decoder.keep(prompt[:-CHANGING])
    decoder.read(plan)  # another prompt comes in between
    _timed(made, "prefix kept, s", lambda: decoder.read(prompt))
    return made


def _timed(made: dict[str, float], name: str, work: Callable[[], Any]) -> None:
    started = time.perf_counter()
    work()
    made[name] = time.perf_counter() - started


def _given(model: LlamaCppModel, length: int) -> tuple[list[int], list[int]]:
    """A planner's prompt of so many tokens, and a plan of `NEW`."""
    prompt = model.tokens(PromptTemplate().plan(REQUEST, datetime(2024, 5, 24, 9), MAC_TOOLS))
    written = model.tokens(PLAN)
    return (prompt * (length // len(prompt) + 1))[-length:], (written * (NEW // len(written) + 1))[:NEW]
