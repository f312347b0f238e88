"""Checks for the exercises: "Correct.", a hint, or "Not tried yet."; never a crash.

An exercise that was not touched holds `...`, or is a function that returns `...`.
"""

from collections.abc import Callable
from functools import wraps
from random import Random
from typing import Any

import gguf
import numpy as np

from tinyagent_helpers.plans import PlanError, parse_plan
from tinyagent_helpers.scoring import arguments_agree, success
from tinyagent_helpers.tools import Tool


class Hint(Exception):
    """What a learner should look at again."""


def _exercise(check: Callable[[Any], str]) -> Callable[[Any], None]:
    """Print the verdict of a check, whatever the answer is or does."""

    @wraps(check)
    def verdict(answer: Any, *given: Any) -> None:
        if answer is ...:
            print("Not tried yet.")
            return
        try:
            print(f"Correct. {check(answer, *given)}")
        except Untouched:
            print("Not tried yet.")
        except Hint as hint:
            print(f"Not yet. {hint}")
        except Exception as error:
            print(f"Not yet. Your answer stopped with {type(error).__name__}: {error}")

    return verdict


class Untouched(Exception):
    """The learner's function still returns `...`."""


def _call(function: Any, *arguments: Any) -> Any:
    if not callable(function):
        raise Hint(f"The answer should be a function, not {function!r:.60}.")
    result = function(*arguments)
    if result is ...:
        raise Untouched
    return result


def _plan(text: Any):
    if not isinstance(text, str):
        raise Hint("The answer should be the text of a plan.")
    try:
        return parse_plan(text)
    except PlanError as error:
        raise Hint(f"This is not a plan yet: {error}") from None


@_exercise
def ex_00_1(answer: set[int]) -> str:
    """Which steps of the tour's second plan wait for no other step?"""
    if not isinstance(answer, (set, frozenset, list, tuple)) or not all(isinstance(n, int) for n in answer):
        raise Hint("Give a set of step numbers, such as {1, 2}.")
    given, free = set(answer), {1, 3, 5, 7}
    if given == free:
        return "None of their arguments holds a $; all four can start at once."
    if 8 in given:
        raise Hint("Step 8 is join(): it waits for all the others.")
    if unknown := given - set(range(1, 8)):
        raise Hint(f"The plan has no step {min(unknown)}.")
    if given - free:
        raise Hint(f"Step {min(given - free)} uses the result of another step: look for the $ in its arguments.")
    raise Hint(f"{len(given)} of the four are found. Which other steps have no $ in their arguments?")


@_exercise
def ex_00_2(answer: str) -> str:
    """A plan for: Text Mom and Dad that the train is late."""
    gold = '1. get_phone_number("Mom")\n2. get_phone_number("Dad")\n3. send_sms(["$1", "$2"], "the train is late")\n4. join()'
    plan = _plan(answer)
    if sum(step.tool == "send_sms" for step in plan.steps) > 1:
        raise Hint("Several recipients go into one send_sms.")
    if not success(plan, gold):
        raise Hint(
            "The right tools with the right dependencies: look up both numbers, then send one message that uses both."
        )
    if not arguments_agree(plan, gold):
        raise Hint("The steps are right; compare the names and the message with the request.")
    return "The same graph, the same arguments."


@_exercise
def ex_01_1(answer: Callable) -> str:
    """A tool from a function: add_to_cart(item: str, count: int = 1) -> str, with a docstring."""
    if not callable(answer):
        raise Hint("The answer should be a function.")
    if not answer.__doc__ and not getattr(answer, "__annotations__", None) and _returns_ellipsis(answer):
        raise Untouched
    try:
        tool = Tool.from_function(answer)
    except TypeError as error:
        raise Hint(str(error)) from None
    if [(p.name, p.type) for p in tool.parameters] != [("item", str), ("count", int)]:
        raise Hint("It should take item: str and count: int, in this order.")
    if tool.name != "add_to_cart":
        raise Hint("The planner calls it by its name, which should be add_to_cart.")
    if tool.required != 1:
        raise Hint("count should have a default, so that one argument is enough.")
    if not tool.description or not all(p.description for p in tool.parameters):
        raise Hint("The planner reads the docstring: say what the tool does and, under Args:, what each parameter is.")
    parse_plan('1. add_to_cart("tea", 2)\n2. join()', {"add_to_cart": tool})
    return f"The planner will read: {tool.to_prompt().splitlines()[0]}"


def _returns_ellipsis(function: Callable) -> bool:
    try:
        return function("tea", 1) is ...
    except Exception:
        return False


@_exercise
def ex_01_2(answer: Callable) -> str:
    """shortest_time(plan, seconds): how long a plan takes when every step starts as soon as it can."""
    rng = Random(0)
    for trial in range(20):
        calls = []
        for i in range(1, rng.randrange(2, 8)):
            used = [f"${d}" for d in range(1, i) if rng.random() < 0.4]
            calls.append(f'{i}. send_sms({used}, "x")')
        plan = parse_plan("\n".join([*calls, f"{len(calls) + 1}. join()"]))
        seconds = {step.id: rng.choice((0.5, 1.0, 2.0)) for step in plan.steps}
        ends: dict[int, float] = {}
        for step in plan.steps:
            ends[step.id] = seconds[step.id] + max((ends[d] for d in step.depends_on), default=0)
        wanted, got = max(ends.values()), _call(answer, plan, seconds)
        if not isinstance(got, (int, float)) or abs(got - wanted) > 1e-9:
            raise Hint(
                f"For {plan.to_text()!r} with {seconds} it should be {wanted}, not {got!r}. A step ends its own seconds after the last step it depends on has ended."
            )
    return "That is the length of the longest path through the graph: no number of workers can beat it."


@_exercise
def ex_01_3(answer: tuple[str, str]) -> str:
    """Two plans that count as a success although they would do different things."""
    if not (isinstance(answer, tuple) and len(answer) == 2):
        raise Hint("Give two plan texts: (predicted, gold).")
    predicted, gold = map(_plan, answer)
    if not success(predicted, gold):
        raise Hint("These two do not even have the same graph; change an argument, not the steps.")
    if arguments_agree(predicted, gold):
        raise Hint("These two would do the same. Change an argument that matters: a name, a time, a place.")
    return "The success rate is blind to this; the argument-aware rate is not."


@_exercise
def ex_02_1(answer: str) -> str:
    """A scenario of your own, in the recorded teacher's format."""
    import tomllib

    from tinyagent_helpers.sanity import Example, first_problem
    from tinyagent_helpers.teacher import draw, scenario_patterns

    if not isinstance(answer, str):
        raise Hint("The answer should be text: a [[scenario]] in TOML, like the one printed above.")
    if "[[scenario]]" not in answer or "[scenario.requests]" not in answer:
        raise Hint("A scenario begins with a line [[scenario]], and its requests follow a line [scenario.requests].")
    try:
        scenarios = tomllib.loads(answer).get("scenario", [])
        patterns = [p for s in scenarios for p in scenario_patterns(f"mine/{s.get('id', '?')}", s)]
    except (PlanError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Hint(f"It cannot be read yet: {error}") from None
    if len(patterns) < 3 or len({p.style for p in patterns}) < 2:
        raise Hint("Write at least three requests in at least two styles.")
    rng = Random(0)
    for pattern in patterns:
        for _ in range(10):
            drawn = draw(pattern, rng, "train")
            if problem := first_problem(Example(drawn.request, drawn.plan.to_text(), drawn.now)):
                raise Hint(f"{drawn.request!r} was rejected, {problem[0]}: {problem[1]}")
    return f"{len(patterns)} patterns; every draw passed every check."


@_exercise
def ex_02_2(answer: Callable) -> str:
    """A check of your own: does the message of a text promise an attachment, which a text cannot have?"""
    good = [
        _text_plan("see you at the station"),
        _text_plan("I sent the file by e-mail"),
        _text_plan("the lease is signed"),
    ]
    bad = [
        _text_plan("the photos are attached"),
        _text_plan("Attached is the lease"),
        _text_plan("please see the attachment"),
    ]
    missed = [p for p in bad if not _call(answer, p)]
    wronged = [p for p in good if _call(answer, p)]
    if missed:
        raise Hint(
            f"{len(bad) - len(missed)} of {len(bad)} bad plans were rejected; this one slipped through: {missed[0].steps[1].arguments[1]!r}"
        )
    if wronged:
        raise Hint(f"All bad plans were rejected, but so was a good one: {wronged[0].steps[1].arguments[1]!r}")
    return "All bad plans were rejected and no good one: on six plans, at least."


def _text_plan(message: str):
    return parse_plan(f'1. get_phone_number("Mom")\n2. send_sms(["$1"], "{message}")\n3. join()')


@_exercise
def ex_02_3(answer: str) -> str:
    """Which held-out split flatters a model that memorises phrasings?"""
    options = ("test_draws", "test_patterns", "test_combinations", "handwritten")
    if answer not in options:
        raise Hint(f"Choose one of {', '.join(options)}.")
    if answer != "test_draws":
        raise Hint("Look at the curves: which split lies nearest to the training requests?")
    return "Its patterns and names are those of training; only the draws are new."


@_exercise
def ex_03_1(answer: Callable) -> str:
    """The labels of completion-only loss for a batch."""
    labels = _call(answer, [([5, 6, 7], [8, 9]), ([1], [2, 3])])
    if not isinstance(labels, (list, tuple)) or len(labels) != 2:
        raise Hint("Return a list with one list of labels for each pair.")
    if [len(row) for row in labels] != [5, 5]:
        raise Hint(
            f"The longest pair has 5 tokens, so each row has 5 labels; yours have {[len(row) for row in labels]}."
        )
    if list(labels[0][:3]) != [-100] * 3:
        raise Hint("The prompt is not to be learned: its labels are -100.")
    if list(labels[0][3:]) != [8, 9]:
        raise Hint("The completion's labels are its own ids; the loss function shifts them by one.")
    if list(labels[1]) != [-100, 2, 3, -100, -100]:
        raise Hint("The second pair is shorter: prompt, completion, and then -100 up to the length of the first.")
    if [list(row) for row in _call(answer, [([4], [5])])] != [[-100, 5]]:
        raise Hint("Right for two pairs, but not for one.")
    return "The model is asked for plans only."


@_exercise
def ex_03_2(answer: Callable) -> str:
    """How many numbers a LoRA adapter adds to a linear layer."""
    made = _call(answer, 64, 768, 256)
    if made == 64 * 768 * 256:
        raise Hint("A and B are two matrices beside W: each has r rows or columns, none has all three sizes.")
    if made != 64 * (768 + 256):
        raise Hint("A has r rows of d_in numbers, and B has d_out rows of r numbers.")
    if _call(answer, 8, 2048, 2048) != 8 * 4096:
        raise Hint("Right for one shape, wrong for another: use all three arguments.")
    return "At rank 64 that is a third of a 768 x 256 matrix, and at rank 8 of a 2048 x 2048 matrix one part in 128."


@_exercise
def ex_03_3(answer: float, success_at: Callable) -> str:
    """How much of an adapter is needed?"""
    scales = (0.2, 0.4, 0.6, 0.8, 1.0)
    if answer not in scales:
        raise Hint(f"Choose one of {', '.join(map(str, scales))}.")
    whole, chosen = success_at(1.0), success_at(answer)
    if chosen < whole - 1:
        raise Hint(f"At {answer} {chosen} requests succeed, against {whole} at 1.0: too little of the adapter.")
    for smaller in scales[: scales.index(answer)]:
        if (enough := success_at(smaller)) >= whole - 1:
            raise Hint(f"Good, but at {smaller} already {enough} succeed, against {whole} at 1.0.")
    return f"{chosen} requests succeed at {answer}, {whole} at 1.0."


@_exercise
def ex_04_1(answer: Callable) -> str:
    """Whole-set recall of a retriever."""
    shown, needed = [{"a", "b"}, {"a"}, {"c"}, set()], [{"a"}, {"a", "b"}, {"c"}, {"d"}]
    made = _call(answer, shown, needed)
    if made == (1 + 0.5 + 1 + 0) / 4:
        raise Hint("That is tool recall: half a set counts half. Here a set that lacks one tool counts nothing.")
    if made != 0.5:
        raise Hint(f"Two of four requests have all their tools, so 0.5; yours is {made}. Extra tools do no harm.")
    if _call(answer, [{"a"}], [{"a"}]) != 1:
        raise Hint("One request with all its tools should give 1.")
    return "Tool recall can be 0.9 while one plan in five lacks a tool; this is what the planner feels."


@_exercise
def ex_04_2(answer: Callable) -> str:
    """A probability without the weight that was in the loss."""
    made = _call(answer, 0.0, 1.0)
    if abs(made - 0.5) > 1e-6:
        raise Hint("With weight 1 nothing is to be mended: a logit of 0 is a probability of one half.")
    made = _call(answer, 0.0, 4.0)
    if abs(made - 0.8) < 1e-6:
        raise Hint("The wrong way round: the weight made the odds too high, so divide them by it.")
    if abs(made - 0.2) > 1e-6:
        raise Hint("Odds are exp(z) / w, and a probability is odds / (1 + odds).")
    if abs(_call(answer, 2.0, 5.0) - 0.596) > 1e-3:
        raise Hint("Right at z = 0, wrong elsewhere: the odds are exp(z), before they are divided.")
    return "The same as taking log(w) away from the logit: what b would be, if the weight were all there is to mend."


@_exercise
def ex_04_3(answer: float, at: Callable) -> str:
    """A threshold: few tools, but whole sets."""
    if isinstance(answer, bool) or not isinstance(answer, (int, float)) or not 0 < answer < 1:
        raise Hint("A threshold is a number between 0 and 1.")
    wanted, mine = 0.96, at(answer)
    reference = next((t for t in (i / 200 for i in range(199, 0, -1)) if at(t)["whole set"] >= wanted), 0.005)
    if mine["whole set"] < wanted:
        raise Hint(f"At {answer} only {mine['whole set']:.1%} of the requests get all their tools: go lower.")
    if mine["tools"] > at(reference)["tools"] + 0.3:
        raise Hint(f"All right, but {mine['tools']:.2f} tools a request are more than needed: go higher.")
    held_out = [
        f"{name} {found['whole set']:.1%} with {found['tools']:.2f} tools"
        for name, found in (("yours", at(answer, "unseen")), ("reference", at(reference, "unseen")))
    ]
    return f"Whole sets on requests that the choice has not seen: {'; '.join(held_out)}."


@_exercise
def ex_05_1(answer: Callable) -> str:
    """How hard a pair pulls in DPO."""
    even, won, lost = (_call(answer, margin, 0.1) for margin in (0.0, 20.0, -20.0))
    if abs(even - 0.5) < 1e-6:
        raise Hint("Almost: the sigmoid is of beta times the margin, so a factor beta comes out as well.")
    if abs(even - 0.05) > 1e-6:
        raise Hint("Where nothing has changed yet, the sigmoid is one half, and the pull is beta times that.")
    if abs(won - 0.08808) < 1e-4:
        raise Hint("The wrong way round: a pair that is won already should hardly pull any more.")
    if abs(won - 0.01192) > 1e-4 or abs(lost - 0.08808) > 1e-4:
        raise Hint("The derivative of -log(sigmoid(x)) is -sigmoid(-x); here x is beta times the margin.")
    return "A pair that is won lets go, one that is lost pulls with all of beta: no pair can pull harder than that."


@_exercise
def ex_05_2(answer: Callable) -> str:
    """A reward for the right tools that no short or long plan can cheat."""
    gold = '1. get_phone_number("Sid")\n2. send_sms(["$1"], "I am late")\n3. join()'
    more = '1. get_phone_number("Sid")\n2. send_sms(["$1"], "I am late")\n3. open_note("x", "")\n4. join()'
    wanted = (
        (gold, 1.0),
        (more, 0.8),
        ('1. get_phone_number("Sid")\n2. join()', 2 / 3),
        ("1. join()", 0.0),
        ("Sid!", 0.0),
    )
    for plan, worth in wanted:
        made = _call(answer, plan, gold)
        if isinstance(made, bool) or not isinstance(made, (int, float)) or abs(made - worth) > 1e-6:
            raise Hint(f"For the plan {plan!r} it should be {worth:.3g}, and yours is {made!r:.20}.")
    return "Counting only what is needed pays for calling everything, counting only what is wrong for calling nothing."


@_exercise
def ex_05_3(answer: float, useful_at: Callable) -> str:
    """A temperature at which groups teach something."""
    temperatures = (0.3, 0.7, 1.0, 1.5)
    if answer not in temperatures:
        raise Hint(f"Choose one of {', '.join(map(str, temperatures))}.")
    found = {temperature: useful_at(temperature, "held out") for temperature in temperatures}
    best = max(found.values())
    if found[answer] < best - 3:
        raise Hint(f"On other requests {found[answer]} groups are useful at {answer}; elsewhere up to {best} are.")
    return f"Useful groups on requests that the choice has not seen: {found}."


@_exercise
def ex_06_1(answer: Callable) -> str:
    """What a scheme of quantisation costs."""
    for bits, group, wanted in ((4, 32, 4.5), (8, 32, 8.5), (4, 256, 4.0625), (3, 16, 4.0)):
        made = _call(answer, bits, group)
        if isinstance(made, bool) or not isinstance(made, (int, float)) or abs(made - wanted) > 1e-9:
            raise Hint(
                f"{group} weights of {bits} bits and a step of 16 bits: {wanted} a weight, and yours is {made!r:.20}."
            )
    return "Three bits in groups of 16 cost as much as four bits without any steps: fine groups are not free."


@_exercise
def ex_06_2(answer: Callable) -> str:
    """Q8_0, as gguf has it."""
    rng = np.random.default_rng(0)
    kind = gguf.GGMLQuantizationType.Q8_0
    for number in range(50):
        weights = rng.normal(0, 0.02, 32).astype(np.float32)
        made = np.asarray(_call(answer, weights.copy()), dtype=np.float32)
        wanted = gguf.quants.dequantize(gguf.quants.quantize(weights, kind), kind)
        if made.shape != (32,):
            raise Hint("Return 32 weights, one for each that was given.")
        if np.abs(made - wanted).max() > np.abs(weights).max() / 200:
            raise Hint("Some are off by more than half a step; is the step the largest absolute value over 127?")
        if not np.array_equal(made, wanted):
            raise Hint("Nearly: divide by the step in 32 bits, and multiply back with the step rounded to 16.")
    return "Eight bits in a group of 32: what gguf writes, bit for bit."


@_exercise
def ex_06_3(answer: str, harm: Callable) -> str:
    """Which matrices to keep in 16 bits."""
    kinds = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    if answer not in kinds:
        raise Hint(f"Choose one of {', '.join(kinds)}.")
    found = {kind: harm(kind, "held out") for kind in kinds}
    best = max(found.values())
    if found[answer] < 0.9 * best:
        raise Hint(f"On other requests {answer} has {found[answer] / best:.0%} of the harm that the worst kind does.")
    return f"On requests that the choice has not seen: { {kind: round(nats, 6) for kind, nats in found.items()} }."
