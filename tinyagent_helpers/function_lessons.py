"""What the nano caller reads: sheets, as in `curriculum`, of made-up functions. See notebook 08.

Three kinds, mixed: one function, asked for once or several times; several functions, some of them of the same field, and requests
for one or two; and functions made of parameters of all fields, where only a parameter's name says which number is whose. In
the first two, a part of the requests wants something that no function shown can do: then nothing is to be called.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import count
from random import Random
from typing import Any, get_origin

from tinyagent_helpers.curriculum import REQUESTS, Asked, Lesson, name_of, phrase_of, renamed, reordered, words_of
from tinyagent_helpers.functions import Function, load_functions
from tinyagent_helpers.plans import Plan, Step
from tinyagent_helpers.prompts import NANO_TEMPLATE
from tinyagent_helpers.teacher import share
from tinyagent_helpers.times import draw_now
from tinyagent_helpers.tools import Tool

MIX = {"one": 0.5, "several": 0.35, "bound": 0.15}
NOTHING_FITS = 0.25  # of requests
NEAR = 0.3  # of those are for a function of the same field
NEW_TEXTS, JOINED = 0.4, 0.4  # of requests: texts that nobody has said before; two wishes in one
REORDERED, RENAMED = 0.4, 0.3  # of sheets
MOST_FUNCTIONS = 6
SAID_BEFORE = ("", "", "", "Please: ", "Hi! ", "Quick one: ", "Could you help me? ", "For my report: ")
BETWEEN = (" Also, ", " Then: ", " And ", " After that, ", " Besides, ", " ")
BINDINGS = ("{name} {value}", "{value} as {name}", "a {name} of {value}", "{name} = {value}", "the {name} is {value}", "{name}: {value}")  # fmt: skip


def sheets(seed: int, start: int = 0, held_out: bool = False) -> Iterator[list[Lesson]]:
    """The lessons of one sheet after another, from sheet number `start` on; `held_out` gives sheets of the fields that training
    never sees: one in ten, chosen by its name."""
    functions = [f for f in load_functions() if (share("field:" + f.field) >= 0.9) == held_out]
    words = words_of([function.texts for function in functions])
    for number in count(start):
        yield _sheet(Random(f"functions-{held_out}-{seed}-{number}"), functions, words)


def _sheet(rng: Random, functions: Sequence[Function], words: Sequence[str]) -> list[Lesson]:
    kind, now = rng.choices(list(MIX), list(MIX.values()))[0], draw_now(rng)
    if kind == "bound":
        tools, asked = _bound(rng, functions, words)
    else:
        shown = [rng.choice(functions)] if kind == "one" else _several(rng, functions)
        tools = {function.tool.name: function.tool for function in shown}
        asked = [_asked(rng, shown, functions, words) for _ in range(REQUESTS)]
    if rng.random() < REORDERED:
        tools, asked = reordered(rng, tools, asked)
    if rng.random() < RENAMED:
        tools, asked = renamed(rng, tools, asked, words)
    return [_lesson(one, now, tools) for one in asked]


def _lesson(asked: Asked, now: datetime, tools: Mapping[str, Tool]) -> Lesson:
    prompt = NANO_TEMPLATE.plan(asked.request, now, tools)
    return Lesson(prompt, NANO_TEMPLATE.write(asked.plan.to_text()), asked.kind)


def _several(rng: Random, functions: Sequence[Function]) -> list[Function]:
    """Two functions or more, about half of them of one field."""
    first, number = rng.choice(functions), rng.randrange(2, MOST_FUNCTIONS + 1)
    near = [f for f in functions if f.field == first.field]
    found = [first, *rng.sample(near, min(number // 2, len(near))), *rng.sample(functions, number // 2)]
    return rng.sample(unique := list({f.tool.name: f for f in found}.values()), len(unique))


def _asked(rng: Random, shown: Sequence[Function], functions: Sequence[Function], words: Sequence[str]) -> Asked:
    """A request for functions that are shown, or for one that is not."""
    if rng.random() < NOTHING_FITS:
        fields, names = {f.field for f in shown}, {f.tool.name for f in shown}
        near = rng.random() < NEAR
        wanted = [f for f in functions if f.tool.name not in names and (f.field in fields) == near]
        return Asked(_draw(rng, rng.choice(wanted), words)[0], Plan(), "nothing fits")
    request, steps = _draw(rng, rng.choice(shown), words)
    if rng.random() < JOINED and (len(shown) > 1 or rng.random() < 0.4):
        also, more = _draw(rng, rng.choice(shown), words)
        request, steps = request + rng.choice(BETWEEN) + also, [*steps, *more]
    return Asked(rng.choice(SAID_BEFORE) + request, Plan.of((s.tool, s.arguments) for s in steps), "function")


def _draw(rng: Random, function: Function, words: Sequence[str]) -> tuple[str, list[Step]]:
    new = rng.random() < NEW_TEXTS
    return function.draw(rng.choice(function.wordings), rng, (lambda: phrase_of(rng, words)) if new else None)


def _bound(rng: Random, functions: Sequence[Function], words: Sequence[str]) -> tuple[dict[str, Tool], list[Asked]]:
    """Functions of two to four parameters of any fields; requests say each parameter's name beside its value, in any order."""
    made = {}
    for _ in range(rng.choice((1, 1, 2, 3))):
        parts = {p.name: (f, p) for f in rng.sample(functions, 3) for p in f.tool.parameters if p.type is not bool}
        chosen = rng.sample(list(parts), min(len(parts), rng.randrange(2, 5)))
        about, name = rng.choice(functions).tool, name_of(rng, words)
        tool = Tool(name, about.description, tuple(parts[n][1] for n in chosen))
        made[name] = tool, {n: parts[n][0] for n in chosen}
    asked = []
    for _ in range(REQUESTS):
        wishes = [_wish(rng, *rng.choice(list(made.values())), words) for _ in range(rng.choice((1, 1, 2, 3)))]
        request = "; ".join(said for said, _ in wishes)
        asked.append(Asked(request, Plan.of((step for _, steps in wishes for step in steps)), "bound"))
    return {name: tool for name, (tool, _) in made.items()}, asked


def _wish(
    rng: Random, tool: Tool, owners: Mapping[str, Function], words: Sequence[str]
) -> tuple[str, list[tuple[str, Sequence[Any]]]]:
    """One or two calls of a function, said in a row: values for each name in turn if there are two (and none is a list)."""
    lists = any(get_origin(parameter.type) is list for parameter in tool.parameters)
    calls, texts = 1 if lists else rng.choice((1, 1, 1, 2)), []
    values: list[list[Any]] = [[] for _ in range(calls)]
    for parameter in tool.parameters:
        said = [owners[parameter.name].value(parameter, rng, lambda: phrase_of(rng, words)) for _ in range(calls)]
        for call, (_, value) in zip(values, said):
            call.append(value)
        name, form = parameter.name.replace("_", " "), rng.choice(BINDINGS)
        texts.append(form.format(name=name, value=" and ".join(text for text, _ in said)))
    what = " ".join(tool.description.rstrip(".").split()[: rng.randrange(3, 10)])
    return f"{what} with {', '.join(rng.sample(texts, len(texts)))}", [(tool.name, call) for call in values]
