"""The command line. Exit status: 0 done, 1 the task failed, 2 bad usage or input."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from tinyagent_helpers import bfcl_commands, commands, course_commands, training_commands
from tinyagent_helpers.artifacts import InputError
from tinyagent_helpers.profiles import PROFILES
from tinyagent_helpers.times import moment_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; problems with the input are told in one line."""
    options = _parser().parse_args(arguments)
    gc.set_threshold(
        100_000
    )  # imports make many objects that stay: looking through them takes a second of a cold `ask`
    try:
        return options.run(options)
    except InputError as error:
        print(f"tinyagent {options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        resumes = options.command in (
            "plan",
            "synthesize",
            "pretrain",
            "train",
            "train-retriever",
            "prefer",
            "reinforce",
            "compare",
            "sizes",
            "four-bits",
        )
        kept = "; what was finished is kept, the same command goes on" if resumes else ""
        print(f"tinyagent {options.command}: interrupted{kept}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tinyagent", description="The TinyAgent course.")
    subcommands = parser.add_subparsers(dest="command", required=True)

    doctor = subcommands.add_parser("doctor", help="what this machine can run, and what is missing")
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    doctor.set_defaults(run=commands.run_doctor)

    course = subcommands.add_parser("course", help="execute the notebooks in order")
    course.add_argument("--profile", default="nano", choices=PROFILES)
    course.add_argument(
        "--only", action="append", default=[], metavar="NN", help="only notebooks that start so; may be given again"
    )
    course.add_argument("--solved", action="store_true", help="with the exercises filled in and checked")
    course.add_argument("--record", action="store_true", help="keep times and memory in data/results and the README")
    course.set_defaults(run=course_commands.run_course)

    ask = subcommands.add_parser("ask", help="carry out one request")
    asked = ask.add_mutually_exclusive_group(required=True)
    asked.add_argument("request", nargs="?")
    asked.add_argument("--voice", metavar="FILE", help="a recording of the request, or the word microphone")
    ask.add_argument("--whisper", default="", metavar="FILE", help="the model that recognises it, of whisper.cpp")
    ask.add_argument("--now", type=_moment, help="when the request is made, such as 2024-05-24T09:00:00")
    _add_model(ask)
    ask.add_argument(
        "--mac", choices=["simulated", "real"], default="simulated", help="the real one asks before it acts"
    )
    ask.add_argument("--yes", action="store_true", help="on the real Mac, do what the request led to without asking")
    ask.add_argument("--plan-only", action="store_true", help="show the plan, run nothing")
    ask.add_argument(
        "--writer", metavar="URL", help="an OpenAI-compatible server that writes e-mails, notes and summaries"
    )
    ask.add_argument("--writer-model", default="default", metavar="NAME", help="the name of the model there")
    ask.add_argument("--reset", action="store_true", help="start from the Mac as it ships")
    ask.add_argument("--json", action="store_true", help="print one JSON object")
    ask.set_defaults(run=commands.run_ask)

    serve = subcommands.add_parser("serve", help="the planner behind an OpenAI-compatible server on this machine")
    serve.add_argument("--profile", default="nano", choices=PROFILES)
    serve.add_argument(
        "--model",
        default="",
        metavar="FILE.gguf",
        help="what quantize wrote; by default the planner that ships, in 4 bits",
    )
    serve.add_argument("--port", type=_at_least(0), default=8321, help="by default 8321; 0 for any that is free")
    _add_prompts(serve)
    serve.set_defaults(run=commands.run_serve)

    plan = subcommands.add_parser("plan", help="write plans for many requests; resumes")
    plan.add_argument("--input", type=Path, required=True, metavar="F.jsonl", help="lines with id, request and now")
    plan.add_argument("--output", type=Path, required=True, metavar="F.jsonl")
    _add_model(plan)
    plan.add_argument("--json", action="store_true", help="print one JSON object")
    plan.set_defaults(run=commands.run_plan)

    score = subcommands.add_parser("score", help="compare plans with the right ones")
    score.add_argument("--gold", type=Path, required=True, metavar="F.jsonl")
    score.add_argument("--pred", type=Path, required=True, metavar="F.jsonl")
    score.add_argument("--json", action="store_true", help="print one JSON object")
    score.set_defaults(run=commands.run_score)

    synthesize = subcommands.add_parser("synthesize", help="write checked training data")
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
    synthesize.set_defaults(run=commands.run_synthesize)
    pretrain = subcommands.add_parser("pretrain", help="train a nano base, or go on training it")
    pretrain.add_argument("--output", type=Path, required=True, metavar="DIR")
    pretrain.add_argument(
        "--base", type=Path, metavar="DIR", help="go on from this exported model; give another seed, too"
    )
    pretrain.add_argument(
        "--lessons",
        default="apis",
        choices=("apis", "functions"),
        help="made-up APIs, or made-up functions (notebook 08)",
    )
    pretrain.add_argument("--steps", type=_at_least(1))
    pretrain.add_argument("--share", type=float, default=1.0, help="of the usual learning rates (default 1)")
    pretrain.add_argument("--seed", type=int, default=0)
    pretrain.add_argument("--json", action="store_true", help="print one JSON object")
    pretrain.set_defaults(run=training_commands.run_pretrain)

    quantize = subcommands.add_parser("quantize", help="a planner as one GGUF file for llama.cpp, in 16 bits or fewer")
    quantize.add_argument("--profile", default="nano", choices=PROFILES)
    quantize.add_argument(
        "--model", default="", metavar="DIR", help="what train wrote; on nano by default the adapter that ships"
    )
    quantize.add_argument("--type", default="Q8_0", choices=["F16", "Q8_0", "Q4_K_M", "Q4_0"])
    quantize.add_argument("--output", type=Path, required=True, metavar="FILE.gguf")
    quantize.add_argument(
        "--any-template", action="store_true", help="also a model of which nobody knows what prompts it was trained on"
    )
    quantize.add_argument("--json", action="store_true", help="print one JSON object")
    quantize.set_defaults(run=commands.run_quantize)

    site = subcommands.add_parser("site", help="the executed course as a site, to be read without a network")
    site.add_argument("--profile", default="nano", choices=PROFILES)
    site.set_defaults(run=course_commands.run_site)

    slides = subcommands.add_parser("slides", help="slides with speaker's notes, from the executed course")
    slides.add_argument("--profile", default="nano", choices=PROFILES)
    slides.set_defaults(run=course_commands.run_slides)

    reset = subcommands.add_parser(
        "reset", help="a chapter from its start; what it left and what you typed is put aside"
    )
    reset.add_argument("chapters", nargs="+", metavar="CHAPTER", help="such as 03")
    reset.add_argument("--profile", default="nano", choices=PROFILES)
    reset.set_defaults(run=course_commands.run_reset)

    offline = subcommands.add_parser("offline", help="pack the course and every wheel for rooms without a network")
    offline.add_argument("--output", type=Path, metavar="DIR", help="by default artifacts/nano/offline")
    offline.add_argument(
        "--platform",
        nargs="+",
        default=[],
        metavar="NAME",
        help="also macos-arm64, linux-x86_64 or linux-aarch64 (wants uv)",
    )
    offline.set_defaults(run=course_commands.run_offline)

    latency = subcommands.add_parser(
        "latency", help="how long a planner of TinyLlama's shape takes, in every type of file"
    )
    latency.add_argument("--output", type=Path, required=True, metavar="DIR", help="for the files, 4.7 GB")
    latency.add_argument("--threads", type=_at_least(1), default=2)
    latency.add_argument("--repeats", type=_at_least(1), default=3)
    latency.add_argument("--record", action="store_true", help="keep the figures in data/results")
    latency.add_argument("--json", action="store_true", help="print one JSON object")
    latency.set_defaults(run=commands.run_latency)

    waits = subcommands.add_parser("waits", help="how long one waits for a plan and its first step, cold and warm")
    waits.add_argument("--count", type=_at_least(1), default=10, help="requests for each way to ask")
    red_team = subcommands.add_parser("red-team", help="attacks on the agent, and how many reach their goal")
    for command, run in ((waits, commands.run_waits), (red_team, commands.run_red_team)):
        command.add_argument("--output", type=Path, required=True, metavar="DIR", help="for the simulated Macs")
        command.add_argument("--record", action="store_true", help="keep the figures in data/results")
        command.add_argument("--json", action="store_true", help="print one JSON object")
        command.set_defaults(run=run)

    bfcl = subcommands.add_parser("bfcl", help="the Berkeley Function Calling Leaderboard")
    steps = bfcl.add_subparsers(dest="step", required=True)
    asked = steps.add_parser("run", help="ask a model the questions; resumes")
    _add_model(asked)
    asked.add_argument(
        "--mode",
        choices=["plan", "prompt", "function-calling"],
        default="plan",
        help="a planner's language, BFCL's own, or that of a model's chat template or server",
    )
    asked.add_argument(
        "--context", type=_at_least(1), help="how many tokens the model reads, if it does not say so itself"
    )
    asked.add_argument("--grammar", action="store_true", help="in plan mode, only what is a plan (llama.cpp alone)")
    asked.add_argument(
        "--find", action="store_true", help="in plan mode, show only functions that a request may be about"
    )
    asked.add_argument("--optional", action="store_true", help="in plan mode, show parameters that may be left out")
    asked.add_argument(
        "--threads", type=_at_least(1), default=os.cpu_count() or 1, help="for a GGUF file (default: every core)"
    )
    scored = steps.add_parser("score", help="verdicts by the official checkers")
    scored.add_argument("--profile", default="nano", choices=PROFILES)
    scored.add_argument("--record", action="store_true", help="keep the figures in data/results")
    for command, run in ((asked, bfcl_commands.run_bfcl), (scored, bfcl_commands.score_bfcl)):
        command.add_argument("--name", required=True, help="the model's name in the results")
        command.add_argument(
            "--category",
            action="append",
            metavar="NAME",
            help="or single_turn (the default), non_live, live, multi_turn, all; may be given again",
        )
        command.add_argument("--output", type=Path, required=True, metavar="DIR", help="for the results")
        command.add_argument("--limit", type=_at_least(1), help="questions of a category at most, a seeded sample")
        command.add_argument("--seed", type=_at_least(0), default=0)
        command.add_argument("--json", action="store_true", help="print one JSON object")
        command.set_defaults(run=run)

    evaluate = subcommands.add_parser("evaluate", help="a planner's success on every test split")
    evaluate.add_argument("--limit", type=_at_least(1), default=300, help="requests of a split at most")
    evaluate.add_argument("--record", metavar="NAME", help="keep the figures in data/results under this name")
    evaluate.add_argument("--needed", action="store_true", help="show only the tools that the right plan calls")
    evaluate.add_argument("--retrieval-only", action="store_true", help="how well tools are found, without a planner")
    _add_model(evaluate, data_required=True, retriever="none")
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")
    evaluate.set_defaults(run=commands.run_evaluate)

    train = subcommands.add_parser("train", help="fine-tune a planner on the Mac's tools; resumes")
    train.add_argument("--profile", default="nano", choices=PROFILES)
    train.add_argument("--data", type=Path, required=True, metavar="DIR", help="what synthesize wrote")
    train.add_argument("--output", type=Path, required=True, metavar="DIR")
    train.add_argument("--base", default="", metavar="DIR", help="instead of the profile's base")
    train.add_argument("--start", default="", metavar="DIR", help="an adapter to go on from, instead of a new one")
    train.add_argument("--rows", type=_at_least(1), help="rows of the training split to use")
    train.add_argument("--epochs", type=float)
    train.add_argument("--rate", type=float, help="the highest learning rate")
    train.add_argument("--weight-decay", type=float, help="how fast weights are pulled towards nothing")
    train.add_argument(
        "--simulate", action="store_true", default=None, help="compute as if weights had four bits already (Q4_0)"
    )
    train.add_argument("--batch", type=_at_least(1), help="examples a step, over all processes")
    train.add_argument(
        "--negatives", type=_at_least(0), help="tools that are not needed in a prompt; 0 for none in any"
    )
    train.add_argument(
        "--all-tools", type=float, metavar="SHARE", help="how often a prompt shows every tool, from 0 to 1"
    )
    train.add_argument("--examples", type=_at_least(0), help="training examples in the prompt")
    train.add_argument("--full", action="store_true", help="train all weights, not an adapter")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--json", action="store_true", help="print one JSON object")
    train.set_defaults(run=training_commands.run_train)

    retriever = subcommands.add_parser("train-retriever", help="train the classifier that finds tools; resumes")
    retriever.add_argument("--profile", default="nano", choices=PROFILES)
    retriever.add_argument("--data", type=Path, required=True, metavar="DIR", help="what synthesize wrote")
    retriever.add_argument("--output", type=Path, required=True, metavar="DIR")
    retriever.add_argument(
        "--encoder",
        metavar="DIR",
        help="instead of the profile's encoder: a folder, or, with a network, the hub's name",
    )
    retriever.add_argument("--rows", type=_at_least(1), help="rows of the training split to use")
    retriever.add_argument("--epochs", type=_at_least(1))
    retriever.add_argument("--rate", type=float, help="the highest learning rate")
    retriever.add_argument("--batch", type=_at_least(1), help="requests a step, over all processes")
    retriever.add_argument("--weight", type=float, help="how much more a needed tool counts in the loss")
    retriever.add_argument("--seed", type=int, default=0)
    retriever.add_argument("--json", action="store_true", help="print one JSON object")
    retriever.set_defaults(run=training_commands.run_train_retriever)

    prefer = subcommands.add_parser("prefer", help="DPO: go on from an adapter with pairs of plans; resumes")
    _add_alignment(prefer)
    prefer.add_argument(
        "--rejected",
        default="base",
        metavar="WHOSE",
        help="whose plans are rejected: the base's, those of the adapter itself (own), or of another planner in a folder",
    )
    prefer.add_argument("--likelihood", type=float, help="how much the chosen plan's own likelihood counts in the loss")
    prefer.add_argument("--review", type=Path, metavar="F.jsonl", help="verdicts on pairs, as notebook 05 keeps them")
    prefer.set_defaults(run=training_commands.run_prefer)

    reinforce = subcommands.add_parser("reinforce", help="GRPO: go on from an adapter with rewards; resumes")
    _add_alignment(reinforce)
    reinforce.set_defaults(run=training_commands.run_reinforce)

    for name, run, what in (
        ("compare", training_commands.run_compare, "all ways of chapter 05, from the same start; resumes"),
        ("sizes", training_commands.run_sizes, "planners of several sizes from random weights; resumes"),
        (
            "four-bits",
            training_commands.run_four_bits,
            "what 4 bits cost, and what training with them gives back; resumes",
        ),
    ):
        compare = subcommands.add_parser(name, help=what)
        compare.add_argument("--profile", default="nano", choices=PROFILES)
        compare.add_argument("--data", type=Path, required=True, metavar="DIR", help="what synthesize wrote")
        compare.add_argument("--output", type=Path, required=True, metavar="DIR")
        compare.add_argument("--seeds", type=_at_least(0), nargs="+", default=[0, 1, 2])
        compare.add_argument("--rows", type=_at_least(2), help="rows of the training split to start from")
        compare.add_argument("--limit", type=_at_least(1), help="requests of a test split at most")
        compare.add_argument("--record", action="store_true", help="keep the figures in data/results")
        compare.add_argument("--json", action="store_true", help="print one JSON object")
        if name == "four-bits":
            compare.add_argument("--start", default="", metavar="DIR", help="an adapter; on nano the one that ships")
        compare.set_defaults(run=run)
    return parser


def _add_alignment(command: argparse.ArgumentParser) -> None:
    command.add_argument("--profile", default="nano", choices=PROFILES)
    command.add_argument("--data", type=Path, required=True, metavar="DIR", help="what synthesize wrote")
    command.add_argument("--start", type=Path, required=True, metavar="DIR", help="the adapter to go on from")
    command.add_argument("--output", type=Path, required=True, metavar="DIR")
    command.add_argument("--rows", type=_at_least(1), help="rows of the training split to use")
    command.add_argument(
        "--skip",
        type=_at_least(0),
        default=0,
        help="rows of the training split to pass over, as the adapter knows them",
    )
    command.add_argument("--rate", type=float, help="the highest learning rate")
    command.add_argument("--batch", type=_at_least(1), help="pairs (DPO) or plans (GRPO) a step, over all processes")
    command.add_argument("--beta", type=float, help="how strongly the planner is held to where it started")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--json", action="store_true", help="print one JSON object")


def _add_prompts(command: argparse.ArgumentParser, data_required: bool = False, retriever: str = "shipped") -> None:
    command.add_argument(
        "--retriever",
        default=retriever,
        metavar="DIR",
        help=f"which tools the planner sees: those that what train-retriever wrote finds, shipped, or none for all tools; by default {retriever}",
    )
    command.add_argument(
        "--data", type=Path, required=data_required, metavar="DIR", help="what synthesize wrote, examples among it"
    )
    command.add_argument(
        "--examples", type=_at_least(0), help="training examples in the prompt; by default as many as in training"
    )


def _add_model(command: argparse.ArgumentParser, data_required: bool = False, retriever: str = "shipped") -> None:
    _add_prompts(command, data_required, retriever)
    command.add_argument("--profile", default="nano", choices=PROFILES)
    command.add_argument(
        "--model",
        default="",
        metavar="PATH",
        help="what train or quantize wrote; by default the planner that ships",
    )
    command.add_argument(
        "--server",
        metavar="URL",
        help="an OpenAI-compatible server, such as http://127.0.0.1:8080/v1; --model is the name of the model there",
    )
    command.add_argument(
        "--manifest",
        default="",
        metavar="PATH",
        help="for a planner behind another server than tinyagent serve: its own file or folder, which says how it is asked",
    )


def _moment(text: str) -> datetime:
    try:
        return moment_of(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2024-05-24T09:00:00") from None


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} on")
        return int(text)

    return number
