"""Ask a model BFCL's questions, keep its answers in the official layout, and score them. Interrupted runs go on where they were."""

import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any

from tinyagent_helpers.artifacts import InputError, Log, make_folder, read_json, read_jsonl, write_json, write_text
from tinyagent_helpers.bfcl.answers import FAILED, Mode, answer
from tinyagent_helpers.bfcl.judge import verdicts
from tinyagent_helpers.bfcl.multi_turn import converse, functions_elsewhere
from tinyagent_helpers.bfcl.official import MULTI_TURN, Entry, check_name, entries, official, result_file
from tinyagent_helpers.bfcl.scores import Score, tally

Report = Callable[[str], None]
MOST_FAILURES = 3  # in a row; then the server is likely gone


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
    made_of: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Answer every question, at most `limit` of a category, into the official results files in `folder`/`name`.

    What stands there already is not asked again, but for questions on which the model failed. `made_of` says what a score
    depends on; it is kept in `folder`/`name`/run.json.

    Raises:
        InputError: the name is none or another run's, a category is unknown, a results file is broken, or the model has
            failed several times in a row.
    """
    _claim(make_folder(folder / check_name(name)), dict(made_of) | {"mode": mode.name})
    asked = {category: chosen(category, limit, seed) for category in categories}
    for category in categories:
        path = result_file(folder, name, category)
        make_folder(path.parent)
        with functions_elsewhere() if category in MULTI_TURN else nullcontext():
            _answer_category(mode, category, path, asked[category], report)


def _claim(folder: Path, made_of: Mapping[str, Any]) -> None:
    """Note what a run is made of, or see that it is the same one."""
    path = folder / "run.json"
    if path.exists():
        found = read_json(path)
        if different := [key for key in {**found, **made_of} if found.get(key) != made_of.get(key)]:
            raise InputError(f"{folder} holds a run with other {', '.join(different)}; give this one another --name")
    write_json(path, made_of)


def _answer_category(mode: Mode, category: str, path: Path, asked: Sequence[Entry], report: Report) -> None:
    log = Log(path)
    done = [row for row in read_jsonl(path, ("id", "status")) if row["status"] != FAILED]
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in done))
    log.close()
    log, ids = Log(path), {row["id"] for row in done}
    left, started, failed = [entry for entry in asked if entry["id"] not in ids], time.monotonic(), 0
    try:
        for number, entry in enumerate(left, 1):
            made = _answered(mode, category, entry)
            log.append(made)
            failed = failed + 1 if made["status"] == FAILED else 0
            if failed == MOST_FAILURES:
                raise InputError(
                    f"{category}: the model failed {failed} times in a row; run it again to go on. {made['text']}"
                )
            if number % 50 == 0 or number == len(left):
                rest = (time.monotonic() - started) / number * (len(left) - number)
                report(f"{category}: {len(asked) - len(left) + number} of {len(asked)}, {rest:.0f} s left")
    finally:
        log.close()


def _answered(mode: Mode, category: str, entry: Entry) -> dict[str, Any]:
    """A line of a results file."""
    begun = time.monotonic()
    made = converse(mode, entry) if category in MULTI_TURN else answer(mode, entry)
    seconds = round(time.monotonic() - begun, 3)
    return {"id": entry["id"], "result": made.result, "status": made.status, "text": made.text, "latency": seconds}


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


def seconds_of(name: str, categories: Sequence[str], folder: Path) -> float:
    """How long a model took for its answers."""
    return sum(row["latency"] for c in categories for row in read_jsonl(result_file(folder, name, c), ("id",)))


def count_right(mode: Mode, categories: Sequence[str], limit: int, seed: int) -> int:
    """How many of a sample of each category are right, strictly, without any file."""
    made = [(c, entry["id"], answer(mode, entry)) for c in categories for entry in chosen(c, limit, seed)]
    found = verdicts((category, id, one.result) for category, id, one in made)
    scores = tally((category, one.status, error) for (category, _, one), error in zip(made, found))
    return sum(score.strict for score in scores.values())


def official_scores(name: str, categories: Sequence[str], folder: Path, scores: Path) -> dict[str, set[str]]:
    """The official runner over the same files; the ids that it takes as wrong, by category."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        official().runner.runner([name], list(categories), folder, scores, allow_missing=True)
    return {category: _wrong(name, category, scores) for category in categories}


def _wrong(name: str, category: str, scores: Path) -> set[str]:
    utils = official().utils
    file = utils.get_file_name_by_category(category, is_score_file=True)
    path = scores / name / utils.get_directory_structure_by_category(category) / file
    _, *wrong = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {row["id"] for row in wrong}
