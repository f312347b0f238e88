"""What the nano base reads before it ever sees the Mac: an endless, numbered sequence of examples.

Example i is a function of the seed and i alone. Four kinds, mixed: requests for the made-up APIs of `apis` with the tools
needed and others beside them; the same with opaque tool names, so that descriptions must be read; requests that no tool
shown can answer, whose plan is empty; and pure copying, which a small model learns last and needs most.
"""

import inspect
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from random import Random

from tinyagent_helpers.apis import Domain, load_domains
from tinyagent_helpers.plans import Plan
from tinyagent_helpers.prompts import PromptTemplate
from tinyagent_helpers.teacher import share, values_of
from tinyagent_helpers.times import FORMAT, draw_now
from tinyagent_helpers.tools import Tool

NANO_TEMPLATE = PromptTemplate(parameters=False, guidelines=False)
SCHEMA_TEMPLATE = replace(NANO_TEMPLATE, schema=True)
MIX = {"request": 0.56, "renamed": 0.12, "nothing fits": 0.05, "copy": 0.27}
MAX_DISTRACTORS = 8
COPIED = ("first", "last", "title", "topic", "place", "file", "note", "content", "message", "context", "task")


@dataclass(frozen=True)
class Lesson:
    """One example: what the model is shown, and the plan it should write. `kind` is a key of MIX."""

    prompt: str
    plan: str
    kind: str


def lessons(seed: int, start: int = 0, held_out: bool = False) -> Iterator[Lesson]:
    """Examples from number `start` on; `held_out` gives those of the domains that training never sees.

    One domain in ten is held out whole, by its name.
    """
    domains = [d for d in load_domains() if (share("domain:" + d.name) >= 0.9) == held_out]
    everything = [tool for domain in domains for tool in domain.tools.values()]
    for number in count(start):
        yield _lesson(Random(f"{seed}-{number}"), domains, everything)


def _lesson(rng: Random, domains: Sequence[Domain], everything: Sequence[Tool]) -> Lesson:
    kind = rng.choices(list(MIX), list(MIX.values()))[0]
    template = SCHEMA_TEMPLATE if rng.random() < 0.15 else NANO_TEMPLATE
    if kind == "copy":
        return _copying(rng, template)
    domain = rng.choice(domains)
    drawn = domain.draw(rng.choice(domain.patterns), rng)
    needed = {step.tool: domain.tools[step.tool] for step in drawn.plan.steps}
    shown, plan = _with_distractors(rng, needed, domain, everything), drawn.plan
    if kind == "nothing fits":
        others = [tool for tool in everything if tool.name not in domain.tools]
        shown, plan = {tool.name: tool for tool in rng.sample(others, rng.randrange(1, 6))}, Plan()
    if kind == "renamed":
        shown, plan = _renamed(rng, shown, plan)
    return Lesson(template.plan(drawn.request, drawn.now, shown), plan.to_text(), kind)


def _with_distractors(
    rng: Random, needed: Mapping[str, Tool], domain: Domain, everything: Sequence[Tool]
) -> dict[str, Tool]:
    """The tools needed and up to eight others, half of them of the same domain, in random order."""
    number = rng.randrange(MAX_DISTRACTORS + 1)
    near = rng.sample(list(domain.tools.values()), min(number // 2, len(domain.tools)))
    far = rng.sample(everything, min(number - number // 2, len(everything)))
    tools = list({tool.name: tool for tool in [*needed.values(), *near, *far]}.values())
    rng.shuffle(tools)
    return {tool.name: tool for tool in tools}


def _renamed(rng: Random, tools: Mapping[str, Tool], plan: Plan) -> tuple[dict[str, Tool], Plan]:
    """The same tools and plan under names that say nothing."""
    names = {name: f"{_word(rng)}_{_word(rng)}" for name in tools}
    shown = {names[name]: replace(tool, name=names[name]) for name, tool in tools.items()}
    return shown, Plan.of((names[step.tool], step.arguments) for step in plan.steps)


def _copying(rng: Random, template: PromptTemplate) -> Lesson:
    """Call one function with given values, stated in another order than the call needs them."""
    fields = rng.sample(["alpha", "beta", "gamma", "delta", "kappa", "omega"], rng.randrange(1, 5))
    steps, sentences = [], []
    for _ in range(rng.randrange(1, 4)):
        values = {field: _something(rng) for field in fields}
        said = rng.sample(fields, len(fields))
        sentences.append(", ".join(f"{field} {values[field]}" for field in said))
        steps.append(("keep", [values[field] for field in fields]))
    parameters = [inspect.Parameter(f, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=str) for f in fields]
    tools = {"keep": Tool.from_signature("keep", "Keep these values.", parameters)}
    request = f"{rng.choice(('Keep', 'Please keep', 'I need you to keep', 'keep'))} {'; '.join(sentences)}"
    return Lesson(template.plan(request, draw_now(rng), tools), Plan.of(steps).to_text(), "copy")


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
