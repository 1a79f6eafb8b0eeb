"""Temporary folders that do not outlive their process for long: the next one removes what a kill left behind."""

import atexit
import os
import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir, mkdtemp

from filelock import FileLock, Timeout

_PREFIX = "korean-rag-process-"
_LOCK = "lock"


def scratch_folder() -> "TemporaryDirectory[str]":
    """Return a new temporary folder; one that is left by a killed process goes when the next process makes its first.

    `tempfile.TemporaryDirectory` alone leaves a folder for ever when its process is killed.
    """
    if not _of_this_process().is_dir():  # somebody tidied up while this process was idle
        _of_this_process.cache_clear()
    return TemporaryDirectory(dir=_of_this_process(), ignore_cleanup_errors=True)


@cache
def _of_this_process() -> Path:
    """Return the folder that holds those of this process, which holds a lock in it for as long as it lives."""
    for left in Path(gettempdir()).glob(f"{_PREFIX}*"):
        _remove_if_left(left)
    unfinished = Path(mkdtemp(prefix="korean-rag-"))
    lock = FileLock(unfinished / _LOCK)
    lock.acquire()
    folder = unfinished.rename(unfinished.with_name(f"{_PREFIX}{unfinished.name.removeprefix('korean-rag-')}"))
    atexit.register(_remove, folder, lock)
    return folder


def _remove(folder: Path, lock: FileLock) -> None:
    lock.release()
    shutil.rmtree(folder, ignore_errors=True)


def _remove_if_left(folder: Path) -> None:
    try:
        if folder.is_symlink() or (hasattr(os, "getuid") and folder.stat().st_uid != os.getuid()):
            return
        with FileLock(folder / _LOCK, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
    except (OSError, Timeout):  # in use, or gone meanwhile
        return
