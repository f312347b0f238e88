"""Running the scripts in `scripts/`: values in as arguments, records out, and each of macOS' errors as a sentence.

No script is ever put together from text: its file is fixed; what the user or a model said reaches it as an argument.
"""

import re
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tinyagent_helpers.mac.protocol import ToolError

SCRIPTS = Path(__file__).parent / "scripts"
OSASCRIPT = ("/usr/bin/osascript",)
RECORD, FIELD = "\x1e", "\x1f"
APPS = {
    "contacts": "Contacts",
    "calendar": "Calendar",
    "mail": "Mail",
    "notes": "Notes",
    "reminders": "Reminders",
    "messages": "Messages",
}
ALLOW = (
    "allow it in System Settings > Privacy & Security > Automation, under the program that you started the course from"
)
MEANINGS = {
    -1743: "is not allowed to be controlled: " + ALLOW,
    -1744: "is not allowed to be controlled yet: " + ALLOW,
    -600: "is not running and could not be started; open it and ask again",
    -609: "is not running any more; open it and ask again",
    -1712: "did not answer; it may be waiting for an answer on the screen",
    -128: "cancelled it",
}
NOT_FOUND = (-1728, -1719)


def run_script(
    name: str, values: Sequence[str] = (), osascript: Sequence[str] = OSASCRIPT, seconds: float = 20.0
) -> str:
    """What the script `scripts/NAME.applescript` answers to these arguments.

    osascript reads options with getopt(3): "--" ends them, and whatever follows the script's path is the script's. So a
    value such as "-e" is only a value.

    Raises:
        ToolError: it failed, or took too long.
    """
    path = SCRIPTS / f"{name}.applescript"
    return run_command([*osascript, "--", str(path), *values], APPS[name.removeprefix("check_").split("_")[0]], seconds)


def run_command(command: Sequence[str], who: str, seconds: float) -> str:
    """What a program prints; `who` is named in errors.

    Raises:
        ToolError: it failed, took too long, or is not there.
    """
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise ToolError(
            f"{who} gave no answer within {seconds:g} seconds; it may be waiting for an answer on the screen, "
            "and what was asked may still be done."
        ) from None
    except FileNotFoundError:
        raise ToolError(f"{who} cannot be reached: {command[0]} is not here. The real Mac needs macOS.") from None
    except (OSError, ValueError) as error:  # ValueError: a zero character
        raise ToolError(f"{who} cannot be given that: {error}.") from None
    if done.returncode:
        raise ToolError(explained(who, done.stderr.decode("utf-8", "replace")))
    return done.stdout.decode("utf-8", "replace").removesuffix("\n")


def explained(who: str, complaint: str) -> str:
    """What osascript complains of, in one line that says what to do."""
    line = " ".join(complaint.split())
    words = re.sub(r"^.*?(?:execution )?error: ", "", line)
    code = re.search(r" \((-?\d+)\)$", words)
    words = words[: code.start()] if code else words
    words = re.sub(r"^.{1,40}? got an error: ", "", words)[:200].rstrip(".")
    number = int(code[1]) if code else 0
    if number in MEANINGS:
        return f"{who} {MEANINGS[number]}."
    if number in NOT_FOUND:
        return f"{who} has no such thing: {words}."
    return f"{who} failed: {words or 'it did not say why'}."


def records(answer: str, who: str, fields: int) -> list[list[str]]:
    """The records of an answer, each of at least so many fields, with line ends as in Python.

    Raises:
        ToolError: a record is shorter.
    """
    lines = re.sub(r"\r\n?|\u2028", "\n", answer).split(RECORD) if answer else []
    found = [line.split(FIELD) for line in lines]
    if any(len(record) < fields for record in found):
        raise ToolError(f"{who} gave an answer that cannot be read: {answer[:80]!r}.")
    return found


def counted(values: Sequence[str]) -> list[str]:
    """A list as arguments: how many, then each of them."""
    return [str(len(values)), *values]


def numbers(moment: datetime) -> list[str]:
    """A moment as arguments: year, month, day, hour, minute, second."""
    return [str(part) for part in moment.timetuple()[:6]]
