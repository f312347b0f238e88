"""How good is a plan? Success by graph isomorphism, and beside it whether the arguments agree. Derived in notebook 01.

Source of the success rate: the TinyAgent blog post, "LLMCompiler and function calling"; see `published_slips` in
tests/test_scoring.py for where the published code differs from its description.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import networkx as nx
from networkx.algorithms.isomorphism import DiGraphMatcher
from scipy.stats import binomtest

from tinyagent_helpers.artifacts import InputError, read_jsonl
from tinyagent_helpers.mac.protocol import FREE_TEXT
from tinyagent_helpers.plans import Plan, PlanError, Step, fill_in, parse_plan
from tinyagent_helpers.tools import MAC_TOOLS, Tool

SAME_WORDS = 0.7  # free text agrees when the F1 of its words reaches this
FACTS = re.compile(r"<step\d+>|<[0-9a-f]{64}>|-?\d+(?:[.,:]\d+)*")  # results of steps, and numbers
NEGATIONS = re.compile(r"\b(?:not|no|never|cannot|\w+n't)\b")
PHONE = re.compile(r"\+?[\d ()/-]{5,}")
MAX_COMPARISONS = 20_000  # pairs of steps compared before two plans count as different


class _TooManyWays(Exception):
    """Two plans have so many like steps that the search for a mapping is given up."""


def success(predicted: Plan | str, gold: Plan | str, tools: Mapping[str, Tool] = MAC_TOOLS) -> bool:
    """True if both plans have the same DAG, nodes labelled by tool and, recursively, by what they depend on.

    A prediction that is no valid plan is no success. Argument values are not looked at.

    Raises:
        PlanError: the gold plan is not valid.
    """
    made, wanted = _plan_or_none(predicted, tools), _as_plan(gold, tools)
    return _in_order(made, wanted) is not None or any(True for _ in _mappings(made, wanted, _same_label))


def arguments_agree(predicted: Plan | str, gold: Plan | str, tools: Mapping[str, Tool] = MAC_TOOLS) -> bool:
    """True if the DAGs are the same and so are the arguments of every step.

    Free text (titles, messages, notes) agrees when it shares most of its words, and has the same numbers and results of
    steps in the same order and as many negations; lists agree in any order; anything else agrees up to case, spaces,
    closing punctuation, a leading article, and the way a phone number is written.

    Raises:
        PlanError: the gold plan is not valid.
    """
    made, wanted = _plan_or_none(predicted, tools), _as_plan(gold, tools)
    if (mapping := _in_order(made, wanted)) and _same_under(mapping, made, wanted, tools):
        return True
    tried = 0

    def same_step(one: dict, other: dict) -> bool:
        nonlocal tried
        tried += 1
        if tried > MAX_COMPARISONS:
            raise _TooManyWays
        return _same_label(one, other) and _same_arguments(one["tool"], one["filled"], other["filled"], tools)

    try:
        return any(_same_under(mapping, made, wanted, tools) for mapping in _mappings(made, wanted, same_step))
    except _TooManyWays:
        return False


def wilson(k: int, n: int) -> tuple[float, float]:
    """The 95 % Wilson interval of k successes in n trials, as shares between 0 and 1."""
    if n == 0:
        return 0.0, 1.0
    interval = binomtest(k, n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float:
    """How often chance alone would make two planners, asked the same requests, differ at least so much (exact, two-sided).

    Only requests on which one is right and the other wrong count: if there were no difference, a fair coin would decide each
    (McNemar, 1947).
    """
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    differ = only_first + only_second
    return float(binomtest(only_first, differ).pvalue) if differ else 1.0


def call_overlap(predicted: Plan | str, gold: Plan | str, tools: Mapping[str, Tool] = MAC_TOOLS) -> float:
    """How much of what two plans say is the same, from 0 to 1: the F1 of their calls and of the values in them.

    Empty values say nothing. Values are compared as in `arguments_agree`, each with those in the same place of calls of the
    same tool. A prediction that is no valid plan says nothing.
    """
    made, wanted = _plan_or_none(predicted, tools), _as_plan(gold, tools)
    if made is None:
        return 0.0
    one, other = _sayings(made, tools), _sayings(wanted, tools)
    total, left = len(one) + len(other), list(other)
    for tool, place, value, free_text in one:
        match = (x for x in left if x[:2] == (tool, place) and _same_value(value, x[2], free_text))
        if found := next(match, None):
            left.remove(found)
    return 2 * (len(other) - len(left)) / total if total else 1.0


def _sayings(plan: Plan, tools: Mapping[str, Tool]) -> list[tuple[str, int, Any, bool]]:
    """What a plan says: each call, and each value in it that is not empty, with its tool and place."""
    said = []
    for _, node in _comparable(plan).nodes(data=True):
        said.append((node["tool"], -1, "", False))
        notes = [p.note for p in tools[node["tool"]].parameters] if node["tool"] in tools else []
        for place, (value, note) in enumerate(zip_longest(node["filled"], notes[: len(node["filled"])])):
            values = value if isinstance(value, list) else [value]
            said += [(node["tool"], place, v, note == FREE_TEXT) for v in values if v != ""]
    return said


def failure(predicted: Plan | str | None, gold: Plan, tools: Mapping[str, Tool] = MAC_TOOLS) -> str | None:
    """What is wrong with a predicted plan, in two or three words; None if it succeeds and its arguments agree."""
    if predicted is None:
        return "no prediction"
    try:
        plan = _as_plan(predicted, tools)
    except PlanError as error:
        return f"invalid plan: {error.kind}"
    made, wanted = (Counter(step.tool for step in p.steps) for p in (plan, gold))
    missing, needless = set(wanted) - set(made), set(made) - set(wanted)
    if missing or needless:
        return "wrong tool" if missing and needless else "missing tool" if missing else "needless tool"
    if made != wanted:
        return "wrong number of calls"
    if arguments_agree(plan, gold, tools):
        return None
    return "wrong arguments" if success(plan, gold, tools) else "wrong dependencies"


@dataclass(frozen=True)
class Score:
    """What `score` found: counts, and averages over requests. Every rate is between 0 and 1."""

    n: int
    successes: int
    agreements: int
    tool_recall: float
    tool_precision: float
    failures: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Rates with their 95 % intervals, ready to print."""

        def rate(k: int) -> dict[str, Any]:
            return {"rate": k / self.n, "k": k, "n": self.n, "interval": list(wilson(k, self.n))}

        return {
            "n": self.n,
            "success": rate(self.successes),
            "argument_aware": rate(self.agreements),
            "tool_recall": self.tool_recall,
            "tool_precision": self.tool_precision,
            "failures": self.failures,
        }


def score(predicted: Mapping[str, str], gold: Mapping[str, str], tools: Mapping[str, Tool] = MAC_TOOLS) -> Score:
    """Compare plans by id. A request without a prediction counts as a failure.

    Raises:
        InputError: there is nothing to compare, a prediction has an unknown id, or a gold plan is not valid.
    """
    if not gold:
        raise InputError("there are no gold plans to compare with")
    if unknown := set(predicted) - set(gold):
        raise InputError(
            f"{len(unknown)} predictions have an id that the gold plans lack, for example {min(unknown)!r}"
        )
    failures, recall, precision = Counter(), 0.0, 0.0
    for id, text in gold.items():
        try:
            wanted = parse_plan(text, tools)
        except PlanError as error:
            raise InputError(f"the gold plan of {id!r} is not valid: {error}") from None
        # a plan that is right is often right to the letter
        made = wanted if predicted.get(id) == text else _plan_or_none(predicted.get(id), tools)
        failures[failure(made or predicted.get(id), wanted, tools)] += 1
        shares = _tool_shares(made, wanted)
        recall, precision = recall + shares[0], precision + shares[1]
    right, n = failures.pop(None, 0), len(gold)
    successes = right + failures["wrong arguments"]
    return Score(n, successes, right, recall / n, precision / n, {k: v for k, v in failures.most_common() if v})


def read_plans(path: Path) -> dict[str, str]:
    """The plans of a JSON Lines file by id.

    Raises:
        InputError: a line is malformed, or an id stands in it twice.
    """
    plans: dict[str, str] = {}
    for row in read_jsonl(path, ("id", "plan")):
        if row["id"] in plans:
            raise InputError(f"{path}: id {row['id']!r} stands in it twice; every id may occur once")
        plans[row["id"]] = row["plan"]
    return plans


def _as_plan(plan: Plan | str, tools: Mapping[str, Tool]) -> Plan:
    return plan if isinstance(plan, Plan) else parse_plan(plan, tools)


def _plan_or_none(plan: Plan | str | None, tools: Mapping[str, Tool]) -> Plan | None:
    try:
        return None if plan is None else _as_plan(plan, tools)
    except PlanError:
        return None


def _tool_shares(made: Plan | None, wanted: Plan) -> tuple[float, float]:
    """Of the tools wanted, the share called; of the tools called, the share wanted."""
    wanted_tools = {step.tool for step in wanted.steps}
    made_tools = {step.tool for step in made.steps} if made else set()
    both = len(made_tools & wanted_tools)
    recall = both / len(wanted_tools) if wanted_tools else 1.0
    return recall, both / len(made_tools) if made_tools else float(not wanted_tools and made is not None)


def _same_label(one: dict, other: dict) -> bool:
    return one["label"] == other["label"]


def _in_order(predicted: Plan | None, gold: Plan) -> dict[int, int] | None:
    """Step id to step id, if both plans have the same tools and dependencies in the same order: no need to search for a way."""
    if predicted is None or len(predicted.steps) != len(gold.steps):
        return None
    mapping = {made.id: wanted.id for made, wanted in zip(predicted.steps, gold.steps)}
    same = all(
        made.tool == wanted.tool and {mapping[d] for d in made.depends_on} == set(wanted.depends_on)
        for made, wanted in zip(predicted.steps, gold.steps)
    )
    return mapping if same else None


def _mappings(predicted: Plan | None, gold: Plan, same_step: Callable[[dict, dict], bool]) -> Iterator[dict[int, int]]:
    """The ways to lay the predicted DAG over the gold one: step id to step id."""
    if predicted is None or len(predicted.steps) != len(gold.steps):
        return
    one, other = _comparable(predicted), _comparable(gold)
    if Counter(dict(one.nodes(data="label")).values()) != Counter(dict(other.nodes(data="label")).values()):
        return
    steps, wanted = dict(one.nodes(data=True)), dict(other.nodes(data=True))
    if not all(any(same_step(a, b) for b in wanted.values()) for a in steps.values()):
        return  # a step without a counterpart: no need to try any order of the others
    yield from DiGraphMatcher(one, other, node_match=same_step).isomorphisms_iter()


def _comparable(plan: Plan) -> nx.DiGraph:
    """The plan's graph; `filled` are a step's arguments with references replaced by the label of what they lead to."""
    graph = plan.graph()
    for step in plan.steps:
        labels = {d: f"<{graph.nodes[d]['label']}>" for d in step.depends_on}
        graph.nodes[step.id]["filled"] = fill_in(step.arguments, labels) if labels else step.arguments
    return graph


def _same_under(mapping: dict[int, int], predicted: Plan, gold: Plan, tools: Mapping[str, Tool]) -> bool:
    """Under this mapping of steps, do all calls have the same arguments, references included?"""
    wanted = {step.id: _renamed(step, {d: d for d in step.depends_on}) for step in gold.steps}
    return all(
        _same_arguments(step.tool, _renamed(step, mapping), wanted[mapping[step.id]], tools) for step in predicted.steps
    )


def _renamed(step: Step, mapping: Mapping[int, int]) -> tuple[Any, ...]:
    steps = {d: f"<step{mapping[d]}>" for d in step.depends_on}
    return fill_in(step.arguments, steps) if steps else step.arguments


def _same_arguments(tool: str, one: tuple, other: tuple, tools: Mapping[str, Tool]) -> bool:
    notes = [p.note for p in tools[tool].parameters] if tool in tools else []
    return len(one) == len(other) and all(
        _same_value(a, b, note == FREE_TEXT) for a, b, note in zip_longest(one, other, notes[: len(one)])
    )


def _same_value(a: Any, b: Any, free_text: bool) -> bool:
    if a == b and type(a) is type(b):
        return True
    if isinstance(a, list) and isinstance(b, list):
        return sorted(map(_plain, a)) == sorted(map(_plain, b))
    if free_text and isinstance(a, str) and isinstance(b, str) and a and b:
        same_facts = all(
            pattern.findall(a.casefold()) == pattern.findall(b.casefold()) for pattern in (FACTS, NEGATIONS)
        )
        return _plain(a) == _plain(b) or (same_facts and _word_f1(_plain(a), _plain(b)) >= SAME_WORDS)
    return _plain(a) == _plain(b)


def _plain(value: Any) -> str:
    """A value as text without what does not matter: case, spaces, closing punctuation, a leading article."""
    if not isinstance(value, str):
        return repr(value)
    if PHONE.fullmatch(value):
        return re.sub(r"\D", "", value)
    text = " ".join(value.casefold().split())
    return re.sub(r"^(the|a|an|my) ", "", text.rstrip(".!,;") or text)


def _word_f1(a: str, b: str) -> float:
    one, other = (Counter(re.findall(r"[\w$'<>]+", text)) for text in (a, b))
    common = (one & other).total()
    return 2 * common / (one.total() + other.total()) if common else 0.0
