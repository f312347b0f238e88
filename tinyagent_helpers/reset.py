"""A chapter from its start: what it left in artifacts/ and what was typed into its notebook are put aside, not deleted."""

import re
import subprocess
import time
from pathlib import Path

import nbformat

from tinyagent_helpers.artifacts import ROOT, InputError, make_folder, stage, write_text


def leaves(notebook: Path) -> list[str]:
    """The folders in artifacts/<profile>/ that a notebook's card says it leaves."""
    card = nbformat.read(notebook, as_version=4).cells[1].source
    row = next(line for line in card.splitlines() if "**Leaves**" in line)
    return re.findall(r"artifacts/<profile>/([\w-]+)", row)


def reset_chapter(profile: str, notebook: Path) -> Path:
    """Move what a chapter left to artifacts/<profile>/reset/, the notebook as it is now beside it, and take the notebook as it
    was committed. Returns the folder with what was moved.

    Raises:
        InputError: the course is not a git checkout, so that the notebook cannot be had; nothing is moved then.
    """
    committed = as_committed(notebook)
    aside = make_folder(stage(profile, "reset") / f"{notebook.stem}-{time.strftime('%Y-%m-%d-%H%M%S')}")
    for name in leaves(notebook):
        left = stage(profile, name)
        if any(left.iterdir()):
            left.rename(aside / name)
    write_text(aside / notebook.name, notebook.read_text(encoding="utf-8"))
    write_text(notebook, committed)
    return aside


def as_committed(path: Path) -> str:
    """A file of the course as the last commit has it.

    Raises:
        InputError: there is no git, no checkout, or no such file in it.
    """
    try:
        name = path.relative_to(ROOT).as_posix()
        done = subprocess.run(["git", "show", f"HEAD:{name}"], cwd=ROOT, capture_output=True, check=True)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise InputError(f"{path} as it was cannot be had from git ({error}); fetch the course again instead") from None
    return done.stdout.decode()
