"""BFCL's functions as tools for a planner, and its plans as calls of those functions.

A planner writes arguments by position, and all of them. So the parameters that must be given come first; those that may be left
out come after them or, by default, not at all.
"""

import inspect
import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tinyagent_helpers.bfcl.official import Entry
from tinyagent_helpers.plans import Plan
from tinyagent_helpers.tools import Tool

TYPES = {
    "string": str, "integer": int, "float": float, "boolean": bool, "dict": dict, "tuple": list, "any": Any,
}  # fmt: skip
UNSAID = ("", [], {}, None)


@dataclass(frozen=True)
class Function:
    """One function: its own name, its parameters' names in the order in which a plan gives them, and the tool made of it."""

    name: str
    parameters: tuple[str, ...]
    required: frozenset[str]
    tool: Tool


def functions_of(entry: Entry, optional: bool = False) -> dict[str, Function]:
    """An entry's functions by the name of their tool; `optional`: with the parameters that may be left out."""
    made = [_function(described, optional) for described in entry["function"]]
    return {function.tool.name: function for function in made}


def _function(described: Mapping[str, Any], optional: bool) -> Function:
    properties = described["parameters"].get("properties", {})
    required = [name for name in described["parameters"].get("required", []) if name in properties]
    names = required + [name for name in properties if name not in required and optional]
    about = "\n".join(
        f"    {_identifier(n)}: {' '.join(str(properties[n].get('description', '')).split())}" for n in names
    )
    parameters = [
        inspect.Parameter(_identifier(n), inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=_type(properties[n]))
        for n in names
    ]
    purpose = " ".join(described.get("description", "").split())
    tool = Tool.from_signature(_identifier(described["name"]), f"{purpose}\n\nArgs:\n{about}", parameters)
    return Function(described["name"], tuple(names), frozenset(required), tool)


def _identifier(name: str) -> str:
    """A Python name for it: math.factorial becomes math_factorial."""
    made = re.sub(r"\W", "_", name)
    return f"{made}_" if keyword.iskeyword(made) or not made.isidentifier() else made


def _type(schema: Mapping[str, Any]) -> Any:
    options = schema.get("enum") or []
    if options and all(isinstance(option, str) for option in options):
        return Literal[tuple(options)]
    if schema.get("type") == "array":
        item = _type(schema["items"]) if isinstance(schema.get("items"), Mapping) else Any
        return list[item]
    return TYPES.get(schema.get("type"), str)


def calls_of(plan: Plan, functions: Mapping[str, Function]) -> list[dict[str, dict[str, Any]]]:
    """A plan's steps as calls {function: {parameter: value}}; what may be left out and says nothing is left out. A step that is
    there twice is one call: to do the same again changes nothing in a plan."""
    calls = [_call(functions[step.tool], step.arguments) for step in plan.steps]
    return [call for number, call in enumerate(calls) if call not in calls[:number]]


def _call(function: Function, values: tuple[Any, ...]) -> dict[str, dict[str, Any]]:
    given = zip(function.parameters, values)
    return {function.name: {n: value for n, value in given if n in function.required or value not in UNSAID}}
