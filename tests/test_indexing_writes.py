"""What a job does to an index: all of it or nothing."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from langchain_core.documents import Document

from rag_app.corpus.indexing_job import StoppedError
from rag_app.corpus.indexing_writes import building, updating, watched
from rag_app.documents import make_document
from rag_app.embeddings import ModelEmbeddings, load_embeddings
from rag_app.generations import writing
from rag_app.index import Changes, build_index, open_index

LAKE = make_document("가람호수의 물이 9도로 따뜻해졌다.", path="호수.txt")
LIBRARY = make_document("누리시 도서관이 5월에 문을 연다.", path="도서관.txt")


@pytest.fixture
def embeddings(tiny_static: Path) -> ModelEmbeddings:
    return load_embeddings(str(tiny_static))


def _let(texts: Sequence[str]) -> None:
    pass


def _stop(texts: Sequence[str]) -> None:
    raise StoppedError


def _texts(path: Path, embeddings: ModelEmbeddings) -> set[str]:
    return {d.page_content for d in open_index(path, embeddings).snapshot.store.documents.values()}


def test_a_new_index_holds_each_text_once(tmp_path: Path, embeddings: ModelEmbeddings) -> None:
    write = building(tmp_path / "news", lambda: embeddings)
    assert write([LAKE, LIBRARY, LAKE], _let) == Changes(added=2, skipped=1)
    assert _texts(tmp_path / "news", embeddings) == {LAKE.page_content, LIBRARY.page_content}


def test_an_index_that_is_there_is_not_replaced_unasked(tmp_path: Path, embeddings: ModelEmbeddings) -> None:
    build_index(tmp_path / "news", [LAKE], embeddings)
    with pytest.raises(FileExistsError):
        building(tmp_path / "news", lambda: embeddings)([LIBRARY], _let)
    assert _texts(tmp_path / "news", embeddings) == {LAKE.page_content}


def test_a_stopped_build_leaves_no_folder(tmp_path: Path, embeddings: ModelEmbeddings) -> None:
    with pytest.raises(StoppedError):
        building(tmp_path / "news", lambda: embeddings)([LAKE], _stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("documents", [[LIBRARY], [Document("누리시"), Document(" ")]])
def test_a_replacement_that_fails_keeps_the_old_one(
    tmp_path: Path, embeddings: ModelEmbeddings, documents: list[Document]
) -> None:
    path = tmp_path / "news"
    build_index(path, [LAKE], embeddings)
    with pytest.raises((StoppedError, ValueError)):
        building(path, lambda: embeddings, replace=True)(documents, _stop)
    assert _texts(path, embeddings) == {LAKE.page_content}
    building(path, lambda: embeddings, replace=True)([LIBRARY], _let)
    assert _texts(path, embeddings) == {LIBRARY.page_content}


def test_a_file_of_the_same_name_takes_the_place_of_the_old_one(tmp_path: Path, embeddings: ModelEmbeddings) -> None:
    index = build_index(tmp_path, [LAKE, LIBRARY], embeddings)
    newer = make_document("가람호수의 물이 다시 5도로 내려갔다.", path="호수.txt")
    assert updating(index)([newer, LIBRARY], _let) == Changes(added=1, skipped=1, removed=1)
    assert _texts(tmp_path, embeddings) == {newer.page_content, LIBRARY.page_content}


def test_a_stopped_addition_leaves_the_index_as_it_was(tmp_path: Path, embeddings: ModelEmbeddings) -> None:
    index = build_index(tmp_path, [LAKE], embeddings)
    with pytest.raises(StoppedError):
        updating(index)([LIBRARY], _stop)
    assert _texts(tmp_path, embeddings) == {LAKE.page_content}


def test_a_watched_model_gives_the_same_vectors_and_tells_of_every_text(embeddings: ModelEmbeddings) -> None:
    seen: list[str] = []
    texts = [f"{number}째 기사" for number in range(2500)]
    model = watched(embeddings, seen.extend)
    assert np.array_equal(model.encode(texts), embeddings.encode(texts))
    assert seen == texts
    assert (model.name, model.fingerprint) == (embeddings.name, embeddings.fingerprint)
    embeddings.encode(["다른 글"])
    assert len(seen) == len(texts)


def test_a_build_that_comes_second_leaves_the_first_its_folder(tmp_path: Path, embeddings: ModelEmbeddings) -> None:
    half_built = tmp_path / "news" / "generation-000001"
    with writing(tmp_path / "news"):
        half_built.mkdir()
        with pytest.raises(BlockingIOError):
            building(tmp_path / "news", lambda: embeddings)([LAKE], _let)
        assert half_built.is_dir()
