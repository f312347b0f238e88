"""The figures of a planner on the test splits."""

import pytest

from tinyagent_helpers.artifacts import DATA, InputError, read_jsonl
from tinyagent_helpers.evaluation import evaluate, read_test_splits
from tinyagent_helpers.prompts import NANO_TEMPLATE
from tinyagent_helpers.synthesis import RecordedTeacher, synthesize


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    synthesize(RecordedTeacher(), 300, 0, folder)
    return folder


class Knows:
    """A model that was told the right plans, and forgets those of some requests."""

    name, template, context = "knows", "", 10_000

    def __init__(self, rows, forgets=()):
        self.plans = {row["request"]: row["plan"] for row in rows}
        self.forgets = set(forgets)

    def count_tokens(self, prompt):
        return len(prompt) // 3

    def complete(self, prompts, limit=300):
        requests = [prompt.rpartition("Question: ")[2].partition("\n")[0] for prompt in prompts]
        return ["1. join()" if request in self.forgets else self.plans[request] for request in requests]


def test_every_split_is_read_up_to_the_limit_and_scored(data):
    splits = read_test_splits(data, 4)
    assert list(splits) == ["test_draws", "test_patterns", "test_combinations", "handwritten"]
    assert all(len(rows) == 4 for rows in splits.values())
    assert splits["handwritten"] == list(read_jsonl(DATA / "handwritten" / "test.jsonl"))[:4]
    rows = [row for rows in splits.values() for row in rows]
    forgets = [splits["test_draws"][0]["request"]]
    figures = evaluate(Knows(rows, forgets), NANO_TEMPLATE, splits)
    assert [(f["n"], f["success, %"], f["arguments too, %"]) for f in figures] == [(4, 75.0, 75.0)] + [
        (4, 100.0, 100.0)
    ] * 3
    assert figures[0]["success, interval"] == "30 to 95"


def test_missing_data_is_named(tmp_path):
    with pytest.raises(InputError, match="test_draws.jsonl"):
        read_test_splits(tmp_path, 4)
