"""Indexes are named, renamed and deleted, and nothing but indexes."""

import os
from pathlib import Path
from typing import Any

import pytest

from rag_app.corpus.index_folders import (
    delete_index,
    discard_unfinished,
    index_name,
    new_index_folder,
    rename_index,
    size_on_disk,
)
from rag_app.documents import make_document
from rag_app.embeddings import load_embeddings
from rag_app.generations import writing
from rag_app.index import build_index, open_index


@pytest.fixture
def news(tmp_path: Path, tiny_static: Path) -> Path:
    build_index(tmp_path / "news", [make_document("가람호수의 물이 따뜻해졌다.")], load_embeddings(str(tiny_static)))
    return tmp_path / "news"


@pytest.mark.parametrize("name", ["경제 2025", "news", "a-b_c.d", "  앞뒤 빈칸 ", "세계.v2"])
def test_plain_names_are_taken(name: str) -> None:
    assert index_name(name) == name.strip()


@pytest.mark.parametrize(
    "name",
    ["", " ", "..", ".숨김", "a/b", "a\\b", "../밖", "C:", "a\nb", "a*", "끝.", "-v", "CON", "lpt1.txt", "가" * 61],
)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be called"):
        index_name(name)


def test_a_name_is_taken_once_whatever_its_case(news: Path) -> None:
    with pytest.raises(FileExistsError, match="already"):
        new_index_folder(news.parent, "NEWS")
    assert new_index_folder(news.parent, "경제") == news.parent / "경제"
    assert new_index_folder(news.parent / "없음", "경제") == news.parent / "없음" / "경제"


def test_a_renamed_index_opens_under_its_new_name(news: Path, tiny_static: Path) -> None:
    new = rename_index(news, "경제")
    assert len(open_index(new, load_embeddings(str(tiny_static)))) == 1
    assert not news.exists()
    assert rename_index(new, "경제") == new


def test_a_deleted_index_is_gone_with_its_folder_and_nothing_else(news: Path) -> None:
    (news.parent / "문서.txt").touch()
    delete_index(news)
    assert [path.name for path in news.parent.iterdir()] == ["문서.txt"]


def test_a_folder_that_is_no_index_or_holds_more_is_left_alone(news: Path, tmp_path: Path) -> None:
    (tmp_path / "문서").mkdir()
    with pytest.raises(ValueError, match="not the folder of an index"):
        delete_index(tmp_path / "문서")
    (tmp_path / "link").symlink_to(news)
    with pytest.raises(ValueError, match="not the folder of an index"):
        delete_index(tmp_path / "link")
    (news / "논문.docx").touch()
    for change in (delete_index, lambda path: rename_index(path, "경제")):
        with pytest.raises(ValueError, match=r"more than an index: 논문\.docx"):
            change(news)
    assert (news / "manifest.json").exists()


def test_an_index_that_is_being_written_is_not_deleted(news: Path) -> None:
    with writing(news), pytest.raises(BlockingIOError):
        delete_index(news)
    assert (news / "manifest.json").exists()


def test_only_an_unfinished_build_is_discarded(news: Path, tmp_path: Path) -> None:
    discard_unfinished(news)
    assert news.exists()
    half = tmp_path / "half"
    with writing(half):
        (half / "generation-000001").mkdir()
    (half / "메모.txt").touch()
    discard_unfinished(half)
    assert half.exists()
    (half / "메모.txt").unlink()
    discard_unfinished(half)
    assert not half.exists()


def test_the_size_is_that_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_bytes(b"123")
    assert size_on_disk(tmp_path) == 8


@pytest.mark.fault(
    1, "An index that was being deleted when its process was killed took its space until another was deleted."
)
def test_what_a_killed_deletion_left_goes_with_the_next_and_before_an_index_is_made(news: Path) -> None:
    left = news.parent / ".deleted-1/generation-000001"
    left.mkdir(parents=True)
    new_index_folder(news.parent, "새 색인")
    assert list(news.parent.iterdir()) == [news]
    left.mkdir(parents=True)
    delete_index(news)
    assert list(news.parent.iterdir()) == []


@pytest.mark.fault(4, "Deleting an index could fail because another process was removing its files as well.")
def test_an_index_whose_files_somebody_else_removes_as_well_is_deleted(
    news: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = os.unlink
    others: list[str] = []

    def late(path: str, *arguments: Any, **options: Any) -> None:
        if not others and path.endswith(("json", ".idx", "jsonl")):
            others.append(path)
            remove(path, *arguments, **options)
        remove(path, *arguments, **options)

    monkeypatch.setattr(os, "unlink", late)
    delete_index(news)
    assert others
    assert list(news.parent.iterdir()) == []
