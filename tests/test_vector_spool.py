"""What a spool keeps through interruptions, and what it never gives back."""

import errno
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from numpy.typing import NDArray

from rag_app import vector_spool
from rag_app.embeddings import load_embeddings
from rag_app.vector_spool import VectorSpool, spool_fingerprint

MATRIX = np.random.default_rng(1).normal(size=(12, 3)).astype(np.float32)
IDS = [f'"글"\u2028{number}' for number in range(12)]


def spool_of_three(folder: Path) -> None:
    """Three records of 4 rows each."""
    with VectorSpool.open(folder, "a", 3) as spool:
        for start in (0, 4, 8):
            spool.add(IDS[start : start + 4], MATRIX[start : start + 4])


def kept(folder: Path) -> int:
    """Return how many vectors open, having checked each."""
    with VectorSpool.open(folder, "a", 3) as spool:
        known = sorted(spool.known(IDS), key=IDS.index)
        assert known == IDS[: len(spool)]
        np.testing.assert_array_equal(spool.vectors(known), MATRIX[: len(known)])
        return len(known)


def test_vectors_come_back_in_the_order_asked_for_also_between_additions(tmp_path: Path) -> None:
    with VectorSpool.open(tmp_path / "new" / "spool", "a", 3) as spool:
        spool.add(IDS[:4], MATRIX[:4])
        np.testing.assert_array_equal(spool.vectors([IDS[2], IDS[0]]), MATRIX[[2, 0]])
        spool.add(IDS[4:6], MATRIX[4:6])
        np.testing.assert_array_equal(spool.vectors([IDS[5], IDS[1]]), MATRIX[[5, 1]])
        assert spool.known([IDS[5], "another"]) == {IDS[5]}
        assert spool.vectors([]).shape == (0, 3)
        with pytest.raises(KeyError):
            spool.vectors(["another"])


def test_a_vector_added_again_replaces_the_first(tmp_path: Path) -> None:
    for _ in range(2):
        with VectorSpool.open(tmp_path, "a", 3) as spool:
            spool.add(["x", "x"], MATRIX[:2])
            spool.add([], MATRIX[:0])
    with VectorSpool.open(tmp_path, "a", 3) as spool:
        assert len(spool) == 1
        np.testing.assert_array_equal(spool.vectors(["x"]), MATRIX[[1]])


@pytest.mark.parametrize("shape", [(2, 3), (1, 4), (3,)])
def test_a_matrix_that_does_not_fit_is_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    with VectorSpool.open(tmp_path, "a", 3) as spool, pytest.raises(ValueError, match=r"give \(1, 3\)"):
        spool.add(["x"], np.zeros(shape, np.float32))


@pytest.mark.parametrize("name", ["vectors.float32", "journal.jsonl"])
def test_cut_at_any_byte_the_records_before_are_whole(name: str, tmp_path: Path) -> None:
    spool_of_three(tmp_path)
    whole = (tmp_path / name).read_bytes()
    others = {path: path.read_bytes() for path in tmp_path.iterdir()}
    counts = []
    for size in range(len(whole) + 1):
        for path, content in others.items():
            path.write_bytes(content)
        (tmp_path / name).write_bytes(whole[:size])
        counts.append(kept(tmp_path))
        with VectorSpool.open(tmp_path, "a", 3) as spool:  # and it goes on from there
            spool.add(IDS[counts[-1] :], MATRIX[counts[-1] :])
        assert kept(tmp_path) == 12
    assert sorted(set(counts)) == [0, 4, 8, 12]
    assert counts == sorted(counts)


@pytest.mark.parametrize("name", ["vectors.float32", "journal.jsonl"])
def test_from_a_changed_byte_on_nothing_is_believed(name: str, tmp_path: Path) -> None:
    spool_of_three(tmp_path)
    whole = (tmp_path / name).read_bytes()
    others = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for place in range(len(whole)):
        for path, content in others.items():
            path.write_bytes(content)
        (tmp_path / name).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert kept(tmp_path) < 12


@pytest.mark.parametrize("other", [("b", 3), ("a", 4)])
def test_the_vectors_of_another_model_go_and_the_log_says_so(
    other: tuple[str, int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool_of_three(tmp_path)
    with caplog.at_level(logging.WARNING), VectorSpool.open(tmp_path, *other) as spool:
        assert not len(spool)
    assert "starting anew" in caplog.text
    assert kept(tmp_path) == 0


def test_nothing_is_warned_of_where_nothing_is_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        spool_of_three(tmp_path)
        assert not caplog.text
        kept(tmp_path)
    assert "going on with 12 vectors" in caplog.text


def test_discarded_it_is_gone(tmp_path: Path) -> None:
    with VectorSpool.open(tmp_path / "spool", "a", 3) as spool:
        spool.add(IDS, MATRIX)
        spool.discard()
    assert not (tmp_path / "spool").exists()


class Model:
    """Notes what it encodes; may fail before its n-th call."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.encoded: list[str] = []
        self.calls = 0
        self._fails_at = fails_at

    def __call__(self, texts: list[str]) -> NDArray[np.float32]:
        self.calls += 1
        if self.calls == self._fails_at:
            raise KeyboardInterrupt
        self.encoded += texts
        return np.array([[len(text), ord(text[0]), 1] for text in texts], dtype=np.float32)


def test_only_what_is_missing_is_encoded_longest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_spool, "_PIECE", 2)
    texts = ["가", "나나", "다다다", "나나", "라라라라"]
    stopped, resumed = Model(fails_at=2), Model()
    with VectorSpool.open(tmp_path, "a", 3) as spool, pytest.raises(KeyboardInterrupt):
        spool.encode(texts, stopped)
    assert stopped.encoded == ["라라라라", "다다다"]
    with VectorSpool.open(tmp_path, "a", 3) as spool:
        vectors = spool.encode(texts, resumed)
        np.testing.assert_array_equal(spool.encode(texts[1:], resumed), vectors[1:])
    assert resumed.encoded == ["나나", "가"]
    np.testing.assert_array_equal(vectors, Model()(texts))


def test_a_full_disk_costs_what_could_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write: Callable[..., None] = vector_spool._write

    def half(file: object, offset: int, data: bytes) -> None:
        write(file, offset, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with VectorSpool.open(tmp_path, "a", 3) as spool:
        spool.add(IDS[:4], MATRIX[:4])
        with monkeypatch.context() as full:
            full.setattr(vector_spool, "_write", half)
            with pytest.raises(OSError, match="No space"):
                spool.add(IDS[4:8], MATRIX[4:8])
        assert len(spool) == 4
        spool.add(IDS[4:6], MATRIX[4:6])  # there is space again
    assert kept(tmp_path) == 6


_ENDLESS = """
import sys
import numpy as np
from pathlib import Path
from rag_app.vector_spool import VectorSpool

with VectorSpool.open(Path(sys.argv[1]), "a", 3) as spool:
    print(len(spool), flush=True)
    for number in range(len(spool), 10_000_000):
        spool.add([str(number)], np.full((1, 3), number, np.float32))
"""


def test_a_killed_process_leaves_whole_records(tmp_path: Path) -> None:
    before = 0
    for _ in range(2):
        with subprocess.Popen([sys.executable, "-c", _ENDLESS, str(tmp_path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert int(process.stdout.readline()) == before
            while (tmp_path / "vectors.float32").stat().st_size < 12 * (before + 50):
                pass
            os.kill(process.pid, signal.SIGKILL)
        with VectorSpool.open(tmp_path, "a", 3) as spool:
            before = len(spool)
            assert before >= 49
            assert spool.vectors([str(number) for number in range(before)])[:, 0].tolist() == list(range(before))


def test_a_spool_is_for_slow_models_that_can_be_told_apart(tiny_static: Path, tiny_transformer: Path) -> None:
    slow = load_embeddings(tiny_transformer, device="cpu")
    assert spool_fingerprint(slow) == slow.fingerprint
    assert spool_fingerprint(load_embeddings(tiny_static)) is None
    assert spool_fingerprint(DeterministicFakeEmbedding(size=3)) is None
