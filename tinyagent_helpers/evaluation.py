"""How good is a planner? Its success on every test split, with intervals."""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tinyagent_helpers.artifacts import DATA, read_jsonl
from tinyagent_helpers.models import LanguageModel
from tinyagent_helpers.planner import write_plans
from tinyagent_helpers.prompts import ExampleIndex, PromptTemplate
from tinyagent_helpers.scoring import score, wilson

HANDWRITTEN = DATA / "handwritten" / "test.jsonl"
TEST_SPLITS = ("test_draws", "test_patterns", "test_combinations")


def read_test_splits(data: Path, limit: int) -> dict[str, list[dict[str, Any]]]:
    """Up to `limit` rows of every test split that `synthesize` left in `data`, and of the hand-written test half."""
    files = {split: data / f"{split}.jsonl" for split in TEST_SPLITS} | {"handwritten": HANDWRITTEN}
    return {
        name: list(islice(read_jsonl(file, ("id", "request", "now", "plan")), limit)) for name, file in files.items()
    }


def evaluate(
    model: LanguageModel,
    template: PromptTemplate,
    splits: Mapping[str, Sequence[Mapping[str, Any]]],
    report: Callable[[str], None] = lambda line: None,
    index: ExampleIndex | None = None,
) -> list[dict[str, Any]]:
    """A row for every split: n, success and argument-aware rate in percent, each with its 95 % interval."""
    figures = []
    for name, rows in splits.items():
        plans = write_plans(model, template, rows, index=index)
        result = score(plans, {row["id"]: row["plan"] for row in rows})
        figures.append({"split": name, "n": result.n} | _rate("success", result.successes, result.n))
        figures[-1] |= _rate("arguments too", result.agreements, result.n)
        report(f"{name}: {figures[-1]}")
    return figures


def _rate(name: str, k: int, n: int) -> dict[str, Any]:
    low, high = wilson(k, n)
    return {f"{name}, %": round(100 * k / n, 1), f"{name}, interval": f"{100 * low:.0f} to {100 * high:.0f}"}
