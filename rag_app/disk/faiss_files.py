"""FAISS files, whose sizes are compared with the file's own before FAISS is given any of them to allocate.

FAISS believes what a file says of itself: of how many numbers there are, how long a code is, which of its many classes
comes next. So the file is walked through first, by the layouts of the few classes that are written here and of the two
that langchain-community makes (https://github.com/facebookresearch/faiss, ``impl/index_write.cpp``).
"""

import os
import struct
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from rag_app.disk.damage import REMEDY

FLAT = ("IxFI", "IxF2", "IxFl")
"""Of vectors in float32, by inner product and by distance; the last is the older name of both."""
HALF = ("IxSQ",)
"""Of vectors in half precision."""
NUMBERED_HALF = ("IxM2",)
"""Of the same under numbers."""
CLUSTERS = {"ivf": ("IwSq",), "rabitq": ("Iwrq",)}
"""Of inverted lists, by the form of vectors; see `rag_app.disk.clusters`."""

_MOST_DIMENSIONS = 65_536
_FP16 = int(faiss.ScalarQuantizer.QT_fp16)


def save_faiss(path: Path, index: Any) -> None:
    """Write a FAISS index as `faiss.write_index` does; see `rag_app.disk.array_files.save_array`.

    Raises:
        OSError: The disk is full.
    """
    with path.open("wb") as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))


def read_faiss(path: Path, kinds: Collection[str], *, mapped: bool = False) -> Any:
    """Return the FAISS index in a file, once everything that the file says of its sizes is true.

    Args:
        path: The file.
        kinds: The kinds of index that it may hold, such as `FLAT`.
        mapped: Whether codes stay on the disk.

    Raises:
        OSError: It cannot be read.
        ValueError: It is damaged, or holds another kind of index.
    """
    with path.open("rb") as file:
        _check_file(_Walk(file, path), kinds)
    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if mapped else 0)
    except RuntimeError as error:
        raise ValueError(f"{path} cannot be read: {str(error).splitlines()[0]}. {REMEDY}") from error


class _Header(NamedTuple):
    dimension: int
    total: int


class _Walk:
    """What a file says of itself, from its beginning on."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._left = os.fstat(file.fileno()).st_size

    def numbers(self, layout: str) -> tuple[Any, ...]:
        """Return the next numbers; see `struct`."""
        size = struct.calcsize(f"<{layout}")
        self.check(size <= self._left, "it ends too early")
        self._left -= size
        return struct.unpack(f"<{layout}", self._file.read(size))

    def number(self, layout: str) -> Any:
        """Return the next number."""
        return self.numbers(layout)[0]

    def kind(self) -> str:
        """Return the next four letters."""
        return str(self.number("4s").decode("latin-1"))

    def skip(self, size: int) -> None:
        """Pass over bytes, which must be there."""
        self.check(size <= self._left, f"{self._left} bytes follow where it speaks of {size}")
        self._left -= size
        self._file.seek(size, os.SEEK_CUR)

    def vector(self, wanted: int, item: int) -> None:
        """Pass over an array that says how long it is."""
        count = self.number("Q")
        self.check(count == wanted, f"an array has {count} items, wanted: {wanted}")
        self.skip(count * item)

    def array(self, count: int) -> NDArray[np.uint64]:
        """Return an array of 64-bit numbers."""
        self.check(8 * count <= self._left, f"{self._left} bytes follow where it speaks of {8 * count}")
        self._left -= 8 * count
        return np.frombuffer(self._file.read(8 * count), "<u8")

    def end(self) -> None:
        """Check that nothing follows."""
        self.check(not self._left, f"{self._left} bytes too many")

    def check(self, sound: bool, problem: str) -> None:
        """Raise ValueError unless something holds."""
        if not sound:
            raise ValueError(f"{self._path} is damaged: {problem}. {REMEDY}")


def _check_file(walk: _Walk, kinds: Collection[str]) -> None:
    _check_index(walk, kinds)
    walk.end()


def _check_index(walk: _Walk, kinds: Collection[str]) -> _Header:
    kind = walk.kind()
    walk.check(kind in kinds, f"it holds an index of the kind {kind!r}, wanted: {' or '.join(kinds)}")
    dimension, count, _, _, trained, metric = walk.numbers("iqqqBi")
    walk.check(0 < dimension <= _MOST_DIMENSIONS and count >= 0, f"{count} vectors of {dimension} dimensions")
    walk.check(trained == 1 and metric in (faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2), f"it has the metric {metric}")
    header = _Header(dimension, count)
    _LAYOUTS[kind](walk, header)
    return header


def _check_flat(walk: _Walk, header: _Header) -> None:
    walk.vector(header.total * header.dimension, 4)


def _check_half(walk: _Walk, header: _Header) -> None:
    _check_quantizer(walk, header)
    walk.vector(header.total * header.dimension * 2, 1)


def _check_quantizer(walk: _Walk, header: _Header) -> None:
    kind, _, _, dimension, code_size = walk.numbers("iifQQ")
    sound = (kind, dimension, code_size) == (_FP16, header.dimension, 2 * header.dimension)
    walk.check(sound, f"codes of the kind {kind} of {code_size} bytes for {dimension} dimensions")
    walk.vector(0, 4)


def _check_numbered(walk: _Walk, header: _Header) -> None:
    _check_inside(walk, HALF, header.dimension, header.total)
    walk.vector(header.total, 8)


def _check_inside(walk: _Walk, kinds: Collection[str], dimension: int, count: int) -> None:
    inside = _check_index(walk, kinds)
    sound = (inside.dimension, inside.total) == (dimension, count)
    walk.check(sound, f"{inside.total} vectors of {inside.dimension} dimensions inside, wanted: {count} of {dimension}")


def _check_ivf(walk: _Walk, header: _Header) -> None:
    lists = _check_lists(walk, header)
    _check_quantizer(walk, header)
    _check_codes(walk, header, lists, 2 * header.dimension, walk.numbers("QB")[0])


def _check_rabitq(walk: _Walk, header: _Header) -> None:
    lists = _check_lists(walk, header)
    wanted = (header.dimension + 7) // 8 + 8  # a bit for each dimension and two float32
    dimension, inner_size, _, code_size, _, _ = walk.numbers("QQiQBB")
    walk.check((dimension, inner_size) == (header.dimension, wanted), f"{inner_size} bytes for {dimension} dimensions")
    _check_codes(walk, header, lists, wanted, code_size)


def _check_lists(walk: _Walk, header: _Header) -> int:
    lists, _ = walk.numbers("QQ")
    _check_inside(walk, FLAT, header.dimension, lists)
    walk.check(walk.number("B") == 0, "it holds a table of where each vector is, which is not written here")
    walk.vector(0, 8)
    return int(lists)


def _check_codes(walk: _Walk, header: _Header, lists: int, wanted: int, code_size: int) -> None:
    """Check the lists themselves, with a code and a number for each vector in them."""
    kind, found_lists, size, layout = walk.kind(), *walk.numbers("QQ"), walk.kind()
    sound = (kind, found_lists, size, code_size) == ("ilar", lists, wanted, wanted)
    walk.check(sound, f"{found_lists} lists {kind!r} of codes of {size} bytes, wanted: {lists} of {wanted}")
    walk.check(layout in ("full", "sprs"), f"lists are laid out as {layout!r}")
    numbers = walk.array(walk.number("Q"))
    if layout == "sprs":  # a list's number and its length, of those that hold something
        walk.check(len(numbers) % 2 == 0 and bool((numbers[::2] < lists).all()), "there is no such list")
        lengths = numbers[1::2]
    else:
        walk.check(len(numbers) == lists, f"{len(numbers)} lengths of {lists} lists")
        lengths = numbers
    total = sum(lengths.tolist())
    walk.check(total == header.total, f"its lists hold {total} vectors, wanted: {header.total}")
    walk.skip(total * (wanted + 8))


_LAYOUTS: dict[str, Callable[[_Walk, _Header], None]] = {
    **dict.fromkeys(FLAT, _check_flat),
    **dict.fromkeys(HALF, _check_half),
    **dict.fromkeys(NUMBERED_HALF, _check_numbered),
    **dict.fromkeys(CLUSTERS["ivf"], _check_ivf),
    **dict.fromkeys(CLUSTERS["rabitq"], _check_rabitq),
}
