"""Atomic folders: what a folder holds changes in one step, from one complete generation to the next.

A generation is a sub-folder that is written aside, flushed to disk and never changed again. The manifest, replaced by
one rename, names the current generation and the checksum of each of its files; whatever it does not name does not
exist. An interruption at any point leaves the old or the new state.
"""

import errno
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from rag_app.durable_files import sync, sync_parents, write_flushed
from rag_app.observability.tracing import span

MANIFEST = "manifest.json"
_LOCK = "write.lock"
_HASH_THREADS = 4
_REMOVALS = 3
_MOST_BYTES = 4_000_000  # of a manifest, whose JSON takes many times that in memory
_GENERATION = re.compile(r"generation-(\d{6,})")
_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})

T = TypeVar("T")


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold a folder's write lock, creating the folder when missing.

    Raises:
        BlockingIOError: Another process or thread is writing there.
        OSError: It cannot be written. Where the disk is full or failing, it says so, and what to do.
    """
    before = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / _LOCK, timeout=0):
            before = _manifest_bytes(folder)
            yield
    except Timeout as error:
        raise BlockingIOError(f"{folder} is being written by another process. Try again when it is done.") from error
    except OSError as error:
        if error.errno not in _OF_THE_DISK:
            raise
        changed = before is not None and _manifest_bytes(folder) != before
        outcome = "was changed, but a power failure may undo that" if changed else "is as it was"
        remedy = "Look at the disk" if error.errno in (errno.EIO, errno.EROFS) else "Free some space"
        why = f"{error.strerror}. {folder} {outcome}. {remedy} and do it again"
        raise OSError(error.errno, why, error.filename) from error


@contextmanager
def new_generation(folder: Path, manifest: dict[str, Any]) -> Iterator[Path]:
    """Write a generation: fill the folder this yields; leaving the block makes it current in one step.

    An exception inside the block, or a kill at any time, leaves the current generation as it was. The caller holds
    `writing`. A file that is a hard link to one of the same name in the current generation keeps its checksum, unread.
    What a writer that was killed left behind is removed first: it may be what the disk is full of.

    Args:
        folder: Holds the generations.
        manifest: Stored beside the generation's number and checksums; may still be filled in the block. Must be JSON.
    """
    number = max(_numbers(folder), default=0) + 1
    _clear(folder)
    generation, aside = generation_folder(folder, number), folder / f"{MANIFEST}.new"
    try:
        generation.mkdir()
        yield generation
        with span("commit", index=folder.name, generation=number):
            files = _seal(folder, generation)
            for directory in (generation, *(path for path in generation.rglob("*") if path.is_dir())):
                sync(directory)
            sync(folder)
            if not (folder / MANIFEST).exists():
                sync_parents(folder)
            manifest = {**manifest, "generation": number, "files": files}
            write_flushed(aside, _written({**manifest, "checksum": _digest(manifest)}).decode())
            aside.replace(folder / MANIFEST)
    except BaseException:
        with suppress(OSError, ValueError, TypeError, KeyError):
            aside.unlink(missing_ok=True)
            if _current(folder) != number:  # Ctrl-C may come just after it was made current
                _remove(generation)
        raise
    sync(folder)  # if this fails, the generation before stays too
    _clear(folder)


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
    manifest = _parse(path.read_bytes()) if path.stat().st_size <= _MOST_BYTES else None
    if manifest is None:
        raise ValueError(f"{path} is damaged. Restore {folder} from a copy or build the index anew.")
    if manifest["format"] not in ([format] if isinstance(format, str) else format):
        raise ValueError(f"{folder} has the format {manifest['format']!r}; this version reads {format!r}. Rebuild it.")
    return manifest


def _parse(content: bytes) -> dict[str, Any] | None:
    """Return a manifest without its checksum; None unless it is one that `new_generation` wrote, to the last byte."""
    try:
        manifest: dict[str, Any] = json.loads(content)
        intact = content == _written(manifest) and manifest.pop("checksum") == _digest(manifest)
        number, files = manifest["generation"], manifest["files"]
        known = type(number) is int and number > 0 and isinstance(manifest["format"], str)
        named = isinstance(files, dict) and all(isinstance(checksum, str) for checksum in files.values())
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return None
    return manifest if intact and known and named else None


def open_generation(
    folder: Path, load: Callable[[Path, dict[str, Any]], T], *, format: str | Sequence[str], check: bool = True
) -> T:
    """Return what ``load`` makes of the current generation's folder and manifest, once every byte has been checked.

    Args:
        folder: Holds the generations.
        load: Takes the generation's folder and the manifest.
        format: See `read_manifest`.
        check: Whether to compare every file with its checksum; else it is only seen that all are there and no others.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is damaged or of another format.
    """

    def check_and_load(generation: Path, manifest: dict[str, Any]) -> T:
        if damaged := (damaged_files if check else misplaced_files)(generation, manifest):
            raise ValueError(f"Damaged in {folder}: {', '.join(damaged)}. Restore a copy or build the index anew.")
        return load(generation, manifest)

    return read_generation(folder, check_and_load, format=format)


def read_generation(folder: Path, read: Callable[[Path, dict[str, Any]], T], *, format: str | Sequence[str]) -> T:
    """Return what ``read`` makes of the current generation's folder and manifest, unchecked.

    A writer may replace the generation while it is being read: whatever comes of that, the new one is read instead.

    Raises:
        FileNotFoundError: There is none.
        ValueError: The manifest is damaged or of another format.
    """
    while True:
        manifest = read_manifest(folder, format=format)
        try:
            result = read(generation_folder(folder, manifest["generation"]), manifest)
        except Exception:
            if read_manifest(folder, format=format) == manifest:
                raise
            continue
        if read_manifest(folder, format=format) == manifest:  # else some of its files may have been gone already
            return result


def generation_folder(folder: Path, number: int) -> Path:
    """Return where a generation is."""
    return folder / f"generation-{number:06d}"


def damaged_files(generation: Path, manifest: dict[str, Any]) -> list[str]:
    """Return what is missing, changed or superfluous in a generation, by relative path."""
    named, misplaced = manifest["files"], misplaced_files(generation, manifest)
    both = sorted(named.keys() - set(misplaced))
    with ThreadPoolExecutor(_HASH_THREADS) as pool:
        checksums = pool.map(_checksum, (generation / name for name in both))
        changed = {name for name, checksum in zip(both, checksums, strict=True) if checksum != named[name]}
    return sorted(changed.union(misplaced))


def misplaced_files(generation: Path, manifest: dict[str, Any]) -> list[str]:
    """Return what is missing or superfluous in a generation, or no file of its own, by relative path."""
    named = manifest["files"].keys()
    present = {str(path.relative_to(generation)) for path in _files(generation)}
    folders = {str(folder) for name in named for folder in Path(name).parents}
    other = {str(path.relative_to(generation)) for path in generation.rglob("*") if not path.is_file()} - folders
    return sorted(other | (named ^ present))


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
            sync(path)
            files[name] = _checksum(path)
    return files


def _is_link(path: Path, other: Path) -> bool:
    return other.exists() and path.samefile(other)


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _written(manifest: dict[str, Any]) -> bytes:
    return json.dumps(manifest, ensure_ascii=False, indent=1).encode()


def _manifest_bytes(folder: Path) -> bytes:
    path = folder / MANIFEST
    return path.read_bytes() if path.exists() else b""


def _current(folder: Path) -> int | None:
    """Return the number of the current generation, None if there is no manifest."""
    manifest = _manifest_bytes(folder)
    return int(json.loads(manifest)["generation"]) if manifest else None


def _clear(folder: Path) -> None:
    """Remove every generation but the current one, as far as that can be done; none if the manifest is damaged."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        current = _current(folder)
        for number in _numbers(folder):
            if number != current:
                _remove(generation_folder(folder, number))


def _remove(generation: Path) -> None:
    """Remove a generation as far as that can be done; whoever is just opening it may put a lock there meanwhile."""
    for _ in range(_REMOVALS):
        shutil.rmtree(generation, ignore_errors=True)
        if not generation.exists():
            return


def _numbers(folder: Path) -> list[int]:
    names = (_GENERATION.fullmatch(path.name) for path in folder.iterdir() if path.is_dir())
    return [int(name[1]) for name in names if name]
