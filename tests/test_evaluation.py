"""The figures of a planner on the test splits."""

import json

import pytest

from tinyagent_helpers.artifacts import DATA, InputError, read_jsonl
from tinyagent_helpers.cli import main
from tinyagent_helpers.evaluation import NeededTools, evaluate, read_test_splits
from tinyagent_helpers.planner import ModelPlanner
from tinyagent_helpers.prompts import NANO_TEMPLATE
from tinyagent_helpers.synthesis import RecordedTeacher, synthesize
from tinyagent_helpers.tools import MAC_TOOLS


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    synthesize(RecordedTeacher(), 300, 0, folder)
    return folder


class Knows:
    """A model that was told the right plans, and forgets those of some requests; it notes the prompts."""

    name, template, context = "knows", "", 10_000
    prompts: list[str] = []

    def __init__(self, rows, forgets=()):
        self.plans = {row["request"]: row["plan"] for row in rows}
        self.forgets = set(forgets)

    def count_tokens(self, prompt):
        return len(prompt) // 3

    def complete(self, prompts, limit=300):
        self.prompts = [*self.prompts, *prompts]
        requests = [prompt.rpartition("Question: ")[2].partition("\n")[0] for prompt in prompts]
        return ["1. join()" if request in self.forgets else self.plans[request] for request in requests]


def all_tools(model):
    return ModelPlanner(model, NANO_TEMPLATE).write_all


def test_every_split_is_read_up_to_the_limit_and_scored(data):
    splits = read_test_splits(data, 4)
    assert list(splits) == ["test_draws", "test_patterns", "test_combinations", "handwritten"]
    assert all(len(rows) == 4 for rows in splits.values())
    assert splits["handwritten"] == list(read_jsonl(DATA / "handwritten" / "test.jsonl"))[:4]
    rows = [row for rows in splits.values() for row in rows]
    forgets = [splits["test_draws"][0]["request"]]
    figures = evaluate(all_tools(Knows(rows, forgets)), splits)
    assert [(f["n"], f["success, %"], f["arguments too, %"]) for f in figures] == [(4, 75.0, 75.0)] + [
        (4, 100.0, 100.0)
    ] * 3
    assert figures[0]["success, interval"] == "30 to 95"


def test_a_perfect_retriever_shows_only_the_tools_that_are_needed(data):
    splits = {"draws": read_test_splits(data, 4)["test_draws"]}
    model = Knows(splits["draws"])
    [figures] = evaluate(ModelPlanner(model, NANO_TEMPLATE, NeededTools(splits["draws"])).write_all, splits)
    for row, prompt in zip(splits["draws"], model.prompts, strict=True):
        assert [name for name in MAC_TOOLS if f" {name}(" in prompt] == [n for n in MAC_TOOLS if n in row["tools"]]
    assert figures["tool recall, %"] == figures["whole set, %"] == 100 and figures["asked again, %"] == 0


def test_what_retrieval_missed_and_what_was_asked_again_is_counted(data):
    rows = read_test_splits(data, 4)["test_draws"]

    class Misses(NeededTools):
        def retrieve(self, requests):
            return [
                {} if request == rows[0]["request"] else found
                for request, found in zip(requests, super().retrieve(requests))
            ]

    model = Knows(rows, forgets=[rows[1]["request"]])
    [figures] = evaluate(ModelPlanner(model, NANO_TEMPLATE, Misses(rows)).write_all, {"draws": rows})
    assert figures["tool recall, %"] == figures["whole set, %"] == 75 and figures["asked again, %"] == 25
    assert figures["success, %"] == 75, "all tools were shown where nothing was found"
    assert len(model.prompts) == 5


def test_missing_data_is_named(tmp_path):
    with pytest.raises(InputError, match="test_draws.jsonl"):
        read_test_splits(tmp_path, 4)


def test_the_command_line_measures_the_planner_that_ships(data, capsys, monkeypatch):
    records = []
    monkeypatch.setattr("tinyagent_helpers.results.record", lambda *values, **named: records.append(named))
    monkeypatch.setattr("tinyagent_helpers.results.update_readme", lambda: None)
    assert main(["evaluate", "--data", str(data), "--limit", "2", "--needed", "--record", "x", "--json"]) == 0
    assert [row["n"] for row in json.loads(capsys.readouterr().out)["figures"]] == [2, 2, 2, 2]
    made = "tinyagent synthesize --count 300 --seed 0 --output DIR"
    assert records[0]["command"] == f"{made}; tinyagent evaluate --data DIR --limit 2 --profile nano --needed"
    assert set(records[0]["data"]) == {"test_splits", "model"}


def test_examples_need_the_data_they_are_taken_from(capsys):
    assert main(["ask", "Text Sid hello", "--examples", "2"]) == 2
    assert "the prompts show 2 training examples: give --data" in capsys.readouterr().err
