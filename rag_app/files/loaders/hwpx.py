"""HWPX: a zip archive of XML, the standard KS X 6101 (OWPML)."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers.expat import ParserCreate
from zipfile import ZipFile

from rag_app.files.archives import open_zip
from rag_app.files.loaders.hangul import HangulDocument, Note, Paragraph, flow, row_texts
from rag_app.files.unreadable import UnreadableError

_SECTION = re.compile(r"Contents/section(\d+)\.xml")
_NOTES = {"footNote", "endNote"}
_NOT_READ = {"header", "footer", "hiddenComment", "fieldBegin"}  # a field holds the memo that is attached to it
_INLINE = {"tab": "\t", "lineBreak": "\n", "nbSpace": " ", "fwSpace": " ", "hyphen": "-"}


def read_hwpx(path: Path) -> HangulDocument:
    """Return what a document holds.

    Raises:
        UnreadableError: It is encrypted, no HWPX, or a bomb.
        Exception: It is damaged; what is raised depends on where.
    """
    with open_zip(path) as archive:
        names = {int(match[1]): match[0] for match in map(_SECTION.fullmatch, archive.namelist()) if match}
        if not names:
            raise UnreadableError("this zip archive is no HWPX document. Give it the suffix that belongs to it")
        if b"encryption-data" in _bytes(archive, "META-INF/manifest.xml"):
            raise UnreadableError("this HWPX document is encrypted. Save a copy without its password")
        sections = [parse_xml(archive.read(names[number])) for number in sorted(names)]
        paragraphs = [list(map(_paragraph, section.iterfind("p"))) for section in sections]
        return HangulDocument(_title(archive), paragraphs, any(map(_has_columns, sections)))


def parse_xml(data: bytes) -> Element:
    """Return the root of an XML document, names without their prefixes.

    Raises:
        UnreadableError: It declares a document type, where entities that grow without end are declared.
        xml.parsers.expat.ExpatError: It is no XML.
    """

    def refuse(*declaration: object) -> None:
        raise UnreadableError("it declares an XML document type, which no HWPX does. Save it again in Hangul (한글)")

    builder = TreeBuilder()
    parser = ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = lambda name, attributes: builder.start(_local(name), attributes)
    parser.EndElementHandler = lambda name: builder.end(_local(name))
    parser.CharacterDataHandler = builder.data
    parser.Parse(data, True)
    return builder.close()


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _bytes(archive: ZipFile, name: str) -> bytes:
    return archive.read(name) if name in archive.namelist() else b""


def _title(archive: ZipFile) -> str:
    package = _bytes(archive, "Contents/content.hpf")
    return (parse_xml(package).findtext("metadata/title") or "") if package else ""


def _paragraph(element: Element) -> Paragraph:
    return Paragraph(
        _texts([element]), [int(line.get("vertpos", 0)) for line in element.iterfind("linesegarray/lineseg")]
    )


def _has_columns(section: Element) -> bool:
    return any(int(columns.get("colCount", 1)) > 1 for columns in section.iterfind("p/run/ctrl/colPr"))


def _texts(paragraphs: Iterable[Element]) -> list[str]:
    return [text for paragraph in paragraphs for text in flow(_pieces(paragraph.iterfind("run/*")))]


def _pieces(elements: Iterable[Element]) -> Iterator[str | list[str] | Note]:
    for element in elements:
        if element.tag == "t":
            yield _words(element)
        elif element.tag == "tbl":
            yield _table(element)
        elif element.tag == "ctrl":
            yield from _pieces(element)
        elif element.tag in _NOTES:
            yield Note(_below(element))
        elif element.tag not in _NOT_READ:
            yield _below(element)


def _words(element: Element) -> str:
    inside = (_INLINE.get(child.tag, "") + (child.tail or "") for child in element)
    return "".join([element.text or "", *inside])


def _table(table: Element) -> list[str]:
    caption = [text for element in table.iterfind("caption") for text in _below(element)]
    return caption + [text for row in table.iterfind("tr") for text in row_texts([_below(cell) for cell in row])]


def _below(element: Element) -> list[str]:
    """Return the texts of the lists of paragraphs in an element: a cell, a note, a drawing's boxes."""
    if element.tag == "subList":
        return _texts(element.iterfind("p"))
    return [text for child in element for text in _below(child)]
