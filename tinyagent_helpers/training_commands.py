"""What the commands of the command line do that train something, see `commands`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from tinyagent_helpers.artifacts import InputError, make_folder
from tinyagent_helpers.commands import print_json, record, said, show_figures
from tinyagent_helpers.profiles import profile


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def run_pretrain(options: argparse.Namespace) -> int:
    """Train a nano base."""
    from tinyagent_helpers.pretraining import Settings, evaluate, export, pretrain

    usual = Settings(seed=options.seed, lessons=options.lessons)
    rates = {name: options.share * getattr(usual, name) for name in ("muon_rate", "adam_rate")}
    settings = replace(usual, steps=options.steps or usual.steps, **rates)
    result = pretrain(settings, options.output, _report, base=options.base)
    measured = evaluate(options.output, count=100, seed=options.seed)
    lessons = f" --lessons {options.lessons}" * (options.lessons != "apis")
    command = f"tinyagent pretrain --output DIR{lessons} --steps {settings.steps} --seed {options.seed}"
    command += f" --share {options.share}" * (options.share != 1) + " --base BASE" * bool(options.base)
    export(options.output, options.output / "model", command, measured)
    result |= measured
    if options.json:
        print_json(result)
    else:
        print(f"loss {result['loss']:.3f} after {result['seconds'] / 60:.0f} minutes")
        print(
            f"on 100 sheets of held-out {options.lessons}: loss {result['held_out_loss']:.3f}, {result['exact']:.0%} exact plans, {result['success']:.0%} success"
        )
    return 0


def run_train(options: argparse.Namespace) -> int:
    """Fine-tune a planner."""
    from tinyagent_helpers.models import read_manifest
    from tinyagent_helpers.trainer import is_main
    from tinyagent_helpers.training import train_planner

    settings = ("rows", "epochs", "rate", "weight_decay", "batch", "negatives", "all_tools", "simulate", "seed")
    changes = {key: getattr(options, key) for key in settings}
    made = read_manifest(options.start).get("command") if options.start else ""
    given = said(options, ("profile", *settings, "examples", "full"))
    given += "".join(f" --{name} {name.upper()}" for name in ("base", "start") if getattr(options, name))
    manifest = train_planner(
        profile(options.profile),
        options.data,
        options.output,
        {key: value for key, value in changes.items() if value is not None},
        _report,
        base=options.base,
        examples=options.examples,
        full=options.full,
        start=options.start,
        command="; ".join(filter(None, [made, f"tinyagent train --data DIR --output ADAPTER{given}"])),
    )
    if options.json and is_main():
        print_json(manifest)
    elif is_main():
        success = manifest["validation_success"]
        measured = "not measured, there are no validation requests" if success is None else f"{success:.0%}"
        print(f"{options.output}: validation success {measured}, {manifest['seconds'] / 60:.1f} minutes")
    return 0


def run_train_retriever(options: argparse.Namespace) -> int:
    """Train the classifier that finds the tools a request needs."""
    from tinyagent_helpers.artifacts import read_jsonl
    from tinyagent_helpers.toolrag_training import CLASSIFYING, train_classifier
    from tinyagent_helpers.trainer import is_main

    names = ("rows", "epochs", "rate", "batch", "weight", "seed")
    changes = {name: value for name in ("encoder", *names) if (value := getattr(options, name)) is not None}
    settings = replace(CLASSIFYING[options.profile], **changes)
    fields = ("id", "request", "now", "plan")
    train, validation = (options.data / f"{split}.jsonl" for split in ("train", "validation"))
    manifest = train_classifier(
        profile(options.profile),
        list(islice(read_jsonl(train, fields), settings.rows)),
        list(read_jsonl(validation, fields)),
        options.output,
        settings,
        _report,
        command=f"tinyagent train-retriever --data DIR --output RETRIEVER{said(options, ('profile', 'encoder', *names))}",
    )
    if options.json and is_main():
        print_json(manifest)
    elif is_main():
        found = manifest["validation"]
        print(
            f"{options.output}: threshold {manifest['threshold']:.3f}, validation recall {found['recall']:.3f} "
            f"with {found['tools']:.2f} tools, {manifest['seconds'] / 60:.1f} minutes"
        )
    return 0


def run_prefer(options: argparse.Namespace) -> int:
    """DPO on an adapter: right plans against those of a weaker model."""
    from tinyagent_helpers.alignment import DPO, prefer
    from tinyagent_helpers.comparison import rejected_pairs
    from tinyagent_helpers.models import load_planner
    from tinyagent_helpers.preferences import Review
    from tinyagent_helpers.transformers_model import TransformersModel, load_base

    chosen, settings, start = profile(options.profile), _aligning(options, DPO), Path(options.start)
    train, validation, template, index = _aligned_on(options, settings)
    if options.rejected == "base":
        weaker = TransformersModel(*load_base(chosen), name="base")
    else:
        weaker = load_planner(chosen, start if options.rejected == "own" else options.rejected)
    answers = make_folder(options.output) / "pairs.json"
    pairs = rejected_pairs(weaker, train, template, settings, answers, index)
    _report(f"{len(pairs):,} pairs; {len(train) - len(pairs):,} left out, as the rejected plan is right, too")
    if options.review:
        pairs = Review(options.review).accepted(pairs)
    parts = validation, template, settings, options.output, _report, index
    return _aligned(options, prefer(chosen, start, pairs, *parts, command=_alignment(options, _pairs_of(options))))


def run_reinforce(options: argparse.Namespace) -> int:
    """GRPO on an adapter: several plans for each request, those that earn more made likelier."""
    from tinyagent_helpers.alignment import GRPO, reinforce

    chosen, settings, start = profile(options.profile), _aligning(options, GRPO), Path(options.start)
    train, validation, template, index = _aligned_on(options, settings)
    parts = train, validation, template, settings, options.output, _report
    return _aligned(options, reinforce(chosen, start, *parts, index=index, command=_alignment(options)))


ALIGNING = ("rows", "skip", "rate", "batch", "beta", "likelihood", "seed")


def _aligning(options: argparse.Namespace, usual: dict[str, Any]) -> Any:
    """The profile's settings with the changes that were asked for."""
    given = {name: getattr(options, name, None) for name in ALIGNING if name != "skip"}
    changes = {name: value for name, value in given.items() if value is not None}
    return replace(usual[options.profile], **changes)


def _aligned_on(options: argparse.Namespace, settings: Any) -> tuple[list[dict], list[dict], Any, Any]:
    """Training rows, validation rows, the template that the adapter was trained with, and where its examples are found."""
    from tinyagent_helpers.artifacts import read_jsonl
    from tinyagent_helpers.models import read_manifest
    from tinyagent_helpers.prompts import ExampleIndex, template_of

    fields, made = ("id", "request", "now", "plan"), read_manifest(options.start)
    train, validation = (list(read_jsonl(options.data / f"{part}.jsonl", fields)) for part in ("train", "validation"))
    template = template_of(profile(options.profile), made.get("examples"))
    index = ExampleIndex(train[: made.get("settings", {}).get("rows")]) if template.examples else None
    rows = train[options.skip : options.skip + settings.rows]
    return rows, validation[: settings.validation], template, index


def _alignment(options: argparse.Namespace, more: str = "") -> str:
    """All commands that lead to an aligned adapter."""
    from tinyagent_helpers.models import read_manifest

    made = read_manifest(options.start).get("command")
    given = said(options, ("profile", *(name for name in ALIGNING if hasattr(options, name)))) + more
    last = f"tinyagent {options.command} --data DIR --output ALIGNED --start ADAPTER{given}"
    return "; ".join(filter(None, [made, last]))


def _pairs_of(options: argparse.Namespace) -> str:
    """Where the pairs came from, without the folders of this machine."""
    whose = options.rejected if options.rejected in ("base", "own") else "PLANNER"
    return f" --rejected {whose}{' --review VERDICTS' if options.review else ''}"


def _aligned(options: argparse.Namespace, manifest: dict[str, Any]) -> int:
    from tinyagent_helpers.trainer import is_main

    measured = [entry["eval_success"] for entry in manifest["log"] if "eval_success" in entry]
    if options.json and is_main():
        print_json(manifest)
    elif is_main():
        course = f"validation success {measured[0]:.0%} to {measured[-1]:.0%}, " if measured else ""
        print(f"{options.output}: {course}{manifest['seconds'] / 60:.1f} minutes")
    return 0


def run_compare(options: argparse.Namespace) -> int:
    """Train and measure all ways of chapter 05."""
    from tinyagent_helpers.comparison import Comparing, compare

    return _compared(options, compare, Comparing(), f"comparison-{options.profile}")


def run_sizes(options: argparse.Namespace) -> int:
    """Train and measure planners of several sizes."""
    from tinyagent_helpers.sizes import SIZING, measure_sizes

    return _compared(options, measure_sizes, SIZING, f"sizes-{options.profile}")


def run_four_bits(options: argparse.Namespace) -> int:
    """Train a planner on with and without simulated four bits, and measure it in several kinds of file."""
    from tinyagent_helpers.four_bits import Rounding, measure_rounding
    from tinyagent_helpers.models import NANO_ADAPTER

    if not options.start and options.profile != "nano":
        raise InputError(f"no adapter ships for the profile {options.profile}; give --start, what train wrote")
    work = partial(measure_rounding, start=Path(options.start or NANO_ADAPTER))
    return _compared(options, work, Rounding(), f"four-bits-{options.profile}")


def _compared(options: argparse.Namespace, work: Any, usual: Any, name: str) -> int:
    from tinyagent_helpers.artifacts import digest
    from tinyagent_helpers.evaluation import split_files
    from tinyagent_helpers.models import NANO_BASE
    from tinyagent_helpers.synthesis import command_of

    changes = {key: value for key in ("rows", "limit") if (value := getattr(options, key)) is not None}
    rows = work(
        profile(options.profile), options.data, options.output, options.seeds, replace(usual, **changes), _report
    )
    if options.record:
        given = said(options, ("rows", "limit", "profile")) + f" --seeds {' '.join(map(str, options.seeds))}"
        command = f"{command_of(options.data)}; tinyagent {options.command} --data DIR --output RUNS{given}"
        seconds = sum(row["core seconds"] * row["seeds"] for row in rows)
        read = {"test_splits": digest(*split_files(options.data).values())}
        if options.profile == "nano":
            read["base"] = digest(NANO_BASE / "model.safetensors")
        record(name, rows, command, options.profile, options.seeds[0], seconds, **read)
    return show_figures(options, rows)
