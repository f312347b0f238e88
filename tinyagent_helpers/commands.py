"""What the commands of the command line do: each takes its options and returns the exit status.

What a command needs is imported when it runs, so that the others need not wait for it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tinyagent_helpers.artifacts import InputError, stage
from tinyagent_helpers.profiles import profile


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=False))


def run_doctor(options: argparse.Namespace) -> int:
    """Say what this machine can run, and what is missing."""
    from tinyagent_helpers import doctor

    findings = doctor.examine()
    verdicts = doctor.fits(findings)
    if options.json:
        _print_json({"findings": [vars(f) for f in findings], "profiles": verdicts})
    else:
        for f in findings:
            print(f"{'ok ' if f.ok else 'NOT'} {f.what:<13} {f.found}{'' if f.ok else f' -> {f.remedy}'}")
        for name, verdict in verdicts.items():
            print(f"    profile {name:<7} {verdict}")
    return 0 if all(f.ok for f in findings) else 1


def run_course(options: argparse.Namespace) -> int:
    """Execute the notebooks."""
    from tinyagent_helpers.course import run_course, table

    chosen = profile(options.profile)
    outcomes = run_course(chosen, options.only, options.solved, report=lambda line: print(line, flush=True))
    print(table(outcomes), end="")
    failed = any(o.error for o in outcomes)
    if options.record and not failed:
        rows = [{"notebook": o.notebook, "seconds": round(o.seconds), "memory, MB": o.memory_mb} for o in outcomes]
        rows.append(
            {
                "notebook": "all",
                "seconds": round(sum(o.seconds for o in outcomes)),
                "memory, MB": max(o.memory_mb for o in outcomes),
            }
        )
        _record(
            f"course-{chosen.name}",
            rows,
            f"tinyagent course --profile {chosen.name}",
            chosen.name,
            0,
            sum(o.seconds for o in outcomes),
        )
    return 1 if failed else 0


def _record(name: str, rows: list[dict[str, Any]], command: str, profile: str, seed: int, seconds: float) -> None:
    from tinyagent_helpers import results

    results.record(name, rows, command=command, profile=profile, seed=seed, seconds=seconds)
    results.update_readme()


def run_ask(options: argparse.Namespace) -> int:
    """Plan one request and carry it out on the Mac."""
    from tinyagent_helpers.agent import Agent
    from tinyagent_helpers.mac.simulated import SimulatedMac
    from tinyagent_helpers.recorded import RecordedJoiner, RecordedPlanner, find_recording, load_recordings
    from tinyagent_helpers.sanity import check_request
    from tinyagent_helpers.tools import bind

    check_request(options.request)
    if options.model or options.server:
        from tinyagent_helpers.planner import ModelJoiner, ModelPlanner
        from tinyagent_helpers.prompts import template_of

        model, template = _language_model(options), template_of(profile(options.profile))
        planner, joiner = ModelPlanner(model, template), ModelJoiner(model, template)
        now = options.now or datetime.now().replace(microsecond=0)
        planner.prompt(options.request, now)
    else:
        recording = find_recording(options.request, load_recordings())
        planner, joiner = RecordedPlanner(recording), RecordedJoiner(recording.answer)
        now = options.now or recording.now
        if now != recording.now:
            raise InputError(f"this plan was recorded for {recording.now}; another --now needs a --model or a --server")
    if options.plan_only:
        return asyncio.run(_show_plan(options, planner, now))
    mac = SimulatedMac(stage(options.profile, "mac"), now, reset=options.reset)
    run = asyncio.run(Agent(planner, joiner, bind(mac)).run(options.request, now))
    if options.json:
        _print_json(run.to_json())
    else:
        for round in run.rounds:
            print(round.plan)
            if round.error:
                print(f"  not a plan: {round.error}")
            for step in round.steps:
                print(f"  {step.id}: {step.error and f'failed: {step.error}' or step.observation}")
        print(run.answer)
    return 0 if run.succeeded else 1


def _language_model(options: argparse.Namespace) -> Any:
    """The model that the options name."""
    from tinyagent_helpers.models import ServerModel, load_planner

    if options.server:
        return ServerModel(options.server, options.model or "default")
    return load_planner(profile(options.profile), options.model)


async def _show_plan(options: argparse.Namespace, planner: Any, now: datetime) -> int:
    """Write a plan and run nothing of it."""
    from tinyagent_helpers.agent import Round, Run, StepRun
    from tinyagent_helpers.plans import PlanError, parse_plan
    from tinyagent_helpers.tools import MAC_TOOLS

    started = time.perf_counter()
    round = Round("".join([piece async for piece in planner.stream(options.request, now, [])]))
    try:
        steps = parse_plan(round.plan).steps
        round.steps = [StepRun(s.id, s.tool, list(s.arguments), list(s.depends_on)) for s in steps]
    except PlanError as error:
        round.error = str(error)
    seconds = round.planned = time.perf_counter() - started
    run = Run(options.request, now, list(MAC_TOOLS), [round], seconds=seconds)
    _print_json(run.to_json()) if options.json else print(round.plan)
    return 1 if round.error else 0


def run_plan(options: argparse.Namespace) -> int:
    """Write plans for a file of requests."""
    from tinyagent_helpers.planner import ModelPlanner, plan_file
    from tinyagent_helpers.prompts import template_of

    chosen = profile(options.profile)
    planner = ModelPlanner(_language_model(options), template_of(chosen))
    started = time.monotonic()
    count = plan_file(planner, options.input, options.output, lambda line: print(line, file=sys.stderr, flush=True))
    result = {"output": str(options.output), "plans": count, "seconds": round(time.monotonic() - started, 1)}
    _print_json(result) if options.json else print(f"{count:,} plans added to {options.output}")
    return 0


def run_evaluate(options: argparse.Namespace) -> int:
    """Measure a planner on every test split."""
    from tinyagent_helpers.artifacts import read_jsonl
    from tinyagent_helpers.evaluation import evaluate, read_test_splits
    from tinyagent_helpers.models import read_manifest
    from tinyagent_helpers.prompts import ExampleIndex, template_of

    chosen, started = profile(options.profile), time.monotonic()
    template = template_of(chosen, options.examples)
    model, splits = _language_model(options), read_test_splits(options.data, options.limit)
    index = ExampleIndex(list(read_jsonl(options.data / "train.jsonl"))) if template.examples else None
    figures = evaluate(model, template, splits, lambda line: print(line, file=sys.stderr, flush=True), index)
    seconds = time.monotonic() - started
    if options.record:
        command = (
            f"tinyagent evaluate --data DIR --limit {options.limit}{_said(options, ('profile', 'examples', 'server'))}"
        )
        if options.server:
            command += f" --model {options.model}" if options.model else ""
        elif made := read_manifest(options.model).get("command") if options.model else "":
            command = f"{made}; {command} --model ADAPTER"
        _record(options.record, figures, command, chosen.name, 0, seconds)
    if options.json:
        _print_json({"figures": figures, "seconds": round(seconds, 1)})
    else:
        for row in figures:
            print(", ".join(f"{key} {value}" for key, value in row.items()))
    return 0


def run_train(options: argparse.Namespace) -> int:
    """Fine-tune a planner."""
    from tinyagent_helpers.models import read_manifest
    from tinyagent_helpers.training import is_main, train_planner

    settings = ("rows", "epochs", "rate", "batch", "negatives", "seed")
    changes = {key: getattr(options, key) for key in settings}
    first = f"{read_manifest(options.start).get('command')}; " if options.start else ""
    started = " --start ADAPTER" if options.start else ""
    manifest = train_planner(
        profile(options.profile),
        options.data,
        options.output,
        {key: value for key, value in changes.items() if value is not None},
        lambda line: print(line, file=sys.stderr, flush=True),
        base=options.base,
        examples=options.examples,
        full=options.full,
        start=options.start,
        command=f"{first}tinyagent train --data DIR --output ADAPTER{_said(options, ('profile', 'base', *settings, 'examples', 'full'))}{started}",
    )
    if options.json and is_main():
        _print_json(manifest)
    elif is_main():
        success = manifest["validation_success"]
        measured = "not measured, there are no validation requests" if success is None else f"{success:.0%}"
        print(f"{options.output}: validation success {measured}, {manifest['seconds'] / 60:.1f} minutes")
    return 0


def _said(options: argparse.Namespace, names: Sequence[str]) -> str:
    """These options as they were given, those left out left out."""
    given = {
        name: value for name in names if (value := getattr(options, name)) not in ("", None) and value is not False
    }
    return "".join(f" --{name}{'' if value is True else f' {value}'}" for name, value in given.items())


def run_score(options: argparse.Namespace) -> int:
    """Compare plans with the right ones."""
    from tinyagent_helpers.scoring import read_plans, score

    result = score(read_plans(options.pred), read_plans(options.gold)).to_json()
    if options.json:
        _print_json(result)
        return 0
    for name in ("success", "argument_aware"):
        low, high = result[name]["interval"]
        print(
            f"{name:<15} {result[name]['rate']:.1%} ({result[name]['k']} of {result['n']}, 95 % interval {low:.1%} to {high:.1%})"
        )
    print(f"tool recall     {result['tool_recall']:.1%}\ntool precision  {result['tool_precision']:.1%}")
    for kind, count in result["failures"].items():
        print(f"  {count:>6} {kind}")
    return 0


def run_synthesize(options: argparse.Namespace) -> int:
    """Write training data."""
    from tinyagent_helpers.dataset import to_tinyagent
    from tinyagent_helpers.synthesis import SHARES, RecordedTeacher, synthesize

    teacher = RecordedTeacher() if options.teacher == "recorded" else _endpoint(options)
    started = time.monotonic()
    funnel = synthesize(
        teacher, options.count, options.seed, options.output, lambda line: print(line, file=sys.stderr, flush=True)
    )
    if options.format == "tinyagent":
        for split in SHARES:
            to_tinyagent(options.output / f"{split}.jsonl", options.output / f"{split}.json")
    result = {
        "output": str(options.output),
        "accepted": funnel.accepted,
        "rejected": funnel.rejected,
        "cost": funnel.cost,
    }
    seconds = time.monotonic() - started
    if options.record:
        from tinyagent_helpers.results import peak_memory_mb

        row = {
            "examples": funnel.total,
            "rejected": funnel.rejected.total(),
            "seconds": round(seconds),
            "memory, MB": peak_memory_mb(),
        }
        command = f"tinyagent synthesize --count {options.count} --seed {options.seed} --output DIR"
        _record("synthesis", [row], command, "any", options.seed, seconds)
    if options.json:
        _print_json(result)
    else:
        print(f"{funnel.total:,} examples in {options.output}: {dict(funnel.accepted)}")
        print(f"{funnel.rejected.total():,} drafts rejected: {dict(funnel.rejected)}")
        print(f"cost ${funnel.cost:.2f}")
    return 0 if funnel.total >= options.count else 1


def _endpoint(options: argparse.Namespace) -> Any:
    from tinyagent_helpers.endpoint import EndpointTeacher

    if not options.teacher.startswith(("http://", "https://")):
        raise InputError(f"--teacher is {options.teacher!r}; give recorded, or a URL such as http://127.0.0.1:8080/v1")
    if not options.model:
        raise InputError("an endpoint needs --model, the name of the model it serves")
    prices = {"price_in": options.price_in, "price_out": options.price_out}
    return EndpointTeacher(options.teacher, options.model, budget=options.budget, workers=options.workers, **prices)


def run_pretrain(options: argparse.Namespace) -> int:
    """Train a nano base."""
    from tinyagent_helpers.pretraining import Settings, evaluate, export, pretrain

    settings = Settings(steps=options.steps or Settings.steps, seed=options.seed)
    result = pretrain(
        settings, options.output, lambda line: print(line, file=sys.stderr, flush=True), base=options.base
    )
    measured = evaluate(options.output, count=100, seed=options.seed)
    command = f"tinyagent pretrain --output DIR --steps {settings.steps} --seed {options.seed}"
    command += " --base FIRST/model" if options.base else ""
    export(options.output, options.output / "model", command, measured)
    result |= measured
    if options.json:
        _print_json(result)
    else:
        print(f"loss {result['loss']:.3f} after {result['seconds'] / 60:.0f} minutes")
        print(
            f"on 100 sheets of held-out APIs: loss {result['held_out_loss']:.3f}, {result['exact']:.0%} exact plans, {result['success']:.0%} success"
        )
    return 0
