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
