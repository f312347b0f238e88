"""Where the course keeps things: what ships, what a run makes, and how files are read and written without loss."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
MAX_LINE = 1_000_000  # characters; a longer line is no request


class InputError(ValueError):
    """The user gave something that cannot be used; the message says what, where, and what to do."""


def stage(profile: str, name: str) -> Path:
    """The folder in which a stage leaves its results: artifacts/<profile>/<name>, made if missing.

    The environment variable TINYAGENT_ARTIFACTS moves the whole tree elsewhere.

    Raises:
        InputError: the folder cannot be made.
    """
    folder = Path(os.environ.get("TINYAGENT_ARTIFACTS", ROOT / "artifacts")) / profile / name
    return make_folder(folder)


def make_folder(folder: Path) -> Path:
    """Make a folder and its parents and see that files can be written there.

    Raises:
        InputError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"cannot write to {folder} ({error.strerror}); choose another folder") from None
    return folder


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: into a temporary file beside it, which then takes its place."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except (OSError, UnicodeEncodeError) as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"cannot write {path} ({error})") from None


def write_json(path: Path, value: Any) -> None:
    """Write a value as readable JSON, whole or not at all."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: it is missing or malformed.
    """
    try:
        return json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); was it cut off?") from None


def read_jsonl(path: Path, keys: Iterable[str] = ()) -> Iterator[dict[str, Any]]:
    """The objects of a JSON Lines file; blank lines are skipped.

    Raises:
        InputError: naming the file and line of the first object that is malformed or lacks one of `keys` as text.
    """
    for number, line in enumerate(_read(path).split("\n"), 1):
        if line.strip():
            yield _read_line(line, f"{path}, line {number}", keys)


def _read(path: Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None


def _read_line(line: str, place: str, keys: Iterable[str]) -> dict[str, Any]:
    if len(line) > MAX_LINE:
        raise InputError(f"{place}: the line has {len(line):,} characters; at most {MAX_LINE:,} are read")
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: not JSON ({error}); every line must be one object") from None
    if not isinstance(value, dict):
        raise InputError(f'{place}: a {type(value).__name__}, not an object such as {{"id": "1"}}')
    for key in keys:
        if not isinstance(value.get(key), str):
            raise InputError(f"{place}: {key!r} is missing or not text; the object has {', '.join(value) or 'nothing'}")
    return value


def digest(*paths: Path) -> str:
    """A short digest of the content of files, or of all files in folders, that changes when any of them does."""
    sha = hashlib.sha256()
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            sha.update(file.relative_to(path.parent).as_posix().encode())
            sha.update(file.read_bytes())
    return sha.hexdigest()[:16]


def digest_text(text: str) -> str:
    """A short digest of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def once(path: Path, made_of: Any, measure: Callable[[], dict[str, Any]], anew: bool = False) -> dict[str, Any]:
    """What was measured, read from `path` if it stands there and was made of the same; `of` in it says so.

    Raises:
        InputError: what stands there was made of other settings or data (and not `anew`).
    """
    of = digest_text(repr(made_of))
    if not path.exists() or (anew and read_json(path).get("of") != of):
        make_folder(path.parent)
        write_json(path, measure() | {"of": of})
    found = read_json(path)
    if found.get("of") != of:
        raise InputError(f"{path} was measured with other settings or data; choose another folder")
    return found


class Log:
    """A JSON Lines file that is only ever added to. A line cut off by a kill is dropped when it is opened again."""

    def __init__(self, path: Path):
        self.path = path
        try:
            _drop_partial_line(path)
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot write {path} ({error.strerror})") from None

    def append(self, value: Any) -> None:
        """Add one object as one line, and hand it to the operating system at once."""
        try:
            self._file.write(json.dumps(value, ensure_ascii=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise InputError(f"cannot write {self.path} ({error.strerror}); what was written before is kept") from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _drop_partial_line(path: Path) -> None:
    if not path.is_file():
        return
    with path.open("rb+") as file:
        content_end = file.seek(0, os.SEEK_END)
        position = content_end
        while position and (file.seek(position - 1), file.read(1))[1] != b"\n":
            position -= 1
        if position < content_end:
            file.truncate(position)
