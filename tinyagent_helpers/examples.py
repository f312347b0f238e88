"""What the planner is fine-tuned on: prompts, and the texts that should follow them.

A row of data gives a plan to write and a join to write. A row whose plan looks somebody or something up also gives a
failure: the lookup finds nothing, and the joiner must plan again, ask, or say so; a second plan then does what is left.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from tinyagent_helpers.joins import Join
from tinyagent_helpers.mac import observations as said
from tinyagent_helpers.plans import Plan, Step, fill_in, parse_plan
from tinyagent_helpers.prompts import ExampleIndex, PromptTemplate
from tinyagent_helpers.synthesis import is_held_out
from tinyagent_helpers.teacher import values_of
from tinyagent_helpers.times import moment_of
from tinyagent_helpers.tools import MAC_TOOLS, Tool

CONTACTS, FILES = (said.no_contact, said.several_contacts), (said.no_file, said.several_files)
LOOKUPS = {"get_phone_number": CONTACTS, "get_email_address": CONTACTS, "open_and_get_file_path": FILES}
ALL_TOOLS = 0.8  # the share of plans learned with every tool shown; when few were, nearly all shown were needed
TWO_IN_ONE = 0.6  # how often a plan is learned from two requests in one, where they can be joined (two times in five)
DATED = {"create_calendar_event", "create_reminder", "get_zoom_meeting_link"}  # their plans belong to one day
JOINS, FAILURES = 0.2, 0.4  # for every plan: joins; the share of those, and of second plans, that follow a failure


@dataclass(frozen=True)
class Pair:
    """What the model is shown and what it should write; `task` is "plan", "join" or "replan"."""

    prompt: str
    completion: str
    task: str


@dataclass(frozen=True)
class Failure:
    """A run whose first lookup found nothing: what each step returned, the verdict, and the next plan, if there is one."""

    observations: list[str]
    join: Join
    retry: Plan | None


def training_pairs(
    rows: Iterable[Mapping[str, Any]],
    template: PromptTemplate,
    seed: int,
    negatives: int,
    index: ExampleIndex | None = None,
    joins: float = JOINS,
    all_tools: float = ALL_TOOLS,
    tools: Mapping[str, Tool] = MAC_TOOLS,
    joined: float = TWO_IN_ONE,
) -> list[Pair]:
    """For every row a plan to write, and for some a join or, after a failure, a join and perhaps a second plan.

    `all_tools`: the share of plans learned with every tool shown; the others show at most `negatives` of `tools` that are
    not needed. `joined`: how often a plan is learned from two requests in one, where they can be. Rows for other tools than
    the Mac's have no observations, so they want `joins` 0.
    """
    pairs, rng, rows = [], Random(f"pairs-{seed}"), list(rows)
    for row in rows:
        alone = shown_tools(row["tools"], rng, negatives, all_tools, tools)
        both = two_in_one(row, rng.choice(rows), rng, tools) if rng.random() < joined else None
        asked, shown = (both, shown_tools(both["tools"], rng, negatives, all_tools, tools)) if both else (row, alone)
        examples = index.nearest(asked["request"], template.examples, shown) if index else ()
        pairs.append(plan_pair(asked, template, shown, examples))
        if rng.random() < joins:
            failure = fail(row, rng) if rng.random() < FAILURES else None
            near = index.nearest(row["request"], template.examples, alone) if index and failure else ()
            pairs += after_failure(row, failure, template, alone, near) if failure else [join_pair(row, template)]
    return pairs


def shown_tools(
    needed: Sequence[str],
    rng: Random,
    negatives: int,
    all_tools: float = ALL_TOOLS,
    tools: Mapping[str, Tool] = MAC_TOOLS,
) -> dict[str, Tool]:
    """The tools needed among all (so often: `all_tools`), or among up to `negatives` others; always in the same order."""
    others = [name for name in tools if name not in needed]
    number = len(others) if rng.random() < all_tools and negatives else rng.randrange(min(negatives, len(others)) + 1)
    shown = {*needed, *rng.sample(others, number)}
    return {name: tool for name, tool in tools.items() if name in shown}


def two_in_one(
    row: Mapping[str, Any], other: Mapping[str, Any], rng: Random, known: Mapping[str, Tool] = MAC_TOOLS
) -> dict[str, Any] | None:
    """Two requests said in one breath, and one plan for both, so that more combinations of tools are learned than the data
    have; None if the other one's plan belongs to a day, or together they need a combination that is held out."""
    tools = frozenset((*row["tools"], *other["tools"]))
    if row is other or DATED & set(other["tools"]) or is_held_out(tools):
        return None
    steps = [(which, step) for which in (row, other) for step in parse_plan(which["plan"], known).steps]
    steps.sort(key=lambda part: part[1].tool not in LOOKUPS or bool(part[1].depends_on))
    results = {(id(which), step.id): f"${number}" for number, (which, step) in enumerate(steps, 1)}
    calls = [
        (step.tool, fill_in(step.arguments, {d: results[id(which), d] for d in step.depends_on}))
        for which, step in steps
    ]
    between = rng.choice((". ", ". Also: ", ", and: ", "; ", " + ", ". And ", "\n", ". Then: "))
    request = row["request"].rstrip(" .") + between + other["request"]
    return {"request": request, "now": row["now"], "plan": Plan.of(calls).to_text(), "tools": sorted(tools)}


def plan_pair(
    row: Mapping[str, Any],
    template: PromptTemplate,
    tools: Mapping[str, Tool],
    examples: Sequence[tuple[str, str]] = (),
) -> Pair:
    """Request to plan."""
    return Pair(
        template.plan(row["request"], moment_of(row["now"]), tools, examples), template.write(row["plan"]), "plan"
    )


def join_pair(row: Mapping[str, Any], template: PromptTemplate) -> Pair:
    """Request, plan and results to a message."""
    return Pair(template.join(row["request"], row["plan"], row["observations"]), row["join"], "join")


def after_failure(
    row: Mapping[str, Any],
    failure: Failure,
    template: PromptTemplate,
    tools: Mapping[str, Tool],
    examples: Sequence[tuple[str, str]] = (),
) -> list[Pair]:
    """Request, plan and results that say what went wrong to a verdict, and to the next plan if that can help."""
    prompt = template.join(row["request"], row["plan"], failure.observations)
    pairs = [Pair(prompt, failure.join.to_text(), "join")]
    if failure.retry:
        earlier = [(row["plan"], failure.observations)]
        prompt = template.plan(row["request"], moment_of(row["now"]), tools, examples, earlier)
        pairs.append(Pair(prompt, template.write(failure.retry.to_text()), "replan"))
    return pairs


def fail(row: Mapping[str, Any], rng: Random) -> Failure | None:
    """Let the plan's first lookup find nothing, in one of four ways; None if it looks nothing up by name."""
    plan = parse_plan(row["plan"])
    lookup = next((s for s in plan.steps if s.tool in LOOKUPS and not s.depends_on), None)
    if lookup is None:
        return None
    name, (nothing, several) = lookup.arguments[0], LOOKUPS[lookup.tool]
    near = [_like(name, rng, number) for number in range(rng.randrange(1, 3))]
    way = rng.choice(("one near", "one near", "two near", "several", "nothing"))
    if way == "one near":
        observations = _observations(plan, row["observations"], lookup, nothing(name, near[:1]))
        join = Join(thought=f"Step {lookup.id} failed; {near[0]} may be meant.", replan=True)
        return Failure(observations, join, _retry(plan, observations, lookup, near[0]))
    found = [f"{name} {last}" for last in rng.sample(values_of("last", "train"), 2)]
    problem = {"two near": nothing(name, near), "several": several(name, found), "nothing": nothing(name)}[way]
    question = {"two near": f" Did you mean {' or '.join(near)}?", "several": " Which one do you mean?"}.get(way, "")
    told = nothing(name) if way != "several" else f"There are {' and '.join(found)}."
    join = Join(f"I could not do that. {told}{question}", f"Step {lookup.id} failed.")
    return Failure(_observations(plan, row["observations"], lookup, problem), join, None)


def _observations(plan: Plan, observations: Sequence[str], lookup: Step, problem: str) -> list[str]:
    """What the steps return if one fails: those that need it are not run."""
    failed, made = {lookup.id: f"Error: {problem}"}, []
    for step, observation in zip(plan.steps, observations, strict=True):
        if broken := [d for d in step.depends_on if d in failed]:
            failed[step.id] = f"Error: not run, because step {broken[0]} failed"
        made.append(failed.get(step.id, observation))
    return made


def _retry(plan: Plan, observations: Sequence[str], lookup: Step, name: str) -> Plan:
    """What is left to do, with another name to look up; results that are there already are written out."""
    results = dict(zip((step.id for step in plan.steps), observations, strict=True))
    left = [step for step in plan.steps if results[step.id].startswith("Error: ")]
    results |= {step.id: f"${number}" for number, step in enumerate(left, 1)}
    calls = []
    for step in left:
        arguments = (name, *step.arguments[1:]) if step is lookup else step.arguments
        calls.append((step.tool, fill_in(arguments, {d: results[d] for d in step.depends_on})))
    return Plan.of(calls)


def _like(name: str, rng: Random, number: int) -> str:
    """Another name spelt much like this one, as a contact or file might really be called."""
    at = rng.randrange(1, max(2, len(name.partition(".")[0])))
    changed = rng.choice(
        (name[:at] + name[at - 1 :], name[:at] + name[at + 1 :], name[:at] + rng.choice("aeiou") + name[at:])
    )
    changed = changed if changed != name else name[:at] + "e" + name[at:]
    return changed if "." in name or not number else f"{changed} {rng.choice(values_of('last', 'train'))}"
