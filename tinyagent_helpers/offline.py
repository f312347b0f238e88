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
    PIP_NO_INDEX=1 PIP_FIND_LINKS=$PWD/wheels make course

Everything that make says in the README works then. Other machines need another archive: make offline on one of them, or with
PLATFORMS="{known}".
"""


def pack(folder: Path, platforms: Sequence[str] = ()) -> Path:
    """Write the archive into a folder, for this machine and the `PLATFORMS` named; return its path.

    Raises:
        InputError: the course is not a git checkout, or a wheel cannot be had.
    """
    machine = f"{platform.system()}-{platform.machine()}-python{sys.version_info.major}.{sys.version_info.minor}"
    target = make_folder(folder) / f"tinyagent-course-{machine}.tar"
    wheels, course = make_folder(folder / "wheels"), folder / "tinyagent-course"
    _wheels(wheels)
    for name in platforms:
        _wheels_elsewhere(name, wheels)
    shutil.rmtree(course, ignore_errors=True)
    _run("git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", str(course))
    _run("git", "-C", str(course), "remote", "remove", "origin")
    part = target.with_suffix(".part")
    with tarfile.open(part, "w") as archive:
        archive.add(course, course.name)
        for wheel in sorted(wheels.iterdir()):
            archive.add(wheel, f"{course.name}/wheels/{wheel.name}")
        archive.add(_how(folder, target.name, platforms), f"{course.name}/OFFLINE.txt")
    part.replace(target)
    shutil.rmtree(course)
    return target


def _wheels(folder: Path) -> None:
    """A wheel of everything in the requirements, and of what builds the course's own package."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = folder.parent / "requirements.txt"
    write_text(pinned, "\n".join(line for line in lines if not line.startswith("-e")) + "\n")
    pip = *PIP, "wheel", "--quiet", "--no-cache-dir", "--wheel-dir", str(folder)
    _run(*pip, "-r", str(pinned), *BUILD, CMAKE_ARGS=GENERIC)
    _run(*pip, "--no-deps", "-r", str(ROOT / "requirements-bfcl.txt"))


def _wheels_elsewhere(name: str, folder: Path) -> None:
    """The wheels of another platform, and the sources of what has none. uv says what the requirements mean there.

    Raises:
        InputError: the platform is not known, uv is not there, or something cannot be had.
    """
    if name not in PLATFORMS or not shutil.which("uv"):
        raise InputError(f"{name!r} needs uv (pip install uv) and to be one of {', '.join(PLATFORMS)}")
    uvs_name, tags = PLATFORMS[name]
    version, exact = f"3.{sys.version_info.minor}", folder.parent / f"{name}.txt"
    target = "--python-platform", uvs_name, "--python-version", version, "--no-header", "--no-annotate"
    sources = str(folder.parent / "requirements.txt"), "--output-file", str(exact)
    _run("uv", "pip", "compile", "--quiet", *sources, *target, MACOSX_DEPLOYMENT_TARGET="14.0")
    places = [part for tag in tags for part in ("--platform", tag)]
    pip = *PIP, "download", "--quiet", "--no-deps", "--python-version", version, *places, "--dest", str(folder)
    _run(*pip, "-r", str(exact), *BUILD)


def _how(folder: Path, name: str, platforms: Sequence[str]) -> Path:
    machines = [f"{platform.system()} {platform.release()}, {platform.machine()}", *platforms]
    text = HOW.format(
        python=platform.python_version(), machines="; ".join(machines), name=name, known=" ".join(PLATFORMS)
    )
    write_text(folder / "OFFLINE.txt", text)
    return folder / "OFFLINE.txt"


def _run(*command: str, **environment: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | environment)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise InputError(f"{' '.join(command[:4])} ... failed: {''.join(last)}")
    return done.stdout
