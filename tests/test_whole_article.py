"""An article put together again of its passages."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding

from rag_app.documents import make_document
from rag_app.index import build_index
from rag_app.merging import merge_passages
from rag_app.passages import split_documents
from rag_app.whole_article import in_article, join_passages, spans_in_article

EMBEDDINGS = DeterministicFakeEmbedding(size=16)
LONG = make_document(
    " ".join(f"가온시는 {number}월에 {number}번째 도서관을 열었다." for number in range(1, 40)), title="도서관"
)
OTHER = make_document("나루군은 벚꽃 축제를 취소했다.", title="축제")


def as_shown(text: str) -> str:
    return text.replace("\n\n", "¶").replace("\n", " ")


@given(
    parts=st.lists(
        st.tuples(
            st.sampled_from(["비가 왔다.", "도서관을 열었다.", "가" * 25, "😀 웃는다!"]),
            st.sampled_from([" ", "\n", "\n\n"]),
        ),
        min_size=1,
        max_size=30,
    ),
    size=st.integers(8, 60),
    overlap=st.integers(0, 2),
)
@settings(deadline=None, max_examples=60)
def test_an_article_comes_back_as_it_was_but_for_line_breaks_between_passages(
    parts: list[tuple[str, str]], size: int, overlap: int
) -> None:
    article = make_document("".join(text + white for text, white in parts), title="제목", url="https://a.example/1")
    passages = list(split_documents([article], max_chars=size, overlap=overlap))
    joined = join_passages(reversed(passages))
    assert as_shown(joined.page_content) == as_shown(article.page_content)
    assert (joined.id, joined.metadata) == (article.id, article.metadata)
    for passage in passages:
        start, end = passage.metadata["start"], passage.metadata["end"]
        assert as_shown(joined.page_content[start:end]) == as_shown(passage.page_content)


def test_no_passages_are_no_article() -> None:
    with pytest.raises(ValueError, match="no passage"):
        join_passages([])


@pytest.mark.parametrize("large", [False, True])
def test_an_index_returns_a_whole_article_until_it_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    if large:
        monkeypatch.setattr("rag_app.generation_writer.EXACT_MOST", 1)
    index = build_index(tmp_path, [OTHER, LONG], EMBEDDINGS, passage_chars=100)
    assert index.snapshot.manifest["format"] == ("korean-rag-2" if large else "korean-rag-1")
    found: Document = index.article(str(LONG.id))
    assert (found.page_content, found.metadata, found.id) == (LONG.page_content, LONG.metadata, LONG.id)
    assert index.article(str(OTHER.id)).page_content == OTHER.page_content
    index.delete([str(LONG.id)])
    with pytest.raises(KeyError, match=str(LONG.id)):
        index.article(str(LONG.id))


def test_what_a_source_quotes_is_found_again_in_its_article() -> None:
    passages = list(split_documents([LONG], max_chars=100, overlap=0))
    [source] = merge_passages([passages[4], passages[0], passages[1]])
    article = join_passages(passages).page_content
    assert [article[start:end] for start, end in spans_in_article(source)] == source.page_content.split("\n[…]\n")
    sentences = [source.page_content.index(passage.page_content[:6]) for passage in (passages[0], passages[4])]
    quoted = in_article(source, [(start, start + 6) for start in sentences])
    assert [article[start:end] for start, end in quoted] == [source.page_content[at : at + 6] for at in sentences]
    gap = source.page_content.index("[…]")
    assert in_article(source, [(gap - 5, gap + 8)]) == []
    assert in_article(passages[1], [(0, 3)]) == [(passages[1].metadata["start"], passages[1].metadata["start"] + 3)]
    assert in_article(Document("어디의 것인지 모르는 글"), [(0, 3)]) == []
