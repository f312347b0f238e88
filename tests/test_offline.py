"""The archive for a room without a network: the committed course, wheels, and how to install them."""

import subprocess
import tarfile

import pytest

from tinyagent_helpers import offline
from tinyagent_helpers.artifacts import ROOT, InputError


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")
def test_the_archive_holds_the_course_and_its_wheels(tmp_path, monkeypatch):
    monkeypatch.setattr(
        offline, "_wheels", lambda work, wheels: (wheels / "torch-1-py3-none-any.whl").write_bytes(b"wheel")
    )
    (tmp_path / "requirements.txt").write_text("somebody's")
    archive = offline.pack(tmp_path)
    with tarfile.open(archive) as packed:
        names = packed.getnames()
        how = packed.extractfile("tinyagent-course/OFFLINE.txt").read().decode()
    committed = subprocess.run(
        ["git", "ls-tree", "-r", "-z", "--name-only", "HEAD"], cwd=ROOT, capture_output=True, text=True
    )
    assert {f"tinyagent-course/{name}" for name in committed.stdout.split("\0") if name} <= set(names)
    assert "tinyagent-course/wheels/torch-1-py3-none-any.whl" in names
    assert "tinyagent-course/.git/HEAD" in names, "reset needs it"
    assert archive.name in how and "PIP_NO_INDEX=1" in how
    assert {path.name for path in tmp_path.iterdir()} == {archive.name, "requirements.txt"}
    assert (tmp_path / "requirements.txt").read_text() == "somebody's"


def test_what_cannot_be_packed_is_said_and_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(offline, "ROOT", tmp_path)
    with pytest.raises(InputError, match="git clone .* failed"):
        offline.pack(tmp_path / "out")
    assert not any((tmp_path / "out").iterdir())
    (tmp_path / "requirements.txt").write_text("no-such-package-of-anybodys==1\n-e .\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(InputError, match="pip .* failed: ERROR: No matching distribution"):
        offline._wheels(tmp_path, tmp_path / "wheels")


def test_platforms_are_checked_first(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="amiga: not known; there are macos-arm64"):
        offline.pack(tmp_path, ["amiga"])
    monkeypatch.setattr(offline.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="pip install uv"):
        offline.pack(tmp_path, ["macos-arm64"])


def test_wheels_of_another_platform_are_asked_for_by_its_tags(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(offline, "_run", lambda *command, **environment: asked.append(command))
    offline._wheels_elsewhere("macos-arm64", tmp_path, tmp_path / "wheels")
    resolve, download = asked
    assert resolve[:3] == ("uv", "pip", "compile") and "aarch64-apple-darwin" in resolve
    assert "macosx_14_0_arm64" in download and "--no-deps" in download and "scikit-build-core" in download
