"""The published dataset's format: written, read back, and refused where it is something else."""

import json

import pytest

from tinyagent_helpers.artifacts import InputError
from tinyagent_helpers.dataset import load_published, read_tinyagent, to_tinyagent
from tinyagent_helpers.profiles import PROFILES

PLAN = '1. get_phone_number("Mom")\n2. send_sms(["$1"], "hi (there)\\nyou")\n3. join()<END_OF_PLAN>'
ROW = {"id": "1-2", "request": "text Mom", "plan": PLAN, "join": "Thought: fine\nAction: Finish(ok)"}

# An entry as the authors publish it, written for this test.
PUBLISHED = {
    "b0a1": {
        "input": "Text Mom hi",
        "output": [
            {
                "type": "plan",
                "raw_input": "...",
                "raw_output": '1. get_phone_number("Mom")\n2. send_sms(["$1"], "hi")\n3. join()<END_OF_PLAN>',
                "parsed_output": [
                    {"tool_name": "get_phone_number", "tool_args": ["Mom"]},
                    {"tool_name": "send_sms", "tool_args": [["$1"], "hi"]},
                    {"tool_name": "join", "tool_args": []},
                ],
                "id": "0d9c2b1e-6f3c-4b57-8a55-0f4a2f0f6a11",
                "index": 0,
            },
            {
                "type": "join",
                "raw_input": "...",
                "raw_output": "Thought: x\nAction: Finish(done)",
                "parsed_output": {"thought": "x", "action": "Finish", "message": "done"},
                "id": "x",
                "index": 1,
            },
        ],
        "closest_5_queries": [],
    },
    "b0a2": {"input": "?", "output": [{"type": "plan", "parsed_output": [{"tool_name": "fly", "tool_args": []}]}]},
}


def test_what_is_written_is_read_back(tmp_path):
    source, target = tmp_path / "a.jsonl", tmp_path / "a.json"
    source.write_text("".join(json.dumps(ROW | {"id": str(i)}) + "\n" for i in range(3)))
    assert to_tinyagent(source, target) == 3
    entries = json.loads(target.read_text())
    entry = next(iter(entries.values()))
    assert [o["type"] for o in entry["output"]] == ["plan", "join"]
    assert entry["output"][0]["parsed_output"][1] == {"tool_name": "send_sms", "tool_args": [["$1"], "hi (there)\nyou"]}
    assert entry["output"][0]["parsed_output"][-1] == {"tool_name": "join", "tool_args": []}
    assert entry["output"][1]["parsed_output"] == {"thought": "fine", "action": "Finish", "message": "ok"}
    assert [{k: r[k] for k in ("request", "plan", "join")} for r in read_tinyagent(target)] == [
        {k: ROW[k] for k in ("request", "plan", "join")}
    ] * 3


def test_the_published_format_is_read_and_bad_plans_are_counted(tmp_path):
    (tmp_path / "p.json").write_text(json.dumps(PUBLISHED))
    rejected = []
    rows = list(read_tinyagent(tmp_path / "p.json", rejected))
    assert [r["request"] for r in rows] == ["Text Mom hi"] and rows[0]["join"].endswith("Finish(done)")
    assert len(rejected) == 1 and "b0a2: line 1: there is no tool 'fly'" in rejected[0]


@pytest.mark.parametrize(
    "text, message",
    [
        ("[]", "expected an object"),
        ("{", "not JSON"),
        ('{"a": {"input": "x"}}', "entry a: not in the TinyAgent format"),
        ('{"a": 3}', "entry a"),
        ('{"a": {"input": 5, "output": [{"type": "plan", "parsed_output": []}]}}', "input and raw_output must be text"),
        (
            '{"a": {"input": "x", "output": [{"type": "plan", "parsed_output": [{"tool_name": "open_note", "tool_args": "xy"}]}]}}',
            "tool_args must be a list",
        ),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(InputError, match=message):
        list(read_tinyagent(tmp_path / "p.json"))


def test_a_bad_line_leaves_no_half_file(tmp_path):
    source, target = tmp_path / "a.jsonl", tmp_path / "a.json"
    source.write_text(json.dumps(ROW) + "\nnonsense\n")
    target.write_text("{}")
    with pytest.raises(InputError, match="a.jsonl, line 2"):
        to_tinyagent(source, target)
    assert target.read_text() == "{}" and sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "a.jsonl"]


def test_an_example_with_a_bad_plan_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(ROW | {"plan": "nonsense"}) + "\n")
    with pytest.raises(InputError, match="a.jsonl, example '1-2': line 1"):
        to_tinyagent(tmp_path / "a.jsonl", tmp_path / "a.json")


def test_the_hub_is_used_only_where_the_profile_allows_it(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="nano never uses the network"):
        list(load_published(PROFILES["nano"]))
    (tmp_path / "train.json").write_text(json.dumps(PUBLISHED))
    asked = []

    def snapshot_download(repo, **options):
        asked.append((repo, options["repo_type"]))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert len(list(load_published(PROFILES["gpu"]))) == 1
    assert asked == [("squeeze-ai-lab/TinyAgent-dataset", "dataset")]


def test_a_hub_that_cannot_be_reached_is_an_input_error(monkeypatch):
    def snapshot_download(repo, **options):
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(InputError, match="could not be fetched .no network.; check the network and HF_HUB_OFFLINE"):
        list(load_published(PROFILES["gpu"]))
