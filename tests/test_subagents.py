"""Writers: the offline ones say what they are, one with a model passes on what it is told, and PDFs are never a crash."""

import pytest
from fpdf import FPDF
from pypdf import PdfReader, PdfWriter

from tinyagent_helpers.artifacts import InputError
from tinyagent_helpers.mac.protocol import ToolError
from tinyagent_helpers.mac.simulated import SimulatedMac
from tinyagent_helpers.subagents import MAX_READ, ModelWriter, OfflineWriter, read_and_summarize


class Says:
    name, template, context = "says", "", 10_000

    def __init__(self, *answers):
        self.answers, self.prompts = list(answers), []

    def complete(self, prompts, limit=300):
        self.prompts += prompts
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [answer]


def pdf(path, pages):
    made = FPDF()
    made.set_font("Helvetica", size=11)
    for text in pages:
        made.add_page()
        made.multi_cell(0, 6, text)
    made.output(str(path))
    return path


def test_what_is_written_offline_says_so(mac, tmp_path):
    mac.compose_new_email(["a@b.c"], [], "Lunch", "shall we meet at noon?", [])
    body = mac.snapshot()["mail"][-1]["body"]
    assert "shall we meet at noon?" in body and "from a template" in body
    mac.create_note("Ideas", "a kite", "")
    mac.append_note_content("Ideas", "a boat", "")
    assert mac.snapshot()["notes"][-1]["content"] == "a kite\na boat"
    assert mac.summarize_pdf(mac.open_and_get_file_path("lease.pdf")).startswith("Extract: ")


def test_a_model_writes_every_kind_of_text(tmp_path, now):
    model = Says("Dear all", "I agree.", "Have a look.", "Kites fly.", "Boats swim.", "Rent is due.")
    mac = SimulatedMac(tmp_path / "mac", now, writer=ModelWriter(model))
    mac.compose_new_email(["a@b.c"], [], "Lunch", "meet at noon", [])
    mac.reply_to_email([], "agree", [])
    mac.forward_email(["a@b.c"], [], "look at this", [])
    mac.create_note("Ideas", "kites", "")
    mac.append_note_content("Ideas", "boats", "")
    assert mac.summarize_pdf(mac.open_and_get_file_path("lease.pdf")) == "Rent is due."
    after = mac.snapshot()
    bodies = [m["body"] for m in after["mail"][-3:]]
    assert bodies[:2] == ["Dear all", "I agree."] and bodies[2].startswith(
        "Have a look.\n\ngrace.okafor@example.com wrote:"
    )
    assert after["notes"][-1]["content"] == "Kites fly.\nBoats swim."
    original = after["mail"][0]["body"]
    shown = [bool(original and original[:40] in prompt) for prompt in model.prompts]
    assert shown == [False, True, True, False, False, False], (
        "a reply and a forward are written with the e-mail in view"
    )
    assert "Kites fly." in model.prompts[4] and "rent" in model.prompts[5]


def test_nothing_to_say_asks_no_model():
    writer = ModelWriter(Says())
    assert writer.email("forward", " ", "s", "o") == "" and writer.note("new", "n", "", "") == ""


@pytest.mark.parametrize("answer", ["  \n", InputError("says does not answer")])
def test_a_writer_that_fails_is_a_tool_that_fails(tmp_path, now, answer):
    mac = SimulatedMac(tmp_path / "mac", now, writer=ModelWriter(Says(answer)))
    before = mac.snapshot()
    with pytest.raises(ToolError, match="nothing was written"):
        mac.compose_new_email(["a@b.c"], [], "s", "c", [])
    assert mac.snapshot() == before


def test_a_long_text_is_cut_before_a_model_reads_it():
    model = Says("short")
    ModelWriter(model).summary("x" * 10 * MAX_READ)
    assert len(model.prompts[0]) < MAX_READ + 500


def test_500_pages_are_read_in_part_and_that_is_said(tmp_path):
    path = pdf(tmp_path / "long.pdf", [f"Page {i} of the long report speaks of turbines." for i in range(500)])
    summary = read_and_summarize(path, OfflineWriter())
    assert summary.startswith("(first 100 of 500 pages) Extract: ") and "turbines" in summary


def test_broken_empty_and_encrypted_documents_get_a_message(tmp_path):
    whole = pdf(tmp_path / "whole.pdf", ["The rent is due on the first day of the month."])
    locked = PdfWriter(clone_from=PdfReader(whole))
    locked.encrypt("secret")
    locked.write(tmp_path / "locked.pdf")
    (tmp_path / "cut.pdf").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (tmp_path / "nothing.pdf").touch()
    (tmp_path / "text.pdf").write_text("not a PDF at all")
    pdf(tmp_path / "blank.pdf", [" "])
    for name, message in (
        ("locked", "is encrypted"), ("cut", "cannot be read as a PDF"), ("nothing", "cannot be read as a PDF"),
        ("text", "cannot be read as a PDF"), ("blank", "holds no text"), ("missing", "cannot be read as a PDF"),
    ):  # fmt: skip
        with pytest.raises(ToolError, match=message):
            read_and_summarize(tmp_path / f"{name}.pdf", OfflineWriter())
