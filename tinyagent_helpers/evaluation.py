"""How good is a planner? Its success on every test split, with intervals."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tinyagent_helpers.artifacts import DATA, read_jsonl
from tinyagent_helpers.planner import Planned
from tinyagent_helpers.plans import parse_plan
from tinyagent_helpers.scoring import score, wilson
from tinyagent_helpers.toolrag import Retriever
from tinyagent_helpers.toolrag import figures as retrieval_figures
from tinyagent_helpers.tools import MAC_TOOLS, Tool

HANDWRITTEN = DATA / "handwritten" / "test.jsonl"
TEST_SPLITS = ("test_draws", "test_patterns", "test_combinations")


def split_files(data: Path) -> dict[str, Path]:
    """Where each test split is: those that `synthesize` left in `data`, and the hand-written test half."""
    return {split: data / f"{split}.jsonl" for split in TEST_SPLITS} | {"handwritten": HANDWRITTEN}


def read_test_splits(data: Path, limit: int) -> dict[str, list[dict[str, Any]]]:
    """Up to `limit` rows of every test split."""
    fields = ("id", "request", "now", "plan")
    return {name: list(islice(read_jsonl(file, fields), limit)) for name, file in split_files(data).items()}


def needed_tools(row: Mapping[str, Any]) -> dict[str, Tool]:
    """The tools that a row's right plan calls, in the usual order: what a perfect retriever would show."""
    needed = {step.tool for step in parse_plan(row["plan"]).steps}
    return {name: tool for name, tool in MAC_TOOLS.items() if name in needed}


class NeededTools:
    """A perfect retriever, for rows whose right plans are known."""

    tools = MAC_TOOLS

    def __init__(self, rows: Iterable[Mapping[str, Any]]):
        self._needed = {row["request"]: needed_tools(row) for row in rows}

    def retrieve(self, requests: Sequence[str]) -> list[dict[str, Tool]]:
        """Exactly the tools that the right plan calls."""
        return [self._needed[request] for request in requests]


def evaluate(
    write: Callable[[Sequence[Mapping[str, Any]]], Mapping[str, Planned]],
    splits: Mapping[str, Sequence[Mapping[str, Any]]],
    report: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """A row for every split: n, success and argument-aware rate in percent, each with its 95 % interval; and how well tools
    were retrieved, if some were not shown.

    `write` makes a plan for every row, by id.
    """
    figures = []
    for name, rows in splits.items():
        planned = write(rows)
        result = score({id: made.plan for id, made in planned.items()}, {row["id"]: row["plan"] for row in rows})
        figures.append({"split": name, "n": result.n} | _rate("success", result.successes, result.n))
        figures[-1] |= _rate("arguments too", result.agreements, result.n)
        if any(len(made.retrieved) < len(MAC_TOOLS) for made in planned.values()):
            figures[-1] |= _retrieval([planned[row["id"]] for row in rows], [needed_tools(row) for row in rows])
        report(f"{name}: {figures[-1]}")
    return figures


def evaluate_retriever(retriever: Retriever, splits: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """A row for every split: how well the tools that its requests need are found, whatever a planner does with them."""
    figures = []
    for name, rows in splits.items():
        found = retriever.retrieve([row["request"] for row in rows])
        figures.append({"split": name, "n": len(rows)} | _found(found, [needed_tools(row) for row in rows], digits=2))
    return figures


def _retrieval(planned: Sequence[Planned], needed: Sequence[Iterable[str]]) -> dict[str, Any]:
    """How well tools were found, and for how many requests the plan was asked for again."""
    again = {"asked again, %": round(100 * sum(made.again for made in planned) / len(planned), 1)}
    return _found([made.retrieved for made in planned], needed) | again


def _found(shown: Sequence[Iterable[str]], needed: Sequence[Iterable[str]], digits: int = 1) -> dict[str, Any]:
    """How many of the needed tools were found, for how many requests all of them, and how many tools on the average."""
    found = retrieval_figures(shown, needed)
    return {
        "tool recall, %": round(100 * found["recall"], digits),
        "whole set, %": round(100 * found["whole set"], digits),
        "tools": round(found["tools"], 2),
    }


def _rate(name: str, k: int, n: int) -> dict[str, Any]:
    low, high = wilson(k, n)
    return {f"{name}, %": round(100 * k / n, 1), f"{name}, interval": f"{100 * low:.0f} to {100 * high:.0f}"}
