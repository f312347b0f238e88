"""All that a room without a network needs, in one archive: the course as it was committed, a git checkout with data and models,
and a wheel of every package, llama.cpp compiled. It installs on machines like the one that packed it."""

import platform
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from tinyagent_helpers.artifacts import ROOT, InputError, make_folder, write_text

HOW = """To install without a network (Python {python} on {machine}, {system}):

    tar xf {name}
    cd tinyagent-course
    PIP_NO_INDEX=1 PIP_FIND_LINKS=$PWD/wheels make course

Everything that make says in the README works then. Machines of another kind need an archive of their own: run make offline on one.
"""


def pack(folder: Path) -> Path:
    """Write the archive into a folder; return its path.

    Raises:
        InputError: the course is not a git checkout, or a wheel cannot be had.
    """
    machine = f"{platform.system()}-{platform.machine()}-python{sys.version_info.major}.{sys.version_info.minor}"
    target = make_folder(folder) / f"tinyagent-course-{machine}.tar"
    wheels, course = make_folder(folder / "wheels"), folder / "tinyagent-course"
    _wheels(wheels)
    shutil.rmtree(course, ignore_errors=True)
    _run("git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", str(course))
    _run("git", "-C", str(course), "remote", "remove", "origin")
    part = target.with_suffix(".part")
    with tarfile.open(part, "w") as archive:
        archive.add(course, course.name)
        for wheel in sorted(wheels.glob("*.whl")):
            archive.add(wheel, f"{course.name}/wheels/{wheel.name}")
        archive.add(_how(folder, target.name), f"{course.name}/OFFLINE.txt")
    part.replace(target)
    shutil.rmtree(course)
    return target


def _wheels(folder: Path) -> None:
    """A wheel of everything in the requirements, and of what builds the course's own package."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = folder.parent / "requirements.txt"
    write_text(pinned, "\n".join(line for line in lines if not line.startswith("-e")) + "\n")
    pip = sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--wheel-dir", str(folder)
    _run(*pip, "-r", str(pinned), "setuptools", "wheel")
    _run(*pip, "--no-deps", "-r", str(ROOT / "requirements-bfcl.txt"))


def _how(folder: Path, name: str) -> Path:
    system = f"{platform.system()} {platform.release()}"
    path = folder / "OFFLINE.txt"
    write_text(path, HOW.format(python=platform.python_version(), machine=platform.machine(), system=system, name=name))
    return path


def _run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise InputError(f"{' '.join(command[:4])} ... failed: {''.join(last)}")
    return done.stdout
