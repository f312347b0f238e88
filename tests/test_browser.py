"""The panel in a real browser: JupyterLab on this machine, headless Chromium, and eyes on what it draws.

With TINYAGENT_SCREENSHOTS=FOLDER the pictures are kept.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from playwright import sync_api

pytestmark = pytest.mark.minutes
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no Chromium here; on Debian: apt install chromium")
CELL = """
from datetime import datetime
from tinyagent_helpers.artifacts import DATA, read_json
from tinyagent_helpers.mac.simulated import SimulatedMac, with_latency
from tinyagent_helpers.models import load_planner
from tinyagent_helpers.panel import Panel
from tinyagent_helpers.planner import ModelJoiner, ModelPlanner
from tinyagent_helpers.profiles import profile
from tinyagent_helpers.prompts import template_of
from tinyagent_helpers.quick_classifier import load_retriever
from tinyagent_helpers.tools import bind

now = datetime(2024, 5, 24, 9)
mac = SimulatedMac("mac", now, reset=True)
template, model = template_of(profile("nano")), load_planner(profile("nano"))
panel = Panel(ModelPlanner(model, template, load_retriever()), ModelJoiner(model, template), mac, now=now,
              tools=with_latency(bind(mac), {"send_sms": 1}), recordings=read_json(DATA / "voice" / "recordings.json"))
panel.show()
"""
ASKED = """
from tinyagent_helpers.recorded import RecordedJoiner, RecordedPlanner, Recording

plans = ('1. get_phone_number("Nobody")\\n2. join()', '1. send_sms(["+1 415 555 0108"], "<img src=x>")\\n2. join()')
asking = Panel(RecordedPlanner(Recording("x", now, plans, ""), 0.01), RecordedJoiner("Sent."), mac, now=now)
display(asking.show())
run = await asking.run("Text nobody", asking.ask)
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab that knows nothing of this user's settings, with a notebook of two cells."""
    folder = tmp_path_factory.mktemp("lab")
    settings = folder / "config" / "labconfig"
    settings.mkdir(parents=True)
    (settings / "page_config.json").write_text(
        '{"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": true}}'
    )
    (folder / "work").mkdir()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text.strip()) for text in (CELL, ASKED)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / "work" / "panel.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_urlsafe(16)
    places = {"CONFIG_DIR": "config", "DATA_DIR": "data", "RUNTIME_DIR": "runtime"}
    env = os.environ | {f"JUPYTER_{name}": str(folder / place) for name, place in places.items()}
    env |= {"IPYTHONDIR": str(folder / "ipython"), "JUPYTER_TOKEN": token, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder / 'work'}"]
    with open(folder / "log", "w") as log:
        server = subprocess.Popen(command, env=env, cwd=folder / "work", stdout=log, stderr=log)
    try:
        _wait_for(f"http://127.0.0.1:{port}/api?token={token}", server, folder / "log")
        yield f"http://127.0.0.1:{port}/doc/tree/panel.ipynb?token={token}"
    finally:
        server.terminate()
        server.wait(30)


def _wait_for(address, server, log):
    for _ in range(300):
        assert server.poll() is None, log.read_text()
        try:
            return urllib.request.urlopen(address).close()
        except OSError:
            time.sleep(0.2)
    pytest.fail(log.read_text())


@pytest.fixture(scope="module")
def page(lab):
    """The notebook, opened, with its first cell run; what the page asked for and complained about in `page.seen`."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 1100})
        page.seen = {"hosts": set(), "errors": [], "dialogs": []}
        page.on("request", lambda request: page.seen["hosts"].add(request.url.split("/")[2].split(":")[0]))
        page.on("console", lambda said: said.type == "error" and page.seen["errors"].append(said.text))
        page.on("pageerror", lambda error: page.seen["errors"].append(str(error)))
        page.on("dialog", lambda dialog: (page.seen["dialogs"].append(dialog.message), dialog.dismiss()))
        page.goto(lab)
        page.locator(".jp-CodeCell .cm-content").first.click()
        page.keyboard.press("Shift+Enter")
        page.locator(".tinyagent").wait_for(timeout=120_000)
        yield page
        browser.close()


def picture(page, name):
    """Keep what the page looks like, if somebody wants to see it."""
    if folder := os.environ.get("TINYAGENT_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def ask(page, request):
    panel = page.locator(".tinyagent").first
    panel.get_by_label("Request").fill(request)
    panel.get_by_role("button", name="Do it").click()
    return panel


@needs_chromium
def test_a_request_lights_up_step_by_step_and_changes_the_mac(page):
    picture(page, "first")
    panel = ask(page, "Text Lutfi that I am late")
    panel.locator("g.running").wait_for(timeout=30_000)
    picture(page, "running")
    panel.locator(".answer.done").wait_for(timeout=30_000)
    picture(page, "done")
    assert {"get_phone_number", "send_sms"} <= {
        t.removeprefix("✓ ") for t in panel.locator("li.shown").all_inner_texts()
    }
    assert panel.locator("g.done").count() == 2 and panel.locator("li").count() == 16
    assert "send_sms" in panel.locator("pre").first.inner_text()
    assert panel.locator("h4").last.inner_text().casefold() == "messages"
    assert {"+1 415 555 0102", "I am late"} <= set(panel.locator("dd").all_inner_texts())


@needs_chromium
def test_a_hostile_request_runs_nothing_in_the_page(page):
    panel = ask(page, "Create a note called <img src=x onerror=alert(1)> saying <script>alert(2)</script>")
    sync_api.expect(panel.locator("pre").first).to_contain_text("create_note", timeout=30_000)
    panel.locator(".answer.done, .answer.failed").first.wait_for(timeout=30_000)
    picture(page, "hostile")
    assert panel.locator("img, script").count() == 0 and page.seen["dialogs"] == []


@needs_chromium
def test_a_recording_becomes_a_request_and_says_that_nothing_was_recognised(page):
    panel = page.locator(".tinyagent").first
    panel.get_by_role("button", name="Listen").click()
    sync_api.expect(panel.locator(".answer")).to_contain_text("nothing was recognised", timeout=30_000)
    picture(page, "heard")
    assert panel.get_by_label("Request").input_value() == "Text Lutfi that I am running late for the review"


@needs_chromium
def test_a_step_that_nobody_asked_for_waits_for_a_click(page):
    page.locator(".jp-CodeCell .cm-content").nth(1).click()
    page.keyboard.press("Shift+Enter")
    panel = page.locator(".tinyagent").nth(1)
    panel.get_by_role("button", name="Yes, do it").wait_for(timeout=60_000)
    picture(page, "question")
    assert "send_sms" in panel.locator("[role=alert]").inner_text()
    panel.get_by_role("button", name="Yes, do it").click()
    panel.locator(".answer.done").wait_for(timeout=30_000)
    picture(page, "answered")
    assert "the answer was yes" in panel.locator("[role=alert]").inner_text()
    assert "<img src=x>" in panel.locator("dd").last.inner_text() and panel.locator("img").count() == 0


@needs_chromium
def test_the_page_asks_nobody_else_and_complains_of_nothing(page):
    assert page.seen["hosts"] == {"127.0.0.1"} and page.seen["errors"] == []
