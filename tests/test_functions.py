"""Made-up functions: their files, the lessons made of them, and that the leaderboard's questions are not among them."""

import re
from collections import Counter
from itertools import islice
from random import Random

import pytest

from tinyagent_helpers import function_lessons
from tinyagent_helpers.artifacts import digest
from tinyagent_helpers.bfcl.official import CATEGORIES, conversation_functions, entries
from tinyagent_helpers.curriculum import REQUESTS
from tinyagent_helpers.functions import Numbers, load_functions, read_field
from tinyagent_helpers.models import NANO_CALLER, NANO_CALLER_Q4, LlamaCppModel, read_manifest
from tinyagent_helpers.plans import END_OF_PLAN, parse_plan
from tinyagent_helpers.prompts import NANO_TEMPLATE, SEPARATOR
from tinyagent_helpers.teacher import ScenarioError

RUN = 8  # words
GREENHOUSE = """
[values]
plant = ["tomato", "sweet basil", "leek", "cosmos", "dill", "Meyer lemon", "chard", "sage"]

[[function]]
call = 'sow(plant: str, trays: int, share: float, heated: bool, days: list[int])'
about = "Note what was sown."
numbers = { trays = "2 to 40", share = "1 to 20 %", days = "1 to 9" }
requests = [
  { say = "Sow {trays} heated trays of {plant}, {share} of them early, on days {days}.", heated = true },
  { say = "On {days}: {plant} and {plant2} in {trays} and {trays2} cold trays, {share} early.", heated = false },
]
"""


def test_a_wording_is_its_own_plan(tmp_path):
    (tmp_path / "greenhouse.toml").write_text(GREENHOUSE)
    [sow] = read_field(tmp_path / "greenhouse.toml")
    for seed in range(50):
        say, [step] = sow.draw(sow.wordings[0], Random(seed))
        plant, trays, share, heated, days = step.arguments
        assert plant in say and heated is True and 2 <= trays <= 40 and 2 <= len(days) <= 5
        assert f"{100 * share:g}%" in say and all(1 <= day <= 9 for day in days)
        say, steps = sow.draw(sow.wordings[1], Random(seed))
        assert len({s.arguments[0] for s in steps}) == 2 and steps[0].arguments[4] == steps[1].arguments[4]
        said, _ = sow.draw(sow.wordings[0], Random(seed), phrase=lambda: "Zorb 7")
        assert "Zorb 7" in said


@pytest.mark.parametrize(
    "wrong, message",
    [
        ("{plant}, {share} of them early, on days {days}", "says nothing of plant"),
        ("{trays} heated trays", "{heated} cannot"),
        ("{plant2}", "{plant4} is no slot"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path, wrong, message):
    changed = {
        "says nothing of plant": GREENHOUSE.replace(wrong, "all of them, on days {days}, {share}"),
        "{heated} cannot": GREENHOUSE.replace(wrong, "{trays} {heated} trays"),
        "{plant4} is no slot": GREENHOUSE.replace(wrong, "{plant4}"),
    }[message]
    (tmp_path / "greenhouse.toml").write_text(changed)
    with pytest.raises(ScenarioError, match=re.escape(message.replace("{heated}", "heated"))) as raised:
        read_field(tmp_path / "greenhouse.toml")
    assert str(raised.value).startswith("greenhouse.toml, sow: ")


def test_numbers_are_said_as_they_are_meant():
    rng = Random(0)
    for _ in range(300):
        said, value = Numbers.parse("2 to 90000").draw(rng, whole=True)
        assert 2 <= value <= 90_000 and (not said[0].isdigit() or int(said.replace(",", "")) == value)
        assert "," not in said or value >= 3_000
        said, value = Numbers.parse("0.5 to 2").draw(rng, whole=False)
        assert 0.5 <= value <= 2 and float(said) == value


def test_every_field_ships_whole():
    functions = load_functions()
    assert len({f.field for f in functions}) == 48 and len(functions) > 560
    for function in functions:
        several = [w for w in function.wordings if len(function.draw(w, Random(1))[1]) > 1]
        assert len(function.wordings) >= 6 and function.tool.description
        assert len(several) >= 2 or not function.tool.parameters


@pytest.mark.parametrize("held_out", [False, True])
def test_lessons_are_plans_of_what_is_shown(held_out):
    kinds = Counter()
    for number, sheet in enumerate(islice(function_lessons.sheets(0, held_out=held_out), 150)):
        assert len(sheet) == REQUESTS
        assert len({lesson.prompt.partition(SEPARATOR)[0] for lesson in sheet}) == 1
        for lesson in sheet:
            kinds[lesson.kind] += 1
            plan = parse_plan("".join(NANO_TEMPLATE.read([lesson.plan])), tools=None)
            assert all(f"{step.tool}(" in lesson.prompt for step in plan.steps) and lesson.plan.endswith(END_OF_PLAN)
            assert bool(plan.steps) == (lesson.kind != "nothing fits")
    assert 0.1 < kinds["nothing fits"] / kinds.total() < 0.4 and kinds["bound"]


def test_lessons_follow_from_their_number():
    first = list(islice(function_lessons.sheets(3), 6))
    assert list(islice(function_lessons.sheets(3, start=4), 2)) == first[4:]
    assert list(islice(function_lessons.sheets(4), 6)) != first


def words(text):
    return re.findall(r"[a-z0-9]+", text.lower())


def runs(text):
    found = words(text)
    return {tuple(found[i : i + RUN]) for i in range(len(found) - RUN + 1)}


def test_nothing_of_the_leaderboard_is_in_the_lessons():
    """No function of the same name, and no run of eight words in common with any question; slots are filled in ten ways."""
    asked = [e for category in CATEGORIES for e in entries(category, asked=False).values()]
    names = {re.sub(r"\W", "_", f["name"]).lower() for e in asked for f in e["function"]} | conversation_functions()
    names |= {f["name"].split(".")[-1].lower() for e in asked for f in e["function"]}
    taken = {run for e in asked for turn in e["question"] for message in turn for run in runs(message["content"])}
    assert len(names) > 1_000 and len(taken) > 30_000
    for function in load_functions():
        assert function.tool.name.lower() not in names
        for wording in function.wordings:
            for seed in range(10):
                said, _ = function.draw(wording, Random(seed))
                assert not runs(said) & taken, said


def test_the_caller_that_ships_reads_what_it_was_trained_on():
    base, file = read_manifest(NANO_CALLER), read_manifest(NANO_CALLER_Q4)
    assert base["template"] == file["template"] == LlamaCppModel(NANO_CALLER_Q4).template == NANO_TEMPLATE.hash
    assert file["made of"] == digest(NANO_CALLER / "model.safetensors") and file["file"] == digest(NANO_CALLER_Q4)
    assert "--lessons functions" in base["command"] and base["command"] in file["command"]
    assert base["settings"]["lessons"] == "functions" and 5e6 <= base["parameters"] <= 10e6
