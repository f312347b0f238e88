"""What a language model is told: one template for data, training, evaluation and serving, at every size.

The order is the published one (the TinyAgent repository): what a plan is, the tools, join, guidelines, rules that depend
on the date and on the tools present, examples, the request. A model is trained on one template; `PromptTemplate.hash`
travels with it.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from tinyagent_helpers.artifacts import InputError, digest_text
from tinyagent_helpers.profiles import Profile
from tinyagent_helpers.tools import Tool

SEPARATOR = "###"
WHAT_A_PLAN_IS = (
    "Write a plan for the request: a numbered list of calls, one a line, from these {count} actions.",
    "$1 stands for the result of step 1, also inside a longer text.",
)
JOIN = "join() - End the plan. It is always the last step, followed by <END_OF_PLAN>."
PURPOSE_AND_JOIN = "End the plan, always as the last step: join()"
LOOKUPS = ("get_phone_number", "get_email_address")
RULES: tuple[
    tuple[tuple[str, ...], str], ...
] = (  # (tools, rule): a rule is given if one of its tools is there, or if it names none
    ((), 'Arguments are Python literals by position; every argument is filled, unused ones with "" or [].'),
    ((), "Copy names, places and texts from the request as they are. Call nothing that the request does not need."),
    (("create_calendar_event", "create_reminder", "get_zoom_meeting_link"), "Write dates as YYYY-MM-DD HH:MM:SS."),
    (("create_calendar_event", "get_zoom_meeting_link"), "A meeting lasts 60 minutes unless the user says otherwise."),
    (LOOKUPS, "Look up e-mail addresses and phone numbers first, unless the user gave one."),
    (("send_sms",), "Several recipients of a text message go into one call."),
    (("open_and_get_file_path",), "summarize_pdf and attachments take the path that open_and_get_file_path returns."),
    (("get_zoom_meeting_link",), "A new Zoom link goes into the event's notes, the e-mail's context or the message."),
    (("append_note_content",), "open_note is not needed before append_note_content."),
    (
        ("maps_show_directions",),
        'maps_open_location is not needed before maps_show_directions; an empty start means "here".',
    ),
)
HOW_TO_JOIN = (
    "Read the results of the plan. Answer with a line Thought: and a line Action:, which is Finish(what to tell the user), "
    "Finish(Summary) to show a PDF's summary, or Replan if something failed and another plan could do it."
)


@dataclass(frozen=True)
class PromptTemplate:
    """How a request is put to a model.

    `parameters`: describe every parameter on a line of its own. `guidelines`: state the rules (a model that was trained on
    thousands of plans knows them; a general one must be told). `examples`: how many retrieved examples to show.
    `schema`: show each tool as a JSON schema instead of a signature. `padded`: in what the model reads and writes, a space
    follows every opening quotation mark. A tokenizer has one token for "Sid" behind a space and others for "Sid" behind a
    quotation mark; with the space a name looks the same in request and plan, and even a small model can copy it.
    `purpose_first`: one line a tool, what it does and then its signature. A model that reads from left to right knows at the
    name what the tool is for, and the names, which are what it has to find, are not numbered as the plan's steps are.
    """

    parameters: bool = True
    guidelines: bool = True
    examples: int = 0
    schema: bool = False
    padded: bool = False
    purpose_first: bool = False

    @property
    def hash(self) -> str:
        """Changes whenever this template would say anything else; compare it before using a trained model."""
        tools = {"f": Tool.from_signature("f", "Do it.", [])}
        example, earlier = [("a", "1. join()")], [("1. f()", ["b"])]
        plan = self.plan("?", datetime(2024, 1, 1), tools, example, earlier)
        texts = repr((self, WHAT_A_PLAN_IS, JOIN, RULES, HOW_TO_JOIN, plan, self.join("?", "1. f()", ["b"])))
        return digest_text(texts)

    def plan(
        self,
        request: str,
        now: datetime,
        tools: Mapping[str, Tool],
        examples: Sequence[tuple[str, str]] = (),
        earlier: Sequence[tuple[str, Sequence[str]]] = (),
    ) -> str:
        """The planner's prompt. `examples` are (request, plan text); `earlier` are (plan text, observations) to make up for."""
        described = [self._describe(tool) for tool in tools.values()]
        described.append(PURPOSE_AND_JOIN if self.purpose_first else JOIN)
        listed = bullets(described) if self.purpose_first else _numbered(described)
        parts = ["\n".join(WHAT_A_PLAN_IS).format(count=len(described)), listed]
        if self.guidelines:
            parts.append(bullets(rules(tools)))
        parts.append(f"Now it is {now:%A %Y-%m-%d %H:%M}. Next: {coming_days(now)}.")
        for asked, plan in examples[: self.examples]:
            parts.append(f"{SEPARATOR}\nQuestion: {asked}\nPlan:\n{self.write(plan)}")
        parts.append(f"{SEPARATOR}\nQuestion: {request}")
        parts += [
            f"Earlier plan, which failed:\n{results(self.write(plan), observations)}" for plan, observations in earlier
        ]
        return "\n".join([*parts, "Plan:\n"])

    def join(self, request: str, plan: str, observations: Sequence[str]) -> str:
        """The joiner's prompt."""
        return f"{HOW_TO_JOIN}\n{SEPARATOR}\nQuestion: {request}\n{results(self.write(plan), observations)}\n"

    def write(self, plan: str) -> str:
        """A plan's text as the model reads and writes it."""
        return "".join(_after_quotes([plan], lambda character: " " + character)) if self.padded else plan

    def read(self, pieces: Iterable[str]) -> Iterator[str]:
        """The plan's text of what the model writes, piece by piece: `write` undone."""
        return (
            _after_quotes(pieces, lambda character: "" if character == " " else character)
            if self.padded
            else iter(pieces)
        )

    def _describe(self, tool: Tool) -> str:
        if self.schema:
            return json.dumps(tool.to_openai()["function"], ensure_ascii=False)
        if self.purpose_first:
            return f"{tool.description.rstrip('.')}: {tool.signature}"
        text = tool.to_prompt()
        return text if self.parameters else text.splitlines()[0]


NANO_TEMPLATE = PromptTemplate(parameters=False, guidelines=False, padded=True, purpose_first=True)


def template_of(profile: Profile, examples: int | None = None) -> PromptTemplate:
    """The template that a profile's planner is trained on: a short one on nano, with three examples on the others.

    `examples` sets another number of examples; a model must be used with as many as it was trained with.
    """
    template = NANO_TEMPLATE if profile.name == "nano" else PromptTemplate(examples=3)
    return template if examples is None else replace(template, examples=examples)


def _after_quotes(pieces: Iterable[str], change: Callable[[str], str]) -> Iterator[str]:
    """Plan text with the first character behind every opening quotation mark changed."""
    inside = first = escaped = False
    for piece in pieces:
        made = []
        for character in piece:
            made.append(change(character) if first else character)
            first = character == '"' and not inside and not escaped
            if character == '"' and not escaped:
                inside = not inside
            escaped = character == "\\" and not escaped
        yield "".join(made)


class TooLong(InputError):
    """A prompt does not fit a model's context."""


def check_fits(prompt: str, count_tokens: Callable[[str], int], context: int, answer: int) -> str:
    """The prompt, if it and an answer of `answer` tokens fit a model's context; it is never cut.

    Raises:
        TooLong: it does not fit.
    """
    check_length(count_tokens(prompt), answer, context)
    return prompt


def check_length(tokens: int, answer: int, context: int) -> None:
    """See that a prompt of so many tokens and an answer fit a model's context.

    Raises:
        TooLong: they do not.
    """
    if tokens + answer > context:
        raise TooLong(
            f"the prompt has {tokens:,} tokens and the plan needs {answer}, but the model reads {context:,}: show fewer tools or examples, or shorten the request"
        )


def coming_days(now: datetime) -> str:
    """The seven days after today, so that "on Tuesday" can be looked up: Sun 11-22, Mon 11-23, ..."""
    return ", ".join(f"{now + timedelta(days=days):%a %m-%d}" for days in range(1, 8))


def rules(tools: Iterable[str]) -> list[str]:
    """The rules that apply when these tools are present."""
    present = set(tools)
    return [text for needed, text in RULES if not needed or present & set(needed)]


def results(plan: str, observations: Sequence[str]) -> str:
    """A plan's text with what each step returned on a line under it."""
    lines, remaining = [], iter(observations)
    for line in plan.splitlines():
        lines.append(line)
        if line[:1].isdigit() and ". join()" not in line:
            lines.append(f"Observation: {next(remaining, 'none')}")
    return "\n".join(lines)


def bullets(lines: Iterable[str]) -> str:
    """One line each, with a dash."""
    return "\n".join(f"- {line}" for line in lines)


def numbered(tools: Iterable[Tool]) -> str:
    """Tools with all they say of themselves, numbered."""
    return _numbered(tool.to_prompt() for tool in tools)


def _numbered(texts: Iterable[str]) -> str:
    return "\n".join(f"{i}. {text}" for i, text in enumerate(texts, 1))


class ExampleIndex:
    """Finds the training examples whose requests are most like a new one (TF-IDF over words, cosine)."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]):
        from sklearn.feature_extraction.text import TfidfVectorizer  # takes a second, which a cold `ask` does not have

        self._rows = rows
        self._vectorizer = TfidfVectorizer(sublinear_tf=True)
        self._vectors = self._vectorizer.fit_transform(row["request"] for row in rows)

    def nearest(self, request: str, count: int, tools: Collection[str] | None = None) -> list[tuple[str, str]]:
        """The `count` most similar (request, plan text) pairs, most similar first; never the request itself, nor one that is
        a part of it, nor, if `tools` are given, one that needs others."""
        similarity = (self._vectors @ self._vectorizer.transform([request]).T).toarray().ravel()
        order = (self._rows[i] for i in similarity.argsort()[::-1])
        fitting = (
            row
            for row in order
            if row["request"].rstrip(" .") not in request and (tools is None or set(row["tools"]) <= set(tools))
        )
        return [(row["request"], row["plan"]) for row in islice(fitting, count)]
