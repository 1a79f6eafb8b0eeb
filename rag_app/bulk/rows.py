"""What travels between the steps of a bulk job: articles and reports of files, a row each."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray

from rag_app.bulk.files import DataFile
from rag_app.bulk.reading import FileReport, read_file
from rag_app.files.tables import Columns

if TYPE_CHECKING:
    from pyarrow import Table

ID = "id"
"""The column with what checkpoints know a row by: an article's doc_id and a hash of its metadata. A report's is new
each time it is written, so that a job that is gone on with tells all errors again."""
REPORT = "report:"
"""What the id of a report begins with."""
DOC_ID = 32
"""How many characters of an article's `ID` are its doc_id."""
_METADATA = 8  # characters that are the hash of its metadata
ID_TYPE = f"S{DOC_ID + _METADATA}"
"""Of numpy, for the ids of articles."""
_COLUMNS = (ID, "text", "metadata")
_AT_ONCE = 200  # rows in a table; Ray makes blocks of them
_CHARS = 1 << 20


def file_tables(files: Sequence[DataFile], columns: Columns, done: NDArray[np.bytes_]) -> "Iterator[Table]":
    """Yield the articles of files that are not done as tables, and behind those of each file its report.

    Args:
        files: What to read.
        columns: Which column of them holds what.
        done: The ids of those that are, sorted.
    """
    for file in files:
        report = FileReport(file.name)
        rows: list[tuple[str, str, str]] = []
        chars = 0
        for article in read_file(file, columns, report):
            metadata = json.dumps(article.metadata, ensure_ascii=False)
            id_ = f"{article.id}{sha256(metadata.encode()).hexdigest()[:_METADATA]}"
            if _is_among(id_, done):
                continue
            rows.append((id_, article.page_content, metadata))
            chars += len(article.page_content)
            if len(rows) == _AT_ONCE or chars > _CHARS:
                yield _table(rows)
                rows, chars = [], 0
        yield _table([*rows, (f"{REPORT}{uuid4().hex}", "", json.dumps(asdict(report), ensure_ascii=False))])


def articles_of(table: "Table") -> list[Document]:
    """Return the articles in a table, each once."""
    rows = {row[ID]: row for row in table.to_pylist() if not row[ID].startswith(REPORT)}
    return [
        Document(page_content=row["text"], metadata=json.loads(row["metadata"]), id=id_[:DOC_ID])
        for id_, row in rows.items()
    ]


def done_with(table: "Table") -> "Table":
    """Return what is left to keep of a table whose articles are written: the ids, and the reports."""
    from pyarrow import array, string

    kept = [row["metadata"] if row[ID].startswith(REPORT) else "" for row in table.select([ID, "metadata"]).to_pylist()]
    return table.select([ID]).append_column("report", array(kept, string()))


def doc_ids_of(table: "Table") -> list[str]:
    """Return the doc_ids of the articles in a table."""
    return [id_[:DOC_ID] for id_ in table[ID].to_pylist() if not id_.startswith(REPORT)]


def reports_of(texts: Iterable[str]) -> list[FileReport]:
    """Return the reports among what `done_with` has kept, one of each file, by its name."""
    reports = {report.file: report for report in (FileReport(**json.loads(text)) for text in texts if text)}
    return [reports[file] for file in sorted(reports)]


def no_ids() -> NDArray[np.bytes_]:
    """Return the ids of no article."""
    return np.array([], ID_TYPE)


def _is_among(id_: str, done: NDArray[np.bytes_]) -> bool:
    key = np.bytes_(id_.encode())
    place = np.searchsorted(done, key)
    return bool(place < len(done) and done[place] == key)


def _table(rows: Sequence[tuple[str, str, str]]) -> "Table":
    from pyarrow import large_string, schema, string, table

    types = schema([(ID, string()), ("text", large_string()), ("metadata", large_string())])
    return table(dict(zip(_COLUMNS, map(list, zip(*rows, strict=True)), strict=True)), schema=types)
