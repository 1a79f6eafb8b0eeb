"""The ids that Tantivy keeps of passages, in blocks whose sizes are looked at before it makes room for them.

Tantivy unpacks a block into as many bytes as the block says, up to four gigabytes, and ends the process where it cannot
have them. So the list of blocks is read first (Tantivy's ``store/footer.rs``, ``store/index/``: a footer says where the
list begins, of which the last layer names every block).
"""

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

from rag_app.disk.damage import REMEDY

_MAGIC = 1337
_FOOTER = struct.Struct("<IQB15x")  # the version, where the list begins, and how blocks are packed
_LZ4 = 1
_MOST_BYTES = 1024**2  # of a block unpacked; Tantivy ends one at 16 KB, behind the passage that fills it
_MOST_BITS = 63


def check_id_blocks(folder: Path) -> None:
    """Check the blocks of all segments of a lexical index.

    Raises:
        ValueError: A block is larger than one that was written here, or the list is damaged.
    """
    for path in folder.glob("*.store"):
        with path.open("rb") as file:
            try:
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    sound = all(_is_sound(content, start, end) for start, end in _blocks(content))
            except (ValueError, IndexError, struct.error):  # also of an empty file, which cannot be mapped
                sound = False
        if not sound:
            raise ValueError(f"{path} is damaged. {REMEDY}")


def _is_sound(content: mmap.mmap, start: int, end: int) -> bool:
    return 0 <= start <= end - 4 and struct.unpack_from("<I", content, start)[0] <= _MOST_BYTES


def _blocks(content: mmap.mmap) -> Iterator[tuple[int, int]]:
    """Yield where each block begins and ends."""
    length, magic = struct.unpack_from("<II", content, len(content) - 8)
    last = len(content) - 8 - length - _FOOTER.size
    _, first, packing = _FOOTER.unpack_from(content, max(0, last))
    if magic != _MAGIC or packing != _LZ4 or not 0 <= first <= last:
        raise ValueError
    layers, place = _number(content, first, last)
    ends = [0]
    for _ in range(layers):
        end, place = _number(content, place, last)
        ends.append(end)
    if len(ends) == 1:
        return
    place, last = place + ends[-2], min(last, place + ends[-1])
    while place < last:
        count, place = _number(content, place, last)
        _, place = _number(content, place, last)  # the first passage's number
        start, place = _number(content, place, last)
        for _ in range(count):
            _, place = _number(content, place, last)  # how many passages
            size, place = _number(content, place, last)
            if start + size > first:
                raise ValueError
            yield start, start + size
            start += size


def _number(content: mmap.mmap, place: int, last: int) -> tuple[int, int]:
    """Return the number at a place, seven bits in each byte of which the last has the eighth set, and what follows."""
    number = 0
    for shift in range(0, _MOST_BITS, 7):
        if place >= last:
            raise ValueError
        byte = content[place]
        number |= (byte & 127) << shift
        place += 1
        if byte & 128:
            return number, place
    raise ValueError
