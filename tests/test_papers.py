"""The papers' tables: every row has what would fill it, and a record that is dropped in is shown."""

import json
import re

from tinyagent_helpers.artifacts import read_json
from tinyagent_helpers.cli import _parser
from tinyagent_helpers.papers import NOT_MEASURED, rows, tables
from tinyagent_helpers.results import RESULTS, leaderboard


def test_every_row_is_there_and_ours_come_from_records():
    assert [len(table["rows"]) for table in tables()] == [10, 4, 6, 4, 11]
    for table in tables():
        for row, shown in zip(table["rows"], rows(table)):
            assert ("nano" in row) == (shown["nano"] != NOT_MEASURED), row["row"]
            assert len(row["published"]) == len(table["published"])


def test_every_command_is_one_that_can_be_given():
    parse, seen = _parser().parse_args, 0
    for row in [row for table in tables() for row in table["rows"]]:
        for command in row["command"].split("; "):
            words = re.sub(r"^accelerate launch -m tinyagent_helpers", "tinyagent", command).split()
            if words[0] == "tinyagent":
                parse(words[1:])
                seen += 1
            else:
                assert words[0] in ("as", "the", "jupyter"), command
    assert seen > 30


def test_a_record_that_is_dropped_in_fills_its_row(tmp_path):
    success, bfcl = tables()[0], tables()[4]
    (tmp_path / "tinyagent-1b-lora.json").write_text(
        json.dumps({"figures": [{"split": "a", "success, %": 70.0}, {"split": "b", "success, %": 60.0}]})
    )
    (tmp_path / "bfcl-Qwen3-0.6B.json").write_text(
        json.dumps({"figures": [], "overall": {"V3": {"V3 overall": 47.1}, "sample": "5"}})
    )
    filled = {row["row"]: row["yours"] for table in (success, bfcl) for row in rows(table, tmp_path)}
    assert filled["TinyAgent-1.1B, after LoRA"] == "65.0" and filled["Qwen3-0.6B"] == "47.1 (sample)"
    assert {value for row, value in filled.items() if row not in ("TinyAgent-1.1B, after LoRA", "Qwen3-0.6B")} == {
        NOT_MEASURED
    }


def test_the_leaderboard_shows_every_record_and_says_what_it_depends_on():
    board = leaderboard()
    assert {"nano-base", "nano-planner", "nano-caller", "nano-base-Q4", "nano-planner-Q4", "nano-caller-Q4"} <= {
        r["model"] for r in board
    }
    for row in board:
        found = read_json(RESULTS / f"bfcl-{row['model']}.json")
        made = found["run"]
        assert {"mode", "template", "context", "type", "temperature", "weights", "versions", "grammar"} <= set(made)
        assert all(
            figure["of"] == sum(figure[s] for s in ("calls", "no call", "unreadable", "prompt too long", "error"))
            for figure in found["figures"]
        )


def test_the_goals_of_the_caller_are_met():
    """Above a model that never calls in every category of Python's, and quiet where nothing fits; in 16 bits and in four."""
    for name in ("bfcl-nano-caller", "bfcl-nano-caller-Q4"):
        rows = {row["category"]: row for row in read_json(RESULTS / f"{name}.json")["figures"]}
        assert all(rows[c]["right"] > 0 for c in ("simple_python", "multiple", "parallel", "parallel_multiple"))
        assert rows["simple_python"]["%"] >= 15 and rows["irrelevance"]["strict"] >= 0.6 * rows["irrelevance"]["of"]
