"""What the nano base reads before it ever sees the Mac: an endless, numbered sequence of sheets.

A sheet is one list of tools, one date, and several requests about them, each with its plan. Sheet i is a function of the
seed and i alone. Five kinds, mixed: requests for the made-up APIs of `apis` with the tools needed and others beside them;
the same with parameters in another order and some that no request mentions, so that signatures must be read; the same
again under opaque names, so that descriptions must be read; dates to work out; and copying: values, and the names of
functions that must be looked up. Some requests no tool shown can answer: their plan is empty.

Copying comes first and alone, as all else builds on it. Most requests name things that nobody has said before: a base that
met every slot with the values of its file only learned them by heart and could not copy others.
"""

import inspect
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from keyword import iskeyword
from random import Random
from typing import Any

from tinyagent_helpers.apis import Domain, load_domains
from tinyagent_helpers.plans import Plan, Step
from tinyagent_helpers.prompts import NANO_TEMPLATE
from tinyagent_helpers.teacher import SLOT, Pattern, share, values_of
from tinyagent_helpers.times import FORMAT, draw_day, draw_now, draw_span, draw_when
from tinyagent_helpers.tools import Tool

SCHEMA_TEMPLATE = replace(NANO_TEMPLATE, schema=True)
EXAMPLES_TEMPLATE = replace(NANO_TEMPLATE, examples=2)
MIX = {"request": 0.26, "reordered": 0.26, "renamed": 0.14, "dates": 0.1, "copy": 0.24}
COPYING_FIRST = 12_000  # this many sheets at the start are copying only: what all else builds on
NOTHING_FITS, SCHEMAS, EXAMPLES = 0.06, 0.08, 0.1  # shares of requests, sheets, requests
NEW_VALUES = 0.6  # of requests say what nobody has said before
UNSAID = Tool.from_signature(
    "unsaid",
    "Parameters that no request says anything about.",
    [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=type_)
        for names, type_ in (("remark label reason contact origin", str), ("helpers tags links copies", list[str]))
        for name in names.split()
    ],
).parameters
REQUESTS = 6  # on a sheet
MAX_DISTRACTORS = 10
FIELDS = ("alpha", "beta", "gamma", "delta", "kappa", "omega")
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
    words = domain_words(domains)
    for number in count(start):
        rng = Random(f"held-out-{seed}-{number}" if held_out else f"{seed}-{number}")
        mix = MIX if held_out or number >= COPYING_FIRST else {"copy": 1.0}
        yield _sheet(rng, mix, domains, everything, words)


def _sheet(
    rng: Random,
    mix: Mapping[str, float],
    domains: Sequence[Domain],
    everything: Sequence[Tool],
    words: Sequence[str],
) -> list[Lesson]:
    kind, now, schema = rng.choices(list(mix), list(mix.values()))[0], draw_now(rng), rng.random() < SCHEMAS
    if kind == "copy":
        tools, asked = _copying(rng, words)
    elif kind == "dates":
        tools, asked = _dates(rng, now, words)
    else:
        tools, asked = _requests(rng, now, domains, everything, words, 2 if schema else MAX_DISTRACTORS)
    if kind in ("reordered", "renamed"):
        tools, asked = reordered(rng, *_with_unsaid(rng, tools, asked))
        asked = [replace(one, kind=kind) if one.kind == "request" else one for one in asked]
    if kind == "renamed":
        tools, asked = renamed(rng, tools, asked, words)
    return [_lesson(rng, one, [o for o in asked if o is not one], now, tools, schema) for one in asked]


def _lesson(
    rng: Random, one: Asked, others: Sequence[Asked], now: datetime, tools: Mapping[str, Tool], schema: bool
) -> Lesson:
    template = SCHEMA_TEMPLATE if schema else EXAMPLES_TEMPLATE if rng.random() < EXAMPLES else NANO_TEMPLATE
    examples = [(o.request, o.plan.to_text()) for o in rng.sample(others, min(template.examples, len(others)))]
    return Lesson(template.plan(one.request, now, tools, examples), template.write(one.plan.to_text()), one.kind)


def _requests(
    rng: Random,
    now: datetime,
    domains: Sequence[Domain],
    everything: Sequence[Tool],
    words: Sequence[str],
    distractors: int,
) -> tuple[dict[str, Tool], list[Asked]]:
    """Requests for one domain, the tools that they need, and up to `distractors` others."""
    domain, needed, asked = rng.choice(domains), {}, []
    for pattern in rng.choices(domain.patterns, k=3 if distractors < REQUESTS else REQUESTS):
        values = new_values(rng, domain, pattern, words) if rng.random() < NEW_VALUES else {}
        drawn = domain.draw(pattern, rng, now, values)
        needed |= {step.tool: domain.tools[step.tool] for step in drawn.plan.steps}
        asked.append(Asked(drawn.request, drawn.plan, "request"))
    tools = _with_distractors(rng, needed, domain, everything, rng.randrange(distractors + 1))
    return tools, [_nothing_fits(rng, now, domains, tools) if rng.random() < NOTHING_FITS else one for one in asked]


def domain_words(domains: Sequence[Domain]) -> list[str]:
    """Every word of the values that training may use."""
    return words_of([domain.values for domain in domains])


def words_of(values: Iterable[Mapping[str, Iterable[str]]]) -> list[str]:
    """Every word of these values, and of the recorded teacher's texts that training may use."""
    own = [value for kinds in values for texts in kinds.values() for value in texts]
    texts = own + [value for kind in COPIED for value in values_of(kind, "train")]
    return sorted({word for text in texts for word in text.split() if not set(word) & set("{}=>")})


def new_values(rng: Random, domain: Domain, pattern: Pattern, words: Sequence[str]) -> dict[str, list[str]]:
    """For each slot of the pattern that any text may fill, phrases that nobody has said before."""
    kinds = {match.group(1) for match in SLOT.finditer(pattern.request)} & domain.open_kinds
    return {kind: [phrase_of(rng, words) for _ in range(8)] for kind in sorted(kinds)}


def phrase_of(rng: Random, words: Sequence[str]) -> str:
    """One to four words, some of them without a meaning, some capitalised, now and then with a number behind."""
    said = [_word(rng) if rng.random() < 0.3 else rng.choice(words) for _ in range(rng.randrange(1, 5))]
    if rng.random() < 0.3:
        said = [word.capitalize() for word in said]
    return " ".join(said + [str(rng.randrange(1, 1000))] * (rng.random() < 0.15))


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


def _with_unsaid(rng: Random, tools: Mapping[str, Tool], asked: Sequence[Asked]) -> tuple[dict[str, Tool], list[Asked]]:
    """The same with up to two more parameters a tool that no request mentions; plans give them "" or []."""
    more = {name: rng.sample(UNSAID, rng.choice((0, 0, 1, 2))) for name in tools}
    names = {name: {p.name for p in tool.parameters} for name, tool in tools.items()}
    more = {name: [p for p in added if p.name not in names[name]] for name, added in more.items()}
    shown = {name: replace(tool, parameters=(*more[name], *tool.parameters)) for name, tool in tools.items()}

    def fill(step: Step) -> tuple[str, tuple[Any, ...]]:
        return step.tool, (*("" if p.type is str else [] for p in more[step.tool]), *step.arguments)

    return shown, [replace(one, plan=Plan.of(fill(step) for step in one.plan.steps)) for one in asked]


def reordered(rng: Random, tools: Mapping[str, Tool], asked: Sequence[Asked]) -> tuple[dict[str, Tool], list[Asked]]:
    """The same tools and plans with the required parameters in another order."""
    orders = {name: rng.sample(range(tool.required), tool.required) for name, tool in tools.items()}

    def reorder(name: str, values: Sequence[Any]) -> tuple[Any, ...]:
        return (*(values[i] for i in orders[name]), *values[len(orders[name]) :])

    shown = {name: replace(tool, parameters=reorder(name, tool.parameters)) for name, tool in tools.items()}
    plans = [Plan.of((step.tool, reorder(step.tool, step.arguments)) for step in one.plan.steps) for one in asked]
    return shown, [replace(one, plan=plan) for one, plan in zip(asked, plans, strict=True)]


def renamed(
    rng: Random, tools: Mapping[str, Tool], asked: Sequence[Asked], words: Sequence[str]
) -> tuple[dict[str, Tool], list[Asked]]:
    """The same tools and plans under names that say nothing."""
    names = {name: name_of(rng, words) for name in tools}
    shown = {names[name]: replace(tool, name=names[name]) for name, tool in tools.items()}
    plans = [Plan.of((names[step.tool], step.arguments) for step in one.plan.steps) for one in asked]
    return shown, [replace(one, plan=plan) for one, plan in zip(asked, plans, strict=True)]


def _copying(rng: Random, words: Sequence[str]) -> tuple[dict[str, Tool], list[Asked]]:
    """Call functions with given values. Names mean nothing: a function is found by the words of its description, which for
    half of the functions are also its name's. Values are stated in another order than the call needs them."""
    tools, about = {}, {}
    for _ in range(rng.choice((1, 2, 2, 3, 4, 6))):
        phrase = _plain(rng, words, 3)
        name = "_".join(phrase[:2]) if rng.random() < 0.5 else name_of(rng, words)
        about[name] = phrase
        tools |= _one_tool(name, f"{' '.join(phrase)}.", rng.sample(FIELDS, rng.randrange(1, 4)))
    asked = []
    for _ in range(REQUESTS):
        steps, sentences = [], []
        for tool in rng.choices(list(tools.values()), k=rng.randrange(1, 4)):
            values = {parameter.name: _something(rng) for parameter in tool.parameters}
            said = ", ".join(f"{field} {value}" for field, value in rng.sample(list(values.items()), len(values)))
            sentences.append(f"{' '.join(rng.sample(about[tool.name], 2))} with {said}")
            steps.append((tool.name, list(values.values())))
        asked.append(
            Asked(f"{rng.choice(('Do', 'Please do', 'I need'))} {'; '.join(sentences)}", Plan.of(steps), "copy")
        )
    return tools, asked


def name_of(rng: Random, words: Sequence[str]) -> str:
    """A tool's name that says nothing: of words without a meaning, or of others."""
    return "_".join([_word(rng), _word(rng)] if rng.random() < 0.5 else _plain(rng, words, rng.randrange(2, 4)))


def _plain(rng: Random, words: Sequence[str], number: int) -> list[str]:
    """Different words that a name may be made of."""
    found = [word for word in rng.sample(words, 60) if word.isascii() and word.isalpha() and word.islower()]
    return rng.sample([word for word in found if not iskeyword(word)], number)


def _dates(rng: Random, now: datetime, words: Sequence[str]) -> tuple[dict[str, Tool], list[Asked]]:
    """Call one function with the dates that were meant, in the order in which they were said."""
    asked, name = [], name_of(rng, words)
    for _ in range(REQUESTS):
        moments = [
            (draw_when, draw_when, draw_day, draw_span)[rng.randrange(4)](rng, now) for _ in range(rng.randrange(1, 4))
        ]
        steps = [(name, [(m.start).strftime(FORMAT), m.end.strftime(FORMAT) if m.end else ""]) for m in moments]
        request = f"{rng.choice(('Mark', 'Please mark', 'mark'))} {'; '.join(moment.say for moment in moments)}"
        asked.append(Asked(request, Plan.of(steps), "dates"))
    return _one_tool(name, "Mark a time, or a stretch of time.", ["start", "end"]), asked


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
