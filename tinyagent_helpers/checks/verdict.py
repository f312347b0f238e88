"""How a check speaks: "Correct.", a hint, or "Not tried yet."; never a crash.

An exercise that was not touched holds `...`, or is a function that returns `...`.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any


class Hint(Exception):
    """What a learner should look at again."""


def exercise(check: Callable[[Any], str]) -> Callable[[Any], None]:
    """Print the verdict of a check, whatever the answer is or does."""

    @wraps(check)
    def verdict(answer: Any, *given: Any) -> None:
        if answer is ...:
            print("Not tried yet.")
            return
        try:
            print(f"Correct. {check(answer, *given)}")
        except Untouched:
            print("Not tried yet.")
        except Hint as hint:
            print(f"Not yet. {hint}")
        except Exception as error:
            print(f"Not yet. Your answer stopped with {type(error).__name__}: {error}")

    return verdict


class Untouched(Exception):
    """The learner's function still returns `...`."""


def call(function: Any, *arguments: Any) -> Any:
    if not callable(function):
        raise Hint(f"The answer should be a function, not {function!r:.60}.")
    result = function(*arguments)
    if result is ...:
        raise Untouched
    return result
