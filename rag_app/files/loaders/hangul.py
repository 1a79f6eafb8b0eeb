"""What HWP 5 and HWPX have in common: sections of paragraphs that hold text, tables, boxes and notes."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import NamedTuple

from rag_app.files.places import Part


class Note(NamedTuple):
    """A footnote or an endnote, which is read behind the paragraph that refers to it."""

    lines: list[str]


class Paragraph(NamedTuple):
    """A paragraph of the body with everything that is anchored in it.

    Attributes:
        texts: Its text, and the rows of its tables; none of them blank.
        tops: How far from the top of its page each of its lines stood when the document was last saved, in 1/7200 inch;
            empty if the program that wrote the file had not laid it out.
    """

    texts: list[str]
    tops: list[int]


class HangulDocument(NamedTuple):
    """The body of a document.

    Attributes:
        title: Its title; empty if it says none.
        sections: The paragraphs of each section.
        columns: Whether it has text in columns, which all begin at the top.
    """

    title: str
    sections: list[list[Paragraph]]
    columns: bool


def flow(pieces: Iterable[str | list[str] | Note]) -> list[str]:
    """Return a paragraph's texts: its words, with the lines of a table or box where it is anchored, then its notes."""
    lines, notes = [list[str]()], list[str]()
    for piece in pieces:
        if isinstance(piece, str):
            lines[-1].append(piece)
        elif isinstance(piece, Note):
            notes += piece.lines
        else:
            lines += [*([line] for line in piece), []]
    return [line for line in (*map("".join, lines), *notes) if line.strip()]


def row_texts(cells: Sequence[list[str]]) -> list[str]:
    """Return a table's row as one line; if only one cell is not empty, mostly a frame, its texts as they are."""
    filled = [cell for cell in cells if cell]
    if len(filled) == 1:
        return filled[0]
    return [" ".join(word for cell in filled for text in cell for word in text.split())]


def placed_parts(document: HangulDocument) -> list[Part]:
    """Return the texts of a document as parts with their paragraph, and their page where the layout tells it."""
    paragraphs = [paragraph for section in document.sections for paragraph in section]
    known = not document.columns and all(paragraph.tops for paragraph in paragraphs)
    known = known and any(top for paragraph in paragraphs for top in paragraph.tops)
    numbers = count(1)
    return [
        Part(text, {**({"page": page} if known else {}), "paragraph": next(numbers)})
        for paragraph, page in zip(paragraphs, _first_pages(document.sections), strict=True)
        for text in paragraph.texts
    ]


def _first_pages(sections: Sequence[Sequence[Paragraph]]) -> Iterator[int]:
    """Yield the page on which each paragraph begins, counting sheets from 1.

    A line that stands higher than the one before it is on another page; a section begins on a page of its own.
    """
    page = 0
    for section in sections:
        page, before = page + 1, 0
        for paragraph in section:
            first = 0
            for top in paragraph.tops:
                page += top < before
                first, before = first or page, top
            yield first
