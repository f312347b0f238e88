"""How long a person waits: from a cold start and warm, in one process and through a server. Read in notebook 07."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from math import isnan, nan
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from tinyagent_helpers.agent import Agent, Run
from tinyagent_helpers.artifacts import DATA, InputError, read_jsonl
from tinyagent_helpers.mac.simulated import SimulatedMac
from tinyagent_helpers.models import NANO_PLANNER_Q4, LanguageModel, LlamaCppModel, ServerModel, served_manifest
from tinyagent_helpers.planner import ModelJoiner, ModelPlanner
from tinyagent_helpers.prompts import NANO_TEMPLATE
from tinyagent_helpers.quick_classifier import NANO_RETRIEVER, load_retriever
from tinyagent_helpers.serving import running
from tinyagent_helpers.tools import bind

NOW = datetime(2024, 5, 24, 9)
TIMES = ("start, s", "first step done, s", "plan written, s", "answer, s")


def cold_ask(request: str, folder: Path, *options: str) -> dict[str, Any]:
    """One `tinyagent ask` in a process of its own, its Mac in `folder`: seconds from the start of the process, memory in MB.

    Raises:
        InputError: it gave no answer.
    """
    command = [sys.executable, "-m", "tinyagent_helpers", "ask", request, "--json", "--now", str(NOW), *options]
    started = time.perf_counter()
    process = psutil.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"TINYAGENT_ARTIFACTS": str(folder)})
    memory = 0
    while process.poll() is None:
        with suppress(psutil.Error):  # it has just ended
            memory = max(memory, process.memory_info().rss)
        time.sleep(0.02)
    seconds, printed = time.perf_counter() - started, process.stdout.read()
    if not printed:
        raise InputError(f"tinyagent ask gave no answer to {request!r}")
    made = json.loads(printed)
    return times_of(made, seconds - made["timings"]["total"]) | {"memory, MB": memory / 1e6}


def warm_runs(model: LanguageModel, requests: Iterable[str], mac: SimulatedMac) -> list[Run]:
    """The same planner carries out requests, one after another; the first, which warms it up, is left out."""
    planner = ModelPlanner(model, NANO_TEMPLATE, load_retriever(NANO_RETRIEVER))
    agent = Agent(planner, ModelJoiner(model, NANO_TEMPLATE), bind(mac))
    return [asyncio.run(agent.run(request, NOW)) for request in requests][1:]


def times_of(made: Mapping[str, Any], start: float = 0.0) -> dict[str, float]:
    """Seconds of a run (as `Run.to_json` gives it) until it starts, its last plan's first step that worked is done (nan, if none
    did), that plan's last line is written, and the answer is there."""
    done = [step["ended"] for step in made["steps"] if step["ended"] is not None and not step["error"]]
    moments = (0.0, min(done, default=nan), made["timings"]["plan"], made["timings"]["total"])
    return dict(zip(TIMES, (start + moment for moment in moments)))


def measure_waits(
    folder: Path, count: int = 10, report: Callable[[str], None] = lambda line: None
) -> list[dict[str, Any]]:
    """A row for each way to ask the nano planner in four bits: medians over hand-written requests, and memory in MB (through a
    server, that of the client)."""
    requests = [row["request"] for row in read_jsonl(DATA / "handwritten" / "dev.jsonl", ("request",))][: count + 1]
    mac, rows = SimulatedMac(folder / "mac", NOW, reset=True), []
    report("cold, in one process")
    cold = [cold_ask(request, folder, "--model", str(NANO_PLANNER_Q4)) for request in requests[1:]]
    rows.append(_row("cold, in one process", cold))
    report("warm, in one process")
    rows.append(
        _row(
            "warm, in one process",
            (times_of(run.to_json()) for run in warm_runs(LlamaCppModel(NANO_PLANNER_Q4), requests, mac)),
        )
    )
    with running() as url:
        report("cold, through a server")
        cold = [cold_ask(request, folder, "--server", url) for request in requests[1:]]
        rows.append(_row("cold, through a server", cold))
        report("warm, through a server")
        model = ServerModel(url, "tinyagent", template=served_manifest(url)["template"])
        rows.append(
            _row("warm, through a server", (times_of(run.to_json()) for run in warm_runs(model, requests, mac)))
        )
    return rows


def _row(way: str, figures: Iterable[dict[str, float]]) -> dict[str, Any]:
    seen: Sequence[dict[str, float]] = list(figures)
    known = {name: [row[name] for row in seen if not isnan(row[name])] for name in TIMES}
    medians = {name: round(median(values), 2) if values else "" for name, values in known.items()}
    memory = [row["memory, MB"] for row in seen if "memory, MB" in row]
    slowest = round(max(row["answer, s"] for row in seen), 2)
    return (
        {"way": way, "n": len(seen)}
        | medians
        | {"slowest answer, s": slowest, "memory, MB": round(max(memory)) if memory else ""}
    )
