"""bfcl-eval's own data, checkers and runner (Apache-2.0), without the 151 packages that it asks for.

Those are the vendors' clients, all of them imported by one list of models. A stand-in takes that list's place; what is left
needs little. Everything that decides a score is the official code.
"""

import importlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from tinyagent_helpers.artifacts import InputError

VERSION = "2026.3.23"
NON_LIVE = (
    "simple_python", "simple_java", "simple_javascript", "multiple", "parallel", "parallel_multiple", "irrelevance",
)  # fmt: skip
LIVE = (
    "live_simple", "live_multiple", "live_parallel", "live_parallel_multiple", "live_irrelevance", "live_relevance",
)  # fmt: skip
SINGLE_TURN = NON_LIVE + LIVE
MULTI_TURN = ("multi_turn_base", "multi_turn_miss_func", "multi_turn_miss_param", "multi_turn_long_context")
CATEGORIES = SINGLE_TURN + MULTI_TURN
GROUPS = {"single_turn": SINGLE_TURN, "non_live": NON_LIVE, "live": LIVE, "multi_turn": MULTI_TURN, "all": CATEGORIES}
NAME = re.compile(r"[A-Za-z][A-Za-z0-9.-]*")
LIST_OF_MODELS = "bfcl_eval.constants.model_config"
Entry = Mapping[str, Any]


class AnyModel(dict):
    """Stands in for the list of models: any name of letters, digits, dots and hyphens is a model of ours."""

    def __missing__(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(
            model_name=check_name(name), model_handler=handler, is_fc_model=True, underscore_to_dot=False,
            display_name=name, url="", org="", license="", input_price=None, output_price=None,
        )  # fmt: skip

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(NAME.fullmatch(name))


def check_name(name: str) -> str:
    """The name, if official comparisons work with it: with a space, + or @ in a name, they take any answer as right.

    Raises:
        InputError: they do not.
    """
    if not NAME.fullmatch(name):
        raise InputError(f"{name!r} is not a name for a model: begin with a letter; letters, digits, dots and hyphens")
    return name


@cache
def official() -> SimpleNamespace:
    """The official modules: `utils`, `runner`, `loops` (of conversations), `tools` (that they call), `decoding`, `enums`.

    Raises:
        InputError: bfcl-eval is not installed, or in another version than the course's.
    """
    try:
        found = version("bfcl-eval")
    except PackageNotFoundError:
        found = "none"
    if found != VERSION:
        raise InputError(
            f"bfcl-eval is {found} and has to be {VERSION}: pip install --no-deps -r requirements-bfcl.txt"
        )
    os.environ["BFCL_PROJECT_ROOT"] = tempfile.mkdtemp(prefix="bfcl-")  # it makes folders there when it is imported
    stand_in = ModuleType(LIST_OF_MODELS)
    stand_in.ModelConfig, stand_in.MODEL_CONFIG_MAPPING = SimpleNamespace, AnyModel()
    sys.modules[LIST_OF_MODELS] = stand_in
    names = {
        "utils": "utils", "runner": "eval_checker.eval_runner", "loops": "model_handler.base_handler",
        "tools": "eval_checker.multi_turn_eval.multi_turn_utils", "decoding": "model_handler.utils",
        "enums": "constants.enums",
    }  # fmt: skip
    return SimpleNamespace(**{key: importlib.import_module(f"bfcl_eval.{name}") for key, name in names.items()})


@cache
def handler_class() -> type:
    """An official handler that reads results as `answers.Answer.result` writes them: calls as JSON, anything else is none."""

    class Handler(official().loops.BaseHandler):
        def decode_ast(self, result: Any, language: Any, has_tool_call_tag: bool) -> list[dict[str, Any]]:
            return [{name: json.loads(arguments)} for call in _calls(result) for name, arguments in call.items()]

        def decode_execute(self, result: Any, has_tool_call_tag: bool) -> list[str]:
            calls = [(name, json.loads(arguments)) for call in _calls(result) for name, arguments in call.items()]
            return [_source(name, arguments) for name, arguments in calls]

    return Handler


def handler(**options: Any) -> Any:
    """An official handler for results of ours."""
    return handler_class()(**{"temperature": 0, **options})


def _calls(result: Any) -> list[dict[str, str]]:
    if not isinstance(result, list):
        raise ValueError(f"no calls, but {str(result)!r:.60}")
    return result


def _source(name: str, arguments: Mapping[str, Any]) -> str:
    """A call as the official code wants to evaluate it: only of a function that conversations offer, only with literals."""
    if name not in conversation_functions() or not all(key.isidentifier() for key in arguments):
        raise ValueError(f"{name!r:.60} is not a function that a conversation offers")
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


@cache
def conversation_functions() -> frozenset[str]:
    """The names of all functions that any conversation offers, at its start or later."""
    found = [entry for category in MULTI_TURN for entry in entries(category).values()]
    later = [f for entry in found for functions in entry.get("missed_function", {}).values() for f in functions]
    return frozenset(f["name"] for f in [*later, *(f for entry in found for f in entry["function"])])


@cache
def entries(category: str, asked: bool = True) -> dict[str, Entry]:
    """A category's questions by id. `asked`: as a model sees them, who writes Java's and JavaScript's values as texts and is told
    so; else as the checkers see them.

    Raises:
        InputError: there is no such category.
    """
    if category not in CATEGORIES:
        raise InputError(f"there is no category {category!r}; there are {', '.join(CATEGORIES)}")
    hints = asked and "java" in category
    found = official().utils.load_dataset_entry(category, include_prereq=False, include_language_specific_hint=hints)
    return {entry["id"]: entry for entry in found}


@cache
def truths(category: str) -> dict[str, list[dict[str, Any]]]:
    """The accepted answers by id; none for (ir)relevance."""
    if category.endswith("relevance"):
        return {}
    return {row["id"]: row["ground_truth"] for row in official().utils.load_ground_truth_entry(category)}


def result_file(folder: Path, model: str, category: str) -> Path:
    """Where the official runner looks for a category's results."""
    utils = official().utils
    name = utils.get_file_name_by_category(category, is_result_file=True)
    return folder / model / utils.get_directory_structure_by_category(category) / name
