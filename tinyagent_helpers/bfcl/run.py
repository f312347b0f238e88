"""Ask a model BFCL's questions, keep its answers in the official layout, and score them. Interrupted runs go on where they were."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from tinyagent_helpers.artifacts import InputError, Log, make_folder, read_jsonl
from tinyagent_helpers.bfcl.answers import Mode, answer
from tinyagent_helpers.bfcl.judge import verdicts
from tinyagent_helpers.bfcl.official import Entry, check_name, entries, official, result_file
from tinyagent_helpers.bfcl.scores import Score, tally

Report = Callable[[str], None]


def chosen(category: str, limit: int | None = None, seed: int = 0) -> list[Entry]:
    """A category's questions, or a seeded sample of them, in the official order."""
    everything = list(entries(category).values())
    if limit is None or limit >= len(everything):
        return everything
    picked = set(Random(f"{seed}|{category}").sample(range(len(everything)), limit))
    return [entry for number, entry in enumerate(everything) if number in picked]


def run(
    mode: Mode,
    name: str,
    categories: Sequence[str],
    folder: Path,
    limit: int | None = None,
    seed: int = 0,
    report: Report = lambda line: None,
) -> None:
    """Answer every question, at most `limit` of a category, into the official results files in `folder`/`name`.

    What stands there already is not asked again.

    Raises:
        InputError: the name is none, a category is unknown, or a results file is broken.
    """
    check_name(name)
    for category in categories:
        path = result_file(folder, name, category)
        make_folder(path.parent)
        log = Log(path)
        try:
            _answer_category(mode, category, path, log, chosen(category, limit, seed), report)
        finally:
            log.close()


def _answer_category(mode: Mode, category: str, path: Path, log: Log, asked: Sequence[Entry], report: Report) -> None:
    done = {row["id"] for row in read_jsonl(path, ("id",))}
    left, started = [entry for entry in asked if entry["id"] not in done], time.monotonic()
    for number, entry in enumerate(left, 1):
        begun = time.monotonic()
        made = answer(mode, entry)
        seconds = round(time.monotonic() - begun, 3)
        log.append(
            {"id": entry["id"], "result": made.result, "status": made.status, "text": made.text, "latency": seconds}
        )
        if number % 50 == 0 or number == len(left):
            rest = (time.monotonic() - started) / number * (len(left) - number)
            report(f"{category}: {len(asked) - len(left) + number} of {len(asked)}, {rest:.0f} s left")


def score(
    name: str, categories: Sequence[str], folder: Path, limit: int | None = None, seed: int = 0
) -> dict[str, Score]:
    """Scores by category, by the official checkers.

    Raises:
        InputError: a category was not run, or not to its end.
    """
    rows = [(c, row) for c in categories for row in _results(name, c, folder, chosen(c, limit, seed))]
    found = verdicts((category, row["id"], row["result"]) for category, row in rows)
    return tally((category, row["status"], error) for (category, row), error in zip(rows, found))


def _results(name: str, category: str, folder: Path, asked: Sequence[Entry]) -> list[dict[str, Any]]:
    path = result_file(folder, check_name(name), category)
    found = {row["id"]: row for row in (read_jsonl(path, ("id", "status")) if path.exists() else ())}
    missing = [entry["id"] for entry in asked if entry["id"] not in found]
    if missing:
        raise InputError(
            f"{path} lacks {len(missing)} of {len(asked)} answers, {missing[0]} among them: run it (again) first"
        )
    return [found[entry["id"]] for entry in asked]


def official_scores(name: str, categories: Sequence[str], folder: Path, scores: Path) -> dict[str, set[str]]:
    """The official runner over the same files; the ids that it takes as wrong, by category."""
    official().runner.runner([name], list(categories), folder, scores, allow_missing=True)
    return {category: _wrong(name, category, scores) for category in categories}


def _wrong(name: str, category: str, scores: Path) -> set[str]:
    utils = official().utils
    file = utils.get_file_name_by_category(category, is_score_file=True)
    path = scores / name / utils.get_directory_structure_by_category(category) / file
    _, *wrong = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {row["id"] for row in wrong}
