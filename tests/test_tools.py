"""Tools from functions: one definition for the prompt, the schema and the checks."""

from typing import Literal

import pytest

from tinyagent_helpers.plans import Fault, PlanError, parse_plan
from tinyagent_helpers.tools import MAC_TOOLS, Tool, bind, toolset


def brew(kind: Literal["tea", "coffee"], cups: int = 1, extras: list[str] | None = None) -> str:
    """Brew something hot.

    Args:
        kind: What to brew.
        cups: How many
            cups.
    """
    return f"{cups} {kind}"


def test_a_tool_from_any_typed_function():
    tool = Tool.from_function(brew)
    assert tool.to_prompt().splitlines() == [
        "brew(kind: Literal['tea', 'coffee'], cups: int, extras: list[str] | None) - Brew something hot.",
        "   - kind: What to brew.",
        "   - cups: How many cups.",
    ]
    function = tool.to_openai()["function"]
    assert function["parameters"]["required"] == ["kind"]
    assert function["parameters"]["properties"]["kind"] == {
        "enum": ["tea", "coffee"],
        "type": "string",
        "description": "What to brew.",
    }


def test_a_plan_for_own_tools_is_checked_like_any_other():
    tools = toolset([brew])
    assert parse_plan('1. brew("tea", 2)\n2. join()', tools).steps[0].arguments == ("tea", 2)
    with pytest.raises(PlanError) as caught:
        parse_plan('1. brew("soup")\n2. join()', tools)
    assert caught.value.kind is Fault.ARGUMENT_TYPE


def test_functions_that_cannot_be_tools_say_why():
    def untyped(x):
        """Nothing."""

    def greedy(*names: str):
        """Everything."""

    with pytest.raises(TypeError, match="'x' has no type hint"):
        Tool.from_function(untyped)
    with pytest.raises(TypeError, match="is not an ordinary parameter"):
        Tool.from_function(greedy)
    with pytest.raises(ValueError, match="two tools are named 'brew'"):
        toolset([brew, brew])


def test_the_sixteen_tools_have_the_published_names_and_arguments():
    assert {name: [p.name for p in tool.parameters] for name, tool in MAC_TOOLS.items()} == {
        "get_phone_number": ["name"],
        "get_email_address": ["name"],
        "create_calendar_event": ["title", "start_date", "end_date", "location", "invitees", "notes", "calendar"],
        "open_and_get_file_path": ["file_name"],
        "summarize_pdf": ["pdf_path"],
        "compose_new_email": ["recipients", "cc", "subject", "context", "attachments"],
        "reply_to_email": ["cc", "context", "attachments"],
        "forward_email": ["recipients", "cc", "context", "attachments"],
        "maps_open_location": ["location"],
        "maps_show_directions": ["start_location", "end_location", "transport"],
        "create_note": ["name", "content", "folder"],
        "open_note": ["name", "folder"],
        "append_note_content": ["name", "content", "folder"],
        "create_reminder": ["name", "due_date", "notes", "list_name", "priority", "all_day"],
        "send_sms": ["recipients", "message"],
        "get_zoom_meeting_link": ["topic", "start_time", "duration", "meeting_invitees"],
    }
    assert all(t.description and all(p.description for p in t.parameters) for t in MAC_TOOLS.values())


def test_the_simulated_mac_offers_all_of_them_with_the_same_signature(mac):
    for name, tool in bind(mac).items():
        assert [p.name for p in Tool.from_function(tool.function).parameters] == [
            p.name for p in MAC_TOOLS[name].parameters
        ]
