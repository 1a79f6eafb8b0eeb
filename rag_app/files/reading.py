"""Reads the records of files and of the files in zip archives, in this process."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol, Self
from zipfile import ZipFile

from rag_app.files.archives import Member, extracted, list_members, open_zip
from rag_app.files.loaders import LOADERS
from rag_app.files.loaders.records import Loader, Record
from rag_app.files.tables import ROWS, Columns
from rag_app.files.unreadable import UnreadableError, reading_as

ARCHIVE = ".zip"
SUPPORTED_SUFFIXES = (*LOADERS, ARCHIVE)
"""Of the files that can be read, in lower case."""
PLAIN_SUFFIXES = (".txt", ".md", ".markdown", *ROWS)
"""Of those that are plain text, which no library parses; tables among them are read row by row."""


class Reader(Protocol):
    """What reads files: `LocalReader` here, `rag_app.files.parsing.FileReader` in a process with limits."""

    def members(self, path: Path) -> list[Member]:
        """Return the files of a zip archive."""
        ...

    def records(self, path: Path, suffix: str, columns: Columns, member: int | None = None) -> Iterable[Record]:
        """Return the records of a file of a format, or of a member of a zip archive by its number."""
        ...


class LocalReader:
    """Reads files in this process: without limits, but a large table row by row.

    Keeps the last archive open; leaving the context closes it.

    Args:
        loaders: The loader of each format, by its suffix.
    """

    def __init__(self, loaders: Mapping[str, Loader] = LOADERS) -> None:
        self._loaders = loaders
        self._archive: tuple[Path, ZipFile] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the archive that is open."""
        if self._archive is not None:
            self._archive[1].close()
            self._archive = None

    def members(self, path: Path) -> list[Member]:
        """Return the files of a zip archive; see `rag_app.files.archives.list_members`."""
        return list_members(self._open(path))

    def records(self, path: Path, suffix: str, columns: Columns, member: int | None = None) -> Iterator[Record]:
        """Yield the records of a file, or of a member of the archive by its number.

        Raises:
            ValueError: It cannot be read.
        """
        if member is not None:
            kept = self._archive[1] if self._archive and self._archive[0] == path else self._open(path)
            with extracted(kept, member) as file:
                yield from self.records(file, suffix, columns)
        elif suffix == ARCHIVE:
            raise UnreadableError("an archive in an archive is not read. Unpack it first")
        elif suffix not in self._loaders:
            raise UnreadableError(f"its suffix is {suffix!r}. Save it as one of {', '.join(SUPPORTED_SUFFIXES)}")
        else:
            yield from self._loaders[suffix](path, columns)

    def _open(self, path: Path) -> ZipFile:
        self.close()
        with reading_as("a zip archive (.zip)", path, "Pack the files again"):
            self._archive = (path, open_zip(path))
        return self._archive[1]
