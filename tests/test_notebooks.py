"""What every notebook must be, and that it runs: cold, warm, and with its exercises solved."""

import ast
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest

from tinyagent_helpers import checks, doctor
from tinyagent_helpers.artifacts import ROOT, read_json
from tinyagent_helpers.course import SOLUTIONS, exercise_cells, notebooks, unsolved
from tinyagent_helpers.results import RESULTS

NOTEBOOKS = notebooks()
MAX_LINES, MAX_WIDTH = 15, 130
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def cells(path, kind):
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == kind]


@each
def test_parts_are_there_in_order(path):
    everything = nbformat.read(path, as_version=4).cells
    title, card, parameters, imports = everything[:4]
    assert re.match(rf"# {path.stem[:2]} .+\n\n\*\*.+\?\*\*$", title.source), "a title and one question"
    assert all(f"**{part}**" in card.source for part in ("You will", "You need", "Reads", "Leaves", "Takes"))
    assert parameters.metadata.tags == ["parameters"] and parameters.source == 'PROFILE = "nano"\nSEED = 0'
    assert "platform.python_version()" in imports.source and "find_accelerator()" in imports.source
    headings = re.findall(r"^## (.+)$", "\n".join(c.source for c in everything if c.cell_type == "markdown"), re.M)
    assert headings[-2:] == ["Exercises", "What failed, what to take away"]
    last = everything[-1].source
    assert "Take away" in last and "Left behind" in last and "**Next:**" in last
    assert "Predict" in "".join(c.source for c in cells(path, "markdown")), "predict before running"


@each
def test_cells_are_short(path):
    for cell in cells(path, "code"):
        lines = cell.source.splitlines()
        assert len(lines) <= MAX_LINES, f"{len(lines)} lines:\n{cell.source}"
        assert max(map(len, lines)) <= MAX_WIDTH, max(lines, key=len)
    sizes = sorted(len(c.source.splitlines()) for c in cells(path, "code"))
    assert sizes[len(sizes) // 2] <= 8


@each
def test_committed_without_outputs_or_widget_state(path):
    notebook = json.loads(path.read_text())
    assert "widgets" not in notebook["metadata"]
    for cell in notebook["cells"]:
        assert not cell.get("outputs") and not cell.get("execution_count")


@each
def test_every_figure_has_alt_text_and_a_table_stands_beside_the_papers(path):
    source = "\n".join(c.source for c in cells(path, "code"))
    assert "plots.show(" in source and "plt.show" not in source
    assert re.search(r"blog post|published", source), "a row from the paper"


@each
def test_no_cell_is_skipped_or_swallows_errors(path):
    for cell in cells(path, "code"):
        assert "except:" not in cell.source and "except Exception" not in cell.source
        assert not set(cell.metadata.get("tags", ())) - {"parameters", "exercise", "slide"}


@each
def test_exercises_and_solutions_belong_together(path):
    exercises = exercise_cells(nbformat.read(path, as_version=4))
    assert 2 <= len(exercises) <= 3
    for name, cell in exercises.items():
        solution = (SOLUTIONS / f"ex_{name}.py").read_text()
        assert "..." in cell.source and hasattr(checks, f"ex_{name}")
        assert cell.source.splitlines()[-1] == solution.splitlines()[-1], "the same check, with the same name"
        assert _defines(cell.source) <= _defines(solution)


def test_no_solution_is_left_over():
    used = {f"ex_{name}.py" for path in NOTEBOOKS for name in exercise_cells(nbformat.read(path, as_version=4))}
    assert used == {p.name for p in SOLUTIONS.glob("*.py")}
    assert used == {f"{name}.py" for name in vars(checks) if name.startswith("ex_")}


def _defines(source):
    tree = ast.parse(source)
    functions = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
    return functions | {
        t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)
    }


def test_untouched_exercises_say_so_and_nothing_crashes(capsys):
    for name in (n for n in vars(checks) if n.startswith("ex_")):
        check = getattr(checks, name)
        check(...)
        assert capsys.readouterr().out == "Not tried yet.\n"
        for nonsense in (None, 3, "x", [], {"a"}, ("x", "y"), lambda *_: 1 / 0, lambda *_: "x"):
            check(nonsense)
            assert capsys.readouterr().out.startswith("Not yet. "), (name, nonsense)


def test_every_link_between_notebooks_leads_somewhere():
    for path in [*NOTEBOOKS, ROOT / "README.md"]:
        for target in re.findall(r"\]\(((?!http|#)[^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


@pytest.fixture(scope="module")
def runs(request, tmp_path_factory):
    """Two runs of every notebook whose test is to run, in a folder of its own. Two notebooks at a time with half of the cores each take less time than
    one after the other with all; a small machine has no memory for that. The longest come first, and those of which nobody knows."""
    at_once = 2 if doctor.total_memory() > 12e9 and (os.cpu_count() or 1) > 1 else 1
    environment = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str((os.cpu_count() or 1) // at_once)}
    seconds = {row["notebook"]: row["seconds"] for row in read_json(RESULTS / "course-nano.json")["figures"]}
    with ThreadPoolExecutor(at_once) as pool:
        chosen = [
            item.callspec.params["path"]
            for item in request.session.items
            if item.originalname == test_runs_cold_then_warm_and_solved.__name__
        ]
        longest_first = sorted(chosen, key=lambda path: seconds.get(path.stem, float("inf")), reverse=True)
        folders = {path: tmp_path_factory.mktemp(path.stem) for path in longest_first}
        yield {path: pool.submit(cold_then_solved, path, folder, environment) for path, folder in folders.items()}


def cold_then_solved(path, folder, environment):
    """What the course prints for a notebook that finds nothing, and then for its solved version, which finds what that left."""
    for more in ((), ("--solved",)):
        command = [sys.executable, "-m", "tinyagent_helpers", "course", "--only", path.stem, *more]
        variables = os.environ | environment | {"TINYAGENT_ARTIFACTS": str(folder)}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, cwd=ROOT)
        if done.returncode:
            return done.stdout + done.stderr
    return (folder / "nano" / "course" / "results.md").read_text()


@pytest.mark.minutes
@each
def test_runs_cold_then_warm_and_solved(path, runs):
    printed = runs[path].result()
    assert f"| {path.stem} | ok |" in printed, printed


@pytest.mark.minutes
def test_a_failing_notebook_fails_the_course_and_unsolved_exercises_are_found(tmp_path, monkeypatch):
    from tinyagent_helpers import course as module
    from tinyagent_helpers.profiles import PROFILES

    monkeypatch.setenv("TINYAGENT_ARTIFACTS", str(tmp_path / "artifacts"))
    folder = tmp_path / "notebooks"
    folder.mkdir()
    bad = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("raise SystemError('on purpose')")])
    bad.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(bad, folder / "00_bad.ipynb")
    monkeypatch.setattr(module, "NOTEBOOKS", folder)
    outcome = module.run_course(PROFILES["nano"], [], False, lambda line: None)[0]
    assert "on purpose" in outcome.error
    assert unsolved(Path(NOTEBOOKS[0])) == "exercises not solved: 00_1, 00_2, 00_3"
