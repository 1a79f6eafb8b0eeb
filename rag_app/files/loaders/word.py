"""Word documents (.docx)."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rag_app.files.archives import open_zip
from rag_app.files.loaders.records import Record
from rag_app.files.places import numbered
from rag_app.files.tables import Columns
from rag_app.files.unreadable import OLE, UnreadableError, content_kind, reading_as

if TYPE_CHECKING:
    from docx.document import Document as WordDocument
    from docx.table import Table


def load_docx(path: Path, columns: Columns) -> Iterator[Record]:
    """Yield the document's text and tables in reading order, their paragraphs and rows numbered from 1."""
    import docx

    if content_kind(path) == OLE:
        raise UnreadableError(
            "this is an encrypted or an old document (.doc). Save it in Word as .docx, without a password"
        )
    with reading_as("a Word document (.docx)", path, "Open it in Word and save it as .docx again"):
        with open_zip(path):  # checks only: the library unpacks all there is
            document = docx.Document(str(path))
        title = document.core_properties.title or _word_title(document)
        parts = numbered(_word_blocks(document))
    yield {"title": title, "parts": parts}


def _word_title(document: "WordDocument") -> str | None:
    titles = (p.text for p in document.paragraphs if p.style is not None and p.style.name in ("Title", "Heading 1"))
    return next(filter(None, titles), None)


def _word_blocks(container: "WordDocument") -> Iterator[str]:
    from docx.text.paragraph import Paragraph

    for block in container.iter_inner_content():
        if isinstance(block, Paragraph):
            yield block.text
        else:
            yield from _word_table(block)


def _word_table(table: "Table") -> Iterator[str]:
    for row in table.rows:
        cells = {id(cell._tc): cell.text for cell in row.cells}  # a merged cell comes up once per column it spans
        yield " ".join(cells.values())
