"""Pairs of a better and a worse answer, reviews of them, and AgentBank's format."""

from dataclasses import replace

import pytest

from tinyagent_helpers.alignment import DPO
from tinyagent_helpers.artifacts import DATA, InputError, read_jsonl
from tinyagent_helpers.comparison import rejected_pairs
from tinyagent_helpers.preferences import (
    Preference,
    Review,
    agentbank_pairs,
    load_agentbank,
    preference_pairs,
    turns_of,
)
from tinyagent_helpers.profiles import PROFILES
from tinyagent_helpers.prompts import NANO_TEMPLATE

GOLD = '1. get_phone_number("Sid")\n2. send_sms(["$1"], "I am late")\n3. join()<END_OF_PLAN>'
OTHER_WORDS = '1. get_phone_number("Sid")\n2. send_sms(["$1"], "late!")\n3. join()<END_OF_PLAN>'
WRONG = '1. send_sms(["Sid"], "I am late")\n2. join()<END_OF_PLAN>'
ROWS = [{"id": str(number), "request": "Text Sid that I am late", "plan": GOLD} for number in range(4)]
SAMPLE = list(read_jsonl(DATA / "agentbank" / "sample.jsonl"))


def test_pairs_whose_rejected_answer_is_right_are_dropped():
    answers = [NANO_TEMPLATE.write(text) for text in (WRONG, OTHER_WORDS, GOLD, "no plan at all")]
    kept, dropped = preference_pairs(ROWS, ["prompt"] * 4, answers, NANO_TEMPLATE)
    assert [pair.id for pair in kept] == ["0", "3"] and [pair.id for pair in dropped] == ["1", "2"]
    assert kept[0] == Preference("0", "prompt", NANO_TEMPLATE.write(GOLD), NANO_TEMPLATE.write(WRONG))


def test_pairs_need_an_answer_for_every_row():
    with pytest.raises(ValueError):
        preference_pairs(ROWS, ["prompt"] * 4, ["x"], NANO_TEMPLATE)


def pair(id):
    return Preference(id, "Now it is noon.\n###\nQuestion: Text Sid\nPlan:\n", GOLD, WRONG)


def test_a_review_is_kept_and_gone_on_with(tmp_path):
    path = tmp_path / "deeper" / "review.jsonl"
    a, b, c, d = pairs = [pair(id) for id in "abcd"]
    review = Review(path)
    assert list(review.table(pairs, 2)["id"]) == ["a", "b"] and review.table(pairs)["request"][0] == "Text Sid"
    review.give(a, "drop")
    review.give(b, "keep")
    review.close()
    with path.open("a") as file:
        file.write('{"id": "c", "ver')  # the machine went down here
    again = Review(path)
    assert [again.verdict(p) for p in pairs] == ["drop", "keep", None, None]
    assert list(again.table(pairs, read=str.upper)["id"]) == ["c", "d"]
    assert again.table(pairs, read=str.upper)["chosen"][0] == GOLD.upper()
    again.give(a, "keep")
    again.give(d, "drop")
    assert again.accepted(pairs) == [a, b, c]
    again.close()
    assert Review(path).accepted(pairs) == [a, b, c]


def test_a_verdict_is_on_these_answers_only(tmp_path):
    review = Review(tmp_path / "review.jsonl")
    review.give(pair("a"), "drop")
    other = replace(pair("a"), rejected="1. join()")
    assert review.verdict(other) is None and review.accepted([pair("a"), other]) == [other]


def test_a_review_takes_no_other_verdict_and_no_other_file(tmp_path):
    review = Review(tmp_path / "review.jsonl")
    with pytest.raises(InputError, match="'maybe' is no verdict on a; say keep or drop"):
        review.give(pair("a"), "maybe")
    assert (tmp_path / "review.jsonl").read_text() == ""
    (tmp_path / "other.jsonl").write_text('{"id": "a"}\n')
    with pytest.raises(InputError, match="line 1: 'verdict' is missing"):
        Review(tmp_path / "other.jsonl")


def test_each_turn_of_the_model_is_an_example():
    for conversation in SAMPLE:
        made, said = turns_of(conversation), conversation["conversations"]
        assert [answer["content"] for _, _, answer in made] == [t["value"] for t in said if t["from"] == "gpt"]
        for id, prompt, answer in made:
            assert prompt[-1]["role"] == "user" and prompt[0]["content"] == said[0]["value"]
            assert answer["content"] == said[len(prompt)]["value"]
            assert id.startswith(conversation["id"])


def test_agentbank_becomes_pairs():
    ids = [id for conversation in SAMPLE for id, _, _ in turns_of(conversation)]
    answers = dict.fromkeys(ids, "Thought: Hm.\nAction: wait") | {"made_alfred_0-0": " OK\n"}
    kept, dropped = agentbank_pairs(SAMPLE, answers)
    assert [p.id for p in dropped] == ["made_alfred_0-0"] and len(kept) == len(ids) - 1
    first = kept[0]
    assert first.id == "made_alfred_0-1" and [m["role"] for m in first.prompt] == ["user", "assistant", "user"]
    assert first.chosen == [{"role": "assistant", "content": SAMPLE[0]["conversations"][3]["value"]}]
    assert first.rejected == [{"role": "assistant", "content": "Thought: Hm.\nAction: wait"}]
    assert agentbank_pairs(SAMPLE, {"made_alfred_1-2": "no"})[0][0].id == "made_alfred_1-2"


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([{"from": "gpt", "value": "OK"}], "turn 1: the model speaks first"),
        ([{"from": "human", "value": "a"}, {"from": "human", "value": "b"}], "turn 2: two turns of the same side"),
        ([{"from": "tool", "value": "a"}], "turn 1: expected"),
        ([{"from": "human", "value": None}], "turn 1: expected"),
        (["hello"], "turn 1: expected"),
        ("hello", "must have"),
    ],
)
def test_a_malformed_conversation_is_named(turns, message):
    with pytest.raises(InputError, match=message):
        turns_of({"id": "x", "conversations": turns})


class Weaker:
    """A model whose every answer is the same."""

    name, asked = "weaker", 0

    def complete(self, prompts, limit):
        self.asked += 1
        return [NANO_TEMPLATE.write(WRONG)] * len(prompts)

    def count_tokens(self, text):
        return len(text)


def test_a_weaker_models_answers_are_kept_for_the_same_prompts_only(tmp_path):
    rows = [row | {"tools": ["get_phone_number", "send_sms"], "now": "2024-05-24 09:00:00"} for row in ROWS]
    weaker, settings, path = Weaker(), DPO["nano"], tmp_path / "pairs.json"
    first = rejected_pairs(weaker, rows, NANO_TEMPLATE, settings, path)
    assert (
        len(first) == 4 and rejected_pairs(weaker, rows, NANO_TEMPLATE, settings, path) == first and weaker.asked == 1
    )
    with pytest.raises(InputError, match="holds answers to other prompts"):
        rejected_pairs(weaker, rows[:2], NANO_TEMPLATE, settings, path)


def test_nano_does_not_ask_the_hub():
    with pytest.raises(InputError, match="the profile nano uses no network; data/agentbank/sample.jsonl"):
        load_agentbank(PROFILES["nano"])
