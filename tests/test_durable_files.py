"""Files written in one step."""

import errno
import os
from pathlib import Path

import pytest

from rag_app.durable_files import sync_parents, write_text


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "결과.json"
    write_text(path, "이전")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_text("utf-8") == "이전"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.fault(
    1, "Exported feedback and records of training were not flushed to disk before they replaced the old."
)
def test_the_file_is_flushed_before_it_is_renamed_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    seen = []
    fsync = os.fsync

    def note(handle: int) -> None:
        seen.append((os.fstat(handle).st_ino, path.exists()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note)
    write_text(path, "글")
    assert seen == [(path.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_text(path, "이전")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_text(path, "다음")
    assert path.read_text("utf-8") == "이전"
    assert list(tmp_path.iterdir()) == [path]


def test_parents_that_are_not_ours_are_left_to_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tried = []

    def refuse(path: Path) -> None:
        tried.append(path)
        raise PermissionError

    monkeypatch.setattr("rag_app.durable_files.sync", refuse)
    sync_parents(tmp_path)
    assert tried == list(tmp_path.parents)
