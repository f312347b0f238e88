"""The panel in a real browser: JupyterLab on this machine, headless Chromium, and eyes on what it draws.

With TINYAGENT_SCREENSHOTS=FOLDER the pictures are kept.
"""

import shutil

import pytest

pytestmark = pytest.mark.minutes
sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright (its own browsers aren't needed)")
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


@needs_chromium
def test_look(page):
    page.wait_for_timeout(500)
    picture(page, "first")
    panel = page.locator(".tinyagent").first
    panel.get_by_label("Request").fill("Text Lutfi that I am late")
    panel.get_by_role("button", name="Do it").click()
    panel.locator("g.running").wait_for(timeout=30_000)
    picture(page, "running")
    panel.locator(".answer.done").wait_for(timeout=30_000)
    picture(page, "done")
    print(page.seen)
