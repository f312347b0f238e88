"""Run the notebooks with papermill, in order, and say how it went."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import nbformat
import psutil

from tinyagent_helpers.artifacts import ROOT, InputError, make_folder, read_json, stage, write_json, write_text
from tinyagent_helpers.profiles import Profile

NOTEBOOKS = ROOT / "notebooks"
SOLUTIONS = NOTEBOOKS / "solutions"
SOLVED, UNSOLVED = "Correct.", ("Not yet.", "Not tried yet.")


@dataclass(frozen=True)
class Outcome:
    """One notebook's run: seconds, the most memory its processes held together, and the error, if any."""

    notebook: str
    seconds: float
    memory_mb: int
    error: str = ""


def notebooks(only: Sequence[str] = ()) -> list[Path]:
    """The course's notebooks in order; `only` picks them by the start of their names.

    Raises:
        InputError: a name in `only` fits no notebook.
    """
    paths = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    for name in only:
        if not any(p.name.startswith(name) for p in paths):
            raise InputError(f"no notebook starts with {name!r}; there are {', '.join(p.stem for p in paths)}")
    return [p for p in paths if not only or p.name.startswith(tuple(only))]


def run_course(profile: Profile, only: Sequence[str], solved: bool, report: Callable[[str], None]) -> list[Outcome]:
    """Execute notebooks on a profile; executed copies and a table stay in artifacts/<profile>/course.

    With `solved`, exercises are filled in from notebooks/solutions, and a check that is not content is a failure.
    """
    folder = stage(profile.name, "solved" if solved else "course")
    outcomes = []
    for path in notebooks(only):
        report(f"{path.stem} ...")
        source = _fill_in_solutions(path, make_folder(folder / "source")) if solved else path
        outcome = _execute(source, folder / path.name, profile)
        if solved and not outcome.error:
            outcome = Outcome(outcome.notebook, outcome.seconds, outcome.memory_mb, unsolved(folder / path.name))
        outcomes.append(outcome)
        report(f"{path.stem}: {outcome.error or 'ok'}, {outcome.seconds:.0f} s, {outcome.memory_mb:,} MB")
    _keep(folder, outcomes)
    return outcomes


def _keep(folder: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the table of results; notebooks that were not run this time keep their row."""
    path = folder / "results.json"
    rows = {row["notebook"]: row for row in (read_json(path) if path.exists() else [])}
    rows |= {o.notebook: asdict(o) for o in outcomes}
    together = [Outcome(**rows[name]) for name in sorted(rows)]
    write_json(path, [asdict(o) for o in together])
    write_text(folder / "results.md", table(together))


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as a Markdown table."""
    rows = [f"| {o.notebook} | {'failed' if o.error else 'ok'} | {o.seconds:.0f} | {o.memory_mb:,} |" for o in outcomes]
    return "\n".join(["| notebook | result | seconds | MB |", "| --- | --- | ---: | ---: |", *rows]) + "\n"


def exercise_cells(notebook: nbformat.NotebookNode) -> dict[str, nbformat.NotebookNode]:
    """The cells a learner fills in, by exercise name such as "01_2": those tagged `exercise`."""
    cells = [c for c in notebook.cells if "exercise" in c.metadata.get("tags", ())]
    return {re.search(r"checks\.ex_(\w+?)\(", c.source).group(1): c for c in cells}


def _fill_in_solutions(path: Path, folder: Path) -> Path:
    notebook = nbformat.read(path, as_version=4)
    for name, cell in exercise_cells(notebook).items():
        cell.source = (SOLUTIONS / f"ex_{name}.py").read_text(encoding="utf-8")
    nbformat.write(notebook, folder / path.name)
    return folder / path.name


def unsolved(path: Path) -> str:
    """Which exercises of an executed notebook are not solved, or ""."""
    notebook = nbformat.read(path, as_version=4)
    texts = {name: str(cell.get("outputs")) for name, cell in exercise_cells(notebook).items()}
    wrong = [name for name, text in texts.items() if SOLVED not in text or any(u in text for u in UNSOLVED)]
    return f"exercises not solved: {', '.join(wrong)}" if wrong else ""


def _execute(source: Path, target: Path, profile: Profile) -> Outcome:
    options = [
        "-p",
        "PROFILE",
        profile.name,
        "-k",
        "python3",
        "--no-progress-bar",
        "--log-output",
        "--cwd",
        str(NOTEBOOKS),
    ]
    command = [sys.executable, "-m", "papermill", str(source), str(target), *options]
    started, log = time.monotonic(), target.with_suffix(".log")
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=os.environ | {"PYTHONUTF8": "1"})
        memory = _watch_memory(process)
    error = "" if process.returncode == 0 else f"failed; see {log}:\n{_tail(log)}"
    return Outcome(target.stem, time.monotonic() - started, memory, error)


def _watch_memory(process: subprocess.Popen) -> int:
    """Wait for a process; return the most memory it and its children held together, in MB, looked at twice a second."""
    most, done = 0, threading.Event()
    threading.Thread(target=lambda: (process.wait(), done.set()), daemon=True).start()
    while not done.wait(0.5):
        try:
            parent = psutil.Process(process.pid)
            family = [parent, *parent.children(recursive=True)]
            most = max(most, sum(p.memory_info().rss for p in family))
        except psutil.Error:
            continue
    return most // 1_000_000


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
