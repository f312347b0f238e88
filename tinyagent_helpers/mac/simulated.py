"""A Mac that fits in a folder: the sixteen tools on a SQLite file and a folder of real files, PDFs among them."""

import hashlib
import shutil
import sqlite3
import time
import tomllib
from collections.abc import Callable, Mapping
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
from tinyagent_helpers.mac import rules
from tinyagent_helpers.mac.store import Row, Snapshot, Store
from tinyagent_helpers.subagents import OfflineWriter, Writer, read_and_summarize
from tinyagent_helpers.times import FORMAT
from tinyagent_helpers.tools import Tool

CONTENTS = DATA / "mac" / "contents.toml"
DOCUMENTS = DATA / "mac" / "files"


class SimulatedMac:
    """Implements `protocol.Mac`. State lives in `folder` and survives; `reset` brings back what ships in data/mac.

    `writer` words e-mails, notes and summaries; the default needs no language model.
    """

    def __init__(self, folder: Path, now: datetime | None = None, reset: bool = False, writer: Writer | None = None):
        self.writer = writer or OfflineWriter()
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
        return rules.contact_value(rules.contact(name, self.store.rows("contacts")), "phone")

    def get_email_address(self, name: str) -> str:
        return rules.contact_value(rules.contact(name, self.store.rows("contacts")), "email")

    # Calendar and Zoom

    def create_calendar_event(
        self, title: str, start_date: str, end_date: str, location: str, invitees: list[str], notes: str, calendar: str
    ) -> str:
        rules.event_times(title, start_date, end_date, invitees)
        clashes = [e["title"] for e in self.store.rows("events") if e["start"] < end_date and start_date < e["end"]]
        event = dict(title=title, start=start_date, end=end_date, location=location, invitees=invitees, notes=notes)
        self.store.add("events", event | {"calendar": calendar or "Home"})
        return said.event_created(title, start_date, clashes)

    def get_zoom_meeting_link(self, topic: str, start_time: str, duration: int, meeting_invitees: list[str]) -> str:
        rules.meeting_start(start_time, duration, meeting_invitees)
        number = int(hashlib.sha256(f"{topic}|{start_time}|{duration}".encode()).hexdigest(), 16) % 10**10
        link = f"https://zoom.example/j/{number:010}"
        meeting = dict(topic=topic, start=start_time, minutes=duration, invitees=meeting_invitees, link=link)
        self.store.add("meetings", meeting)
        return link

    # Files

    def open_and_get_file_path(self, file_name: str) -> str:
        files = sorted(p for p in self.files.rglob("*") if p.is_file() and p.resolve().is_relative_to(self.files))
        found = rules.file(file_name, files)
        self.store.add("opened", {"app": "Files", "item": found.name})
        return str(found)

    def summarize_pdf(self, pdf_path: str) -> str:
        return read_and_summarize(rules.file_inside(self.files, pdf_path), self.writer)

    # Mail

    def compose_new_email(
        self, recipients: list[str], cc: list[str], subject: str, context: str, attachments: list[str]
    ) -> str:
        names = self._check_email(recipients, cc, attachments)
        self._send(recipients, cc, subject, self.writer.email("new", context, subject, ""), names)
        return said.email_sent(recipients, subject)

    def reply_to_email(self, cc: list[str], context: str, attachments: list[str]) -> str:
        mail = self._selected_mail()
        names = self._check_email([mail["sender"]], cc, attachments)
        body = self.writer.email("reply", context, mail["subject"], mail["body"])
        self._send([mail["sender"]], cc, f"Re: {mail['subject']}", body, names)
        return said.reply_sent(mail["sender"])

    def forward_email(self, recipients: list[str], cc: list[str], context: str, attachments: list[str]) -> str:
        mail = self._selected_mail()
        names = self._check_email(recipients, cc, attachments)
        written = self.writer.email("forward", context, mail["subject"], mail["body"])
        self._send(recipients, cc, f"Fwd: {mail['subject']}", rules.forwarded(written, mail), names)
        return said.email_forwarded(mail["subject"], recipients)

    def _selected_mail(self) -> Row:
        return rules.selected([m for m in self.store.rows("mail") if m["selected"]])

    def _check_email(self, recipients: list[str], cc: list[str], attachments: list[str]) -> list[str]:
        """The attachments' names, if all can be sent."""
        rules.check_email(recipients, cc)
        return [rules.file_inside(self.files, path).name for path in attachments]

    def _send(self, recipients: list[str], cc: list[str], subject: str, body: str, attachments: list[str]) -> None:
        mail = dict(box="sent", sender="me@example.com", recipients=recipients, cc=cc, subject=subject, body=body)
        self.store.add("mail", mail | {"attachments": attachments, "selected": 0})

    # Maps

    def maps_open_location(self, location: str) -> str:
        return self._show_map(said.place_url(location), location)

    def maps_show_directions(self, start_location: str, end_location: str, transport: str) -> str:
        return self._show_map(said.directions_url(start_location, end_location, transport), end_location)

    def _show_map(self, url: str, place: str) -> str:
        rules.check_place(place)
        self.store.add("maps", {"url": url})
        return url

    # Notes

    def create_note(self, name: str, content: str, folder: str) -> str:
        name = rules.note_title(name, content)
        written = self.writer.note("new", name, content, "")
        self.store.add("notes", dict(name=name, folder=folder or "Notes", content=written))
        return said.note_created(name)

    def open_note(self, name: str, folder: str) -> str:
        note = rules.note(name, folder, self.store.rows("notes"))
        self.store.add("opened", {"app": "Notes", "item": note["name"]})
        return said.note_opened(note["name"], note["content"])

    def append_note_content(self, name: str, content: str, folder: str) -> str:
        note = rules.note(name, folder, self.store.rows("notes"))
        written = self.writer.note("append", note["name"], content, note["content"])
        self.store.append_text("notes", note["id"], "content", written)
        return said.note_extended(note["name"])

    # Reminders and Messages

    def create_reminder(
        self, name: str, due_date: str, notes: str, list_name: str, priority: int, all_day: bool
    ) -> str:
        rules.due(due_date)
        reminder = dict(name=name, due=due_date, notes=notes, list=list_name or "Reminders", priority=priority)
        self.store.add("reminders", reminder | {"all_day": int(all_day)})
        return said.reminder_created(name, due_date)

    def send_sms(self, recipients: list[str], message: str) -> str:
        rules.check_numbers(recipients)
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
