"""Plain text and Markdown."""

import re
from collections.abc import Iterator
from pathlib import Path

from rag_app.files.encodings import text_encoding
from rag_app.files.loaders.records import Record
from rag_app.files.tables import USUAL_NAMES, Columns, find_column

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?\n)---[ \t]*(?:\n|\Z)", re.DOTALL)
_FENCED = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}[ \t]+([^ \t#\n].*)$", re.MULTILINE)

MAX_BYTES = 64 * 1024**2
"""Of a text, which is one article: a library of a hundred books. Reading it takes ten times as much memory."""


def load_text(path: Path, columns: Columns) -> Iterator[Record]:
    """Yield the text as it stands."""
    yield {"text": _read(path)}


def load_markdown(path: Path, columns: Columns) -> Iterator[Record]:
    """Front matter of ``name: value`` lines is taken off and read; otherwise the text stays as it is."""
    text = _read(path)
    record: Record = {}
    if front := _FRONT_MATTER.match(text):
        text = text[front.end() :]
        pairs = (line.partition(":") for line in front[1].splitlines() if not line.startswith((" ", "-", "#")))
        values = {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}
        names = {field: find_column(field, values) for field in USUAL_NAMES if field != "text"}
        record = {field: values[name] for field, name in names.items() if name}
    if not record.get("title") and (heading := _HEADING.search(_FENCED.sub("", text))):
        record["title"] = heading[1].rstrip(" \t#")
    yield {**record, "text": text}


def _read(path: Path) -> str:
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"it has {size:,} bytes, and a text is read up to {MAX_BYTES:,}. Split it, or make it a table")
    return path.read_text(encoding=text_encoding(path))
