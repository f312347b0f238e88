"""The ledger: records say where a figure comes from, and the README shows what they say."""

import pytest

from tinyagent_helpers.artifacts import ROOT, InputError, read_json
from tinyagent_helpers.results import RESULTS, record, render


def test_the_readme_shows_what_the_records_say():
    readme = (ROOT / "README.md").read_text()
    assert "<!-- results: course-nano -->" in readme and "<!-- results: synthesis -->" in readme
    assert render(readme) == readme


def test_every_record_can_be_made_again():
    records = sorted(RESULTS.glob("*.json"))
    assert records
    for path in records:
        found = read_json(path)
        assert {"figures", "command", "profile", "seed", "seconds", "date", "data", "versions", "hardware"} <= set(
            found
        )
        assert found["figures"] and found["command"].startswith("tinyagent ")


def test_a_changed_record_changes_the_table(tmp_path):
    source = {"command": "tinyagent x", "profile": "nano", "seed": 1, "seconds": 2.0}
    record("x", [{"thing": "a", "MB": 3}], **source, folder=tmp_path)
    text = render("before\n<!-- results: x -->\n<!-- end -->\nafter", tmp_path)
    assert "| a | 3 |" in text and text.startswith("before") and text.endswith("\nafter")
    assert render(text, tmp_path) == text
    path = record("x", [{"thing": "a", "MB": 4}], **source, data={"model": "abc"}, folder=tmp_path)
    assert read_json(path)["data"]["model"] == "abc"
    assert "| a | 4 |" in render(text, tmp_path)


def test_a_block_without_an_end_is_refused(tmp_path):
    with pytest.raises(InputError, match="the block of results x has no"):
        render("<!-- results: x -->\nthe rest of the README", tmp_path)


def test_the_records_of_planners_say_how_and_on_what():
    for path in RESULTS.glob("planner-*.json"):
        found = read_json(path)
        assert "tinyagent synthesize" in found["command"] and "tinyagent evaluate --data DIR" in found["command"]
        assert {"test_splits", "model"} <= set(found["data"]) and "/" not in found["command"]


def test_the_readme_counts_what_ships():
    from tinyagent_helpers.artifacts import DATA, read_jsonl
    from tinyagent_helpers.teacher import load_patterns

    readme, patterns = (ROOT / "README.md").read_text(), load_patterns()
    written = sum(len(list(read_jsonl(DATA / "handwritten" / f"{name}.jsonl"))) for name in ("dev", "test"))
    assert f"{len(patterns):,} request patterns" in readme and f"{written} requests with plans" in readme
    assert f"for {len({p.tools for p in patterns})} combinations" in readme
