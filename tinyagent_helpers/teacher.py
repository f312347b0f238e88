"""The recorded teacher: requests with slots, written for this course, each with its plan. Explained in notebook 02.

`data/teacher/patterns/*.toml` holds scenarios: one plan, and the requests that lead to it in several styles.
`data/teacher/values.toml` holds what may stand in a slot. A slot in a request shows what people say ("tomorrow at 3pm"),
the same slot in the plan what it means ("2024-05-25 15:00:00").
"""

import hashlib
import re
import tomllib
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any

from tinyagent_helpers import times
from tinyagent_helpers.artifacts import DATA
from tinyagent_helpers.plans import REFERENCE, Plan, PlanError, parse_plan

PATTERNS = DATA / "teacher" / "patterns"
VALUES = DATA / "teacher" / "values.toml"
STYLES = ("plain", "short", "chatty", "indirect", "correction", "misspelt")
SLOT = re.compile(r"\{([a-z]+)(\d?)(?:\.(start|end|minutes))?(?:([+-])(\d+|duration\d?))?\}")
POOLED = (
    "role",
    "title",
    "topic",
    "place",
    "file",
    "pdf",
    "note",
    "folder",
    "content",
    "message",
    "context",
    "task",
    "list",
    "calendar",
    "first",
    "last",
    "domain",
)
CLOSED = ("role", "folder", "list", "calendar", "domain")  # too few values to hold any out
TIMED = {"when": times.draw_when, "day": times.draw_day, "span": times.draw_span}
SAID = {
    "transport": (
        ("by car", "d"),
        ("on foot", "w"),
        ("by public transport", "r"),
        ("driving", "d"),
        ("walking", "w"),
        ("by bus", "r"),
        ("by train", "r"),
    ),
    "priority": (("high", 1), ("medium", 5), ("low", 9)),
}
KINDS = {*POOLED, *TIMED, *SAID, "person", "email", "phone", "money", "number", "duration", "count", "decimal"}
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


class ScenarioError(ValueError):
    """A scenario file is wrong; the message says where."""


@dataclass(frozen=True)
class Pattern:
    """One way to ask for one plan."""

    id: str
    style: str
    request: str
    plan: Plan
    answer: str

    @property
    def tools(self) -> frozenset[str]:
        """The tools its plan uses."""
        return frozenset(step.tool for step in self.plan.steps)


@dataclass(frozen=True)
class Draw:
    """A pattern with its slots filled: a request, its plan, and what to tell the user at the end."""

    pattern: Pattern
    request: str
    plan: Plan
    answer: str
    now: datetime


def load_patterns(folder: Path = PATTERNS) -> list[Pattern]:
    """All patterns of all scenario files, in the order of file names.

    Raises:
        ScenarioError: naming the file, the scenario and what is wrong with it.
    """
    patterns, seen = [], {}
    for path in sorted(folder.glob("*.toml")):
        for pattern in read_scenarios(path):
            if other := seen.get(pattern.request.casefold()):
                raise ScenarioError(f"{path.name}, {pattern.id}: {other} has the same request, {pattern.request!r}")
            seen[pattern.request.casefold()] = pattern.id
            patterns.append(pattern)
    return patterns


def read_scenarios(path: Path) -> list[Pattern]:
    """The patterns of one scenario file."""
    try:
        scenarios = tomllib.loads(path.read_text(encoding="utf-8"))["scenario"]
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise ScenarioError(f"{path.name}: not a file of [[scenario]] tables ({error})") from None
    patterns = []
    for scenario in scenarios:
        name = f"{path.stem}/{scenario.get('id', '?')}"
        try:
            patterns += scenario_patterns(name, scenario)
        except (PlanError, ValueError, KeyError, TypeError) as error:
            raise ScenarioError(f"{path.name}, scenario {name}: {error}") from None
    if len({p.id for p in patterns}) < len(patterns):
        raise ScenarioError(f"{path.name}: two scenarios have the same id")
    return patterns


def scenario_patterns(name: str, scenario: Mapping[str, Any], own: Collection[str] = ()) -> list[Pattern]:
    """The patterns of one scenario, checked; `own` are kinds of slots that only this file has.

    Raises:
        ValueError: or KeyError, TypeError, PlanError, if it is not a scenario.
    """
    if missing := {"id", "plan", "answer", "requests"} - set(scenario):
        raise ValueError(f"the scenario lacks {', '.join(sorted(missing))}")
    if unknown := set(scenario) - {"id", "plan", "answer", "requests"} or set(scenario["requests"]) - set(STYLES):
        raise ValueError(
            f"unknown keys {sorted(unknown)}; a scenario has id, plan, answer and requests, by style: {', '.join(STYLES)}"
        )
    if not all(isinstance(requests, list) for requests in scenario["requests"].values()):
        raise ValueError('the requests of a style are a list, such as plain = ["Open {note}"]')
    lines = scenario["plan"].strip()
    if "join()" in lines:
        raise ValueError("leave join() out of the plan; it is added")
    plan = parse_plan(f"{lines}\n{lines.count(chr(10)) + 2}. join()", tools=None)
    patterns = []
    for style, requests in scenario["requests"].items():
        for number, request in enumerate(requests):
            pattern = Pattern(f"{name}/{style}{number}", style, request, plan, scenario["answer"])
            _check_slots(pattern, {*KINDS, *own})
            patterns.append(pattern)
    return patterns


def _check_slots(pattern: Pattern, kinds: Collection[str]) -> None:
    for match in REFERENCE.finditer(pattern.answer):
        if int(match.group(1) or match.group(2)) > len(pattern.plan.steps):
            raise ValueError(f"the answer uses {match.group()}, and the plan has no such step")
    said = {m.group(1) + m.group(2) for m in SLOT.finditer(pattern.request)}
    for text in (pattern.request, pattern.plan.to_text(), pattern.answer):
        for slot in SLOT.finditer(text):
            if slot.group(1) not in kinds:
                raise ValueError(f"unknown slot {slot.group()}; kinds are {', '.join(sorted(kinds))}")
            if slot.group(1) + slot.group(2) not in said:
                raise ValueError(f"slot {slot.group()} is not in the request {pattern.request!r}")
            if slot.group(5) and not slot.group(5).isdigit() and slot.group(5) not in said:
                raise ValueError(f"{slot.group()} adds a duration that is not in the request {pattern.request!r}")
        rest = SLOT.sub("", text)
        if "{" in rest or "}" in rest:
            braces = re.sub(r"\$\{\d+\}", "", rest)
            if "{" in braces or "}" in braces:
                raise ValueError(f"a brace that is not a slot in {text!r}")


@cache
def load_values(path: Path = VALUES) -> dict[str, list[Any]]:
    """What may stand in each kind of slot.

    Raises:
        ScenarioError: a kind is missing or holds a value twice.
    """
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    for kind in POOLED:
        if not values.get(kind):
            raise ScenarioError(f"{path.name}: no values for {kind!r}")
        if len({str(v).casefold() for v in values[kind]}) < len(values[kind]):
            raise ScenarioError(f"{path.name}: {kind!r} holds a value twice")
    return values


def share(text: str) -> float:
    """A number in [0, 1) that depends on the text alone; it decides what is held out, today and in a year."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48


@cache
def values_of(kind: str, split: str) -> tuple[Any, ...]:
    """The values of a slot kind that a split may use: 70 % train, 10 % validation, 20 % test, none shared."""
    values = load_values()[kind]
    if kind in CLOSED:
        return tuple(values)
    low, high = {"train": (0, 0.7), "validation": (0.7, 0.8), "test": (0.8, 1)}[split]
    return tuple(v for v in values if low <= share(v.casefold()) < high)


def draw(
    pattern: Pattern,
    rng: Random,
    split: str,
    own: Mapping[str, Sequence[str]] = MappingProxyType({}),
    now: datetime | None = None,
) -> Draw:
    """Fill a pattern's slots with values of a split; `own` holds the values of kinds that only its file has. Without a time
    of the request, one is drawn."""
    now = now or times.draw_now(rng)
    slots: dict[str, tuple[str, Any]] = {}
    for match in SLOT.finditer(pattern.request):
        key = match.group(1) + match.group(2)
        if key not in slots:
            taken = {said for said, _ in slots.values()}
            slots[key] = _draw_new(lambda: _draw_value(match.group(1), rng, split, now, own), taken, match.group(1))
    request = SLOT.sub(lambda m: slots[m.group(1) + m.group(2)][0], pattern.request)
    if pattern.request.startswith("{"):
        request = request[0].upper() + request[1:]
    plan = Plan.of((s.tool, [_fill(a, slots) for a in s.arguments]) for s in pattern.plan.steps)
    return Draw(pattern, request, plan, _answer(pattern.answer, slots), now)


def _draw_new(draw_one: Callable[[], tuple[str, Any]], taken: set[str], kind: str) -> tuple[str, Any]:
    """A value that no other slot of the request has."""
    for _ in range(1_000):
        value = draw_one()
        if value[0] not in taken:
            return value
    raise ScenarioError(f"too few values for {kind!r}: two slots of a request cannot differ")


def _draw_value(kind: str, rng: Random, split: str, now: datetime, own: Mapping[str, Sequence[str]]) -> tuple[str, Any]:
    """One value of a kind: what is said, and what it means."""
    if kind in own:
        value = rng.choice(own[kind])
        return value, value
    if kind in TIMED:
        moment = TIMED[kind](rng, now)
        return moment.say, moment
    if kind in SAID:
        return rng.choice(SAID[kind])
    if kind == "duration":
        return times.draw_duration(rng)
    if kind == "count":
        number = rng.choice((rng.randrange(1, 13), rng.randrange(1, 100), rng.randrange(1, 1000)))
        return NUMBERS[number - 1] if number <= 12 and rng.random() < 0.3 else str(number), number
    if kind == "decimal":
        number = round(rng.uniform(0.1, 99), rng.choice((1, 1, 2)))
        return str(number), number
    text = _draw_text(kind, rng, split)
    text = SLOT.sub(lambda m: _draw_text(m.group(1), rng, split), text)
    said, _, written = text.partition(" => ")
    return said, written or said


def _draw_text(kind: str, rng: Random, split: str) -> str:
    first, last = (rng.choice(values_of(k, split)) for k in ("first", "last"))
    if kind == "person":
        chance = rng.random()
        return first if chance < 0.62 else f"{first} {last}" if chance < 0.88 else rng.choice(values_of("role", split))
    if kind == "email":
        name = unicodedata.normalize("NFKD", rng.choice((f"{first}{last}", first, f"{first[0]}{last}")))
        user = re.sub(r"[^a-z]", "", name.lower()) or "me"
        return f"{user}{rng.choice(('', '', rng.randrange(1, 99)))}@{rng.choice(values_of('domain', split))}"
    if kind == "phone":
        area, number = rng.randrange(201, 990), rng.randrange(10000)
        return rng.choice(
            (
                f"+1 {area} 555 {number:04}",
                f"{area}-555-{number:04}",
                f"({area}) 555-{number:04}",
                f"+44 20 7946 {number:04}",
            )
        )
    if kind == "money":  # from $15, as plans have fewer steps than that: a smaller price could be read as a result
        return f"${rng.choice((15, 20, 25, 30, 40, 45, 60, 75, 80, 100, 120, 150, 200, 250, 300, 450))}"
    if kind == "number":
        return str(rng.choice((5, 10, 15, 20, 25, 30, 40)))
    return rng.choice(values_of(kind, split))


def _fill(value: Any, slots: Mapping[str, tuple[str, Any]]) -> Any:
    """Put the meaning of each slot into a plan's argument; an argument that is one slot keeps its type."""
    if isinstance(value, list):
        return [_fill(item, slots) for item in value]
    if not isinstance(value, str):
        return value
    if match := SLOT.fullmatch(value):
        return _meaning(match, slots)
    return SLOT.sub(lambda m: str(_meaning(m, slots)), value)


def _answer(text: str, slots: Mapping[str, tuple[str, Any]]) -> str:
    """What to tell the user: slots as they were said, with "my boss" turned into "your boss"."""
    return SLOT.sub(lambda m: re.sub(r"^my ", "your ", slots[m.group(1) + m.group(2)][0]), text)


def _meaning(match: re.Match, slots: Mapping[str, tuple[str, Any]]) -> Any:
    kind, number, part, sign, amount = match.groups()
    meaning = slots[kind + number][1]
    if not isinstance(meaning, times.Moment):
        return meaning
    if part == "minutes":
        return int((meaning.end - meaning.start).total_seconds() // 60)
    moment = meaning.end if part == "end" else meaning.start
    if amount:
        minutes = int(amount) if amount.isdigit() else slots[amount][1]
        moment += timedelta(minutes=minutes if sign == "+" else -minutes)
    return moment.strftime(times.FORMAT)
