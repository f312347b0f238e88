"""Is a request with its plan fit to learn from? The checks every teacher's work must pass. Explained in notebook 02.

Each check is a function `(Example) -> reason or None`; the name under which a rejection is counted is the function's own,
without underscores.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import cached_property
from typing import Any

from tinyagent_helpers.artifacts import InputError
from tinyagent_helpers.mac.protocol import DATE, FREE_TEXT
from tinyagent_helpers.plans import REFERENCE, Plan, PlanError, Step, parse_plan
from tinyagent_helpers.times import FORMAT, WEEKDAYS
from tinyagent_helpers.tools import MAC_TOOLS, Parameter

MAX_REQUEST = 2_000  # characters; longer requests do not fit a small model's prompt
LOOKUP = {  # parameters that take addresses, numbers or paths, and the tool that finds them
    "recipients": "get_email_address",
    "cc": "get_email_address",
    "invitees": "get_email_address",
    "meeting_invitees": "get_email_address",
    "attachments": "open_and_get_file_path",
    "pdf_path": "open_and_get_file_path",
}
GROUNDED = {"name", "file_name", "location", "start_location", "end_location", "folder", "list_name", "calendar"}
ARTICLES = {"a", "an", "the", "my", "of", "to", "at", "in", "on"}
NEEDLESS = {"open_note": "append_note_content", "maps_open_location": "maps_show_directions"}


@dataclass(frozen=True)
class Example:
    """A request made at `now`, and its plan; `asked` are the tools the teacher was shown, if it was shown any."""

    request: str
    plan_text: str
    now: datetime
    asked: frozenset[str] | None = None

    @cached_property
    def plan(self) -> Plan:
        return parse_plan(self.plan_text)

    @cached_property
    def said(self) -> str:
        """The request in lower case."""
        return self.request.casefold()

    def arguments(self) -> Iterator[tuple[Step, Parameter, Any]]:
        """Every argument of the plan with its step and parameter."""
        for step in self.plan.steps:
            for parameter, value in zip(MAC_TOOLS[step.tool].parameters, step.arguments):
                yield step, parameter, value


def check_request(request: str) -> None:
    """See that a request says something and fits the planner's prompt.

    Raises:
        InputError: it does not.
    """
    if not request.strip():
        raise InputError("the request is empty; say what should be done")
    if len(request) > MAX_REQUEST:
        raise InputError(
            f"the request has {len(request):,} characters; at most {MAX_REQUEST:,} fit the planner's prompt"
        )
    if any("\ud800" <= character <= "\udfff" for character in request):
        raise InputError("the request is not valid Unicode (half a surrogate pair); save it as UTF-8 again")


def request_is_usable(example: Example) -> str | None:
    try:
        check_request(example.request)
    except InputError as error:
        return str(error)
    return None


def plan_is_feasible(example: Example) -> str | None:
    try:
        return None if example.plan.steps else "the plan has no step"
    except PlanError as error:
        return f"{error.kind}: {error}"


def tools_are_those_asked_for(example: Example) -> str | None:
    used = {step.tool for step in example.plan.steps}
    if example.asked is None or used == example.asked:
        return None
    return f"uses {sorted(used)}, asked for {sorted(example.asked)}"


def lookups_come_before_use(example: Example) -> str | None:
    tools = {step.id: step.tool for step in example.plan.steps}
    for step, parameter, value in example.arguments():
        if parameter.name in LOOKUP:
            if isinstance(value, str) != (parameter.type is str):
                return f"{step.tool}: {parameter.name} must be a list, not {value!r}"
            needed = "get_phone_number" if step.tool == "send_sms" else LOOKUP[parameter.name]
            for item in value if isinstance(value, list) else [value]:
                reference = REFERENCE.fullmatch(item)
                source = tools.get(int(reference.group(1) or reference.group(2))) if reference else None
                if source != needed and not _given_outright(item, needed, example.said):
                    return f"{step.tool}: {parameter.name} has {item!r}, which is not the result of {needed} and not in the request"
    return None


def dates_fit_the_moment(example: Example) -> str | None:
    for step, parameter, value in example.arguments():
        if parameter.note != DATE or (value == "" and step.tool == "create_reminder"):
            continue
        try:
            moment = datetime.strptime(value, FORMAT)
        except ValueError:
            return f"{step.tool}: {parameter.name} is {value!r}, not YYYY-MM-DD HH:MM:SS"
        if moment.strftime(FORMAT) != value:
            return f"{step.tool}: {parameter.name} is {value!r}, not YYYY-MM-DD HH:MM:SS"
        is_this_day = moment.date() == example.now.date() and moment.time() == time()  # all day today
        if moment < example.now.replace(second=0) and not is_this_day:
            return f"{step.tool}: {parameter.name} {value} lies before now, {example.now}"
        if parameter.name == "end_date" and value <= step.arguments[1]:
            return f"{step.tool}: it ends at {value}, not after its start"
        if parameter.name != "end_date" and (word := _contradicting_day(example, moment)):
            return f"{step.tool}: {value} is not {word!r} seen from {example.now}"
    return None


def names_stand_in_the_request(example: Example) -> str | None:
    words = set(_words(example.said))
    for step, parameter, value in example.arguments():
        if parameter.name in GROUNDED and parameter.note != FREE_TEXT and value and not REFERENCE.search(value):
            if value.casefold() not in example.said and not words & set(_words(value.casefold())) - ARTICLES:
                return f"{step.tool}: {parameter.name} {value!r} is not in the request"
    return None


def prices_are_not_references(example: Example) -> str | None:
    prices = {match.group() for match in REFERENCE.finditer(example.request)}
    for step, _, value in example.arguments():
        used = {f"${d}" for d in step.depends_on}
        if isinstance(value, str) and (mixed := prices & used & {m.group() for m in REFERENCE.finditer(value)}):
            return f"{step.tool}: {mixed.pop()} is a price in the request and would be read as a result"
    return None


def values_make_sense(example: Example) -> str | None:
    for step, parameter, value in example.arguments():
        if parameter.name == "recipients" and not value:
            return f"{step.tool} has no recipients"
        if parameter.name == "duration" and (not isinstance(value, int) or value <= 0):
            return f"{step.tool}: duration is {value!r}, not a number of minutes"
        if parameter.name == "priority" and value not in (0, 1, 5, 9):
            return f"{step.tool}: priority is {value!r}, not 0, 1, 5 or 9"
    return None


def no_step_is_needless(example: Example) -> str | None:
    steps = example.plan.steps
    for needless, by in NEEDLESS.items():
        targets = {s.arguments[0] if by != "maps_show_directions" else s.arguments[1] for s in steps if s.tool == by}
        if any(s.tool == needless and s.arguments[0] in targets for s in steps):
            return f"{needless} is not needed before {by}"
    if len({(s.tool, repr(s.arguments)) for s in steps}) < len(steps):
        return "the same call is made twice"
    return None


CHECKS: tuple[Callable[[Example], str | None], ...] = (
    request_is_usable,
    plan_is_feasible,
    tools_are_those_asked_for,
    lookups_come_before_use,
    dates_fit_the_moment,
    names_stand_in_the_request,
    prices_are_not_references,
    values_make_sense,
    no_step_is_needless,
)


def first_problem(example: Example) -> tuple[str, str] | None:
    """The name of the first check that fails and its reason, or None if all pass."""
    for check in CHECKS:
        if reason := check(example):
            return check.__name__.replace("_", " "), reason
    return None


def _given_outright(item: str, needed: str, said: str) -> bool:
    """Did the user give this address, number or path in the request?"""
    if needed == "get_phone_number":
        numbers = [re.sub(r"\D", "", run) for run in re.findall(r"\+?\d[\d ()/.-]*", said)]
        return re.sub(r"\D", "", item) in numbers
    if needed == "get_email_address":
        return "@" in item and _stands_alone(item, said)
    return ("/" in item or "." in item) and _stands_alone(item, said)


def _stands_alone(item: str, said: str) -> bool:
    """Is the item in the text, and not only as a part of something longer?"""
    return re.search(rf"(?<![\w.@]){re.escape(item.casefold())}(?!\w|@|\.\w)", said) is not None


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def _contradicting_day(example: Example, moment: datetime) -> str | None:
    """The request's only day word, if `moment` is on another day. Text that is merely passed on does not count."""
    said = example.said
    for _, parameter, value in example.arguments():
        if parameter.note == FREE_TEXT:
            for passed_on in REFERENCE.sub("\n", value).casefold().splitlines():
                said = said.replace(passed_on.strip() or " ", " ")
    today = example.now.date()
    meant = {"today": today, "tonight": today, "tomorrow": today + timedelta(days=1)}
    found = {word for word in [*meant, *(day.casefold() for day in WEEKDAYS)] if re.search(rf"\b{word}\b(?!')", said)}
    if re.search(r"\b(after tomorrow|from today|from tomorrow)\b", said) or len(found) != 1:
        return None
    word = found.pop()
    agrees = moment.date() == meant[word] if word in meant else WEEKDAYS[moment.weekday()].casefold() == word
    return None if agrees else word
