"""What the commands of the command line do: each takes its options and returns the exit status.

What a command needs is imported when it runs, so that the others need not wait for it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tinyagent_helpers.artifacts import InputError, stage
from tinyagent_helpers.profiles import profile

if TYPE_CHECKING:
    from tinyagent_helpers.mac.protocol import Mac
    from tinyagent_helpers.models import LanguageModel
    from tinyagent_helpers.planner import ModelPlanner
    from tinyagent_helpers.toolrag import Retriever

LISTENS = 8  # seconds, into the microphone
ONE_AT_A_TIME = threading.Lock()  # steps run side by side, questions do not
PATIENCE = 600.0  # seconds for a request on the real Mac, where a person may have to say yes to every step


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on standard output."""
    print(json.dumps(value, ensure_ascii=False))


def run_doctor(options: argparse.Namespace) -> int:
    """Say what this machine can run, and what is missing."""
    from tinyagent_helpers import doctor
    from tinyagent_helpers.mac.permissions import examine_mac

    findings = [*doctor.examine(), *examine_mac()]
    verdicts = doctor.fits(findings)
    if options.json:
        print_json({"findings": [vars(f) for f in findings], "profiles": verdicts})
    else:
        for f in findings:
            print(f"{'ok ' if f.ok else 'NOT'} {f.what:<13} {f.found}{'' if f.ok else f' -> {f.remedy}'}")
        for name, verdict in verdicts.items():
            print(f"    profile {name:<7} {verdict}")
    return 0 if all(f.ok for f in findings) else 1


def record(
    name: str,
    rows: list[dict[str, Any]],
    command: str,
    profile: str,
    seed: int,
    seconds: float,
    more: Mapping[str, Any] = MappingProxyType({}),
    **data: str,
) -> None:
    """Keep figures in data/results, and bring the README's tables up to date."""
    from tinyagent_helpers import results

    results.record(name, rows, command=command, profile=profile, seed=seed, seconds=seconds, data=data, more=more)
    results.update_readme()


def run_ask(options: argparse.Namespace) -> int:
    """Plan one request and carry it out on the Mac."""
    from tinyagent_helpers.sanity import check_request

    request = options.request if options.voice is None else _heard(options)
    check_request(request)
    now, planner = options.now or datetime.now().replace(microsecond=0), planner_of(options)
    planner.prompt(request, now)  # a request that does not fit is refused before anything is done
    if options.plan_only:
        return _show_plan(options, request, planner, now)
    from tinyagent_helpers.agent import Agent
    from tinyagent_helpers.planner import ModelJoiner
    from tinyagent_helpers.tools import bind

    limits = {"step_limit": PATIENCE, "time_limit": PATIENCE} if options.mac == "real" else {}
    joiner = ModelJoiner(planner.model, planner.template)
    agent = Agent(planner, joiner, bind(_mac(options, now)), ask=ask_in_terminal, **limits)
    run = asyncio.run(agent.run(request, now))
    run.tools = planner.shown
    if options.json:
        print_json(run.to_json())
    else:
        for round in run.rounds:
            print(round.plan)
            if round.error:
                print(f"  not a plan: {round.error}")
            for step in round.steps:
                print(f"  {step.id}: {step.error and f'failed: {step.error}' or step.observation}")
        print(run.answer)
    return 0 if run.succeeded else 1


def ask_in_terminal(question: str) -> bool:
    """Show what would be done, and wait for a yes; without somebody at a terminal, the answer is no."""
    if not sys.stdin.isatty():
        return False
    with ONE_AT_A_TIME:
        _forget_what_was_typed()
        print(f"\n{question}\nDo this? [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().casefold() in ("y", "yes")


def _forget_what_was_typed() -> None:
    """So that an answer typed too early, or twice, is not taken for one to a question that was not shown yet."""
    with suppress(OSError, ValueError, termios.error):
        termios.tcflush(sys.stdin, termios.TCIFLUSH)


def _mac(options: argparse.Namespace, now: datetime) -> Mac:
    """The Mac that the options name.

    Raises:
        InputError: it is the real one, and this is not a Mac.
    """
    from tinyagent_helpers.models import ServerModel
    from tinyagent_helpers.subagents import ModelWriter, OfflineWriter

    server = options.writer and ServerModel(options.writer, options.writer_model)
    writer = ModelWriter(server) if server else OfflineWriter()
    if options.mac == "simulated":
        from tinyagent_helpers.mac.simulated import SimulatedMac

        return SimulatedMac(stage(options.profile, "mac"), now, reset=options.reset, writer=writer)
    if sys.platform != "darwin":
        raise InputError("the real Mac needs macOS; --mac simulated works everywhere")
    from tinyagent_helpers.mac.applescript import RealMac

    return RealMac(writer=writer, confirm=(lambda preview: True) if options.yes else ask_in_terminal)


def _heard(options: argparse.Namespace) -> str:
    """The request that is spoken in a file, or into the microphone.

    Raises:
        InputError: there is no model to recognise it, or nothing was understood.
    """
    from tinyagent_helpers.voice import WhisperRecogniser, listen, record

    if not options.whisper:
        raise InputError("--voice needs --whisper FILE, a model of whisper.cpp's such as ggml-base.en.bin")
    recogniser = WhisperRecogniser(options.whisper)
    if options.voice == "microphone":
        print(f"speak now, {LISTENS} seconds", file=sys.stderr, flush=True)
    request = listen(record(LISTENS) if options.voice == "microphone" else options.voice, recogniser)
    print(f"heard: {request}", file=sys.stderr, flush=True)
    return request


def planner_of(options: argparse.Namespace) -> ModelPlanner:
    """The planner that the options name, asked as it was trained; a general model behind a server is told all rules."""
    from tinyagent_helpers.models import ServerModel, load_planner, read_manifest, served_manifest

    if not options.server:
        made = read_manifest(options.model) if options.model else {}
        model = load_planner(profile(options.profile), options.model, threads=getattr(options, "threads", 0))
        return _asked(options, model, made, general=False)
    made = read_manifest(options.manifest) if options.manifest else served_manifest(options.server)
    if options.manifest and not made:
        raise InputError(f"{options.manifest} has no manifest beside it, so nobody knows how its planner is asked")
    model = ServerModel(options.server, options.model or "default", template=made.get("template", ""))
    return _asked(options, model, made, general=not made)


def _asked(options: argparse.Namespace, model: LanguageModel, made: dict[str, Any], general: bool) -> ModelPlanner:
    """A planner for a model, with the prompts that its manifest says it was trained on.

    Raises:
        InputError: its prompts show training examples, and it is not said where they are.
    """
    from tinyagent_helpers.artifacts import read_jsonl
    from tinyagent_helpers.planner import ModelPlanner
    from tinyagent_helpers.prompts import ExampleIndex, PromptTemplate, template_of

    chosen, index = profile(made.get("profile", options.profile)), None
    if general:
        template = PromptTemplate(examples=options.examples or 0)
    else:
        template = template_of(chosen, made.get("examples") if options.examples is None else options.examples)
    if template.examples:
        if not options.data:
            raise InputError(
                f"the prompts show {template.examples} training examples: give --data, what synthesize wrote"
            )
        rows = made.get("settings", {}).get("rows")
        index = ExampleIndex(list(islice(read_jsonl(options.data / "train.jsonl", ("request", "plan")), rows)))
    return ModelPlanner(model, template, retriever_of(options.retriever), index)


def run_serve(options: argparse.Namespace) -> int:
    """Serve a planner on this machine until interrupted."""
    from tinyagent_helpers.models import NANO_PLANNER_Q4, read_manifest
    from tinyagent_helpers.serving import application, listen, serve

    if not options.model and options.profile != "nano":
        raise InputError(f"no planner ships for the profile {options.profile}; give --model, what quantize wrote")
    path = Path(options.model or NANO_PLANNER_Q4)
    made, opened = read_manifest(path), listen(options.port)
    serve(application(path, lambda model: _asked(options, model, made, general=False), made), opened)
    return 0


def retriever_of(name: str) -> Retriever:
    """No retrieval for "none", else the classifier in a folder, or the one that ships."""
    from tinyagent_helpers.quick_classifier import NANO_RETRIEVER, load_retriever
    from tinyagent_helpers.toolrag import AllTools

    return AllTools() if name == "none" else load_retriever(NANO_RETRIEVER if name == "shipped" else name)


def _show_plan(options: argparse.Namespace, request: str, planner: Any, now: datetime) -> int:
    """Write a plan and run nothing of it."""
    from tinyagent_helpers.agent import Round, Run, StepRun
    from tinyagent_helpers.plans import PlanError, parse_plan

    started = time.perf_counter()
    round = Round("".join(planner.write(request, now)))
    try:
        steps = parse_plan(round.plan).steps
        round.steps = [StepRun(s.id, s.tool, list(s.arguments), list(s.depends_on)) for s in steps]
    except PlanError as error:
        round.error = str(error)
    seconds = round.planned = time.perf_counter() - started
    run = Run(request, now, planner.shown, [round], seconds=seconds)
    print_json(run.to_json()) if options.json else print(round.plan, flush=True)
    return 1 if round.error else 0


def run_plan(options: argparse.Namespace) -> int:
    """Write plans for a file of requests."""
    from tinyagent_helpers.planner import plan_file

    planner, started = planner_of(options), time.monotonic()
    count = plan_file(planner, options.input, options.output, lambda line: print(line, file=sys.stderr, flush=True))
    result = {"output": str(options.output), "plans": count, "seconds": round(time.monotonic() - started, 1)}
    print_json(result) if options.json else print(f"{count:,} plans added to {options.output}")
    return 0


def run_quantize(options: argparse.Namespace) -> int:
    """Write a planner as a GGUF file, with a manifest and a Modelfile beside it."""
    from tinyagent_helpers.artifacts import digest, write_json, write_text
    from tinyagent_helpers.local_apps import modelfile
    from tinyagent_helpers.models import NANO_ADAPTER, read_manifest
    from tinyagent_helpers.quantize import export
    from tinyagent_helpers.results import hardware
    from tinyagent_helpers.transformers_model import load_trained

    if options.output.suffix != ".gguf":
        raise InputError(f"--output is {options.output}; it is a file whose name ends in .gguf")
    if not options.model and options.profile != "nano":
        raise InputError(f"no planner ships for the profile {options.profile}; give --model, what train wrote")
    folder = Path(options.model or NANO_ADAPTER)
    model = load_trained(profile(options.profile), folder)
    if not model.template and not options.any_template:
        raise InputError(
            f"{folder} does not say what prompt template it was trained on; --any-template converts it all the same"
        )
    made = export(model.model, model.tokenizer, options.output, options.type, model.template)
    kept = {key: value for key, value in read_manifest(folder).items() if key in ("profile", "tools", "examples")}
    commands = [read_manifest(folder).get("command"), f"tinyagent quantize --type {options.type} --output FILE.gguf"]
    if options.model:
        commands[-1] += " --model ADAPTER"
    result = kept | {
        "command": "; ".join(filter(None, commands)),
        "template": model.template,
        "type": options.type,
        "made of": digest(*sorted(folder.glob("*.safetensors"))),
        "file": digest(options.output),
        "megabytes": round(options.output.stat().st_size / 1e6, 2),
        "hardware": hardware(),
    }
    write_json(options.output.with_suffix(".json"), result)
    write_text(options.output.with_suffix(".Modelfile"), modelfile(made, options.output))
    print_json(result) if options.json else print(f"{options.output}: {result['megabytes']} MB, {made.name}")
    return 0


def run_latency(options: argparse.Namespace) -> int:
    """Time a planner of TinyLlama's shape."""
    from tinyagent_helpers.latency import measure_latency, random_tinyllama
    from tinyagent_helpers.transformers_model import load_base

    started = time.monotonic()
    paths = random_tinyllama(load_base(profile("nano"))[1], options.output)
    rows = measure_latency(
        paths,
        options.output,
        options.threads,
        lambda line: print(line, file=sys.stderr, flush=True),
        repeats=options.repeats,
    )
    if options.record:
        command = f"tinyagent latency --output DIR{said(options, ('threads', 'repeats'))}"
        record("latency-tinyllama", rows, command, "gpu", 0, time.monotonic() - started)
    if options.json:
        print_json({"figures": rows})
    return 0


def run_waits(options: argparse.Namespace) -> int:
    """Time the nano planner as a person waits for it."""
    from tinyagent_helpers.artifacts import digest, make_folder
    from tinyagent_helpers.models import NANO_PLANNER_Q4
    from tinyagent_helpers.waits import measure_waits

    started = time.monotonic()
    rows = measure_waits(
        make_folder(options.output), options.count, lambda line: print(line, file=sys.stderr, flush=True)
    )
    if options.record:
        command = f"tinyagent waits --output DIR --count {options.count}"
        record("waits-nano", rows, command, "nano", 0, time.monotonic() - started, model=digest(NANO_PLANNER_Q4))
    return show_figures(options, rows)


def run_red_team(options: argparse.Namespace) -> int:
    """Attack the agent on simulated Macs; failed if an attack reaches its goal."""
    from tinyagent_helpers.artifacts import digest, make_folder
    from tinyagent_helpers.red_team import CASES, measure_attacks

    started = time.monotonic()
    rows = measure_attacks(make_folder(options.output))
    if options.record:
        command = "tinyagent red-team --output DIR"
        record("red-team", rows, command, "any", 0, time.monotonic() - started, cases=digest(CASES))
    show_figures(options, rows)
    return 1 if rows[-1]["the rule"] else 0


def show_figures(options: argparse.Namespace, rows: list[dict[str, Any]]) -> int:
    """Print rows of figures, as lines or as one JSON object; the exit status of a command that is done."""
    if options.json:
        print_json({"figures": rows})
    else:
        for row in rows:
            print(", ".join(f"{key} {value}" for key, value in row.items()))
    return 0


def run_evaluate(options: argparse.Namespace) -> int:
    """Measure a planner on every test split."""
    from tinyagent_helpers.evaluation import NeededTools, evaluate, evaluate_retriever, read_test_splits

    started, splits = time.monotonic(), read_test_splits(options.data, options.limit)
    if options.retrieval_only:
        figures = evaluate_retriever(retriever_of(options.retriever), splits)
    else:
        planner = planner_of(options)
        if options.needed:
            planner.retriever = NeededTools(row for rows in splits.values() for row in rows)
        figures = evaluate(planner.write_all, splits, lambda line: print(line, file=sys.stderr, flush=True))
    seconds = time.monotonic() - started
    if options.record:
        record(options.record, figures, _evaluation(options), options.profile, 0, seconds, **_measured(options))
    if options.json:
        print_json({"figures": figures, "seconds": round(seconds, 1)})
    else:
        for row in figures:
            print(", ".join(f"{key} {value}" for key, value in row.items()))
    return 0


def _evaluation(options: argparse.Namespace) -> str:
    """The commands that lead to the figures of an evaluation."""
    from tinyagent_helpers.models import read_manifest
    from tinyagent_helpers.synthesis import command_of

    given = said(options, ("limit", "profile", "examples", "needed", "retrieval_only", "server"))
    given += {"none": "", "shipped": " --retriever shipped"}.get(options.retriever, " --retriever RETRIEVER")
    commands = [command_of(options.data), f"tinyagent evaluate --data DIR{given}"]
    if options.server:
        commands[-1] += f" --model {options.model}" if options.model else ""
    elif options.model:
        commands[-1] += " --model PLANNER"
        commands.insert(1, read_manifest(options.model).get("command") or "")
    return "; ".join(filter(None, commands))


def _measured(options: argparse.Namespace) -> dict[str, str]:
    """Digests of what an evaluation has read."""
    from tinyagent_helpers.artifacts import digest
    from tinyagent_helpers.evaluation import split_files
    from tinyagent_helpers.models import NANO_PLANNER
    from tinyagent_helpers.quick_classifier import NANO_RETRIEVER

    paths = {"model": "" if options.server else options.model or NANO_PLANNER}
    paths["retriever"] = {"none": "", "shipped": NANO_RETRIEVER}.get(options.retriever, options.retriever)
    weights = {name: weights_of(Path(path)) for name, path in paths.items() if path}
    made = {name: digest(*files) for name, files in weights.items() if files}
    return {"test_splits": digest(*split_files(options.data).values())} | made


def weights_of(path: Path) -> list[Path]:
    return [path] if path.suffix == ".gguf" else sorted(path.glob("*.safetensors"))


def said(options: argparse.Namespace, names: Sequence[str]) -> str:
    """These options as they were given, those left out left out."""
    given = {
        name: value for name in names if (value := getattr(options, name)) not in ("", None) and value is not False
    }
    return "".join(
        f" --{name.replace('_', '-')}{'' if value is True else f' {value}'}" for name, value in given.items()
    )


def run_score(options: argparse.Namespace) -> int:
    """Compare plans with the right ones."""
    from tinyagent_helpers.scoring import read_plans, score

    result = score(read_plans(options.pred), read_plans(options.gold)).to_json()
    if options.json:
        print_json(result)
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
        record("synthesis", [row], command, "any", options.seed, seconds)
    if options.json:
        print_json(result)
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
