"""Files that cannot be read: why, and what to do about it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ZIP = "a zip archive (.zip, .docx, .hwpx)"
OLE = "an OLE file (.hwp, .doc, .xls)"
HWP_3 = "an HWP 3 document (.hwp)"

_SIGNATURES = {
    b"%PDF-": "a PDF (.pdf)",
    b"PK\x03\x04": ZIP,
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": OLE,
    b"HWP Document File V": HWP_3,
    b"{\\rtf": "a rich text file (.rtf)",
    b"<!DOCTYPE": "a web page (.html)",
    b"<html": "a web page (.html)",
}


_SUFFIX = re.compile(r"\.\w+")


class UnreadableError(ValueError):
    """A file cannot be read, for a reason that its user can be told."""


def content_kind(path: Path) -> str | None:
    """Return what a file's first bytes say it is, in words; None if they say nothing."""
    with path.open("rb") as file:
        head = file.read(32)
    return next((kind for signature, kind in _SIGNATURES.items() if head.startswith(signature)), None)


class OverLimitError(UnreadableError):
    """A file cannot be read, because it takes more time or memory than it may, or ends the process that reads it."""


@contextmanager
def reading_as(kind: str, path: Path, remedy: str) -> Iterator[None]:
    """Turn whatever a library raises over a broken file into an `UnreadableError`.

    Args:
        kind: What the file should be, with its suffixes: ``PDF (.pdf)``.
        path: The file; if it is of another kind by its content, the message says so.
        remedy: What to do about a broken one, as a sentence without its full stop.
    """
    try:
        yield
    except (UnreadableError, MemoryError):
        raise
    except Exception as error:  # broken files raise almost anything, from KeyError to RecursionError
        found = content_kind(path)
        if path.stat().st_size == 0:
            what, remedy = "the file is empty", "Copy or save it again"
        elif found is not None and not any(suffix in found for suffix in _SUFFIX.findall(kind)):
            what, remedy = f"its content is that of {found}", "Give it the suffix that belongs to it"
        else:
            what = repr(error)
        raise UnreadableError(f"cannot be read as {kind}: {what}. {remedy}") from error
