"""Files that are small and would become enormous, endless or bottomless, or fetch others, if one let them."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from tests.compound_file import write_compound_file
from tests.office_files import (
    hwp_control,
    hwp_paragraph,
    hwp_table,
    write_docx,
    write_hwp,
    write_hwp_section,
    write_hwpx_section,
    write_zip_of,
)

RAIN = "기상청은 주말에 전국에 비가 온다고 예보했다."
_XML = '<?xml version="1.0" encoding="UTF-8"?>'
_GIGABYTE = 1024**3


def _raw_zeros(size: int) -> bytes:
    """Return so many zero bytes, deflated by a thousand to one: a block that needs none before it, repeated."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = deflater.compress(bytes(1 << 20)) + deflater.flush(zlib.Z_FULL_FLUSH)
    return block * (size >> 20) + deflater.flush()


def _zeros(size: int) -> bytes:
    """Return the same with zlib's header and checksum."""
    return b"\x78\xda" + _raw_zeros(size) + struct.pack(">HH", size % 65521, 1)


def _flat_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("0.txt", "w") as member:
        for _ in range(1024):
            member.write(bytes(1 << 20))


def _nested_zip(path: Path) -> None:
    content = b"0" * (1 << 20)
    for level in range(5):
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(16):
                archive.writestr(f"{level}-{number}.zip" if level else f"{number}.txt", content)
        content = inner.getvalue()
    path.write_bytes(content)


def _overlapping_zip(path: Path) -> None:
    """Write an archive whose thousand entries are all the same ten megabytes (D. Fifield, A better zip bomb, 2019)."""
    write_zip_of(path, {"a.txt": b"0" * 10_000_000})
    content = path.read_bytes()
    at = content.index(b"PK\1\2")
    end = content.index(b"PK\5\6")
    entry = content[at:end]
    tail = struct.pack("<4s4HIIH", b"PK\5\6", 0, 0, 1000, 1000, 1000 * len(entry), at, 0)
    path.write_bytes(content[:at] + entry * 1000 + tail)


def _many_members(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(20_000):
            archive.writestr(f"{number}.txt", "")


def _declared_size(path: Path) -> None:
    write_zip_of(path, {"a.txt": RAIN.encode()})
    content = path.read_bytes()
    size = struct.pack("<I", len(RAIN.encode()))
    path.write_bytes(content.replace(size, struct.pack("<I", 0xFFFFFFF0)))


def _packed_size(path: Path) -> None:
    """Write an archive whose file claims to be packed into two gigabytes."""
    write_zip_of(path, {"a.txt": RAIN.encode()})
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.index(b"PK\1\2") + 20, 0x7FFFFFFF)
    path.write_bytes(content)


def _odd_names(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in (
            "../../out.txt",
            "/root.txt",
            "C:\\a.txt",
            "a" * 5000 + ".txt",
            "\u202etxt.exe.txt",
            "a//b/./c.txt",
        ):
            archive.writestr(name, RAIN)
        link = zipfile.ZipInfo("link.txt")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")


def _hwpx(body: str) -> Callable[[Path], None]:
    return lambda path: _zip(path, {"Contents/section0.xml": body.encode()})


def _docx(body: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        write_docx(path, "비", [RAIN])
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        _zip(path, {**members, "word/document.xml": body.encode()})

    return write


def _zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _laughs(root: str, paragraph: str) -> str:
    entities = '<!ENTITY a0 "하하하하하하하하하하">'
    entities += "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    return f"{_XML}<!DOCTYPE x [{entities}]><{root}>{paragraph.format('&a9;')}</{root.partition(' ')[0]}>"


def _quadratic(root: str, paragraph: str) -> str:
    entity = f'<!DOCTYPE x [<!ENTITY a "{"하" * 50_000}">]>'
    return f"{_XML}{entity}<{root}>{paragraph.format('&a;' * 50_000)}</{root.partition(' ')[0]}>"


def _external(root: str, paragraph: str, url: str) -> str:
    declared = f'{_XML}<!DOCTYPE x SYSTEM "{url}" [<!ENTITY a SYSTEM "{url}">]>'
    return f"{declared}<{root}>{paragraph.format('&a;')}</{root.partition(' ')[0]}>"


def _deep(root: str, tag: str) -> str:
    return f"{_XML}<{root}>{f'<{tag}>' * 200_000}{f'</{tag}>' * 200_000}</{root.partition(' ')[0]}>"


def _attribute(root: str, paragraph: str) -> str:
    return f"{_XML}<{root} a='{'x' * 30_000_000}'>{paragraph.format(RAIN)}</{root.partition(' ')[0]}>"


_HWPX = ("hs:sec xmlns:hs='hs' xmlns:hp='hp'", "<hp:p><hp:run><hp:t>{}</hp:t></hp:run></hp:p>")
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_DOCX = (f"w:document xmlns:w='{_WORD}'", "<w:body><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:body>")
SECRET = "열려라 참깨 8415"
"""What stands in the file that some of them try to read; it must never be in what is read of them."""


def _pdf(*objects: bytes, trailer: bytes = b"") -> Callable[[Path], None]:
    def write(path: Path) -> None:
        body, offsets = b"%PDF-1.7\n", []
        for number, value in enumerate(objects, start=1):
            offsets.append(len(body))
            body += b"%d 0 obj\n%b\nendobj\n" % (number, value)
        table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
        more = trailer.replace(b"HERE", b"%d" % len(body))
        end = b"trailer << /Size %d /Root 1 0 R %b >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, more, len(body))
        path.write_bytes(b"%bxref\n0 %d\n0000000000 65535 f \n%b%b" % (body, len(objects) + 1, table, end))

    return write


def _stream(content: bytes, more: bytes = b"") -> bytes:
    return b"<< /Length %d %b >>\nstream\n%b\nendstream" % (len(content), more, content)


_CATALOG = b"<< /Type /Catalog /Pages 2 0 R >>"
_PAGES = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
_PAGE = (
    b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R "
    b"/Resources << /Font << /F 5 0 R >> /XObject << /X0 6 0 R >> >> >>"
)
_FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 6 0 R >>"
_RANGES = b"".join(b"<%04X> <FFFF> <AC00>\n" % n for n in range(100))
_CMAP = b"begincmap\n1 begincodespacerange\n<0000> <FFFF>\nendcodespacerange\n100 beginbfrange\n%bendbfrange\nendcmap"


def _forms(count: int) -> list[bytes]:
    """Return forms of which each draws the next one ten times."""
    return [
        _stream(b"/X0 Do " * 10, b"/Type /XObject /Subtype /Form /Resources << /XObject << /X0 %d 0 R >> >>" % (n + 7))
        for n in range(count)
    ]


def _hwp_bomb(path: Path) -> None:
    write_hwp_section(path, "", b"")
    header = path.read_bytes()
    at = header.index(b"HWP Document File")
    write_compound_file(path, {"FileHeader": header[at : at + 256], "BodyText/Section0": _raw_zeros(_GIGABYTE)})


def _hwp_tables(path: Path) -> None:
    """Write tables in tables, as deep as levels go."""
    levels = (hwp_paragraph(hwp_control("tbl "), hwp_table([["글"]], level=n + 1), level=n) for n in range(0, 1018, 2))
    write_hwp_section(path, "", b"".join(levels))


def _hwp_changed(change: Callable[[bytearray], None]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        write_hwp(path, "비", [RAIN] * 50)
        content = bytearray(path.read_bytes())
        change(content)
        path.write_bytes(content)

    return write


def _cycle(content: bytearray) -> None:
    """Let every sector of the table of sectors name the one before it: chains go round."""
    for sector in range(3, 128):
        struct.pack_into("<I", content, 512 + 4 * sector, sector - 1)


def _self_siblings(content: bytearray) -> None:
    for entry in range(1, 6):
        struct.pack_into("<III", content, 1024 + 128 * entry + 68, entry, entry, entry)


def _long_streams(content: bytearray) -> None:
    for entry in range(1, 6):
        struct.pack_into("<Q", content, 1024 + 128 * entry + 120, 2**31 - 1)


def _html(content: bytes) -> Callable[[Path], None]:
    return lambda path: _write(path, content)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


ONE_OF_EACH = (
    *("nested.zip", "overlapping.zip", "packed.zip", "names.zip", "laughs.hwpx", "file.hwpx", "quadratic.docx"),
    *("deep.docx", "zeros.hwpx", "flate.pdf", "forms.pdf", "round.pdf", "tables.hwp", "cycle.hwp", "slashes.html"),
    *("entity.html", "depth.json"),
)
"""A bomb of each kind, made and read in a second."""


REFUSED = {
    "names.zip": "leads out of the archive",
    "packed.zip": "longer than the archive",
    "overlapping.zip": "more than is read",
    "laughs.hwpx": "declares an XML document type",
}
"""What is said of some, so that it is we who refuse them, before a library does or its luck runs out."""


def bombs(secret: Path) -> dict[str, Callable[[Path], None]]:
    """Return what writes each bomb, by the name of its file.

    Args:
        secret: A file that holds `SECRET`.
    """
    file, address = secret.as_uri(), "http://127.0.0.1:9/x"
    found: dict[str, Callable[[Path], None]] = {
        "flat.zip": _flat_zip,
        "nested.zip": _nested_zip,
        "overlapping.zip": _overlapping_zip,
        "members.zip": _many_members,
        "declared.zip": _declared_size,
        "packed.zip": _packed_size,
        "names.zip": _odd_names,
        "zeros.hwpx": lambda path: _zip(path, {"Contents/section0.xml": bytes(90 << 20)}),
        "spaces.hwpx": _hwpx(f"{_XML}<{_HWPX[0]}>{' ' * (90 << 20)}</hs:sec>"),
        "tags.hwpx": _hwpx(f"{_XML}<{_HWPX[0]}>{'<hp:p/>' * 10_000_000}</hs:sec>"),
        "tables.hwpx": lambda path: _write_hwpx(path, "<hp:p><hp:run><hp:tbl><hp:tr><hp:tc><hp:subList>" * 30_000),
        "pages.pdf": _pdf(_CATALOG, _PAGES.replace(b"/Count 1", b"/Count 1000000000"), _PAGE, _stream(b""), _FONT),
        "round.pdf": _pdf(_CATALOG, b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 2 >>"),
        "parents.pdf": _pdf(_CATALOG, _PAGES, b"<< /Type /Page /Parent 3 0 R >>"),
        "previous.pdf": _pdf(_CATALOG, _PAGES, _PAGE, _stream(b""), _FONT, trailer=b"/Prev HERE"),
        "flate.pdf": _pdf(_CATALOG, _PAGES, _PAGE, _stream(_zeros(_GIGABYTE), b"/Filter /FlateDecode"), _FONT),
        "twice.pdf": _pdf(
            *(_CATALOG, _PAGES, _PAGE),
            _stream(zlib.compress(_zeros(_GIGABYTE)), b"/Filter [/FlateDecode /FlateDecode]"),
            _FONT,
        ),
        "lengths.pdf": _pdf(_CATALOG, _PAGES, _PAGE, b"<< /Length 4 0 R >>\nstream\n(a) Tj\nendstream", _FONT),
        "predictor.pdf": _pdf(
            *(_CATALOG, _PAGES, _PAGE),
            _stream(
                _zeros(1 << 20), b"/Filter /FlateDecode /DecodeParms << /Predictor 15 /Columns 2147483647 /Colors 99 >>"
            ),
            _FONT,
        ),
        "forms.pdf": _pdf(_CATALOG, _PAGES, _PAGE, _stream(b"/X0 Do " * 10), _FONT, *_forms(40)),
        "itself.pdf": _pdf(
            *(_CATALOG, _PAGES, _PAGE, _stream(b"/X0 Do"), _FONT),
            _stream(b"/X0 Do", b"/Type /XObject /Subtype /Form /Resources << /XObject << /X0 6 0 R >> >>"),
        ),
        "ranges.pdf": _pdf(
            *(_CATALOG, _PAGES, _PAGE, _stream(b"BT /F 1 Tf <0041> Tj ET"), _FONT),
            _stream(_CMAP % (_RANGES * 20)),
        ),
        "wide.pdf": _pdf(
            *(_CATALOG, _PAGES, _PAGE, _stream(b"BT /F 1 Tf <0041> Tj ET"), _FONT),
            _stream(_CMAP % b"<00000000> <FFFFFFFF> <AC00>\n"),
        ),
        "arrays.pdf": _pdf(_CATALOG, _PAGES, _PAGE, _stream(b"[" * 1_000_000), _FONT),
        "nested.pdf": _pdf(_CATALOG, b"[" * 200_000, _PAGE),
        "objects.pdf": _pdf(
            *(_CATALOG, _PAGES, _PAGE, _stream(b""), _FONT),
            _stream(_zeros(_GIGABYTE // 2), b"/Type /ObjStm /N 1000000000 /First 4 /Filter /FlateDecode"),
        ),
        "strings.pdf": _pdf(_CATALOG, _PAGES, _PAGE, _stream(b"BT /F 1 Tf " + b"(a) Tj " * 3_000_000), _FONT),
        "deflated.hwp": _hwp_bomb,
        "tables.hwp": _hwp_tables,
        "cycle.hwp": _hwp_changed(_cycle),
        "siblings.hwp": _hwp_changed(_self_siblings),
        "streams.hwp": _hwp_changed(_long_streams),
        "comments.html": _html(b"<!--" * 100_000),
        "divisions.html": _html(b"<div>" * 200_000 + RAIN.encode()),
        "slashes.html": _html(b"</" * 300_000),
        "articles.html": _html(b"<article>a" * 20_000),
        "entity.html": _html(f'<!DOCTYPE x [<!ENTITY a SYSTEM "{file}">]><p>&a;<object data="{file}">'.encode()),
        "line.txt": _html(b"a" * (60 << 20)),
        "headings.md": _html(b"# " + b" #\t" * 5_000_000),
        "depth.json": _html(b"[" * 10_000_000),
        "quotes.csv": _html('본문\n"'.encode() + b"a\n" * 20_000_000),
        "columns.csv": _html(b"a," * 10_000_000 + "\n본문\n".encode()),
    }
    for suffix, write, form, tag in ((".hwpx", _hwpx, _HWPX, "hp:p"), (".docx", _docx, _DOCX, "w:tbl")):
        found |= {
            f"laughs{suffix}": write(_laughs(*form)),
            f"quadratic{suffix}": write(_quadratic(*form)),
            f"file{suffix}": write(_external(*form, file)),
            f"address{suffix}": write(_external(*form, address)),
            f"deep{suffix}": write(_deep(form[0], tag)),
            f"attribute{suffix}": write(_attribute(*form)),
        }
    return found


def _write_hwpx(path: Path, body: str) -> None:
    write_hwpx_section(path, "", body)
