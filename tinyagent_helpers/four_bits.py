"""What do four bits cost a planner, and does training with them give it back? The same tests for all, as `ask` would plan.

Source of the question: the TinyAgent blog post, table 2. Read and discussed in notebook 06; made by `tinyagent four-bits`, whose
runs are kept and gone on with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit

from tinyagent_helpers.artifacts import make_folder, once
from tinyagent_helpers.comparison import Report, costs, outcomes, summary, training_rows
from tinyagent_helpers.evaluation import read_test_splits
from tinyagent_helpers.examples import training_pairs
from tinyagent_helpers.models import NANO_ADAPTER, LlamaCppModel
from tinyagent_helpers.profiles import Profile
from tinyagent_helpers.prompts import template_of
from tinyagent_helpers.quantize import export
from tinyagent_helpers.quick_classifier import load_retriever
from tinyagent_helpers.simulated import change_weights, importance, restore_weights
from tinyagent_helpers.toolrag import Retriever
from tinyagent_helpers.training import SETTINGS, fine_tune, provenance
from tinyagent_helpers.transformers_model import TransformersModel, load_base, load_trained

SIXTEEN, AWARE = "16 bits, F16", "trained with Q4_0, Q4_0"
CALIBRATING = 64  # pairs that say which columns are used most


@dataclass(frozen=True)
class Rounding:
    """What the planner that ships is trained on further, once with whole weights and once with simulated four bits: `rows`
    rows at the rate `rate`. `limit` requests of every test split judge."""

    rows: int = 240
    rate: float = 0.001
    weight_decay: float = 0.1
    all_tools: float = 0.3
    limit: int = 60


def nf4(weights: torch.Tensor, group: int = 64) -> torch.Tensor:
    """What is left of weights after NF4 (Dettmers et al., 2023): sixteen levels that lie as a normal distribution's values do,
    scaled by the farthest of every `group` weights. By bitsandbytes."""
    return dequantize_4bit(*quantize_4bit(weights.detach().contiguous(), blocksize=group, quant_type="nf4")).to(
        weights.dtype
    )


def measure_rounding(
    profile: Profile,
    data: Path,
    folder: Path,
    seeds: Sequence[int],
    settings: Rounding,
    report: Report,
    start: Path = NANO_ADAPTER,
) -> list[dict[str, Any]]:
    """Train on with every seed, write what comes of it in several kinds of file, and measure each on the same requests.

    Returns:
        A row for every kind, see `comparison.summary`, with its file's size. What was made is kept in `folder`.

    Raises:
        InputError: there are too few training rows, or the folder holds what was made of other settings or data.
    """
    tests, template, found, sizes = read_test_splits(data, settings.limit), template_of(profile, 0), {}, {}
    shown = _shown(load_retriever(), tests)
    for seed in seeds:
        rows, place = training_rows(data, seed, settings.rows), make_folder(folder / f"seed{seed}")
        for way, make in _ways(profile, rows, place, seed, settings, start, report).items():

            def measure(way: str = way, make: Callable = make, place: Path = place) -> dict[str, Any]:
                report(f"{place.name}: {way}")
                planner, step = make()
                return outcomes(planner, template, tests, shown) | costs([step])

            path = place / f"{way}.json"
            found[seed, way] = once(path, (settings, SETTINGS[profile.name], rows, tests), measure)
            sizes.setdefault(way, round(path.with_suffix(".gguf").stat().st_size / 1e6, 2))
    rows = summary(found, tests, SIXTEEN)
    return [{"way": row.pop("way"), "MB": sizes[way]} | row for way, row in zip(sizes, rows, strict=True)]


def _ways(
    profile: Profile, rows: Sequence[Any], place: Path, seed: int, settings: Rounding, start: Path, report: Report
) -> dict[str, Callable[[], tuple[LlamaCppModel, Path]]]:
    """How each file is made: its planner, and the folder of the training behind it."""
    template = template_of(profile, 0)

    @cache
    def pairs() -> list[Any]:
        usual = SETTINGS[profile.name]
        return training_pairs(rows, template, seed, usual.negatives, all_tools=settings.all_tools)

    @cache
    def trained(simulate: bool) -> tuple[TransformersModel, Path]:
        folder = place / ("simulated" if simulate else "whole")
        changes = {
            "rows": len(rows),
            "rate": settings.rate,
            "weight_decay": settings.weight_decay,
            "simulate": simulate,
        }
        changes |= {"all_tools": settings.all_tools, "validation": 0, "seed": seed}
        tuning = replace(SETTINGS[profile.name], **changes)
        base = load_base(profile)
        fine_tune(base, pairs(), [], template, tuning, folder, provenance(profile), report, start=start)
        return load_trained(profile, folder), folder

    def file(way: str, kind: str, simulate: bool = False, change: Any = None, calibrated: bool = False) -> Any:
        model, folder = trained(simulate)
        parts = model.model, model.tokenizer
        columns = importance(*parts, pairs()[:CALIBRATING]) if calibrated else {}
        before = change_weights(model.model, change) if change else None
        made = export(*parts, place / f"{way}.gguf", kind, model.template, columns)
        if before:
            restore_weights(model.model, before)
        return made, folder

    ways = {
        SIXTEEN: {"kind": "F16"},
        "8 bits, Q8_0": {"kind": "Q8_0"},
        "4 bits, Q4_K_M": {"kind": "Q4_K_M"},
        "4 bits, Q4_0": {"kind": "Q4_0"},
        "4 bits, Q4_0, calibrated": {"kind": "Q4_0", "calibrated": True},
        "4 bits, NF4, kept as F16": {"kind": "F16", "change": lambda _, weight: nf4(weight)},
        AWARE: {"kind": "Q4_0", "simulate": True},
    }
    return {way: lambda way=way, how=how: file(way, **how) for way, how in ways.items()}


def _shown(retriever: Retriever, tests: Any) -> Callable[[Any], Any]:
    """The tools that are found for a row of the tests; all, if none are."""
    rows = [row for split in tests.values() for row in split]
    found = dict(zip((row["request"] for row in rows), retriever.retrieve([row["request"] for row in rows])))
    return lambda row: found[row["request"]] or retriever.tools
