"""The panel: what it shows of a run, that nothing in a run can do more than be shown, and that its buttons always come back."""

import asyncio
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from tinyagent_helpers.agent import Round, StepRun
from tinyagent_helpers.artifacts import DATA, InputError, read_json
from tinyagent_helpers.mac.store import TABLES
from tinyagent_helpers.panel import Panel, answer_html, changes_html, dag_svg, plan_html, question_html, tools_html
from tinyagent_helpers.recorded import RecordedJoiner, RecordedPlanner, Recording
from tinyagent_helpers.tools import MAC_TOOLS, bind, toolset

NOW = datetime(2024, 5, 24, 9, 0)
SVG = "{http://www.w3.org/2000/svg}"
EMPTY = {table: [] for table in TABLES}
HOSTILE = "</title><img src=x onerror=alert(1)>\"'><script>alert(2)</script>&\ud800"
LATE = '1. get_phone_number("Lutfi")\n2. send_sms(["$1"], "I am late")\n3. join()<END_OF_PLAN>'
UNASKED = '1. send_sms(["+1 415 555 0108"], "<b>hi</b>")\n2. join()<END_OF_PLAN>'
FAILS = '1. get_phone_number("Nobody")\n2. join()<END_OF_PLAN>'


class Elements(HTMLParser):
    """The elements in HTML, and its text."""

    def __init__(self, html):
        super().__init__()
        self.names, self.text = set(), ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.names.add(tag)
        assert not [name for name, _ in attributes if name.startswith("on")]

    def handle_data(self, data):
        self.text += data


def step(id, tool="send_sms", depends_on=(), **rest):
    return StepRun(id, tool, [HOSTILE], list(depends_on), **rest)


def panel(mac, *plans, **options):
    recording = Recording("x", NOW, plans, "Done.")
    return Panel(RecordedPlanner(recording), RecordedJoiner("Done."), mac, now=NOW, **options)


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def press(it, request):
    """Type a request and press the button, twice."""
    before, it.request.value = it._task, request
    it.do.click()
    it.do.click()
    await until(lambda: it._task is not before)


def states(it):
    graph = it.parts["graph"].value
    return [g.get("class") for g in ElementTree.fromstring(graph[graph.index("<svg") : -len("</div>")]).iter(f"{SVG}g")]


def buttons(it):
    """Yes and No of every question."""
    return [row.children[1].children for row in it.questions.children]


def test_tools_that_the_planner_sees_are_marked_not_by_colour_alone():
    html = tools_html(MAC_TOOLS, ["send_sms", "get_phone_number"])
    assert html.count("<li") == 16 and html.count('class="shown">✓') == 2 and "2 of 16" in html


def test_a_graph_says_the_state_of_each_step_in_class_word_and_symbol():
    failed = step(3, started=0.0, ended=0.1, error="no such contact")
    steps = [step(1, started=0.0, ended=0.5), step(2, started=0.0), failed, step(4, depends_on=[1, 2])]
    svg = dag_svg(Round(steps=steps))
    for text in ("✓ done, 0.5 s", "▶ running", "✗ failed", "○ waiting", "step 4, send_sms: waiting", "no such contact"):
        assert text in svg
    assert svg.count("<polygon") == 2


def test_steps_stand_to_the_right_of_what_they_use_and_never_on_each_other():
    steps = [step(1), step(2, depends_on=[1]), step(3, depends_on=[1, 2]), step(4), step(5, depends_on=[9])]
    boxes = [(float(r.get("x")), float(r.get("y"))) for r in _svg(Round(steps=steps)).iter(f"{SVG}rect")]
    x = [x for x, _ in boxes]
    assert x[0] < x[1] < x[2] and x[3] == x[4] == x[0] and len(set(boxes)) == 5


def _svg(round):
    return ElementTree.fromstring(dag_svg(round))


@pytest.mark.parametrize(
    "html",
    [
        tools_html([HOSTILE], [HOSTILE]),
        plan_html(Round(HOSTILE, error=HOSTILE), HOSTILE),
        dag_svg(Round(steps=[step(1, tool=HOSTILE, observation=HOSTILE), step(2, error=HOSTILE)])),
        question_html(HOSTILE),
        answer_html(HOSTILE, "failed"),
        changes_html(EMPTY, EMPTY | {"notes": [{"id": 1, "name": HOSTILE, "content": HOSTILE}]}),
        changes_html(EMPTY, EMPTY | {"messages": [{"id": 1, "recipients": '["<script>"]', "message": HOSTILE}]}),
    ],
    ids=["tools", "plan", "graph", "question", "answer", "note", "message"],
)
def test_nothing_that_is_shown_becomes_an_element(html):
    assert not Elements(html).names & {"img", "script"} and "&lt;img src=x onerror=alert(1)&gt;" in html
    html.encode("utf-8")  # half a character would stop the message to the browser


def test_a_question_is_shown_to_its_end():
    assert question_html("x" * 50_000 + "end").endswith("end</pre></div>")


def test_changes_are_told_from_what_was_there(mac):
    before = mac.snapshot()
    mac.append_note_content("groceries", "brake pads", "")
    mac.send_sms(["+1 415 555 0108"], "hello")
    text = Elements(changes_html(before, mac.snapshot())).text
    assert "Noteschangedname" in text and "brake pads" in text
    assert "Messagesnewrecipients+1 415 555 0108messagehello" in text and "Arrived safely" not in text
    assert "Nothing has changed" in changes_html(before, before)


async def _run_from_code(mac):
    it = panel(mac, LATE)
    sent = []
    it.parts["tools"].observe(lambda change: sent.append(change), "value")
    run = await it.run("Text Lutfi that I am late")
    return it, run, sent


def test_a_run_from_code_shows_everything_and_gives_the_run(mac):
    it, run, sent = asyncio.run(_run_from_code(mac))
    assert run.succeeded and states(it) == ["done", "done"] and not it.do.disabled
    assert "send_sms([&quot;$1&quot;], &quot;I am late&quot;)" in it.parts["plan"].value
    assert "✓ Done." in it.parts["answer"].value
    assert "Messages" in it.parts["changes"].value and "+1 415 555 0102" in it.parts["changes"].value
    assert len(sent) == 3, "cleared, filled, filled: not sent again for each piece of the plan"


def test_the_graph_and_the_mac_are_shown_while_steps_run(mac):
    async def watch():
        go = asyncio.Event()

        async def wait(name: str) -> str:
            mac.create_note(name, "by a step", "")
            await go.wait()
            return name

        async def quick(name: str) -> str:
            return name

        it = panel(mac, '1. quick("a")\n2. wait("$1")\n3. quick("$2")\n4. join()', tools=toolset([wait, quick]))
        await press(it, "go")
        await until(lambda: "graph" in it.parts["graph"].value and states(it) == ["done", "running", "waiting"])
        assert it.do.disabled and "Working on it" in it.parts["answer"].value
        with pytest.raises(InputError, match="still at work"):
            await it.run("another")
        go.set()
        await it._task
        assert states(it) == ["done"] * 3 and "by a step" in it.parts["changes"].value

    asyncio.run(watch())


def test_two_clicks_are_one_request(mac):
    async def twice():
        it, before = panel(mac, LATE), len(mac.snapshot()["messages"])
        for count in (1, 2):
            await press(it, "Text Lutfi that I am late")
            await it._task
            assert len(mac.snapshot()["messages"]) == before + count and not it.do.disabled

    asyncio.run(twice())


@pytest.mark.parametrize("said", [True, False])
def test_a_step_that_the_request_did_not_lead_to_waits_for_a_click(mac, said):
    async def answer():
        it, before = panel(mac, FAILS, UNASKED), len(mac.snapshot()["messages"])
        await press(it, "x")
        await until(lambda: it.questions.children)
        text = it.questions.children[0].children[0]
        assert "send_sms" in text.value and "&lt;b&gt;hi&lt;/b&gt;" in text.value and states(it) == ["waiting"]
        yes, no = buttons(it)[0]
        for _ in range(2):
            (yes if said else no).click()
        await it._task
        assert len(mac.snapshot()["messages"]) == before + said
        assert states(it) == ["done" if said else "failed"]
        assert yes.disabled and no.disabled and f"the answer was {'yes' if said else 'no'}" in text.value
        plans = it.parts["plan"].value
        assert "Nobody" in plans and plans.index("Nobody") < plans.index("<h4>Plan 2</h4>") < plans.index("send_sms")

    asyncio.run(answer())


def test_a_question_that_nobody_answers_is_answered_no_when_time_is_up(mac):
    async def wait():
        it = panel(mac, FAILS, UNASKED, time_limit=0.3)
        await press(it, "x")
        await it._task
        assert "Stopped after 0.3 seconds" in it.parts["answer"].value
        assert all(button.disabled for row in buttons(it) for button in row)
        assert not await asyncio.to_thread(it.ask, "too late?")

    asyncio.run(wait())


def test_from_code_nobody_is_asked(mac):
    async def alone():
        it = panel(mac, FAILS, UNASKED)
        run = await it.run("x")
        assert not run.succeeded and not it.questions.children and "nobody said yes" in run.rounds[1].steps[0].error

    asyncio.run(alone())


@pytest.mark.parametrize("request_text, message", [("", "empty"), ("x" * 5000, "5,000 characters")])
def test_an_unusable_request_is_said_and_the_button_comes_back(mac, request_text, message):
    async def refuse():
        it = panel(mac, LATE)
        await press(it, request_text)
        await it._task
        assert message in it.parts["answer"].value and "✗" in it.parts["answer"].value and not it.do.disabled
        with pytest.raises(InputError, match=message):
            await it.run(request_text)

    asyncio.run(refuse())


def test_errors_of_planner_and_mac_are_said_and_the_button_comes_back(mac):
    class Broken:
        shown = ["send_sms"]

        async def stream(self, request, now, earlier):
            yield "1. send_sms("
            raise ConnectionError(HOSTILE)

    async def fail():
        it = Panel(Broken(), RecordedJoiner("Done."), mac, now=NOW)
        await press(it, "x")
        await it._task
        assert "the planner failed: &lt;/title&gt;&lt;img" in it.parts["plan"].value
        assert "1 of 16" in it.parts["tools"].value
        mac.store.path = mac.folder / "gone" / "mac.db"
        await press(it, "x")
        await it._task
        assert "unable to open database file" in it.parts["answer"].value and not it.do.disabled

    asyncio.run(fail())


def test_a_cancelled_run_gives_the_button_back(mac):
    async def cancel():
        it = panel(mac, "1. wait()\n2. join()", tools=toolset([wait]))
        task = asyncio.ensure_future(it.run("x"))
        await until(lambda: "running" in it.parts["graph"].value)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not it.do.disabled and "✗ CancelledError" in it.parts["answer"].value

    async def wait() -> str:
        await asyncio.sleep(30)

    asyncio.run(cancel())


def test_enter_does_it_too_and_a_recording_fills_the_request_in(mac):
    async def speak():
        rows = read_json(DATA / "voice" / "recordings.json")
        it = panel(mac, LATE, recordings=rows)
        assert len(it.show().children) == len(panel(mac, LATE).show().children) + 1
        it.hear.click()
        await until(lambda: it.request.value)
        assert it.request.value == rows[0]["text"] and "a recorded transcript" in it.parts["answer"].value
        await it._task
        it.request._handle_custom_msg({"event": "submit"}, [])
        await until(lambda: "✓ Done." in it.parts["answer"].value)

    asyncio.run(speak())


def test_a_recording_that_is_missing_is_said(mac, tmp_path):
    async def speak():
        it = panel(mac, LATE, recordings=[{"file": "none.wav", "text": "x"}], folder=tmp_path)
        it.hear.click()
        await until(lambda: "there is no recording" in it.parts["answer"].value)
        assert not it.do.disabled and not it.hear.disabled

    asyncio.run(speak())


def test_clicks_may_come_from_another_thread(mac):
    async def click():
        tools = bind(mac)
        loops = []

        async def send(recipients: list[str], message: str) -> str:
            loops.append(asyncio.get_running_loop())
            return "sent"

        it = panel(mac, LATE, tools=tools | {"send_sms": replace(tools["send_sms"], function=send)})
        await asyncio.to_thread(it.do.click)
        it.request.value = "typed late"
        await until(lambda: "✓ Done." in it.parts["answer"].value)
        assert loops == [asyncio.get_running_loop()]

    asyncio.run(click())
