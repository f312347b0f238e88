"""The commands for the course as a whole: run it, render it, pack it, take a chapter back to its start."""

from __future__ import annotations

import argparse

from tinyagent_helpers.artifacts import InputError, stage
from tinyagent_helpers.commands import record
from tinyagent_helpers.profiles import profile


def run_course(options: argparse.Namespace) -> int:
    """Execute the notebooks.

    Raises:
        InputError: times of a part of the course, or of a course with the exercises filled in, are to be recorded.
    """
    from tinyagent_helpers.course import run_course, table

    if options.record and (options.only or options.solved):
        raise InputError("--record keeps the times of the whole course; leave out --only and --solved")
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
        record(
            f"course-{chosen.name}",
            rows,
            f"tinyagent course --profile {chosen.name}",
            chosen.name,
            0,
            sum(o.seconds for o in outcomes),
        )
    return 1 if failed else 0


def run_site(options: argparse.Namespace) -> int:
    """Render what the course has executed."""
    from tinyagent_helpers.site import build_site

    print(build_site(options.profile) / "index.html")
    return 0


def run_slides(options: argparse.Namespace) -> int:
    """Make slides of what the course has executed."""
    from tinyagent_helpers.slides import build_slides

    print(build_slides(options.profile) / "index.html")
    return 0


def run_offline(options: argparse.Namespace) -> int:
    """Pack everything that a room without a network needs."""
    from tinyagent_helpers.offline import pack

    archive = pack(options.output or stage("nano", "offline"), options.platform)
    print(f"{archive}: {archive.stat().st_size / 1e9:.2f} GB; OFFLINE.txt in it says how to install it")
    return 0


def run_reset(options: argparse.Namespace) -> int:
    """Take chapters back to their start."""
    from tinyagent_helpers.reset import reset_chapter

    for chapter in options.chapters:
        print(f"{chapter} is as it was; what it left and what you typed: {reset_chapter(options.profile, chapter)}")
    return 0
