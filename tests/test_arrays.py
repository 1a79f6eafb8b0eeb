"""Arrays on disk, also such as were never written here."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rag_app.disk.arrays import read_array


@pytest.mark.parametrize(
    "array",
    [np.arange(5), np.zeros(0, np.uint32), np.ones((3, 4), np.int32), np.ones((0, 4), np.int32), np.ones(3, np.bool_)],
)
def test_what_is_saved_is_read(array: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array)
    read = read_array(tmp_path / "a.npy", array.dtype, array.ndim)
    assert (read.dtype, read.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(read, array)


@pytest.mark.fault(2, "A damaged header of an array ended in an error of Python's parser, which had been given it.")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY\1\0",
        b"\x93NUMPY\1\0\x0a\0{'descr': (",
        b"\x93NUMPY\1\0\xff\x7f" + b"(" * 0x7FFF,
        b"PK\3\4" + bytes(200),
        b"\x80\4N." + bytes(200),
    ],
)
def test_what_is_no_array_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npy holds no 1-dimensional array of int64.* build the index anew"):
        read_array(tmp_path / "a.npy", np.int64)


def test_a_length_that_the_file_does_not_have_is_not_believed(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(5))
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content.replace(b"(5,), }           ", b"(99999999999,), }"[:18].ljust(18)))
    with pytest.raises(ValueError, match="or part of one"):
        read_array(tmp_path / "a.npy", np.int64)
    (tmp_path / "a.npy").write_bytes(content[:-1])
    with pytest.raises(ValueError, match="or part of one"):
        read_array(tmp_path / "a.npy", np.int64)


def test_objects_are_no_numbers(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="holds no"):
        read_array(tmp_path / "a.npy", np.int64)
