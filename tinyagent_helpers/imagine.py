"""Results for plans that were never run, so that joins can be learned: what each tool would have said.

The wording is that of `mac.observations`, which the Macs use too.
"""

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from tinyagent_helpers.mac import observations as said
from tinyagent_helpers.plans import Plan, fill_in


def _address(rng: Random, name: str) -> str:
    user = re.sub(r"\W+", ".", name.casefold()).strip(".")
    return f"{user}@{rng.choice(('example.com', 'example.org', 'mail.example.net'))}"


def _number(rng: Random, *_: Any) -> str:
    return f"+1 {rng.randrange(201, 990)} 555 {rng.randrange(10000):04}"


def _path(rng: Random, name: str) -> str:
    folder = rng.choice(("Documents", "Downloads", "Desktop"))
    return f"/Users/me/{folder}/{name if '.' in name else name + '.pdf'}"


def _link(rng: Random, *_: Any) -> str:
    return f"https://zoom.example/j/{rng.randrange(10**10):010}"


IMAGINED: dict[str, Callable[..., str]] = {
    "get_phone_number": _number,
    "get_email_address": _address,
    "create_calendar_event": lambda rng, title, start, *_: said.event_created(title, start),
    "open_and_get_file_path": _path,
    "summarize_pdf": lambda rng, path: f"The document {path.rsplit('/', 1)[-1]} in three sentences.",
    "compose_new_email": lambda rng, recipients, cc, subject, *_: said.email_sent(recipients, subject),
    "reply_to_email": lambda rng, *_: said.reply_sent("sender@example.com"),
    "forward_email": lambda rng, recipients, *_: said.email_forwarded("the selected message", recipients),
    "maps_open_location": lambda rng, location: said.place_url(location),
    "maps_show_directions": lambda rng, *places: said.directions_url(*places),
    "create_note": lambda rng, name, *_: said.note_created(name),
    "open_note": lambda rng, name, *_: said.note_opened(name, "..."),
    "append_note_content": lambda rng, name, *_: said.note_extended(name),
    "create_reminder": lambda rng, name, due, *_: said.reminder_created(name, due),
    "send_sms": lambda rng, recipients, *_: said.sms_sent(recipients),
    "get_zoom_meeting_link": _link,
}


def observations(plan: Plan, rng: Random) -> list[str]:
    """An observation for each step of a plan for the Mac's tools, results of earlier steps passed on."""
    results: dict[int, str] = {}
    for step in plan.steps:
        arguments: Sequence[Any] = fill_in(step.arguments, {d: results[d] for d in step.depends_on})
        results[step.id] = IMAGINED[step.tool](rng, *arguments)
    return list(results.values())
