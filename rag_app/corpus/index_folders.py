"""Indexes in a folder, each in a folder of its own name: named, renamed and deleted without touching anything else."""

import re
import shutil
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from rag_app.durable_files import sync
from rag_app.generations import MANIFEST, is_index, writing
from rag_app.korean import normalise

MOST_CHARACTERS = 60
_OURS = re.compile(r"generation-\d{6,}|manifest\.json(\.new)?|write\.lock|spool")
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|(com|lpt)\d)(\..*)?")  # that Windows keeps for devices


def index_name(text: str) -> str:
    """Return a name as the name of an index's folder.

    Raises:
        ValueError: It could not be one everywhere, or would lead to another folder.
    """
    name = normalise(text)
    letters = name.replace(" ", "").replace("-", "").replace("_", "").replace(".", "")
    if not letters.isalnum() or len(name) > MOST_CHARACTERS or name[0] in ".-" or name[-1] in ". ":
        raise ValueError(
            f"An index cannot be called {text!r}. Give at most {MOST_CHARACTERS} letters, digits, spaces, '-', '_' "
            "and '.', beginning with a letter or digit and not ending with a dot."
        )
    if _RESERVED.fullmatch(name):
        raise ValueError(f"An index cannot be called {text!r}, which some systems keep for devices. Add a word to it.")
    return name


def new_index_folder(folder: Path, name: str) -> Path:
    """Return where a new index of a name goes.

    Raises:
        ValueError: It is no name for an index.
        FileExistsError: There is one of that name, whatever its letters' case.
    """
    name = index_name(name)
    _clear(folder)
    taken = {path.name.casefold() for path in folder.iterdir()} if folder.is_dir() else set()
    if name.casefold() in taken:
        raise FileExistsError(f"There is an index called {name!r} in {folder} already. Choose another name.")
    return folder / name


def rename_index(path: Path, name: str) -> Path:
    """Give an index another name; return its new folder.

    Raises:
        ValueError: It is no name for an index, or the folder holds more than an index.
        FileExistsError: There is one of that name already.
        BlockingIOError: Something is writing to it.
    """
    _check(path)
    new = path.with_name(index_name(name))
    if new.name.casefold() != path.name.casefold():
        new = new_index_folder(path.parent, name)
    return path.rename(new)


def delete_index(path: Path) -> None:
    """Delete an index with its folder.

    Raises:
        ValueError: The folder holds no index, or more than that.
        BlockingIOError: Something is writing to it.
    """
    _check(path)
    aside = path.with_name(f".deleted-{uuid4().hex}")  # gone in one step, whatever comes between
    path.rename(aside)
    sync(path.parent)  # before its files go
    _clear(path.parent)
    if aside.exists():
        shutil.rmtree(aside)  # says why it cannot be


def discard_unfinished(path: Path) -> None:
    """Delete the folder of a build that ended before there was an index; of any other, or one at work, nothing."""
    if not path.is_dir():
        return
    with suppress(BlockingIOError), writing(path):
        if not (path / MANIFEST).exists() and not _foreign(path):
            shutil.rmtree(path, ignore_errors=True)  # some systems remove no lock that is held


def size_on_disk(path: Path) -> int:
    """Return how many bytes an index takes."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _clear(folder: Path) -> None:
    """Remove deleted indexes, also what was left when a process was killed over it, as far as that can be done."""
    for deleted in folder.glob(".deleted-*"):
        shutil.rmtree(deleted, ignore_errors=True)


def _check(path: Path) -> None:
    if not is_index(path) or path.is_symlink():
        raise ValueError(f"{path} is not the folder of an index. Nothing was changed.")
    if foreign := _foreign(path):
        raise ValueError(f"{path} holds more than an index: {', '.join(foreign)}. Move that elsewhere first.")
    with writing(path):
        pass  # raises if something is


def _foreign(path: Path) -> list[str]:
    return sorted(child.name for child in path.iterdir() if not _OURS.fullmatch(child.name))
