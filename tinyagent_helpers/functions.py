"""Made-up functions in many fields, and what people ask of them: what the nano caller learns from (notebook 08).

`data/functions/*.toml` holds one field a file. Unlike the APIs of `apis`, a function here is asked for alone, with many numbers,
and a wording is its own plan: a slot is a parameter's name, and {name2} is that parameter in a second call.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, get_args, get_origin

from tinyagent_helpers.apis import tool_of
from tinyagent_helpers.artifacts import DATA
from tinyagent_helpers.plans import Step
from tinyagent_helpers.teacher import NUMBERS, ScenarioError
from tinyagent_helpers.tools import Parameter, Tool

FUNCTIONS = DATA / "functions"
SLOT = re.compile(r"\{(\w+)\}")
MOST_CALLS = 3
Said = tuple[str, Any]  # what a person says, and the value that is meant


@dataclass(frozen=True)
class Numbers:
    """The numbers that a parameter takes; a percentage is said as such and meant as a fraction."""

    low: float
    high: float
    percent: bool

    @classmethod
    def parse(cls, text: str) -> "Numbers":
        """Of "1 to 60" or "1 to 20 %"."""
        low, high = text.removesuffix("%").split(" to ")
        return cls(float(low), float(high), text.endswith("%"))

    def draw(self, rng: Random, whole: bool) -> Said:
        """One of them, said in one of the ways in which people say numbers."""
        low, high = self.low, self.high
        if self.percent:
            value = round(rng.uniform(low, high), rng.choice((0, 0, 1)))
            return f"{value:g}%", round(value / 100, 5)
        near = low + (high - low) * rng.random() ** 2  # small ones more often
        if whole or (high - low >= 3 and rng.random() < 0.4):
            step = rng.choice([step for step in (1, 1, 5, 10, 100) if 10 * step <= high - low] or [1])
            value = max(int(-(-low // 1)), min(int(high), round(near / step) * step))
            return _said(rng, value), value
        digits = rng.choice((1, 1, 2, 3) if low >= 1 or high - low >= 3 else (2, 3))
        value = min(high, max(low, round(near, digits)))
        value = int(value) if value == int(value) else value
        return str(value), value


def _said(rng: Random, value: int) -> str:
    if 0 < value <= len(NUMBERS) and rng.random() < 0.1:
        return NUMBERS[value - 1]
    return f"{value:,}" if abs(value) >= 3000 and rng.random() < 0.3 else str(value)  # smaller ones may be years


@dataclass(frozen=True)
class Wording:
    """One way to ask for a function; `fixed` holds the arguments that it says without a slot."""

    say: str
    fixed: Mapping[str, Any]


@dataclass(frozen=True)
class Function:
    """A function, the ways to ask for it, and what may stand in their slots, by parameter. `field` is its file's name."""

    field: str
    tool: Tool
    wordings: Sequence[Wording]
    numbers: Mapping[str, Numbers]
    texts: Mapping[str, Sequence[str]]

    def draw(self, wording: Wording, rng: Random, phrase: Callable[[], str] | None = None) -> tuple[str, list[Step]]:
        """A request and the calls that it means. `phrase` makes up texts in place of those of the file."""
        said: dict[str, Said] = {}
        for slot in SLOT.findall(wording.say):
            parameter = self._slot(slot)[0]
            said[slot] = _unlike(said.values(), lambda: self.value(parameter, rng, phrase))
        calls = max((self._slot(slot)[1] for slot in said), default=1)
        steps = [Step(number, self.tool.name, self._arguments(wording, said, number)) for number in range(1, calls + 1)]
        return SLOT.sub(lambda match: said[match.group(1)][0], wording.say), steps

    def value(self, parameter: Parameter, rng: Random, phrase: Callable[[], str] | None = None) -> Said:
        """What may stand in a parameter's slot."""
        return self._value(parameter, parameter.type, rng, phrase)

    def _slot(self, slot: str) -> tuple[Parameter, int]:
        """The parameter that a slot stands for, and in which call."""
        parameters = {p.name: p for p in self.tool.parameters}
        if slot in parameters:
            return parameters[slot], 1
        number = int(slot[-1]) if slot[-1].isdigit() else 0
        if slot[:-1] not in parameters or not 2 <= number <= MOST_CALLS:
            raise ValueError(f"{{{slot}}} is no slot; there are {', '.join(parameters) or 'none'}, also with 2 or 3")
        return parameters[slot[:-1]], number

    def _arguments(self, wording: Wording, said: Mapping[str, Said], call: int) -> tuple[Any, ...]:
        names = [p.name for p in self.tool.parameters]
        own = {name: said[f"{name}{call}"][1] for name in names if f"{name}{call}" in said and call > 1}
        first = {name: said[name][1] for name in names if name in said}
        given = {**wording.fixed, **first, **own}
        if missing := [name for name in names if name not in given]:
            raise ValueError(f"{wording.say!r} says nothing of {', '.join(missing)}")
        return tuple(given[name] for name in names)

    def _value(self, parameter: Parameter, kind: Any, rng: Random, phrase: Callable[[], str] | None) -> Said:
        if get_origin(kind) is list:
            items: list[Said] = []
            for _ in range(rng.randrange(2, 6)):
                items.append(_unlike(items, lambda: self._value(parameter, get_args(kind)[0], rng, phrase)))
            return _listed(rng, items)
        if options := get_args(kind):
            option = rng.choice(options)
            return str(option).replace("_", " ") if rng.random() < 0.7 else str(option), option
        if kind in (int, float):
            return self.numbers[parameter.name].draw(rng, whole=kind is int)
        if kind is not str:
            raise ValueError(f"{parameter.name} cannot have a slot; give its value: name = true")
        text = phrase() if phrase else rng.choice(self.texts[parameter.name])
        return text, text


def _unlike(others: Iterable[Said], draw: Callable[[], Said]) -> Said:
    """A draw that differs from the others, if a few tries find one."""
    seen = {said for said, _ in others}
    tries = [draw() for _ in range(4)]
    return next((found for found in tries if found[0] not in seen), tries[0])


def _listed(rng: Random, items: Sequence[Said]) -> Said:
    texts, values = [said for said, _ in items], [value for _, value in items]
    if not isinstance(values[0], str) and rng.random() < 0.4:
        return str(values), values
    return f"{', '.join(texts[:-1])} and {texts[-1]}", values


@cache
def load_functions(folder: Path = FUNCTIONS) -> tuple[Function, ...]:
    """All functions of all fields, in the order of file names.

    Raises:
        ScenarioError: naming the file and what is wrong; also if two functions have the same name.
    """
    functions, owners = [], {}
    for path in sorted(folder.glob("*.toml")):
        for function in read_field(path):
            if other := owners.get(function.tool.name):
                raise ScenarioError(f"{path.name}: {other} has a function {function.tool.name}, too; rename this one")
            owners[function.tool.name] = path.name
            functions.append(function)
    return tuple(functions)


def read_field(path: Path) -> list[Function]:
    """The functions of one file, each wording tried.

    Raises:
        ScenarioError: naming the file, the function and what is wrong.
    """
    name = ""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
        functions = []
        for entry in found["function"]:
            name = entry["call"].partition("(")[0]
            functions.append(_function(path.stem, entry, found.get("values", {})))
    except (ValueError, KeyError, TypeError, SyntaxError) as error:
        raise ScenarioError(f"{path.name}, {name}: {error!r}") from None
    return functions


def _function(field: str, entry: Mapping[str, Any], values: Mapping[str, Sequence[str]]) -> Function:
    tool, kinds = tool_of(entry), entry.get("text", {})
    texts = {p.name: values.get(kinds.get(p.name, p.name), ()) for p in tool.parameters}
    numbers = {name: Numbers.parse(text) for name, text in entry.get("numbers", {}).items()}
    function = Function(field, tool, [_wording(request) for request in entry["requests"]], numbers, texts)
    for wording in function.wordings:
        for step in function.draw(wording, Random(0))[1]:
            if found := [p.problem_with(v) for p, v in zip(tool.parameters, step.arguments) if p.problem_with(v)]:
                raise ValueError(f"{wording.say!r}: {found[0]}")
    return function


def _wording(request: str | Mapping[str, Any]) -> Wording:
    if isinstance(request, str):
        return Wording(request, {})
    return Wording(request["say"], {name: value for name, value in request.items() if name != "say"})
