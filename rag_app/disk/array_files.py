"""Files of arrays, as `numpy.save` writes them, read without anything that a stranger's file could do to its reader.

`numpy.load` parses a header as Python, makes an array as large as the header says, and takes files of several kinds.
Here a header is the one text that is written for the wanted type of number, and the file is as long as that says.
"""

import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rag_app.disk.damage import REMEDY

_MAGIC = b"\x93NUMPY\x01\x00"
_PREFIX = len(_MAGIC) + 2  # and the length of the header
_LENGTHS = {1: r"(\d{1,15}),", 2: r"(\d{1,15}), (\d{1,15})"}  # by the number of dimensions


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as `numpy.save` does, but through Python's files, which say when the disk is full.

    NumPy writes through C's and does not ask whether closing one went well: what is still in its buffer then, which may
    be all of a small file, is lost without a word.

    Raises:
        OSError: The disk is full.
    """
    with path.open("wb") as file:
        np.save(SimpleNamespace(write=file.write), array, allow_pickle=False)


def read_array(path: Path, number_type: DTypeLike, dimensions: int = 1) -> NDArray[Any]:
    """Return an array that stays on the disk, and may not be written to.

    Args:
        path: What `numpy.save` wrote.
        number_type: Of its numbers.
        dimensions: How many it has, 1 or 2.

    Raises:
        OSError: It cannot be read.
        ValueError: It is damaged, or another kind of array.
    """
    kind = np.dtype(number_type)
    with path.open("rb") as file:
        start = file.read(_PREFIX)
        header = file.read(int.from_bytes(start[-2:], "little")) if len(start) == _PREFIX else b""
    wanted = "{'descr': '" + re.escape(kind.str) + r"', 'fortran_order': False, 'shape': \(" + _LENGTHS[dimensions]
    lengths = re.fullmatch(wanted + r"\), } *\n", header.decode("latin-1"))
    shape = tuple(map(int, lengths.groups())) if lengths and start.startswith(_MAGIC) else None
    offset = _PREFIX + len(header)
    if shape is None or path.stat().st_size != offset + math.prod(shape) * kind.itemsize:
        raise ValueError(f"{path} holds no {dimensions}-dimensional array of {kind}, or part of one. {REMEDY}")
    if not math.prod(shape):  # nothing cannot be mapped
        return np.zeros(shape, kind)
    return np.memmap(path, kind, "r", offset, shape)
