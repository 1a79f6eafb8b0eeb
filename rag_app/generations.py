"""Atomic folders: what a folder holds changes in one step, from one complete generation to the next.

A generation is a sub-folder that is written aside, flushed to disk and never changed again. The manifest, replaced by
one rename, names the current generation and the checksum of each of its files; whatever it does not name does not
exist. An interruption at any point leaves the old or the new state.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

MANIFEST = "manifest.json"
_LOCK = "write.lock"
_HASH_THREADS = 4
_GENERATION = re.compile(r"generation-(\d{6,})")

T = TypeVar("T")


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold a folder's write lock, creating the folder when missing.

    Raises:
        BlockingIOError: Another process or thread is writing there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK, timeout=0)
    try:
        with lock:
            yield
    except Timeout as error:
        raise BlockingIOError(f"{folder} is being written by another process. Try again when it is done.") from error


@contextmanager
def new_generation(folder: Path, manifest: dict[str, Any]) -> Iterator[Path]:
    """Write a generation: fill the folder this yields; leaving the block makes it current in one step.

    An exception inside the block, or a kill at any time, leaves the current generation as it was. The caller holds
    `writing`. A file that is a hard link to one of the same name in the current generation keeps its checksum, unread.

    Args:
        folder: Holds the generations.
        manifest: Stored beside the generation's number and checksums; may still be filled in the block. Must be JSON.
    """
    number = max(_numbers(folder), default=0) + 1
    generation = generation_folder(folder, number)
    generation.mkdir()
    try:
        yield generation
        files = _seal(folder, generation)
        for directory in (generation, *(path for path in generation.rglob("*") if path.is_dir())):
            _sync(directory)
        _sync(folder)
    except BaseException:
        shutil.rmtree(generation, ignore_errors=True)
        raise
    _replace_manifest(folder, {**manifest, "generation": number, "files": files})
    for other in _numbers(folder):
        if other != number:
            shutil.rmtree(generation_folder(folder, other), ignore_errors=True)


def is_index(folder: Path) -> bool:
    """Whether a folder holds generations: its manifest names one."""
    try:
        return "generation" in json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError, TypeError):
        return False


def read_manifest(folder: Path, *, format: str | Sequence[str]) -> dict[str, Any]:
    """Return a folder's manifest, checked against its own checksum.

    Args:
        folder: Holds the generations.
        format: The format it must have, or several that are known.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is damaged or of another format.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"There is no index in {folder}. Build one with: rag-app index PATH --index {folder}")
    try:
        manifest = json.loads(path.read_bytes())
        intact = manifest.pop("checksum") == _digest(manifest)
    except (ValueError, AttributeError, KeyError, TypeError):
        intact = False
    if not intact:
        raise ValueError(f"{path} is damaged. Restore {folder} from a copy or build the index anew.")
    if manifest["format"] not in ([format] if isinstance(format, str) else format):
        raise ValueError(f"{folder} has the format {manifest['format']!r}; this version reads {format!r}. Rebuild it.")
    return dict(manifest)


def open_generation(folder: Path, load: Callable[[Path, dict[str, Any]], T], *, format: str | Sequence[str]) -> T:
    """Return what ``load`` makes of the current generation's folder and manifest, once every byte has been checked.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is damaged or of another format.
    """

    def check_and_load(generation: Path, manifest: dict[str, Any]) -> T:
        if damaged := damaged_files(generation, manifest):
            raise ValueError(f"Damaged in {folder}: {', '.join(damaged)}. Restore a copy or build the index anew.")
        return load(generation, manifest)

    return read_generation(folder, check_and_load, format=format)


def read_generation(folder: Path, read: Callable[[Path, dict[str, Any]], T], *, format: str | Sequence[str]) -> T:
    """Return what ``read`` makes of the current generation's folder and manifest, unchecked.

    A writer may replace the generation while it is being read: whatever goes wrong then, the new one is read instead.

    Raises:
        FileNotFoundError: There is none.
        ValueError: The manifest is damaged or of another format.
    """
    while True:
        manifest = read_manifest(folder, format=format)
        try:
            return read(generation_folder(folder, manifest["generation"]), manifest)
        except Exception:
            if read_manifest(folder, format=format) == manifest:
                raise


def generation_folder(folder: Path, number: int) -> Path:
    """Return where a generation is."""
    return folder / f"generation-{number:06d}"


def damaged_files(generation: Path, manifest: dict[str, Any]) -> list[str]:
    """Return what is missing, changed or superfluous in a generation, by relative path."""
    named = dict(manifest["files"])
    present = {str(path.relative_to(generation)) for path in _files(generation)}
    both = sorted(present & set(named))
    with ThreadPoolExecutor(_HASH_THREADS) as pool:
        checksums = pool.map(_checksum, (generation / name for name in both))
        changed = {name for name, checksum in zip(both, checksums, strict=True) if checksum != named[name]}
    return sorted(changed | (set(named) ^ present))


def _files(folder: Path) -> list[Path]:
    # Tantivy leaves its empty lock files behind; opening an index makes them again.
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal(folder: Path, generation: Path) -> dict[str, str]:
    """Return the checksum of each file of a generation, once it is flushed to disk."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        before, known = generation_folder(folder, manifest["generation"]), dict(manifest["files"])
    except (OSError, ValueError, TypeError, KeyError):
        before, known = generation, {}
    files = {}
    for path in _files(generation):
        name = str(path.relative_to(generation))
        if name in known and _is_link(path, before / name):  # sealed then; what has rotted since must not pass for new
            files[name] = known[name]
        else:
            _sync(path)
            files[name] = _checksum(path)
    return files


def _is_link(path: Path, other: Path) -> bool:
    return other.exists() and path.samefile(other)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _replace_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    aside = folder / f"{MANIFEST}.new"
    with aside.open("w", encoding="utf-8") as file:
        json.dump({**manifest, "checksum": _digest(manifest)}, file, ensure_ascii=False, indent=1)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(folder / MANIFEST)
    _sync(folder)


def _numbers(folder: Path) -> list[int]:
    names = (_GENERATION.fullmatch(path.name) for path in folder.iterdir() if path.is_dir())
    return [int(name[1]) for name in names if name]
