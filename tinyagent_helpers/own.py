"""An assistant of your own: a folder with Python functions and requests for them, and the data made of both. See notebook 09.

`tools.py` holds the functions, typed and with docstrings; every public one is a tool. `requests.toml` holds requests with slots
and their plans, in the format of the made-up APIs (see `apis`): [values] and [[scenario]].
"""

import importlib.util
import inspect
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from tinyagent_helpers.apis import Domain, domain_of
from tinyagent_helpers.artifacts import DATA, InputError
from tinyagent_helpers.curriculum import domain_words, new_values
from tinyagent_helpers.teacher import Pattern, ScenarioError, share
from tinyagent_helpers.times import FORMAT
from tinyagent_helpers.tools import Tool, toolset
from tinyagent_helpers.training import SETTINGS

HOME = DATA / "capstone" / "home"
TESTED, VALIDATED = 0.2, 0.15  # of the ways to ask are kept from training, for tests and for choices
NEW_VALUES = 0.3  # of the requests in training name things that nobody has named before
MAX_REPEATS = 200
OWN = {  # fine-tuning that goes on from the Mac's planner; tools are found first, so few that are not needed are shown
    "nano": replace(SETTINGS["nano"], rows=1_200, rate=0.005, negatives=2, all_tools=0, weight_decay=0.1),
    "laptop": replace(SETTINGS["laptop"], rows=3_000, epochs=1, all_tools=0),
    "gpu": replace(SETTINGS["gpu"], rows=8_000, epochs=1, all_tools=0),
    "paper": replace(SETTINGS["paper"], rows=8_000, epochs=1, all_tools=0),
}


def own_folder() -> Path:
    """The folder that the environment variable TINYAGENT_OWN names, or else the home that ships.

    Raises:
        InputError: it is not there.
    """
    folder = Path(os.environ.get("TINYAGENT_OWN") or HOME)
    if not folder.is_absolute() or not folder.is_dir():
        raise InputError(f"TINYAGENT_OWN is {str(folder)!r}; give the whole path of a folder, such as $PWD/your/folder")
    return folder


def load_own(folder: Path) -> Domain:
    """The tools and patterns of an assistant.

    Raises:
        InputError: a file is missing or wrong; the message says where.
    """
    tools = load_tools(folder / "tools.py")
    try:
        domain = domain_of(folder / "requests.toml", tools)
    except ScenarioError as error:
        raise InputError(str(error)) from None
    asked = {step.tool for pattern in domain.patterns for step in pattern.plan.steps}
    if missing := set(tools) - asked:
        raise InputError(f"{folder / 'requests.toml'} has no request for {', '.join(sorted(missing))}; add some")
    return domain


def load_tools(path: Path) -> dict[str, Tool]:
    """The public functions of a Python file, which is run, as tools.

    Raises:
        InputError: it cannot be run, or holds no function, or one that cannot be a tool.
    """
    try:
        spec = importlib.util.spec_from_file_location(f"own_{path.parent.name}", path)
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        functions = [f for name, f in vars(module).items() if inspect.isfunction(f) and not name.startswith("_")]
        tools = toolset(function for function in functions if function.__module__ == module.__name__)
    except (Exception, SystemExit) as error:  # whatever somebody's file does
        raise InputError(f"{path}: {type(error).__name__}: {error}") from None
    if not tools:
        raise InputError(f"{path} holds no function; write some with type hints and docstrings")
    if silent := [name for name, tool in tools.items() if not tool.description]:
        raise InputError(f"{path}: {', '.join(silent)} needs a docstring: a planner knows a tool by what it says")
    return tools


def draw_rows(domain: Domain, train: int, others: int, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Distinct requests with their plans: `train`, and `others` each for `test_draws` (ways to ask that training has seen, with
    the same values combined anew), `test_patterns` (ways that it has not) and `validation` (ways that neither has).

    Raises:
        InputError: there are too few different requests.
    """
    parts = {"train": [], "validation": [], "test_patterns": []}
    for pattern in domain.patterns:
        place = share("pattern:" + pattern.id)
        kept = "test_patterns" if place < TESTED else "validation" if place < TESTED + VALIDATED else "train"
        parts[kept].append(pattern)
    rng, taken = Random(f"own-{seed}"), set()
    wanted = {split: (parts[split], others) for split in ("test_patterns", "validation")}
    wanted |= {"test_draws": (parts["train"], others), "train": (parts["train"], train)}
    return {split: _rows(domain, split, patterns, count, rng, taken) for split, (patterns, count) in wanted.items()}


def _rows(
    domain: Domain, split: str, patterns: Sequence[Pattern], count: int, rng: Random, taken: set[str]
) -> list[dict[str, Any]]:
    if count and not patterns:
        raise InputError(f"no way to ask is left for {split}: write more (a third of them is kept from training)")
    rows, words, repeats = [], domain_words([domain]), 0
    while len(rows) < count:
        pattern = rng.choice(patterns)
        new = split == "train" and rng.random() < NEW_VALUES
        drawn = domain.draw(pattern, rng, values=new_values(rng, domain, pattern, words) if new else {})
        if drawn.request in taken:
            repeats += 1
            if repeats > MAX_REPEATS:
                raise InputError(f"only {len(rows)} different requests for {split}: add values or ways to ask")
            continue
        taken.add(drawn.request)
        repeats = 0
        used = sorted(pattern.tools)
        made = {
            "request": drawn.request,
            "now": drawn.now.strftime(FORMAT),
            "plan": drawn.plan.to_text(),
            "tools": used,
        }
        rows.append({"id": f"{split}-{len(rows)}", **made})
    return rows
