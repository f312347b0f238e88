"""What `tinyagent bfcl` does, see `commands`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyagent_helpers.artifacts import InputError, digest, read_json
from tinyagent_helpers.commands import planner_of, print_json, record, said, weights_of

if TYPE_CHECKING:
    from tinyagent_helpers.bfcl.answers import Mode

LIBRARIES = ("bfcl-eval", "llama-cpp-python", "transformers", "openai")


def categories_of(options: argparse.Namespace) -> Sequence[str]:
    """The categories that the options name; every single-turn one if they name none."""
    from tinyagent_helpers.bfcl.official import GROUPS

    return [c for name in options.category or ["single_turn"] for c in GROUPS.get(name, [name])]


def run_bfcl(options: argparse.Namespace) -> int:
    """Ask a model the leaderboard's questions."""
    from tinyagent_helpers.bfcl.run import run
    from tinyagent_helpers.models import NANO_CALLER_Q4

    if not (options.model or options.server) and options.profile == "nano":
        options.model = str(NANO_CALLER_Q4)
    mode, categories = _mode(options), categories_of(options)
    parts = options.output, options.limit, options.seed, lambda line: print(line, file=sys.stderr, flush=True)
    run(mode, options.name, categories, *parts, made_of=_made_of(options, mode))
    if options.json:
        print_json({"output": str(options.output), "categories": list(categories)})
    return 0


def _mode(options: argparse.Namespace) -> Mode:
    from tinyagent_helpers.bfcl.answers import FunctionMode, PlanMode, PromptMode
    from tinyagent_helpers.bfcl.finder import Finder

    planner = planner_of(options)
    if options.context:
        planner.model.context = options.context
    if options.mode == "plan":
        finder = Finder() if options.find else None
        return PlanMode(planner.model, planner.template, options.optional, options.grammar, finder)
    return PromptMode(planner.model) if options.mode == "prompt" else FunctionMode(planner.model)


def _made_of(options: argparse.Namespace, mode: Mode) -> dict[str, Any]:
    """Everything that a score depends on, but for the questions."""
    from tinyagent_helpers.models import read_manifest

    weights = [] if options.server else weights_of(Path(options.model))
    asked = f"tinyagent bfcl run --name {options.name} --output DIR"
    asked += said(options, ("profile", "mode", "grammar", "find", "optional", "context"))
    asked += f" --model {Path(options.model).name}" if options.model else ""
    trained = "" if options.server else read_manifest(options.model).get("command", "")
    return {
        "model": mode.model.name,
        "server": options.server or "",
        "weights": digest(*weights) if weights else "",
        "type": getattr(mode.model, "type", ""),
        "template": {"plan": mode.model.template, "prompt": "BFCL's"}.get(options.mode, "the model's"),
        "context": mode.model.context,
        "temperature": 0,
        "optional": options.optional,
        "grammar": options.grammar,
        "find": options.find,
        "versions": {library: version(library) for library in LIBRARIES},
        "command": "; ".join(filter(None, [trained, asked])),
    }


def score_bfcl(options: argparse.Namespace) -> int:
    """Score a model's answers by the official checkers."""
    from tinyagent_helpers.bfcl.official import CATEGORIES
    from tinyagent_helpers.bfcl.run import score, seconds_of
    from tinyagent_helpers.bfcl.scores import overall, overall_v4

    categories = categories_of(options)
    scores = score(options.name, categories, options.output, options.limit, options.seed)
    rows, missing = [s.row(category) for category, s in scores.items()], [c for c in CATEGORIES if c not in scores]
    together = {"V3": overall(scores), "V4, partial": overall_v4(scores), "counted as 0": missing}
    if options.limit:
        together["sample"] = f"at most {options.limit} of a category, seed {options.seed}"
    if options.record:
        _record(options, rows, together, seconds_of(options.name, categories, options.output))
    if options.json:
        print_json({"figures": rows, **together})
        return 0
    for row in rows:
        print(", ".join(f"{key} {value}" for key, value in row.items()))
    for name, value in together.items():
        print(f"{name}: {value}")
    return 0


def _record(options: argparse.Namespace, rows: list[dict[str, Any]], together: dict[str, Any], seconds: float) -> None:
    path = options.output / options.name / "run.json"
    if not path.exists():
        raise InputError(f"{path} is not there, so nobody knows what these answers depend on; run it again")
    made_of = read_json(path)
    given = said(options, ("category", "limit", "seed"))
    command = f"{made_of['command']}{given}; tinyagent bfcl score --name {options.name} --output DIR{given}"
    kept = {"run": made_of, "overall": together}
    record(f"bfcl-{options.name}", rows, command, options.profile, options.seed, seconds, more=kept)
