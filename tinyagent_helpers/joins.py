"""What the joiner says after a plan has run: finish with a message, or plan again.

Thought: Both addresses were found and the event was created.
Action: Finish(I invited Sid and Lutfi.)
"""

import re
from dataclasses import dataclass

ACTION = re.compile(r"^Action:[ \t]*(Replan|Finish)\b(?:\((.*)\))?", re.MULTILINE | re.DOTALL)
THOUGHT = re.compile(r"^Thought:[ \t]*(.*)$", re.MULTILINE)


class JoinError(ValueError):
    """The joiner's text cannot be read."""


@dataclass(frozen=True)
class Join:
    """The joiner's verdict. `message` is for the user; the message "Summary" stands for the PDF summary itself."""

    message: str = ""
    thought: str = ""
    replan: bool = False

    def to_text(self) -> str:
        """The verdict as text."""
        action = "Replan" if self.replan else f"Finish({self.message})"
        return f"Thought: {' '.join(self.thought.split())}\nAction: {action}"


def parse_join(text: str) -> Join:
    """Read a joiner's text; the message runs to the last bracket.

    Raises:
        JoinError: there is no line `Action: Finish(...)` or `Action: Replan`.
    """
    action = ACTION.search(text) if isinstance(text, str) else None
    if not action or (action.group(1) == "Finish" and action.group(2) is None):
        raise JoinError(f"expected 'Action: Finish(message)' or 'Action: Replan', found {str(text)!r:.80}")
    thought = THOUGHT.search(text[: action.start()])
    replan = action.group(1) == "Replan"
    return Join("" if replan else action.group(2), thought.group(1).strip() if thought else "", replan)
