"""What a model answers to one question: calls, none, or something that cannot be read. See notebook 08.

In plan mode a planner sees the functions as tools, in the prompts that it was trained on, and its plan is turned into calls.
In prompt mode a general model sees BFCL's own prompt and writes [f(a=1), g(b=2)]. In function-calling mode it is offered the
functions in the way that it was trained for, by its chat template or by its server.
"""

import ast
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tinyagent_helpers.artifacts import InputError
from tinyagent_helpers.bfcl.finder import Finder
from tinyagent_helpers.bfcl.functions import calls_of, functions_of
from tinyagent_helpers.bfcl.official import Entry, official
from tinyagent_helpers.decoding import plan_grammar
from tinyagent_helpers.models import MAX_NEW_TOKENS, LanguageModel
from tinyagent_helpers.plans import END_OF_PLAN, Plan, PlanError, parse_plan
from tinyagent_helpers.prompts import PromptTemplate, TooLong, check_fits
from tinyagent_helpers.tools import Tool

NOW = datetime(2024, 5, 24, 9)  # the prompt says a time; no question of BFCL's depends on it
MAX_TEXT = 100_000  # characters; a longer answer is none
MOST_CALLS = 12  # that a grammar allows where something is to be called
CALLS, NONE, UNREADABLE, TOO_LONG, FAILED = "calls", "no call", "unreadable", "prompt too long", "error"
STATUSES = (CALLS, NONE, UNREADABLE, TOO_LONG, FAILED)


@dataclass(frozen=True)
class Answer:
    """`status` is one of the five above; `text` is what the model wrote, or why it was not asked. A conversation has `turns`
    instead of calls: a list of results each."""

    status: str
    calls: Sequence[Mapping[str, Mapping[str, Any]]] = ()
    text: str = ""
    turns: Sequence[Sequence[Any]] = ()

    @property
    def result(self) -> Any:
        """The answer as a results file holds it: calls with their arguments as JSON, [] for none, else a text."""
        if self.turns:
            return self.turns
        if self.status in (CALLS, NONE):
            return [{name: json.dumps(arguments) for name, arguments in call.items()} for call in self.calls]
        return f"{self.status}: {self.text}"


class Mode:
    """A way to ask a model: `ask` gives what it writes for an entry, `read` makes an answer of that."""

    name: str

    def ask(self, entry: Entry) -> str:
        """What the model writes."""
        raise NotImplementedError

    def read(self, text: str, entry: Entry) -> Answer:
        """The calls in it."""
        raise NotImplementedError

    def said(self, made: Answer) -> dict[str, Any]:
        """An answer as a message of the conversation."""
        return {"role": "assistant", "content": made.text}


class PlanMode(Mode):
    """Asks a planner in its own language. `optional`: it sees the parameters that may be left out, too. `grammar`: it can write only
    what is a plan with these functions (through llama.cpp, and where every type has a rule; see `decoding`). `finder`: it sees
    only the functions that are found for the request; if there are none, nothing is called, else something is."""

    name = "plan"

    def __init__(
        self,
        model: LanguageModel,
        template: PromptTemplate,
        optional: bool = False,
        grammar: bool = False,
        finder: Finder | None = None,
    ):
        self.model, self.template, self.optional, self.grammar, self.finder = model, template, optional, grammar, finder

    def ask(self, entry: Entry) -> str:
        """What the planner answers.

        Raises:
            TooLong: the prompt does not fit the model.
            InputError: the model does not answer.
        """
        tools = {name: f.tool for name, f in functions_of(entry, self.optional).items()}
        if not self.finder:
            return self._plan(conversation(entry), tools)
        parts = self.finder.parts(conversation(entry), tools)
        plans = [self._plan(part, found) for part, found in parts if found]
        return plans[0] if len(plans) == 1 else self._together(plans, tools)

    def _plan(self, request: str, tools: Mapping[str, Tool]) -> str:
        prompt = self.template.plan(request, NOW, tools)
        check_fits(prompt, self.model.count_tokens, self.model.context, MAX_NEW_TOKENS)
        return capped(self.model.stream(prompt, **({"grammar": self._rules(tools)} if self.grammar else {})))

    def _together(self, plans: Sequence[str], tools: Mapping[str, Tool]) -> str:
        """The plans for the parts of a request as one; the first that is none stands for all."""
        steps = []
        for text in plans:
            try:
                steps += parse_plan("".join(self.template.read([text])), tools).steps
            except PlanError:
                return text
        return self.template.write(Plan.of((step.tool, step.arguments) for step in steps).to_text())

    def _rules(self, tools: Mapping[str, Tool]) -> str:
        """The grammar of plans with these tools, "" if one of their types has no rule."""
        try:
            return plan_grammar(tools.values(), self.template.padded, most=MOST_CALLS if self.finder else 0)
        except InputError:
            return ""

    def read(self, text: str, entry: Entry) -> Answer:
        """The calls that a plan means."""
        functions = functions_of(entry, self.optional)
        text = "".join(self.template.read([text]))
        try:
            plan = parse_plan(text, {name: f.tool for name, f in functions.items()})
        except PlanError as error:
            return Answer(UNREADABLE, text=f"{error}\n{text}")
        return Answer(CALLS if plan.steps else NONE, calls_of(plan, functions), text)


def capped(pieces: Iterable[str]) -> str:
    """The pieces together, up to a little over MAX_TEXT characters: what is longer is not read to its end."""
    text = ""
    for piece in pieces:
        text += piece
        if len(text) > MAX_TEXT:
            break
    return text


class PromptMode(Mode):
    """Asks a general model in BFCL's own way. Its answer is read without evaluating anything: every argument is a literal."""

    name = "prompt"

    def __init__(self, model: LanguageModel):
        self.model = model

    def ask(self, entry: Entry) -> str:
        """What the model answers to the official system prompt and the conversation, as one message.

        Raises:
            TooLong: the prompt does not fit the model.
            InputError: the model does not answer.
        """
        messages = official().decoding.system_prompt_pre_processing_chat_model(
            [dict(message) for message in entry["question"][0]], entry["function"], entry["id"]
        )
        prompt = "\n\n".join(message["content"] for message in messages)
        check_fits(prompt, self.model.count_tokens, self.model.context, MAX_NEW_TOKENS)
        return capped(self.model.stream(prompt))

    def read(self, text: str, entry: Entry) -> Answer:
        """The calls in [f(a=1), g(b=2)]."""
        text = text.removesuffix(END_OF_PLAN).strip("`\n ")
        try:
            calls = literal_calls(text, {function["name"] for function in entry["function"]})
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
            return Answer(UNREADABLE, text=f"{error}\n{text}")
        return Answer(CALLS if calls else NONE, calls, text)


class FunctionMode(Mode):
    """Offers functions to a general model in OpenAI's format; its answer is prose, or calls as JSON."""

    name = "function calling"

    def __init__(self, model: LanguageModel):
        self.model = model

    def ask(self, entry: Entry) -> str:
        """What the model answers, its calls as <tool_call>{"name": ..., "arguments": {...}}</tool_call>.

        Raises:
            TooLong: the prompt does not fit the model.
            InputError: the model has no way to be offered functions, or does not answer.
        """
        messages = [dict(message) for message in entry["question"][0]]
        return self.model.call(messages, _offered(entry), MAX_NEW_TOKENS)

    def read(self, text: str, entry: Entry) -> Answer:
        """The calls of functions that were offered, under their own names."""
        names = {f["name"].replace(".", "_"): f["name"] for f in entry["function"]}
        try:
            calls = [{names[name]: arguments} for name, arguments in tool_calls(text)]
        except (ValueError, KeyError, RecursionError) as error:
            return Answer(UNREADABLE, text=f"{error!r:.200}\n{text}")
        return Answer(CALLS if calls else NONE, calls, text)

    def said(self, made: Answer) -> dict[str, Any]:
        """An answer as a message of the conversation, its calls in OpenAI's format."""
        if not made.calls:
            return super().said(made)
        calls = [(name.replace(".", "_"), given) for call in made.calls for name, given in call.items()]
        return {"role": "assistant", "content": "", "tool_calls": [_called(n, *call) for n, call in enumerate(calls)]}


def _called(number: int, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": dict(arguments)}}


def _offered(entry: Entry) -> list[dict[str, Any]]:
    """An entry's functions in OpenAI's format, by the official code: a dict is an object there, and names have no dots."""
    utils, enums = official().decoding, official().enums
    return utils.convert_to_tool(entry["function"], utils.GORILLA_TO_OPENAPI, enums.ModelStyle.OPENAI_COMPLETIONS)


def tool_calls(text: str) -> list[tuple[str, dict[str, Any]]]:
    """The names and arguments of the calls in an answer: marked with <tool_call>, or JSON alone. Prose holds none.

    Raises:
        ValueError: what is marked as a call, or begins as JSON, is none.
    """
    marked = re.findall(r"<tool_call>(.*?)(?:</tool_call>|\Z)", text, re.DOTALL)
    bare = text.removesuffix(END_OF_PLAN).strip().removeprefix("```json").strip("`\n ")
    found = [json.loads(call) for call in marked] if marked else json.loads(bare) if bare[:1] in "[{" and bare else []
    calls = found if isinstance(found, list) else [found]
    return [_named_call(call) for call in calls]


def _named_call(call: Any) -> tuple[str, dict[str, Any]]:
    arguments = call.get("arguments", call.get("parameters")) if isinstance(call, dict) else None
    arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
    if not isinstance(arguments, dict) or not isinstance(call.get("name"), str):
        raise ValueError('a call is {"name": ..., "arguments": {...}}')
    return call["name"], arguments


def literal_calls(text: str, names: set[str]) -> list[dict[str, dict[str, Any]]]:
    """The calls in a list of calls with named, literal arguments.

    Raises:
        ValueError, SyntaxError: it is anything else, or a function is not among `names`.
    """
    body = ast.parse(text if text.startswith("[") else f"[{text}]", mode="eval").body
    if not isinstance(body, ast.List):
        raise ValueError("not a list of calls")
    return [_literal_call(node, names) for node in body.elts]


def _literal_call(node: ast.expr, names: set[str]) -> dict[str, dict[str, Any]]:
    if not isinstance(node, ast.Call) or node.args or any(k.arg is None for k in node.keywords):
        raise ValueError("not a call with named arguments")
    name = ast.unparse(node.func)
    if name not in names:
        raise ValueError(f"there is no function {name!r:.60}")
    return {name: {k.arg: ast.literal_eval(k.value) for k in node.keywords}}


def conversation(entry: Entry) -> str:
    """A question's messages as one text; nearly always it is one."""
    return "\n".join(message["content"].strip() for message in entry["question"][0])


def answer(mode: Mode, entry: Entry) -> Answer:
    """The answer to one question; what goes wrong with it is an answer, too, and stops nothing."""
    try:
        text = mode.ask(entry)
    except TooLong as error:
        return Answer(TOO_LONG, text=str(error))
    except InputError as error:
        return Answer(FAILED, text=str(error))
    if len(text) > MAX_TEXT:
        return Answer(UNREADABLE, text=f"more than {MAX_TEXT:,} characters, beginning with {text[:200]}")
    return mode.read(text, entry)
