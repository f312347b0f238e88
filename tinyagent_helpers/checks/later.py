"""Checks for the exercises of notebooks 04 to 08."""

import builtins
from collections.abc import Callable
from itertools import product
from numbers import Integral
from random import Random
from typing import Any

import gguf
import numpy as np

from tinyagent_helpers.checks.verdict import Hint, call, exercise
from tinyagent_helpers.consent import repeats
from tinyagent_helpers.plans import parse_plan


@exercise
def ex_04_1(answer: Callable) -> str:
    """Whole-set recall of a retriever."""
    shown, needed = [{"a", "b"}, {"a"}, {"c"}, set()], [{"a"}, {"a", "b"}, {"c"}, {"d"}]
    made = call(answer, shown, needed)
    if made == (1 + 0.5 + 1 + 0) / 4:
        raise Hint("That is tool recall: half a set counts half. Here a set that lacks one tool counts nothing.")
    if made != 0.5:
        raise Hint(f"Two of four requests have all their tools, so 0.5; yours is {made}. Extra tools do no harm.")
    if call(answer, [{"a"}], [{"a"}]) != 1:
        raise Hint("One request with all its tools should give 1.")
    return "Tool recall can be 0.9 while one plan in five lacks a tool; this is what the planner feels."


@exercise
def ex_04_2(answer: Callable) -> str:
    """A probability without the weight that was in the loss."""
    made = call(answer, 0.0, 1.0)
    if abs(made - 0.5) > 1e-6:
        raise Hint("With weight 1 nothing is to be mended: a logit of 0 is a probability of one half.")
    made = call(answer, 0.0, 4.0)
    if abs(made - 0.8) < 1e-6:
        raise Hint("The wrong way round: the weight made the odds too high, so divide them by it.")
    if abs(made - 0.2) > 1e-6:
        raise Hint("Odds are exp(z) / w, and a probability is odds / (1 + odds).")
    if abs(call(answer, 2.0, 5.0) - 0.596) > 1e-3:
        raise Hint("Right at z = 0, wrong elsewhere: the odds are exp(z), before they are divided.")
    return "The same as taking log(w) away from the logit: what b would be, if the weight were all there is to mend."


@exercise
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


@exercise
def ex_05_1(answer: Callable) -> str:
    """How hard a pair pulls in DPO."""
    even, won, lost = (call(answer, margin, 0.1) for margin in (0.0, 20.0, -20.0))
    if abs(even - 0.5) < 1e-6:
        raise Hint("Almost: the sigmoid is of beta times the margin, so a factor beta comes out as well.")
    if abs(even - 0.05) > 1e-6:
        raise Hint("Where nothing has changed yet, the sigmoid is one half, and the pull is beta times that.")
    if abs(won - 0.08808) < 1e-4:
        raise Hint("The wrong way round: a pair that is won already should hardly pull any more.")
    if abs(won - 0.01192) > 1e-4 or abs(lost - 0.08808) > 1e-4:
        raise Hint("The derivative of -log(sigmoid(x)) is -sigmoid(-x); here x is beta times the margin.")
    return "A pair that is won lets go, one that is lost pulls with all of beta: no pair can pull harder than that."


@exercise
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
        made = call(answer, plan, gold)
        if isinstance(made, bool) or not isinstance(made, (int, float)) or abs(made - worth) > 1e-6:
            raise Hint(f"For the plan {plan!r} it should be {worth:.3g}, and yours is {made!r:.20}.")
    return "Counting only what is needed pays for calling everything, counting only what is wrong for calling nothing."


@exercise
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


@exercise
def ex_06_1(answer: Callable) -> str:
    """What a scheme of quantisation costs."""
    for bits, group, wanted in ((4, 32, 4.5), (8, 32, 8.5), (4, 256, 4.0625), (3, 16, 4.0)):
        made = call(answer, bits, group)
        if isinstance(made, bool) or not isinstance(made, (int, float)) or abs(made - wanted) > 1e-9:
            raise Hint(
                f"{group} weights of {bits} bits and a step of 16 bits: {wanted} a weight, and yours is {made!r:.20}."
            )
    return "Three bits in groups of 16 cost as much as four bits without any steps: fine groups are not free."


@exercise
def ex_06_2(answer: Callable) -> str:
    """Q8_0, as gguf has it."""
    rng = np.random.default_rng(0)
    kind = gguf.GGMLQuantizationType.Q8_0
    for number in range(50):
        weights = rng.normal(0, 0.02, 32).astype(np.float32)
        made = np.asarray(call(answer, weights.copy()), dtype=np.float32)
        wanted = gguf.quants.dequantize(gguf.quants.quantize(weights, kind), kind)
        if made.shape != (32,):
            raise Hint("Return 32 weights, one for each that was given.")
        if np.abs(made - wanted).max() > np.abs(weights).max() / 200:
            raise Hint("Some are off by more than half a step; is the step the largest absolute value over 127?")
        if not np.array_equal(made, wanted):
            raise Hint("Nearly: divide by the step in 32 bits, and multiply back with the step rounded to 16.")
    return "Eight bits in a group of 32: what gguf writes, bit for bit."


@exercise
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


@exercise
def ex_07_1(answer: Callable) -> str:
    """A command whose values are arguments."""
    script = "send.applescript"
    for recipients, message in (
        (["+1 555 0100"], "hi"),
        ([], ""),
        (["a", "2"], '" & (do shell script "id") & "'),
        (["-e"], "-e"),
    ):
        made = call(answer, script, list(recipients), message)
        if isinstance(made, str):
            raise Hint("One text is what a shell or AppleScript would take apart again; return a list of texts.")
        if not isinstance(made, (list, tuple)) or not all(isinstance(part, str) for part in made):
            raise Hint("Return a list in which every part is a text.")
        wanted = ["osascript", script, message, str(len(recipients)), *recipients]
        if list(made) != wanted:
            raise Hint(
                f"For {recipients} and {message!r} the script expects {wanted}, and yours is {list(made)!r:.120}."
            )
    return "What is in a value can no longer matter: nobody reads it as a program."


@exercise
def ex_07_2(answer: Callable) -> str:
    """Which steps of a second plan may run unasked."""
    looked_up = '1. get_phone_number("{}")\n2. send_sms(["$1"], "{}")\n3. join()'
    first = parse_plan(looked_up.format("Mom", "late")).steps
    for text, begun, wanted in (
        (looked_up.format("Mom", "late"), {1}, [True, True]),
        (looked_up.format("Mom", "late"), {1, 2}, [True, False]),
        (looked_up.format("Mom", "send money"), {1}, [True, False]),
        (looked_up.format("Eve", "late"), {1}, [True, False]),
        ('1. send_sms(["+1 555 0166"], "late")\n2. create_note("x", "", "")\n3. join()', set(), [False, False]),
    ):
        steps = parse_plan(text).steps
        made = [call(answer, step, first, set(begun), repeats(steps[:i], first, begun)) for i, step in enumerate(steps)]
        if made != wanted:
            raise Hint(f"Of\n{text}\nwith {begun or 'no steps'} begun before, {wanted} may run; yours says {made}.")
    return "Lookups are free; what changes or sends something must be what the first plan said, fed by the same lookups, once."


@exercise
def ex_07_3(answer: Callable) -> str:
    """How long somebody speaks."""
    rng, rate = np.random.default_rng(0), 16_000
    for seconds, hiss in ((1.0, 0.0), (2.5, 0.003), (0.0, 0.003), (0.5, 0.01)):
        silence, voice = np.zeros(rate), 0.3 * np.sin(2 * np.pi * 200 * np.arange(int(seconds * rate)) / rate)
        sound = np.concatenate([silence, voice, silence])
        sound = (sound + hiss * rng.normal(size=len(sound))).astype(np.float32)
        made = call(answer, sound, rate)
        if isinstance(made, bool) or not isinstance(made, (int, float, np.floating, np.integer)):
            raise Hint(f"Return a number of seconds, not {made!r:.40}.")
        if abs(made - seconds) > 0.1:
            raise Hint(f"In a sound with {seconds} s of voice and a hiss of {hiss} your function finds {made:.2f} s.")
    return "Loudness, compared with the background's: good enough to spare the recogniser the silence."


@exercise
def ex_08_1(answer: Callable) -> str:
    """A reader of calls that runs nothing."""
    for text, wanted in (
        ('[f(a=1), g(b="x")]', [("f", {"a": 1}), ("g", {"b": "x"})]),
        ("[]", []),
        ("[geometry.area(sides=[3, -4.5], unit=None)]", [("geometry.area", {"sides": [3, -4.5], "unit": None})]),
        ("[f(note='it is (not) [a] call, f(a=2)')]", [("f", {"note": "it is (not) [a] call, f(a=2)"})]),
    ):
        if (made := call(answer, text)) != wanted:
            raise Hint(f"{text} should give {wanted}; yours gives {made!r:.120}.")
    ran = []
    builtins.ex_08_1_ran = lambda: ran.append(True)
    try:
        for text in (
            "[f(1)]",
            "[f(a=ex_08_1_ran())]",
            "ex_08_1_ran()",
            "[f(a=b)]",
            "[f(**{'a': 1})]",
            "[1]",
            "Sure! [f(a=1)]",
        ):
            try:
                made = answer(text)
            except (ValueError, SyntaxError):
                continue
            raise Hint(f"{text} is not a list of calls with named, literal values; yours gives {made!r:.80}.")
    finally:
        del builtins.ex_08_1_ran
    if ran:
        raise Hint("A text that was to be read has been run: parse it with ast, and take values by ast.literal_eval.")
    return "A syntax tree says what a text is without doing it."


@exercise
def ex_08_2(answer: Callable) -> str:
    """Version 3's overall from counts."""
    from tinyagent_helpers.bfcl.official import CATEGORIES
    from tinyagent_helpers.bfcl.scores import Score, overall

    rng = Random(8)
    for categories in (CATEGORIES, CATEGORIES[:13], CATEGORIES[3:]):
        counts = {c: (rng.randrange(n + 1), n) for c in categories for n in [rng.randrange(10, 1000)]}
        wanted = overall({c: Score(n=n, right=right) for c, (right, n) in counts.items()})["V3 overall"]
        made = call(answer, dict(counts))
        if not isinstance(made, (int, float)) or abs(made - wanted) > 0.02:
            raise Hint(f"For {counts} it is {wanted}, and yours {made!r:.30}.")
    return "A mean of means: one of the 16 questions of live_parallel weighs less than one of the 200 of parallel."


@exercise
def ex_08_3(answer: dict[str, bool], model: Any, finder: Any) -> str:
    """How to ask a planner the leaderboard's questions."""
    from tinyagent_helpers.bfcl.answers import PlanMode
    from tinyagent_helpers.bfcl.run import count_right
    from tinyagent_helpers.prompts import NANO_TEMPLATE

    if not isinstance(answer, dict) or set(answer) != {"grammar", "find"}:
        raise Hint('Give both switches: {"grammar": True or False, "find": True or False}.')
    right = {}
    for grammar, find in product((False, True), repeat=2):
        mode = PlanMode(model, NANO_TEMPLATE, grammar=grammar, finder=finder if find else None)
        right[grammar, find] = count_right(mode, ("simple_python", "multiple"), 25, 8)
    shown = ", ".join(f"grammar {g} and find {f}: {n} of 50" for (g, f), n in right.items())
    if right[bool(answer["grammar"]), bool(answer["find"])] < max(right.values()) - 1:
        raise Hint(f"Another setting is better by more than one question. Of fifty others: {shown}.")
    return f"Of fifty other questions: {shown}. In irrelevance it is the other way round: what may call nothing is right more often."


@exercise
def ex_09_1(answer: Callable) -> str:
    """Tool vectors with a tool more."""
    from tinyagent_helpers.toolrag import ToolVectors, word_vectors

    asked = {"turn_lights": ["lamp on", "lamp off"], "set_heating": ["warmer please", "heat the room"]}
    fish = ["feed the fish", "give the fish some food"]
    vectors = ToolVectors.of_usage(word_vectors([*fish, *(text for texts in asked.values() for text in texts)]), asked)
    made = call(answer, vectors, "feed_fish", fish)
    if not isinstance(made, ToolVectors) or made.names != ["turn_lights", "set_heating", "feed_fish"]:
        raise Hint("Return a ToolVectors that knows the two old tools and, behind them, feed_fish.")
    if vectors.names != ["turn_lights", "set_heating"]:
        raise Hint(
            "The vectors that were given know feed_fish now, too; make new ones of theirs: ToolVectors(embed, vectors)."
        )
    if made.scores(["some food for the fish"])[0].argmax() != 2:
        raise Hint("A request about fish does not find the new tool; its vector is the mean of its requests'.")
    return "No other vector has moved: a tool more is a vector more."


@exercise
def ex_09_2(answer: int, vectors: Any, tools: Any, rows: Any, retriever: Any) -> str:
    """How many tools to show."""
    from tinyagent_helpers.toolrag import Best, figures

    if isinstance(answer, bool) or not isinstance(answer, Integral) or not 1 <= answer <= len(tools):
        raise Hint(f"Give a whole number from 1 to {len(tools)}.")
    requests, needed = [row["request"] for row in rows], [row["tools"] for row in rows]
    whole = {
        n: figures(Best(vectors, n, tools).retrieve(requests), needed)["whole set"] for n in range(1, len(tools) + 1)
    }
    reference = figures(retriever.retrieve(requests), needed)
    wanted = reference["whole set"] - 0.05
    told = f"{answer} tools leave out one that is needed in {1 - whole[answer]:.0%} of the held-out requests"
    compared = f"the threshold in {1 - reference['whole set']:.0%}, with {reference['tools']:.1f} tools a request"
    if whole[answer] < wanted:
        raise Hint(f"{told}, {compared}: show more.")
    if answer > 3 and whole[answer - 3] >= wanted:
        raise Hint(f"{told}, {compared}. Three tools fewer would do as well.")
    return f"{told}, {compared}."
