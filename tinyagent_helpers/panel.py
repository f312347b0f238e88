"""A panel for a notebook: type or speak a request, and watch the agent choose tools, plan, act, and change the Mac's apps.

Each part of it is a function from a run, or from the Mac before and after, to HTML. What they show comes from a model, a
request, a document or the Mac, so anybody may have written it: it becomes HTML through `_text`, and in no other way.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from html import escape
from pathlib import Path
from statistics import fmean
from typing import Any

from ipywidgets import HTML, Button, Dropdown, HBox, Text, VBox

from tinyagent_helpers.agent import Agent, Joiner, Planner, Round, Run, StepRun
from tinyagent_helpers.artifacts import DATA, InputError
from tinyagent_helpers.consent import Question, refuse
from tinyagent_helpers.mac.simulated import SimulatedMac
from tinyagent_helpers.mac.store import Row, Snapshot, changes
from tinyagent_helpers.tools import Tool, bind
from tinyagent_helpers.voice import Recogniser, RecordedTranscript, listen

APPS = {"events": "Calendar", "meetings": "Zoom"}  # tables that are not named as their app is
LISTS = {"recipients", "cc", "invitees", "attachments"}  # columns that hold JSON
STATES = {  # of a step: symbol, border, background
    "waiting": ("○", "#767676", "#f5f5f5"),
    "running": ("▶", "#0072b2", "#e3f1fa"),
    "done": ("✓", "#00785a", "#e2f4ee"),
    "failed": ("✗", "#b35900", "#fdf0de"),
}
BOX, COLUMN, HEIGHT, ROW = 172, 210, 46, 68  # pixels of the graph: a step's size, and the way to the next one
LAST_LETTERS = 0.1  # seconds that they may arrive later than the Enter key
STYLE = """<style>
.tinyagent { --jp-widgets-color: #1b1b1b; --jp-widgets-label-color: #1b1b1b; --jp-widgets-input-color: #1b1b1b;
  --jp-widgets-input-background-color: #fff; --jp-widgets-input-border-color: #767676; --jp-widgets-inline-label-width: 70px;
  background: #fff; color: #1b1b1b; border: 1px solid #ccc; border-radius: 8px; padding: 14px 16px; max-width: 960px; }
.tinyagent .widget-html, .tinyagent .widget-html-content { height: auto; line-height: 1.45; font-size: 14px; color: #1b1b1b; }
.tinyagent .widget-html-content { overflow-wrap: anywhere; width: 100%; }
.tinyagent h4 { font-size: 12px; color: #555; margin: 10px 0 4px; text-transform: uppercase; letter-spacing: .04em; }
.tinyagent ul { display: flex; flex-wrap: wrap; gap: 5px; margin: 0; padding: 0; list-style: none; }
.tinyagent li { border: 1px solid #ccc; border-radius: 10px; padding: 0 8px; font-size: 12px; color: #595959; }
.tinyagent li.shown { background: #0072b2; border-color: #0072b2; color: #fff; font-weight: 600; }
.tinyagent pre { font-size: 13px; line-height: 1.5; white-space: pre-wrap; margin: 0; padding: 8px 10px; color: #1b1b1b;
  background: #f5f5f5; border-radius: 6px; max-height: 260px; overflow: auto; }
.tinyagent .graph { overflow-x: auto; }
.tinyagent .answer { border-left: 4px solid #767676; padding: 2px 10px; white-space: pre-wrap; }
.tinyagent .done { border-color: #00785a; } .tinyagent .failed { border-color: #b35900; }
.tinyagent dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 10px; margin: 0 0 8px; font-size: 13px; }
.tinyagent dt { color: #555; font-weight: 400; width: auto; float: none; }
.tinyagent dd { margin: 0; width: auto; float: none; white-space: pre-wrap; max-height: 160px; overflow: auto; }
</style>"""


def _text(value: Any, most: int = 5_000) -> str:
    """Any value as text that is safe in HTML and in an attribute: escaped, shortened, without halves of characters."""
    text = str(value)
    text = text if len(text) <= most else text[: most - 1] + "…"
    return escape(text.encode("utf-8", "replace").decode())


def tools_html(all: Iterable[str], shown: Collection[str]) -> str:
    """Every tool as a chip; those that the planner was shown are marked."""
    names = list(all)
    chips = (f'<li class="shown">✓ {_text(n)}</li>' if n in shown else f"<li>{_text(n)}</li>" for n in names)
    return f"<h4>Tools: the planner sees {len(shown)} of {len(names)}</h4><ul>{''.join(chips)}</ul>"


def plan_html(round: Round, title: str = "Plan") -> str:
    """A plan as far as it is written, and why it cannot be used, if so."""
    problem = f'<div class="answer failed">✗ Not a plan: {_text(round.error)}</div>' if round.error else ""
    return f'<h4>{_text(title)}</h4><pre tabindex="0" aria-live="polite">{_text(round.plan, 100_000)}</pre>{problem}'


def state(step: StepRun) -> str:
    """How far a step is; one of STATES."""
    if step.error:
        return "failed"
    return "waiting" if step.started is None else "running" if step.ended is None else "done"


def _places(steps: Iterable[StepRun]) -> dict[int, tuple[int, float]]:
    """Column and row of each step: to the right of those whose results it uses, at their mean height if that is free."""
    places, free = {}, Counter()
    for step in sorted(steps, key=lambda step: step.id):
        used = [places[d] for d in step.depends_on if d in places]
        column = max((c + 1 for c, _ in used), default=0)
        row = max(free[column], fmean(r for _, r in used) if used else 0)
        places[step.id], free[column] = (column, row), row + 1
    return places


def dag_svg(round: Round) -> str:
    """The plan's graph, left to right, with the state of each step in symbol, word and colour."""
    places = _places(round.steps)
    at = {id: (2 + column * COLUMN, 2 + row * ROW) for id, (column, row) in places.items()}
    width = max((x for x, _ in at.values()), default=0) + BOX + 2
    height = max((y for _, y in at.values()), default=0) + HEIGHT + 12  # an arrow may pass below the last row
    arrows = (_arrow(at[d], at[s.id]) for s in round.steps for d in s.depends_on if d in at)
    said = "; ".join(f"step {s.id}, {s.tool}: {state(s)}" for s in round.steps)
    return (
        f'<svg role="img" aria-label="{_text(said or "no steps yet")}" width="{width}" height="{height:.0f}" '
        f'xmlns="http://www.w3.org/2000/svg" font-family="system-ui, sans-serif" font-size="12" fill="#1b1b1b">'
        f"{''.join(arrows)}{''.join(_box(step, *at[step.id]) for step in round.steps)}</svg>"
    )


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    """From one box to another; past the boxes between them, if there are any."""
    (x0, y0), (x1, y1) = (start[0] + BOX, start[1] + HEIGHT / 2), (end[0], end[1] + HEIGHT / 2)
    bend = 46 if x1 - x0 > COLUMN else 0
    curve = f"M{x0} {y0} C{x0 + 24} {y0 + bend} {x1 - 30} {y1 + bend} {x1 - 6} {y1}"
    head = f"{x1 - 8},{y1 - 5} {x1},{y1} {x1 - 8},{y1 + 5}"
    return (
        f'<path d="{curve}" fill="none" stroke="#767676" stroke-width="1.5"/><polygon points="{head}" fill="#767676"/>'
    )


def _box(step: StepRun, x: float, y: float) -> str:
    """A step; pointing at it shows its arguments and its result."""
    now = state(step)
    symbol, border, background = STATES[now]
    call = f"{step.id}. {step.tool}({', '.join(map(repr, step.arguments))})"
    result = step.error or step.observation
    seconds = f", {step.ended - step.started:.1f} s" if step.ended is not None and now == "done" else ""
    return (
        f'<g class="{now}"><title>{_text(f"{call}: {now}. {result}", 600)}</title>'
        f'<rect x="{x}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="6" stroke="{border}" stroke-width="2" fill="{background}"/>'
        f'<text x="{x + 9}" y="{y + 19}" font-weight="600">{_text(f"{step.id}. {step.tool}", 26)}</text>'
        f'<text x="{x + 9}" y="{y + 36}">{symbol} {now}{seconds}</text></g>'
    )


def graph_html(round: Round) -> str:
    """The graph under a heading; a wide one can be scrolled."""
    return f'<h4>Steps</h4><div class="graph" tabindex="0">{dag_svg(round)}</div>' if round.steps else ""


def question_html(question: str, answer: str = "") -> str:
    """A question about a step that the request did not lead to, and how it was answered, if it was."""
    said = (
        f"You were asked, and the answer was {answer}." if answer else "Your request did not lead to this step. Do it?"
    )
    return f'<h4>Question</h4><div role="alert">{said}<pre>{_text(question, 100_000)}</pre></div>'


def answer_html(message: str, kind: str = "") -> str:
    """What is said to the user, "done" or "failed" (or neither yet)."""
    symbol = f"{STATES[kind][0]} " if kind else ""
    return f'<h4>Answer</h4><div class="answer {kind}" aria-live="polite">{symbol}{_text(message)}</div>'


def changes_html(before: Snapshot, after: Snapshot) -> str:
    """The rows that are new or different in the Mac's apps."""
    parts = []
    for table, rows in changes(before, after).items():
        known = {row["id"] for row in before[table]}
        parts.append(f"<h4>{APPS.get(table, table.title())}</h4>")
        parts += [f"<dl>{_row('changed' if row['id'] in known else 'new', row)}</dl>" for row in rows]
    return "".join(parts) or "<h4>The Mac's apps</h4>Nothing has changed."


def _row(what: str, row: Row) -> str:
    filled = {name: value for name, value in row.items() if name != "id" and value not in ("", "[]", 0, None)}
    shown = {name: ", ".join(json.loads(value)) if name in LISTS else value for name, value in filled.items()}
    return "".join(f"<dt>{name}</dt><dd>{_text(value)}</dd>" for name, value in {"": what, **shown}.items())


class Panel:
    """The widgets around an agent; must be made where an event loop runs, as in a notebook's cell, and works on that loop.

    `tools` are by default the Mac's; `now` is by default the clock. `recordings` are rows {"file", "text"} with files in
    `folder`, and `recogniser` makes what listens to one of them. `limits` are the agent's time limits.
    """

    def __init__(
        self,
        planner: Planner,
        joiner: Joiner,
        mac: SimulatedMac,
        *,
        tools: Mapping[str, Tool] | None = None,
        now: datetime | None = None,
        recordings: Sequence[Mapping[str, str]] = (),
        folder: Path = DATA / "voice",
        recogniser: Callable[[Mapping[str, str]], Recogniser] = lambda recording: RecordedTranscript(recording["text"]),
        **limits: Any,
    ):
        self.planner, self.joiner, self.mac, self.tools = planner, joiner, mac, tools or bind(mac)
        self.now, self.folder, self.recogniser, self.limits = now, folder, recogniser, limits
        self._loop, self._task, self._settle = asyncio.get_running_loop(), None, []
        self.request = Text(
            description="Request", placeholder="Text Lutfi that I am late", layout={"flex": "1 1 300px"}
        )
        self.do = Button(description="Do it", button_style="primary")
        options = [(f"{r['file']}: “{r['text']}”", r) for r in recordings]
        self.recording = Dropdown(description="Recording", options=options, layout={"flex": "1 1 300px"})
        self.hear = Button(description="Listen")
        self.parts = {name: HTML() for name in ("tools", "plan", "graph", "answer", "changes")}
        self.questions = VBox()
        self.do.on_click(lambda _: self._soon(self._start, self._do))
        self.hear.on_click(lambda _: self._soon(self._start, self._listen))
        self.request.on_msg(lambda _, said, __: said.get("event") == "submit" and self._soon(self._start, self._do))
        self._clear("Type a request, or choose a recording." if recordings else "Type a request.")

    def show(self) -> VBox:
        """The widget, for the last line of a cell."""
        voice = [HBox([self.recording, self.hear])] if self.recording.options else []
        *upper, answer, changed = self.parts.values()
        rows = [HTML(STYLE), HBox([self.request, self.do]), *voice, *upper, self.questions, answer, changed]
        return VBox(rows).add_class("tinyagent")

    async def run(self, request: str, ask: Question = refuse) -> Run:
        """Carry out a request from code, and show it. Nobody is asked, unless `ask` is the panel's own.

        Raises:
            InputError: the request is empty or too long, or another one is being carried out.
        """
        with self._at_work("Working on it …"):
            watch = partial(self._watch, self.mac.snapshot())
            agent = Agent(self.planner, self.joiner, self.tools, ask=ask, watch=watch, **self.limits)
            run = await agent.run(request, self.now or datetime.now().replace(microsecond=0))
            run.tools = self._shown()
            self._say(run.answer, "done" if run.succeeded else "failed")
            return run

    def ask(self, question: str) -> bool:
        """Show a question with Yes and No, and wait for a click; the end of the run is a no. Not for the loop's own thread."""
        answer: Future[bool] = Future()
        self._soon(self._show_question, question, answer)
        return answer.result()

    def _show_question(self, question: str, answer: Future[bool]) -> None:
        """A row of its own for each question, which stays where it is: a second click never answers the next one."""
        text, yes, no = HTML(), Button(description="Yes, do it", button_style="warning"), Button(description="No")

        def settle(said: bool) -> None:
            if not answer.done():
                answer.set_result(said)
                yes.disabled = no.disabled = True
                text.value = question_html(question, "yes" if said else "no")

        text.value = question_html(question)
        yes.on_click(lambda _: self._soon(settle, True))
        no.on_click(lambda _: self._soon(settle, False))
        self.questions.children += (VBox([text, HBox([yes, no])]),)
        self._settle.append(settle)
        if not self.do.disabled:  # the run has ended meanwhile
            settle(False)

    def _soon(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call it on the panel's loop; a kernel may handle clicks in another thread."""
        self._loop.call_soon_threadsafe(function, *arguments)

    def _start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """What a click asks for, unless an earlier one is still at work."""
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(work())

    async def _do(self) -> None:
        await asyncio.sleep(LAST_LETTERS)
        with suppress(Exception):  # it is shown already
            await self.run(self.request.value, self.ask)

    async def _listen(self) -> None:
        def hear(recording: Mapping[str, str]) -> tuple[str, str]:
            recogniser = self.recogniser(recording)
            return listen(self.folder / recording["file"], recogniser), recogniser.name

        with suppress(Exception), self._at_work("Listening …"):
            self.request.value, name = await asyncio.to_thread(hear, self.recording.value)
            self._say(f"Heard by {name}. Is the request right? Then press “Do it”.")

    @contextmanager
    def _at_work(self, message: str) -> Iterator[None]:
        """One thing at a time: buttons are off meanwhile, errors are shown, open questions end with a no."""
        if self.do.disabled:
            raise InputError("the panel is still at work; wait until it is done")
        self._clear(message)
        self.do.disabled = self.hear.disabled = True
        try:
            yield
        except BaseException as error:
            self._say(str(error) or type(error).__name__, "failed")
            raise
        finally:
            self.do.disabled = self.hear.disabled = False
            for settle in self._settle:
                settle(False)

    def _clear(self, message: str) -> None:
        for part in self.parts.values():
            part.value = ""
        self.questions.children, self._settle = (), []
        self.parts["tools"].value = tools_html(self.tools, ())
        self._say(message)

    def _say(self, message: str, kind: str = "") -> None:
        self.parts["answer"].value = answer_html(message, kind)

    def _shown(self) -> list[str]:
        return list(getattr(self.planner, "shown", self.tools))

    def _watch(self, before: Snapshot, run: Run) -> None:
        """Show a run as it is now; a widget sends nothing if its value stays the same."""
        self.parts["tools"].value = tools_html(self.tools, self._shown())
        titles = ("Plan" if n == 1 else f"Plan {n}" for n, _ in enumerate(run.rounds, 1))
        self.parts["plan"].value = "".join(map(plan_html, run.rounds, titles))
        graph = graph_html(run.rounds[-1])
        if graph != self.parts["graph"].value:  # the Mac only changes when a step does
            self.parts["graph"].value = graph
            self.parts["changes"].value = changes_html(before, self.mac.snapshot())
