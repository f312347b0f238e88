"""Stands in for osascript, open and mdfind: writes every call down, and does to a simulated Mac what the apps would do.

Run as `python osascript.py LOG DATABASE osascript|open|mdfind ARGUMENTS...`. It follows what
each script says at its top, not the module that calls it.
"""

import html
import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from tinyagent_helpers.mac.store import Row, Store  # noqa: E402

RECORD, FIELD = "\x1e", "\x1f"
NOT_FOUND = -1728


class AppError(Exception):
    """What an app complains of, and its number."""


def joined(rows: list[list[object]]) -> str:
    return RECORD.join(FIELD.join(re.sub("[\x1e\x1f]", " ", str(value)) for value in row) for row in rows)


def counted(argv: list[str], position: int) -> tuple[list[str], int]:
    """The list at this position, and where the next begins."""
    end = position + 1 + int(argv[position])
    return argv[position + 1 : end], end


def date(numbers: list[str]) -> str:
    year, month, day, *time = map(int, numbers)
    return f"{year:04}-{month:02}-{day:02} {time[0]:02}:{time[1]:02}:{time[2]:02}"


def text_of(body: str) -> str:
    return html.unescape(body.replace("<br>", "\n"))


def by_id(store: Store, table: str, id: str) -> Row:
    for row in store.rows(table):
        if str(row["id"]) == id:
            return row
    raise AppError(f'Can’t get {table} id "{id}".', NOT_FOUND)


def contacts_list(store: Store, argv: list[str]) -> str:
    rows = store.rows("contacts")
    people = [["person", c["id"], c["name"], "", ""] for c in rows]
    return joined(people + [["relation", c["relation"], c["name"], "", ""] for c in rows if c["relation"]])


def contacts_read(store: Store, argv: list[str]) -> str:
    person = by_id(store, "contacts", argv[0])
    return joined([[person["phone"], person["email"]]])


def calendar_clashes(store: Store, argv: list[str]) -> str:
    start, end = date(argv[:6]), date(argv[6:12])
    return joined([[e["title"]] for e in store.rows("events") if e["start"] < end and e["end"] > start])


def calendar_add(store: Store, argv: list[str]) -> str:
    title, location, notes, calendar = argv[:4]
    if calendar and calendar not in {e["calendar"] for e in store.rows("events")}:
        raise AppError("Can’t get calendar 1 whose name = " + calendar, NOT_FOUND)
    event = dict(title=title, start=date(argv[4:10]), end=date(argv[10:16]), location=location, notes=notes)
    store.add("events", event | {"invitees": counted(argv, 16)[0], "calendar": calendar or "Home"})
    return ""


def mail_selected(store: Store, argv: list[str]) -> str:
    chosen = [m for m in store.rows("mail") if m["selected"]]
    return joined([[m["id"], m["sender"], m["subject"], m["body"], m["sender"]] for m in chosen])


def mail_send(store: Store, argv: list[str]) -> str:
    kind, id, subject, body = argv[:4]
    recipients, position = counted(argv, 4)
    cc, position = counted(argv, position)
    files, position = counted(argv, position)
    assert position == len(argv)
    if kind != "new":
        original = by_id(store, "mail", id)
        subject = f"{'Re' if kind == 'reply' else 'Fwd'}: {original['subject']}"
        recipients = recipients + [original["sender"]] * (kind == "reply")
    mail = dict(box="sent", sender="me@example.com", recipients=recipients, cc=cc, subject=subject, body=body)
    store.add("mail", mail | {"attachments": [Path(file).name for file in files], "selected": 0})
    return ""


def notes_list(store: Store, argv: list[str]) -> str:
    rows = store.rows("notes")
    folders = {row["folder"]: [n["id"] for n in rows if n["folder"] == row["folder"]] for row in rows}
    return joined(
        [["note", n["id"], n["name"]] for n in rows] + [["folder", name, "", *ids] for name, ids in folders.items()]
    )


def notes_read(store: Store, argv: list[str]) -> str:
    note = by_id(store, "notes", argv[0])
    return joined([[f"{note['name']}\r{note['content']}", 0]])


def notes_add(store: Store, argv: list[str]) -> str:
    folder, body = argv
    name, text = re.fullmatch(r"<div><h1>(.*?)</h1></div>(?:<div>(.*)</div>)?", body, re.DOTALL).groups()
    store.add("notes", dict(name=text_of(name), folder=folder or "Notes", content=text_of(text or "")))
    return ""


def notes_append(store: Store, argv: list[str]) -> str:
    text = re.fullmatch(r"(?:<div>(.*)</div>)?", argv[1], re.DOTALL)[1] or ""
    store.append_text("notes", int(argv[0]), "content", text_of(text))
    return ""


def notes_show(store: Store, argv: list[str]) -> str:
    store.add("opened", {"app": "Notes", "item": by_id(store, "notes", argv[0])["name"]})
    return ""


def reminders_add(store: Store, argv: list[str]) -> str:
    name, notes, where, priority, kind, *numbers = argv
    reminder = dict(name=name, due=date(numbers) if kind else "", notes=notes, list=where or "Reminders")
    store.add("reminders", reminder | {"priority": int(priority), "all_day": int(kind == "day")})
    return ""


def messages_send(store: Store, argv: list[str]) -> str:
    store.add("messages", dict(recipients=counted(argv, 1)[0], message=argv[0]))
    return ""


def open(store: Store, argv: list[str]) -> str:
    target = argv[-1]
    if target.startswith("https:"):
        store.add("maps", {"url": target})
    else:
        store.add("opened", {"app": "Files", "item": Path(target).name})
    return ""


def mdfind(store: Store, argv: list[str]) -> str:
    zero, only, folder, name, word = argv
    assert (zero, only, name) == ("-0", "-onlyin", "-name")
    paths = sorted(p for p in Path(folder).rglob("*") if word.casefold() in p.name.casefold())
    return "".join(f"{path}\0" for path in paths)


def main(log: str, database: str, program: str, *argv: str) -> int:
    name = program
    if program == "osascript":
        end_of_options, path, *argv = argv
        assert end_of_options == "--" and Path(path).is_file()
        name = Path(path).stem
    with Path(log).open("a", encoding="utf-8") as file:
        file.write(json.dumps([name, *argv]) + "\n")
    try:
        answer = globals()[name](Store(Path(database)), list(argv))
    except AppError as error:
        words, number = error.args
        print(f"{name}.applescript:10:20: execution error: An app got an error: {words} ({number})", file=sys.stderr)
        return 1
    sys.stdout.buffer.write(answer.encode() + b"\n" * (program == "osascript"))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
