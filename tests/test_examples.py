"""What the planner is fine-tuned on: prompts, completions, negatives, joins and failures."""

from collections import Counter
from random import Random

import pytest

from tinyagent_helpers.examples import DATED, fail, join_pair, plan_pair, shown_tools, training_pairs, two_in_one
from tinyagent_helpers.joins import parse_join
from tinyagent_helpers.mac.simulated import SimulatedMac
from tinyagent_helpers.plans import parse_plan
from tinyagent_helpers.prompts import NANO_TEMPLATE, ExampleIndex, PromptTemplate
from tinyagent_helpers.synthesis import RecordedTeacher, is_held_out, synthesize
from tinyagent_helpers.tools import MAC_TOOLS


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    from tinyagent_helpers.artifacts import read_jsonl

    folder = tmp_path_factory.mktemp("data")
    synthesize(RecordedTeacher(), 700, 0, folder)
    return list(read_jsonl(folder / "train.jsonl"))


LOOKUP = {
    "id": "x",
    "request": "Remind me to buy milk and text Sid that I am late",
    "now": "2024-05-24 09:00:00",
    "plan": '1. create_reminder("buy milk", "", "", "", 0, False)\n2. get_phone_number("Sid")\n'
    '3. send_sms(["$2"], "I am late")\n4. join()<END_OF_PLAN>',
    "tools": ["create_reminder", "get_phone_number", "send_sms"],
    "observations": ["Created the reminder 'buy milk'.", "+1 415 555 0101", "Sent the message to +1 415 555 0101."],
    "join": "Thought: Every step has a result.\nAction: Finish(Done.)",
}


def test_the_tools_needed_are_shown_among_others_in_one_order():
    shown = [shown_tools(["send_sms", "get_phone_number"], Random(i), 4) for i in range(300)]
    assert all({"send_sms", "get_phone_number"} <= set(tools) for tools in shown)
    assert all(list(tools) == [name for name in MAC_TOOLS if name in tools] for tools in shown)
    sizes = Counter(map(len, shown))
    assert set(sizes) == {2, 3, 4, 5, 6, 16} and 200 < sizes[16] < 280
    assert {len(shown_tools(["send_sms"], Random(i), 0)) for i in range(50)} == {1}


def test_prompt_and_completion_are_the_templates_and_the_rows(rows):
    pair = plan_pair(rows[0], NANO_TEMPLATE, MAC_TOOLS)
    assert rows[0]["request"] in pair.prompt and pair.prompt.endswith("Plan:\n")
    assert pair.completion == NANO_TEMPLATE.write(rows[0]["plan"])
    join = join_pair(LOOKUP, NANO_TEMPLATE)
    assert "Observation: +1 415 555 0101" in join.prompt and parse_join(join.completion).message == "Done."


NOTE = LOOKUP | {
    "request": "New note with the mail address of Ann.",
    "plan": '1. get_email_address("Ann")\n2. create_note("", "$1", "")\n3. join()<END_OF_PLAN>',
    "tools": ["create_note", "get_email_address"],
}


def test_two_requests_in_one_have_one_plan_that_looks_up_first():
    both = two_in_one(LOOKUP, NOTE, Random(0))
    assert both["request"].startswith(LOOKUP["request"]) and both["request"].endswith(NOTE["request"])
    assert both["plan"].splitlines()[:5] == [
        '1. get_phone_number("Sid")',
        '2. get_email_address("Ann")',
        '3. create_reminder("buy milk", "", "", "", 0, False)',
        '4. send_sms(["$1"], "I am late")',
        '5. create_note("", "$2", "")',
    ]
    assert set(both["tools"]) == {*LOOKUP["tools"], *NOTE["tools"]}
    assert two_in_one(NOTE, LOOKUP, Random(0)) is None, "whose day would the reminder be for?"
    assert two_in_one(NOTE, NOTE, Random(0)) is None


def test_no_two_in_one_needs_a_combination_that_is_held_out(rows):
    rng = Random(0)
    made = [(row, other, two_in_one(row, other, rng)) for row in rows for other in rng.sample(rows, 5)]
    assert sum(both is not None for *_, both in made) > len(rows)
    assert not any(both and is_held_out(frozenset(both["tools"])) for *_, both in made)
    unions = [frozenset((*row["tools"], *other["tools"])) for row, other, _ in made if not DATED & set(other["tools"])]
    assert any(map(is_held_out, unions)), "else this test could not fail"


def test_all_kinds_come_up_and_all_can_be_read(rows):
    pairs = training_pairs(rows, NANO_TEMPLATE, 0, 4)
    kinds = Counter(pair.task for pair in pairs)
    assert kinds["plan"] == len(rows) and 0.1 < kinds["join"] / len(rows) < 0.3 and kinds["replan"] > 3
    for pair in pairs:
        parse_join(pair.completion) if pair.task == "join" else parse_plan(
            "".join(NANO_TEMPLATE.read([pair.completion]))
        )
    assert pairs == training_pairs(rows, NANO_TEMPLATE, 0, 4) != training_pairs(rows, NANO_TEMPLATE, 1, 4)


def test_examples_in_the_prompt_are_other_training_rows(rows):
    template = PromptTemplate(examples=2)
    pair = training_pairs(rows[:30], template, 0, 4, ExampleIndex(rows))[0]
    assert pair.prompt.count("Question: ") == 3 and pair.prompt.count(f"Question: {rows[0]['request']}\n") == 1


def test_a_failed_lookup_leads_to_a_question_an_admission_or_a_plan_for_what_is_left():
    failures = [fail(LOOKUP, Random(i)) for i in range(60)]
    for failure in failures:
        assert failure.observations[0] == LOOKUP["observations"][0]
        assert failure.observations[1].startswith("Error: ") and "step 2 failed" in failure.observations[2]
        assert failure.join.replan == (failure.retry is not None)
        if failure.retry:
            assert [step.tool for step in failure.retry.steps] == ["get_phone_number", "send_sms"]
            assert failure.retry.steps[1].arguments == (["$1"], "I am late")
            assert failure.retry.steps[0].arguments[0] in failure.observations[1]
        else:
            assert "I could not do that" in failure.join.message
    assert 10 < sum(failure.join.replan for failure in failures) < 50
    assert fail(LOOKUP | {"plan": '1. open_note("x", "")\n2. join()', "observations": ["..."]}, Random(0)) is None


def test_failures_use_the_macs_own_words(tmp_path, now):
    mac = SimulatedMac(tmp_path / "mac", now)
    with pytest.raises(Exception) as caught:
        mac.get_phone_number("Nobodyknows")
    texts = {failure.observations[1] for failure in (fail(LOOKUP, Random(i)) for i in range(60))}
    assert f"Error: {caught.value}".replace("Nobodyknows", "Sid") in texts
