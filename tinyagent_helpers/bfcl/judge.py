"""Verdicts by the official checkers, in a process of their own and within a time limit: they evaluate what they are given."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from typing import Any

from tinyagent_helpers.artifacts import InputError
from tinyagent_helpers.bfcl.official import MULTI_TURN, entries, handler, official, truths

SECONDS = 10.0  # for one answer; a conversation has four turns and more
STARTS = 60.0  # for the process itself, on a slow disk
NAME = "model"


def verdict(category: str, id: str, result: Any) -> str:
    """What is wrong with an answer, in the official checkers' word; "" if it is right."""
    runner, enums = official().runner, official().enums
    asked = entries(category, asked=False)[id]
    judge = handler(model_name=NAME, registry_name=NAME, is_fc_model=True)
    if category.endswith("relevance"):
        found = runner._evaluate_single_relevance_entry(judge, id, result, asked, NAME, category)
    elif category in MULTI_TURN:
        forget()
        parts = judge, id, result, truths(category)[id], deepcopy(asked), NAME, category
        found = runner._evaluate_single_multi_turn_entry(*parts)
    else:
        language = {"simple_java": "JAVA", "simple_javascript": "JAVASCRIPT"}.get(category, "PYTHON")
        kinds = enums.Language[language], enums.ReturnFormat[language]
        found = runner._evaluate_single_ast_entry(
            judge, id, result, truths(category)[id], asked, NAME, category, *kinds
        )
    return "" if found["valid"] else found.get("error_type") or found["error"]["error_type"]


def forget() -> None:
    """Take away what earlier conversations left: the official code keeps it among its own names, and a second conversation
    would go on in it."""
    kept = vars(official().tools)
    for name in [name for name in kept if name.endswith("_instance")]:
        del kept[name]


def verdicts(answers: Iterable[tuple[str, str, Any]], seconds: float = SECONDS) -> Iterator[str]:
    """The verdict on each (category, id, result); "checker: ..." where a checker failed or took too long, and the others go on."""
    with Worker() as worker:
        for answer in answers:
            try:
                yield worker.ask(verdict, answer, seconds)
            except multiprocessing.TimeoutError:
                yield "checker: took too long"
            except Exception as error:
                yield f"checker: {type(error).__name__}"


def _ready() -> None:
    official()


class Worker:
    """One process that calls functions; it is replaced when one takes too long."""

    def __enter__(self) -> "Worker":
        self._start()
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.terminate()

    def _start(self) -> None:
        self._pool = multiprocessing.get_context("spawn").Pool(1)
        try:
            self._pool.apply_async(_ready).get(STARTS)  # imported before any time is measured
        except multiprocessing.TimeoutError:
            self._pool.terminate()
            raise InputError(
                "the checkers' process does not start; run from a file or a notebook, not from a pipe"
            ) from None

    def ask(self, function: Callable[..., Any], arguments: tuple[Any, ...], seconds: float) -> Any:
        """What the function returns.

        Raises:
            multiprocessing.TimeoutError: it took too long; what the process knew is gone.
            Exception: what the function raises.
        """
        try:
            return self._pool.apply_async(function, arguments).get(seconds)
        except multiprocessing.TimeoutError:
            self._pool.terminate()
            self._start()
            raise
