"""What a tool says when it has done its work, or found nothing: one wording for both Macs and the training data."""

from collections.abc import Sequence
from urllib.parse import quote, urlencode


def event_created(title: str, start: str, clashes: Sequence[str] = ()) -> str:
    clash = f" It clashes with {_list(clashes)}." if clashes else ""
    return f"Created the event {title!r} on {start}.{clash}"


def email_sent(recipients: Sequence[str], subject: str) -> str:
    return f"Sent the e-mail {subject!r} to {', '.join(recipients)}."


def reply_sent(recipient: str) -> str:
    return f"Sent the reply to {recipient}."


def email_forwarded(subject: str, recipients: Sequence[str]) -> str:
    return f"Forwarded {subject!r} to {', '.join(recipients)}."


def note_created(name: str) -> str:
    return f"Created the note {name!r}."


def note_opened(name: str, content: str) -> str:
    return f"Opened the note {name!r}: {content}"


def note_extended(name: str) -> str:
    return f"Added the text to the note {name!r}."


def reminder_created(name: str, due: str) -> str:
    return f"Created the reminder {name!r}{f' for {due}' if due else ''}."


def sms_sent(recipients: Sequence[str]) -> str:
    return f"Sent the message to {', '.join(recipients)}."


def place_url(location: str) -> str:
    return f"https://maps.apple.com/?q={quote(location)}"


def directions_url(start: str, end: str, transport: str) -> str:
    places = {"saddr": start, "daddr": end} if start else {"daddr": end}
    return f"https://maps.apple.com/?{urlencode(places | {'dirflg': transport}, quote_via=quote)}"


def not_wanted(what: str) -> str:
    return f"Not done: {what[0].lower()}{what[1:]}, because the user did not say yes."


def no_contact(name: str, near: Sequence[str] = ()) -> str:
    return f"There is no contact {name!r}.{_similar_names(near)}"


def several_contacts(name: str, found: Sequence[str]) -> str:
    return f"{len(found)} contacts are called {name!r}: {', '.join(found)}. Say which one."


def no_file(name: str, near: Sequence[str] = ()) -> str:
    return f"There is no file {name!r}.{_similar_names(near)}"


def several_files(name: str, found: Sequence[str]) -> str:
    return f"{len(found)} files match {name!r}: {', '.join(found)}. Say which one."


def contact_lacks(name: str, what: str) -> str:
    return f"{name} has no {what} in Contacts."


def no_note(name: str, folder: str, there: Sequence[str]) -> str:
    return f"There is no note {name!r}{_in_folder(folder)}. There are {', '.join(there) or 'none'}."


def several_notes(name: str, folder: str, found: Sequence[str]) -> str:
    return f"{len(found)} notes match {name!r}{_in_folder(folder)}: {', '.join(found)}. Say which one."


def no_file_at(path: str) -> str:
    return f"There is no file at {path!r}; find it with open_and_get_file_path first."


def _in_folder(folder: str) -> str:
    return f" in the folder {folder!r}" if folder else ""


def _similar_names(near: Sequence[str]) -> str:
    return f" Similar names: {', '.join(near)}." if near else ""


def _list(names: Sequence[str]) -> str:
    return " and ".join(map(repr, names))
