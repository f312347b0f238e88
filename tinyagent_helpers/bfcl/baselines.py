"""What every score stands beside: a model that never calls a function, and the oracle, which gives the accepted answers themselves."""

import ast
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tinyagent_helpers.bfcl.answers import CALLS, NONE, Answer
from tinyagent_helpers.bfcl.official import MULTI_TURN, entries, truths


def never_calls(category: str, id: str) -> Answer:
    """No call, whatever is asked."""
    return Answer(NONE, turns=[[[]] for _ in truths(category)[id]] if category in MULTI_TURN else ())


def oracle(category: str, id: str) -> Answer:
    """The first accepted answer, with what may be left out left out: the ceiling. Where something is to be called and nobody says
    what, any function is."""
    if category in MULTI_TURN:
        return Answer(CALLS, turns=[_turn(category, id, calls) for calls in truths(category)[id]])
    functions = {f["name"]: f["parameters"] for f in entries(category, asked=False)[id]["function"]}
    if category.endswith("irrelevance"):
        return Answer(NONE)
    if category == "live_relevance":
        return Answer(CALLS, [{next(iter(functions)): {}}])
    truth = [(name, accepted) for call in truths(category)[id] for name, accepted in call.items()]
    return Answer(CALLS, [{name: _arguments(category, functions[name], accepted)} for name, accepted in truth])


def _turn(category: str, id: str, calls: Sequence[str]) -> list[Any]:
    """A turn of a conversation: its calls in one step, then none."""
    asked = entries(category)[id]
    later = [function for added in asked.get("missed_function", {}).values() for function in added]
    functions = {f["name"]: list(f["parameters"]["properties"]) for f in [*asked["function"], *later]}
    return [Answer(CALLS, [_named(call, functions) for call in calls]).result, []] if calls else [[]]


def _named(call: str, functions: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Any]]:
    """A call as the accepted answers write it, its arguments by name."""
    node = ast.parse(call, mode="eval").body
    given = dict(zip(functions[node.func.id], node.args)) | {keyword.arg: keyword.value for keyword in node.keywords}
    return {node.func.id: {name: ast.literal_eval(value) for name, value in given.items()}}


def _arguments(category: str, schema: Mapping[str, Any], accepted: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    given = {}
    for name, values in accepted.items():
        said = [value for value in values if value != ""]
        if name in schema.get("required", ()) or (said and "" not in values):
            value = _plain((said or [""])[0])
            given[name] = _as_text(category, value, schema["properties"].get(name, {}))
    return given


def _plain(value: Any) -> Any:
    """An accepted dict mostly holds lists of accepted values in turn."""
    if isinstance(value, Mapping):
        kept = {k: v for k, v in value.items() if not isinstance(v, list) or (v and "" not in v)}
        return {k: _plain(v[0]) if isinstance(v, list) else v for k, v in kept.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _as_text(category: str, value: Any, schema: Mapping[str, Any]) -> Any:
    """Java's and JavaScript's values are written as texts in those languages; Python's stay as they are."""
    if "java" not in category or isinstance(value, str):
        return value
    if category == "simple_javascript":
        return json.dumps(value)
    kind = schema.get("type", "")
    if isinstance(value, dict):
        puts = " ".join(f"put({json.dumps(k)}, {json.dumps(v)});" for k, v in value.items())
        return f"new HashMap<String, Object>() {{{{ {puts} }}}}"
    if isinstance(value, list):
        items = ", ".join(_as_text(category, item, schema.get("items", {})) for item in map(_quoted, value))
        return f"new ArrayList<Object>(Arrays.asList({items}))" if kind == "ArrayList" else f"new Object[]{{{items}}}"
    return json.dumps(value) + {"long": "L", "float": "f"}.get(kind, "")


def _quoted(item: Any) -> Any:
    return json.dumps(item) if isinstance(item, str) else item
