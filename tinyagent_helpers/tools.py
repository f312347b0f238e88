"""Tools: a typed Python function, seen by the planner as text and by other systems as an OpenAI schema.

Derived in notebook 01. Everything that describes or checks a tool is read from the function's signature and docstring,
so that a tool is defined once.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import docstring_parser
from pydantic import TypeAdapter, ValidationError

from tinyagent_helpers.artifacts import digest_text
from tinyagent_helpers.mac.protocol import Mac

REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True)
class Parameter:
    """One parameter of a tool. `note` is what `Annotated` says of it ("free text", "date"), else ""."""

    name: str
    type: Any
    description: str = ""
    default: Any = REQUIRED
    note: str = ""
    check: TypeAdapter = field(default=None, repr=False, compare=False)

    @property
    def type_name(self) -> str:
        """The type as it is written in Python: `str`, `list[str]`."""
        return self.type.__name__ if isinstance(self.type, type) and not get_args(self.type) else str(self.type)

    def problem_with(self, value: Any) -> str | None:
        """Say why `value` has the wrong type, or return None if it has the right one."""
        try:
            self.check.validate_python(value, strict=True)
        except ValidationError as error:
            return f"{self.name} must be {self.type_name.replace('typing.', '')}, not {value!r:.60} ({error.errors()[0]['msg']})"
        return None


@dataclass(frozen=True)
class Tool:
    """A function the planner may call: what it is named, what it takes, what it does."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    function: Callable[..., Any] | None = field(default=None, compare=False)

    @classmethod
    def from_function(cls, function: Callable[..., Any]) -> "Tool":
        """Make a tool of any Python function whose parameters have type hints.

        Raises:
            TypeError: a parameter has no type hint, or takes any number of arguments.
        """
        hints = get_type_hints(function, include_extras=True)
        parameters = [
            p.replace(annotation=hints.get(p.name, REQUIRED))
            for p in inspect.signature(function).parameters.values()
            if p.name != "self"
        ]
        return cls.from_signature(function.__name__, inspect.getdoc(function) or "", parameters, function)

    @classmethod
    def from_signature(
        cls, name: str, docstring: str, parameters: Iterable[inspect.Parameter], function: Callable | None = None
    ) -> "Tool":
        """Make a tool of a name, a docstring and typed parameters; without a function it can be planned with, not run."""
        doc = docstring_parser.parse(docstring)
        descriptions = {p.arg_name: (p.description or "").replace("\n", " ") for p in doc.params}
        made = tuple(_parameter(name, p, descriptions.get(p.name, "")) for p in parameters)
        return cls(name, doc.short_description or "", made, function)

    @property
    def required(self) -> int:
        """How many arguments a call must have at least."""
        return sum(p.default is REQUIRED for p in self.parameters)

    @property
    def signature(self) -> str:
        """Its name, and its parameters with their types: send_sms(recipients: list[str], message: str)."""
        parameters = ", ".join(f"{p.name}: {p.type_name.replace('typing.', '')}" for p in self.parameters)
        return f"{self.name}({parameters})"

    def to_prompt(self) -> str:
        """The tool as the planner reads it: signature, purpose, one line for each parameter."""
        lines = [f"{self.signature} - {self.description}"]
        lines += [f"   - {p.name}: {p.description}" for p in self.parameters if p.description]
        return "\n".join(lines)

    def to_openai(self) -> dict[str, Any]:
        """The tool in the `tools` format of OpenAI's chat completions."""
        properties = {
            p.name: p.check.json_schema() | ({"description": p.description} if p.description else {})
            for p in self.parameters
        }
        required = [p.name for p in self.parameters if p.default is REQUIRED]
        schema = {"type": "object", "properties": properties, "required": required}
        function = {"name": self.name, "description": self.description, "parameters": schema}
        return {"type": "function", "function": function}


def _parameter(tool: str, p: inspect.Parameter, description: str) -> Parameter:
    if p.kind is not p.POSITIONAL_OR_KEYWORD:
        raise TypeError(
            f"{tool}: {p} is not an ordinary parameter; a tool's parameters are named one by one, without * or /"
        )
    if p.annotation is REQUIRED:
        raise TypeError(f"{tool}: parameter {p.name!r} has no type hint; write for example {p.name}: str")
    hint, note = p.annotation, ""
    if get_origin(hint) is Annotated:
        hint, note = get_args(hint)[0], str(get_args(hint)[1])
    return Parameter(p.name, hint, description, p.default, note, TypeAdapter(hint))


def toolset(functions: Iterable[Callable[..., Any]]) -> dict[str, Tool]:
    """Tools by name, in the order given.

    Raises:
        ValueError: two functions have the same name.
    """
    tools: dict[str, Tool] = {}
    for function in functions:
        tool = Tool.from_function(function)
        if tool.name in tools:
            raise ValueError(f"two tools are named {tool.name!r}; rename one of the functions")
        tools[tool.name] = tool
    return tools


MAC_TOOLS: dict[str, Tool] = toolset(f for name, f in vars(Mac).items() if not name.startswith("_"))


def tools_hash(tools: Mapping[str, Tool] = MAC_TOOLS) -> str:
    """Changes whenever a tool is described otherwise; a model that was trained on these tools carries it."""
    return digest_text("\n".join(tool.to_prompt() for tool in tools.values()))


def bind(mac: Mac) -> dict[str, Tool]:
    """The sixteen tools, carried out by this Mac."""
    return {name: replace(tool, function=getattr(mac, name)) for name, tool in MAC_TOOLS.items()}
