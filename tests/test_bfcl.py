"""The leaderboard: the ceiling and the floor by the official checkers, and our verdicts against the official runner's."""

import json
import time
from collections import Counter

import pytest
from says import Says

from tinyagent_helpers.artifacts import InputError, read_jsonl
from tinyagent_helpers.bfcl import judge
from tinyagent_helpers.bfcl.answers import (
    CALLS,
    NONE,
    TOO_LONG,
    UNREADABLE,
    Answer,
    PlanMode,
    PromptMode,
    answer,
    literal_calls,
)
from tinyagent_helpers.bfcl.baselines import never_calls, oracle
from tinyagent_helpers.bfcl.functions import calls_of, functions_of
from tinyagent_helpers.bfcl.official import (
    CATEGORIES,
    LIVE,
    MULTI_TURN,
    NON_LIVE,
    SINGLE_TURN,
    check_name,
    entries,
    result_file,
)
from tinyagent_helpers.bfcl.run import chosen, official_scores, run, score
from tinyagent_helpers.bfcl.scores import Score, overall, overall_v4, tally
from tinyagent_helpers.cli import main
from tinyagent_helpers.plans import parse_plan
from tinyagent_helpers.prompts import PromptTemplate

CEILING = {
    "simple_python": 400, "simple_java": 89, "simple_javascript": 50, "multiple": 200, "parallel": 200,
    "parallel_multiple": 200, "irrelevance": 240, "live_simple": 256, "live_multiple": 1051, "live_parallel": 16,
    "live_parallel_multiple": 24, "live_irrelevance": 884, "live_relevance": 16, "multi_turn_base": 200,
    "multi_turn_miss_func": 200, "multi_turn_miss_param": 200, "multi_turn_long_context": 200,
}  # fmt: skip
COUNTS = [400, 100, 50, 200, 200, 200, 240, 258, 1053, 16, 24, 884, 16, 200, 200, 200, 200]


def scored(give):
    rows = [(c, id, give(c, id)) for c in CATEGORIES for id in entries(c)]
    found = judge.verdicts((c, id, made.result) for c, id, made in rows)
    return tally((c, made.status, error) for (c, _, made), error in zip(rows, found))


def test_the_oracle_is_the_ceiling_and_its_counts_are_pinned():
    scores = scored(oracle)
    assert [scores[c].n for c in CATEGORIES] == COUNTS
    assert {c: scores[c].right for c in CATEGORIES} == CEILING
    assert all(scores[c].strict == scores[c].right for c in CATEGORIES)
    assert overall(scores) == {"V3 overall": 99.7, "Non-Live": 99.27, "Live": 99.82, "Multi-Turn": 100.0}
    assert overall_v4(scores)["V4 without Agentic, of 60"] == 59.88


def test_a_model_that_never_calls_is_the_floor():
    scores = scored(never_calls)
    assert {c for c in CATEGORIES if scores[c].right} == {"irrelevance", "live_irrelevance"}
    assert overall(scores) == {"V3 overall": 19.76, "Non-Live": 20.0, "Live": 39.27, "Multi-Turn": 0.0}
    assert overall_v4(scores)["V4 without Agentic, of 60"] == 10.0


def test_versions_weigh_as_published():
    half = {c: Score(n=2 * n, right=n) for c, n in zip(CATEGORIES, COUNTS)}
    assert set(overall(half).values()) == {50.0}
    assert set(overall_v4(half).values()) == {30.0, 50.0}
    only_java = {"simple_java": Score(n=100, right=100)}
    assert overall(only_java) == {"V3 overall": 2.22, "Non-Live": 6.67, "Live": 0.0, "Multi-Turn": 0.0}


def test_the_official_runner_agrees_entry_by_entry(tmp_path):
    """Right, wrong, unreadable and missing calls, in a sample of every category."""
    limit, made = 8, {}
    for category in CATEGORIES:
        path = result_file(tmp_path / "result", "mixed", category)
        path.parent.mkdir(parents=True, exist_ok=True)
        kinds = [
            oracle,
            never_calls,
            lambda c, i: Answer(UNREADABLE, text="[f(x)]"),
            lambda c, i: Answer(CALLS, [{"f": {"x": 1}}]),
        ]
        rows = [(e["id"], kinds[n % 4](category, e["id"])) for n, e in enumerate(chosen(category, limit))]
        lines = [{"id": id, "result": a.result, "status": a.status, "text": a.text} for id, a in rows]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        made[category] = [id for id, _ in rows]
    ours = score("mixed", CATEGORIES, tmp_path / "result", limit)
    theirs = official_scores("mixed", CATEGORIES, tmp_path / "result", tmp_path / "score")
    rows = [(c, row) for c in CATEGORIES for row in read_jsonl(result_file(tmp_path / "result", "mixed", c))]
    found = list(judge.verdicts((c, row["id"], row["result"]) for c, row in rows))
    for category in CATEGORIES:
        wrong = {row["id"] for (c, row), error in zip(rows, found) if c == category and error}
        assert wrong == theirs[category] and ours[category].right == len(made[category]) - len(wrong)
        assert 0 < ours[category].right < ours[category].n


def test_irrelevance_is_strict_only_for_a_true_abstention():
    scores = tally([("irrelevance", NONE, ""), ("irrelevance", UNREADABLE, ""), ("irrelevance", CALLS, "called")])
    assert (scores["irrelevance"].right, scores["irrelevance"].strict) == (2, 1)
    row = scores["irrelevance"].row("irrelevance")
    assert row["no call"] == row["unreadable"] == row["calls"] == 1 and row["of"] == 3


ENTRY = {
    "id": "simple_python_x",
    "question": [[{"role": "user", "content": "What is 5 factorial?"}]],
    "function": [
        {
            "name": "math.factorial",
            "description": "Calculate it.",
            "parameters": {
                "type": "dict",
                "properties": {
                    "unit": {"type": "string", "enum": ["a", "b"]},
                    "class": {"type": "array", "items": {"type": "integer"}},
                    "number": {"type": "integer"},
                },
                "required": ["number"],
            },
        }
    ],
}


def test_functions_become_tools_and_plans_become_calls():
    [(name, function)] = functions_of(ENTRY).items()
    assert name == "math_factorial" and function.tool.signature == "math_factorial(number: int)"
    [full] = functions_of(ENTRY, optional=True).values()
    assert full.tool.signature == "math_factorial(number: int, unit: Literal['a', 'b'], class_: list[int])"
    plan = parse_plan('1. math_factorial(5, "a", [])\n2. join()', {full.tool.name: full.tool})
    assert calls_of(plan, {full.tool.name: full}) == [{"math.factorial": {"number": 5, "unit": "a"}}]
    twice = parse_plan(
        "1. math_factorial(5)\n2. math_factorial(5)\n3. math_factorial(6)\n4. join()", {name: function.tool}
    )
    assert calls_of(twice, {name: function}) == [{"math.factorial": {"number": 5}}, {"math.factorial": {"number": 6}}]


def test_every_official_function_becomes_a_tool():
    seen = Counter()
    for category in SINGLE_TURN:
        for entry in entries(category).values():
            for optional in (False, True):
                seen.update(len(f.parameters) > 0 for f in functions_of(entry, optional).values())
    assert seen[True] > 10_000


def test_what_a_model_answers_is_read_and_what_goes_wrong_is_said():
    template = PromptTemplate()
    mode = PlanMode(
        Says("1. math_factorial(5)\n2. join()", "1. join()", "I think", '1. math_factorial("5")\n2. join()'), template
    )
    made = [answer(mode, ENTRY) for _ in range(4)]
    assert [a.status for a in made] == [CALLS, NONE, UNREADABLE, UNREADABLE]
    assert made[0].result == [{"math.factorial": '{"number": 5}'}] and made[1].result == []
    assert "number must be int" in made[3].result and "What is 5 factorial?" in mode.model.prompts[0]
    mode.model.context = 50
    assert answer(mode, ENTRY).status == TOO_LONG
    huge = answer(PlanMode(Says("x" * 1_000_000), template), ENTRY)
    assert huge.status == UNREADABLE and len(huge.text) < 1_000


def test_prompt_mode_reads_literals_only():
    model = Says(
        "[math.factorial(number=5)]", "```\n[]\n```", "[math.factorial(number=__import__('os').getpid())]", "Sure!"
    )
    made = [answer(PromptMode(model), ENTRY) for _ in range(4)]
    assert [a.status for a in made] == [CALLS, NONE, UNREADABLE, UNREADABLE]
    assert "math.factorial" in model.prompts[0] and made[0].calls == [{"math.factorial": {"number": 5}}]
    for text in (
        "[f(a=1)]",
        "[math.factorial(5)]",
        "[math.factorial(**{'number': 5})]",
        "{}",
        "[1]",
        "[math.factorial(number=2*3)]",
    ):
        with pytest.raises((ValueError, SyntaxError)):
            literal_calls(text, {"math.factorial"})


def test_runs_resume_and_samples_are_seeded(tmp_path):
    categories = ["simple_python", "irrelevance"]
    first = Says("1. join()", "1. join()", KeyError)
    with pytest.raises(TypeError):
        run(PlanMode(first, PromptTemplate()), "nano-1", categories, tmp_path, limit=4)
    with pytest.raises(InputError, match="lacks 2 of 4 answers"):
        score("nano-1", ["simple_python"], tmp_path, limit=4)
    path = result_file(tmp_path, "nano-1", "simple_python")
    path.write_text(path.read_text() + '{"id": "cut o')
    said = []
    run(PlanMode(second := Says(), PromptTemplate()), "nano-1", categories, tmp_path, limit=4, report=said.append)
    assert len(second.prompts) == 6 and any("irrelevance: 4 of 4" in line for line in said)
    scores = score("nano-1", categories, tmp_path, limit=4)
    assert (scores["irrelevance"].strict, scores["simple_python"].right, scores["simple_python"].n) == (4, 0, 4)
    assert chosen("multiple", 5, 1) == chosen("multiple", 5, 1) != chosen("multiple", 5, 2)
    assert len(chosen("live_parallel", 50)) == 16


def test_names_that_make_the_official_comparison_pass_anything_are_refused(tmp_path):
    for name in ("my model", "a+b", "1b", "a@b", "x(1)", "", "a/b", "a_b"):
        with pytest.raises(InputError, match="is not a name for a model"):
            check_name(name)
    with pytest.raises(InputError, match="there is no category 'simple'; there are simple_python"):
        run(PlanMode(Says(), PromptTemplate()), "nano", ["simple"], tmp_path)


def test_a_checker_that_hangs_or_fails_stops_nothing(monkeypatch):
    right = ("simple_python", "simple_python_1", oracle("simple_python", "simple_python_1").result)
    started = time.monotonic()
    found = list(judge.verdicts([right, ("simple_python", "no such id", []), right]))
    assert found == ["", "checker: KeyError", ""]
    assert list(judge.verdicts([right, right], seconds=0.0)) == ["checker: took too long"] * 2
    assert time.monotonic() - started < 60


def test_the_commands_run_and_score(tmp_path, capsys):
    common = ["--name", "shipped", "--category", "simple_python", "--output", str(tmp_path), "--limit", "3", "--json"]
    assert main(["bfcl", "run", "--grammar", *common]) == 0
    capsys.readouterr()
    assert main(["bfcl", "score", *common]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["figures"][0]["of"] == 3 and made["sample"] == "at most 3 of a category, seed 0"
    assert main(["bfcl", "score", *common[2:], "--name", "no name"]) == 2


def test_every_category_belongs_to_one_group():
    assert len({*NON_LIVE, *LIVE, *MULTI_TURN}) == len(CATEGORIES) == len(SINGLE_TURN) + 4 == 17
