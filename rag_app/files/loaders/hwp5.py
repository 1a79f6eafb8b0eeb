"""HWP 5: an OLE file with streams of records, as Hancom's "한글 문서 파일 형식 5.0" describes them."""

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import olefile

from rag_app.files.loaders.hangul import HangulDocument, Note, Paragraph, flow, row_texts
from rag_app.files.unreadable import UnreadableError

_MOST = 64 * 1024**2  # bytes of a section; that of a book of 1,000 pages has 10 million

_COMPRESSED, _DISTRIBUTED = 1, 4  # bits of the header's flags
_ENCRYPTED = 2 | 16 | 256 | 1024  # by a password, by DRM, with a certificate, by DRM with one
_PARAGRAPH, _TEXT, _LAYOUT, _CONTROL, _LIST, _TABLE = 66, 67, 69, 71, 72, 77  # tags of records

# A control takes eight code units; those that are told by a record of their own have it among the paragraph's children.
_CONTROLS = re.compile(r"([\x01-\x09\x0b\x0c\x0e-\x17]).{7}", re.DOTALL)
_TAB = "\x09"
_WITHOUT_RECORD = "\x04\x05\x06\x07\x08\x09\x13\x14"
_CHARACTERS = {**dict.fromkeys(range(32), None), 10: "\n", 24: "-", 30: " ", 31: " "}
_PRIVATE_USE = {**dict.fromkeys(range(0xE000, 0xF900), None), **dict.fromkeys(range(0xF0000, 0xF1000), None)}
_HEADER, _SUMMARY = "FileHeader", "\x05HwpSummaryInformation"
_TITLE = 2  # the property's number


class _Record(NamedTuple):
    tag: int
    data: bytes
    children: "list[_Record]"


def read_hwp5(path: Path) -> HangulDocument:
    """Return what a document holds.

    Raises:
        UnreadableError: It is encrypted, or no HWP document.
        Exception: It is damaged; what is raised depends on where.
    """
    with olefile.OleFileIO(str(path)) as file:
        header = file.openstream(_HEADER).read() if file.exists(_HEADER) else b""
        if not header.startswith(b"HWP Document File"):
            raise UnreadableError("this is no HWP document. Open it in its program and save it as PDF")
        (flags,) = struct.unpack_from("<I", header, 36)
        if flags & _ENCRYPTED:
            raise UnreadableError("this HWP document is encrypted. Save a copy without its password")
        if flags & _DISTRIBUTED:
            raise UnreadableError(
                "this HWP document is locked for distribution (배포용 문서). Ask for the original, or print it as PDF"
            )
        numbers = sorted(int(name[1].removeprefix("Section")) for name in file.listdir() if name[0] == "BodyText")
        streams = (file.openstream(f"BodyText/Section{number}").read() for number in numbers)
        sections = [_tree(_plain(stream, flags)) for stream in streams]
        return HangulDocument(_title(file), list(map(_paragraphs, sections)), any(map(_has_columns, sections)))


def _title(file: olefile.OleFileIO) -> str:
    title = file.getproperties(_SUMMARY).get(_TITLE) if file.exists(_SUMMARY) else None
    return title.partition("\0")[0] if isinstance(title, str) else ""  # olefile reads past the end of the value


def _plain(stream: bytes, flags: int) -> bytes:
    if not flags & _COMPRESSED:
        return stream
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = inflater.decompress(stream, _MOST)
    if inflater.unconsumed_tail:
        raise UnreadableError(f"a section of it is longer than {_MOST:,} bytes. Split the document")
    if not inflater.eof:
        raise ValueError("a section breaks off")
    return plain


def _tree(stream: bytes) -> list[_Record]:
    """Return the records of a section's paragraphs, each with the records below it."""
    top: list[_Record] = []
    path = [(-1, top)]
    place = 0
    while place < len(stream):
        (head,) = struct.unpack_from("<I", stream, place)
        tag, level, size = head & 0x3FF, head >> 10 & 0x3FF, head >> 20
        place += 4
        if size == 0xFFF:
            (size,) = struct.unpack_from("<I", stream, place)
            place += 4
        if place + size > len(stream):
            raise ValueError("a record is longer than its stream")
        record = _Record(tag, stream[place : place + size], [])
        place += size
        while path[-1][0] >= level:
            path.pop()
        path[-1][1].append(record)
        path.append((level, record.children))
    return top


def _paragraphs(records: Iterable[_Record]) -> list[Paragraph]:
    return [Paragraph(_texts([record]), _tops(record)) for record in records if record.tag == _PARAGRAPH]


def _tops(paragraph: _Record) -> list[int]:
    layout = b"".join(child.data for child in paragraph.children if child.tag == _LAYOUT)
    return [line[1] for line in struct.iter_unpack("<8iI", layout)]


def _has_columns(records: Iterable[_Record]) -> bool:
    controls = (child.data for record in records for child in record.children if child.tag == _CONTROL)
    columns = (struct.unpack_from("<H", data, 4)[0] for data in controls if data[3::-1] == b"cold")
    return any(column >> 2 & 0xFF > 1 for column in columns)


def _texts(paragraphs: Iterable[_Record]) -> list[str]:
    return [text for paragraph in paragraphs for text in flow(_pieces(paragraph))]


def _pieces(paragraph: _Record) -> Iterator[str | list[str] | Note]:
    text = b"".join(child.data for child in paragraph.children if child.tag == _TEXT)
    controls = (child for child in paragraph.children if child.tag == _CONTROL)
    units = "".join(map(chr, struct.unpack(f"<{len(text) // 2}H", text)))  # not decoded yet: controls hold any number
    words, *rest = _CONTROLS.split(units)
    yield _words(words)
    for code, words in zip(rest[::2], rest[1::2], strict=True):
        if code == _TAB:
            yield "\t"
        elif code not in _WITHOUT_RECORD and (control := next(controls, None)):
            yield _anchored(control)
        yield _words(words)


def _words(units: str) -> str:
    text = units.translate(_CHARACTERS).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.translate(_PRIVATE_USE)  # symbols of Hancom's own fonts


def _anchored(control: _Record) -> str | list[str] | Note:
    """Return what is to be read of a table, a drawing or a note; nothing of headers, footers and comments."""
    match control.data[3::-1]:
        case b"tbl ":
            return _table(control)
        case b"gso ":
            return _texts(paragraph for _, paragraphs in _lists(control.children) for paragraph in paragraphs)
        case b"fn  " | b"en  ":
            return Note(_texts(paragraph for _, paragraphs in _lists(control.children) for paragraph in paragraphs))
    return ""


def _table(control: _Record) -> list[str]:
    tags = [child.tag for child in control.children]
    cells_from = tags.index(_TABLE) if _TABLE in tags else 0
    caption = [text for _, paragraphs in _lists(control.children[:cells_from]) for text in _texts(paragraphs)]
    rows = groupby(_lists(control.children[cells_from:]), key=lambda cell: struct.unpack_from("<H", cell[0].data, 10))
    return caption + [text for _, cells in rows for text in row_texts([_texts(paragraphs) for _, paragraphs in cells])]


def _lists(records: Iterable[_Record]) -> list[tuple[_Record, list[_Record]]]:
    """Return the lists of paragraphs (cells, boxes, captions) among records and below them, with their headers."""
    found: list[tuple[_Record, list[_Record]]] = []
    for record in records:
        if record.tag == _LIST:
            found.append((record, []))
        elif record.tag == _PARAGRAPH and found:
            found[-1][1].append(record)
        else:
            found += _lists(record.children)
    return found
