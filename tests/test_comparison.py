"""The comparison of ways of training: it trains each once, measures all alike, and sums up rightly."""

from dataclasses import replace

import pytest

from tinyagent_helpers import comparison, sizes
from tinyagent_helpers.artifacts import InputError, read_json
from tinyagent_helpers.comparison import LORA, WAYS, Comparing, Ways, compare, summary
from tinyagent_helpers.profiles import PROFILES
from tinyagent_helpers.scoring import mcnemar
from tinyagent_helpers.synthesis import RecordedTeacher, synthesize
from tinyagent_helpers.transformers_model import TransformersModel

NANO, SMALL = PROFILES["nano"], Comparing(rows=4, dpo=4, grpo=4, limit=1)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A little data, and settings that take seconds."""
    synthesize(RecordedTeacher(), 420, 0, tmp_path / "data")
    for settings in (comparison.DPO, comparison.GRPO):
        short = replace(settings["nano"], batch=4, micro_batch=4, generations=2, longest=12)
        monkeypatch.setitem(settings, "nano", short)
    monkeypatch.setitem(comparison.SETTINGS, "nano", replace(comparison.SETTINGS["nano"], batch=4, micro_batch=4))
    monkeypatch.setattr(TransformersModel.complete, "__defaults__", (12,))
    return tmp_path


@pytest.mark.minutes
def test_every_way_is_trained_once_and_measured(small):
    said = []
    rows = compare(NANO, small / "data", small / "runs", [0, 1], SMALL, said.append)
    assert [row["way"] for row in rows] == list(WAYS) and all(row["n"] == 4 and row["seeds"] == 2 for row in rows)
    costs = {row["way"]: (row["M tokens"], row["core seconds"]) for row in rows}
    assert costs["base"] == (0, 0) and costs[LORA][0] > costs["start"][0] > 0
    assert costs["LoRA, GRPO, DPO"][0] > costs["start"][0]
    assert all("p" in row for row in rows)
    folders = {path.name for path in (small / "runs" / "seed1").iterdir() if path.is_dir()}
    assert folders >= {"start", "LoRA", "SFT-all-weights", "LoRA-DPO", "LoRA-GRPO", "half-of-GRPO", "LoRA-GRPO-DPO"}
    starts = {
        read_json(small / "runs" / "seed0" / name / "manifest.json")["start"] for name in ("LoRA-DPO", "LoRA-GRPO")
    }
    assert len(starts) == 1, "the same start"
    said.clear()
    assert compare(NANO, small / "data", small / "runs", [0, 1], SMALL, said.append) == rows and not said
    with pytest.raises(InputError, match="measured with other settings or data"):
        compare(NANO, small / "data", small / "runs", [0], replace(SMALL, limit=2), said.append)


def test_sizes_are_measured_from_random_weights(small, monkeypatch):
    monkeypatch.setattr(sizes, "SIZES", {"tiny": (1, 1, 64), "small": (2, 2, 128)})
    said, parts = [], (NANO, small / "data", small / "runs", [0], replace(SMALL, rows=320))
    rows = sizes.measure_sizes(*parts, said.append)
    assert [row["way"] for row in rows] == ["tiny", "small"] and "p" not in rows[0]
    assert rows[0]["M tokens"] == rows[1]["M tokens"] > 0 and rows[0]["n"] == 4
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in said if "loss" in line]
    assert losses[1] < losses[0] - 0.5 and losses[3] < losses[2] - 0.5, "both learn"
    said.clear()
    assert sizes.measure_sizes(*parts, said.append) == rows and not said


def test_too_little_data_and_unknown_ways_are_said(small):
    with pytest.raises(InputError, match="seed 99 needs 800 training rows"):
        compare(NANO, small / "data", small / "runs", [99], SMALL, print)
    with pytest.raises(InputError, match="there is no way 'magic'"):
        Ways(NANO, [], small, 0, SMALL, print).train("magic")


def test_figures_are_means_over_seeds_and_compared_request_by_request():
    def run(*rights):
        splits = {"test_draws": list(rights[:3]), "handwritten": list(rights[3:])}
        return {"success": splits, "arguments": splits, "core_seconds": 15.0, "tokens": 2_000_000}

    found = {
        (0, LORA): run(True, False, False, True), (0, "other"): run(True, True, True, True),
        (1, LORA): run(False, False, False, True), (1, "other"): run(True, True, False, False),
    }  # fmt: skip
    one, other = summary(found, {"test_draws": [1, 2, 3], "handwritten": [1]})
    assert (one["all, %"], other["all, %"]) == (37.5, 75.0) and other["by seed"] == "100, 50"
    assert other["draws, %"] == round(100 * (1 + 2 / 3) / 2, 1) and other["handwritten, %"] == 50.0
    assert (other["only this right"], other["only LoRA right"]) == (4, 1)
    assert other["p"] == pytest.approx(mcnemar([True] * 4 + [False], [False] * 4 + [True]), abs=0.01)
    assert one["p"] == 1.0 and other["M tokens"] == 2.0 and other["core seconds"] == 15
