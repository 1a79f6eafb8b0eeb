"""Reads the articles of a file, past what is broken in it."""

import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from langchain_core.documents import Document

from rag_app.articles import NewArticles
from rag_app.bulk.files import PARQUET, DataFile
from rag_app.documents import make_document
from rag_app.files.tables import MAX_ROW, ROWS, Columns, Row, parse_json_row, row_record
from rag_app.korean import normalise

_NAMED = 20
"""How many of a file's errors are told in full."""
_ROWS = 1000  # of a parquet file in memory at once

OnBroken = Callable[[str], None]


@dataclass
class FileReport:
    """What reading a file gave.

    Attributes:
        file: Its name.
        articles: How many were read, those of the same text once.
        repeated: How many repeated the text of an earlier one.
        broken: How many rows could not be read; 1 for a file that cannot be opened or read on.
        errors: Why, for the first of them.
    """

    file: str
    articles: int = 0
    repeated: int = 0
    broken: int = 0
    errors: list[str] = field(default_factory=list)

    def note(self, error: str) -> None:
        """Count an error."""
        self.broken += 1
        if len(self.errors) < _NAMED:
            self.errors.append(error)


def read_file(file: DataFile, columns: Columns, report: FileReport) -> Iterator[Document]:
    """Yield the articles of a file, each text once, and note in the report what was read and what was not.

    A broken line of jsonl and a row without a text cost just that row; where a file of another format breaks off, what
    stands before that place is there.
    """
    articles = NewArticles(_articles(file, columns, report))
    yield from articles
    report.articles, report.repeated = articles.added, articles.skipped
    if not (report.articles or report.broken):
        report.note("holds no text. Leave it out, or save it again with its text")


def _articles(file: DataFile, columns: Columns, report: FileReport) -> Iterator[Document]:
    first = True
    try:
        for row in _ROW_READERS.get(file.suffix, _table_rows)(file, report.note):
            try:
                record = row_record(row, columns, first=first)
                first = False
                if record is not None:
                    yield make_document(record.pop("text"), **{**record, "path": file.name})
            except ValueError as error:
                report.note(str(error) if str(error).startswith(row.place) else f"{row.place}: {error}")
    except (OSError, ValueError) as error:  # pyarrow's errors are one of the two
        report.note(str(error))


def _jsonl_rows(file: DataFile, on_broken: OnBroken) -> Iterator[Row]:
    with file.filesystem.open_input_stream(file.path) as stream, io.BufferedReader(stream) as lines:
        for number, line in enumerate(iter(lambda: lines.readline(MAX_ROW + 1), b""), start=1):
            place = f"line {number}"
            if len(line) > MAX_ROW:
                raise ValueError(f"{place}: has more than {MAX_ROW:,} bytes. Split it")
            try:
                if text := line.decode("utf-8-sig" if number == 1 else "utf-8").strip():
                    yield parse_json_row(text, place)
            except UnicodeDecodeError:
                on_broken(f"{place}: not UTF-8. Save the file as UTF-8")
            except ValueError as error:
                on_broken(str(error))


def _parquet_rows(file: DataFile, on_broken: OnBroken) -> Iterator[Row]:
    from pyarrow.parquet import ParquetFile

    with file.filesystem.open_input_file(file.path) as stream, ParquetFile(stream) as table:
        number = 0
        for batch in table.iter_batches(batch_size=_ROWS):
            for values in batch.to_pylist():
                number += 1
                yield Row(f"row {number}", {normalise(name): value for name, value in values.items()})


def _table_rows(file: DataFile, on_broken: OnBroken) -> Iterator[Row]:
    """Yield the rows of a format whose reader needs a file on this machine's disk."""
    with TemporaryDirectory() as folder:
        path = Path(folder, f"table{file.suffix}")
        with file.filesystem.open_input_stream(file.path) as stream, path.open("wb") as copy:
            shutil.copyfileobj(stream, copy)
        yield from ROWS[file.suffix](path)


_ROW_READERS: dict[str, Callable[[DataFile, OnBroken], Iterator[Row]]] = {
    ".jsonl": _jsonl_rows,
    PARQUET: _parquet_rows,
}
