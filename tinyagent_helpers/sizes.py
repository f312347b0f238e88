"""Does size help? Planners of several sizes, from random weights, all trained on the same rows.

A model that starts from nothing does not learn within minutes to read a list of tools, as the nano base has in two hours: here
prompts show none, and the sixteen tools are learned by heart. Source of the question: TinyLLM (arXiv 2511.22138). Read and
discussed in notebook 05; made by `tinyagent sizes`, whose finished sizes are not done again.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from tinyagent_helpers.artifacts import make_folder, once
from tinyagent_helpers.comparison import Comparing, Report, outcomes, summary, training_rows
from tinyagent_helpers.evaluation import read_test_splits
from tinyagent_helpers.examples import Pair, plan_pair
from tinyagent_helpers.pretraining import Row, Settings, new_model, new_optimizers, rate, take_step
from tinyagent_helpers.profiles import Profile
from tinyagent_helpers.prompts import template_of
from tinyagent_helpers.quantize import quick
from tinyagent_helpers.trainer import GroupedByLength
from tinyagent_helpers.transformers_model import UNSEEN, TransformersModel, device, load_base

SIZES = {"0.4M": (3, 1, 64), "1.4M": (4, 2, 128), "6.2M": (6, 4, 256)}  # layers, heads, width
SIZING = Comparing(rows=3_000)


def measure_sizes(
    profile: Profile, data: Path, folder: Path, seeds: Sequence[int], settings: Comparing, report: Report
) -> list[dict[str, Any]]:
    """Train a planner of each size with every seed, each seed on rows of its own, and measure them as `compare` does.

    Raises:
        InputError: there are too few training rows, or the folder holds what was made of other settings or data.
    """
    tests, template, found = read_test_splits(data, settings.limit), template_of(profile, 0), {}
    tokenizer = load_base(profile)[1]
    for seed in seeds:
        rows = training_rows(data, seed, settings.rows)
        pairs = [plan_pair(row, template, tools={}) for row in rows]
        for size, (layers, heads, width) in SIZES.items():
            shape = Settings(layers=layers, heads=heads, width=width, vocabulary=len(tokenizer), seed=seed)
            path = make_folder(folder / f"seed{seed}") / size

            def measure(shape: Settings = shape, pairs: Sequence[Pair] = pairs, path: Path = path) -> dict[str, Any]:
                report(f"seed {shape.seed}: {path.name}")
                model, cost = train_from_nothing(shape, pairs, tokenizer, report)
                planner = TransformersModel(model, tokenizer, name=path.name, template=template.hash)
                planner = quick(planner, path.with_name(f"{path.name}.gguf"))
                return outcomes(planner, template, tests, tools=lambda row: {}) | cost

            found[seed, size] = once(path.with_name(f"{size}.json"), (settings, shape, rows, tests), measure)
    return summary(found, tests)


def train_from_nothing(
    settings: Settings, pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerBase, report: Report
) -> tuple[LlamaForCausalLM, Mapping[str, float]]:
    """A new model that has read every pair once, with pre-training's optimizers and rates; and what that cost."""
    started, worked = time.monotonic(), time.process_time()
    settings = replace(settings, steps=len(pairs) // settings.batch)
    model, rows = new_model(settings, tokenizer).to(device()), [_row(pair, tokenizer) for pair in pairs]
    tokens, optimizers = sum(len(row.ids) for row in rows), new_optimizers(model, settings)
    order = list(GroupedByLength([len(row.ids) for row in rows], settings.batch, settings.seed))
    for step in range(settings.steps):
        batch = [rows[number] for number in order[step * settings.batch : (step + 1) * settings.batch]]
        longest = max(len(row.ids) for row in batch)
        batch = [row.padded(longest, tokenizer.pad_token_id) for row in batch]
        loss = take_step(model, optimizers, batch, rate(step, settings))
        if (step + 1) % 20 == 0:
            left = (time.monotonic() - started) / (step + 1) * (settings.steps - step - 1)
            report(f"step {step + 1:,} of {settings.steps:,}, loss {loss:.3f}, {left / 60:.1f} min left")
    return model, {"core_seconds": time.process_time() - worked, "tokens": tokens}


def _row(pair: Pair, tokenizer: PreTrainedTokenizerBase) -> Row:
    """A prompt and its plan, of which only the plan is learned."""
    row, (prompt, plan) = Row(), tokenizer([pair.prompt, pair.completion])["input_ids"]
    row.add(prompt + plan, [UNSEEN] * len(prompt) + plan, first=0, sheet=0, request=0)
    return row
