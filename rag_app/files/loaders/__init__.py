"""Files -> records: one loader per format, in a table by suffix.

Loaders raise ValueError for a file they cannot read, without its name: `rag_app.documents` adds that. The libraries of
a format are imported when a file of that format comes up.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from rag_app.files.loaders.html import load_html
from rag_app.files.loaders.hwp import load_hwp
from rag_app.files.loaders.pdf import load_pdf
from rag_app.files.loaders.plain import load_markdown, load_text
from rag_app.files.loaders.records import Loader
from rag_app.files.loaders.word import load_docx
from rag_app.files.tables import ROWS, Row, table_records


def _table_loader(rows: Callable[[Path], Iterator[Row]]) -> Loader:
    return lambda path, columns: table_records(rows(path), columns)


LOADERS: dict[str, Loader] = {
    ".txt": load_text,
    ".md": load_markdown,
    ".markdown": load_markdown,
    ".html": load_html,
    ".htm": load_html,
    ".pdf": load_pdf,
    ".docx": load_docx,
    ".hwp": load_hwp,
    ".hwpx": load_hwp,
    **{suffix: _table_loader(rows) for suffix, rows in ROWS.items()},
}
"""The loader of each format, by the file's suffix in lower case. A loader goes by content, not by the path's suffix."""
