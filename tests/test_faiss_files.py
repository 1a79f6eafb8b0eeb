"""FAISS files that lie about their sizes."""

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from rag_app.disk.faiss_files import CLUSTERS, FLAT, HALF, NUMBERED_HALF, read_faiss
from rag_app.vectors import Vectors, unit_rows

ROWS = unit_rows(np.random.default_rng(0).normal(size=(100, 16)))


def _ivf(form: str) -> Any:
    index = faiss.index_factory(16, f"IVF2,{form}", faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1
    index.train(ROWS)
    index.add_with_ids(ROWS, np.arange(len(ROWS)))
    return index


@pytest.mark.parametrize(("form", "kind"), [("SQfp16", "ivf"), ("RaBitQ", "rabitq")])
@pytest.mark.parametrize("mapped", [True, False])
def test_what_is_written_is_read(form: str, kind: str, mapped: bool, tmp_path: Path) -> None:
    faiss.write_index(_ivf(form), str(tmp_path / "a"))
    assert read_faiss(tmp_path / "a", CLUSTERS[kind], mapped=mapped).ntotal == 100


def test_few_full_lists_are_read(tmp_path: Path) -> None:
    index = faiss.index_factory(16, "IVF8,SQfp16", faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1
    index.train(ROWS)
    index.add_with_ids(ROWS[:1], np.arange(1))
    faiss.write_index(index, str(tmp_path / "a"))
    assert b"sprs" in (tmp_path / "a").read_bytes()
    assert read_faiss(tmp_path / "a", CLUSTERS["ivf"]).ntotal == 1


@pytest.mark.fault(2, "A FAISS file was believed: how much memory to reserve, and which of FAISS's classes to make.")
@pytest.mark.parametrize("place", [*range(4, 16), *range(32, 53)])  # between them is what FAISS passes over
def test_faiss_is_given_no_size_that_the_file_does_not_have(
    place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    Vectors().adding([str(number) for number in range(100)], ROWS).write(path)
    content = bytearray(path.read_bytes())
    content[place] ^= 64
    path.write_bytes(content)
    monkeypatch.setattr(faiss, "read_index", lambda *_: pytest.fail("read"))
    with pytest.raises(ValueError, match=r"is damaged: .* Restore a copy or build the index anew"):
        read_faiss(path, NUMBERED_HALF)


@pytest.mark.parametrize("kinds", [FLAT, HALF, CLUSTERS["ivf"]])
def test_another_kind_is_named(kinds: tuple[str, ...], tmp_path: Path) -> None:
    Vectors().adding(["a"], ROWS[:1]).write(tmp_path / "a")
    with pytest.raises(ValueError, match="it holds an index of the kind 'IxM2', wanted: I"):
        read_faiss(tmp_path / "a", kinds)


@pytest.mark.fault(2, "Vectors numbered otherwise than in order ended a search with KeyError.")
def test_vectors_are_numbered_in_order(tmp_path: Path) -> None:
    path = tmp_path / "a"
    ids = [str(number) for number in range(100)]
    Vectors().adding(ids, ROWS).write(path)
    content = path.read_bytes()
    path.write_bytes(content[:-8] + (5).to_bytes(8, "little"))
    with pytest.raises(ValueError, match="not numbered in order"):
        Vectors.read(path, ids)


@pytest.mark.fault(2, "A damaged vector, one that is no number, ended a search with KeyError.")
def test_a_vector_that_is_no_number_is_not_found(tmp_path: Path) -> None:
    path = tmp_path / "a"
    Vectors().adding(["a", "b"], ROWS[:2]).write(path)
    content = path.read_bytes().replace(ROWS[0].astype(np.float16).tobytes(), b"\xff" * 32)
    path.write_bytes(content)
    assert [id_ for id_, _ in Vectors.read(path, ["a", "b"]).search(ROWS[1], 2)] == ["b"]
