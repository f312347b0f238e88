"""Training data from a teacher: choose tools, ask, check, split, write. Explained in notebook 02.

A run is a sequence of numbered attempts. Attempt i is a function of the seed and i alone, every accepted or rejected
attempt is one line of a file, and so a run that was killed goes on where it stopped.
"""

import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from itertools import count as count_from
from pathlib import Path
from random import Random
from typing import Any, Protocol

from tinyagent_helpers import imagine
from tinyagent_helpers.artifacts import InputError, Log, digest, make_folder, read_json, read_jsonl, stage, write_json
from tinyagent_helpers.joins import Join
from tinyagent_helpers.plans import fill_in
from tinyagent_helpers.profiles import Profile
from tinyagent_helpers.sanity import Example, first_problem
from tinyagent_helpers.teacher import PATTERNS, VALUES, Pattern, draw, load_patterns, share
from tinyagent_helpers.times import FORMAT

SHARES = {"train": 0.88, "validation": 0.03, "test_draws": 0.03, "test_patterns": 0.03, "test_combinations": 0.03}
STOP_WORDS = frozenset(
    "a an the to of for in on at and with by please can could would you me my i is it that this".split()
)
FILES = (*SHARES, "rejected")
MAX_REJECTED_IN_A_ROW = 5_000
MAX_REJECTED_AT_FIRST = 100  # before anything was accepted: then the teacher, not chance, is at fault


@dataclass(frozen=True)
class Draft:
    """What a teacher hands in. `cost` is in dollars; `source` says which pattern or model wrote it."""

    request: str
    plan: str
    answer: str
    now: datetime
    source: str
    style: str = ""
    cost: float = 0.0


class Teacher(Protocol):
    """Writes a request that needs exactly some tools, and its plan."""

    name: str
    workers: int

    def tool_sets(self, split: str) -> list[frozenset[str]]:
        """The sets of tools to ask for in a split; one that should come up twice as often is there twice."""

    def write(self, tools: frozenset[str], split: str, rng: Random) -> Draft:
        """A draft; raises `TeacherError` if there is none to be had this time."""

    def may_spend(self, spent: float, in_flight: int) -> bool:
        """May one more draft be asked for, with so many dollars spent and so many drafts on their way?"""


class TeacherError(Exception):
    """The teacher gave nothing usable; `cost` is what it took in dollars."""

    def __init__(self, reason: str, cost: float = 0.0):
        super().__init__(reason)
        self.cost = cost


def home(tools: frozenset[str], pattern_id: str = "") -> str:
    """The split a pattern belongs to: whole combinations of tools are held out first, then whole patterns."""
    if is_held_out(tools):
        return "test_combinations" if _place(tools) >= 0.89 else "validation"
    pattern = share("pattern:" + pattern_id)
    return "train" if pattern < 0.78 else "validation" if pattern < 0.86 else "test_patterns"


def is_held_out(tools: frozenset[str]) -> bool:
    """Whether no training request may need just these tools."""
    return len(tools) > 1 and _place(tools) >= 0.85


def _place(tools: frozenset[str]) -> float:
    return share("combination:" + ",".join(sorted(tools)))


class RecordedTeacher:
    """The teacher that ships with the course: patterns with slots, see `teacher`. Costs nothing, needs no network."""

    name, workers = "recorded", 1

    def __init__(self, patterns: Iterable[Pattern] | None = None):
        self._patterns: dict[str, dict[frozenset[str], list[Pattern]]] = {split: {} for split in SHARES}
        for pattern in load_patterns() if patterns is None else patterns:
            split = home(pattern.tools, pattern.id)
            for name in ("train", "test_draws") if split == "train" else (split,):
                self._patterns[name].setdefault(pattern.tools, []).append(pattern)

    def tool_sets(self, split: str) -> list[frozenset[str]]:
        """Each set once for every pattern, so that patterns are drawn alike."""
        return [tools for tools, patterns in self._patterns[split].items() for _ in patterns]

    def write(self, tools: frozenset[str], split: str, rng: Random) -> Draft:
        """A pattern for these tools with its slots filled from the split's own values."""
        pattern = rng.choice(self._patterns[split][tools])
        values = {"test_draws": "train", "test_patterns": "test", "test_combinations": "test"}.get(split, split)
        drawn = draw(pattern, rng, values)
        return Draft(drawn.request, drawn.plan.to_text(), drawn.answer, drawn.now, pattern.id, pattern.style)

    def may_spend(self, spent: float, in_flight: int) -> bool:
        """Always: it is free."""
        return True


@dataclass
class Funnel:
    """What became of the attempts: accepted by split, rejected by reason, dollars spent."""

    accepted: Counter
    rejected: Counter
    cost: float = 0.0

    @property
    def total(self) -> int:
        """Examples accepted."""
        return self.accepted.total()


def synthesize(
    teacher: Teacher, count: int, seed: int, folder: Path, report: Callable[[str], None] = lambda line: None
) -> Funnel:
    """Fill `folder` with `count` checked, distinct examples: a JSON Lines file for each split, and `rejected.jsonl`.

    An interrupted run is resumed, and a larger `count` continues a smaller one.

    Raises:
        InputError: the folder holds another run or cannot be written, or the teacher has nothing new to say.
    """
    if count < 1:
        raise InputError(f"--count is {count}; ask for at least one example")
    _claim(make_folder(folder), {"seed": seed, "teacher": teacher.name, "patterns": digest(PATTERNS, VALUES)})
    files = {name: Log(folder / f"{name}.jsonl") for name in FILES}
    try:
        run = _Run(teacher, count, seed, files, report)
        run.resume()
        run.go()
    finally:
        for file in files.values():
            file.close()
    manifest = read_json(folder / "manifest.json")
    funnel = run.funnel
    write_json(
        folder / "manifest.json",
        manifest | {"accepted": dict(funnel.accepted), "rejected": dict(funnel.rejected), "cost": funnel.cost},
    )
    return funnel


def course_data(profile: Profile, seed: int, report: Callable[[str], None] = lambda line: None) -> tuple[Path, Funnel]:
    """The recorded teacher's examples for a profile, in artifacts/<profile>/data: made, resumed, or found complete.

    Examples of an older version of data/teacher are made anew.
    """
    teacher, folder = RecordedTeacher(), stage(profile.name, "data") / f"seed{seed}"
    manifest = folder / "manifest.json"
    if manifest.exists() and read_json(manifest).get("patterns") != digest(PATTERNS, VALUES):
        old = folder.with_name(f"{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
        shutil.rmtree(old)
    return folder, synthesize(teacher, profile.examples, seed, folder, report)


def command_of(folder: Path) -> str:
    """The command that made the examples in a folder, by its manifest; "" if another teacher was asked."""
    made = read_json(folder / "manifest.json") if (folder / "manifest.json").exists() else {}
    if made.get("teacher") != "recorded" or "accepted" not in made:
        return ""
    return f"tinyagent synthesize --count {sum(made['accepted'].values())} --seed {made['seed']} --output DIR"


def _claim(folder: Path, settings: dict[str, Any]) -> None:
    """Note in the folder which run it belongs to, or see that it is the same one."""
    path = folder / "manifest.json"
    if not path.exists():
        if foreign := [name for name in FILES if (folder / f"{name}.jsonl").exists()]:
            raise InputError(f"{folder} has a {foreign[0]}.jsonl that is not from a run; choose another --output")
        write_json(path, settings)
        return
    found = read_json(path)
    if not isinstance(found, dict):
        raise InputError(f"{path} is not a manifest; choose another --output")
    for key, value in settings.items():
        if found.get(key) != value:
            raise InputError(
                f"{folder} holds a run with {key} {found.get(key)!r}, not {value!r}; choose another --output, or delete that folder"
            )


class _Run:
    """The loop of `synthesize`: hand out attempts, take drafts in, check them, write them down."""

    def __init__(self, teacher: Teacher, count: int, seed: int, files: dict[str, Log], report: Callable[[str], None]):
        self.teacher, self.count, self.seed, self.files, self.report = teacher, count, seed, files, report
        self.funnel, self.done, self.seen = Funnel(Counter(), Counter()), set(), {}
        self.rejected_in_a_row = 0
        self.sets = {split: teacher.tool_sets(split) for split in SHARES}
        if empty := [split for split, sets in self.sets.items() if not sets]:
            raise InputError(f"the teacher {teacher.name!r} has no tool sets for {', '.join(empty)}")

    def resume(self) -> None:
        """Read what an earlier run wrote."""
        for name, file in self.files.items():
            for row in read_jsonl(file.path):
                self.done.add(row["attempt"])
                self.funnel.cost += row.get("cost", 0.0)
                if name == "rejected":
                    self.funnel.rejected[row["check"]] += 1
                else:
                    self.funnel.accepted[name] += 1
                    self._remember(row["request"])

    def go(self) -> None:
        """Attempt until there are enough examples; drafts arrive in any order when the teacher has several workers."""
        started, last_report, had = time.monotonic(), time.monotonic(), self.funnel.total
        attempts = (i for i in count_from(0) if i not in self.done)
        waiting: set[Future] = set()
        with ThreadPoolExecutor(self.teacher.workers) as pool:
            try:
                while self.funnel.total < self.count:
                    while len(waiting) < min(self.teacher.workers, self.count - self.funnel.total):
                        if not self.teacher.may_spend(self.funnel.cost, len(waiting)):
                            break
                        waiting.add(self._submit(pool, next(attempts)))
                    if not waiting:
                        self.report(
                            f"stopped at the spending limit with {self.funnel.total:,} of {self.count:,} examples"
                        )
                        return
                    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                        waiting.discard(future)
                        self._take(*future.result())
                    if time.monotonic() - last_report > 2:
                        last_report = time.monotonic()
                        self.report(self._progress((self.funnel.total - had) / (last_report - started)))
            finally:  # drafts on their way when something failed are paid for: keep them
                for future in waiting:
                    if not future.exception():
                        self._take(*future.result())

    def _submit(self, pool: ThreadPoolExecutor, attempt: int) -> Future:
        if self.teacher.workers > 1:
            return pool.submit(self._attempt, attempt)
        future: Future = Future()
        future.set_result(self._attempt(attempt))
        return future

    def _attempt(self, attempt: int) -> tuple[int, str, frozenset[str], Draft | TeacherError]:
        rng = Random(f"{self.seed}-{attempt}")
        split = rng.choices(list(SHARES), list(SHARES.values()))[0]
        tools = rng.choice(self.sets[split])
        try:
            return attempt, split, tools, self.teacher.write(tools, split, rng)
        except TeacherError as error:
            return attempt, split, tools, error

    def _take(self, attempt: int, split: str, tools: frozenset[str], draft: Draft | TeacherError) -> None:
        """Check a draft and write it down, accepted or rejected."""
        self.funnel.cost += draft.cost
        problem = self._problem(draft, tools)
        if problem:
            check, reason = problem
            self.rejected_in_a_row += 1
            self.funnel.rejected[check] += 1
            request = getattr(draft, "request", "")
            row = {"attempt": attempt, "check": check, "reason": reason, "request": request, "cost": draft.cost}
            self.files["rejected"].append(row)
            if self.rejected_in_a_row >= (MAX_REJECTED_IN_A_ROW if self.funnel.total else MAX_REJECTED_AT_FIRST):
                raise InputError(
                    f"{self.rejected_in_a_row:,} drafts in a row were rejected, most lately because {reason}; {self.funnel.total:,} examples were written"
                )
            return
        self.rejected_in_a_row = 0
        self._remember(draft.request)
        self.funnel.accepted[split] += 1
        self.files[split].append(_row(f"{self.seed}-{attempt}", attempt, draft, tools))

    def _problem(self, draft: Draft | TeacherError, tools: frozenset[str]) -> tuple[str, str] | None:
        if isinstance(draft, TeacherError):
            return "teacher gave no draft", str(draft)
        if problem := first_problem(Example(draft.request, draft.plan, draft.now, tools)):
            return problem
        words = content_words(draft.request)
        if words in self.seen:
            same = self.seen[words] == hash(draft.request.casefold())
            return ("duplicate" if same else "near duplicate"), "the same words were asked before"
        return None

    def _remember(self, request: str) -> None:
        self.seen[content_words(request)] = hash(request.casefold())

    def _progress(self, per_second: float) -> str:
        total, rejected = self.funnel.total, self.funnel.rejected.total()
        left = f"{(self.count - total) / per_second:,.0f} s left" if per_second else "no estimate yet"
        cost = f", ${self.funnel.cost:.2f}" if self.funnel.cost else ""
        return f"{total:,} of {self.count:,} examples, {rejected:,} rejected, {per_second:,.0f} a second, {left}{cost}"


def content_words(request: str) -> int:
    """A fingerprint of the words that carry meaning, in any order: near-duplicates have the same one."""
    return hash(frozenset(re.findall(r"[\w$@.]+", request.casefold())) - STOP_WORDS)


def _row(id: str, attempt: int, draft: Draft, tools: frozenset[str]) -> dict[str, Any]:
    """An example as it is written: a plan to learn and, from the same request, a join to learn."""
    plan = Example(draft.request, draft.plan, draft.now).plan
    observations = imagine.observations(plan, Random(id))
    message = fill_in(draft.answer, {step.id: result for step, result in zip(plan.steps, observations)})
    return {
        "id": id,
        "request": draft.request,
        "now": draft.now.strftime(FORMAT),
        "plan": plan.to_text(),
        "tools": sorted(tools),
        "observations": observations,
        "join": Join(message, "Every step has a result.").to_text(),
        "source": draft.source,
        "style": draft.style,
        "attempt": attempt,
        "cost": draft.cost,
    }
