"""Writes OLE compound files, the container of HWP 5: as much of [MS-CFB] as a file with a few streams needs."""

import struct
from itertools import pairwise
from pathlib import Path

_SECTOR = 512
_SMALL = 4096  # a shorter stream would have to be in another place; it is filled with zeros
_FREE, _END, _FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD  # numbers of sectors, and of entries, with a meaning
_STORAGE, _STREAM, _ROOT = 1, 2, 5


def write_compound_file(path: Path, streams: dict[str, bytes]) -> Path:
    """Write a file with streams, by their names in the order of [MS-CFB]; ``storage/stream`` is one in a storage."""
    contents = {name: content.ljust(_SMALL, b"\0") for name, content in streams.items()}
    entries = _entries(list(contents))
    directory_sectors = -(-len(entries) // 4)
    sizes = [directory_sectors, *(-(-len(content) // _SECTOR) for content in contents.values())]
    fat_sectors = 1
    while fat_sectors * 128 < fat_sectors + sum(sizes):
        fat_sectors += 1

    fat, firsts = [_FAT] * fat_sectors, []
    for size in sizes:  # each stream in one piece: every sector names the next
        firsts.append(len(fat))
        fat += [*range(len(fat) + 1, len(fat) + size), _END]
    fat += [_FREE] * (fat_sectors * 128 - len(fat))
    starts = dict(zip(contents, firsts[1:], strict=True))

    directory = b"".join(
        _entry(name, kind, right, child, starts.get(key, _END), len(contents.get(key, b"")))
        for key, name, kind, right, child in entries
    )
    header = struct.pack(
        "<8s16x5H6x4I5I",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        *(0x3E, 3, 0xFFFE, 9, 6),  # version 3, byte order, sectors of 2**9 and small ones of 2**6 bytes
        *(0, fat_sectors, firsts[0], 0),
        *(_SMALL, _END, 0, _END, 0),
    )
    header += struct.pack("<109I", *range(fat_sectors), *[_FREE] * (109 - fat_sectors))
    sectors = [struct.pack(f"<{len(fat)}I", *fat), directory, *contents.values()]
    path.write_bytes(header + b"".join(data.ljust(-(-len(data) // _SECTOR) * _SECTOR, b"\0") for data in sectors))
    return path


def _entries(names: list[str]) -> list[tuple[str, str, int, int, int]]:
    """Return each entry's path, name, kind, next sibling and first child; siblings stand in a chain."""
    tree: list[tuple[str, str, int, int, int]] = [("", "Root Entry", _ROOT, _FREE, 1)]
    top = list(dict.fromkeys(name.partition("/")[0] for name in names))
    numbers = {name: number for number, name in enumerate(top, start=1)}
    inside = [name for name in names if "/" in name]
    for name in inside:
        numbers[name] = len(numbers) + 1
    for siblings in (top, *([n for n in inside if n.startswith(f"{storage}/")] for storage in top)):
        following = dict(pairwise(siblings))
        for name in siblings:
            children = [numbers[other] for other in inside if other.startswith(f"{name}/")]
            kind = _STORAGE if children else _STREAM
            after = numbers.get(following.get(name, ""), _FREE)
            tree.append((name, name.rpartition("/")[2], kind, after, min(children, default=_FREE)))
    return [tree[0], *sorted(tree[1:], key=lambda entry: numbers[entry[0]])]


def _entry(name: str, kind: int, right: int, child: int, start: int, size: int) -> bytes:
    encoded = f"{name}\0".encode("utf-16-le")
    black = 1
    return struct.pack("<64sHBB3I36xIQ", encoded, len(encoded), kind, black, _FREE, right, child, start, size)
