"""What every Mac agrees on: which values can be used, and which entry a name means.

Plain values and rows come in. Every function raises `ToolError` for what it refuses.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from tinyagent_helpers.mac import observations as said
from tinyagent_helpers.mac.protocol import ToolError
from tinyagent_helpers.mac.store import Row
from tinyagent_helpers.times import FORMAT

PHONE_NUMBER = re.compile(r"[0-9+(). /\-]+")
CALLED = {"phone": "phone number", "email": "e-mail address"}


# Values


def moment(text: str) -> datetime:
    """A date written as YYYY-MM-DD HH:MM:SS, and in no other way."""
    try:
        found = datetime.strptime(text, FORMAT)
        if found.strftime(FORMAT) == text:
            return found
        raise ValueError
    except ValueError:
        raise ToolError(f"{text!r} is not a date; write YYYY-MM-DD HH:MM:SS.") from None


def due(text: str) -> datetime | None:
    """A reminder's date, which may be left out."""
    return moment(text) if text else None


def event_times(title: str, start: str, end: str, invitees: Sequence[str]) -> tuple[datetime, datetime]:
    """An event's start and end, in this order, with invitees that can be invited."""
    first, last = moment(start), moment(end)
    if last <= first:
        raise ToolError(f"The event {title!r} would end at {end}, not after its start at {start}.")
    check_addresses(invitees)
    return first, last


def meeting_start(start: str, minutes: int, invitees: Sequence[str]) -> datetime:
    """A meeting's start, if it lasts at all and its invitees can be invited."""
    begins = moment(start)
    check_addresses(invitees)
    if minutes <= 0:
        raise ToolError(f"A meeting of {minutes} minutes cannot be made.")
    return begins


def check_addresses(addresses: Iterable[str]) -> None:
    """Refuse what is no e-mail address, such as a name."""
    for address in addresses:
        if "@" not in address or " " in address.strip():
            raise ToolError(f"{address!r} is not an e-mail address; look it up with get_email_address first.")


def check_email(recipients: Sequence[str], cc: Sequence[str]) -> None:
    """Refuse an e-mail to nobody, or to what is no address."""
    if not recipients:
        raise ToolError("An e-mail needs at least one recipient.")
    check_addresses([*recipients, *cc])


def check_numbers(recipients: Sequence[str]) -> None:
    """Refuse a text message to nobody, or to what is no phone number."""
    if not recipients:
        raise ToolError("A text message needs at least one recipient.")
    for number in recipients:
        if not PHONE_NUMBER.fullmatch(number) or sum(c.isdigit() for c in number) < 3:
            raise ToolError(f"{number!r} is not a phone number; look it up with get_phone_number first.")


def check_place(place: str) -> None:
    """Refuse a map of nowhere."""
    if not place.strip():
        raise ToolError("Maps needs to know which place.")


def note_title(name: str, content: str) -> str:
    """A note's name: the one given, or how it begins."""
    return name or content[:40] or "New note"


def forwarded(written: str, mail: Row) -> str:
    """A forwarded e-mail's body: what was written, then the original."""
    return f"{written}\n\n{mail['sender']} wrote:\n{mail['body']}".strip()


# Entries


def contact(name: str, contacts: Sequence[Row]) -> Row:
    """The contact with this name or first name, or who is this to the user: `relation` holds such words, one a line."""
    wanted = key(name).strip()
    exact = [c for c in contacts if wanted and wanted in (key(c["name"]), *key(c["relation"]).splitlines())]
    found = exact or [c for c in contacts if wanted in key(c["name"]).split()]
    if not found:
        near = similar(wanted, [c["name"] for c in contacts])
        raise ToolError(said.no_contact(name, near), _only(near))
    if len(found) > 1:
        raise ToolError(said.several_contacts(name, [c["name"] for c in found]))
    return found[0]


def contact_value(contact: Row, column: str) -> str:
    """A contact's "phone" or "email"."""
    if not contact[column]:
        raise ToolError(said.contact_lacks(contact["name"], CALLED[column]))
    return contact[column]


def note(name: str, folder: str, notes: Sequence[Row]) -> Row:
    """The note with this name, or with this in its name; `folder` narrows it down."""
    there = [n for n in notes if key(folder) in ("", key(n["folder"]))]
    found = [n for n in there if key(n["name"]) == key(name)]
    found = found or [n for n in there if name.strip() and key(name) in key(n["name"])]
    if not found:
        raise ToolError(said.no_note(name, folder, [n["name"] for n in there]))
    if len(found) > 1:
        raise ToolError(said.several_notes(name, folder, [f"{n['name']} ({n['folder']})" for n in found]))
    return found[0]


def file(name: str, paths: Sequence[Path], others: Sequence[str] = ()) -> Path:
    """The file with this name, with or without its ending, or with all these words in its name.

    `others` are more names to propose when there is none.
    """
    wanted = key(name).strip()
    exact = [p for p in paths if wanted in (key(p.name), key(p.stem))]
    words = wanted.replace("_", " ").replace("-", " ").split()
    found = exact or [p for p in paths if words and all(word in key(p.name) for word in words)]
    if not found:
        near = similar(wanted, [*(p.name for p in paths), *others])
        raise ToolError(said.no_file(name, near), _only(near))
    if len(found) > 1:
        raise ToolError(said.several_files(name, [p.name for p in found]))
    return found[0]


def file_inside(folder: Path, path: str) -> Path:
    """The file at this path, links followed, if it lies in the (resolved) folder."""
    try:
        found = (folder / path).resolve()
        inside = found.is_relative_to(folder) and found.is_file()
    except (OSError, ValueError, RuntimeError):  # RuntimeError: links that lead in a circle
        inside = False
    if not inside:
        raise ToolError(said.no_file_at(path))
    return found


def selected(mails: Sequence[Row]) -> Row:
    """The message that is selected in Mail."""
    if not mails:
        raise ToolError("No message is selected in Mail; select one and ask again.")
    return mails[0]


def similar(wanted: str, names: Sequence[str]) -> list[str]:
    """The names of which a word, or the whole, is spelt much like what was wanted."""
    words = {name: [key(name), *re.findall(r"\w+", key(name))] for name in names}
    return [name for name in names if difflib.get_close_matches(wanted, words[name], cutoff=0.7)]


def _only(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ""


def key(text: str) -> str:
    """The text as it is compared: in one Unicode form, without capitals."""
    return unicodedata.normalize("NFC", text).casefold()
