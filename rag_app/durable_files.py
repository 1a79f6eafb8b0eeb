"""Files that are there, whole, whenever somebody looks: written aside, flushed to disk, and renamed in one step."""

import os
from contextlib import suppress
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a file in one step: an interruption leaves what was there before, whole; once this returns, it is kept."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write_flushed(aside, text)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    sync(path.parent)


def write_flushed(path: Path, text: str) -> None:
    """Write a file and flush it to disk; an interruption may leave a part of it."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_parents(path: Path) -> None:
    """Flush to disk that a folder is in its parent, that in its own, and so on, where that is ours to do."""
    for parent in path.absolute().parents:
        with suppress(PermissionError):
            sync(parent)
