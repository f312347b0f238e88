"""The command line. Exit status: 0 done, 1 the task failed, 2 bad usage or input."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tinyagent_helpers.artifacts import InputError, stage
from tinyagent_helpers.profiles import PROFILES, profile


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; problems with the input are told in one line."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except InputError as error:
        print(f"tinyagent {options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            f"tinyagent {options.command}: interrupted; what was finished is kept, the same command goes on",
            file=sys.stderr,
        )
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tinyagent", description="The TinyAgent course.")
    commands = parser.add_subparsers(dest="command", required=True)

    doctor = commands.add_parser("doctor", help="what this machine can run, and what is missing")
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    doctor.set_defaults(run=_doctor)

    course = commands.add_parser("course", help="execute the notebooks in order")
    course.add_argument("--profile", default="nano", choices=PROFILES)
    course.add_argument(
        "--only", action="append", default=[], metavar="NN", help="only notebooks that start so; may be given again"
    )
    course.add_argument("--solved", action="store_true", help="with the exercises filled in and checked")
    course.add_argument("--record", action="store_true", help="keep times and memory in data/results and the README")
    course.set_defaults(run=_course)

    ask = commands.add_parser("ask", help="carry out one request")
    ask.add_argument("request")
    ask.add_argument("--now", type=_moment, help="when the request is made, such as 2024-05-24T09:00:00")
    ask.add_argument("--mac", choices=["simulated"], default="simulated", help="the real Mac comes with chapter 7")
    ask.add_argument("--plan-only", action="store_true", help="show the plan, run nothing")
    ask.add_argument("--reset", action="store_true", help="start from the Mac as it ships")
    ask.add_argument("--json", action="store_true", help="print one JSON object")
    ask.set_defaults(run=_ask)

    score = commands.add_parser("score", help="compare plans with the right ones")
    score.add_argument("--gold", type=Path, required=True, metavar="F.jsonl")
    score.add_argument("--pred", type=Path, required=True, metavar="F.jsonl")
    score.add_argument("--json", action="store_true", help="print one JSON object")
    score.set_defaults(run=_score)

    synthesize = commands.add_parser("synthesize", help="write checked training data")
    synthesize.add_argument("--count", type=int, required=True, help="examples; each is a plan and a join")
    synthesize.add_argument("--seed", type=int, default=0)
    synthesize.add_argument("--output", type=Path, required=True, metavar="DIR")
    synthesize.add_argument(
        "--teacher", default="recorded", help="recorded, or the URL of an OpenAI-compatible endpoint"
    )
    synthesize.add_argument("--model", default="", help="the endpoint's model")
    synthesize.add_argument(
        "--budget", type=float, default=1.0, help="dollars an endpoint may cost at most, by its prices"
    )
    synthesize.add_argument("--price-in", type=float, default=0.0, help="dollars per million prompt tokens")
    synthesize.add_argument("--price-out", type=float, default=0.0, help="dollars per million answer tokens")
    synthesize.add_argument("--workers", type=int, default=4, help="requests to an endpoint at a time")
    synthesize.add_argument("--format", choices=["jsonl", "tinyagent"], default="jsonl")
    synthesize.add_argument("--record", action="store_true", help="keep time and memory in data/results and the README")
    synthesize.add_argument("--json", action="store_true", help="print one JSON object")
    synthesize.set_defaults(run=_synthesize)
    pretrain = commands.add_parser("pretrain", help="train a nano base on made-up APIs, or go on training it")
    pretrain.add_argument("--output", type=Path, required=True, metavar="DIR")
    pretrain.add_argument("--steps", type=int, default=2_800)
    pretrain.add_argument("--seed", type=int, default=0)
    pretrain.add_argument("--json", action="store_true", help="print one JSON object")
    pretrain.set_defaults(run=_pretrain)
    return parser


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2024-05-24T09:00:00") from None


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=False))


def _doctor(options: argparse.Namespace) -> int:
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


def _course(options: argparse.Namespace) -> int:
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


def _ask(options: argparse.Namespace) -> int:
    from tinyagent_helpers.agent import Agent, Round, Run, StepRun
    from tinyagent_helpers.mac.simulated import SimulatedMac
    from tinyagent_helpers.plans import parse_plan
    from tinyagent_helpers.recorded import RecordedJoiner, RecordedPlanner, find_recording, load_recordings
    from tinyagent_helpers.sanity import check_request
    from tinyagent_helpers.tools import MAC_TOOLS, bind

    check_request(options.request)
    recording = find_recording(options.request, load_recordings())
    now = options.now or recording.now
    if now != recording.now:
        raise InputError(
            f"this plan was recorded for {recording.now}; another --now needs a planner that was trained (chapter 3)"
        )
    if options.plan_only:
        planned = [
            StepRun(s.id, s.tool, list(s.arguments), list(s.depends_on)) for s in parse_plan(recording.plans[0]).steps
        ]
        run = Run(options.request, now, list(MAC_TOOLS), [Round(recording.plans[0], planned)])
        _print_json(run.to_json()) if options.json else print(recording.plans[0])
        return 0
    mac = SimulatedMac(stage("nano", "mac"), now, reset=options.reset)
    agent = Agent(RecordedPlanner(recording), RecordedJoiner(recording.answer), bind(mac))
    run = asyncio.run(agent.run(options.request, now))
    if options.json:
        _print_json(run.to_json())
    else:
        for round in run.rounds:
            print(round.plan)
            for step in round.steps:
                print(f"  {step.id}: {step.error and f'failed: {step.error}' or step.observation}")
        print(run.answer)
    return 0 if run.succeeded else 1


def _score(options: argparse.Namespace) -> int:
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


def _synthesize(options: argparse.Namespace) -> int:
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


def _pretrain(options: argparse.Namespace) -> int:
    from tinyagent_helpers.pretraining import Settings, evaluate, pretrain

    if options.steps < 1:
        raise InputError(f"--steps is {options.steps}; at least one is needed")
    settings = Settings(steps=options.steps, seed=options.seed)
    result = pretrain(settings, options.output, lambda line: print(line, file=sys.stderr, flush=True))
    result |= evaluate(options.output, count=100, seed=options.seed)
    if options.json:
        _print_json(result)
    else:
        print(f"loss {result['loss']:.3f} after {result['seconds'] / 60:.0f} minutes")
        print(f"on 100 requests for held-out APIs: {result['exact']:.0%} exact plans, {result['success']:.0%} success")
    return 0
