"""Files of every format that is read, written as small as they can be: one with a text in it, and a broken one."""

import csv
import html
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import docx

from tests.compound_file import write_compound_file

_PARAGRAPH, _TEXT, _LAYOUT, _CONTROL, _LIST, _TABLE = 66, 67, 69, 71, 72, 77  # tags of HWP records
COMPRESSED = 1
"""The flag of an HWP document that every other program sets too."""


def write_txt(path: Path, title: str, paragraphs: Sequence[str]) -> Path:
    path.write_text("\n\n".join([title, *paragraphs]) + "\n", encoding="utf-8")
    return path


def write_md(path: Path, title: str, paragraphs: Sequence[str]) -> Path:
    path.write_text("\n\n".join([f"# {title}", *paragraphs]) + "\n", encoding="utf-8")
    return path


def write_csv(path: Path, title: str, paragraphs: Sequence[str]) -> Path:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([("제목", "본문"), *((title, text) for text in paragraphs)])
    return path


def write_jsonl(path: Path, title: str, paragraphs: Sequence[str]) -> Path:
    rows = ({"title": title, "text": text} for text in paragraphs)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write_html(path: Path, title: str, paragraphs: Sequence[str]) -> Path:
    body = "".join(f"<p>{html.escape(text)}</p>" for text in paragraphs)
    path.write_text(f"<!DOCTYPE html><title>{html.escape(title)}</title><article>{body}</article>", encoding="utf-8")
    return path


def write_docx(path: Path, title: str, paragraphs: Sequence[str]) -> Path:
    document = docx.Document()
    document.core_properties.title = title
    for text in paragraphs:
        document.add_paragraph(text)
    document.save(str(path))
    return path


def write_pdf(path: Path, title: str, paragraphs: Sequence[str]) -> Path:
    """Write a page for each paragraph, in a font without glyphs whose ToUnicode map takes each code for itself."""
    characters = sorted(set("".join(paragraphs)))
    pairs = "\n".join(f"<{ord(character):04X}> <{ord(character):04X}>" for character in characters)
    cmap = (
        "begincmap\n1 begincodespacerange\n<0000> <FFFF>\nendcodespacerange\n"
        f"{len(characters)} beginbfchar\n{pairs}\nendbfchar\nendcmap"
    )
    first = 7  # the object of the first page; its content follows it
    kids = " ".join(f"{first + 2 * number} 0 R" for number in range(len(paragraphs)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(paragraphs)} >>",
        "<< /Type /Font /Subtype /Type0 /BaseFont /F /Encoding /Identity-H /DescendantFonts [4 0 R] /ToUnicode 5 0 R>>",
        "<< /Type /Font /Subtype /CIDFontType2 /BaseFont /F /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) "
        "/Supplement 0 >> /FontDescriptor << /Type /FontDescriptor /FontName /F /Flags 4 >> >>",
        f"<< /Length {len(cmap)} >>\nstream\n{cmap}\nendstream",
        f"<< /Title <{title.encode('utf-16').hex()}> >>",
    ]
    for number, text in enumerate(paragraphs):
        code = "".join(f"{ord(character):04X}" for character in text)
        content = f"BT /F 12 Tf 50 700 Td <{code}> Tj ET" if text else ""
        objects += [
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Resources << /Font << /F 3 0 R >> >> "
            f"/Contents {first + 2 * number + 1} 0 R >>",
            f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        ]
    body, offsets = "%PDF-1.4\n", []
    for number, value in enumerate(objects, start=1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{value}\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    trailer = f"trailer << /Size {len(objects) + 1} /Root 1 0 R /Info 6 0 R >>\nstartxref\n{len(body)}\n%%EOF"
    path.write_text(f"{body}xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}", encoding="ascii")
    return path


def write_hwpx(path: Path, title: str, paragraphs: Sequence[str]) -> Path:
    runs = (f"<hp:run><hp:t>{html.escape(text)}</hp:t></hp:run>" for text in paragraphs)
    return write_hwpx_section(path, title, "".join(f"<hp:p>{run}</hp:p>" for run in runs))


def write_hwpx_section(path: Path, title: str, body: str, *, manifest: str = "<manifest/>") -> Path:
    """Write a document of one section, whose XML is given."""
    package = f"<opf:package xmlns:opf='opf'><opf:metadata><opf:title>{title}</opf:title></opf:metadata></opf:package>"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/hwp+zip", zipfile.ZIP_STORED)
        archive.writestr("META-INF/manifest.xml", manifest)
        archive.writestr("Contents/content.hpf", package)
        archive.writestr("Contents/section0.xml", f"<hs:sec xmlns:hs='hs' xmlns:hp='hp'>{body}</hs:sec>")
    return path


def write_hwp(path: Path, title: str, paragraphs: Sequence[str]) -> Path:
    return write_hwp_section(path, title, b"".join(hwp_paragraph(text) for text in paragraphs))


def write_hwp_section(path: Path, title: str, section: bytes, *, flags: int = COMPRESSED) -> Path:
    """Write a document of one section, whose records are given."""
    deflated = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    header = b"HWP Document File".ljust(32, b"\0") + struct.pack("<II", 0x05010000, flags)
    return write_compound_file(
        path,
        {
            "\x05HwpSummaryInformation": _summary(title),
            "BodyText/Section0": deflated.compress(section) + deflated.flush() if flags & COMPRESSED else section,
            "FileHeader": header.ljust(256, b"\0"),
        },
    )


def hwp_paragraph(text: str, *children: bytes, level: int = 0, tops: Sequence[int] = ()) -> bytes:
    """Return the records of a paragraph: its text, its lines by their places on the page, the controls in it."""
    layout = b"".join(struct.pack("<8iI", 0, top, 0, 0, 0, 0, 0, 0, 0) for top in tops)
    return b"".join([
        hwp_record(_PARAGRAPH, level, bytes(24)),
        hwp_record(_TEXT, level + 1, f"{text}\r".encode("utf-16-le", "surrogatepass")),
        hwp_record(_LAYOUT, level + 1, layout) if tops else b"",
        *children,
    ])  # fmt: skip


def hwp_control(name: str) -> str:
    """Return the eight characters that stand for a table, drawing (code 11) or note (17) in a paragraph's text."""
    code = "\x11" if name in ("fn  ", "en  ") else "\x10" if name in ("head", "foot") else "\x0b"
    return f"{code}{name[::-1].encode('latin-1').decode('utf-16-le')}\0\0\0\0{code}"


def hwp_table(rows: Sequence[Sequence[str]], *, level: int = 1) -> bytes:
    """Return the records of a table, cell by cell."""
    cells = b"".join(
        hwp_list(text, struct.pack("<HHHH", column, row, 1, 1), level=level + 1)
        for row, texts in enumerate(rows)
        for column, text in enumerate(texts)
    )
    return hwp_record(_CONTROL, level, b" lbt".ljust(46, b"\0")) + hwp_record(_TABLE, level + 1, bytes(24)) + cells


def hwp_note(text: str, name: str = "fn  ", *, level: int = 1) -> bytes:
    """Return the records of a note, a header or a text box."""
    return hwp_record(_CONTROL, level, name[::-1].encode().ljust(16, b"\0")) + hwp_list(text, level=level + 1)


def hwp_list(text: str, address: bytes = b"", *, level: int) -> bytes:
    header = hwp_record(_LIST, level, struct.pack("<iI", 1, 0) + address.ljust(26, b"\0"))
    return header + b"".join(hwp_paragraph(line, level=level) for line in text.split("\n"))


def hwp_record(tag: int, level: int, data: bytes) -> bytes:
    if len(data) < 0xFFF:
        return struct.pack("<I", tag | level << 10 | len(data) << 20) + data
    return struct.pack("<II", tag | level << 10 | 0xFFF << 20, len(data)) + data


def _summary(title: str) -> bytes:
    """Return a property set that holds a title."""
    text = f"{title}\0".encode("utf-16-le")
    value = struct.pack("<II", 31, len(text) // 2) + text
    properties = struct.pack("<IIII", 16 + len(value), 1, 2, 16) + value
    return struct.pack("<HHI16xI16xI", 0xFFFE, 0, 0, 1, 48) + properties


def write_zip(path: Path, title: str, paragraphs: Sequence[str]) -> Path:
    """Write an archive as Korean Windows does, names in CP949: ``글.txt``, ``문서/한글.hwpx`` and a picture."""
    text = write_txt(path.with_name(f"{path.name}.1"), title, paragraphs)
    document = write_hwpx(path.with_name(f"{path.name}.2"), title, [f"{text} (한글 문서)" for text in paragraphs])
    files = {"글.txt": text.read_bytes(), "문서/한글.hwpx": document.read_bytes(), "사진.jpg": b"\xff\xd8"}
    text.unlink()
    document.unlink()
    return write_zip_of(path, files)


def write_zip_of(path: Path, files: dict[str, bytes], *, encoding: str = "cp949") -> Path:
    """Write an archive whose names are in an encoding that it does not tell."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(_NamedIn(name, encoding), content)
    return path


class _NamedIn(zipfile.ZipInfo):
    def __init__(self, name: str, encoding: str) -> None:
        super().__init__(name)
        self.compress_type = zipfile.ZIP_DEFLATED
        self._encoding = encoding

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 - zipfile calls it when it writes a name
        return self.filename.encode(self._encoding), self.flag_bits & ~0x800


WRITERS: dict[str, Callable[[Path, str, Sequence[str]], Path]] = {
    ".txt": write_txt,
    ".md": write_md,
    ".csv": write_csv,
    ".jsonl": write_jsonl,
    ".html": write_html,
    ".pdf": write_pdf,
    ".docx": write_docx,
    ".hwpx": write_hwpx,
    ".hwp": write_hwp,
    ".zip": write_zip,
}
"""What writes a file of each format: its title and its paragraphs (rows of a table, pages of a PDF)."""

_BROKEN = {
    ".txt": b"\xff\xfe\x00\xd8\x80",
    ".md": b"\xff\xfe\x00\xd8\x80",
    ".csv": '본문\n"닫히지 않은 따옴표\n'.encode(),
    ".jsonl": b'{"text": ',
    ".html": b"<script>var nothing</script>",
    ".pdf": b"%PDF-1.4 nothing",
}


def write_broken(path: Path) -> Path:
    """Write a file of the path's format that cannot be read; those in containers break off in the middle."""
    suffix = path.suffix.lower()
    if suffix in _BROKEN:
        path.write_bytes(_BROKEN[suffix])
    else:
        WRITERS[suffix](path, "끊긴 파일", ["이 글은 끝까지 오지 못했다."])
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path
