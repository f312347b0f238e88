"""The simulated Mac: sixteen tools that do what they say, and say what they cannot do."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from fpdf import FPDF

from tinyagent_helpers.artifacts import InputError
from tinyagent_helpers.mac.documents import read_pdf
from tinyagent_helpers.mac.protocol import ToolError
from tinyagent_helpers.mac.simulated import SimulatedMac
from tinyagent_helpers.mac.store import changes
from tinyagent_helpers.tools import MAC_TOOLS

START, END = "2024-05-27 10:00:00", "2024-05-27 11:00:00"
HOSTILE = "'; DROP TABLE notes; -- \" $(rm -rf) \n <script>alert(1)</script> Ünïcödé 🎈"


def test_contacts_are_found_by_name_first_name_and_role(mac):
    assert mac.get_phone_number("helen park") == mac.get_phone_number("Mom") == "+1 415 555 0108"
    assert mac.get_email_address("Zoë") == mac.get_email_address("Zoe\u0308") == "zoe@example.com"
    assert mac.get_email_address('Tom "TJ" Jones') == "tj@example.com"


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m: m.get_phone_number("Alex"), "2 contacts are called 'Alex': Alex Kim, Alex Romero"),
        (lambda m: m.get_phone_number("Lufti"), "no contact 'Lufti'. Similar names: Lutfi Erdogan"),
        (lambda m: m.get_phone_number(""), "no contact ''"),
        (lambda m: m.get_phone_number("Yuki"), "Yuki Tanaka has no phone number"),
        (lambda m: m.get_email_address("plumber"), "Omar Haddad has no e-mail address"),
        (lambda m: m.create_calendar_event("x", START, START, "", [], "", ""), "not after its start"),
        (
            lambda m: m.create_calendar_event("x", "2024-6-3 9:15:0", END, "", [], "", ""),
            "'2024-6-3 9:15:0' is not a date",
        ),
        (lambda m: m.create_calendar_event("x", "tomorrow", END, "", [], "", ""), "'tomorrow' is not a date"),
        (lambda m: m.create_calendar_event("x", START, END, "", ["Sid"], "", ""), "'Sid' is not an e-mail address"),
        (lambda m: m.get_zoom_meeting_link("x", START, 0, []), "0 minutes"),
        (lambda m: m.open_and_get_file_path("bugdet"), "Similar names: budget.csv"),
        (lambda m: m.open_and_get_file_path("../../etc/passwd"), "no file"),
        (lambda m: m.summarize_pdf("/etc/passwd"), "no file at '/etc/passwd'"),
        (lambda m: m.summarize_pdf("../mac.db"), "no file at"),
        (lambda m: m.summarize_pdf("budget.csv"), "cannot be read as a PDF"),
        (lambda m: m.summarize_pdf("a\x00b"), "no file at"),
        (lambda m: m.compose_new_email([], [], "", "x", []), "at least one recipient"),
        (lambda m: m.compose_new_email(["$1"], [], "", "x", []), "'\\$1' is not an e-mail address"),
        (lambda m: m.compose_new_email(["a@b.c"], [], "", "x", ["/etc/passwd"]), "no file at"),
        (lambda m: m.maps_open_location(" "), "which place"),
        (lambda m: m.open_note("meeting notes", ""), "2 notes match 'meeting notes': meeting notes \\(Work\\)"),
        (lambda m: m.append_note_content("nothing", "x", ""), "no note 'nothing'. There are groceries"),
        (lambda m: m.create_reminder("x", "soon", "", "", 0, False), "'soon' is not a date"),
        (lambda m: m.send_sms([], "x"), "at least one recipient"),
        (lambda m: m.send_sms(["Mom"], "x"), "'Mom' is not a phone number"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(mac, call, message):
    before = mac.snapshot()
    with pytest.raises(ToolError, match=message):
        call(mac)
    assert mac.snapshot() == before


def test_all_tools_work_and_leave_their_mark(mac):
    before = mac.snapshot()
    path = mac.open_and_get_file_path("budget")
    assert "clashes with 'Team stand-up'" in mac.create_calendar_event(
        "x", "2024-05-25 09:00:00", "2024-05-25 09:45:00", "", ["a@b.c"], "", ""
    )
    assert mac.get_zoom_meeting_link("x", START, 60, []) == mac.get_zoom_meeting_link("x", START, 60, [])
    mac.compose_new_email(["a@b.c"], ["d@e.f"], "s", "c", [path])
    assert mac.reply_to_email([], "on it", []) == "Sent the reply to grace.okafor@example.com."
    mac.forward_email(["a@b.c"], [], "fyi", [])
    assert mac.maps_open_location("Café Zoë") == "https://maps.apple.com/?q=Caf%C3%A9%20Zo%C3%AB"
    assert mac.maps_show_directions("A & B", "C", "r") == "https://maps.apple.com/?saddr=A%20%26%20B&daddr=C&dirflg=r"
    assert "saddr" not in mac.maps_show_directions("", "C", "w")
    mac.create_note("n", "c", "")
    mac.append_note_content("n", "more", "")
    assert mac.open_note("n", "Notes") == "Opened the note 'n': c\nmore"
    mac.create_reminder("r", "", "", "", 0, False)
    mac.send_sms(["+1 415 555 0108"], "hi")
    assert "rent" in mac.summarize_pdf(mac.open_and_get_file_path("lease.pdf"))
    after = changes(before, mac.snapshot())
    assert {table: len(rows) for table, rows in after.items()} == {
        "events": 1, "mail": 3, "notes": 1, "reminders": 1, "messages": 1, "maps": 3, "meetings": 2, "opened": 3,
    }  # fmt: skip
    assert [m["subject"] for m in after["mail"]] == [
        "s",
        "Re: Numbers for the Q3 report",
        "Fwd: Numbers for the Q3 report",
    ]
    assert "Could you send me the final numbers" in after["mail"][2]["body"]


def test_hostile_text_is_only_text(mac):
    mac.create_note(HOSTILE, HOSTILE, "")
    mac.append_note_content(HOSTILE, HOSTILE, "")
    assert mac.snapshot()["notes"][-1]["content"] == f"{HOSTILE}\n{HOSTILE}"
    assert "<script>" not in mac._repr_html_() and "&lt;script&gt;" in mac._repr_html_()


def test_no_selected_mail_is_said(mac):
    mac.store.select_mail(None)
    with pytest.raises(ToolError, match="No message is selected"):
        mac.reply_to_email([], "x", [])
    mac.store.select_mail(2)
    assert mac.reply_to_email([], "x", []) == "Sent the reply to weber@example.net."


def test_state_survives_and_can_be_reset(tmp_path, now):
    first = SimulatedMac(tmp_path / "m", now)
    shipped = first.snapshot()
    first.create_note("n", "c", "")
    again = SimulatedMac(tmp_path / "m")
    assert again.snapshot() == first.snapshot() != shipped
    again.reset(now)
    assert again.snapshot() == shipped
    assert changes(shipped, again.snapshot()) == {}


def test_an_interrupted_reset_begins_again_and_a_damaged_one_is_named(tmp_path, now, monkeypatch):
    from tinyagent_helpers.mac.store import Store

    shipped, added, add = SimulatedMac(tmp_path / "whole", now).snapshot(), [], Store.add

    def interrupted(store, table, *rows):
        added.append(table)
        if len(added) == 3:
            raise KeyboardInterrupt
        add(store, table, *rows)

    monkeypatch.setattr(Store, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        SimulatedMac(tmp_path / "m", now)
    monkeypatch.undo()
    assert SimulatedMac(tmp_path / "m", now).snapshot() == shipped
    (tmp_path / "m" / "mac.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(InputError, match="mac.db is damaged .*--reset"):
        SimulatedMac(tmp_path / "m", now)
    assert SimulatedMac(tmp_path / "m", now, reset=True).snapshot() == shipped


def test_links_out_of_the_folder_lead_nowhere(mac, tmp_path):
    (tmp_path / "secret.pdf").write_text("secret")
    (mac.files / "link.pdf").symlink_to(tmp_path / "secret.pdf")
    (mac.files / "circle.pdf").symlink_to(mac.files / "circle.pdf")
    for name in ("link.pdf", "circle.pdf"):
        with pytest.raises(ToolError, match="no file"):
            mac.open_and_get_file_path(name)
        with pytest.raises(ToolError, match="no file"):
            mac.summarize_pdf(str(mac.files / name))


def test_many_threads_lose_nothing(mac):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: mac.create_note(f"note {i}", "", ""), range(60)))
    names = {n["name"] for n in mac.snapshot()["notes"]}
    assert {f"note {i}" for i in range(60)} <= names


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write to"):
        SimulatedMac(tmp_path / "file" / "mac")


def test_difficult_pdfs_get_a_message(tmp_path):
    pdf = FPDF()
    pdf.add_page()
    pdf.output(str(tmp_path / "empty.pdf"))
    pdf = FPDF()
    pdf.add_page()
    pdf.set_encryption(owner_password="o", user_password="u")
    pdf.output(str(tmp_path / "locked.pdf"))
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4\nnonsense")
    for name, message in (
        ("empty", "holds no text"),
        ("locked", "is encrypted"),
        ("broken", "cannot be read"),
        ("missing", "cannot be read"),
    ):
        with pytest.raises(ToolError, match=message):
            read_pdf(tmp_path / f"{name}.pdf")


def test_every_tool_is_a_method():
    assert all(callable(getattr(SimulatedMac, name)) for name in MAC_TOOLS)
