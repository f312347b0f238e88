"""What a language model is told about plans: one wording for every model of the course."""

from collections.abc import Iterable

from tinyagent_helpers.tools import Tool

CONVENTIONS = (
    "A plan is a numbered list of calls, one a line; $1 stands for the result of step 1, also inside a longer text.",
    'Arguments are Python literals by position; every argument is filled, unused ones with "" or [].',
    "The last line is join() followed by <END_OF_PLAN>.",
    "Dates are written YYYY-MM-DD HH:MM:SS. A meeting lasts 60 minutes unless the user says otherwise.",
    "Look up e-mail addresses and phone numbers first, unless the user gave one.",
    "Several recipients of a text message go into one call.",
    "summarize_pdf and attachments take the path that open_and_get_file_path returns.",
    "A new Zoom link goes into the calendar event's notes, the e-mail's context or the message.",
    "open_note is not needed before append_note_content, nor maps_open_location before maps_show_directions.",
    'An empty start_location means "here". Copy names, places and texts from the request as they are.',
)


def numbered(tools: Iterable[Tool]) -> str:
    """The tools as a model reads them, numbered."""
    return "\n".join(f"{i}. {tool.to_prompt()}" for i, tool in enumerate(tools, 1))


def bullets(lines: Iterable[str]) -> str:
    """One line each, with a dash."""
    return "\n".join(f"- {line}" for line in lines)
