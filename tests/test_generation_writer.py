"""What a generation is filled with, where that is not plain."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding

from rag_app import generation_writer
from rag_app.check import check_index
from rag_app.documents import make_document
from rag_app.generation_writer import link_files
from rag_app.index import build_index


@pytest.mark.fault(
    1, "Deleting articles from an index in memory that was due to move to the disk ended in an AssertionError."
)
def test_an_index_moves_to_the_disk_also_when_nothing_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    articles = [make_document(f"서울의 예산 {number}") for number in range(40)]
    index = build_index(tmp_path, articles, DeterministicFakeEmbedding(size=8))
    monkeypatch.setattr(generation_writer, "EXACT_MOST", 20)
    assert index.delete([str(articles[0].metadata["doc_id"])]).removed == 1
    assert index.snapshot.manifest["vectors"]["form"] == "ivf"
    assert len(index) == 39
    assert check_index(tmp_path) == []


@pytest.mark.fault(1, "A disk that was full while files were linked was told without its error number.")
def test_files_that_can_neither_be_linked_nor_copied_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "file").write_text("글", "utf-8")

    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space") as raised:
        link_files(tmp_path / "old", tmp_path / "new" / "deep")
    assert raised.value.errno == errno.ENOSPC


def test_files_that_cannot_be_linked_are_copied_and_locks_stay_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old").mkdir()
    for name in ("file", ".writer.lock"):
        (tmp_path / "old" / name).write_text("글", "utf-8")
    link_files(tmp_path / "old", tmp_path / "linked")

    def refuse(source: Path, target: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    link_files(tmp_path / "old", tmp_path / "copied")
    links = {"linked": 2, "copied": 1}
    for name, count in links.items():
        assert [path.name for path in (tmp_path / name).iterdir()] == ["file"]
        assert (tmp_path / name / "file").stat().st_nlink == count
