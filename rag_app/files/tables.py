"""Tables of articles or questions: the rows of csv, tsv, jsonl and json files, and which column holds what."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from rag_app.files.encodings import text_encoding
from rag_app.korean import normalise

USUAL_NAMES: dict[str, tuple[str, ...]] = {
    "text": (
        "context",
        "text",
        "content",
        "contents",
        "body",
        "article",
        "passage",
        "본문",
        "내용",
        "기사",
        "기사본문",
        "본문내용",
    ),
    "title": ("title", "headline", "제목", "기사제목"),
    "date": (
        *("date", "published", "published_at", "published_time", "publish_date", "pubdate", "datetime", "created_at"),
        *("작성일", "작성일자", "게시일", "발행일", "등록일", "날짜", "일자"),
    ),
    "section": ("section", "category", "news_category", "분류", "분야", "섹션", "카테고리", "지면"),
    "source": ("source", "outlet", "publisher", "press", "출처", "언론사", "신문사", "매체", "매체명"),
    "url": ("url", "link", "링크", "주소"),
}
"""Under which names, lower-cased, a column is taken for each field when none is given; the first one present wins."""

MAX_ROW = 16 * 1024**2
"""The most characters that a row has, which is a book or two; what is longer is no row, or meant to fill the memory."""
MAX_COLUMNS = 10_000
MAX_WHOLE = 256 * 1024**2
"""The most bytes of a json file, which is read whole and takes several times as much memory."""


class Columns(NamedTuple):
    """Which column of a table holds what; None finds it by its usual names (`USUAL_NAMES`)."""

    text: str | None = None
    title: str | None = None
    date: str | None = None
    section: str | None = None
    source: str | None = None


USUAL_COLUMNS = Columns()
QUESTION_NAMES = ("question", "query", "질문")


class Row(NamedTuple):
    """One row of a table and its place in the file, as a message names it: ``line 3``."""

    place: str
    values: dict[str, Any]


def csv_rows(path: Path, delimiter: str = ",") -> Iterator[Row]:
    """Yield the rows of a csv file with a header; blank lines are passed over, missing last cells are empty.

    Of columns with the same name the second is called ``name 2``, and so on.

    Raises:
        ValueError: Quotes do not close, or a row has more cells than the header, or is too long; names the line.
    """
    csv.field_size_limit(MAX_ROW)  # its own limit is 131,072 characters
    with path.open(encoding=text_encoding(path), newline="") as file:
        lines = _Lines(file)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            header = next(filter(any, reader), [])
            _check_columns(f"line {reader.line_num}", len(header))
            header = _distinct(header)
            for cells in reader:
                lines.row = 0
                _check_columns(f"line {reader.line_num}", len(cells))
                if any(cells[len(header) :]):
                    wrong = f"line {reader.line_num}: {len(cells)} cells under {len(header)} column names"
                    raise ValueError(f"{wrong}. Put cells that hold the delimiter in quotes")
                if any(cells):
                    values = dict(zip_longest(header, cells[: len(header)], fillvalue=""))
                    yield Row(f"line {reader.line_num}", {name: cell for name, cell in values.items() if name})
        except csv.Error as error:
            raise ValueError(f"line {reader.line_num}: {error}. Close its quotes, double those in a cell") from error


def tsv_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a tab-separated file, read like csv (quoted cells may hold tabs and line breaks)."""
    return csv_rows(path, delimiter="\t")


def jsonl_rows(path: Path) -> Iterator[Row]:
    """Yield the objects of a file with one JSON object on each line; blank lines are passed over.

    Raises:
        ValueError: A line is not a JSON object, or too long; names the line.
    """
    with path.open(encoding=text_encoding(path)) as file:
        lines = _Lines(file)
        for number, line in enumerate(lines, start=1):
            lines.row = 0
            if line.strip():
                yield parse_json_row(line, f"line {number}")


def parse_json_row(line: str, place: str) -> Row:
    """Return the row that a JSON object is.

    Args:
        line: The object.
        place: Where it stands in its file.

    Raises:
        ValueError: It is none; names the place.
    """
    return _row(place, _parse_json(line, f"{place}: "))


def json_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a json file: a list of objects, or the KLUE-MRC / KorQuAD (SQuAD) layout.

    In the latter a row is one question, with its ``context`` and the fields of its article (``title``,
    ``news_category``, ``source``) beside it; a paragraph without questions is a row of its own.

    Raises:
        ValueError: The file is not JSON, has neither layout, or is larger than `MAX_WHOLE`.
    """
    if (size := path.stat().st_size) > MAX_WHOLE:
        raise ValueError(f"it has {size:,} bytes, and json is read up to {MAX_WHOLE:,}. Save it as jsonl, or split it")
    content = _parse_json(path.read_text(encoding=text_encoding(path)))
    records = content.get("data") if isinstance(content, dict) else content
    if not isinstance(records, list):
        raise ValueError(
            "it holds neither a list of objects nor the KLUE-MRC / KorQuAD layout with a list under 'data'. "
            "Write it as one of them"
        )
    for number, record in enumerate(records, start=1):
        row = _row(f"record {number}", record)
        yield from _questions(row) if "paragraphs" in row.values else [row]


ROWS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".csv": csv_rows,
    ".tsv": tsv_rows,
    ".jsonl": jsonl_rows,
    ".json": json_rows,
}
"""The reader of each kind of table, by the file's suffix."""


def find_column(field: str, names: Iterable[str], given: str | None = None) -> str | None:
    """Return which of a table's columns holds a field: the one given, else the first of its usual names; None if none.

    Raises:
        ValueError: The given column is not there, or ``field`` is ``text`` and no column is known to hold it.
    """
    names = list(names)
    if given is not None:
        given = normalise(given)
        if given not in names:
            raise ValueError(f"no column {given!r} for the {field} among {', '.join(names)}. Correct --{field}-column")
        return given
    by_name = {name.lower(): name for name in reversed(names)}
    found = next((by_name[name] for name in USUAL_NAMES[field] if name in by_name), None)
    if found is None and field == "text":
        raise ValueError(f"no column for the text among {', '.join(names)}. Name it with --text-column")
    return found


def table_records(rows: Iterable[Row], columns: Columns = USUAL_COLUMNS) -> Iterator[dict[str, Any]]:
    """Yield each row as a record with the fields under one name (``text``, ``title``, ``date``, ...).

    Other columns stay as they were, unless the row asks a question: then they describe the question, not the text, and
    are left out. Rows whose text has no letter or digit are passed over. Wikis and feeds put the article's address in
    the column of the source: a link there becomes the ``url`` unless there is one.

    Raises:
        ValueError: A column is missing or holds something else than text; names the place.
    """
    for number, row in enumerate(rows):
        if (record := row_record(row, columns, first=number == 0)) is not None:
            yield record


def row_record(row: Row, columns: Columns = USUAL_COLUMNS, *, first: bool) -> dict[str, Any] | None:
    """Return a row as a record; None if its text has no letter or digit. See `table_records`.

    Args:
        row: Of a table.
        columns: Which of its columns holds what.
        first: Whether it is the table's first row, in which every column that was named has to be: rows of json may
            leave columns out.

    Raises:
        ValueError: A column is missing or holds something else than text; names the place.
    """
    try:
        found = _find_columns(tuple(row.values), columns, first)
    except ValueError as error:
        raise ValueError(f"{row.place}: {error}") from error
    record = {field: row.values[name] for field, name in found.items()}
    text = record["text"] or ""
    if not isinstance(text, str):
        wrong = f"{row.place}: column {found['text']!r} holds a {type(text).__name__}, not text"
        raise ValueError(f"{wrong}. Correct it, or name another with --text-column")
    if not any(map(str.isalnum, text)):
        return None
    if not record.get("url") and str(record.get("source")).startswith(("http://", "https://")):
        record["url"] = record.pop("source")
    if not any(name in row.values for name in QUESTION_NAMES):
        others = row.values.keys() - found.values()
        record = {name: value for name, value in row.values.items() if name in others} | record
    return record


@lru_cache(maxsize=256)
def _find_columns(names: tuple[str, ...], columns: Columns, check: bool) -> dict[str, str]:
    given = {field: name for field, name in columns._asdict().items() if check or field == "text" or name in names}
    found = {field: find_column(field, names, given.get(field)) for field in USUAL_NAMES}
    return {field: name for field, name in found.items() if name is not None}


class _Lines(Iterator[str]):
    """The lines of a file.

    Attributes:
        row: How many characters have been read; whoever reads sets it back to 0 where a row begins.

    Raises:
        ValueError: A row does not end; names the line.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._number = 0
        self.row = 0

    def __next__(self) -> str:
        line = self._file.readline(MAX_ROW + 1)
        if not line:
            raise StopIteration
        self._number += 1
        self.row += len(line)
        if self.row > MAX_ROW:
            wrong = f"line {self._number}: its row has more than {MAX_ROW:,} characters"
            raise ValueError(f"{wrong}. Close its quotes, or split it")
        return line


def _distinct(names: Iterable[str]) -> list[str]:
    """Return the names of columns, normalised, with a number behind those that come again; those without one as ""."""
    distinct: list[str] = []
    known: set[str] = set()
    times: Counter[str] = Counter()
    for given in map(normalise, names):
        name = given
        while name in known:
            times[given] += 1
            name = f"{given} {times[given] + 1}"
        known |= {name} - {""}
        distinct.append(name)
    return distinct


def _check_columns(place: str, count: int) -> None:
    if count > MAX_COLUMNS:
        raise ValueError(f"{place}: has {count:,} columns, more than {MAX_COLUMNS:,}. Leave out what holds no text")


def _row(place: str, value: Any) -> Row:
    if not isinstance(value, dict):
        raise ValueError(f"{place}: want a JSON object, got a {type(value).__name__}. Write one there")
    _check_columns(place, len(value))
    return Row(place, {normalise(name): cell for name, cell in value.items()})


def _questions(article: Row) -> Iterator[Row]:
    fields = {name: value for name, value in article.values.items() if name != "paragraphs"}
    try:
        for paragraph in article.values["paragraphs"]:
            for question in paragraph.get("qas") or [{}]:
                yield Row(article.place, {**fields, "context": paragraph["context"], **question})
    except (AttributeError, KeyError, TypeError) as error:
        wrong = f"{article.place}: not the KLUE-MRC / KorQuAD layout: {error!r}"
        raise ValueError(f"{wrong}. Give each of its paragraphs a 'context'") from error


def _parse_json(text: str, place: str = "") -> Any:
    try:
        return json.loads(text, parse_constant=lambda _: None)  # NaN is not JSON: no value
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place}not JSON: {error}. Correct it, or save the file again") from error
