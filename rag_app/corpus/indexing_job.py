"""Files -> an index, in a thread of its own: read one by one, then indexed in one step; watched, stopped, explained."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple, Protocol

from langchain_core.documents import Document

from rag_app.documents import FileResult, files_in, searchable_text
from rag_app.files.parser_process import Limits
from rag_app.files.parsing import SUPPORTED_SUFFIXES, FileReader, path_text
from rag_app.files.tables import USUAL_COLUMNS, Columns
from rag_app.index import Changes
from rag_app.stores.address import Address

logger = logging.getLogger(__name__)

Phase = Literal["reading", "indexing", "done", "failed", "stopped"]
FileState = Literal["waiting", "reading", "read", "failed"]

Watch = Callable[[Sequence[str]], None]
"""Told of texts that have been embedded; raises `StoppedError` to end the work."""

Write = Callable[[list[Document], Watch], Changes]
"""Brings documents into an index; whatever it raises, the index is as it was, unless the job is ``in_parts``."""

LIMITS = Limits(seconds=60, memory=2 * 1024**3)
"""Of reading one file: a table of a hundred thousand articles takes a few seconds, and several times its size."""


class StoppedError(Exception):
    """Somebody stopped the job."""


class SourceFile(NamedTuple):
    """A file to be read.

    Attributes:
        path: Where it is.
        name: What its owner calls it, and what ``path`` in its articles' metadata will be; None for its path.
        columns: Which columns of a table hold what.
    """

    path: Path
    name: str | None = None
    columns: Columns = USUAL_COLUMNS


@dataclass
class FileReport:
    """What became of a file, or of a member of an archive.

    Attributes:
        name: What its owner calls it.
        state: How far it is.
        articles: How many were read.
        error: Why it could not be read.
    """

    name: str
    state: FileState = "waiting"
    articles: int = 0
    error: Exception | None = None


class Reader(Protocol):
    """Reads files; `rag_app.files.parsing.FileReader` is one."""

    def read_all(self, path: Path, *, name: str | None, columns: Columns) -> Iterator[FileResult]:
        """Yield what a file holds: one result, of an archive one for each member."""

    def close(self) -> None:
        """End what is being read, from any thread."""


@dataclass
class IndexingJob:
    """Reads files and indexes what they hold. Attributes may be looked at from any thread while it runs.

    Attributes:
        index: Where the index is.
        sources: The files.
        write: Brings the articles into the index.
        whole: Whether a file that cannot be read keeps the index as it is.
        in_parts: Whether what was written stays where the rest was not, as on a server.
        uploads: A temporary folder that is removed at the end; None for files that stay.
        prepare: Done first, as loading a model is: what fails should do so before anything is read.
        open_reader: Opens what reads the files.
        files: A report for each file, and behind that of an archive one for each member.
        phase: How far it is.
        changes: What it did to the index.
        error: Why it failed.
        articles: How many have been read, repeated ones among them.
        passages: How many have been embedded.
        ended: When, on the clock of `time.monotonic`; long ago while it has not.
    """

    index: Path | Address
    sources: Sequence[SourceFile]
    write: Write
    whole: bool = False
    in_parts: bool = False
    uploads: "TemporaryDirectory[str] | None" = None
    prepare: Callable[[], object] = lambda: None
    open_reader: Callable[[], AbstractContextManager[Reader]] = lambda: FileReader(LIMITS)
    files: list[FileReport] = field(default_factory=list)
    phase: Phase = "reading"
    changes: Changes = field(default_factory=Changes)
    error: Exception | None = None
    articles: int = 0
    passages: int = 0
    ended: float = float("-inf")
    _embedded: int = 0
    _characters: int = 0
    _indexing_since: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)
    _reader: Reader | None = None

    def __post_init__(self) -> None:
        self.files = [FileReport(source.name or path_text(source.path)) for source in self.sources]
        self._thread = threading.Thread(target=self._run, name=f"indexing {self.index.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End it as soon as it can; the index stays as it is, or is as far as it has come where it is ``in_parts``."""
        self._stop.set()
        if (reader := self._reader) is not None:
            reader.close()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until it has ended, at most so many seconds."""
        self._thread.join(seconds)

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self.phase in ("reading", "indexing")

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    @property
    def read_share(self) -> float:
        """The share of the files that were read, with or without success."""
        ended = sum(report.state in ("read", "failed") for report in list(self.files))
        return ended / max(1, len(self.files))

    @property
    def indexed_share(self) -> float:
        """The share of the articles' characters that have been embedded; repeated articles never are."""
        return min(1.0, self._embedded / max(1, self._characters))

    @property
    def seconds_left(self) -> float | None:
        """How long embedding will take yet, at the pace so far; None while it is too early to tell."""
        share, passed = self.indexed_share, time.monotonic() - self._indexing_since
        return None if share < 0.02 or passed < 5 else passed / share * (1 - share)

    @property
    def failed_files(self) -> list[FileReport]:
        """The reports of those that could not be read."""
        return [report for report in list(self.files) if report.error is not None]

    def _run(self) -> None:
        phase: Phase = "failed"
        try:
            prepared = self.prepare()
            documents = self._read()
            self._characters = sum(len(searchable_text(document)) for document in documents)
            self._indexing_since = time.monotonic()
            self.phase = "indexing"
            self.changes = self.write(documents, self._watch)
            del prepared  # held until now, so that a model is not loaded twice
            phase = "done"
        except Exception as error:  # nobody else would hear of it in this thread
            if self._stop.is_set():
                phase = "stopped"
                return
            level = logging.INFO if isinstance(error, OSError | ValueError | ImportError) else logging.ERROR
            logger.log(level, "Indexing %s failed", self.index, exc_info=True)
            self.error = error
        finally:
            if self.uploads is not None:
                self.uploads.cleanup()
            self.ended = time.monotonic()  # before the phase: who sees that it ended sees what it wrote
            self.phase = phase

    def _read(self) -> list[Document]:
        """Return the articles of all files.

        Raises:
            StoppedError: It was stopped.
            ValueError: There is none, or not all files could be read where that was asked for.
        """
        documents: list[Document] = []
        with self.open_reader() as self._reader:
            for source, report in zip(self.sources, list(self.files), strict=True):
                self._check()
                report.state = "reading"
                for result in self._reader.read_all(source.path, name=source.name, columns=source.columns):
                    self._check()
                    documents += result.documents
                    self._note(report, result)
                if report.state == "reading":
                    report.state = "read"
        self._reader = None
        self._check()
        failed = len(self.failed_files)
        if not documents:
            raise ValueError("None of the files holds an article that can be read. See why beside each of them.")
        if failed and self.whole:
            raise ValueError(f"{failed} files could not be read. Leave them out, or allow the rest to be indexed.")
        return documents

    def _note(self, report: FileReport, result: FileResult) -> None:
        """Note what came of a file, or of a member of an archive in a report of its own behind the archive's."""
        found = len(result.documents)
        self.articles += found
        if result.name == report.name:
            report.articles, report.error = found, result.error
            report.state = "failed" if result.error else "read"
            return
        report.articles += found
        state: FileState = "failed" if result.error else "read"
        place = next(number for number, known in enumerate(self.files) if known is report) + 1
        while place < len(self.files) and self.files[place].name.startswith(f"{report.name}/"):
            place += 1
        self.files.insert(place, FileReport(result.name, state, found, result.error))

    def _watch(self, texts: Sequence[str]) -> None:
        self.passages += len(texts)
        self._embedded += sum(map(len, texts))
        self._check()

    def _check(self) -> None:
        if self._stop.is_set():
            raise StoppedError


def readable_files(path: Path) -> list[Path]:
    """Return the file, or the files of a folder and the folders in it that are of a known format.

    Raises:
        FileNotFoundError: There is nothing at the path.
        ValueError: There is no such file.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder {path}")
    files = files_in(path) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"The folder {path} holds no file of a known format ({', '.join(SUPPORTED_SUFFIXES)})")
    return files
