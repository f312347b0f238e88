"""What a model answers to one question: calls, none, or something that cannot be read. See notebook 08.

In plan mode a planner sees the functions as tools, in the prompts that it was trained on, and its plan is turned into calls.
In prompt mode a general model sees BFCL's own prompt and writes [f(a=1), g(b=2)].
"""

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tinyagent_helpers.artifacts import InputError
from tinyagent_helpers.bfcl.functions import calls_of, functions_of
from tinyagent_helpers.bfcl.official import Entry, official
from tinyagent_helpers.decoding import plan_grammar
from tinyagent_helpers.models import MAX_NEW_TOKENS, LanguageModel
from tinyagent_helpers.plans import END_OF_PLAN, PlanError, parse_plan
from tinyagent_helpers.prompts import PromptTemplate, check_fits
from tinyagent_helpers.tools import Tool

NOW = datetime(2024, 5, 24, 9)  # the prompt says a time; no question of BFCL's depends on it
MAX_TEXT = 100_000  # characters; a longer answer is none
CALLS, NONE, UNREADABLE, TOO_LONG, FAILED = "calls", "no call", "unreadable", "prompt too long", "error"


@dataclass(frozen=True)
class Answer:
    """`status` is one of the five above; `text` is what the model wrote, or why it was not asked."""

    status: str
    calls: Sequence[Mapping[str, Mapping[str, Any]]] = ()
    text: str = ""

    @property
    def result(self) -> Any:
        """The answer as a results file holds it: calls with their arguments as JSON, [] for none, else a text."""
        if self.status in (CALLS, NONE):
            return [{name: json.dumps(arguments) for name, arguments in call.items()} for call in self.calls]
        return f"{self.status}: {self.text}"


class PlanMode:
    """Asks a planner in its own language. `optional`: it sees the parameters that may be left out, too. `grammar`: it can write only
    what is a plan with these functions (through llama.cpp, and where every type has a rule; see `decoding`)."""

    name = "plan"

    def __init__(self, model: LanguageModel, template: PromptTemplate, optional: bool = False, grammar: bool = False):
        self.model, self.template, self.optional, self.grammar = model, template, optional, grammar

    def prompt(self, entry: Entry) -> str:
        """The planner's prompt.

        Raises:
            InputError: it does not fit the model.
        """
        tools = {name: f.tool for name, f in functions_of(entry, self.optional).items()}
        prompt = self.template.plan(conversation(entry), NOW, tools)
        return check_fits(prompt, self.model.count_tokens, self.model.context, MAX_NEW_TOKENS)

    def write(self, prompt: str, entry: Entry) -> str:
        """What the planner answers."""
        tools = [f.tool for f in functions_of(entry, self.optional).values()]
        return "".join(self.model.stream(prompt, **({"grammar": _rules(tools, self.template)} if self.grammar else {})))

    def read(self, text: str, entry: Entry) -> Answer:
        """The calls that a plan means."""
        functions = functions_of(entry, self.optional)
        text = "".join(self.template.read([text]))
        try:
            plan = parse_plan(text, {name: f.tool for name, f in functions.items()})
        except PlanError as error:
            return Answer(UNREADABLE, text=f"{error}\n{text}")
        return Answer(CALLS if plan.steps else NONE, calls_of(plan, functions), text)


def _rules(tools: Sequence[Tool], template: PromptTemplate) -> str:
    """The grammar of plans with these tools, "" if one of their types has no rule."""
    try:
        return plan_grammar(tools, template.padded)
    except InputError:
        return ""


class PromptMode:
    """Asks a general model in BFCL's own way. Its answer is read without evaluating anything: every argument is a literal."""

    name = "prompt"

    def __init__(self, model: LanguageModel):
        self.model = model

    def prompt(self, entry: Entry) -> str:
        """The official system prompt and the conversation, as one message.

        Raises:
            InputError: it does not fit the model.
        """
        messages = official().decoding.system_prompt_pre_processing_chat_model(
            [dict(message) for message in entry["question"][0]], entry["function"], entry["id"]
        )
        prompt = "\n\n".join(message["content"] for message in messages)
        return check_fits(prompt, self.model.count_tokens, self.model.context, MAX_NEW_TOKENS)

    def write(self, prompt: str, entry: Entry) -> str:
        """What the model answers."""
        return "".join(self.model.stream(prompt))

    def read(self, text: str, entry: Entry) -> Answer:
        """The calls in [f(a=1), g(b=2)]."""
        text = text.removesuffix(END_OF_PLAN).strip("`\n ")
        try:
            calls = literal_calls(text, {function["name"] for function in entry["function"]})
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
            return Answer(UNREADABLE, text=f"{error}\n{text}")
        return Answer(CALLS if calls else NONE, calls, text)


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


Mode = PlanMode | PromptMode


def answer(mode: Mode, entry: Entry) -> Answer:
    """The answer to one question; what goes wrong with it is an answer, too, and stops nothing."""
    try:
        prompt = mode.prompt(entry)
    except InputError as error:
        return Answer(TOO_LONG, text=str(error))
    try:
        text = mode.write(prompt, entry)
    except InputError as error:
        return Answer(FAILED, text=str(error))
    if len(text) > MAX_TEXT:
        return Answer(UNREADABLE, text=f"{len(text):,} characters, beginning with {text[:200]}")
    return mode.read(text, entry)
