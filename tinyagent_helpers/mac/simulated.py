"""A Mac that fits in a folder: the sixteen tools on a SQLite file and a folder of real files, PDFs among them."""

import difflib
import hashlib
import re
import shutil
import sqlite3
import time
import tomllib
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import wraps
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from fpdf import FPDF

from tinyagent_helpers.artifacts import DATA, InputError, make_folder
from tinyagent_helpers.mac import observations as said
from tinyagent_helpers.mac.documents import extract_summary, pdf_text
from tinyagent_helpers.mac.protocol import ToolError
from tinyagent_helpers.mac.store import Row, Snapshot, Store
from tinyagent_helpers.times import FORMAT
from tinyagent_helpers.tools import Tool

CONTENTS = DATA / "mac" / "contents.toml"
DOCUMENTS = DATA / "mac" / "files"


class SimulatedMac:
    """Implements `protocol.Mac`. State lives in `folder` and survives; `reset` brings back what ships in data/mac."""

    def __init__(self, folder: Path, now: datetime | None = None, reset: bool = False):
        self.folder = make_folder(Path(folder)).resolve()
        self.files = self.folder / "Files"
        if reset or not (self.folder / "mac.db").exists():
            self.reset(now)
        try:
            self.store = Store(self.folder / "mac.db")
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"{self.folder / 'mac.db'} is damaged ({error}); delete it, or start again with --reset"
            ) from None

    def reset(self, now: datetime | None = None) -> None:
        """Forget everything and start again from data/mac, with the calendar laid out around `now` (default: the clock).

        The database takes its place last: after an interruption the next start begins again.
        """
        contents = tomllib.loads(CONTENTS.read_text(encoding="utf-8"))
        (self.folder / "mac.db").unlink(missing_ok=True)
        shutil.rmtree(self.files, ignore_errors=True)
        self.files.mkdir()
        for source in sorted(DOCUMENTS.iterdir()):
            _place_file(source, self.files)
        unfinished = self.folder / "mac.db.new"
        unfinished.unlink(missing_ok=True)
        store = Store(unfinished)
        midnight = (now or datetime.now()).replace(hour=0, minute=0, second=0, microsecond=0)
        for table, rows in contents.items():
            store.add(table, *(_on_date(row, midnight) for row in rows))
        unfinished.replace(self.folder / "mac.db")
        self.store = Store(self.folder / "mac.db")

    def snapshot(self) -> Snapshot:
        """All apps as they are now; compare two snapshots with `store.changes`."""
        return self.store.snapshot()

    def _repr_html_(self) -> str:
        """A table for each app that holds anything, for a notebook."""
        tables = [(name, rows) for name, rows in self.snapshot().items() if rows]
        return "".join(
            f"<h4>{escape(name.title())}</h4>{pd.DataFrame(rows).set_index('id').to_html()}" for name, rows in tables
        )

    # Contacts

    def get_phone_number(self, name: str) -> str:
        return self._contact(name, "phone", "phone number")

    def get_email_address(self, name: str) -> str:
        return self._contact(name, "email", "e-mail address")

    def _contact(self, name: str, column: str, called: str) -> str:
        contacts = self.store.rows("contacts")
        wanted = unicodedata.normalize("NFC", name).casefold().strip()
        exact = [c for c in contacts if wanted and wanted in (c["name"].casefold(), c["relation"].casefold())]
        found = exact or [c for c in contacts if wanted in c["name"].casefold().split()]
        if not found:
            near = _similar(wanted, [c["name"] for c in contacts])
            raise ToolError(said.no_contact(name, near))
        if len(found) > 1:
            raise ToolError(said.several_contacts(name, [c["name"] for c in found]))
        if not found[0][column]:
            raise ToolError(f"{found[0]['name']} has no {called} in Contacts.")
        return found[0][column]

    # Calendar and Zoom

    def create_calendar_event(
        self, title: str, start_date: str, end_date: str, location: str, invitees: list[str], notes: str, calendar: str
    ) -> str:
        start, end = _moment(start_date), _moment(end_date)
        if end <= start:
            raise ToolError(f"The event {title!r} would end at {end_date}, not after its start at {start_date}.")
        _check_addresses(invitees)
        clashes = [e["title"] for e in self.store.rows("events") if e["start"] < end_date and start_date < e["end"]]
        event = dict(title=title, start=start_date, end=end_date, location=location, invitees=invitees, notes=notes)
        self.store.add("events", event | {"calendar": calendar or "Home"})
        return said.event_created(title, start_date, clashes)

    def get_zoom_meeting_link(self, topic: str, start_time: str, duration: int, meeting_invitees: list[str]) -> str:
        _moment(start_time)
        _check_addresses(meeting_invitees)
        if duration <= 0:
            raise ToolError(f"A meeting of {duration} minutes cannot be made.")
        number = int(hashlib.sha256(f"{topic}|{start_time}|{duration}".encode()).hexdigest(), 16) % 10**10
        link = f"https://zoom.example/j/{number:010}"
        meeting = dict(topic=topic, start=start_time, minutes=duration, invitees=meeting_invitees, link=link)
        self.store.add("meetings", meeting)
        return link

    # Files

    def open_and_get_file_path(self, file_name: str) -> str:
        wanted = file_name.casefold().strip()
        files = sorted(p for p in self.files.rglob("*") if p.is_file() and p.resolve().is_relative_to(self.files))
        exact = [p for p in files if wanted in (p.name.casefold(), p.stem.casefold())]
        words = wanted.replace("_", " ").replace("-", " ").split()
        found = exact or [p for p in files if words and all(word in p.name.casefold() for word in words)]
        if not found:
            near = _similar(wanted, [p.name for p in files])
            raise ToolError(said.no_file(file_name, near))
        if len(found) > 1:
            raise ToolError(said.several_files(file_name, [p.name for p in found]))
        self.store.add("opened", {"app": "Files", "item": found[0].name})
        return str(found[0])

    def summarize_pdf(self, pdf_path: str) -> str:
        return extract_summary(pdf_text(self._file(pdf_path)))

    def _file(self, path: str) -> Path:
        """A file of this Mac; anything outside its folder is refused."""
        try:
            file = (self.files / path).resolve()
            inside = file.is_relative_to(self.files) and file.is_file()
        except (OSError, ValueError, RuntimeError):  # RuntimeError: links that lead in a circle
            inside = False
        if not inside:
            raise ToolError(f"There is no file at {path!r}; find it with open_and_get_file_path first.")
        return file

    # Mail

    def compose_new_email(
        self, recipients: list[str], cc: list[str], subject: str, context: str, attachments: list[str]
    ) -> str:
        self._send(recipients, cc, subject, context, attachments)
        return said.email_sent(recipients, subject)

    def reply_to_email(self, cc: list[str], context: str, attachments: list[str]) -> str:
        mail = self._selected_mail()
        self._send([mail["sender"]], cc, f"Re: {mail['subject']}", context, attachments)
        return said.reply_sent(mail["sender"])

    def forward_email(self, recipients: list[str], cc: list[str], context: str, attachments: list[str]) -> str:
        mail = self._selected_mail()
        body = f"{context}\n\n{mail['sender']} wrote:\n{mail['body']}".strip()
        self._send(recipients, cc, f"Fwd: {mail['subject']}", body, attachments)
        return said.email_forwarded(mail["subject"], recipients)

    def _selected_mail(self) -> Row:
        selected = [m for m in self.store.rows("mail") if m["selected"]]
        if not selected:
            raise ToolError("No message is selected in Mail; select one and ask again.")
        return selected[0]

    def _send(self, recipients: list[str], cc: list[str], subject: str, body: str, attachments: list[str]) -> None:
        if not recipients:
            raise ToolError("An e-mail needs at least one recipient.")
        _check_addresses([*recipients, *cc])
        names = [self._file(path).name for path in attachments]
        mail = dict(box="sent", sender="me@example.com", recipients=recipients, cc=cc, subject=subject, body=body)
        self.store.add("mail", mail | {"attachments": names, "selected": 0})

    # Maps

    def maps_open_location(self, location: str) -> str:
        return self._show_map(said.place_url(location), location)

    def maps_show_directions(self, start_location: str, end_location: str, transport: str) -> str:
        return self._show_map(said.directions_url(start_location, end_location, transport), end_location)

    def _show_map(self, url: str, place: str) -> str:
        if not place.strip():
            raise ToolError("Maps needs to know which place.")
        self.store.add("maps", {"url": url})
        return url

    # Notes

    def create_note(self, name: str, content: str, folder: str) -> str:
        name = name or content[:40] or "New note"
        self.store.add("notes", dict(name=name, folder=folder or "Notes", content=content))
        return said.note_created(name)

    def open_note(self, name: str, folder: str) -> str:
        note = self._note(name, folder)
        self.store.add("opened", {"app": "Notes", "item": note["name"]})
        return said.note_opened(note["name"], note["content"])

    def append_note_content(self, name: str, content: str, folder: str) -> str:
        note = self._note(name, folder)
        self.store.append_text("notes", note["id"], "content", content)
        return said.note_extended(note["name"])

    def _note(self, name: str, folder: str) -> Row:
        notes = [n for n in self.store.rows("notes") if folder.casefold() in ("", n["folder"].casefold())]
        found = [n for n in notes if n["name"].casefold() == name.casefold()]
        found = found or [n for n in notes if name.strip() and name.casefold() in n["name"].casefold()]
        place = f" in the folder {folder!r}" if folder else ""
        if not found:
            raise ToolError(
                f"There is no note {name!r}{place}. There are {_names([n['name'] for n in notes]) or 'none'}."
            )
        if len(found) > 1:
            places = _names([f"{n['name']} ({n['folder']})" for n in found])
            raise ToolError(f"{len(found)} notes match {name!r}{place}: {places}. Say which one.")
        return found[0]

    # Reminders and Messages

    def create_reminder(
        self, name: str, due_date: str, notes: str, list_name: str, priority: int, all_day: bool
    ) -> str:
        if due_date:
            _moment(due_date)
        reminder = dict(name=name, due=due_date, notes=notes, list=list_name or "Reminders", priority=priority)
        self.store.add("reminders", reminder | {"all_day": int(all_day)})
        return said.reminder_created(name, due_date)

    def send_sms(self, recipients: list[str], message: str) -> str:
        if not recipients:
            raise ToolError("A text message needs at least one recipient.")
        for number in recipients:
            if sum(c.isdigit() for c in number) < 3 or any(c.isalpha() for c in number):
                raise ToolError(f"{number!r} is not a phone number; look it up with get_phone_number first.")
        self.store.add("messages", dict(recipients=recipients, message=message))
        return said.sms_sent(recipients)


def with_latency(tools: Mapping[str, Tool], seconds: Mapping[str, float]) -> dict[str, Tool]:
    """The same tools, each as slow as a real app might be: `seconds` by tool name."""

    def slowed(function: Callable[..., Any], delay: float) -> Callable[..., Any]:
        @wraps(function)
        def slow(*args: Any, **kwargs: Any) -> Any:
            time.sleep(delay)
            return function(*args, **kwargs)

        return slow

    return {n: replace(t, function=slowed(t.function, seconds[n])) if n in seconds else t for n, t in tools.items()}


def _names(names: Sequence[str]) -> str:
    return ", ".join(names)


def _similar(wanted: str, names: Sequence[str]) -> list[str]:
    """The names of which a word, or the whole, is spelt much like what was wanted."""
    words = {name: [name.casefold(), *re.findall(r"\w+", name.casefold())] for name in names}
    return [name for name in names if difflib.get_close_matches(wanted, words[name], cutoff=0.7)]


def _moment(text: str) -> datetime:
    try:
        moment = datetime.strptime(text, FORMAT)
        if moment.strftime(FORMAT) == text:
            return moment
        raise ValueError
    except ValueError:
        raise ToolError(f"{text!r} is not a date; write YYYY-MM-DD HH:MM:SS.") from None


def _check_addresses(addresses: Sequence[str]) -> None:
    for address in addresses:
        if "@" not in address or " " in address.strip():
            raise ToolError(f"{address!r} is not an e-mail address; look it up with get_email_address first.")


def _on_date(row: Row, midnight: datetime) -> Row:
    """Turn an event's `in_days` and `at` into start and end dates around the day of the reset."""
    if "in_days" not in row:
        return row
    hour, minute = map(int, row["at"].split(":"))
    start = midnight + timedelta(days=row["in_days"], hours=hour, minutes=minute)
    end = start + timedelta(minutes=row["minutes"])
    return row | {"start": start.strftime(FORMAT), "end": end.strftime(FORMAT)}


def _place_file(source: Path, folder: Path) -> None:
    """Copy a file; a text whose name ends in .pdf.txt becomes the PDF it stands for."""
    if not source.name.endswith(".pdf.txt"):
        shutil.copy(source, folder / source.name)
        return
    pdf = FPDF()
    pdf.set_creation_date(datetime(2024, 1, 1))
    pdf.add_page()
    pdf.set_font("Helvetica", size=11)
    pdf.multi_cell(0, 6, source.read_text(encoding="utf-8"))
    pdf.output(str(folder / source.name.removesuffix(".txt")))
