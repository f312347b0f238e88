"""What a plan may do without being asked about: derived in notebook 07.

A first plan is written from the request alone. A second one is written after results were read, and a result (an e-mail, a PDF,
a contact's name) may hold orders of somebody else. So a step of it that does anything may run unasked only if it repeats a
step of the first plan, one that has not begun yet.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tinyagent_helpers.plans import Step, fill_in

ONLY_READ = frozenset({"get_phone_number", "get_email_address", "summarize_pdf"})
LOOKUPS = frozenset({"get_phone_number", "get_email_address", "open_and_get_file_path"})
ONLY_SHOW = frozenset({"open_and_get_file_path", "open_note", "maps_open_location", "maps_show_directions"})
Question = Callable[[str], bool]  # shows a text and says whether the user said yes


def repeats(
    later: Sequence[Step],
    first: Sequence[Step],
    begun: Collection[int] = (),
    suggested: Mapping[int, str] = MappingProxyType({}),
) -> dict[int, int]:
    """For each step of a later plan that repeats one of the first plan, that step's number.

    It repeats a step if it calls the same tool with the same arguments, and the results that it uses are those of steps that
    repeat what the first plan used. A lookup may also be for the name that is `suggested` for the first one's, see `ToolError`.
    A step that changes or sends something is repeated once, and not if it has begun before: it may have worked in part.
    """
    found: dict[int, int] = {}
    for step in later:
        if all(d in found for d in step.depends_on):
            arguments = fill_in(step.arguments, {d: f"${found[d]}" for d in step.depends_on})
            spent = () if step.tool in ONLY_READ | ONLY_SHOW else {*begun, *found.values()}
            left = [s for s in first if s.tool == step.tool and s.id not in spent]
            same = [s.id for s in left if _plain(s) == arguments]
            respelled = [s.id for s in left if s.tool in LOOKUPS and arguments == (suggested.get(s.id),)]
            found |= {step.id: number for number in (same + respelled)[:1]}
    return found


def _plain(step: Step) -> tuple[Any, ...]:
    """Its arguments, with every reference written as $1, not ${1}."""
    return fill_in(step.arguments, {d: f"${d}" for d in step.depends_on})


def preview(what: str, values: Mapping[str, Any]) -> str:
    """What would be done, a value a line; nothing in a value can pretend to be another line."""
    return "\n".join([what, *(f"  {name}: {value!r}" for name, value in values.items() if value not in ("", []))])


def refuse(question: str) -> bool:
    """Nobody is there to ask."""
    return False
