"""Checks for the exercises of notebooks 00 to 03."""

from collections.abc import Callable
from numbers import Integral
from random import Random
from typing import Any

from tinyagent_helpers.artifacts import DATA, read_jsonl
from tinyagent_helpers.checks.verdict import Hint, Untouched, call, exercise
from tinyagent_helpers.plans import Plan, PlanError, parse_plan
from tinyagent_helpers.scoring import arguments_agree, success
from tinyagent_helpers.tools import Tool

LONGER = 0.05  # how much longer plans may take if few steps run at once
MESSAGES = [  # ours, gold, whether a person takes them for the same
    ("See you at the station.", "see you at the station", True),
    ("I'll call you back", "I will call you back", True),
    ("running ten minutes late", "I'm running ten minutes late", True),
    ("The keys are under the mat", "keys are under the mat", True),
    ("could you send the slides", "Could you please send the slides?", True),
    ("Thanks for the lovely evening!", "thank you for the lovely evening", True),
    ("let's meet at 6", "Let us meet at 6", True),
    ("we won't need the room", "we will not need the room", True),
    ("the parcel has arrived", "Parcel has arrived.", True),
    ("on my way", "I'm on my way", True),
    ("take the 8 am train", "take the train at 8 am", True),
    ("Congratulations on the new job", "congratulations on your new job", True),
    ("the rent is 950", "the rent is 905", False),
    ("do not open the window", "do open the window", False),
    ("meet me in Bonn", "meet me in Berlin", False),
    ("tell Tom that Ana is ill", "tell Ana that Tom is ill", False),
    ("the exam is on Tuesday", "the exam is on Thursday", False),
    ("pay the invoice after Friday", "pay the invoice before Friday", False),
    ("I am not coming", "I am coming", False),
    ("add salt", "add salt and pepper", False),
    ("bring your own laptop", "bring your laptop charger", False),
    ("no need to call", "need to call", False),
    ("cancel the booking", "confirm the booking", False),
    ("pick up Mia at 4", "pick up Mia at 14", False),
]


def _plan(text: Any):
    if not isinstance(text, str):
        raise Hint("The answer should be the text of a plan.")
    try:
        return parse_plan(text)
    except PlanError as error:
        raise Hint(f"This is not a plan yet: {error}") from None


@exercise
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


@exercise
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


@exercise
def ex_00_3(answer: int, time_for: Callable) -> str:
    """How many steps may run at once, measured on the hand-written requests."""
    if isinstance(answer, bool) or not isinstance(answer, Integral) or not 1 <= answer <= 99:
        raise Hint("Give a whole number from 1 to 99.")
    plans = [parse_plan(row["plan"]) for row in read_jsonl(DATA / "handwritten" / "dev.jsonl")]
    seconds = [sum(time_for(plan, n) for plan in plans) for n in (answer, max(1, answer - 1), 99)]
    given, fewer = (some / seconds[2] - 1 for some in seconds[:2])
    told = (
        f"With {answer} at once {len(plans)} plans that you had not seen take {given:.1%} longer than without a limit"
    )
    if given > LONGER:
        raise Hint(f"{told}. If your table said less: eight plans are few, so leave some room.")
    if answer > 1 and fewer <= LONGER:
        raise Hint(f"{told}, and with one fewer {fewer:.1%}, which is enough.")
    return f"{told}; with one fewer {fewer:.1%}. Chosen on a few, measured on others: that is how this course goes on."


@exercise
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


@exercise
def ex_01_2(answer: tuple[str, str]) -> str:
    """Two plans that count as a success although they would do different things."""
    if not (isinstance(answer, tuple) and len(answer) == 2):
        raise Hint("Give two plan texts: (predicted, gold).")
    predicted, gold = map(_plan, answer)
    if not success(predicted, gold):
        raise Hint("These two do not even have the same graph; change an argument, not the steps.")
    if arguments_agree(predicted, gold):
        raise Hint("These two would do the same. Change an argument that matters: a name, a time, a place.")
    return "The success rate is blind to this; the argument-aware rate is not."


@exercise
def ex_01_3(answer: Callable) -> str:
    """same_message(ours, gold): a rule for when two messages say the same, measured on other pairs than the notebook's."""

    def courses_own(ours: str, gold: str) -> bool:
        return arguments_agree(*(Plan.of([("send_sms", (["+1 415 555 0101"], text))]) for text in (ours, gold)))

    verdicts = [call(answer, ours, gold) for ours, gold, _ in MESSAGES]
    if not all(isinstance(verdict, bool) for verdict in verdicts):
        raise Hint("Return True or False.")
    right = sum(verdict == same for verdict, (*_, same) in zip(verdicts, MESSAGES))
    lax = sum(verdict and not same for verdict, (*_, same) in zip(verdicts, MESSAGES))
    reference = sum(courses_own(ours, gold) == same for ours, gold, same in MESSAGES)
    told = f"On {len(MESSAGES)} other pairs your rule agrees with the person {right} times, the course's own {reference} times"
    mistakes = f"{lax} of your mistakes are too lax, {len(MESSAGES) - right - lax} too strict"
    if right < reference:
        raise Hint(f"{told}; {mistakes}. Which words may differ, and which may not?")
    return f"{told}; {mistakes}. A metric is a design, too: it needs a test of its own."


@exercise
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


@exercise
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
    missed = [p for p in bad if not call(answer, p)]
    wronged = [p for p in good if call(answer, p)]
    if missed:
        raise Hint(
            f"{len(bad) - len(missed)} of {len(bad)} bad plans were rejected; this one slipped through: {missed[0].steps[1].arguments[1]!r}"
        )
    if wronged:
        raise Hint(f"All bad plans were rejected, but so was a good one: {wronged[0].steps[1].arguments[1]!r}")
    return "All bad plans were rejected and no good one: on six plans, at least."


def _text_plan(message: str):
    return parse_plan(f'1. get_phone_number("Mom")\n2. send_sms(["$1"], "{message}")\n3. join()')


@exercise
def ex_02_3(answer: str) -> str:
    """Which held-out split flatters a model that memorises phrasings?"""
    options = ("test_draws", "test_patterns", "test_combinations", "handwritten")
    if answer not in options:
        raise Hint(f"Choose one of {', '.join(options)}.")
    if answer != "test_draws":
        raise Hint("Look at the curves: which split lies nearest to the training requests?")
    return "Its patterns and names are those of training; only the draws are new."


@exercise
def ex_03_1(answer: Callable) -> str:
    """The labels of completion-only loss for a batch."""
    labels = call(answer, [([5, 6, 7], [8, 9]), ([1], [2, 3])])
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
    if [list(row) for row in call(answer, [([4], [5])])] != [[-100, 5]]:
        raise Hint("Right for two pairs, but not for one.")
    return "The model is asked for plans only."


@exercise
def ex_03_2(answer: Callable) -> str:
    """How many numbers a LoRA adapter adds to a linear layer."""
    made = call(answer, 64, 768, 256)
    if made == 64 * 768 * 256:
        raise Hint("A and B are two matrices beside W: each has r rows or columns, none has all three sizes.")
    if made != 64 * (768 + 256):
        raise Hint("A has r rows of d_in numbers, and B has d_out rows of r numbers.")
    if call(answer, 8, 2048, 2048) != 8 * 4096:
        raise Hint("Right for one shape, wrong for another: use all three arguments.")
    return "At rank 64 that is a third of a 768 x 256 matrix, and at rank 8 of a 2048 x 2048 matrix one part in 128."


@exercise
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
