"""Indexes that may crash a process, tried in a child that may die of them."""

import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from rag_app.generations import MANIFEST, _digest

_SECONDS = 60
"""How long to wait for an answer, on a machine that others use; what is counted is the child's own ten seconds."""
_ROOT = Path(__file__).parents[2]


class Outcome(NamedTuple):
    """What came of one thing that was done.

    Attributes:
        errors: The names of the error's classes; empty for none.
        result: The message of the error, else what was returned.
    """

    errors: list[str]
    result: Any

    @property
    def is_typed(self) -> bool:
        """Whether it is no error, or one that a caller expects."""
        return not self.errors or bool({"ValueError", "OSError"} & set(self.errors))


class Prober:
    """A child process that does everything there is to do with indexes; it is made anew when one has killed it.

    Args:
        sound: An index that nothing is wrong with.
    """

    def __init__(self, sound: Path) -> None:
        self._sound = sound
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def probe(self, path: Path) -> dict[str, Outcome] | str:
        """Return what came of each thing that was done with an index, or how it crashed the process."""
        if self._process is None:
            self._start()
        return self._ask(path, _SECONDS)

    def _start(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "RUST_BACKTRACE": "0", "MALLOC_ARENA_MAX": "2"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.promises.index_probe"],
            cwd=_ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        found = self._ask(self._sound, 60)
        if isinstance(found, str) or any(outcome.errors or outcome.result for outcome in found.values()):
            raise AssertionError(f"a sound index is not: {found}")

    def _ask(self, path: Path, seconds: float) -> dict[str, Outcome] | str:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(str(path)).encode() + b"\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        answer = process.stdout.readline() if ready else b""
        if answer:
            return {name: Outcome(*found) for name, found in json.loads(answer).items()}
        return self._stop() if ready else f"no answer in {seconds} s, {self._stop()}"

    def _stop(self) -> str:
        process, self._process = self._process, None
        if process is None:
            return "not running"
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        return f"exit status {process.returncode}"


@contextmanager
def copied(index: Path, folder: Path) -> Iterator[Path]:
    """Yield a copy of an index that shares its files, to be changed by `replace`."""
    copy = folder / "copy"
    shutil.copytree(index, copy, copy_function=os.link, symlinks=True)
    try:
        yield copy
    finally:
        remove(copy)


def remove(folder: Path) -> None:
    """Remove a folder, however often Tantivy puts a lock there to see what has changed."""
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


def replace(path: Path, content: bytes) -> None:
    """Write a file of a copy without changing the original."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def index_files(index: Path) -> list[Path]:
    """Return the files of an index that hold something."""
    return sorted(path for path in index.rglob("*") if path.is_file() and path.suffix != ".lock")


def edit_manifest(index: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a manifest as an attacker would who knows how its checksum is made."""
    manifest = json.loads((index / MANIFEST).read_bytes())
    del manifest["checksum"]
    change(manifest)
    content = {**manifest, "checksum": _digest(manifest)}
    replace(index / MANIFEST, json.dumps(content, ensure_ascii=False, indent=1).encode())


def seal(index: Path) -> None:
    """Make all checksums of an index right, whatever its files hold now."""
    from rag_app.generations import _checksum, _files, generation_folder

    def name_files(manifest: dict[str, Any]) -> None:
        generation = generation_folder(index, manifest["generation"])
        manifest["files"] = {str(path.relative_to(generation)): _checksum(path) for path in _files(generation)}

    edit_manifest(index, name_files)
