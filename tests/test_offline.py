"""The archive for a room without a network: the committed course, wheels, and how to install them."""

import subprocess
import tarfile

import pytest

from tinyagent_helpers import offline
from tinyagent_helpers.artifacts import ROOT, InputError


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")
def test_the_archive_holds_the_course_and_its_wheels(tmp_path, monkeypatch):
    monkeypatch.setattr(offline, "_wheels", lambda folder: (folder / "torch-1-py3-none-any.whl").write_bytes(b"wheel"))
    archive = offline.pack(tmp_path)
    with tarfile.open(archive) as packed:
        names = packed.getnames()
        how = packed.extractfile("tinyagent-course/OFFLINE.txt").read().decode()
    committed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True).stdout.split("\0")
    assert {f"tinyagent-course/{name}" for name in committed if name} <= set(names)
    assert "tinyagent-course/wheels/torch-1-py3-none-any.whl" in names
    assert archive.name in how and "PIP_NO_INDEX=1" in how and not list(tmp_path.glob("*.part"))


def test_what_cannot_be_packed_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(offline, "ROOT", tmp_path)
    (tmp_path / "requirements.txt").write_text("no-such-package-of-anybodys==1\n-e .\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(InputError, match="failed"):
        offline.pack(tmp_path / "out")
