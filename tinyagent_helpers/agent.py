"""The agent: run a plan while it is still being written, join, and plan again if need be. Explained in notebook 01.

The design is LLMCompiler's (Kim et al., 2024, arXiv 2312.04511), as TinyAgent uses it: a planner streams steps, a
task-fetching unit starts each as soon as its inputs are there, a joiner reads the results.
"""

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from tinyagent_helpers.consent import ONLY_READ, Question, preview, refuse, repeats
from tinyagent_helpers.joins import Join
from tinyagent_helpers.mac.protocol import ToolError
from tinyagent_helpers.plans import PlanError, PlanReader, Step, fill_in
from tinyagent_helpers.sanity import check_request
from tinyagent_helpers.times import FORMAT
from tinyagent_helpers.tools import Tool


@dataclass
class StepRun:
    """One step carried out: arguments with results filled in, observation or error, seconds since the run began."""

    id: int
    tool: str
    arguments: list[Any]
    depends_on: list[int]
    observation: str = ""
    error: str = ""
    started: float | None = None
    ended: float | None = None


@dataclass
class Round:
    """One plan and what came of it: `calls` as they were planned, `steps` as they were run, and names that were `suggested`
    where a lookup failed; `error` says why the plan itself could not be used, if so."""

    plan: str = ""
    steps: list[StepRun] = field(default_factory=list)
    error: str = ""
    planned: float | None = None
    join: Join | None = None
    calls: list[Step] = field(default_factory=list)
    suggested: dict[int, str] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """Everything that went wrong, for the joiner and the next plan."""
        steps = [f"step {s.id}, {s.tool}: {s.error}" for s in self.steps if s.error]
        return ([f"plan: {self.error}"] if self.error else []) + steps


@dataclass
class Run:
    """A request from start to answer."""

    request: str
    now: datetime
    tools: list[str]
    rounds: list[Round] = field(default_factory=list)
    answer: str = ""
    seconds: float = 0.0

    @property
    def succeeded(self) -> bool:
        """True if the last plan had steps, all of them worked, and the joiner finished."""
        last = self.rounds[-1] if self.rounds else Round()
        return bool(last.steps) and not last.problems and last.join is not None and not last.join.replan

    def to_json(self) -> dict[str, Any]:
        """The run as `tinyagent ask --json` prints it; `earlier` holds the rounds before the last."""
        rounds = [{"plan": r.plan, "error": r.error, "steps": [vars(s) for s in r.steps]} for r in self.rounds]
        *earlier, last = rounds or [{"plan": "", "error": "", "steps": []}]
        starts = [s.started for r in self.rounds for s in r.steps if s.started is not None]
        timings = {
            "first_step": min(starts, default=None),
            "plan": self.rounds[-1].planned if self.rounds else None,
            "total": self.seconds,
        }
        head = {"request": self.request, "now": self.now.strftime(FORMAT), "tools": self.tools}
        return head | last | {"answer": self.answer, "timings": timings, "earlier": earlier}


class Planner(Protocol):
    """Writes plans."""

    def stream(self, request: str, now: datetime, earlier: Sequence[Round]) -> AsyncGenerator[str, None]:
        """The plan's text, piece by piece; `earlier` holds the rounds that a new plan must make up for."""


class Joiner(Protocol):
    """Reads results."""

    async def join(self, request: str, rounds: Sequence[Round], may_replan: bool) -> Join:
        """Finish with a message, or ask for a new plan."""


class Agent:
    """Carries out requests with a planner, a joiner and tools. Times are in seconds.

    `ask` is called, in a thread, before a step of a later plan does what the request did not lead to (see `consent`); by default
    such a step is refused. `watch` is shown the run whenever anything in it has changed.
    """

    def __init__(
        self,
        planner: Planner,
        joiner: Joiner,
        tools: Mapping[str, Tool],
        *,
        step_limit: float = 30.0,
        time_limit: float = 120.0,
        max_rounds: int = 2,
        ask: Question = refuse,
        watch: Callable[[Run], None] = lambda run: None,
    ):
        self.planner, self.joiner, self.tools = planner, joiner, tools
        self.step_limit, self.time_limit, self.max_rounds = step_limit, time_limit, max_rounds
        self.ask, self.watch = ask, watch

    async def run(self, request: str, now: datetime) -> Run:
        """Plan, execute and join, at most `max_rounds` times.

        Failing tools, bad plans and passed time limits end up in the result. Cancelling the call cancels every step that
        waits; a tool already at work in its thread is left behind and no longer listened to.

        Raises:
            InputError: the request is empty or too long.
        """
        check_request(request)
        run, start = Run(request, now, list(self.tools)), time.perf_counter()
        limit = asyncio.timeout(self.time_limit)
        try:
            async with limit:
                for number in range(1, self.max_rounds + 1):
                    await self._round(run, start)
                    run.rounds[-1].join = join = await self._join(run, may_replan=number < self.max_rounds)
                    self.watch(run)
                    if not join.replan:
                        break
                run.answer = _answer(run.rounds[-1])
        except TimeoutError:
            if not limit.expired():
                raise
            run.answer = f"Stopped after {self.time_limit:g} seconds."
        run.seconds = time.perf_counter() - start
        self.watch(run)
        return run

    async def _join(self, run: Run, may_replan: bool) -> Join:
        try:
            return await self.joiner.join(run.request, run.rounds, may_replan)
        except Exception as error:
            return Join(f"The plan has run, but the joiner failed: {_reason(error)}.", "The joiner failed.")

    async def _round(self, run: Run, start: float) -> None:
        """Read one plan as it streams in, starting each step as soon as it is read."""
        earlier, this = tuple(run.rounds), Round()
        seen = next((round for round in earlier if round.steps), None)  # the round whose results the new plan was told
        run.rounds.append(this)
        reader, results = PlanReader(self.tools), _Results()
        async with asyncio.TaskGroup() as group:

            def begin(steps: Sequence[Step]) -> None:
                for step in steps:
                    record = StepRun(step.id, step.tool, list(step.arguments), list(step.depends_on))
                    this.steps.append(record)
                    this.calls.append(step)
                    needed = {d: results[d] for d in step.depends_on}
                    led_to = not seen or step.tool in ONLY_READ or step.id in _repeated(this, seen, earlier)
                    group.create_task(self._step(run, step, record, needed, results[step.id], start, led_to))

            try:
                async with aclosing(self.planner.stream(run.request, run.now, earlier)) as pieces:
                    async for text in pieces:
                        this.plan += text
                        begin(reader.feed(text))
                        self.watch(run)
                        if reader.finished:
                            break
                begin(reader.close())
            except PlanError as error:
                this.error = str(error)
            except Exception as error:
                this.error = f"the planner failed: {_reason(error)}"
            this.planned = time.perf_counter() - start
            results.give_up(begun={record.id for record in this.steps})

    async def _step(
        self,
        run: Run,
        step: Step,
        record: StepRun,
        needed: Mapping[int, asyncio.Future],
        done: asyncio.Future,
        start: float,
        led_to: bool,
    ) -> None:
        """Wait for the steps this one needs, call the tool, and leave what it said, or None, in `done`."""
        try:
            inputs = {d: await future for d, future in needed.items()}
            if failed := [d for d, observation in inputs.items() if observation is None]:
                raise ToolError(f"not run, because step {failed[0]} failed")
            record.arguments = list(fill_in(step.arguments, inputs))
            tool = self.tools[step.tool]
            if not led_to:
                await self._ask(tool, record.arguments)
            record.started = time.perf_counter() - start
            self.watch(run)
            record.observation = await self._call(tool, record.arguments)
        except asyncio.CancelledError:
            record.error = "cancelled"
            raise
        except Exception as error:
            record.error = _reason(error)
            if suggestion := getattr(error, "suggestion", ""):
                run.rounds[-1].suggested[step.id] = suggestion
        finally:
            record.ended = None if record.started is None else time.perf_counter() - start
            if not done.done():  # cancelling whoever waits for a future cancels the future, too
                done.set_result(None if record.error else record.observation)
            self.watch(run)

    async def _ask(self, tool: Tool, arguments: Sequence[Any]) -> None:
        """Refuse a step that the request did not lead to, unless somebody says yes to it."""
        values = {parameter.name: value for parameter, value in zip(tool.parameters, arguments)}
        if not await _in_thread(self.ask, [preview(f"{tool.name}: {tool.description}", values)]):
            raise ToolError("not run: the request did not lead to this step, and nobody said yes to it")

    async def _call(self, tool: Tool, arguments: Sequence[Any]) -> str:
        """Call a tool within the time limit. Whatever goes wrong in it is an ordinary exception here."""
        for parameter, value in zip(tool.parameters, arguments):
            if problem := parameter.problem_with(value):
                raise TypeError(problem)
        limit = asyncio.timeout(self.step_limit)
        try:
            async with limit:
                if inspect.iscoroutinefunction(tool.function):
                    return str(await tool.function(*arguments))
                return str(await _in_thread(tool.function, arguments))
        except TimeoutError:
            if not limit.expired():
                raise
            raise ToolError(f"no result within {self.step_limit:g} seconds") from None
        except asyncio.CancelledError:
            if asyncio.current_task().cancelling():
                raise
            raise ToolError("the tool cancelled itself") from None


def _repeated(this: Round, seen: Round, earlier: Sequence[Round]) -> dict[int, int]:
    """The steps of this round that repeat the plan of `seen`, the first round of which results were read, and were not begun in any
    round before."""
    begun: set[int] = set()
    for round in earlier[earlier.index(seen) :]:
        found = repeats(round.calls, seen.calls, begun, seen.suggested)
        begun |= {found[s.id] for s in round.steps if s.started is not None and s.id in found}
    return repeats(this.calls, seen.calls, begun, seen.suggested)


class _Results(dict):
    """For each step number a future of its observation, so that a step can wait for one that was not read yet."""

    def __missing__(self, number: int) -> asyncio.Future:
        return self.setdefault(number, asyncio.get_running_loop().create_future())

    def give_up(self, begun: set[int]) -> None:
        """No more steps will begin: whoever waits for one that has not is told that it failed."""
        for number, future in self.items():
            if number not in begun:
                future.set_result(None)


async def _in_thread(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """Call a blocking function in a thread of its own, which never keeps the program from ending."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def deliver(result: Any, error: BaseException | None) -> None:
        if not done.done():
            done.set_exception(error) if error else done.set_result(result)

    def work() -> None:
        try:
            result, error = function(*arguments), None
        except BaseException as caught:  # SystemExit and StopIteration too must not leave the step waiting
            is_ordinary = isinstance(caught, Exception) and not isinstance(caught, StopIteration)
            result, error = None, caught if is_ordinary else ToolError(_reason(caught))
        if not loop.is_closed():
            loop.call_soon_threadsafe(deliver, result, error)

    threading.Thread(target=work, daemon=True).start()
    return await done


def _reason(error: BaseException) -> str:
    """What an exception says; its name, if it says nothing or cannot be read."""
    try:
        return str(error) or type(error).__name__
    except Exception:
        return type(error).__name__


def _answer(last: Round) -> str:
    """The joiner's message; "Summary" becomes the summary, a second Replan an admission."""
    if last.join.replan:
        return "I could not do that: " + ("; ".join(last.problems) or "the plan did not lead to an answer") + "."
    summaries = [s.observation for s in last.steps if s.tool == "summarize_pdf" and s.observation]
    return summaries[-1] if last.join.message == "Summary" and summaries else last.join.message
