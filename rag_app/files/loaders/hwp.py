"""Documents of the word processor Hangul (한글): HWP 5 and HWPX, told apart by their content."""

from collections.abc import Iterator
from pathlib import Path

from rag_app.files.loaders.hangul import placed_parts
from rag_app.files.loaders.records import Record
from rag_app.files.tables import Columns
from rag_app.files.unreadable import HWP_3, ZIP, UnreadableError, content_kind, reading_as


def load_hwp(path: Path, columns: Columns) -> Iterator[Record]:
    """Yield the document's text and tables in reading order; headers, footers and hidden comments are left out."""
    from rag_app.files.loaders.hwp5 import read_hwp5
    from rag_app.files.loaders.hwpx import read_hwpx

    kind = content_kind(path)
    if kind == HWP_3:
        raise UnreadableError(
            "this is an HWP 3 document, of Hangul 97 or older. Save it as HWPX in a newer Hangul (한글)"
        )
    with reading_as("an HWP document (.hwp, .hwpx)", path, "Open it in Hangul (한글) and save it as HWPX again"):
        document = read_hwpx(path) if kind == ZIP else read_hwp5(path)
        parts = placed_parts(document)
    if not parts:
        raise UnreadableError(
            "this document holds no text, perhaps only pictures. Run text recognition (OCR) on it first"
        )
    yield {"title": document.title, "parts": parts}
