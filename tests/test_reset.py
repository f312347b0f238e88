"""A chapter from its start."""

import re
import shutil
import subprocess

import pytest

from tinyagent_helpers import reset
from tinyagent_helpers.artifacts import InputError, stage
from tinyagent_helpers.course import notebooks


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A git checkout of one notebook, of which somebody has written over a part."""
    root = tmp_path / "course"
    path = root / "notebooks" / notebooks(["07"])[0].name
    path.parent.mkdir(parents=True)
    shutil.copy(notebooks(["07"])[0], path)
    git = "git", "-c", "user.name=t", "-c", "user.email=t@example.org"
    for command in (("init", "-q"), ("add", "."), ("commit", "-qm", "As it ships")):
        subprocess.run([*git, *command], cwd=root, check=True)
    path.write_text(path.read_text().replace("A server", "My own server"))
    monkeypatch.setattr(reset, "ROOT", root)
    monkeypatch.setenv("TINYAGENT_ARTIFACTS", str(tmp_path / "artifacts"))
    return path


def test_what_a_chapter_left_and_what_was_typed_is_put_aside(course):
    (stage("nano", "mac07") / "mine.txt").write_text("kept")
    (stage("nano", "data") / "train.jsonl").write_text("another chapter's")
    aside = reset.reset_chapter("nano", "07")
    assert (aside / "mac07" / "mine.txt").read_text() == "kept" and not any(stage("nano", "mac07").iterdir())
    assert "My own server" in (aside / course.name).read_text() and "My own server" not in course.read_text()
    assert course.read_text() == notebooks(["07"])[0].read_text() and any(stage("nano", "data").iterdir())


def test_a_broken_notebook_is_kept_and_a_deleted_one_comes_back(course):
    course.write_bytes(b"\xff no notebook")
    assert (reset.reset_chapter("nano", "07") / course.name).read_bytes() == b"\xff no notebook"
    course.unlink()
    reset.time.sleep(1)  # a folder is named by the second
    assert not any(reset.reset_chapter("nano", "07").iterdir())
    assert course.read_text() == notebooks(["07"])[0].read_text()


def test_without_git_or_for_another_chapter_nothing_is_moved(course):
    (stage("nano", "mac07") / "mine.txt").write_text("kept")
    for wrong in ("99", "x", ""):
        with pytest.raises(InputError, match="give its number"):
            reset.reset_chapter("nano", wrong)
    shutil.rmtree(course.parent.parent / ".git")
    with pytest.raises(InputError, match="fetch it again"):
        reset.reset_chapter("nano", "07")
    assert (stage("nano", "mac07") / "mine.txt").exists() and "My own server" in course.read_text()


def test_every_folder_that_a_notebook_uses_stands_in_a_card():
    left = {path: set(reset.leaves(path.read_text())) for path in notebooks()}
    assert all(left.values())
    for path in notebooks():
        used = set(re.findall(r'stage\(PROFILE, \\"([\w-]+)\\"\)', path.read_text()))
        assert used <= set().union(*left.values()), path.stem
