"""A chapter from its start: what it left in artifacts/ and what was typed into its notebook are put aside, not deleted."""

import re
import shutil
import subprocess
import time
from pathlib import Path

import nbformat

from tinyagent_helpers.artifacts import ROOT, InputError, stage, write_text


def leaves(notebook: str) -> list[str]:
    """The folders in artifacts/<profile>/ that a notebook's card, its second cell, says it leaves."""
    card = nbformat.reads(notebook, as_version=4).cells[1].source
    row = next(line for line in card.splitlines() if "**Leaves**" in line)
    return re.findall(r"artifacts/<profile>/([\w-]+)", row)


def reset_chapter(profile: str, chapter: str) -> Path:
    """Move what a chapter left to artifacts/<profile>/reset/, with a copy of its notebook as it is now, and take the notebook as
    it was committed. Returns the folder with what was put aside.

    Raises:
        InputError: there is no such chapter in the last commit, or no commit; nothing is moved then.
    """
    name = committed_name(chapter)
    notebook, committed = ROOT / name, _git("show", f"HEAD:./{name}")
    aside = stage(profile, "reset") / f"{notebook.stem}-{time.strftime('%Y-%m-%d-%H%M%S')}"
    try:
        aside.mkdir()
    except FileExistsError:
        raise InputError(f"{aside} is there already; wait a second") from None
    if notebook.exists():
        shutil.copy(notebook, aside)
    for folder in leaves(committed):
        left = stage(profile, folder)
        if any(left.iterdir()):
            left.rename(aside / folder)
    write_text(notebook, committed)
    return aside


def committed_name(chapter: str) -> str:
    """The path of a chapter's notebook in the course, such as notebooks/03_lora_finetuning.ipynb.

    Raises:
        InputError: the last commit has none that starts so.
    """
    names = _git("ls-tree", "--name-only", "HEAD", "notebooks/").split()
    found = [name for name in names if name.startswith(f"notebooks/{chapter}") and name.endswith(".ipynb")]
    if len(found) != 1 or not chapter:
        raise InputError(f"no chapter is called {chapter!r}; give its number, such as 03")
    return found[0]


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True)
        problem = done.stderr.decode(errors="replace").strip() if done.returncode else ""
    except OSError as error:
        problem = str(error)
    if problem:
        raise InputError(f"the course as it was cannot be had from git ({problem}); fetch it again instead")
    return done.stdout.decode()
