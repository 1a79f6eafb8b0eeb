"""Temporary folders go with their process, however that ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from rag_app.files.column_choice import unclear_columns
from rag_app.files.parser_process import Limits, ParserProcess

_PROGRAM = """
import sys, time
from pathlib import Path
from rag_app.scratch import scratch_folder
folder = scratch_folder()
Path(folder.name, "upload").write_text("내용", "utf-8")
print(folder.name, flush=True)
if sys.argv[1:] == ["wait"]:
    time.sleep(60)
"""


def start(temporary: Path, *arguments: str) -> tuple["subprocess.Popen[str]", Path]:
    """Start a program that makes a folder; return it and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *arguments],
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        folder = Path(process.stdout.readline().strip())
    assert folder.is_relative_to(temporary)
    return process, folder


@pytest.mark.fault(1, "Files uploaded to the page stayed in the temporary folder for ever when its process was killed.")
def test_what_a_killed_process_left_is_removed_by_the_next_and_what_a_living_one_uses_is_not(tmp_path: Path) -> None:
    killed, left = start(tmp_path, "wait")
    living, used = start(tmp_path, "wait")
    try:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert (left / "upload").exists()
        ended, _ = start(tmp_path)
        ended.wait()
        assert not left.exists()
        assert (used / "upload").exists()
    finally:
        living.kill()
        living.wait()


@pytest.mark.fault(
    1, "What files were read through stayed in the temporary folder for ever when the process was killed."
)
def test_all_temporary_folders_are_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[TemporaryDirectory[str]] = []

    class Noted(TemporaryDirectory[str]):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            made.append(self)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr("rag_app.scratch.TemporaryDirectory", Noted)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    unclear_columns(b"a,b\n1,2\n", ".csv", whole=True)
    with pytest.raises(PermissionError):
        ParserProcess(Limits(), "rag_app.files.loaders")
    assert len(made) == 2
    made[1].cleanup()


def test_nothing_is_left_by_a_process_that_ends(tmp_path: Path) -> None:
    ended, _ = start(tmp_path)
    assert ended.wait() == 0
    assert list(tmp_path.iterdir()) == []
