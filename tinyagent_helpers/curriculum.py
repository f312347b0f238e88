"""What the nano base reads before it ever sees the Mac: an endless, numbered sequence of sheets.

A sheet is one list of tools, one date, and several requests about them, each with its plan. Sheet i is a function of the
seed and i alone. Five kinds, mixed: requests for the made-up APIs of `apis` with the tools needed and others beside them;
the same with opaque tool names, so that descriptions must be read; the same again with parameters in another order, so that
signatures must be read; dates to work out; and pure copying. Some requests no tool shown can answer: their plan is empty.

Copying comes first and alone, as all else builds on it. Most tools are renamed and reordered: a base that met them under
their own names learned them by heart and could not read others.
"""

import inspect
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from random import Random
from typing import Any

from tinyagent_helpers.apis import Domain, load_domains
from tinyagent_helpers.plans import Plan
from tinyagent_helpers.prompts import NANO_TEMPLATE
from tinyagent_helpers.teacher import share, values_of
from tinyagent_helpers.times import FORMAT, draw_day, draw_now, draw_span, draw_when
from tinyagent_helpers.tools import Tool

SCHEMA_TEMPLATE = replace(NANO_TEMPLATE, schema=True)
EXAMPLES_TEMPLATE = replace(NANO_TEMPLATE, examples=2)
MIX = {"request": 0.22, "renamed": 0.08, "reordered": 0.36, "dates": 0.12, "copy": 0.22}
COPYING_FIRST = 5_000  # this many sheets at the start (some 550 steps) are copying only: what all else builds on
NOTHING_FITS, SCHEMAS, EXAMPLES = 0.06, 0.08, 0.1  # shares of requests, sheets, requests
REQUESTS = 6  # on a sheet
MAX_DISTRACTORS = 10
COPIED = ("first", "last", "title", "topic", "place", "file", "note", "content", "message", "context", "task")


@dataclass(frozen=True)
class Lesson:
    """One example: what the model is shown, and the plan as it should write it. `kind` is a key of MIX, or "nothing fits"."""

    prompt: str
    plan: str
    kind: str


@dataclass(frozen=True)
class Asked:
    """A request of a sheet, and its plan."""

    request: str
    plan: Plan
    kind: str


def sheets(seed: int, start: int = 0, held_out: bool = False) -> Iterator[list[Lesson]]:
    """The lessons of one sheet after another, from sheet number `start` on. The prompts of a sheet are the same up to the
    first separator. `held_out` gives sheets of the domains that training never sees: one in ten, chosen by its name.
    """
    domains = [d for d in load_domains() if (share("domain:" + d.name) >= 0.9) == held_out]
    everything = [tool for domain in domains for tool in domain.tools.values()]
    for number in count(start):
        rng = Random(f"held-out-{seed}-{number}" if held_out else f"{seed}-{number}")
        mix = MIX if held_out or number >= COPYING_FIRST else {"copy": 1.0}
        yield _sheet(rng, mix, domains, everything)


def _sheet(
    rng: Random, mix: Mapping[str, float], domains: Sequence[Domain], everything: Sequence[Tool]
) -> list[Lesson]:
    kind, now, schema = rng.choices(list(mix), list(mix.values()))[0], draw_now(rng), rng.random() < SCHEMAS
    if kind == "copy":
        tools, asked = _copying(rng)
    elif kind == "dates":
        tools, asked = _dates(rng, now)
    else:
        tools, asked = _requests(rng, now, domains, everything, 2 if schema else MAX_DISTRACTORS)
    if kind == "reordered":
        tools, asked = _reordered(rng, tools, asked)
    if kind in ("renamed", "reordered"):
        tools, asked = _renamed(rng, tools, asked, kind)
    return [_lesson(rng, one, [o for o in asked if o is not one], now, tools, schema) for one in asked]


def _lesson(
    rng: Random, one: Asked, others: Sequence[Asked], now: datetime, tools: Mapping[str, Tool], schema: bool
) -> Lesson:
    template = SCHEMA_TEMPLATE if schema else EXAMPLES_TEMPLATE if rng.random() < EXAMPLES else NANO_TEMPLATE
    examples = [(o.request, o.plan.to_text()) for o in rng.sample(others, min(template.examples, len(others)))]
    return Lesson(template.plan(one.request, now, tools, examples), template.write(one.plan.to_text()), one.kind)


def _requests(
    rng: Random, now: datetime, domains: Sequence[Domain], everything: Sequence[Tool], distractors: int
) -> tuple[dict[str, Tool], list[Asked]]:
    """Requests for one domain, the tools that they need, and up to `distractors` others."""
    domain, needed, asked = rng.choice(domains), {}, []
    for pattern in rng.choices(domain.patterns, k=3 if distractors < REQUESTS else REQUESTS):
        drawn = domain.draw(pattern, rng, now)
        needed |= {step.tool: domain.tools[step.tool] for step in drawn.plan.steps}
        asked.append(Asked(drawn.request, drawn.plan, "request"))
    tools = _with_distractors(rng, needed, domain, everything, rng.randrange(distractors + 1))
    return tools, [_nothing_fits(rng, now, domains, tools) if rng.random() < NOTHING_FITS else one for one in asked]


def _nothing_fits(rng: Random, now: datetime, domains: Sequence[Domain], tools: Mapping[str, Tool]) -> Asked:
    """A request for which every tool needed is missing."""
    while True:
        domain = rng.choice(domains)
        drawn = domain.draw(rng.choice(domain.patterns), rng, now)
        if not {step.tool for step in drawn.plan.steps} & set(tools) and not set(domain.tools) & set(tools):
            return Asked(drawn.request, Plan(), "nothing fits")


def _with_distractors(
    rng: Random, needed: Mapping[str, Tool], domain: Domain, everything: Sequence[Tool], number: int
) -> dict[str, Tool]:
    """The tools needed and up to `number` others, half of them of the same domain, in random order."""
    near = rng.sample(list(domain.tools.values()), min(number // 2, len(domain.tools)))
    far = rng.sample(everything, min(number - number // 2, len(everything)))
    tools = list({tool.name: tool for tool in [*needed.values(), *near, *far]}.values())
    rng.shuffle(tools)
    return {tool.name: tool for tool in tools}


def _reordered(rng: Random, tools: Mapping[str, Tool], asked: Sequence[Asked]) -> tuple[dict[str, Tool], list[Asked]]:
    """The same tools and plans with the required parameters in another order."""
    orders = {name: rng.sample(range(tool.required), tool.required) for name, tool in tools.items()}

    def reorder(name: str, values: Sequence[Any]) -> tuple[Any, ...]:
        return (*(values[i] for i in orders[name]), *values[len(orders[name]) :])

    shown = {name: replace(tool, parameters=reorder(name, tool.parameters)) for name, tool in tools.items()}
    plans = [Plan.of((step.tool, reorder(step.tool, step.arguments)) for step in one.plan.steps) for one in asked]
    return shown, [replace(one, plan=plan) for one, plan in zip(asked, plans, strict=True)]


def _renamed(
    rng: Random, tools: Mapping[str, Tool], asked: Sequence[Asked], kind: str
) -> tuple[dict[str, Tool], list[Asked]]:
    """The same tools and plans under names that say nothing."""
    names = {name: f"{_word(rng)}_{_word(rng)}" for name in tools}
    shown = {names[name]: replace(tool, name=names[name]) for name, tool in tools.items()}
    renamed = [Plan.of((names[step.tool], step.arguments) for step in one.plan.steps) for one in asked]
    kinds = [kind if one.kind == "request" else one.kind for one in asked]
    return shown, [Asked(one.request, plan, kind) for one, plan, kind in zip(asked, renamed, kinds, strict=True)]


def _copying(rng: Random) -> tuple[dict[str, Tool], list[Asked]]:
    """Call one function with given values, stated in another order than the call needs them."""
    fields = rng.sample(["alpha", "beta", "gamma", "delta", "kappa", "omega"], rng.randrange(1, 5))
    asked = []
    for _ in range(REQUESTS):
        steps, sentences = [], []
        for _ in range(rng.randrange(1, 4)):
            values = {field: _something(rng) for field in fields}
            said = rng.sample(fields, len(fields))
            sentences.append(", ".join(f"{field} {values[field]}" for field in said))
            steps.append(("keep", [values[field] for field in fields]))
        request = f"{rng.choice(('Keep', 'Please keep', 'I need you to keep', 'keep'))} {'; '.join(sentences)}"
        asked.append(Asked(request, Plan.of(steps), "copy"))
    return _one_tool("keep", "Keep these values.", fields), asked


def _dates(rng: Random, now: datetime) -> tuple[dict[str, Tool], list[Asked]]:
    """Call one function with the dates that were meant, in the order in which they were said."""
    asked = []
    for _ in range(REQUESTS):
        moments = [
            (draw_when, draw_when, draw_day, draw_span)[rng.randrange(4)](rng, now) for _ in range(rng.randrange(1, 4))
        ]
        steps = [("mark", [(m.start).strftime(FORMAT), m.end.strftime(FORMAT) if m.end else ""]) for m in moments]
        request = f"{rng.choice(('Mark', 'Please mark', 'mark'))} {'; '.join(moment.say for moment in moments)}"
        asked.append(Asked(request, Plan.of(steps), "dates"))
    return _one_tool("mark", "Mark a time, or a stretch of time.", ["start", "end"]), asked


def _one_tool(name: str, about: str, fields: Sequence[str]) -> dict[str, Tool]:
    parameters = [inspect.Parameter(f, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=str) for f in fields]
    return {name: Tool.from_signature(name, about, parameters)}


def _something(rng: Random) -> str:
    """A value to copy: a phrase, words that mean nothing, a number, a date, an address."""
    kind = rng.randrange(6)
    if kind == 0:
        return rng.choice(values_of(rng.choice(COPIED), "train"))
    if kind == 1:
        return " ".join(_word(rng).title() for _ in range(rng.randrange(1, 4)))
    if kind == 2:
        return f"{_word(rng)}{rng.randrange(1000)}@{_word(rng)}.example"
    if kind == 3:
        return "".join(rng.choices(string.digits + "-", k=rng.randrange(3, 13))).strip("-") or "0"
    if kind == 4:
        return (datetime(2024, 1, 1) + timedelta(minutes=5 * rng.randrange(300_000))).strftime(FORMAT)
    return f"{_word(rng)} {rng.choice(values_of(rng.choice(COPIED), 'train'))}"


def _word(rng: Random) -> str:
    """A pronounceable word that means nothing."""
    syllables = (
        rng.choice("bcdfghjklmnprstvwz") + rng.choice("aeiou") + rng.choice(("", "", "n", "r", "s", "l"))
        for _ in range(rng.randrange(2, 4))
    )
    return "".join(syllables)
