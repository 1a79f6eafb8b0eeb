from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_classic.retrievers.document_compressors import DocumentCompressorPipeline
from langchain_core.documents import Document
from pydantic import ValidationError

from rag_app.collapsing import CollapseDuplicates
from rag_app.compressors import load_reranker
from rag_app.documents import make_document
from rag_app.merging import GAP, MergePassages, merge_passages
from rag_app.passages import split_documents
from rag_app.stages import with_stage

SENTENCES = [f"가온시는 {number}월에 {number}번째 도서관을 열었다." for number in range(1, 10)]
ARTICLE = make_document(" ".join(SENTENCES), title="도서관")
OTHER = make_document("나루군은 벚꽃 축제를 취소했다.", title="축제")


def passages(overlap: int = 0) -> list[Document]:
    """The article in passages of two sentences; with an overlap, each begins with the last one of the one before."""
    return list(split_documents([ARTICLE], max_chars=50, overlap=overlap))


def scored(*documents: Document) -> list[Document]:
    return [with_stage(document, "rerank", rank, 1 - rank / 10) for rank, document in enumerate(documents, 1)]


def spans(document: Document) -> list[tuple[int, int]]:
    return [(span["start"], span["end"]) for span in document.metadata["spans"]]


def test_one_result_per_article_in_the_order_of_the_best_passages() -> None:
    first, second, third, *_ = passages()
    [other] = split_documents([OTHER])
    found = scored(third, other, first)
    merged = merge_passages(found)
    assert [document.metadata["title"] for document in merged] == ["도서관", "축제"]
    best = merged[0]
    assert best.id == third.id
    assert best.metadata["score"] == 0.9
    assert best.metadata["stages"] == {"rerank": {"rank": 1, "score": 0.9}}
    assert best.metadata["passages"] == [
        {"start": first.metadata["start"], "end": first.metadata["end"], "score": pytest.approx(0.7)},
        {"start": third.metadata["start"], "end": third.metadata["end"], "score": 0.9},
    ]
    assert best.page_content == f"{first.page_content}{GAP}{third.page_content}"
    assert second.page_content not in best.page_content
    assert merged[1].page_content == OTHER.page_content


def test_overlapping_passages_show_their_sentences_once() -> None:
    first, second, third, *_ = passages(overlap=1)
    assert second.page_content.startswith(SENTENCES[1])
    [merged] = merge_passages(scored(second, third, first))
    assert merged.page_content == " ".join(SENTENCES[:4])
    assert spans(merged) == [(0, len(merged.page_content))]
    assert (merged.metadata["start"], merged.metadata["end"]) == (0, len(merged.page_content))


def test_adjacent_passages_are_joined_by_what_stood_between_them() -> None:
    first, second, *_ = passages()
    [merged] = merge_passages([second, first])
    assert merged.page_content == " ".join(SENTENCES[:4])
    paragraphs = make_document("가나다라 마바사.\n\n아자차카 타파하.")
    [merged] = merge_passages(list(split_documents([paragraphs], max_chars=10, overlap=0)))
    assert merged.page_content == paragraphs.page_content
    unbroken = make_document("가" * 25)
    [merged] = merge_passages(list(split_documents([unbroken], max_chars=10, overlap=0)))
    assert merged.page_content == unbroken.page_content


def test_a_passage_inside_another_adds_nothing() -> None:
    [whole] = split_documents([ARTICLE])
    [merged] = merge_passages([whole, *passages()])
    assert merged.page_content == ARTICLE.page_content
    assert len(merged.metadata["passages"]) == 6


def test_the_best_passage_is_always_shown_and_others_as_far_as_they_fit() -> None:
    found = passages()
    assert [d.page_content for d in merge_passages(found[::-1], max_chars=1)] == [found[-1].page_content]
    apart = f"{found[0].page_content}{GAP}{found[3].page_content}"
    [merged] = merge_passages([found[0], found[3], found[1]], max_chars=len(apart))
    assert merged.page_content == apart
    [merged] = merge_passages([found[0], found[3], found[1]], max_chars=len(apart) - 1)
    assert merged.page_content == " ".join(SENTENCES[:4])  # the better one does not fit with its gap
    assert len(merged.metadata["passages"]) == 3  # it was found all the same


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_what_a_merged_text_shows_is_what_stands_in_the_article(data: st.DataObject) -> None:
    cut = passages(overlap=data.draw(st.integers(0, 1)))
    found = data.draw(st.lists(st.sampled_from(cut), min_size=1, unique_by=lambda passage: passage.id))
    max_chars = data.draw(st.integers(1, 300))
    [merged] = merge_passages(found, max_chars=max_chars)
    stretches = [ARTICLE.page_content[start:end] for start, end in spans(merged)]
    assert merged.page_content == GAP.join(stretches)
    assert found[0].page_content in merged.page_content
    assert len(merged.page_content) <= max(max_chars, len(found[0].page_content))
    assert (merged.metadata["start"], merged.metadata["end"]) == (spans(merged)[0][0], spans(merged)[-1][1])
    assert all(one[1] < another[0] for one, another in combinations(spans(merged), 2))
    if max_chars == 300:
        assert all(passage.page_content in merged.page_content for passage in found)


@pytest.mark.parametrize("places", [[2, 0], [2, 1], [2, 3], [2, 5], [2, 0, 4, 1]])
@pytest.mark.parametrize("overlap", [0, 1])
def test_the_rerankers_windows_count_in_the_merged_text(places: list[int], overlap: int) -> None:
    found = [passages(overlap)[place] for place in places if place < len(passages(overlap))]
    start = found[0].page_content.index("도서관")
    best = with_stage(found[0], "rerank", 1, 0.9, windows=[[0, 2], [start, start + 3]])
    [merged] = merge_passages([best, *found[1:]])
    windows = merged.metadata["stages"]["rerank"]["windows"]
    assert [merged.page_content[first:last] for first, last in windows] == ["가온", "도서관"]
    assert merged.page_content[: windows[1][1]].endswith(found[0].page_content[: start + 3])
    assert best.metadata["stages"]["rerank"]["windows"] == [[0, 2], [start, start + 3]]


def test_what_repeats_any_of_the_passages_repeats_the_article() -> None:
    first, second, third, *_ = passages()
    wire, daily = {"doc_id": "가", "source": "가온통신"}, {"doc_id": "나"}
    first.metadata["duplicates"] = [wire]
    third.metadata["duplicates"] = [daily, wire]
    [merged] = merge_passages([second, first, third])
    assert merged.metadata["duplicates"] == [wire, daily]
    [merged] = merge_passages([second])
    assert "duplicates" not in merged.metadata


def test_documents_that_do_not_say_where_they_stand_stay_as_they_are() -> None:
    foreign = [
        Document("가", metadata={"doc_id": "a"}),
        Document("나", metadata={"doc_id": "a"}),
        Document("다"),
        Document("라", metadata={"doc_id": "a", "start": 0, "end": 100}),
        Document("마", metadata={"doc_id": "a", "start": "0", "end": "1"}),
    ]
    assert merge_passages(foreign) == foreign


def test_merging_twice_changes_nothing_and_the_passages_given_are_left_alone() -> None:
    found = scored(*passages()[::2])
    before = [document.model_copy(deep=True) for document in found]
    once = merge_passages(found)
    assert merge_passages(once) == once
    assert found == before


def test_the_compressor_merges_and_refuses_what_makes_no_sense() -> None:
    found = scored(*passages())
    assert MergePassages().compress_documents(found, "도서관은?") == merge_passages(found)
    assert MergePassages(max_chars=1).compress_documents(found, "도서관은?") == merge_passages(found, max_chars=1)
    assert MergePassages().compress_documents([], "도서관은?") == []
    for wrong in ({"max_chars": 0}, {"chars": 3}):
        with pytest.raises(ValidationError):
            MergePassages.model_validate(wrong)


def test_it_stands_behind_collapsing_and_a_reranker_in_a_pipeline(tiny_linear_reranker: Path) -> None:
    reranker = load_reranker(tiny_linear_reranker, top_n=None)
    pipeline = DocumentCompressorPipeline(transformers=[CollapseDuplicates(), reranker, MergePassages()])
    [copied] = split_documents([make_document(f"{passages()[1].page_content}!", source="가온통신")])
    result = pipeline.compress_documents([*passages(), *split_documents([OTHER]), copied], "벚꽃 축제는?")
    assert [document.metadata["title"] for document in result] == ["축제", "도서관"]
    assert result[1].page_content == ARTICLE.page_content
    assert [other["source"] for other in result[1].metadata["duplicates"]] == ["가온통신"]


async def test_it_serves_async_callers() -> None:
    found = scored(*passages())
    assert await MergePassages().acompress_documents(found, "도서관은?") == merge_passages(found)
