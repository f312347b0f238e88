"""What a plan earns in reinforcement learning: rewards that a program can verify, no model of taste. Derived in notebook 05.

Each takes a plan and the right one, as texts. What they are worth beside each other says `WEIGHTS`.
"""

from collections.abc import Callable, Mapping
from math import exp

from tinyagent_helpers.plans import PlanError, parse_plan
from tinyagent_helpers.scoring import call_overlap, success
from tinyagent_helpers.tools import MAC_TOOLS, Tool

Reward = Callable[[str, str], float]


def parses(plan: str, gold: str, tools: Mapping[str, Tool] = MAC_TOOLS) -> float:
    """1 for a valid plan with at least one step, else 0."""
    return float(_steps(plan, tools) > 0)


def right_graph(plan: str, gold: str, tools: Mapping[str, Tool] = MAC_TOOLS) -> float:
    """1 for the right tools with the right dependencies, else 0: the success rate's own verdict."""
    return float(success(plan, gold, tools))


def right_arguments(plan: str, gold: str, tools: Mapping[str, Tool] = MAC_TOOLS) -> float:
    """How much of what the right plan says is said, and nothing else, from 0 to 1; half right earns half."""
    return call_overlap(plan, gold, tools)


def brevity(plan: str, gold: str, tools: Mapping[str, Tool] = MAC_TOOLS) -> float:
    """0 for a plan with no more steps than the right one; each step more costs, down to -1."""
    return exp(-max(0, _steps(plan, tools) - _steps(gold, tools)) / 2) - 1


WEIGHTS: dict[Reward, float] = {parses: 0.2, right_graph: 1.0, right_arguments: 1.0, brevity: 0.2}


def total(plan: str, gold: str, weights: Mapping[Reward, float] = WEIGHTS) -> float:
    """The weighted sum. With `WEIGHTS` no plan earns more than the right one, and an empty one earns nothing."""
    return sum(weight * reward(plan, gold) for reward, weight in weights.items())


def _steps(plan: str, tools: Mapping[str, Tool]) -> int:
    try:
        return len(parse_plan(plan, tools).steps)
    except PlanError:
        return 0
