"""Plan text: read it (also while it streams in), write it, and see it as a graph.

    1. get_email_address("Sid")
    2. create_calendar_event("Lunch", "2024-05-25 12:00:00", "2024-05-25 13:00:00", "", ["$1"], "", "")
    3. join()<END_OF_PLAN>

The text is untrusted: it is read by a scanner and `ast.literal_eval`, and every problem is a `PlanError`. Derived in
notebook 01.

When is `$5` a result, and when is it five dollars? It is the result of step 5 if there is a step 5 before this one.
Otherwise it is the user's own text, with two exceptions that are errors: `${5}`, which nobody writes for money, and a
whole argument `"$5"` that names this step or one that follows. `$1.50` and `$1,000` are always money.
"""

import ast
import hashlib
import json
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

import networkx as nx

from tinyagent_helpers.tools import MAC_TOOLS, Tool

END_OF_PLAN = "<END_OF_PLAN>"
MAX_CHARACTERS = 100_000
MAX_STEPS = 50
MAX_NESTING = 20

REFERENCE = re.compile(r"\$(?:\{(\d{1,4})\}|(\d{1,4})(?!\w|[.,]\d))", re.ASCII)
CALL_START = re.compile(r"(\d{1,4})\.[ \t]*([A-Za-z_]\w*)\(", re.ASCII)
TOKEN = re.compile(rf""""(?:[^"\\]++|\\.)*+"|'(?:[^'\\]++|\\.)*+'|[][(){{}}\n"']|{END_OF_PLAN}""", re.DOTALL)
RAW_NEWLINE = re.compile(r"\\.|[\n\r]", re.DOTALL)


class Fault(StrEnum):
    """What can be wrong with a plan."""

    NOT_TEXT = "not text"
    TOO_LONG = "too long"
    SYNTAX = "syntax"
    NUMBERING = "step numbers"
    UNKNOWN_TOOL = "unknown tool"
    ARGUMENT_COUNT = "argument count"
    ARGUMENT_TYPE = "argument type"
    SELF_REFERENCE = "self reference"
    FORWARD_REFERENCE = "forward reference"
    DANGLING_REFERENCE = "dangling reference"
    NO_JOIN = "no join"


class PlanError(ValueError):
    """A plan cannot be used: `kind` (a `Fault`), `line` (1 is the first) and `reason`."""

    def __init__(self, kind: Fault, line: int, reason: str):
        super().__init__(f"line {line}: {reason}")
        self.kind, self.line, self.reason = kind, line, reason


@dataclass(frozen=True)
class Step:
    """One call. `depends_on` holds the ids of the steps whose results its arguments use; the plan fills it in."""

    id: int
    tool: str
    arguments: tuple[Any, ...]
    thought: str = ""
    depends_on: tuple[int, ...] = field(default=(), compare=False)

    def to_text(self) -> str:
        """The step as a line of plan text, with its thought on a line before it."""
        call = f"{self.id}. {self.tool}({', '.join(map(_literal, self.arguments))})"
        return f"Thought: {self.thought}\n{call}" if self.thought else call


@dataclass(frozen=True)
class Plan:
    """Steps in order; the closing `join()` is implied.

    Raises:
        PlanError: on construction, if step numbers do not increase or a reference leads nowhere.
    """

    steps: tuple[Step, ...] = ()

    def __post_init__(self):
        numbers, linked = set(), []
        for step in self.steps:
            _check_number(step.id, numbers, step.id)
            earlier, later = _references(step, numbers, step.id)
            _check_later(step, later, {s.id for s in self.steps}, step.id)
            linked.append(replace(step, depends_on=earlier))
            numbers.add(step.id)
        object.__setattr__(self, "steps", tuple(linked))

    @classmethod
    def of(cls, calls: Iterable[tuple[str, Iterable[Any]]]) -> "Plan":
        """A plan from (tool, arguments) pairs, numbered from 1."""
        return cls(tuple(Step(i, tool, tuple(arguments)) for i, (tool, arguments) in enumerate(calls, 1)))

    def to_text(self) -> str:
        """The plan as text, closed by join() and the end mark."""
        join = self.steps[-1].id + 1 if self.steps else 1
        return "\n".join([*(step.to_text() for step in self.steps), f"{join}. join(){END_OF_PLAN}"])

    def graph(self) -> nx.DiGraph:
        """The plan's DAG: a node for each step, an edge A -> B where B uses A's result.

        A node carries `tool`, `arguments` and `label`: a digest of its tool and, recursively, of the steps it depends
        on, so that two nodes have equal labels exactly if they compute the same thing by name (the blog post's success rate).
        """
        graph = nx.DiGraph()
        for step in self.steps:
            below = sorted(graph.nodes[d]["label"] for d in step.depends_on)
            label = hashlib.sha256("\n".join([step.tool, *below]).encode()).hexdigest()
            graph.add_node(step.id, tool=step.tool, arguments=step.arguments, label=label)
            graph.add_edges_from((d, step.id) for d in step.depends_on)
        return graph


class PlanReader:
    """Reads a plan that arrives in pieces and hands out each step as soon as its line is complete.

    A step whose `"$7"` may still turn out to name a step that follows is held back until the plan ends.
    `tools=None` accepts any tool.
    """

    def __init__(self, tools: Mapping[str, Tool] | None = MAC_TOOLS):
        self._tools, self._buffer, self._line, self._thought = tools, "", 1, ""
        self._length, self._joined = 0, False
        self._steps: list[Step] = []
        self._held: list[tuple[Step, list[tuple[int, bool]], int]] = []

    @property
    def plan(self) -> Plan:
        """The steps read so far."""
        return Plan(tuple(self._steps))

    @property
    def finished(self) -> bool:
        """True once `join()` has been read; whatever follows is left in `rest`."""
        return self._joined

    @property
    def rest(self) -> str:
        """The text that was not read, without the end mark."""
        return self._buffer.strip().removeprefix(END_OF_PLAN).strip()

    def feed(self, text: str) -> list[Step]:
        """Take the next piece of text; return the steps it completes."""
        if not isinstance(text, str):
            raise PlanError(Fault.NOT_TEXT, self._line, f"a plan is text, not {type(text).__name__}")
        self._length += len(text)
        if self._length > MAX_CHARACTERS:
            raise PlanError(Fault.TOO_LONG, self._line, f"the plan has more than {MAX_CHARACTERS:,} characters")
        self._buffer += text
        return self._take(final=False) if "\n" in text or ">" in text else []

    def close(self) -> list[Step]:
        """The text is over: return the steps that were still waiting, or raise `PlanError` if the plan is incomplete."""
        steps = self._take(final=True)
        if not self._joined:
            raise PlanError(Fault.NO_JOIN, self._line, "the plan ends without join(); was it cut off?")
        numbers = {step.id for step in self._steps}
        for step, later, line in self._held:
            _check_later(step, later, numbers, line)
        return steps + [step for step, _, _ in self._held]

    def _take(self, final: bool) -> list[Step]:
        steps = []
        while not self._joined and (line := self._next_line(final)):
            step = self._read_line(line)
            if step is None:
                continue
            earlier, later = _references(step, {s.id for s in self._steps}, self._line)
            step = replace(step, depends_on=earlier)
            self._steps.append(step)
            if later:
                self._held.append((step, later, self._line))
            else:
                steps.append(step)
        return steps

    def _next_line(self, final: bool) -> str | None:
        """Cut the next complete line off the buffer; a newline within a string does not end it."""
        rest = self._buffer.lstrip()
        self._line += self._buffer[: len(self._buffer) - len(rest)].count("\n")
        self._buffer = rest
        if CALL_START.match(rest):
            cleaned, end = _scan_call(rest, self._line)
        else:
            end = rest.find("\n") if "\n" in rest else None
            cleaned = rest[:end]
        if not rest or (end is None and not final):
            return None
        self._buffer = "" if end is None else rest[end:]
        return cleaned

    def _read_line(self, line: str) -> Step | None:
        """Turn one line into a step; remember a thought, notice the end."""
        if line.startswith("Thought:"):
            self._thought = line.removeprefix("Thought:").strip()
            return None
        step = _parse_call(line, self._line, self._thought)
        _check_number(step.id, {s.id for s in self._steps}, self._line)
        self._thought = ""
        if step.tool == "join":
            self._joined = True
            if step.arguments:
                raise PlanError(Fault.ARGUMENT_COUNT, self._line, "join() takes no arguments")
            return None
        if self._tools is not None:
            _check_call(step, self._tools, self._line)
        if len(self._steps) == MAX_STEPS:
            raise PlanError(Fault.TOO_LONG, self._line, f"the plan has more than {MAX_STEPS} steps")
        return step


def parse_plan(text: str, tools: Mapping[str, Tool] | None = MAC_TOOLS) -> Plan:
    """Read a whole plan. `tools=None` accepts any tool.

    Raises:
        PlanError: and nothing else, whatever the input.
    """
    reader = PlanReader(tools)
    reader.feed(text)
    reader.close()
    if reader.rest:
        line = text.count("\n", 0, text.rindex(reader.rest)) + 1
        raise PlanError(Fault.SYNTAX, line, f"nothing may follow join(), but here is {reader.rest!r:.60}")
    return reader.plan


def fill_in(value: Any, results: Mapping[int, str]) -> Any:
    """Put results in the place of references, also within longer strings and lists. Results are not searched again."""
    if isinstance(value, str):
        return REFERENCE.sub(lambda m: str(results.get(_number(m), m.group())), value)
    if isinstance(value, (list, tuple)):
        return type(value)(fill_in(item, results) for item in value)
    if isinstance(value, dict):
        return {key: fill_in(item, results) for key, item in value.items()}
    return value


def _number(match: re.Match) -> int:
    return int(match.group(1) or match.group(2))


def _literal(value: Any) -> str:
    """Write a value as a Python literal; strings in double quotes, with everything escaped that could end a line."""
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False).replace(END_OF_PLAN, "\\u003cEND_OF_PLAN>")
        return re.sub(r"[\ud800-\udfff\x7f\x85\u2028\u2029]", lambda m: f"\\u{ord(m.group()):04x}", text)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(k)}: {_literal(v)}" for k, v in value.items()) + "}"
    return repr(value)


def _scan_call(text: str, line: int) -> tuple[str, int | None]:
    """Find where the call's line ends. Return it with raw newlines in strings escaped, and the end (None: not yet)."""
    cleaned, depth, done = [], 0, 0
    for match in TOKEN.finditer(text):
        token = match.group()
        if token == END_OF_PLAN or (token == "\n" and depth == 0):
            return "".join([*cleaned, text[done : match.start()]]), match.start()
        if token in "\"'":
            break  # a string that has not ended
        depth += (token in "([{") - (token in ")]}")
        if depth > MAX_NESTING:
            raise PlanError(Fault.SYNTAX, line, f"brackets are nested more than {MAX_NESTING} deep")
        cleaned += [text[done : match.start()], RAW_NEWLINE.sub(_escape, token) if len(token) > 1 else token]
        done = match.end()
    return "".join([*cleaned, text[done:]]), None


def _escape(match: re.Match) -> str:
    """A line break within a string, with or without a backslash before it, as an escape sequence."""
    return {"\n": "\\n", "\r": "\\r"}.get(match.group()[-1], match.group())


def _parse_call(line: str, number: int, thought: str) -> Step:
    start = CALL_START.match(line)
    if not start:
        raise PlanError(Fault.SYNTAX, number, f'expected a step such as 1. tool("argument"), found {line!r:.60}')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call = ast.parse(line[start.start(2) :].rstrip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        why = error.msg if isinstance(error, SyntaxError) else error
        raise PlanError(Fault.SYNTAX, number, f"this is not a complete call: {line!r:.60} ({why})") from None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise PlanError(Fault.SYNTAX, number, f"a step is one call and nothing else, found {line!r:.60}")
    if call.keywords:
        raise PlanError(Fault.SYNTAX, number, "arguments are given by position, without names")
    arguments = tuple(_read_literal(node, number) for node in call.args)
    return Step(int(start.group(1)), call.func.id, arguments, thought)


def _read_literal(node: ast.expr, line: int) -> Any:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise PlanError(Fault.SYNTAX, line, "an argument must be a literal: text in quotes, a number, a list") from None
    if not _is_plain(value):
        raise PlanError(
            Fault.SYNTAX,
            line,
            "an argument may hold text, numbers of ordinary size, True, False, None, lists and dicts",
        )
    return value


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, int):
        return abs(value) < 2**63
    return value is None or isinstance(value, str) or (isinstance(value, float) and math.isfinite(value))


def _check_number(number: int, earlier: set[int], line: int) -> None:
    if number <= max(earlier, default=0):
        raise PlanError(
            Fault.NUMBERING, line, f"step number {number} must be larger than those before it, and at least 1"
        )


def _check_call(step: Step, tools: Mapping[str, Tool], line: int) -> None:
    tool = tools.get(step.tool)
    if tool is None:
        near = get_close_matches(step.tool, tools, n=3, cutoff=0.4) or list(tools)[:3]
        raise PlanError(
            Fault.UNKNOWN_TOOL,
            line,
            f"there is no tool {step.tool!r}; there are {len(tools)}, {', '.join(near)} among them",
        )
    given, most = len(step.arguments), len(tool.parameters)
    if not tool.required <= given <= most:
        wanted = most if tool.required == most else f"{tool.required} to {most}"
        raise PlanError(Fault.ARGUMENT_COUNT, line, f"{step.tool} takes {wanted} arguments, not {given}")
    for parameter, value in zip(tool.parameters, step.arguments):
        is_reference = isinstance(value, str) and REFERENCE.fullmatch(value)
        if not is_reference and (problem := parameter.problem_with(value)):
            raise PlanError(Fault.ARGUMENT_TYPE, line, f"{step.tool}: {problem}")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def _references(step: Step, earlier: set[int], line: int) -> tuple[tuple[int, ...], list[tuple[int, bool]]]:
    """The steps this one uses, and the (number, certain) of what looks like a reference to a step still to come."""
    used, later = set(), []
    for text in _strings(step.arguments):
        for match in REFERENCE.finditer(text):
            number, certain = _number(match), match.group(1) is not None
            if number in earlier:
                used.add(number)
            elif certain or match.group() == text:
                if number == step.id:
                    raise PlanError(Fault.SELF_REFERENCE, line, f"step {number} uses its own result, {match.group()}")
                later.append((number, certain))
    return tuple(sorted(used)), later


def _check_later(step: Step, later: list[tuple[int, bool]], numbers: set[int], line: int) -> None:
    for number, certain in later:
        if number in numbers:
            raise PlanError(
                Fault.FORWARD_REFERENCE, line, f"step {step.id} uses the result of step {number}, which comes after it"
            )
        if certain:
            raise PlanError(
                Fault.DANGLING_REFERENCE,
                line,
                f"step {step.id} uses the result of step {number}, and there is no such step",
            )
