"""Reads files of strangers in a child process with limits: one that hangs, eats memory or crashes harms nobody."""

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from langchain_core.documents import Document

from rag_app.documents import FileResult as FileResult
from rag_app.documents import Source, read_articles, read_files
from rag_app.files.archives import Member
from rag_app.files.loaders.records import Record
from rag_app.files.parser_process import Limits as Limits
from rag_app.files.parser_process import ParserProcess
from rag_app.files.reading import ARCHIVE, LocalReader
from rag_app.files.reading import PLAIN_SUFFIXES as PLAIN_SUFFIXES
from rag_app.files.reading import SUPPORTED_SUFFIXES as SUPPORTED_SUFFIXES
from rag_app.files.tables import USUAL_COLUMNS, Columns
from rag_app.observability.tracing import span

USUAL_LIMITS = Limits()


class FileReader:
    """Reads files in a child process, which starts with the first file, serves many, and is replaced when one kills it.

    For one thread at a time; leaving the context ends the child. `close` from another thread ends a read in progress.

    Args:
        limits: What each file may take.
        local: Suffixes of formats that are read in this process instead, without limits, tables row by row:
            `PLAIN_SUFFIXES` for one's own files.
        loaders: The module whose ``LOADERS`` the child reads with.
    """

    def __init__(
        self, limits: Limits = USUAL_LIMITS, *, local: Collection[str] = (), loaders: str = "rag_app.files.loaders"
    ) -> None:
        self._limits = limits
        self._local = local
        self._loaders = loaders
        self._process: ParserProcess | None = None
        self._closings = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def read(self, path: str | Path, *, name: str | None = None, columns: Columns = USUAL_COLUMNS) -> list[Document]:
        """Return the articles of a file; only `read_all` reads zip archives.

        Args:
            path: Where it is.
            name: What to call it, in messages and as ``path`` in the metadata: what an uploaded file was called. Its
                suffix tells the format. None goes by the path.
            columns: Which columns of tables hold what.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It cannot be read, holds no text, is of an unknown format, or takes too much; names it.
        """
        source = _source(path, name)
        if source.suffix == ARCHIVE:
            raise ValueError(f"{source.name}: an archive holds many files. Read it with read_all")
        return list(read_articles(source, columns, self))

    def read_all(
        self, path: str | Path, *, name: str | None = None, columns: Columns = USUAL_COLUMNS
    ) -> Iterator[FileResult]:
        """Yield what reading a file gave; of a zip archive what reading each file in it gave, one after the other.

        The arguments are those of `read`. A file that cannot be read is a result with an error; nothing is raised.
        """
        return read_files(_source(path, name), columns, self)

    def members(self, path: Path) -> list[Member]:
        """Return the files of a zip archive; see `rag_app.files.reading.Reader`."""
        return [Member(*member) for member in self._ask("members", path)]

    def records(self, path: Path, suffix: str, columns: Columns, member: int | None = None) -> Iterable[Record]:
        """Return the records of a file; see `rag_app.files.reading.Reader`."""
        if suffix in self._local and member is None:
            return LocalReader().records(path, suffix, columns)
        return self._ask("records", path, suffix, columns, member)

    def close(self) -> None:
        """End the child process; another file would start another."""
        self._closings += 1
        if self._process is not None:
            self._process.kill()

    def _ask(self, method: str, path: Path, *arguments: Any) -> list[Any]:
        closings = self._closings
        path.stat()  # raises FileNotFoundError
        if self._process is None or self._process.over:
            self._process = ParserProcess(self._limits, self._loaders)
            if self._closings != closings:  # while it was starting, which takes a second
                self._process.kill()
        with span("parse", bytes=path.stat().st_size):
            return self._process.ask(method, str(path), *arguments)


def path_text(path: str | Path) -> str:
    """Return a path as text that a page can show; names of other systems need not be UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")


def _source(path: str | Path, name: str | None) -> Source:
    return Source(Path(path), name or path_text(path), name or str(Path(path).resolve()))
