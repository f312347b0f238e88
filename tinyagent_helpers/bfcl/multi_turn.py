"""Conversations: the official loop asks a model turn by turn, runs the functions that it calls, and shows it what they return.

The functions belong to BFCL (a folder of files, a car, a shop and others) and run in a process of their own, within a time limit.
"""

import io
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from copy import deepcopy
from multiprocessing import TimeoutError
from typing import Any

from tinyagent_helpers.bfcl.answers import CALLS, FAILED, NONE, TOO_LONG, UNREADABLE, Answer, Mode, answer
from tinyagent_helpers.bfcl.judge import NAME, SECONDS, Worker
from tinyagent_helpers.bfcl.official import Entry, handler_class, official

WORST_FIRST = (
    FAILED,
    TOO_LONG,
    CALLS,
    UNREADABLE,
    NONE,
)  # what a conversation counts as: the first of these among its answers


def converse(mode: Mode, entry: Entry) -> Answer:
    """A whole conversation as one answer: its `turns` hold a list of results each. To be called within `functions_elsewhere`."""
    player = _player(mode)
    try:
        with redirect_stdout(io.StringIO()):
            turns = player.inference(deepcopy(dict(entry)), include_input_log=False, exclude_state_log=True)[0]
    except TimeoutError:
        return Answer(FAILED, text="a function that it called took too long")
    statuses = {made.status for made in player.answers}
    text = "\n".join(made.text for made in player.answers)
    return Answer(next(status for status in WORST_FIRST if status in statuses), text=text, turns=turns)


def _player(mode: Mode) -> Any:
    """An official handler that asks our model."""

    class Player(handler_class()):
        def _pre_query_processing_FC(self, data: dict, entry: dict) -> dict:
            return {"messages": []}

        def _compile_tools(self, data: dict, entry: dict) -> dict:
            return data | {"entry": entry}

        def add_first_turn_message_FC(self, data: dict, messages: list[dict]) -> dict:
            return data | {"messages": data["messages"] + messages}

        _add_next_turn_user_message_FC = add_first_turn_message_FC

        def _query_FC(self, data: dict) -> tuple[Answer, float]:
            started = time.monotonic()
            made = answer(mode, data["entry"] | {"question": [data["messages"]]})
            self.answers.append(made)
            return made, time.monotonic() - started

        def _parse_query_response_FC(self, response: Answer) -> dict:
            return {"model_responses": response.result, "answer": response, "input_token": 0, "output_token": 0}

        def _add_assistant_message_FC(self, data: dict, response: dict) -> dict:
            return data | {"messages": [*data["messages"], mode.said(response["answer"])]}

        def _add_execution_results_FC(self, data: dict, results: list[str], response: dict) -> dict:
            names = [name for call in response["answer"].calls for name in call]
            shown = [
                {"role": "tool", "tool_call_id": f"call_{number}", "name": name, "content": result}
                for number, (name, result) in enumerate(zip(names, results))
            ]
            return data | {"messages": data["messages"] + shown}

    made = Player(model_name=NAME, registry_name=NAME, is_fc_model=True, temperature=0)
    made.answers = []
    return made


@contextmanager
def functions_elsewhere() -> Iterator[None]:
    """The official loop runs functions in its own process; here another one does it."""
    loops = official().loops
    usual = loops.execute_multi_turn_func_call
    with Worker() as worker:

        def execute(calls: Sequence[str], *place: Any, **options: Any) -> tuple[list[str], dict]:
            return worker.ask(_execute, (calls, place, options), SECONDS), {}

        loops.execute_multi_turn_func_call = execute
        try:
            yield
        finally:
            loops.execute_multi_turn_func_call = usual


def _execute(calls: Sequence[str], place: Sequence[Any], options: dict[str, Any]) -> list[str]:
    return official().tools.execute_multi_turn_func_call(list(calls), *place, **options)[0]
