"""The real Mac, as far as it can be tried without one: tests/osascript.py stands in for osascript, open and mdfind."""

import json
import os
import re
import sys
import threading
import time
from datetime import datetime
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tinyagent_helpers.consent import ONLY_READ
from tinyagent_helpers.mac import applescript, osascript, permissions
from tinyagent_helpers.mac.applescript import RealMac, opens_safely
from tinyagent_helpers.mac.observations import directions_url, place_url
from tinyagent_helpers.mac.osascript import OSASCRIPT, SCRIPTS, explained, records, run_command
from tinyagent_helpers.mac.permissions import examine_mac
from tinyagent_helpers.mac.protocol import ToolError
from tinyagent_helpers.mac.simulated import SimulatedMac
from tinyagent_helpers.mac.zoom import create_meeting
from tinyagent_helpers.subagents import OfflineWriter
from tinyagent_helpers.times import FORMAT
from tinyagent_helpers.tools import MAC_TOOLS

STAND_IN = [sys.executable, "-S", str(Path(__file__).with_name("osascript.py"))]
START, END = "2024-05-27 10:00:00", "2024-05-27 11:00:00"
START_NUMBERS, END_NUMBERS = ["2024", "5", "27", "10", "0", "0"], ["2024", "5", "27", "11", "0", "0"]
ADDRESS, NUMBER = "a@x.de", "+1 415 555 0101"
HOSTILE = [
    'it\'s "quoted" back\\slash\\n <b>&amp;</b>',
    "two\nlines",
    "$HOME ${HOME} $(id) `id`",
    "-e",
    "--",
    "Ünïcödé Zoë 日本 🎈👩‍👩‍👧",
    '" & (do shell script "touch /tmp/pwned") & "',
    '-eproperty p : (do shell script "touch /tmp/pwned")',
]


def yes(question: str) -> bool:
    return True


def trusting(osascript=OSASCRIPT, **options) -> RealMac:
    """A real Mac whose user says yes to everything."""
    return RealMac(osascript, confirm=yes, **options)


class Recorded(RealMac):
    """A real Mac whose apps are those of a simulated one; `calls` are the scripts and commands that ran."""

    def __init__(self, simulated: SimulatedMac, **options):
        self.log = simulated.folder / "calls.jsonl"
        stand_in = [*STAND_IN, str(self.log), str(simulated.folder / "mac.db")]
        super().__init__(
            [*stand_in, "osascript"], home=simulated.files, opener=[*stand_in, "open"],
            finder=[*stand_in, "mdfind"], **({"confirm": yes} | options),
        )  # fmt: skip

    @property
    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]


def saying(code: str) -> list[str]:
    """An osascript that does this instead."""
    return [sys.executable, "-S", "-c", f"import sys, time\n{code}"]


@pytest.fixture
def real(mac) -> Recorded:
    return Recorded(mac)


# What is asked before


def test_nothing_is_changed_sent_or_opened_without_a_yes(mac):
    shown = []
    real = Recorded(mac, confirm=lambda preview: shown.append(preview))
    before, path = mac.snapshot(), str(mac.files / "budget.csv")
    calls = [
        (real.create_calendar_event, ("Lunch", START, END, "", [ADDRESS], "", "")),
        (real.open_and_get_file_path, ("budget",)),
        (real.compose_new_email, ([ADDRESS], [], "Lunch", "at noon?", [path])),
        (real.reply_to_email, ([], "yes", [])),
        (real.forward_email, ([ADDRESS], [], "look", [])),
        (real.maps_open_location, ("Zoo",)),
        (real.maps_show_directions, ("", "Zoo", "w")),
        (real.create_note, ("Ideas", "a kite", "")),
        (real.open_note, ("groceries", "")),
        (real.append_note_content, ("groceries", "milk", "")),
        (real.create_reminder, ("Call", START, "", "", 0, False)),
        (real.send_sms, ([NUMBER], "I am late")),
        (real.get_zoom_meeting_link, ("Call", START, 60, [])),
    ]
    assert {call.__name__ for call, _ in calls} == set(MAC_TOOLS) - ONLY_READ
    for call, arguments in calls:
        with pytest.raises(ToolError, match="^Not done: .*, because the user did not say yes"):
            call(*arguments)
    assert len(shown) == len(calls) and mac.snapshot() == before
    acted = ("_add", "_send", "_append", "_show", "open")
    assert not [call for call in real.calls if call[0].endswith(acted)]
    assert "text: 'Hello,\\n\\nat noon?\\n\\nSent with TinyAgent, from a template'" in shown[2] and path in shown[2]
    assert "to: ['grace.okafor@example.com']" in shown[3]


def test_a_preview_shows_where_a_reply_really_goes():
    shown = []
    selected = "7\x1fgrace@x.de\x1fBudget\x1fHi\x1feve@x.de"
    real = RealMac(saying(f"sys.stdout.write({selected!r})"), confirm=lambda preview: shown.append(preview))
    with pytest.raises(ToolError, match="did not say yes"):
        real.reply_to_email([], "yes", [])
    assert "to: ['eve@x.de']" in shown[0] and "grace" not in shown[0]


def test_lookups_and_summaries_ask_nothing(mac):
    real = Recorded(mac, confirm=lambda preview: pytest.fail(preview))
    assert real.get_phone_number("Mom") and real.summarize_pdf(str(mac.files / "lease.pdf"))
    with pytest.raises(ToolError):
        real.get_email_address("Nobody")


# What reaches the scripts


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_is_said_reaches_the_scripts_as_it_is(mac, real, text):
    path, body = str(mac.files / "budget.csv"), OfflineWriter().email("new", text, text, "")
    mac.store.add("contacts", {"name": text, "phone": "+1 555 0100", "email": f"{text}@x.de"})
    assert real.get_phone_number(text) == "+1 555 0100" and real.get_email_address(text) == f"{text}@x.de"
    address = f"{text}@x.de".replace(" ", "")
    real.create_calendar_event(text, START, END, text, [address], text, "")
    real.compose_new_email([address], [address, "b@x.de"], text, text, [path])
    real.maps_open_location(text)
    real.create_note(text, text, "")
    real.append_note_content(text, text, "")
    real.open_note(text, "")
    real.create_reminder(text, START, text, text, 9, True)
    real.send_sms(["+1 555 0100", "-555-0101"], text)
    html = escape(text).replace("\n", "<br>")
    contact, note = str(mac.store.rows("contacts")[-1]["id"]), str(mac.store.rows("notes")[-1]["id"])
    assert real.calls == [
        ["contacts_list"], ["contacts_read", contact], ["contacts_list"], ["contacts_read", contact],
        ["calendar_clashes", *START_NUMBERS, *END_NUMBERS],
        ["calendar_add", text, text, text, "", *START_NUMBERS, *END_NUMBERS, "1", address],
        ["mail_send", "new", "", text, body, "1", address, "2", address, "b@x.de", "1", path],
        ["open", place_url(text)],
        ["notes_add", "", f"<div><h1>{html}</h1></div><div>{html}</div>"],
        ["notes_list"], ["notes_read", note], ["notes_append", note, f"<div>{html}</div>"],
        ["notes_list"], ["notes_read", note], ["notes_show", note],
        ["reminders_add", text, text, text, "9", "day", *START_NUMBERS],
        ["messages_send", text, "2", "+1 555 0100", "-555-0101"],
    ]  # fmt: skip
    assert not Path("/tmp/pwned").exists()
    assert mac.store.rows("notes")[-1]["content"] == f"{text}\n{text}"


def test_the_other_tools_pass_it_on_as_it_is_too(mac, real, zoom, monkeypatch):
    monkeypatch.setenv("ZOOM_TOKEN", "token")
    real.zoom = zoom.url
    for text in HOSTILE:
        before = len(real.calls) if real.log.exists() else 0
        (mac.files / "hostile.txt").write_text(text)
        mac.store.add("mail", {"sender": f"{text}@x.de".replace(" ", ""), "subject": text, "body": text, "selected": 0})
        mac.store.select_mail(mail := mac.store.rows("mail")[-1]["id"])
        real.reply_to_email([], text, ["hostile.txt"])
        real.forward_email([ADDRESS], [], text, [])
        url = real.maps_show_directions(text, text, "d")
        assert real.get_zoom_meeting_link(text, START, 60, []) == "https://zoom.us/j/1"
        assert zoom.requests[-1][2]["topic"] == text
        for tool in (real.open_and_get_file_path, real.summarize_pdf):
            with pytest.raises(ToolError, match="There is no file|files match '-e'"):
                tool(text)
        reply, forward = ([kind, str(mail), ""] for kind in ("reply", "forward"))
        written, sent = OfflineWriter().email("reply", text, "", ""), mac.store.rows("mail")[-1]["body"]
        assert written in sent and sent.endswith(f"wrote:\n{text}")
        calls = [call for call in real.calls[before:] if call[0] != "mdfind"]
        assert calls == [
            ["mail_selected"], ["mail_send", *reply, written, "0", "0", "1", str(mac.files / "hostile.txt")],
            ["mail_selected"], ["mail_send", *forward, sent, "1", ADDRESS, "0", "0"],
            ["open", url],
        ]  # fmt: skip
        assert url == directions_url(text, text, "d")


def test_replies_and_forwards_are_about_the_selected_message(mac, real):
    mail = mac.store.rows("mail")[0]
    real.reply_to_email(["c@x.de"], "on it", [])
    real.forward_email(["a@x.de"], [], "fyi", [str(mac.files / "lyon.txt")])
    reply, forward = (call for call in real.calls if call[0] == "mail_send")
    body = OfflineWriter().email("forward", "fyi", mail["subject"], mail["body"])
    body += f"\n\n{mail['sender']} wrote:\n{mail['body']}"
    assert reply[1:4] == ["reply", "1", ""] and "on it" in reply[4] and reply[5:] == ["0", "1", "c@x.de", "0"]
    assert forward[1:] == ["forward", "1", "", body, "1", "a@x.de", "0", "1", str(mac.files / "lyon.txt")]


class Echo:
    """A writer that says what it was shown."""

    name = "echo"

    def email(self, *shown):
        return "|".join(shown)

    note = email

    def summary(self, text):
        return f"{len(text) > 100} summary"


def test_both_macs_let_the_writer_write(tmp_path, now):
    first, second = SimulatedMac(tmp_path / "a", now, writer=Echo()), SimulatedMac(tmp_path / "b", now)
    for mac in (first, Recorded(second, writer=Echo())):
        mac.compose_new_email(["a@x.de"], [], "s", "c", [])
        mac.reply_to_email([], "c", [])
        mac.forward_email(["a@x.de"], [], "c", [])
        mac.create_note("n", "c", "")
        mac.append_note_content("groceries", "c", "")
        assert mac.summarize_pdf("lease.pdf") == "True summary"
    assert first.snapshot() == second.snapshot()
    original = first.snapshot()["mail"][0]
    bodies = [m["body"] for m in first.snapshot()["mail"][-3:]]
    assert bodies[:2] == ["new|c|s|", f"reply|c|{original['subject']}|{original['body']}"]
    assert bodies[2].startswith("forward|c|") and bodies[2].endswith(f"wrote:\n{original['body']}")
    notes = first.snapshot()["notes"]
    assert notes[-1]["content"] == "new|n|c|"
    assert notes[0]["content"] == "oat milk\neggs\nbread\nappend|groceries|c|oat milk\neggs\nbread"


# The scripts themselves


def scripts() -> dict[str, str]:
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(SCRIPTS.iterdir())}


def code_of(script: str) -> list[str]:
    """Its lines without comments, and without what stands in quotation marks."""
    lines = [re.sub(r'"[^"]*"', '""', line) for line in script.splitlines()]
    return [code for line in lines if (code := re.sub(r"--.*", "", line).strip())]


def unbalanced(script: str) -> str:
    """The first line that ends a block that is not open, or opens one that never ends; "" if all is well."""
    blocks: list[tuple[str, str]] = []
    for line in code_of(script):
        opened = re.match(r"(on|tell|if|repeat|try|with timeout)\b(?: (\w+))?", line)
        one_line = re.match(r"(tell\b.* to (make|return|set|count)\b)|(if\b.* then .)", line)
        if ended := re.match(r"end (\w+)", line):
            if not blocks or blocks[-1][0] != ended[1]:
                return line
            blocks.pop()
        elif opened and not one_line and not line.startswith("on error"):
            blocks.append((opened[2] if opened[1] == "on" else opened[1], line))
    return blocks[-1][1] if blocks else ""


def test_the_light_check_of_blocks_sees_what_is_missing():
    assert unbalanced('on run argv\nif x is 1 then return\ntell application "A" to return 1\nend run') == ""
    assert unbalanced('on run argv\ntell application "A"\nend run') == "end run"
    assert unbalanced("on run argv\nrepeat with x in y\nend repeat") == "on run argv"


@pytest.mark.parametrize("name, script", scripts().items())
def test_no_script_runs_text(name, script):
    code = "\n".join(code_of(script))
    assert re.search(r"^on run argv$", code, re.MULTILINE) and script.startswith("-- Takes ")
    for forbidden in ("do shell script", "run script", "load script", "do script", "store script", "System Events"):
        assert forbidden not in script
    assert not re.search(r"\bthat\b.*%|\{\w*\}\}|\$\w|%s|<<|«|keystroke", code)
    assert script.isascii() and not re.search(r'tell application [^"]', script)
    assert unbalanced(script) == ""
    handlers = set(re.findall(r"^on (\w+)\(", code, re.MULTILINE))
    assert handlers == set(re.findall(r"\bmy (\w+)\(", code)), "a handler is missing, or not used"


def test_every_script_is_used_and_every_used_one_is_there():
    used = set(re.findall(r'"((?:%s)_\w+)"' % "|".join(osascript.APPS), Path(applescript.__file__).read_text()))
    assert used | {f"check_{app}" for app in osascript.APPS} == set(scripts())


def test_source_is_never_built():
    modules = [Path(module.__file__).read_text() for module in (applescript, osascript, permissions)]
    assert all('"-e"' not in re.sub(r'""".*?"""', "", text, flags=re.DOTALL) for text in modules)
    assert not any("shell=" in text for text in modules)


@pytest.mark.skipif(sys.platform != "darwin", reason="needs macOS")
def test_on_a_mac_osascript_passes_values_on_and_handlers_do_what_they_say(tmp_path):
    handlers = "\n".join(scripts()[name].split("end run")[1] for name in ("calendar_clashes", "messages_send"))
    main = """
on run argv
    set d to my dateFrom(items 1 thru 6 of argv)
    set parts to {year of d, (month of d) as integer, day of d, time of d}
    return my asRecord(parts & my counted(argv, 7))
end run
"""
    (tmp_path / "all.applescript").write_text(main + handlers.split("on sendTo")[0] + handlers.split("end sendTo")[1])
    values = [*HOSTILE, "a\x1eb\x1fc"]
    call = [*osascript.OSASCRIPT, "--", str(tmp_path / "all.applescript"), "2024", "2", "29", "23", "59", "58"]
    answer = run_command([*call, *osascript.counted(values)], "osascript", 20)
    assert answer.split("\x1f") == ["2024", "2", "29", str(86398), *HOSTILE, "a b c"]


# The same observations


EVENT = ("x", START, END, "", [], "", "")
CALLS = [
    ("get_phone_number", "helen park"), ("get_phone_number", "Mom"), ("get_phone_number", "Alex"),
    ("get_phone_number", "Lufti"), ("get_phone_number", ""), ("get_phone_number", "Yuki"),
    ("get_email_address", "Zoe\u0308"), ("get_email_address", "plumber"), ("get_email_address", 'Tom "TJ" Jones'),
    ("get_email_address", "boss"), ("get_email_address", "maria"), ("get_email_address", "nobody at all"),
    ("create_calendar_event", *EVENT),
    ("create_calendar_event", "stand in", "2024-05-25 09:00:00", "2024-05-25 09:45:00", "Room", [ADDRESS], "n", "Work"),
    ("create_calendar_event", "after", "2024-05-25 10:00:00", "2024-05-25 10:30:00", "", [], "", ""),
    ("create_calendar_event", "all", "2024-05-25 00:00:00", "2024-05-26 23:59:59", "", [], "", "Home"),
    ("create_calendar_event", "x", START, START, "", [], "", ""),
    ("create_calendar_event", "x", "2024-6-3 9:15:0", END, "", [], "", ""),
    ("create_calendar_event", "x", START, "tomorrow", "", [], "", ""),
    ("create_calendar_event", "x", START, END, "", ["Sid"], "", ""),
    ("open_and_get_file_path", "budget"), ("open_and_get_file_path", "q3_report"), ("open_and_get_file_path", "bugdet"),
    ("open_and_get_file_path", "../../etc/passwd"), ("open_and_get_file_path", ""),
    ("open_and_get_file_path", "deck pitch"), ("open_and_get_file_path", "dishwasher manual"),
    ("open_and_get_file_path", "twin"), ("open_and_get_file_path", "- _ '"),
    ("summarize_pdf", "lease.pdf"), ("summarize_pdf", "/etc/passwd"), ("summarize_pdf", "../mac.db"),
    ("summarize_pdf", "budget.csv"), ("summarize_pdf", "a\x00b"), ("summarize_pdf", ""),
    ("compose_new_email", [ADDRESS], ["b@x.de"], "s", "c", ["lease.pdf", "lyon.txt"]),
    ("compose_new_email", [ADDRESS], [], "", "", []),
    ("compose_new_email", [], [], "", "x", []), ("compose_new_email", ["$1"], [], "", "x", []),
    ("compose_new_email", [ADDRESS], ["Sid"], "", "x", []),
    ("compose_new_email", [ADDRESS], [], "", "x", ["/etc/passwd"]),
    ("reply_to_email", ["c@x.de"], "on it", []), ("reply_to_email", [], "on it", ["nothing.pdf"]),
    ("forward_email", [ADDRESS], [], "fyi", []), ("forward_email", [ADDRESS, "b@x.de"], ["c@x.de"], "", []),
    ("forward_email", [], [], "fyi", []),
    ("maps_open_location", "Café Zoë"), ("maps_open_location", " "),
    ("maps_show_directions", "A & B", "C", "r"), ("maps_show_directions", "", "C", "w"),
    ("maps_show_directions", "A", "", "d"),
    ("create_note", "n", "c\n\nd & <e>", ""), ("create_note", "", "only a text", "Work"), ("create_note", "", "", ""),
    ("open_note", "n", "Notes"), ("open_note", "GROC", ""), ("open_note", "meeting notes", ""),
    ("open_note", "meeting notes", "choir"), ("open_note", "nothing", "Work"), ("open_note", "x", "No such folder"),
    ("append_note_content", "groceries", "milk\n\"2 %\" & more", ""), ("append_note_content", "nothing", "x", ""),
    ("append_note_content", "", "x", ""), ("append_note_content", "meeting notes", "", "Work"),
    ("create_reminder", "r", "", "", "", 0, False), ("create_reminder", "r", START, "n", "Home", 1, False),
    ("create_reminder", "r", "2024-02-29 00:00:00", "", "", 9, True),
    ("create_reminder", "x", "soon", "", "", 0, False),
    ("create_reminder", "r", "2023-02-29 00:00:00", "", "", 9, True),
    ("send_sms", [NUMBER, "+49 30 5550110"], "hi"), ("send_sms", [], "x"), ("send_sms", ["Mom"], "x"),
    ("get_zoom_meeting_link", "t", START, 60, [ADDRESS]), ("get_zoom_meeting_link", "t", START, 0, []),
    ("get_zoom_meeting_link", "t", "3 pm", 60, []), ("get_zoom_meeting_link", "t", START, 60, ["Sid"]),
]  # fmt: skip


def outcome(mac, folder: Path, tool: str, *arguments) -> str:
    try:
        said = getattr(mac, tool)(*arguments)
    except ToolError as error:
        said = f"ToolError: {error}"
    return said.replace(str(folder), "FOLDER")


def test_both_macs_say_and_leave_the_same(tmp_path, now, zoom, monkeypatch):
    first, second = (SimulatedMac(tmp_path / name, now) for name in "ab")
    for mac in (first, second):
        for name in ("twin one.txt", "twin two.txt"):
            (mac.files / name).write_text("twin")
    monkeypatch.setenv("ZOOM_TOKEN", "token")
    real = Recorded(second, zoom=zoom.url)
    zoom.store = second.store
    assert {tool for tool, *_ in CALLS} == set(MAC_TOOLS)
    different = []
    for call in CALLS:
        pair = outcome(first, first.folder, *call), outcome(real, second.folder, *call)
        if pair[0] != pair[1]:
            different.append((call, *pair))
    assert different == []
    assert first.snapshot() == second.snapshot()
    for mac in (first, second):
        mac.store.select_mail(None)
    for call in [("reply_to_email", [], "x", []), ("forward_email", [ADDRESS], [], "x", [])]:
        assert outcome(first, first.folder, *call) == outcome(real, second.folder, *call)


# What only a real Mac has


def contacts(*rows: str) -> list[str]:
    return saying(f"sys.stdout.write({chr(30).join(rows)!r} if 'list' in sys.argv[2] else '1\\x1fe@x.de')")


def person(id: str, name: str, nickname: str = "", title: str = "") -> str:
    return chr(31).join(("person", id, name, nickname, title))


def relation(label: str, name: str) -> str:
    return chr(31).join(("relation", label, name, "", ""))


def test_people_are_found_by_what_they_are_to_the_user():
    people = [
        person("a", "Helen Park", "Lenny", "Teacher"), person("b", "Grace Okafor", "", "CTO"),
        person("c", "Sid Mehta", "", "Manager"), person("d", "Omar Haddad", "", "Plumber"),
        relation("_$!<Mother>!$_", "Helen Park"), relation("manager", "Grace Okafor"),
        relation("rock climbing", "sid mehta"), relation("_$!<Father>!$_", "Dan Park"), relation("Dad", "Ed Park"),
        person("e", "Dan Park"), person("f", "Ed Park"),
    ]  # fmt: skip
    found = {p["id"]: p["relation"].split("\n") for p in applescript._people([r.split(chr(31)) for r in people])}
    assert found == {
        "a": ["mother", "mom", "mum", "mama", "Lenny", "Teacher"], "b": ["manager", "boss", "CTO"],
        "c": ["rock climbing"], "d": ["Plumber"], "e": ["father", "papa"], "f": ["dad"],
    }  # fmt: skip
    mac = trusting(contacts(*people))
    for name in ("Mom", "mother", "lenny", "boss", "plumber", "sid", "rock climbing"):
        assert mac.get_email_address(name) == "e@x.de"
    with pytest.raises(ToolError, match="no contact 'aunt'"):
        mac.get_email_address("aunt")


def test_a_note_with_attachments_is_not_added_to_and_a_deleted_one_not_found():
    listed = "note\x1f1\x1ftrip\x1enote\x1f2\x1fold\x1efolder\x1fNotes\x1f\x1f1\x1efolder\x1fRecently Deleted\x1f\x1f2"
    mac = trusting(saying(f"sys.stdout.write({listed!r} if 'list' in sys.argv[2] else 'trip\\nLyon\\x1f3')"))
    with pytest.raises(ToolError, match="'trip' holds attachments"):
        mac.append_note_content("trip", "x", "")
    assert mac.open_note("trip", "") == "Opened the note 'trip': Lyon"
    with pytest.raises(ToolError, match="There are trip"):
        mac.open_note("old", "")


def test_what_an_app_does_not_have_is_said(real):
    with pytest.raises(ToolError, match="Calendar has no such thing: Can’t get calendar 1 whose name = Choir"):
        real.create_calendar_event("x", START, END, "", [], "", "Choir")


# When something goes wrong


def test_slow_apps_are_given_up():
    started = time.perf_counter()
    with pytest.raises(ToolError, match="Reminders gave no answer within 0.3 seconds; it may be waiting"):
        trusting(saying("time.sleep(20)"), seconds=0.3).create_reminder("x", "", "", "", 0, False)
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    "complaint, sentence",
    [
        ("Not authorized to send Apple events to Notes. (-1743)", "is not allowed to be controlled: allow it in "),
        ("Notes got an error: Application isn’t running. (-600)", "is not running and could not be started"),
        ("Notes got an error: Connection is invalid. (-609)", "is not running any more"),
        ("Notes got an error: AppleEvent timed out. (-1712)", "did not answer"),
        ("User canceled. (-128)", "cancelled it"),
        ('Notes got an error: Can’t get folder "x". (-1728)', 'has no such thing: Can’t get folder "x".'),
        ("Notes got an error: something (odd)\nhappened. (-10000)", "failed: something (odd) happened."),
        ("w" * 300 + " (-1)", f"failed: {'w' * 200}."),
    ],
)  # fmt: skip
def test_each_complaint_becomes_one_line(complaint, sentence):
    line = explained("Notes", f"/a/scripts/notes_add.applescript:120:155: execution error: {complaint}\n")
    assert line.startswith(f"Notes {sentence}") and "\n" not in line and "(-" not in line


def test_other_complaints_are_passed_on():
    assert explained("Notes", "") == "Notes failed: it did not say why."
    mac = trusting(saying("sys.exit('x.applescript:1:2: syntax error: Expected end of line. (-2741)')"))
    with pytest.raises(ToolError, match="Notes failed: Expected end of line."):
        mac.create_note("x", "y", "")
    with pytest.raises(ToolError, match="/nowhere/osascript is not here. The real Mac needs macOS"):
        trusting(["/nowhere/osascript"]).create_note("x", "y", "")
    with pytest.raises(ToolError, match="Notes cannot be given that: embedded null byte"):
        trusting(saying("")).create_note("x", "a\0b", "")


@pytest.mark.parametrize(
    "code",
    ["print('garbage')", "sys.stdout.buffer.write(b'\\xff\\x1e\\x1f')", "print(chr(30) * 3)", "print('a\\x1fb')"],
)  # fmt: skip
def test_garbage_is_no_answer(code):
    mac = trusting(saying(code))
    for call in (
        lambda: mac.get_phone_number("Sid"), lambda: mac.open_note("x", ""), lambda: mac.reply_to_email([], "x", [])
    ):  # fmt: skip
        with pytest.raises(ToolError, match="(Contacts|Notes|Mail) gave an answer that cannot be read"):
            call()


def test_records_are_split_and_line_ends_made_one():
    assert records("a\x1fb\rc\x1ed\x1fe\r\nf", "X", 2) == [["a", "b\nc"], ["d", "e\nf"]]
    assert records("", "X", 2) == []
    assert run_command(saying("print('a\\n')"), "X", 5) == "a\n"


# Files


def test_documents_are_opened_and_everything_else_is_shown(mac, real):
    runs = [
        "x.command",
        "x.sh",
        "x.scpt",
        "x.workflow",
        "x.pkg",
        "x.terminal",
        "x.jar",
        "x.py",
        "x.html",
        "x.webloc",
        "x",
    ]
    for number, name in enumerate(runs):
        (mac.files / f"tool {chr(97 + number)}{chr(97 + number)} {name}").write_text("x")
    (mac.files / "program.pdf").write_text("#!/bin/sh")
    (mac.files / "program.pdf").chmod(0o755)
    (mac.files / "disguised.pdf").symlink_to(mac.files / "tool aa x.command")
    (mac.files / "alias.pdf").write_bytes(b"book\0\0\0\0mark\0\0\0\0")
    for name in ("Thing.app", "Folder.pages"):
        (mac.files / name).mkdir()
    for name in [
        *(2 * chr(97 + number) for number in range(len(runs))),
        "program",
        "disguised",
        "alias",
        "Thing",
        "Folder",
    ]:
        real.open_and_get_file_path(name)
    shown = [call for call in real.calls if call[0] == "open"]
    assert len(shown) == len(runs) + 5 and all(call[1] == "-R" for call in shown)
    assert shown[len(runs) + 1][2].endswith(".command")
    path = real.open_and_get_file_path("budget")
    assert real.calls[-1] == ["open", path] and opens_safely(Path(path))


def test_what_is_not_the_users_own_is_not_there(mac, real, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    for name in ("Library/secret.txt", "library/secret2.txt", ".ssh/secret.txt", "Documents/.secret.txt"):
        (mac.files / name).parent.mkdir(exist_ok=True)
        (mac.files / name).write_text("secret")
    (mac.files / "out.txt").symlink_to(tmp_path / "secret.txt")
    (mac.files / "in.txt").symlink_to(mac.files / ".ssh" / "secret.txt")
    (mac.files / "circle.txt").symlink_to(mac.files / "circle.txt")
    refused = [
        "Library/secret.txt",
        "library/secret2.txt",
        ".ssh/secret.txt",
        "Documents/.secret.txt",
        "out.txt",
        "in.txt",
    ]
    refused += ["circle.txt", "../mac.db", str(tmp_path / "secret.txt"), "Documents", "", "~/.ssh/secret.txt"]
    for path in refused:
        with pytest.raises(ToolError, match="There is no file at .*; find it with open_and_get_file_path first"):
            real.compose_new_email([ADDRESS], [], "s", "c", [path])
        with pytest.raises(ToolError, match="There is no file at"):
            real.summarize_pdf(path)
    for name in ("secret", "out.txt", "in.txt", "circle"):
        with pytest.raises(ToolError, match="There is no file"):
            real.open_and_get_file_path(name)
    assert not any(call[0] in ("open", "mail_send") for call in real.calls)


# Permissions


def test_permissions_are_asked_for_on_a_mac_only(monkeypatch, tmp_path):
    [elsewhere] = examine_mac(system="Linux")
    assert elsewhere.ok and elsewhere.found == "not a Mac; the simulated one works here"
    monkeypatch.delenv("ZOOM_TOKEN", raising=False)
    found = examine_mac(saying("print(3)"), system="Darwin", home=tmp_path)
    assert [f.what for f in found] == [*osascript.APPS.values(), "files", "ZOOM_TOKEN"] and all(f.ok for f in found)
    assert "not set" in found[-1].found
    denied = saying("sys.exit('1:2: execution error: Not authorized to send Apple events to X. (-1743)')")
    found = examine_mac(denied, system="Darwin", home=tmp_path)
    assert not any(f.ok for f in found[:6]) and all("Privacy & Security > Automation" in f.remedy for f in found[:6])
    assert "Privacy & Security > Calendars" in found[1].remedy
    assert not any(f.ok for f in examine_mac(saying("print('?')"), system="Darwin", home=tmp_path)[:6])


def test_folders_that_may_not_be_read_are_named(monkeypatch, tmp_path):
    (tmp_path / "Desktop").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    files = next(f for f in examine_mac(saying("print(3)"), system="Darwin", home=tmp_path) if f.what == "files")
    assert not files.ok and files.found == "cannot read Desktop" and "Files and Folders" in files.remedy


# Zoom


class Zoom(BaseHTTPRequestHandler):
    """Answers as Zoom does, or as `server.answer` says: a status and a text, or seconds to wait."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, self.headers["Authorization"], json.loads(body)))
        status, text = self.server.answer or (201, json.dumps({"join_url": self.meeting(json.loads(body))}))
        time.sleep(self.server.wait)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def meeting(self, asked: dict) -> str:
        """Make the meeting that the simulated Mac would make, in `server.store`."""
        if self.server.store is None:
            return "https://zoom.us/j/1"
        start = datetime.fromisoformat(asked["start_time"]).astimezone().strftime(FORMAT)
        link = SimulatedMac.get_zoom_meeting_link(
            self.server, asked["topic"], start, asked["duration"],
            [i["email"] for i in asked["settings"]["meeting_invitees"]],
        )  # fmt: skip
        return link

    def log_message(self, *_):
        pass


@pytest.fixture
def zoom():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Zoom)
    server.daemon_threads, server.handle_error = True, lambda *_: None  # a client that has given up is no news
    server.requests, server.answer, server.wait, server.store = [], None, 0, None
    server.url = f"http://127.0.0.1:{server.server_port}/v2"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_meeting_is_asked_for_as_zoom_wants_it(zoom, monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        link = create_meeting('Q3 "final" 🎈', datetime(2024, 5, 27, 10), 45, [ADDRESS], " secret ", zoom.url)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert link == "https://zoom.us/j/1"
    asked = {
        "topic": 'Q3 "final" 🎈', "type": 2, "start_time": "2024-05-27T08:00:00Z", "duration": 45,
        "settings": {"meeting_invitees": [{"email": ADDRESS}]},
    }  # fmt: skip
    assert zoom.requests == [("/v2/users/me/meetings", "Bearer secret", asked)]


@pytest.mark.parametrize(
    "answer, message",
    [
        ((401, "{}"), "does not accept the token"), ((429, "{}"), "too many requests"),
        ((500, "oops"), "refused with status 500: 'oops'"), ((200, "{}"), "refused with status 200"),
        ((302, ""), "status 302"), ((201, "not json"), "holds no link"), ((201, "[]"), "holds no link"),
        ((201, '{"id": 1}'), "holds no link"), ((201, '{"join_url": "http://zoom.us/j/1"}'), "is not an https link"),
        ((201, '{"join_url": 7}'), "is not an https link"),
    ],
)  # fmt: skip
def test_zooms_refusals_are_explained(zoom, answer, message):
    zoom.answer = answer
    with pytest.raises(ToolError, match=f"Zoom.*{message}"):
        create_meeting("t", datetime(2024, 5, 27, 10), 60, [], "token", zoom.url)


def test_zoom_that_cannot_be_asked_is_said(zoom, monkeypatch):
    monkeypatch.delenv("ZOOM_TOKEN", raising=False)
    with pytest.raises(ToolError, match="ZOOM_TOKEN"):
        trusting(zoom=zoom.url).get_zoom_meeting_link("t", START, 60, [])
    with pytest.raises(ToolError, match="cannot be reached"):
        create_meeting("t", datetime(2024, 5, 27, 10), 60, [], "tökén", zoom.url)
    assert zoom.requests == []
    with pytest.raises(ToolError, match="cannot be reached"):
        create_meeting("t", datetime(2024, 5, 27, 10), 60, [], "token", "http://127.0.0.1:9")
    zoom.wait = 1
    with pytest.raises(ToolError, match="no answer within 0.2 seconds"):
        create_meeting("t", datetime(2024, 5, 27, 10), 60, [], "token", zoom.url, seconds=0.2)
