"""Whether macOS lets the assistant use each app. Asking is what makes macOS show its question the first time."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tinyagent_helpers.doctor import Finding
from tinyagent_helpers.mac.osascript import ALLOW, APPS, OSASCRIPT, run_script
from tinyagent_helpers.mac.protocol import ToolError

DATA = {"contacts": "Contacts", "calendar": "Calendars", "reminders": "Reminders"}  # apps with a page of their own, too
FOLDERS = ("Documents", "Desktop", "Downloads")


def examine_mac(
    osascript: Sequence[str] = OSASCRIPT, seconds: float = 20.0, system: str = "", home: Path | None = None
) -> list[Finding]:
    """A finding for each app, for the user's files and for Zoom's token; elsewhere one, that this is not a Mac."""
    if (system or platform.system()) != "Darwin":
        return [Finding("real Mac", True, "not a Mac; the simulated one works here")]
    with ThreadPoolExecutor(len(APPS)) as pool:  # macOS shows its questions one after the other
        apps = list(pool.map(lambda key: _app(key, osascript, seconds), APPS))
    return [*apps, _files(home or Path.home()), _zoom()]


def _app(key: str, osascript: Sequence[str], seconds: float) -> Finding:
    page = f"; and in Privacy & Security > {DATA[key]}" if key in DATA else ""
    remedy = f"answer macOS' question and ask again; if there is none, {ALLOW}{page}"
    try:
        count = run_script(f"check_{key}", (), osascript, seconds)
    except ToolError as error:
        return Finding(APPS[key], False, str(error), remedy)
    return Finding(
        APPS[key], count.isdigit(), f"may be used ({count})", f"open {APPS[key]} once by hand, then ask again"
    )


def _files(home: Path) -> Finding:
    """No tool scripts the Finder: Spotlight finds files and `open` opens them, and needs only to read them."""
    closed = [name for name in FOLDERS if (home / name).exists() and not os.access(home / name, os.R_OK)]
    remedy = "allow them in System Settings > Privacy & Security > Files and Folders"
    return Finding("files", not closed, f"cannot read {', '.join(closed)}" if closed else "may be read", remedy)


def _zoom() -> Finding:
    """Never a fault: one of the sixteen tools needs the token."""
    found = "set" if os.environ.get("ZOOM_TOKEN", "").strip() else "not set; get_zoom_meeting_link needs it"
    return Finding("ZOOM_TOKEN", True, found)
