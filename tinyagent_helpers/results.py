"""The ledger: figures worth quoting, each with what is needed to get it again, and the tables made of them.

A record is a JSON file in data/results; the README's tables are rendered from it, and a test fails when they differ.
"""

import os
import platform
import resource
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tinyagent_helpers.artifacts import DATA, ROOT, InputError, digest, read_json, write_json, write_text
from tinyagent_helpers.doctor import find_accelerator, total_memory

RESULTS = DATA / "results"
CALLED = ("simple_python", "multiple", "parallel", "parallel_multiple")  # shown of BFCL's categories
LIBRARIES = ("torch", "transformers", "trl", "peft", "numpy", "networkx", "pydantic", "papermill")


def record(
    name: str,
    figures: Sequence[Mapping[str, Any]],
    *,
    command: str,
    profile: str,
    seed: int,
    seconds: float,
    data: Mapping[str, str] = {},
    more: Mapping[str, Any] = {},
    folder: Path = RESULTS,
) -> Path:
    """Write a record: the figures (each a row of a table, with its unit in its key), and where they come from.

    `data`: digests of what went in, beside what ships; `more`: what else is kept.
    """
    source = {
        "command": command,
        "profile": profile,
        "seed": seed,
        "seconds": round(seconds, 1),
        "date": date.today().isoformat(),
        "data": {p.name: digest(p) for p in (DATA / "teacher", DATA / "handwritten", DATA / "mac")} | dict(data),
        "versions": {"python": platform.python_version()} | {library: version(library) for library in LIBRARIES},
        "hardware": hardware(),
    }
    folder.mkdir(exist_ok=True)
    write_json(folder / f"{name}.json", {"figures": list(figures)} | source | dict(more))
    return folder / f"{name}.json"


def hardware() -> str:
    """This machine in a few words; whether its processor has AVX-512 halves or doubles the time of much that the course does."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    name = names[0] if names else platform.machine()
    if any(line.startswith("flags") and "avx512f" not in line for line in lines):
        name += " without AVX-512"
    parts = [f"{os.cpu_count()} cores", name, f"{total_memory() / 1e9:.0f} GB"]
    return ", ".join([*parts, *filter(None, [find_accelerator()]), platform.system()])


def peak_memory_mb() -> int:
    """The most memory this process has held, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1_000_000 if platform.system() == "Darwin" else 1_000)


def table(name: str, folder: Path = RESULTS) -> str:
    """A record as a Markdown table, with its source below; "leaderboard" is the table of all scored models."""
    if name == "leaderboard":
        return markdown(leaderboard(folder))
    found = read_json(folder / f"{name}.json")
    source = f"`{found['command']}`, seed {found['seed']}, {found['hardware']}, {found['date']}."
    return f"{markdown(found['figures'])}\n\n{source}"


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table."""
    lines = [f"| {' | '.join(rows[0])} |", f"|{' --- |' * len(rows[0])}"]
    return "\n".join(lines + [f"| {' | '.join(map(str, row.values()))} |" for row in rows])


def leaderboard(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """BFCL's version 3 and some of its categories, for every model that has a record."""
    shown = []
    for path in sorted(folder.glob("bfcl-*.json")):
        found = read_json(path)
        percent = {row["category"]: row["%"] for row in found["figures"]}
        strict = {row["category"]: round(100 * row["strict"] / row["of"], 1) for row in found["figures"]}
        kept = {"model": path.stem.removeprefix("bfcl-"), "questions": sum(row["of"] for row in found["figures"])}
        kept |= found["overall"]["V3"] | {name: percent.get(name, "") for name in CALLED}
        shown.append(kept | {"irrelevance": percent.get("irrelevance", ""), "strict": strict.get("irrelevance", "")})
    return shown


def render(text: str, folder: Path = RESULTS) -> str:
    """The text with every block `<!-- results: NAME -->` ... `<!-- end -->` filled in from its record.

    Raises:
        InputError: a block does not end.
    """
    head, *blocks = text.split("<!-- results: ")
    parts = [head]
    for block in blocks:
        name, _, rest = block.partition(" -->")
        if "<!-- end -->" not in rest:
            raise InputError(f"the block of results {name} has no <!-- end -->; add it behind the table")
        parts.append(
            f"<!-- results: {name} -->\n{table(name, folder)}\n<!-- end -->{rest.partition('<!-- end -->')[2]}"
        )
    return "".join(parts)


def update_readme() -> None:
    """Bring the README's tables up to date."""
    readme = ROOT / "README.md"
    write_text(readme, render(readme.read_text(encoding="utf-8")))
