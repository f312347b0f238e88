"""Verdicts by the official checkers, in a process of their own and within a time limit: they evaluate what they are given."""

import multiprocessing
from collections.abc import Iterable, Iterator
from typing import Any

from tinyagent_helpers.bfcl.official import entries, handler, official, truths

SECONDS = 10.0  # for one answer
NAME = "model"


def verdict(category: str, id: str, result: Any) -> str:
    """What is wrong with an answer, in the official checkers' word; "" if it is right."""
    runner, enums = official().runner, official().enums
    asked = entries(category, asked=False)[id]
    judge = handler(model_name=NAME, registry_name=NAME, is_fc_model=True)
    if category.endswith("relevance"):
        found = runner._evaluate_single_relevance_entry(judge, id, result, asked, NAME, category)
    else:
        language = {"simple_java": "JAVA", "simple_javascript": "JAVASCRIPT"}.get(category, "PYTHON")
        kinds = enums.Language[language], enums.ReturnFormat[language]
        found = runner._evaluate_single_ast_entry(
            judge, id, result, truths(category)[id], asked, NAME, category, *kinds
        )
    return "" if found["valid"] else found["error_type"]


def verdicts(answers: Iterable[tuple[str, str, Any]], seconds: float = SECONDS) -> Iterator[str]:
    """The verdict on each (category, id, result); "checker: ..." where a checker failed or took too long, and the others go on."""
    with _Worker() as worker:
        for answer in answers:
            yield worker.ask(answer, seconds)


def _ready() -> None:
    official()


class _Worker:
    """One process that answers questions; it is replaced when it takes too long."""

    def __enter__(self) -> "_Worker":
        self._start()
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.terminate()

    def _start(self) -> None:
        self._pool = multiprocessing.get_context("spawn").Pool(1)
        self._pool.apply(_ready)  # imported before any time is measured

    def ask(self, answer: tuple[str, str, Any], seconds: float) -> str:
        try:
            return self._pool.apply_async(verdict, answer).get(seconds)
        except multiprocessing.TimeoutError:
            self._pool.terminate()
            self._start()
            return "checker: took too long"
        except Exception as error:
            return f"checker: {type(error).__name__}"
