"""Slides: what is on them, what the teacher reads beside them, that they fit, and that nothing is fetched."""

import shutil

import nbformat
import pytest
from playwright.sync_api import sync_playwright

from tinyagent_helpers.artifacts import stage
from tinyagent_helpers.course import notebooks
from tinyagent_helpers.slides import build_slides, slides_of

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTH, HEIGHT = 1280, 720


def text(source, *tags):
    return nbformat.v4.new_markdown_cell(source, metadata={"tags": list(tags)})


def drawn():
    """A tagged cell whose output is a picture as tall as any."""
    picture = {
        "image/svg+xml": '<svg xmlns="http://www.w3.org/2000/svg" width="700" height="1400"></svg>',
        "text/plain": "x",
    }
    output = nbformat.v4.new_output("display_data", picture)
    return nbformat.v4.new_code_cell("plots.show(figure, alt)", outputs=[output], metadata={"tags": ["slide"]})


def test_tagged_cells_become_slides_and_the_rest_notes():
    shown = nbformat.v4.new_code_cell("draw()", metadata={"tags": ["slide"]})
    cells = [
        text("# 00 A tour\n\n**Why?**", "slide"),
        text("Before."),
        nbformat.v4.new_code_cell("hidden()"),
        text("After that.\n\n## Plans\n\nFirst.\n\nMore.\n\n**Predict** this.", "slide"),
        shown,
        text("## Splits\n\nWe hold out:\n\n- names\n\nMore.", "slide"),
        text("## The end\n\n- a list\n\n**Take away:** all of it.", "slide"),
    ]
    made = [cell.source for cell in slides_of(nbformat.v4.new_notebook(cells=cells)).cells]
    note = "`````{{revealjs-notes}}\n{}\n`````".format
    assert made == [
        "# 00 A tour\n\n**Why?**",
        note("Before.\n\nAfter that."),
        "## Plans\n\nFirst.\n\n**Predict** this.",
        note("More."),
        "## Plans\n\n",
        "draw()",
        "## Splits\n\nWe hold out:\n\n- names",
        note("More."),
        "## The end\n\n**Take away:** all of it.",
        note("- a list"),
    ]
    assert shown.metadata.tags == ["remove-input"]


def test_every_chapter_has_slides_that_fit_and_fetch_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYAGENT_ARTIFACTS", str(tmp_path))
    for path in notebooks():
        notebook = nbformat.read(path, as_version=4)
        notebook.cells.insert(1, drawn())
        nbformat.write(notebook, stage("nano", "course") / path.name)
    pages = build_slides("nano")
    if not CHROMIUM:
        pytest.skip("no Chromium here; on Debian: apt install chromium")
    with sync_playwright() as playwright:
        browser, fetched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]), []
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.on("request", lambda request: fetched.append(request.url) if request.url.startswith("http") else None)
        for path in notebooks():
            page.goto((pages / f"{path.stem}.html").as_uri())
            page.wait_for_function("Reveal.isReady()")
            page.evaluate("Reveal.configure({viewDistance: 999})")  # farther slides are not laid out
            slides = page.evaluate("Reveal.getSlides().map(s => [s.innerText, s.scrollHeight])")
            assert len(slides) >= 8 and slides[0][0].startswith(path.stem[:2]), path.stem
            assert all(0 < height <= HEIGHT for _, height in slides), [t for t, height in slides if height > HEIGHT]
            assert page.locator("aside.notes").count() >= 5
        assert not fetched
        browser.close()
