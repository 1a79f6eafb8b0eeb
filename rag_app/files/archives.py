"""Zip archives of strangers: opened within bounds, their members read one at a time."""

import errno
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from rag_app.files.unreadable import UnreadableError

MAX_MEMBERS = 10_000
MAX_BYTES = 2 * 1024**3
"""The most that the members of an archive hold together."""
MAX_RATIO = 100
"""How many times its own size an archive may hold, if that is more than 100 MiB; text shrinks to a third or a tenth."""

_SMALL = 100 * 1024**2
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what programs write; to undo LZMA may take gigabytes
_LOCKED, _UTF8 = 0x1, 0x800  # bits of a member's flags


class Member(NamedTuple):
    """A file in an archive.

    Attributes:
        number: Its place among the archive's entries; names may come twice.
        name: Its name with its folders, in the encoding it was written in.
    """

    number: int
    name: str


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip archive that holds no more than is decent.

    Raises:
        UnreadableError: It holds too many files or too much, as bombs do.
        zipfile.BadZipFile: It is none.
    """
    archive = zipfile.ZipFile(path)
    entries = archive.infolist()
    packed = path.stat().st_size
    if any(entry.compress_size > packed for entry in entries):  # as much memory would be asked for
        archive.close()
        raise zipfile.BadZipFile("a file in it is longer than the archive")
    size = sum(entry.file_size for entry in entries)
    too_much = size > MAX_BYTES or size > max(_SMALL, MAX_RATIO * packed)
    if too_much or len(entries) > MAX_MEMBERS:
        archive.close()
        raise UnreadableError(
            f"unpacked it has {len(entries):,} files with {size:,} bytes, which is more than is read "
            f"({MAX_MEMBERS:,} files, {MAX_BYTES:,} bytes, {MAX_RATIO} times the archive). Unpack it if you trust it"
        )
    return archive


def list_members(archive: zipfile.ZipFile) -> list[Member]:
    """Return the files of an archive, without folders, hidden files and what macOS adds."""
    entries = enumerate(archive.infolist())
    named = ((number, entry) for number, entry in entries if entry.filename)
    members = [Member(number, _name(entry)) for number, entry in named if not entry.is_dir()]
    return [member for member in members if not _is_hidden(member.name)]


@contextmanager
def extracted(archive: zipfile.ZipFile, number: int) -> Iterator[Path]:
    """Give a member as a temporary file, which has nothing of the member's name.

    Raises:
        UnreadableError: Its name leads out of the archive, it is a link, encrypted, packed in an unusual way, or
            broken.
    """
    entry = archive.infolist()[number]
    if PurePosixPath(entry.filename).is_absolute() or ".." in PurePosixPath(entry.filename).parts:
        raise UnreadableError("its name leads out of the archive. Pack the files again from their folder")
    if entry.flag_bits & _LOCKED:
        raise UnreadableError("this file is encrypted. Pack it again without a password")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise UnreadableError("this is a link to another file. Pack the file itself")
    if entry.compress_type not in _METHODS:
        raise UnreadableError("this file is packed in an unusual way. Pack it again as a plain zip archive")
    with tempfile.TemporaryDirectory(prefix="rag-app-") as folder:
        file = Path(folder, "member")
        try:
            with archive.open(entry) as source, file.open("wb") as target:
                shutil.copyfileobj(source, target)
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, OSError) as error:
            if isinstance(error, OSError) and error.errno != errno.EINVAL:  # it names no place in the archive
                raise
            raise UnreadableError("this file is damaged in its archive. Pack it again") from error
        yield file


def _name(entry: zipfile.ZipInfo) -> str:
    """Return a member's name; Korean Windows writes CP949 where the standard wants UTF-8 to be announced."""
    if entry.flag_bits & _UTF8:
        return entry.filename
    for encoding in ("utf-8", "cp949"):  # in the order of `rag_app.files.encodings.text_encoding`
        try:
            return entry.orig_filename.encode("cp437").decode(encoding)
        except UnicodeError:
            continue
    return entry.filename


def _is_hidden(name: str) -> bool:
    parts = [part for part in PurePosixPath(name).parts if part != ".."]
    return any(part.startswith((".", "~$")) or part == "__MACOSX" for part in parts)
