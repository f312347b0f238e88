"""The site: every chapter is a page, links lead somewhere, nothing is fetched, and it fits a phone."""

import re
import shutil
from urllib.parse import unquote, urldefrag

import pytest
from playwright.sync_api import sync_playwright

from tinyagent_helpers.artifacts import InputError, stage
from tinyagent_helpers.course import notebooks
from tinyagent_helpers.site import build_site

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Built from the notebooks as they are committed: what a run prints is not what is tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYAGENT_ARTIFACTS", str(tmp_path_factory.mktemp("site")))
        with pytest.raises(InputError, match="run tinyagent course first"):
            build_site("nano")
        for path in notebooks():
            shutil.copy(path, stage("nano", "course") / path.name)
        patch.setenv("GITHUB_REPOSITORY", "somebody/course")
        yield build_site("nano")


def test_every_chapter_and_text_is_a_page_and_links_lead_somewhere(site):
    pages = {path.name: path.read_text(encoding="utf-8") for path in site.glob("*.html")}
    assert {f"{path.stem}.html" for path in notebooks()} <= set(pages)
    assert {"index.html", "search.html", "solutions.html", "teaching.html", "glossary.html"} <= set(pages)
    for name, text in pages.items():
        for link in re.findall(r'(?:href|src)="([^"#][^"]*)"', text):
            if not re.match(r"https?:|data:|mailto:", link):
                target = unquote(urldefrag(link.partition("?")[0])[0])
                assert (site / name).parent.joinpath(target).exists(), f"{name}: {link}"
        loaded = re.findall(r'<(?:script|img|link)[^>]+(?:src|href)="(https?:[^"]+)"', text)
        assert not loaded, f"{name} fetches {loaded}"
        assert "$$" not in re.sub(r"<pre.*?</pre>", "", text, flags=re.DOTALL), (
            f"{name} has a formula that is not drawn"
        )
    assert pages["04_toolrag.html"].count("<math") > 5
    assert "github/somebody/course/blob/main/notebooks/00_tour.ipynb" in pages["00_tour.html"]


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here; on Debian: apt install chromium")
def test_pages_fit_a_desktop_and_a_phone_in_light_and_dark_and_search_finds(site):
    with sync_playwright() as playwright:
        browser, backgrounds = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]), set()
        for scheme in ("light", "dark"):
            for width in (1280, 390):
                page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
                for path in notebooks():
                    page.goto((site / f"{path.stem}.html").as_uri())
                    assert page.evaluate("document.documentElement.scrollWidth") <= width, (path.stem, width)
                backgrounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert len(backgrounds) == 2
        page.goto(f"{(site / 'search.html').as_uri()}?q=isomorphic")
        page.wait_for_selector("#search-results li a", timeout=10_000)
        browser.close()
