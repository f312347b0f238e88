"""Assistants of one's own: two tool sets, and what is wrong with a third."""

import shutil
from dataclasses import replace

import nbformat
import pytest

from tinyagent_helpers import course
from tinyagent_helpers.apis import load_domains
from tinyagent_helpers.artifacts import ROOT, InputError
from tinyagent_helpers.examples import training_pairs
from tinyagent_helpers.own import HOME, OWN, draw_rows, load_own, load_tools, own_folder
from tinyagent_helpers.plans import fill_in, parse_plan
from tinyagent_helpers.profiles import PROFILES
from tinyagent_helpers.prompts import NANO_TEMPLATE
from tinyagent_helpers.tools import MAC_TOOLS

SETS = [HOME, ROOT / "tests" / "capstone" / "library"]


@pytest.mark.parametrize("folder", SETS, ids=lambda path: path.name)
def test_functions_become_tools_and_requests_their_plans(folder):
    domain = load_own(folder)
    assert len(domain.tools) == 10 and not set(domain.tools) & {
        *MAC_TOOLS,
        *(t for d in load_domains() for t in d.tools),
    }
    splits = draw_rows(domain, 200, 30, seed=0)
    requests = [row["request"] for rows in splits.values() for row in rows]
    assert len(set(requests)) == len(requests) == 290
    assert draw_rows(domain, 200, 30, seed=0) == splits != draw_rows(domain, 200, 30, seed=1)
    pairs = training_pairs(splits["train"], NANO_TEMPLATE, 0, 4, joins=0, tools=domain.tools)
    for row, pair in zip(splits["train"], pairs, strict=True):
        plan = parse_plan("".join(NANO_TEMPLATE.read([pair.completion])), domain.tools)
        assert all(f"{step.tool}(" in pair.prompt for step in plan.steps) and set(row["tools"]) <= {
            step.tool for step in plan.steps
        }


@pytest.mark.parametrize("folder", SETS, ids=lambda path: path.name)
def test_the_plans_run_on_the_functions(folder):
    domain = load_own(folder)
    for row in draw_rows(domain, 0, 60, seed=2)["test_draws"]:
        results, tools = {}, load_tools(folder / "tools.py")  # as after a reset
        for step in parse_plan(row["plan"], domain.tools).steps:
            given = fill_in(step.arguments, {id: results[id] for id in step.depends_on})
            results[step.id] = tools[step.tool].function(*given)
        assert all(isinstance(result, str) and result for result in results.values())


def test_what_is_wrong_with_a_folder_is_said(tmp_path):
    with pytest.raises(InputError, match="tools.py: FileNotFoundError"):
        load_own(tmp_path)
    (tmp_path / "tools.py").write_text("import math\nX = 1\n")
    with pytest.raises(InputError, match="holds no function"):
        load_own(tmp_path)
    (tmp_path / "tools.py").write_text("def f(x):\n    '''Do.'''\n")
    with pytest.raises(InputError, match="'x' has no type hint"):
        load_own(tmp_path)
    (tmp_path / "tools.py").write_text("def f(x: str) -> str:\n    return x\n")
    with pytest.raises(InputError, match="f needs a docstring"):
        load_own(tmp_path)
    shutil.copy(HOME / "tools.py", tmp_path)
    (tmp_path / "requests.toml").write_text("[values]\nfloor = [1, 2]\n")
    with pytest.raises(InputError, match="floor in \\[values\\] should be a list of texts"):
        load_own(tmp_path)
    (tmp_path / "requests.toml").write_text("[values]\n")
    with pytest.raises(InputError, match="no \\[\\[scenario\\]\\]"):
        load_own(tmp_path)
    scenario = '[[scenario]]\nid = "a"\nplan = "1. find_lights(\\"attic\\", \\"on\\")"\nanswer = "$1"\n[scenario.requests]\nplain = ["Lights?"]\n'
    (tmp_path / "requests.toml").write_text(scenario)
    with pytest.raises(InputError, match="has no request for add_to_shopping_list"):
        load_own(tmp_path)
    (tmp_path / "requests.toml").write_text(scenario.replace("find_lights", "find_lamps"))
    with pytest.raises(InputError, match="find_lamps"):
        load_own(tmp_path)


@pytest.mark.parametrize("profile", OWN)
def test_the_home_has_enough_requests_for_every_profile(profile):
    assert len(draw_rows(load_own(HOME), OWN[profile].rows, 60, seed=0)["train"]) == OWN[profile].rows


def test_too_few_ways_to_ask_are_said():
    domain = load_own(HOME)
    with pytest.raises(InputError, match="no way to ask is left for (validation|test_patterns)"):
        draw_rows(replace(domain, patterns=domain.patterns[:1]), 10, 5, seed=0)


def test_a_folder_is_named_by_its_whole_path(tmp_path, monkeypatch):
    monkeypatch.delenv("TINYAGENT_OWN", raising=False)
    assert own_folder() == HOME
    monkeypatch.setenv("TINYAGENT_OWN", str(tmp_path))
    assert own_folder() == tmp_path
    for wrong in ("tests/capstone/library", str(tmp_path / "missing")):
        monkeypatch.setenv("TINYAGENT_OWN", wrong)
        with pytest.raises(InputError, match="give the whole path"):
            own_folder()


@pytest.mark.minutes
def test_the_notebook_makes_an_assistant_of_tools_that_it_does_not_know(tmp_path, monkeypatch):
    """On few requests, as this is about whether it runs; what it gives on many is in data/models/TRIALS.md."""
    [path] = course.notebooks(["09"])
    notebook, usual = nbformat.read(path, as_version=4), "settings, OTHERS = replace(OWN[PROFILE], seed=SEED), 60"
    [cell] = [cell for cell in notebook.cells if usual in cell.source]
    cell.source = cell.source.replace(usual, "settings, OTHERS = replace(OWN[PROFILE], seed=SEED, rows=120), 12")
    nbformat.write(notebook, tmp_path / path.name)
    monkeypatch.setattr(course, "NOTEBOOKS", tmp_path)
    monkeypatch.setenv("TINYAGENT_ARTIFACTS", str(tmp_path / "artifacts"))
    monkeypatch.setenv("TINYAGENT_OWN", str(SETS[1]))
    [outcome] = course.run_course(PROFILES["nano"], [], False, lambda line: None)
    assert not outcome.error, outcome.error
    printed = (tmp_path / "artifacts" / "nano" / "course" / path.name).read_text()
    assert "find_member" in printed and "find_lights" not in printed
    assert (tmp_path / "artifacts" / "nano" / "own" / "library" / "adapter-Q4_0.gguf").exists()
