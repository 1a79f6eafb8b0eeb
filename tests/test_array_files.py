"""Files of numbers: on a full disk, and such as were never written here."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from rag_app.disk.array_files import read_array, save_array
from rag_app.disk.faiss_files import save_faiss
from rag_app.korean import analyzer
from rag_app.lexical import LexicalIndex

ARRAY = np.arange(400, dtype=np.int64)


@contextmanager
def room(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond some bytes."""
    if sys.platform == "win32":
        pytest.skip("files cannot be limited here")
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def flat_index() -> faiss.Index:
    """Return 50 vectors of 16 numbers."""
    index = faiss.IndexFlatIP(16)
    index.add(np.random.default_rng(1).normal(size=(50, 16)).astype(np.float32))
    return index


def test_files_are_those_of_numpy_and_faiss(tmp_path: Path) -> None:
    for array in (ARRAY, ARRAY[:0], ARRAY.reshape(2, 200).astype(np.int32), ARRAY > 7):
        save_array(tmp_path / "ours.npy", array)
        np.save(tmp_path / "theirs.npy", array)
        assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "theirs.npy").read_bytes()
    save_faiss(tmp_path / "ours", flat_index())
    faiss.write_index(flat_index(), str(tmp_path / "theirs"))
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


@pytest.mark.fault(1, "On a full disk, files of vectors and of numbers were cut short without an error.")
@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 0.97])
def test_a_full_disk_is_told(share: float, tmp_path: Path) -> None:
    save_array(tmp_path / "array", ARRAY)
    save_faiss(tmp_path / "index", flat_index())
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    with room(int(share * sizes["array"])), pytest.raises(OSError, match="File too large"):
        save_array(tmp_path / "array", ARRAY)
    with room(int(share * sizes["index"])), pytest.raises(OSError, match="File too large"):
        save_faiss(tmp_path / "index", flat_index())


@pytest.mark.fault(1, "A full disk during lexical indexing was no OSError, so that nothing said what to do.")
@pytest.mark.parametrize("size", [0, 40, 600])
def test_a_full_disk_is_told_by_the_lexical_index(size: int, tmp_path: Path) -> None:
    with room(size), pytest.raises(OSError, match="File too large"):
        _index_words(tmp_path / "lexical")


@pytest.mark.fault(1, "A full disk in the middle of a large lexical index was told as 'An index writer was killed'.")
def test_a_full_disk_is_told_by_the_lexical_index_while_more_is_added(tmp_path: Path) -> None:
    words = [" ".join(f"낱말{number}x{place}" for place in range(300)) for number in range(40)]
    index = LexicalIndex.create({"words": lambda texts: (text.split() for text in texts)}, tmp_path / "lexical")

    def add_all() -> None:
        for start in range(400):
            index.add([f"{start}-{number}" for number in range(40)], words)
        index.commit()

    with room(20_000), pytest.raises(OSError, match="File too large"):
        add_all()
    index.discard()


def _index_words(path: Path) -> None:
    index = LexicalIndex.create(analyzer(), path)
    index.add(map(str, range(50)), [f"서울의 예산 {number}" for number in range(50)])
    index.commit()


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
