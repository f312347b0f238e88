"""The TinyAgent dataset's published JSON format, read and written; the published dataset itself from the hub.

The format (reference: the squeeze-ai-lab/TinyAgent repository): an object uuid -> {"input", "output": [plan, join, ...],
"closest_5_queries"}; a parsed plan is a list of {"tool_name", "tool_args"}, a parsed join {"thought", "action", "message"}.
"""

import json
import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tinyagent_helpers.artifacts import InputError, read_json, read_jsonl
from tinyagent_helpers.joins import JoinError, parse_join
from tinyagent_helpers.plans import Plan, PlanError, parse_plan
from tinyagent_helpers.profiles import Profile

PUBLISHED = "squeeze-ai-lab/TinyAgent-dataset"
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, PUBLISHED)


def to_tinyagent(source: Path, target: Path) -> int:
    """Rewrite one split, a JSON Lines file, in the published format, one example at a time; return how many."""
    temporary, count = target.with_name(f".{target.name}.{os.getpid()}.tmp"), 0
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write("{")
            for count, row in enumerate(read_jsonl(source, ("id", "request", "plan", "join")), 1):
                try:
                    key, value = _entry(row)
                except (PlanError, JoinError) as error:
                    raise InputError(f"{source}, example {row['id']!r}: {error}") from None
                file.write(f"{',' if count > 1 else ''}\n{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
            file.write("\n}\n")
        temporary.replace(target)
    except OSError as error:
        raise InputError(f"cannot write {target} ({error.strerror})") from None
    finally:
        temporary.unlink(missing_ok=True)
    return count


def read_tinyagent(path: Path, rejected: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Examples {"id", "request", "plan", "join"} of a file in the published format; `join` is "" where there is none.

    An entry whose plan this course's parser refuses is skipped; its id and the reason are added to `rejected`.

    Raises:
        InputError: the file is not in that format.
    """
    entries = read_json(path)
    if not isinstance(entries, dict):
        raise InputError(f"{path}: expected an object from ids to examples, found a {type(entries).__name__}")
    for key, entry in entries.items():
        try:
            outputs = {output["type"]: output for output in reversed(entry["output"])}
            calls = [
                (c["tool_name"], c["tool_args"]) for c in outputs["plan"]["parsed_output"] if c["tool_name"] != "join"
            ]
            if not all(isinstance(arguments, (list, tuple)) for _, arguments in calls):
                raise TypeError("tool_args must be a list")
            plan = parse_plan(Plan.of(calls).to_text())
            join = outputs["join"]["raw_output"] if "join" in outputs else ""
            if not (isinstance(entry["input"], str) and isinstance(join, str)):
                raise TypeError("input and raw_output must be text")
            example = {"id": key, "request": entry["input"], "plan": plan.to_text(), "join": join}
        except PlanError as error:
            if rejected is not None:
                rejected.append(f"{key}: {error}")
            continue
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{path}, entry {key}: not in the TinyAgent format ({error!r})") from None
        yield example


def load_published(profile: Profile, rejected: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """The published dataset from the hub, all its files in the order of their names; `rejected` as in `read_tinyagent`.

    Raises:
        InputError: the profile may not use the network, or the hub does not answer.
    """
    if not profile.network:
        raise InputError(
            f"the profile {profile.name} never uses the network; use laptop, gpu or paper for the published dataset"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(PUBLISHED, repo_type="dataset", allow_patterns="*.json")
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise InputError(f"{PUBLISHED} could not be fetched ({error}); check the network and HF_HUB_OFFLINE") from None
    for path in sorted(Path(folder).rglob("*.json")):
        yield from read_tinyagent(path, rejected)


def _entry(row: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    plan, join, key = parse_plan(row["plan"]), parse_join(row["join"]), uuid.uuid5(NAMESPACE, row["id"])
    calls = [{"tool_name": step.tool, "tool_args": list(step.arguments)} for step in plan.steps]
    verdict = {"thought": join.thought, "action": "Replan" if join.replan else "Finish", "message": join.message}
    outputs = _outputs(
        key,
        row,
        [("plan", row["plan"], [*calls, {"tool_name": "join", "tool_args": []}]), ("join", row["join"], verdict)],
    )
    return str(key), {"input": row["request"], "output": outputs, "closest_5_queries": []}


def _outputs(key: uuid.UUID, row: dict[str, Any], outputs: Iterable[tuple[str, str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "type": kind,
            "raw_input": row["request"],
            "raw_output": text,
            "parsed_output": parsed,
            "id": str(uuid.uuid5(key, kind)),
            "index": index,
        }
        for index, (kind, text, parsed) in enumerate(outputs)
    ]
