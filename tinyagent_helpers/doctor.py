"""What this machine can run, and what is missing and how to get it."""

from __future__ import annotations  # so that an old Python, too, gets a remedy and no traceback

import importlib.util
import os
import platform
import shutil
import sys
from dataclasses import dataclass

from tinyagent_helpers.artifacts import ROOT
from tinyagent_helpers.profiles import PROFILES

MINIMUM_PYTHON, NEXT_UNTRIED_PYTHON = (3, 11), (3, 13)


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `ok`, what was found, and what to do if it is not ok."""

    what: str
    ok: bool
    found: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at Python, memory, cores, disk, compiler, libraries, accelerator, hub, and on a Mac at its permissions."""
    memory, disk = total_memory() / 1e9, shutil.disk_usage(ROOT).free / 1e9
    accelerator, cores = find_accelerator(), os.cpu_count() or 1
    python_ok = MINIMUM_PYTHON <= sys.version_info[:2] < NEXT_UNTRIED_PYTHON
    compiler = next((c for c in ("c++", "g++", "clang++") if shutil.which(c)), "")
    compiled = importlib.util.find_spec("llama_cpp") is not None
    return [
        Finding(
            "Python", python_ok, platform.python_version(), "install Python 3.11 or 3.12 and run make course again"
        ),
        Finding("system", True, f"{platform.system()} {platform.machine()}"),
        Finding(
            "memory", memory >= 6, f"{memory:.0f} GB", "nano needs 6 GB: close other programs, or use a larger machine"
        ),
        Finding("cores", cores >= 2, str(cores), "with one core everything takes twice as long as stated"),
        Finding("free disk", disk >= 4, f"{disk:.0f} GB", f"free at least 4 GB where {ROOT} lies"),
        Finding(
            "C++ compiler",
            bool(compiler) or compiled,
            compiler or "none" + ", and llama.cpp is there already" * compiled,
            "make course builds llama.cpp with it; Debian, WSL: apt install build-essential, macOS: xcode-select --install",
        ),
        _libraries(),
        Finding("accelerator", True, accelerator or "none; the nano profile needs none"),
        _hub(),
    ]


def total_memory() -> int:
    """This machine's memory in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def find_accelerator() -> str:
    """The accelerator torch can use: "cuda", "mps", or "" for none."""
    if importlib.util.find_spec("torch") is None:
        return ""
    import torch

    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else ""


def fits(findings: list[Finding]) -> dict[str, str]:
    """For each profile "ready", or what it lacks on this machine."""
    broken = [f.what for f in findings if not f.ok and f.what in ("Python", "libraries", "C++ compiler")]
    memory, disk = total_memory() / 1e9, shutil.disk_usage(ROOT).free / 1e9
    accelerator = find_accelerator()
    hub = next(f for f in findings if f.what == "model hub")
    verdicts = {}
    for p in PROFILES.values():
        lacks = (
            broken
            + [f"{p.memory:.0f} GB of memory"] * (memory < p.memory)
            + [f"{p.disk:.0f} GB of disk"] * (disk < p.disk)
        )
        lacks += [f"an accelerator ({' or '.join(p.accelerator)})"] * bool(
            p.accelerator and accelerator not in p.accelerator
        )
        lacks += ["the hub"] * bool(p.network and hub.found != "reachable")
        verdicts[p.name] = f"needs {', '.join(lacks)}" if lacks else "ready"
    return verdicts


def _libraries() -> Finding:
    needed = (
        "transformers",
        "torch",
        "llama_cpp",
        "networkx",
        "pydantic",
        "papermill",
        "pypdf",
        "fpdf",
        "openai",
        "sklearn",
        "matplotlib",
        "ipykernel",
        "ipywidgets",
        "uvicorn",
        "soundfile",
        "pywhispercpp",
    )
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    found = f"missing {', '.join(missing)}" if missing else "complete"
    return Finding("libraries", not missing, found, "run pip install -r requirements.txt in the course's environment")


def _hub() -> Finding:
    """The hub is looked for only where the user has not switched it off; nano never needs it."""
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return Finding("model hub", True, "switched off (HF_HUB_OFFLINE=1)")
    if importlib.util.find_spec("huggingface_hub") is None:
        return Finding("model hub", True, "not looked for; huggingface_hub is not installed")
    import httpx
    from huggingface_hub import constants

    try:
        httpx.head(constants.ENDPOINT, timeout=3)
    except httpx.HTTPError as error:
        return Finding("model hub", True, f"not reachable ({type(error).__name__}); nano does not need it")
    return Finding("model hub", True, "reachable")
