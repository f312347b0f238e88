"""Retrievers, the choice of a threshold, and tools that are added by their usage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyagent_helpers.artifacts import InputError
from tinyagent_helpers.toolrag import Above, AllTools, Best, ToolVectors, choose_threshold, figures, labels_of, recalls
from tinyagent_helpers.tools import MAC_TOOLS

NAMES = ["open_note", "send_sms", "get_phone_number"]
WORDS = ["note", "text", "call", "map", "water", "plants"]


class Scores:
    """A scorer with fixed scores."""

    names = NAMES

    def __init__(self, *rows):
        self.rows = np.array(rows)

    def scores(self, requests):
        return self.rows[: len(requests)]


def embed(texts):
    """A vector of word counts."""
    return np.array([[text.lower().count(word) for word in WORDS] for text in texts], dtype=float)


def test_retrievers_choose_in_the_usual_order_and_may_find_nothing():
    scorer = Scores([0.9, 0.6, 0.2], [0.1, 0.1, 0.1])
    assert [list(found) for found in Above(scorer, 0.5, MAC_TOOLS).retrieve(["a", "b"])] == [
        ["open_note", "send_sms"],
        [],
    ]
    assert [set(found) for found in Best(scorer, 2, MAC_TOOLS).retrieve(["a"])] == [{"open_note", "send_sms"}]
    assert len(Best(scorer, 2, MAC_TOOLS).retrieve(["a", "b"])[1]) == 2, "ties are cut, too"
    assert AllTools().retrieve(["a", "b"]) == [MAC_TOOLS, MAC_TOOLS]


@given(
    st.lists(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=3, max_size=3), min_size=1, max_size=30),
    st.floats(0.05, 1),
)
def test_the_threshold_is_the_highest_that_keeps_the_recall(rows, recall):
    scores = np.array([[score for score, _ in row] for row in rows])
    needed = np.array([[need for _, need in row] for row in rows])
    useful = needed.any(axis=1)
    if not useful.any():
        with pytest.raises(InputError, match="need none"):
            choose_threshold(scores, needed, recall)
        return
    scores, needed = scores[useful], needed[useful]
    threshold = choose_threshold(scores, needed, recall)
    assert recalls(scores >= threshold, needed).mean() >= recall
    for higher in np.unique(scores[scores > threshold]):
        assert recalls(scores >= higher, needed).mean() < recall


def test_a_lower_recall_allows_a_higher_threshold_and_fewer_tools():
    scores, needed = np.array([[0.9, 0.8, 0.1], [0.7, 0.2, 0.6]]), np.array([[True, True, False], [True, False, False]])
    assert choose_threshold(scores, needed, 1.0) == 0.7 and choose_threshold(scores, needed, 0.5) == 0.8


def test_figures_of_a_retriever():
    found = figures([["a", "b", "c"], ["a"], []], [["a"], ["a", "b"], ["c"]])
    assert found == {
        "recall": 0.5,
        "whole set": pytest.approx(1 / 3),
        "tools": pytest.approx(4 / 3),
        "empty": pytest.approx(1 / 3),
    }
    rows = [{"tools": ["send_sms", "get_phone_number"]}]
    assert labels_of(rows, NAMES).tolist() == [[False, True, True]]


def test_a_tool_is_added_by_its_usage_and_the_others_stay_as_they_are():
    usage = {"open_note": ["open my note", "the note please"], "send_sms": ["text Sid", "text Ada hello"]}
    vectors = ToolVectors.of_usage(embed, usage)
    before = {name: vector.copy() for name, vector in vectors.vectors.items()}
    vectors.add("water_plants", ["water the plants", "plants need water"])
    assert vectors.names[vectors.scores(["please water all plants"])[0].argmax()] == "water_plants"
    assert vectors.names[vectors.scores(["text my mother"])[0].argmax()] == "send_sms"
    assert all((vectors.vectors[name] == vector).all() for name, vector in before.items())
    with pytest.raises(InputError, match="fly cannot be added without a request"):
        vectors.add("fly", [])


def test_descriptions_are_embedded_with_the_names():
    vectors = ToolVectors.of_descriptions(embed, {name: MAC_TOOLS[name] for name in NAMES})
    assert vectors.names == NAMES and vectors.names[vectors.scores(["a note"])[0].argmax()] == "open_note"


def test_tool_vectors_are_kept_as_safetensors(tmp_path):
    vectors = ToolVectors.of_usage(embed, {"send_sms": ["text Sid"], "open_note": ["a note"]})
    vectors.save(tmp_path / "tools.safetensors")
    again = ToolVectors.load(embed, tmp_path / "tools.safetensors")
    assert again.names == ["send_sms", "open_note"]
    assert np.allclose(again.scores(["text my note"]), vectors.scores(["text my note"]), atol=1e-6)
    (tmp_path / "tools.safetensors").write_bytes(b"cut off")
    with pytest.raises(InputError, match="cannot be read"):
        ToolVectors.load(embed, tmp_path / "tools.safetensors")
