"""Files as an accident or an attacker would leave them: valid ones of every format, changed outside and inside."""

import copy
import io
import json
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import docx
import olefile
from pypdf import PdfWriter

from tests.compound_file import write_compound_file
from tests.office_files import (
    WRITERS,
    hwp_control,
    hwp_note,
    hwp_paragraph,
    hwp_table,
    write_csv,
    write_hwp_section,
    write_hwpx_section,
    write_pdf,
)

FORMATS = (".txt", ".md", ".csv", ".tsv", ".json", ".jsonl", ".html", ".pdf", ".docx", ".hwp", ".hwpx", ".zip")
"""A suffix of every format that is read."""

_Change = Callable[[random.Random, bytes], bytes]

_TEXTS = (
    "기상청은 주말에 전국에 비가 온다고 예보했다.",
    "국회는 내년 예산안을 의결했다. 찬성 178명, 반대 92명이었다.",
    "Seoul 2025: 뷁 똠방각하 😀 ①",
)
_NASTY = (
    *(b"", b"\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc1\xc1"),
    *(b"\xed\xa0\x80", b"\\ud800", b'"', b"'", b"\r", b"\n\n", b",", b"\t", b"{", b"[", b"]", b"}", b"<", b">"),
    *(b"NaN", b"Infinity", b"-1", b"0", b"9" * 5000, b"1e999", b"null", b"true", b"=cmd()", b"%s%n", b"../../etc"),
    *(b"&#x110000;", b"&#99999999999999999999;", b"<![CDATA[", b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"<?xml", b"]]>"),
    *(b"<!--", b"-->", b"<script>", b"<plaintext>", b"<![if", b"<!x", b"<br/>", b"charset=euc-jp", b"encoding='utf-7'"),
    *(b"stream", b"endstream", b"endobj", b"<<", b">>", b"/Kids", b"/Length", b"/FlateDecode", b"2 0 R", b"xref"),
    *(b"PK\3\4", b"PK\1\2", b"PK\5\6", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"%PDF-1.7", b"---\n", b"```", b"# "),
    *("\u0301".encode(), "\u200b".encode(), "\u2028".encode(), "\u202e".encode(), "\u1160".encode(), "\x85".encode()),
)
_MOST = 300_000  # bytes: what is longer only takes longer


def fuzzed(suffix: str, seed: int) -> bytes:
    """Return a file for a suffix, the same for the same seed: a valid one that was changed, or no such file at all."""
    rng = random.Random(f"{suffix}{seed}")
    data = rng.choice(originals(suffix))
    kind = rng.random()
    if kind < 0.03:
        return rng.choice((b"", *_SIGNATURES)) + rng.randbytes(rng.choice((0, 1, 50, 5000)))
    if kind < 0.08:  # a file of another format under this suffix
        data = rng.choice(originals(rng.choice(FORMATS)))
        return data if rng.random() < 0.5 else _mutated(rng, data)
    if kind < 0.25:
        return _mutated(rng, data)
    return _INSIDE.get(suffix, _text_inside)(rng, data)


@cache
def originals(suffix: str) -> list[bytes]:
    """Return valid files of a format, by several writers where there are."""
    with TemporaryDirectory() as folder:
        return [path.read_bytes() for path in _write_originals(suffix, Path(folder))]


_SIGNATURES = (b"%PDF-1.4\n", b"PK\3\4", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"<html>", b'{"text":', b"\xff\xfe")


def _write_originals(suffix: str, folder: Path) -> Iterator[Path]:
    if suffix in WRITERS:
        yield WRITERS[suffix](folder / f"one{suffix}", "날씨와 국회", _TEXTS)
        yield WRITERS[suffix](folder / f"long{suffix}", "", [text * 20 for text in _TEXTS])
    path = folder / f"other{suffix}"
    match suffix:
        case ".txt" | ".md" | ".html" | ".csv" | ".jsonl":
            path.write_bytes((folder / f"one{suffix}").read_bytes().decode("utf-8", "ignore").encode("cp949", "ignore"))
            yield path
        case ".tsv":
            write_csv(path, "비", _TEXTS)
            path.write_bytes(path.read_bytes().replace(b",", b"\t"))
            yield path
        case ".json":
            rows = [{"title": "비", "text": text, "n": [1, 2.5, None, {"a": True}]} for text in _TEXTS]
            path.write_text(json.dumps(rows, ensure_ascii=False), "utf-8")
            yield path
            paragraphs = [{"context": text, "qas": [{"question": "언제?", "answers": []}]} for text in _TEXTS]
            articles = {"data": [{"title": "비", "paragraphs": paragraphs}]}
            path.write_text(json.dumps(articles, ensure_ascii=False), "utf-8")
            yield path
        case ".docx":
            document = docx.Document()
            document.add_heading("날씨", 0)
            table = document.add_table(3, 2)
            for cell, text in zip(table._cells, _TEXTS * 2, strict=True):
                cell.text = text
            table.cell(0, 0).merge(table.cell(1, 1))
            document.save(str(path))
            yield path
        case ".pdf":
            writer = PdfWriter(clone_from=write_pdf(folder / "plain.pdf", "비", _TEXTS))
            for page in writer.pages:
                page.compress_content_streams()
            writer.write(path)
            writer.close()
            yield path
        case ".hwp":
            yield write_hwp_section(path, "표", _rich_section())
            yield write_hwp_section(folder / "raw.hwp", "표", _rich_section(), flags=0)
        case ".hwpx":
            lists = (f"<hp:subList><hp:p><hp:run><hp:t>{text}</hp:t></hp:run></hp:p></hp:subList>" for text in _TEXTS)
            table = f"<hp:tbl><hp:tr>{''.join(f'<hp:tc>{cell}</hp:tc>' for cell in lists)}</hp:tr></hp:tbl>"
            body = f"<hp:p><hp:run><hp:t>글<hp:tab/>줄<hp:lineBreak/></hp:t>{table}</hp:run>"
            layout = "<hp:linesegarray><hp:lineseg vertpos='0'/><hp:lineseg vertpos='1600'/></hp:linesegarray></hp:p>"
            yield write_hwpx_section(path, "표", body + layout)


def _rich_section() -> bytes:
    table = hwp_paragraph(f"앞{hwp_control('tbl ')}뒤", hwp_table([list(_TEXTS), ["", "나", "다"]]), tops=[0, 1600])
    return table + hwp_paragraph(f"주{hwp_control('fn  ')}", hwp_note("각주"), tops=[0]) + hwp_paragraph("끝\t\n")


def _mutated(rng: random.Random, data: bytes) -> bytes:
    """Return data after one to four accidents."""
    content = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(content) + 1)
        size = min(len(content) - at, rng.choice((1, 2, 4, 16, 64, 512, 4096)))
        match rng.randrange(9):
            case 0 if size:
                content[at] ^= 1 << rng.randrange(8)
            case 1:
                content[at : at + size] = rng.randbytes(size)
            case 2:
                del content[at : at + size]
            case 3:
                content[at:at] = content[at : at + size] * rng.choice((1, 1, 2, 50))
            case 4:
                other = rng.randrange(len(content) + 1)
                content[at : at + size] = content[other : other + size]
            case 5:
                del content[at:]
            case 6:
                content[at : at + rng.choice((0, size))] = rng.choice(_NASTY)
            case 7 if len(content) >= at + 4:
                content[at : at + 4] = struct.pack("<I", rng.choice((0, 1, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFE)))
            case 8:
                content += content[at:]
    return bytes(content[:_MOST])


_TOKEN = re.compile(
    rb"[\"'\[\]{}(),:;=#\r\n\t|]|</?[^<>]*>|/\w+|\d+ \d+ R|-?\d+|[^\W\d]+|[\x80-\xff]+|\s+|.", re.DOTALL
)


def _text_inside(rng: random.Random, data: bytes) -> bytes:
    """Return text after its tokens were swapped, doubled, dropped or replaced, and now and then nested deeply."""
    tokens = _TOKEN.findall(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at = rng.randrange(len(tokens) + 1)
        size = rng.choice((1, 1, 1, 3, 10, 100))
        some = tokens[at : at + size]
        match rng.randrange(7):
            case 0:
                tokens[at : at + size] = []
            case 1:
                tokens[at:at] = some * rng.choice((1, 2, 100))
            case 2:
                tokens[at : at + size] = [rng.choice(_NASTY)]
            case 3:
                tokens[at:at] = [rng.choice(_NASTY)]
            case 4:
                tokens[at : at + size] = [rng.choice(tokens or [b""]) for _ in some]
            case 5:
                rng.shuffle(some)
                tokens[at : at + size] = some
            case 6 if some:
                tokens[at : at + 1] = [(some[0] * rng.choice((2, 2000)))[:_MOST]]
    return b"".join(tokens)[:_MOST]


def _zip_inside(rng: random.Random, data: bytes) -> bytes:
    """Return an archive whose members were changed, dropped, doubled, renamed or badly packed."""
    members = list(_members(data))
    for inside in [True, *[False] * rng.choice((0, 0, 2))]:
        at = rng.randrange(len(members))
        name, content = members[at]
        change = rng.random()
        if change < 0.8:
            change_in: _Change = rng.choice((_xml_inside, _xml_inside, _text_inside, _mutated))
            if inside and rng.random() < 0.5:  # of an archive in it; later it may be none any more
                change_in = _INSIDE.get(Path(name).suffix, change_in)
            members[at] = (name, change_in(rng, content))
        elif change < 0.85 and len(members) > 1:
            del members[at]
        elif change < 0.9:
            members.append((name, _mutated(rng, content)))
        elif change < 0.95:
            names = ("../x.txt", "/etc/x.txt", "a\0b.txt", "", "가.hwp", "x/", f"{name}.zip")
            members[at] = (rng.choice(names), content)
        else:
            members += [(f"{number}.txt", content[:1000]) for number in range(rng.choice((1, 50)))]
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED if rng.random() < 0.2 else zipfile.ZIP_STORED) as archive:
        known = set[str]()
        for name, content in members:
            while name in known and rng.random() < 0.5:
                name += "_"
            if name in known:
                continue
            known.add(name)
            archive.writestr(name or "-", content)
    packed = target.getvalue()
    return _mutated(rng, packed) if rng.random() < 0.1 else packed


def _xml_inside(rng: random.Random, data: bytes) -> bytes:
    """Return a document that is still XML, after its elements were dropped, doubled, moved, renamed or emptied."""
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError:
        return _text_inside(rng, data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        parents = [element for element in root.iter() if len(element)]
        if not parents:
            break
        parent = rng.choice(parents)
        at = rng.randrange(len(parent))
        child, other = parent[at], rng.choice(list(root.iter()))
        match rng.randrange(8):
            case 0:
                del parent[at]
            case 1:
                parent.extend([child] * rng.choice((1, 3, 100)))
            case 2:
                child.tag = other.tag
            case 3:
                child[:] = []
            case 4:
                parent[at] = copy.deepcopy(other)
            case 5 if child.attrib:
                child.set(
                    rng.choice(list(child.attrib)), rng.choice(("", "-1", "x", "99999999999", "0", "on", *_TEXTS))
                )
            case 6:
                child.attrib.clear()
            case 7:
                child.text = rng.choice(_TEXTS) * rng.choice((0, 1, 100))
    return ElementTree.tostring(root)


@cache
def _members(data: bytes) -> tuple[tuple[str, bytes], ...]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return tuple((entry.filename, archive.read(entry)) for entry in archive.infolist())


_OBJECT = re.compile(rb"(\d+) 0 obj\n(.*?)\nendobj", re.DOTALL)


def _pdf_inside(rng: random.Random, data: bytes) -> bytes:
    """Return a PDF whose objects were changed, each where its table says."""
    objects = [bytes(match[2]) for match in _OBJECT.finditer(data)]
    if not objects:
        return _mutated(rng, data)
    for at in rng.sample(range(len(objects)), rng.choice((1, 1, 3))):
        head, keyword, stream = objects[at].partition(b"stream\n")
        if keyword and rng.random() < 0.5:
            plain = stream.removesuffix(b"\nendstream")
            if b"/FlateDecode" in head and rng.random() < 0.8:
                plain = zlib.compress(_text_inside(rng, zlib.decompress(plain)))
            else:
                plain = rng.choice((_text_inside, _mutated))(rng, plain)
            head = re.sub(rb"/Length \d+", b"/Length %d" % len(plain), head)
            objects[at] = head + keyword + plain + b"\nendstream"
        elif rng.random() < 0.5:
            references = re.findall(rb"\d+ 0 R", data)
            value = rng.choice((*references, b"null", b"[]", b"<<>>", b"-1", b"999999999", b"(x)", b"/Name"))
            found = list(re.finditer(rb"\d+ 0 R|/\w+|-?\b\d+\b|\[[^\]]*\]|<\w*>", head))
            if found:
                hit = rng.choice(found)
                objects[at] = head[: hit.start()] + value + head[hit.end() :] + keyword + stream
        elif rng.random() < 0.5:
            filters = (b"ASCIIHexDecode", b"ASCII85Decode", b"LZWDecode", b"RunLengthDecode", b"DCTDecode", b"x")
            objects[at] = head.replace(b"<<", b"<< /Filter /%s" % rng.choice(filters), 1) + keyword + stream
        else:
            objects[at] = _text_inside(rng, head) + keyword + stream
    return _pdf_of(objects)


def _pdf_of(objects: Sequence[bytes]) -> bytes:
    body, offsets = b"%PDF-1.7\n", []
    for number, value in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, value)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"trailer << /Size %d /Root 1 0 R /Info 6 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(body))
    return b"%bxref\n0 %d\n0000000000 65535 f \n%b%b" % (body, len(objects) + 1, table, trailer)


def _hwp_inside(rng: random.Random, data: bytes) -> bytes:
    """Return a document whose records were changed, dropped, doubled or moved, or whose streams were."""
    with olefile.OleFileIO(data) as file:
        streams = {"/".join(name): file.openstream(name).read() for name in file.listdir()}
    compressed = streams["FileHeader"][36] & 1
    if rng.random() < 0.15:
        name = rng.choice(list(streams))
        streams[name] = _mutated(rng, streams[name])
    else:
        section = streams["BodyText/Section0"]
        section = zlib.decompressobj(-zlib.MAX_WBITS).decompress(section) if compressed else section
        section = _records_changed(rng, section) if rng.random() < 0.8 else _mutated(rng, section)
        streams["BodyText/Section0"] = zlib.compress(section, wbits=-zlib.MAX_WBITS) if compressed else section
    if rng.random() < 0.1:
        streams[f"BodyText/{rng.choice(('Section1', 'SectionX', 'x'))}"] = streams["BodyText/Section0"]
    with TemporaryDirectory() as folder:
        packed = write_compound_file(Path(folder, "a"), streams).read_bytes()
    return _mutated(rng, packed) if rng.random() < 0.1 else packed


def _records_changed(rng: random.Random, section: bytes) -> bytes:
    records, place = [], 0
    while place + 4 <= len(section):
        (head,) = struct.unpack_from("<I", section, place)
        size = head >> 20
        records.append((head & 0x3FF, head >> 10 & 0x3FF, section[place + 4 : place + 4 + size]))
        place += 4 + size
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(records))
        tag, level, content = records[at]
        match rng.randrange(6):
            case 0:
                tag = rng.choice((66, 67, 69, 71, 72, 77, 0, 1023))
            case 1:
                level = rng.choice((0, 1, 2, level + 1, 1023))
            case 2:
                content = _mutated(rng, content)
            case 3:
                content = content[: rng.randrange(len(content) + 1)]
            case 4:
                records[at:at] = records[at : at + rng.choice((1, 5))] * rng.choice((1, 20))
            case 5:
                other = rng.randrange(len(records))
                records[at], records[other] = records[other], records[at]
        records[min(at, len(records) - 1)] = (tag & 0x3FF, level & 0x3FF, content[:0xFFE])
    return b"".join(struct.pack("<I", tag | level << 10 | len(c) << 20) + c for tag, level, c in records)


_INSIDE: dict[str, _Change] = {
    ".docx": _zip_inside,
    ".hwpx": _zip_inside,
    ".zip": _zip_inside,
    ".pdf": _pdf_inside,
    ".hwp": _hwp_inside,
}
"""What changes a file inside its container; the others are text."""
