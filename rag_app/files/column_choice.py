"""Tables in which the text is not to be found by its column's name, told from their beginning."""

from pathlib import Path
from typing import NamedTuple

from rag_app.files.encodings import without_mark
from rag_app.files.tables import ROWS, find_column
from rag_app.scratch import scratch_folder

HEAD = 1 << 20
"""How many bytes of a table are looked at; a json file that is longer is not."""


class UnclearColumns(NamedTuple):
    """The columns of a table in which none is known to hold the text.

    Attributes:
        names: All, in order.
        longest: The one that holds the longest text in the first row, likely the text.
    """

    names: tuple[str, ...]
    longest: str


def unclear_columns(head: bytes, suffix: str, *, whole: bool) -> UnclearColumns | None:
    """Return a table's columns if none is known to hold the text; None if one is, or it is no table, or broken.

    Args:
        head: The table's first bytes.
        suffix: Of its name, in lower case.
        whole: Whether these are all.
    """
    if suffix not in ROWS or (suffix == ".json" and not whole):
        return None
    head = without_mark(head)
    if not whole:
        head = head[: head.rfind(b"\n") + 1]
    with scratch_folder() as folder:
        path = Path(folder) / f"head{suffix}"
        path.write_bytes(head)
        try:
            row = next(ROWS[suffix](path), None)
        except ValueError:  # whoever reads it whole will say so
            return None
    if not row or not row.values:
        return None
    try:
        find_column("text", row.values)
    except ValueError:
        return UnclearColumns(tuple(row.values), max(row.values, key=lambda name: len(str(row.values[name]))))
    return None
