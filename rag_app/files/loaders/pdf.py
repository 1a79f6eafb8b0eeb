"""PDF."""

import logging
from collections.abc import Iterator
from pathlib import Path

from rag_app.files.loaders.records import Record
from rag_app.files.places import Part
from rag_app.files.tables import Columns
from rag_app.files.unreadable import UnreadableError, reading_as


def load_pdf(path: Path, columns: Columns) -> Iterator[Record]:
    """Yield the text of all pages, each under its number from 1, whatever number is printed on it."""
    from pypdf import PdfReader

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # what is wrong with a file is in the error

    with path.open("rb") as file, reading_as("PDF (.pdf)", path, "Open it in a PDF reader and print it as a new PDF"):
        reader = PdfReader(file)
        # Documents protected only against printing or editing open with an empty password.
        if reader.is_encrypted and not reader.decrypt(""):
            raise UnreadableError("this PDF is encrypted. Save a copy without its password")
        texts = [page.extract_text() for page in reader.pages]
        title = reader.metadata and reader.metadata.title  # broken files have anything there
    if not any(map(str.strip, texts)):
        raise UnreadableError(
            "this PDF holds no text, perhaps only scanned pages. Run text recognition (OCR) on it first"
        )
    yield {
        "title": title if isinstance(title, str) else None,
        "parts": [Part(f"{text}\n", {"page": n}) for n, text in enumerate(texts, start=1)],
    }
