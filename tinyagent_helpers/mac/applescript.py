"""The Mac you sit at: the sixteen tools through AppleScript and macOS' own commands.

A script that reads gives back records; `rules` chooses among them, as it does for the simulated Mac; a second script
acts on what was chosen. The scripts lie in `scripts/`, one file each, and say at their top what they take and give.
"""

import os
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from tinyagent_helpers.consent import Question, preview, refuse
from tinyagent_helpers.mac import observations as said
from tinyagent_helpers.mac import rules
from tinyagent_helpers.mac.osascript import APPS, OSASCRIPT, counted, numbers, records, run_command, run_script
from tinyagent_helpers.mac.protocol import ToolError
from tinyagent_helpers.mac.store import Row
from tinyagent_helpers.mac.zoom import ZOOM, create_meeting
from tinyagent_helpers.subagents import OfflineWriter, Writer, read_and_summarize

# Only these are opened: anything else may run, or make another program run something, and is shown in the Finder.
DOCUMENTS = frozenset(
    ".pdf .txt .md .rtf .csv .tsv .doc .docx .pages .odt .xls .xlsx .numbers .ods .ppt .pptx .key .odp "
    ".png .jpg .jpeg .gif .heic .tif .tiff .webp .mp3 .m4a .wav .aiff .mp4 .m4v .mov .epub".split()
)
EVERYDAY = {
    "mother": ("mom", "mum", "mama"),
    "father": ("dad", "papa"),
    "grandmother": ("grandma", "granny"),
    "grandfather": ("grandpa", "granddad"),
    "manager": ("boss",),
    "spouse": ("wife", "husband", "partner"),
}
DELETED = "Recently Deleted"
MOST_FILES = 5_000  # that are looked at, however many Spotlight finds


class RealMac:
    """Implements `protocol.Mac` on macOS.

    `osascript`, `opener` and `finder` are the commands to run, `seconds` what each may take. PDFs, attachments and
    files to open are looked for in `home` only. Zoom's token is the environment variable ZOOM_TOKEN. Every tool raises
    `ToolError` for what cannot be done (`rules`), and for what an app or macOS complains of (`osascript.explained`).
    """

    def __init__(
        self,
        osascript: Sequence[str] = OSASCRIPT,
        writer: Writer | None = None,
        confirm: Question = refuse,
        seconds: float = 20.0,
        home: Path | None = None,
        opener: Sequence[str] = ("/usr/bin/open",),
        finder: Sequence[str] = ("/usr/bin/mdfind",),
        zoom: str = ZOOM,
    ):
        self.osascript, self.opener, self.finder = osascript, opener, finder
        self.writer, self.confirm = writer or OfflineWriter(), confirm
        self.seconds, self.zoom = seconds, zoom
        self.home = (home or Path.home()).resolve()

    def _ask(self, what: str, **values: Any) -> None:
        """Show what is about to be done.

        Raises:
            ToolError: it may not be done.
        """
        if not self.confirm(preview(what, values)):
            raise ToolError(said.not_wanted(what))

    def _run(self, script: str, *values: str) -> str:
        return run_script(script, values, self.osascript, self.seconds)

    def _read(self, script: str, *values: str, fields: int) -> list[list[str]]:
        return records(self._run(script, *values), APPS[script.split("_")[0]], fields)

    def _read_one(self, script: str, *values: str, fields: int) -> list[str]:
        found = self._read(script, *values, fields=fields)
        if len(found) != 1:
            raise ToolError(f"{APPS[script.split('_')[0]]} gave {len(found)} answers instead of one.")
        return found[0]

    # Contacts

    def get_phone_number(self, name: str) -> str:
        return rules.contact_value(self._contact(name), "phone")

    def get_email_address(self, name: str) -> str:
        return rules.contact_value(self._contact(name), "email")

    def _contact(self, name: str) -> Row:
        chosen = rules.contact(name, _people(self._read("contacts_list", fields=5)))
        phone, email, *_ = self._read_one("contacts_read", chosen["id"], fields=2)
        return chosen | {"phone": phone, "email": email}

    # Calendar and Zoom

    def create_calendar_event(
        self, title: str, start_date: str, end_date: str, location: str, invitees: list[str], notes: str, calendar: str
    ) -> str:
        start, end = rules.event_times(title, start_date, end_date, invitees)
        times = [*numbers(start), *numbers(end)]
        clashes = [record[0] for record in self._read("calendar_clashes", *times, fields=1)]
        self._ask(
            "Create a calendar event", title=title, start=start_date, end=end_date, location=location, invitees=invitees,
            notes=notes, calendar=calendar, clashes=clashes,
        )  # fmt: skip
        self._run("calendar_add", title, location, notes, calendar, *times, *counted(invitees))
        return said.event_created(title, start_date, clashes)

    def get_zoom_meeting_link(self, topic: str, start_time: str, duration: int, meeting_invitees: list[str]) -> str:
        start, token = rules.meeting_start(start_time, duration, meeting_invitees), os.environ.get("ZOOM_TOKEN", "")
        self._ask("Create a Zoom meeting", topic=topic, start=start_time, minutes=duration, invitees=meeting_invitees)
        return create_meeting(topic, start, duration, meeting_invitees, token, self.zoom)

    # Files

    def open_and_get_file_path(self, file_name: str) -> str:
        longest = max(re.findall(r"[^\W_]+", rules.key(file_name)), key=len, default="")
        found = self._search(longest)
        others = [] if found else [p.name for p in self._search(longest[:2])]
        path = rules.file(file_name, found, others).resolve()
        show = [] if opens_safely(path) else ["-R"]
        self._ask("Show a file in the Finder" if show else "Open a file", path=str(path))
        run_command([*self.opener, *show, str(path)], "Files", self.seconds)
        return str(path)

    def summarize_pdf(self, pdf_path: str) -> str:
        return read_and_summarize(self._file(pdf_path), self.writer)

    def _search(self, word: str) -> list[Path]:
        """The user's files and applications with this in their name, as Spotlight knows them."""
        if not word:
            return []
        answer = run_command([*self.finder, "-0", "-onlyin", str(self.home), "-name", word], "Spotlight", self.seconds)
        paths = [Path(path) for path in answer.split("\0")[:MOST_FILES] if path]
        return sorted(p for p in paths if self._is_own(p) and (p.is_file() or p.suffix))

    def _file(self, path: str) -> Path:
        file = rules.file_inside(self.home, path)
        if not self._is_own(file):
            raise ToolError(said.no_file_at(path))
        return file

    def _is_own(self, path: Path) -> bool:
        """True if it lies, links followed, in the home folder, neither hidden nor in ~/Library."""
        try:
            resolved = path.resolve(strict=True)
            parts = resolved.relative_to(self.home).parts
        except (OSError, ValueError, RuntimeError):  # RuntimeError: links that lead in a circle
            return False
        return bool(parts) and parts[0].casefold() != "library" and not any(part.startswith(".") for part in parts)

    # Mail

    def compose_new_email(
        self, recipients: list[str], cc: list[str], subject: str, context: str, attachments: list[str]
    ) -> str:
        files = self._check_email(recipients, cc, attachments)
        body = self.writer.email("new", context, subject, "")
        self._ask("Send an e-mail", to=recipients, cc=cc, subject=subject, attachments=files, text=body)
        self._run("mail_send", "new", "", subject, body, *counted(recipients), *counted(cc), *counted(files))
        return said.email_sent(recipients, subject)

    def reply_to_email(self, cc: list[str], context: str, attachments: list[str]) -> str:
        mail = self._selected_mail()
        files = self._check_email([mail["answer_to"]], cc, attachments)
        body = self.writer.email("reply", context, mail["subject"], mail["body"])
        self._ask(
            "Reply to an e-mail", to=[mail["answer_to"]], cc=cc, subject=mail["subject"], attachments=files, text=body
        )
        self._run("mail_send", "reply", mail["id"], "", body, *counted([]), *counted(cc), *counted(files))
        return said.reply_sent(mail["answer_to"])

    def forward_email(self, recipients: list[str], cc: list[str], context: str, attachments: list[str]) -> str:
        mail = self._selected_mail()
        files = self._check_email(recipients, cc, attachments)
        body = rules.forwarded(self.writer.email("forward", context, mail["subject"], mail["body"]), mail)
        self._ask("Forward an e-mail", to=recipients, cc=cc, subject=mail["subject"], attachments=files, text=body)
        self._run("mail_send", "forward", mail["id"], "", body, *counted(recipients), *counted(cc), *counted(files))
        return said.email_forwarded(mail["subject"], recipients)

    def _selected_mail(self) -> Row:
        columns = ("id", "sender", "subject", "body", "answer_to")
        found = self._read("mail_selected", fields=len(columns))
        return rules.selected([dict(zip(columns, record)) for record in found])

    def _check_email(self, recipients: list[str], cc: list[str], attachments: list[str]) -> list[str]:
        """The attachments' full paths, if all can be sent."""
        rules.check_email(recipients, cc)
        return [str(self._file(path)) for path in attachments]

    # Maps

    def maps_open_location(self, location: str) -> str:
        return self._show_map(said.place_url(location), location)

    def maps_show_directions(self, start_location: str, end_location: str, transport: str) -> str:
        return self._show_map(said.directions_url(start_location, end_location, transport), end_location)

    def _show_map(self, url: str, place: str) -> str:
        rules.check_place(place)
        self._ask("Open Maps", url=url)
        run_command([*self.opener, url], "Maps", self.seconds)
        return url

    # Notes

    def create_note(self, name: str, content: str, folder: str) -> str:
        name = rules.note_title(name, content)
        text = self.writer.note("new", name, content, "")
        self._ask("Create a note", name=name, folder=folder, text=text)
        self._run("notes_add", folder, f"<div><h1>{_html(name)}</h1></div>{_paragraph(text)}")
        return said.note_created(name)

    def open_note(self, name: str, folder: str) -> str:
        note = self._note(name, folder)
        self._ask("Open a note", name=note["name"], folder=note["folder"])
        self._run("notes_show", note["id"])
        return said.note_opened(note["name"], note["content"])

    def append_note_content(self, name: str, content: str, folder: str) -> str:
        note = self._note(name, folder)
        if note["attachments"] != "0":
            raise ToolError(f"The note {note['name']!r} holds attachments that Notes would lose; add the text by hand.")
        text = self.writer.note("append", note["name"], content, note["content"])
        self._ask("Add to a note", name=note["name"], folder=note["folder"], text=text)
        self._run("notes_append", note["id"], _paragraph(text))
        return said.note_extended(note["name"])

    def _note(self, name: str, folder: str) -> Row:
        found = self._read("notes_list", fields=3)
        folders = {id: folder for kind, folder, *ids in found if kind == "folder" for id in ids}
        notes = [dict(id=id, name=name, folder=folders.get(id, "")) for kind, id, name, *_ in found if kind == "note"]
        chosen = rules.note(name, folder, [note for note in notes if note["folder"] != DELETED])
        text, attachments, *_ = self._read_one("notes_read", chosen["id"], fields=2)
        return chosen | {"content": text.removeprefix(chosen["name"]).lstrip("\n"), "attachments": attachments}

    # Reminders and Messages

    def create_reminder(
        self, name: str, due_date: str, notes: str, list_name: str, priority: int, all_day: bool
    ) -> str:
        due = rules.due(due_date)
        when = ["day" if all_day else "time", *numbers(due)] if due else [""]
        self._ask(
            "Create a reminder",
            name=name,
            due=due_date,
            notes=notes,
            list=list_name,
            priority=priority,
            all_day=all_day,
        )
        self._run("reminders_add", name, notes, list_name, str(priority), *when)
        return said.reminder_created(name, due_date)

    def send_sms(self, recipients: list[str], message: str) -> str:
        rules.check_numbers(recipients)
        self._ask("Send a text message", to=recipients, text=message)
        self._run("messages_send", message, *counted(recipients))
        return said.sms_sent(recipients)


def opens_safely(path: Path) -> bool:
    """True for an ordinary document: by its ending, readable, without permission to run, no alias of another file."""
    if path.suffix.casefold() not in DOCUMENTS:
        return False
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:  # not readable, or a folder that looks like a document
        return False
    is_alias = head[:4] == b"book" and head[8:] == b"mark"
    return not is_alias and not os.access(path, os.X_OK)


def _people(found: Sequence[list[str]]) -> list[Row]:
    """The contacts, with what the user may call them.

    Those are a nickname, and the relation for which the user's own card names them, in Contacts' word ("mother") and in
    everyday ones ("mom"). Job titles count too. What the own card says comes first: where it names somebody as "boss",
    neither a manager nor a job title is meant by that.
    """
    relations = [(_relation(label), rules.key(name)) for kind, label, name, *_ in found if kind == "relation"]
    own = {word for word, _ in relations}
    relations += [(other, name) for word, name in relations for other in EVERYDAY.get(word, ()) if other not in own]
    taken = {word for word, _ in relations}
    people = []
    for kind, id, name, nickname, title, *_ in found:
        if kind == "person":
            words = [word for word, whose in relations if whose == rules.key(name)]
            words += [nickname, "" if rules.key(title) in taken else title]
            people.append({"id": id, "name": name, "relation": "\n".join(filter(None, words))})
    return people


def _relation(label: str) -> str:
    """The word in a label: Contacts keeps its own ones as _$!<Mother>!$_."""
    return rules.key(label.removeprefix("_$!<").removesuffix(">!$_"))


def _html(text: str) -> str:
    return escape(text).replace("\n", "<br>")


def _paragraph(text: str) -> str:
    return f"<div>{_html(text)}</div>" if text else ""
