"""Made-up APIs in many domains, and what people ask of them: what the nano base is pre-trained on (chapter 3).

`data/pretraining/*.toml` holds one domain a file: its tools as typed signatures, values of its own for slots, and scenarios
in the recorded teacher's format. None of the Mac's sixteen tools is among them.
"""

import ast
import inspect
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any, Literal, get_args

from tinyagent_helpers.artifacts import DATA
from tinyagent_helpers.plans import parse_plan
from tinyagent_helpers.teacher import CLOSED, KINDS, POOLED, Draw, Pattern, ScenarioError, draw, scenario_patterns
from tinyagent_helpers.tools import MAC_TOOLS, Tool

APIS = DATA / "pretraining"
TYPES = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "list[str]": list[str],
    "list[int]": list[int],
    "list[float]": list[float],
}


@dataclass(frozen=True)
class Domain:
    """The tools of one domain, and the patterns of requests for them."""

    name: str
    tools: Mapping[str, Tool]
    values: Mapping[str, Sequence[str]]
    patterns: Sequence[Pattern]

    def draw(
        self,
        pattern: Pattern,
        rng: Random,
        now: datetime | None = None,
        values: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> Draw:
        """Fill a pattern's slots from `values`, else from the domain's own; other names and texts come from the recorded
        teacher's training values only."""
        return draw(pattern, rng, "train", {**self.values, **values}, now)

    @cached_property
    def open_kinds(self) -> frozenset[str]:
        """The kinds of slots that any text may fill: no tool has one of their values as an option."""
        options = {option for tool in self.tools.values() for p in tool.parameters for option in get_args(p.type)}
        own = {kind for kind, values in self.values.items() if options.isdisjoint(values)}
        return frozenset(own | {"person", *POOLED} - {*CLOSED})


@cache
def load_domains(folder: Path = APIS) -> tuple[Domain, ...]:
    """All domains, in the order of file names.

    Raises:
        ScenarioError: naming the file and what is wrong; also if two domains, or a domain and the Mac, share a tool's name.
    """
    domains, owners = [], dict.fromkeys(MAC_TOOLS, "the Mac")
    for path in sorted(folder.glob("*.toml")):
        domain = read_domain(path)
        for name in domain.tools:
            if name in owners:
                raise ScenarioError(f"{path.name}: {owners[name]} has a tool {name!r}, too; rename this one")
            owners[name] = path.name
        domains.append(domain)
    return tuple(domains)


def read_domain(path: Path) -> Domain:
    """The tools and patterns of one file, every pattern checked against the tools' signatures."""
    found = _read(path)
    try:
        tools = {tool.name: tool for tool in map(tool_of, found["tool"])}
        if len(tools) < len(found["tool"]):
            raise ValueError("two tools have the same name")
    except (ValueError, KeyError, TypeError, SyntaxError) as error:
        raise ScenarioError(f"{path.name}: {error}") from None
    return domain_of(path, tools)


def domain_of(path: Path, tools: Mapping[str, Tool]) -> Domain:
    """The patterns of one file for tools that are known, each checked against their signatures.

    Raises:
        ScenarioError: naming the file, the scenario and what is wrong.
    """
    found = _read(path)
    values = found.get("values", {})
    if clash := set(values) & KINDS:
        raise ScenarioError(f"{path.name}: the kinds {sorted(clash)} exist already; name your own otherwise")
    for kind, texts in values.items():
        if not (texts and isinstance(texts, list) and all(isinstance(text, str) for text in texts)):
            raise ScenarioError(
                f"{path.name}: {kind} in [values] should be a list of texts, numbers in quotation marks"
            )
    if not found.get("scenario"):
        raise ScenarioError(f"{path.name}: there is no [[scenario]] in it")
    patterns = [pattern for scenario in found["scenario"] for pattern in _patterns(path, scenario, values)]
    domain = Domain(path.stem, tools, values, patterns)
    for pattern in patterns:
        drawn = domain.draw(pattern, Random(0))
        try:
            parse_plan(drawn.plan.to_text(), tools)
        except ValueError as error:
            raise ScenarioError(f"{path.name}, {pattern.id}: {error}") from None
    return domain


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ScenarioError(f"{path.name}: {error}") from None


def _patterns(path: Path, scenario: Mapping[str, Any], values: Mapping[str, Sequence[str]]) -> list[Pattern]:
    name = f"{path.stem}/{scenario.get('id', '?')}"
    try:
        return scenario_patterns(name, scenario, values)
    except (ValueError, KeyError, TypeError) as error:
        raise ScenarioError(f"{path.name}, scenario {name}: {error}") from None


def tool_of(entry: Mapping[str, Any]) -> Tool:
    """A tool from its signature, which is parsed and never run."""
    definition = ast.parse(f"def {entry['call']}: ...").body[0]
    parameters, defaults = definition.args.args, definition.args.defaults
    required = len(parameters) - len(defaults)
    signature = [
        inspect.Parameter(
            p.arg,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            annotation=_type(p.annotation),
            default=inspect.Parameter.empty if i < required else ast.literal_eval(defaults[i - required]),
        )
        for i, p in enumerate(parameters)
    ]
    about = "\n".join(f"    {name}: {text}" for name, text in entry.get("args", {}).items())
    if unknown := set(entry.get("args", {})) - {p.arg for p in parameters}:
        raise ValueError(f"{definition.name}: args describes {sorted(unknown)}, which the call does not have")
    return Tool.from_signature(definition.name, f"{entry['about']}\n\nArgs:\n{about}", signature)


def _type(node: ast.expr | None) -> Any:
    if node is None:
        raise ValueError("every parameter needs a type")
    text = ast.unparse(node)
    if isinstance(node, ast.Subscript) and text.startswith("Literal["):
        return Literal[tuple(ast.literal_eval(f"[{ast.unparse(node.slice).strip('()')}]"))]
    if text not in TYPES:
        raise ValueError(f"unknown type {text}; use {', '.join(TYPES)} or Literal[...]")
    return TYPES[text]
