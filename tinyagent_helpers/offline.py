"""All that a room without a network needs, in one archive: the course as it was committed, a git checkout with data and models,
and a wheel of every package, llama.cpp compiled. It installs on machines like the one that packed it, and on those of the
platforms that were named; there llama.cpp is compiled from its source."""

import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tinyagent_helpers.artifacts import ROOT, InputError, make_folder, write_text

PIP = sys.executable, "-m", "pip", "--disable-pip-version-check"
PLATFORMS = {  # uv's name, and the tags of wheels that run there
    "macos-arm64": ("aarch64-apple-darwin", ["macosx_14_0_arm64", "macosx_10_9_universal2"]),
    "linux-x86_64": (
        "x86_64-manylinux_2_28",
        [f"manylinux_2_{n}_x86_64" for n in (28, 27, 26, 24, 17, 12, 5)] + ["manylinux2014_x86_64"],
    ),
    "linux-aarch64": (
        "aarch64-manylinux_2_28",
        [f"manylinux_2_{n}_aarch64" for n in (28, 27, 26, 24, 17)] + ["manylinux2014_aarch64"],
    ),
}
# what is compiled on another platform needs these
BUILD = ("setuptools", "wheel", "scikit-build-core", "cmake", "ninja", "packaging", "pathspec")
# for processors of the last ten years, not only for the one that compiles
GENERIC = "-DLLAVA_BUILD=OFF -DLLAMA_OPENSSL=OFF -DGGML_NATIVE=OFF"
HOW = """To install without a network (Python {python} on {machines}):

    tar xf {name}
    cd tinyagent-course
    PIP_NO_INDEX=1 PIP_FIND_LINKS=$PWD/wheels make course PYTHON=python{python}

(The folder's path must have no space in it.) Everything that make says in the README works then. Other machines need another
archive: make offline on one of them, or with PLATFORMS="{known}".
"""


def pack(folder: Path, platforms: Sequence[str] = ()) -> Path:
    """Write the archive into a folder, for this machine and the `PLATFORMS` named; return its path.

    Raises:
        InputError: a platform is not known, the course is not a git checkout, or a wheel cannot be had.
    """
    if unknown := sorted(set(platforms) - set(PLATFORMS)):
        raise InputError(f"{', '.join(unknown)}: not known; there are {', '.join(PLATFORMS)}")
    if platforms and not shutil.which("uv"):
        raise InputError("other platforms need uv, which says what the requirements mean there: pip install uv")
    machine = f"{platform.system()}-{platform.machine()}-python3.{sys.version_info.minor}"
    target = make_folder(folder).resolve() / f"tinyagent-course-{machine}.tar"
    with TemporaryDirectory(dir=target.parent) as name:
        work = Path(name)
        course, wheels = work / "tinyagent-course", make_folder(work / "wheels")
        _run("git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", str(course))
        _run("git", "-C", str(course), "remote", "remove", "origin")
        _wheels(work, wheels)
        for other in platforms:
            _wheels_elsewhere(other, work, wheels)
        write_text(work / "OFFLINE.txt", _how(target.name, platforms))
        with tarfile.open(work / target.name, "w") as archive:
            archive.add(course, course.name)
            archive.add(wheels, f"{course.name}/wheels")
            archive.add(work / "OFFLINE.txt", f"{course.name}/OFFLINE.txt")
        (work / target.name).replace(target)
    return target


def _wheels(work: Path, wheels: Path) -> None:
    """A wheel of everything in the requirements, and of what builds the course's own package."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    write_text(work / "requirements.txt", "\n".join(line for line in lines if not line.startswith("-e")) + "\n")
    pip = *PIP, "wheel", "--quiet", "--no-cache-dir", "--wheel-dir", str(wheels)
    _run(*pip, "-r", str(work / "requirements.txt"), *BUILD, CMAKE_ARGS=GENERIC)
    _run(*pip, "--no-deps", "-r", str(ROOT / "requirements-bfcl.txt"))


def _wheels_elsewhere(name: str, work: Path, wheels: Path) -> None:
    """The wheels of another platform, and the sources of what has none. uv says what the requirements mean there."""
    uvs_name, tags = PLATFORMS[name]
    version, exact = f"3.{sys.version_info.minor}", work / f"{name}.txt"
    target = "--python-platform", uvs_name, "--python-version", version, "--no-header", "--no-annotate"
    sources = str(work / "requirements.txt"), "--output-file", str(exact)
    _run("uv", "pip", "compile", "--quiet", *sources, *target, MACOSX_DEPLOYMENT_TARGET="14.0")
    places = [part for tag in tags for part in ("--platform", tag)]
    pip = *PIP, "download", "--quiet", "--no-deps", "--python-version", version, *places, "--dest", str(wheels)
    _run(*pip, "-r", str(exact), *BUILD)


def _how(name: str, platforms: Sequence[str]) -> str:
    machines = [f"{platform.system()} {platform.release()}, {platform.machine()}", *platforms]
    python = f"3.{sys.version_info.minor}"
    return HOW.format(python=python, machines="; ".join(machines), name=name, known=" ".join(PLATFORMS))


def _run(*command: str, **environment: str) -> None:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | environment)
    except OSError as error:
        raise InputError(f"{command[0]} cannot be run: {error}") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise InputError(f"{' '.join(command[:4])} ... failed: {''.join(last)}")
