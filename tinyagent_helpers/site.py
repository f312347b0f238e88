"""The course as a site: the executed notebooks and the texts in docs/, rendered by Sphinx and myst-nb. Neither building it nor
reading it needs a network."""

import os
import re
import shutil
from pathlib import Path

import nbformat

from tinyagent_helpers.artifacts import ROOT, InputError, make_folder, stage, write_text
from tinyagent_helpers.course import SOLUTIONS, notebooks

DOCS = ROOT / "docs"
COLAB = """[Open this chapter in Colab](https://colab.research.google.com/github/{repository}/blob/main/notebooks/{name}), and run this there first:

```
!git clone --depth 1 https://github.com/{repository} /content/course
%cd /content/course
!pip install -q -r requirements.txt && pip install -q --no-deps -r requirements-bfcl.txt
```

Then restart the session (*Runtime*), run `%cd /content/course/notebooks`, and go on.
"""
INDEX = """# The TinyAgent course

{about}

```{{toctree}}
:caption: Chapters
:maxdepth: 1

{chapters}
```

```{{toctree}}
:caption: Beside them
:maxdepth: 1

{texts}
```
"""


def build_site(profile: str) -> Path:
    """Render what `tinyagent course` has executed; return the folder of the pages.

    Raises:
        InputError: a notebook was not executed, or a page has a broken link or another mistake.
    """
    return render("html", gather(profile), stage(profile, "site") / "html")


def render(builder: str, source: Path, target: Path) -> Path:
    """Let Sphinx make `target` anew of the pages in `source`.

    Raises:
        InputError: it has something to object to.
    """
    from sphinx.cmd.build import build_main

    shutil.rmtree(target, ignore_errors=True)
    if build_main(["-b", builder, "-q", "-W", "--keep-going", "-c", str(DOCS), str(source), str(target)]):
        raise InputError(f"{target} is not as it should be; Sphinx says above what is wrong")
    return target


def executed(profile: str, path: Path) -> Path:
    """The copy of a notebook that the course has executed.

    Raises:
        InputError: there is none.
    """
    copy = stage(profile, "course") / path.name
    if not copy.exists():
        raise InputError(f"{copy} is not there; run tinyagent course first")
    return copy


def gather(profile: str) -> Path:
    """A folder with everything that becomes a page. On GitHub, which names its repository, chapters say how to open them in Colab."""
    repository = os.environ.get("GITHUB_REPOSITORY", "")
    source = stage(profile, "site") / "source"
    shutil.rmtree(source, ignore_errors=True)
    make_folder(source)
    for path in notebooks():
        notebook = nbformat.read(executed(profile, path), as_version=4)
        if repository:
            link = COLAB.format(repository=repository, name=path.name)
            notebook.cells.insert(1, nbformat.v4.new_markdown_cell(link))
        write_text(source / path.name, nbformat.writes(notebook))
    texts = [*sorted(DOCS.glob("*.md")), ROOT / "CONTRIBUTING.md"]
    for path in texts:
        shutil.copy(path, source / path.name)
    write_text(source / "solutions.md", _solutions())
    names = [*(path.stem for path in texts), "solutions"]
    chapters = "\n".join(path.stem for path in notebooks())
    write_text(source / "index.md", INDEX.format(about=_about(), chapters=chapters, texts="\n".join(names)))
    return source


def _about() -> str:
    """The README's first paragraph."""
    return (ROOT / "README.md").read_text(encoding="utf-8").split("\n\n")[1]


def _solutions() -> str:
    """All solutions on one page."""
    parts = ["# Solutions", "One way to solve each exercise; CI runs them."]
    for path in sorted(SOLUTIONS.glob("ex_*.py")):
        number = re.sub(r"ex_(\d\d)_(\d)", r"Chapter \1, exercise \2", path.stem)
        parts += [f"## {number}", f"```python\n{path.read_text(encoding='utf-8').strip()}\n```"]
    return "\n\n".join(parts) + "\n"
