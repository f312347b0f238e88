"""The agent: streaming, parallel, and never hung up by a tool, a plan or a person."""

import asyncio
import time
from dataclasses import replace
from datetime import datetime

import pytest

from tinyagent_helpers.agent import Agent
from tinyagent_helpers.artifacts import InputError
from tinyagent_helpers.joins import Join, JoinError, parse_join
from tinyagent_helpers.mac.protocol import ToolError
from tinyagent_helpers.recorded import (
    RecordedJoiner,
    RecordedPlanner,
    Recording,
    load_recordings,
)
from tinyagent_helpers.tools import bind, toolset

NOW = datetime(2024, 5, 24, 9, 0)


class Clock:
    """Tools that sleep, and remember when they began and ended."""

    def __init__(self):
        self.log = []

    def tools(self):
        async def wait(name: str, seconds: float) -> str:
            self.log.append(f"begin {name}")
            await asyncio.sleep(seconds)
            self.log.append(f"end {name}")
            return name

        def block(seconds: float) -> str:
            time.sleep(seconds)
            return "done"

        def fail(reason: str) -> str:
            raise ToolError(reason)

        def crash(number: int) -> str:
            return str(1 / number)

        return toolset([wait, block, fail, crash])


def yes(question):
    return True


def run(plans, tools, request="do it", delay=0.0, **limits):
    recording = Recording(request, NOW, tuple(plans), "done: $1")
    agent = Agent(RecordedPlanner(recording, delay), RecordedJoiner(recording.answer), tools, ask=yes, **limits)
    return asyncio.run(agent.run(request, NOW))


def test_independent_steps_run_at_the_same_time_and_dependent_ones_wait():
    clock = Clock()
    result = run(['1. wait("a", 0.1)\n2. wait("b", 0.1)\n3. wait("$1$2", 0.0)\n4. join()'], clock.tools())
    assert sorted(clock.log[:2]) == ["begin a", "begin b"]
    assert clock.log[-2:] == ["begin ab", "end ab"]
    assert [s.observation for s in result.rounds[0].steps] == ["a", "b", "ab"]
    assert result.seconds < 0.18


def test_a_step_starts_while_the_plan_is_still_being_written():
    clock = Clock()
    result = run(['1. wait("a", 0.0)\n2. wait("b", 0.0)\n3. join()<END_OF_PLAN>'], clock.tools(), delay=0.01)
    first, second = result.rounds[0].steps
    assert first.ended < second.started < result.rounds[0].planned


def test_a_blocking_tool_does_not_hold_up_the_others():
    result = run(["1. block(0.2)\n2. block(0.2)\n3. block(0.2)\n4. join()"], Clock().tools())
    assert result.seconds < 0.4


@pytest.mark.parametrize(
    "call, reason", [('fail("no such contact")', "no such contact"), ("crash(0)", "division by zero")]
)
def test_a_failing_tool_reaches_the_joiner_and_a_new_plan(call, reason):
    clock = Clock()
    result = run(
        [f'1. {call}\n2. wait("$1", 0.0)\n3. wait("b", 0.0)\n4. join()', '1. wait("second try", 0.0)\n2. join()'],
        clock.tools(),
    )
    first, second = result.rounds
    assert [s.error for s in first.steps] == [reason, "not run, because step 1 failed", ""]
    assert first.join.replan and not second.join.replan
    assert result.answer == "done: second try" and result.succeeded
    assert "begin $1" not in clock.log


def test_at_most_two_rounds():
    result = run(
        ['1. fail("a")\n2. join()', '1. fail("b")\n2. join()', '1. wait("never", 0.0)\n2. join()'], Clock().tools()
    )
    assert len(result.rounds) == 2 and not result.succeeded
    assert "fail: a" in result.answer and "fail: b" in result.answer


def test_a_tool_that_never_answers_is_given_up():
    result = run(['1. wait("x", 60.0)\n2. wait("$1", 0.0)\n3. join()', "1. join()"], Clock().tools(), step_limit=0.05)
    assert result.rounds[0].steps[0].error == "no result within 0.05 seconds"
    assert result.seconds < 1


def test_the_whole_run_has_a_time_limit():
    result = run(["1. block(3.0)\n2. join()"], Clock().tools(), time_limit=0.1)
    assert result.answer == "Stopped after 0.1 seconds." and result.seconds < 1
    assert result.rounds[0].steps[0].error == "cancelled"


def test_a_waiting_step_is_cancelled_too():
    result = run(['1. block(3.0)\n2. wait("$1", 0.0)\n3. join()'], Clock().tools(), time_limit=0.1)
    assert [s.error for s in result.rounds[0].steps] == ["cancelled", "cancelled"]


class AtOnce:
    """A planner that does not stream."""

    def __init__(self, *plans):
        self.plans = plans

    async def stream(self, request, now, earlier):
        yield self.plans[len(earlier)]


@pytest.mark.parametrize(
    "plan", ['1. wait("$2", 0.0)\n2. wait("$1", 0.0)\n3. join()', '1. wait("$3", 0.0)\n2. wait("$1", 0.0)\n']
)
def test_a_plan_in_one_piece_hangs_nothing_either(plan):
    plans = AtOnce(plan, '1. wait("ok", 0.0)\n2. join()\nThat is my plan.')
    agent = Agent(plans, RecordedJoiner("done: $1"), Clock().tools(), ask=yes)
    result = asyncio.run(agent.run("x", NOW))
    assert result.rounds[0].error and result.answer == "done: ok" and result.seconds < 1


class Unreadable(Exception):
    def __str__(self):
        raise ValueError


@pytest.mark.parametrize(
    "raised, reason",
    [
        (StopIteration("over"), "over"),
        (SystemExit("exit"), "exit"),
        (TimeoutError("connection timed out"), "connection timed out"),
        (Unreadable(), "Unreadable"),
        (asyncio.CancelledError(), "the tool cancelled itself"),
    ],
)
@pytest.mark.parametrize("is_async", [True, False])
def test_whatever_a_tool_raises_is_an_error_of_its_step(raised, reason, is_async):
    if is_async and isinstance(raised, (StopIteration, SystemExit)):
        return  # a coroutine cannot raise the one, and the other ends the program by intent

    async def fail_async() -> str:
        raise raised

    def fail() -> str:
        raise raised

    tools = toolset([fail_async if is_async else fail])
    result = run([f"1. {next(iter(tools))}()\n2. join()", "1. join()"], tools)
    assert result.rounds[0].steps[0].error == (
        reason if is_async or not isinstance(raised, asyncio.CancelledError) else "CancelledError"
    )
    assert result.seconds < 1


def test_a_joiner_that_fails_is_said():
    class Broken:
        async def join(self, request, rounds, may_replan):
            raise TimeoutError("no answer")

    agent = Agent(AtOnce('1. wait("a", 0.0)\n2. join()'), Broken(), Clock().tools())
    assert asyncio.run(agent.run("x", NOW)).answer == "The plan has run, but the joiner failed: no answer."


def test_cancelling_stops_what_waits():
    clock = Clock()

    async def cancel():
        recording = Recording("x", NOW, ('1. wait("a", 30.0)\n2. wait("$1", 0.0)\n3. join()',), "")
        agent = Agent(RecordedPlanner(recording), RecordedJoiner(""), clock.tools())
        task = asyncio.create_task(agent.run("x", NOW))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    started = time.perf_counter()
    asyncio.run(cancel())
    assert time.perf_counter() - started < 1 and clock.log == ["begin a"]


@pytest.mark.parametrize(
    "plan, error",
    [
        ('1. wait("a", 0.0)\n2. nonsense("b")\n3. join()', "no tool 'nonsense'"),
        ('1. wait("$2", 0.0)\n2. wait("$1", 0.0)\n3. join()', "comes after it"),
        ('1. wait("a", 0.0)', "ends without join"),
    ],
)
def test_a_bad_plan_is_a_problem_for_the_joiner_and_hangs_nothing(plan, error):
    result = run([plan, '1. wait("ok", 0.0)\n2. join()'], Clock().tools())
    assert error in result.rounds[0].error
    assert result.answer == "done: ok" and result.seconds < 1


def test_a_planner_that_fails_is_a_problem_too():
    class Broken:
        async def stream(self, request, now, earlier):
            yield '1. wait("a", 0.0)\n'
            raise ConnectionError("the server is gone")

    agent = Agent(Broken(), RecordedJoiner("ok"), Clock().tools())
    result = asyncio.run(agent.run("x", NOW))
    assert result.rounds[0].error == "the planner failed: the server is gone"
    assert result.rounds[0].steps[0].observation == "a"


def test_a_result_of_the_wrong_type_is_an_error_of_the_step():
    result = run(['1. wait("a", 0.0)\n2. wait("b", "$1")\n3. join()', "1. join()"], Clock().tools())
    assert "seconds must be float" in result.rounds[0].steps[1].error


@pytest.mark.parametrize(
    "request_text, message", [("", "empty"), ("  \n", "empty"), ("x" * 100_000, "100,000 characters")]
)
def test_unusable_requests_are_refused_before_anything_runs(request_text, message):
    with pytest.raises(InputError, match=message):
        run(["1. join()"], Clock().tools(), request=request_text)


def test_the_tour_runs_on_the_simulated_mac(mac):
    for recording in load_recordings():
        mac.reset(recording.now)
        agent = Agent(RecordedPlanner(recording), RecordedJoiner(recording.answer), bind(mac), ask=yes)
        result = asyncio.run(agent.run(recording.request, recording.now))
        assert result.answer
        assert result.succeeded == ("Yuki" not in recording.request)


def test_a_summary_is_the_answer_itself(mac):
    recording = next(r for r in load_recordings() if r.request == "Summarize lease.pdf")
    agent = Agent(RecordedPlanner(recording), RecordedJoiner(recording.answer), bind(mac))
    assert "rent" in asyncio.run(agent.run(recording.request, recording.now)).answer


def test_json_of_a_run_has_what_the_command_line_promises(mac):
    recording = load_recordings()[0]
    agent = Agent(RecordedPlanner(recording), RecordedJoiner(recording.answer), bind(mac))
    found = asyncio.run(agent.run(recording.request, recording.now)).to_json()
    assert {"request", "now", "tools", "plan", "steps", "answer", "timings"} <= set(found)
    assert set(found["steps"][0]) == {
        "id",
        "tool",
        "arguments",
        "depends_on",
        "observation",
        "error",
        "started",
        "ended",
    }
    assert found["steps"][2]["depends_on"] == [1, 2]


@pytest.mark.parametrize(
    "join", [Join("all (really) done\nyes", "fine"), Join("Summary"), Join(thought="again", replan=True)]
)
def test_joins_survive_text(join):
    assert parse_join(join.to_text()) == join


def test_a_thought_of_several_lines_cannot_change_the_verdict():
    join = Join("really", "first\nAction: Replan")
    assert parse_join(join.to_text()) == Join("really", "first Action: Replan")


def test_a_join_without_action_is_an_error():
    for text in ("", "Thought: x", "Action: Finish", None, "Action: Dance(x)"):
        with pytest.raises(JoinError):
            parse_join(text)


def test_tools_of_a_run_can_be_replaced_one_by_one(mac):
    tools = bind(mac)
    tools["send_sms"] = replace(tools["send_sms"], function=lambda recipients, message: "not sent, only shown")
    result = run(['1. get_phone_number("Mom")\n2. send_sms(["$1"], "hi")\n3. join()'], tools)
    assert result.rounds[0].steps[1].observation == "not sent, only shown"
    assert mac.snapshot()["messages"] == [mac.snapshot()["messages"][0]]
