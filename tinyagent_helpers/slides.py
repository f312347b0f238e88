"""Slides for a teacher, from the executed notebooks' cells that are tagged `slide`, rendered by Sphinx with reveal.js. No network.

A text's slide shows its heading, its first paragraph and what it asks to predict, or else what to take away; everything else
that stands before the next slide is in the speaker's notes (key S). Of a code cell a slide shows what it printed or drew.
"""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import nbformat

from tinyagent_helpers.artifacts import make_folder, stage, write_text
from tinyagent_helpers.course import notebooks
from tinyagent_helpers.site import executed, render

HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
INDEX = """# The TinyAgent course: slides

```{{toctree}}
{chapters}
```
"""


def build_slides(profile: str) -> Path:
    """Render the slides of what `tinyagent course` has executed; return the folder of the pages.

    Raises:
        InputError: a notebook was not executed, or Sphinx finds a mistake.
    """
    source = stage(profile, "slides") / "source"
    shutil.rmtree(source, ignore_errors=True)
    make_folder(source)
    for path in notebooks():
        notebook = slides_of(nbformat.read(executed(profile, path), as_version=4))
        write_text(source / path.name, nbformat.writes(notebook))
    write_text(source / "index.md", INDEX.format(chapters="\n".join(path.stem for path in notebooks())))
    return render("revealjs", source, stage(profile, "slides") / "html")


def slides_of(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A notebook in which every slide is a heading, what is shown below it, and notes."""
    slides, notes, title = [], [], ""
    for cell in notebook.cells:
        text, tagged = cell.source if cell.cell_type == "markdown" else "", "slide" in cell.metadata.get("tags", ())
        if heading := HEADING.search(text):
            notes += _paragraphs(text[: heading.start()])  # they belong to the slide before
            title, text = heading[1], text[heading.end() :]
        paragraphs = _paragraphs(text)
        shown = [part for part in paragraphs if tagged and _is_shown(part, paragraphs)]
        if tagged:
            slides += [*_notes(notes), _text(f"{'##' if slides else '#'} {title}\n\n" + "\n\n".join(shown))]
            notes = []
        if tagged and cell.cell_type == "code":
            cell.metadata.tags = ["remove-input"]
            slides.append(cell)
        notes += [part for part in paragraphs if part not in shown]
    notebook.cells = [*slides, *_notes(notes)]
    return notebook


def _paragraphs(text: str) -> list[str]:
    return [part.strip("\n") for part in text.split("\n\n") if part.strip()]


def _is_shown(part: str, paragraphs: Sequence[str]) -> bool:
    """Whether a paragraph of a tagged text is on its slide: what is to be taken away, or else what is to be predicted and the
    first one, with what follows its colon."""
    if "**Take away" in "".join(paragraphs):
        return "**Take away" in part
    first = paragraphs[: 2 if paragraphs[0].endswith(":") else 1]
    return "**Predict" in part or part in first


def _notes(paragraphs: Sequence[str]) -> list[nbformat.NotebookNode]:
    text = "\n\n".join(paragraphs)
    return [_text(f"`````{{revealjs-notes}}\n{text}\n`````")] if text else []


def _text(source: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_markdown_cell(source)
