"""Meetings made through Zoom's web service (https://developers.zoom.us/docs/api/meetings/)."""

from collections.abc import Sequence
from datetime import UTC, datetime

import httpx

from tinyagent_helpers.mac.protocol import ToolError

ZOOM = "https://api.zoom.us/v2"
SCHEDULED = 2
STATUSES = {
    401: "does not accept the token; put a new one into ZOOM_TOKEN",
    429: "has had too many requests; wait and ask again",
}


def create_meeting(
    topic: str,
    start: datetime,
    minutes: int,
    invitees: Sequence[str],
    token: str,
    base: str = ZOOM,
    seconds: float = 15.0,
) -> str:
    """Create a meeting and return the link to join it. A `start` without a time zone is in this computer's.

    Raises:
        ToolError: there is no token, Zoom cannot be reached or refuses, or it answers without a safe link.
    """
    if not token.strip():
        raise ToolError("Zoom needs a token: put an OAuth access token into the environment variable ZOOM_TOKEN.")
    meeting = {
        "topic": topic,
        "type": SCHEDULED,
        "start_time": start.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "duration": minutes,
        "settings": {"meeting_invitees": [{"email": address} for address in invitees]},
    }
    try:
        headers = {"Authorization": f"Bearer {token.strip()}"}
        answer = httpx.post(f"{base}/users/me/meetings", json=meeting, headers=headers, timeout=seconds)
    except httpx.TimeoutException:
        raise ToolError(
            f"Zoom gave no answer within {seconds:g} seconds; the meeting may exist all the same."
        ) from None
    except (httpx.HTTPError, ValueError) as error:  # ValueError: a token that is not ASCII, a lone surrogate
        raise ToolError(f"Zoom cannot be reached ({type(error).__name__}).") from None
    if answer.status_code != httpx.codes.CREATED:
        reason = STATUSES.get(answer.status_code, f"refused with status {answer.status_code}: {answer.text[:100]!r}")
        raise ToolError(f"Zoom {reason}.")
    return _link(answer)


def _link(answer: httpx.Response) -> str:
    try:
        link = answer.json()["join_url"]
    except (ValueError, KeyError, TypeError):
        raise ToolError("Zoom made the meeting, but its answer holds no link to join it.") from None
    if not (isinstance(link, str) and link.startswith("https://")):
        raise ToolError(f"Zoom's link {link!r} is not an https link; it is not passed on.")
    return link
