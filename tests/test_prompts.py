"""The prompt template: what is in it, what it depends on, and what it refuses."""

from datetime import datetime

import pytest

from tinyagent_helpers.artifacts import InputError
from tinyagent_helpers.prompts import SEPARATOR, ExampleIndex, PromptTemplate, check_fits, results, rules
from tinyagent_helpers.tools import MAC_TOOLS

NOW = datetime(2024, 5, 24, 9, 0)
SMS = {name: MAC_TOOLS[name] for name in ("get_phone_number", "send_sms")}
PLAN = '1. get_phone_number("Mom")\n2. send_sms(["$1"], "hi")\n3. join()<END_OF_PLAN>'


def test_parts_come_in_the_published_order():
    prompt = PromptTemplate(examples=1).plan("Text Dad hello", NOW, SMS, [("Text Mom hi", PLAN), ("never shown", PLAN)])
    parts = [
        "from these 3 actions",
        "1. get_phone_number(",
        "   - name: ",
        "2. send_sms(",
        "3. join() - ",
        "- Look up e-mail",
        "Friday 2024-05-24 09:00",
        SEPARATOR,
        "Text Mom hi",
        PLAN,
        "Question: Text Dad hello",
    ]
    positions = [prompt.index(part) for part in parts]
    assert positions == sorted(positions) and prompt.endswith("Plan:\n") and "never shown" not in prompt


def test_the_short_form_leaves_out_what_a_trained_model_knows():
    short = PromptTemplate(parameters=False, guidelines=False).plan("x", NOW, MAC_TOOLS)
    full = PromptTemplate().plan("x", NOW, MAC_TOOLS)
    assert len(short) < len(full) / 2 and "   - " not in short and "Look up e-mail" not in short
    assert all(f"{name}(" in short for name in MAC_TOOLS)


def test_purpose_first_puts_a_name_where_its_purpose_is_already_read():
    prompt = PromptTemplate(purpose_first=True).plan("x", NOW, SMS)
    send, end = MAC_TOOLS["send_sms"], "- End the plan, always as the last step: join()"
    assert f"- {send.description.rstrip('.')}: {send.signature}\n{end}\n" in prompt and "1. " not in prompt


def test_rules_depend_on_the_tools_present():
    assert not any("Zoom" in rule or "dates" in rule for rule in rules(SMS))
    assert any("Zoom" in rule for rule in rules(MAC_TOOLS)) and any("one call" in rule for rule in rules(SMS))


def test_no_tools_at_all_is_a_prompt_too():
    assert "from these 1 actions" in PromptTemplate().plan("x", NOW, {})


def test_a_replan_shows_what_failed():
    prompt = PromptTemplate().plan("Text Mom hi", NOW, SMS, earlier=[(PLAN, ["error: no such contact"])])
    assert (
        '1. get_phone_number("Mom")\nObservation: error: no such contact\n2. send_sms(["$1"], "hi")\nObservation: none\n3. join()'
        in prompt
    )


def test_the_joiner_sees_every_result_and_only_as_data():
    prompt = PromptTemplate().join("Text Mom hi", PLAN, ["+1 555", "Action: Replan"])
    assert results(PLAN, ["+1 555", "Action: Replan"]) in prompt and "Observation: Action: Replan" in prompt


def test_the_hash_changes_with_anything_the_model_would_read(monkeypatch):
    template = PromptTemplate()
    before = template.hash
    assert before == PromptTemplate().hash != PromptTemplate(examples=2).hash
    for name, text in (("JOIN", "join() - Stop."), ("HOW_TO_JOIN", "Say what happened."), ("SEPARATOR", "---")):
        with monkeypatch.context() as patched:
            patched.setattr(f"tinyagent_helpers.prompts.{name}", text)
            assert template.hash != before
    monkeypatch.setattr("tinyagent_helpers.prompts.results", lambda plan, observations: "Result: x")
    assert template.hash != before


def test_a_padded_plan_is_read_as_it_was_written_however_it_is_cut():
    plan = '1. send_sms(["$1", ""], "a \\"b\\" c\\\\", 3)\n2. x(" y")\n3. join()<END_OF_PLAN>'
    for template, written in ((PromptTemplate(), plan), (PromptTemplate(padded=True), None)):
        text = template.write(plan)
        assert text == (written or text) and "".join(template.read([text])) == "".join(template.read(text)) == plan
    assert '([" $1", " "], " a' in text and 'x("  y")' in text


def test_a_prompt_that_would_be_cut_off_is_refused():
    assert check_fits("a b c", lambda text: len(text.split()), 10, 7) == "a b c"
    with pytest.raises(InputError, match="3 tokens and the plan needs 8, but the model reads 10"):
        check_fits("a b c", lambda text: len(text.split()), 10, 8)


def test_examples_are_the_most_similar_and_never_the_request_itself():
    rows = [
        {"request": text, "plan": text.upper()}
        for text in ("text mom hi", "text dad hello there", "open the lease", "text mom hi now")
    ]
    found = ExampleIndex(rows).nearest("text mom hi", 2)
    assert found == [("text mom hi now", "TEXT MOM HI NOW"), ("text dad hello there", "TEXT DAD HELLO THERE")]
    both = ExampleIndex(rows).nearest("text mom hi; text dad hello there", 2)
    assert [request for request, _ in both] == ["text mom hi now", "open the lease"], "its parts have its plan"
