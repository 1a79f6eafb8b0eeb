from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding

from rag_app.documents import load_documents, make_document
from rag_app.files.places import PLACES, Part, numbered
from rag_app.index import build_index
from rag_app.korean import normalise
from rag_app.merging import GAP, merge_passages, place_of
from rag_app.passages import split_documents
from tests.office_files import write_docx, write_pdf

RAIN = "기상청은 주말에 비가 온다고 예보했다."
VOTE = "국회는 내년 예산안을 의결했다."
BANK = "은행이 금리를 내렸다."


def place(passage: Document) -> dict[str, Any]:
    units = ("page", "last_page", "paragraph", "last_paragraph")
    return {key: value for key, value in passage.metadata.items() if key in units}


def test_passages_of_a_pdf_know_their_pages(tmp_path: Path) -> None:
    (article,) = load_documents(write_pdf(tmp_path / "a.pdf", "비", [RAIN, "", VOTE, BANK]))
    (whole,) = split_documents([article])
    assert place(whole) == {"page": 1, "last_page": 4}
    first, second = split_documents([article], max_chars=35, overlap=0)
    assert (first.page_content, place(first)) == (RAIN, {"page": 1})
    assert (second.page_content, place(second)) == (f"{VOTE}\n\n{BANK}", {"page": 3, "last_page": 4})
    assert PLACES not in second.metadata
    assert article.metadata[PLACES] == [[0, {"page": 1}], [23, {"page": 3}], [42, {"page": 4}]]


def test_paragraphs_of_a_document_are_numbered_without_the_blank_ones(tmp_path: Path) -> None:
    (article,) = load_documents(write_docx(tmp_path / "a.docx", "비", [RAIN, "", " ", VOTE]))
    assert article.page_content == f"{RAIN}\n\n{VOTE}"
    assert [place(passage) for passage in split_documents([article], max_chars=30)] == [
        {"paragraph": 1},
        {"paragraph": 2},
    ]


LINES = st.text(alphabet=st.sampled_from("가ᄀ나\u0301 \u3000\t\n\r\u2029\u200bA１。\x1f\ud800"), max_size=8)


@given(st.lists(LINES, min_size=1, max_size=6))
def test_each_part_stands_in_the_text_where_its_place_says(lines: list[str]) -> None:
    parts = numbered(lines)
    if not any(map(normalise, lines)):
        return
    article = make_document(parts)
    assert article.page_content == normalise("\n".join(lines))
    starts = [start for start, _ in article.metadata[PLACES]]
    ends = [*starts[1:], len(article.page_content)]
    stretches = [article.page_content[start:end].strip() for start, end in zip(starts, ends, strict=True)]
    assert stretches == [text for text in map(normalise, lines) if text]


def test_a_users_own_metadata_of_that_name_is_left_alone() -> None:
    for own in ("서울", [1, 2], [["a", {"page": 1}]], [[0, {"doc_id": 1}]], [[0, {"page": "일"}]], [[0]]):
        (passage,) = split_documents([make_document(RAIN, **{PLACES: own, "page": 7})])
        assert (passage.metadata[PLACES], passage.metadata["page"]) == (own, 7)


def test_a_merged_source_stands_where_its_best_passage_does_and_a_quote_where_it_was_found() -> None:
    article = make_document([Part(text, {"page": page}) for page, text in enumerate([RAIN, VOTE, BANK], start=1)])
    first, second, third = split_documents([article], max_chars=25, overlap=0)
    (merged,) = merge_passages([third, first])
    assert place(merged) == {"page": 3}
    assert merged.page_content == f"{RAIN}{GAP}{BANK}"
    assert place_of(merged, 0) == place_of(merged, len(RAIN) - 1) == {"page": 1}
    assert place_of(merged, merged.page_content.index(BANK)) == {"page": 3}
    (joined,) = merge_passages([second, first])
    assert [place_of(joined, joined.page_content.index(text)) for text in (RAIN, VOTE)] == [{"page": 1}, {"page": 2}]
    assert place_of(joined, len(RAIN)) == {"page": 1}  # white space between them
    assert place_of(second, 5) == {"page": 2}
    assert place_of(Document(page_content=RAIN), 5) == {}


def test_an_updated_index_keeps_what_did_not_move_and_learns_the_pages_of_old_documents(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", "비", [RAIN, VOTE])
    (article,) = load_documents(path)
    old = article.model_copy(update={"metadata": {k: v for k, v in article.metadata.items() if k != PLACES}})
    index = build_index(tmp_path / "index", [old], DeterministicFakeEmbedding(size=4))
    assert index.update(load_documents(path)).added == 1
    assert [place(passage) for passage in index.snapshot.store.documents.values()] == [{"page": 1, "last_page": 2}]
    assert index.update(load_documents(path)) == (0, 1, 0)
    moved = make_document(
        [Part(RAIN, {"page": 1}), Part("", {"page": 2}), Part(f"\n{VOTE}", {"page": 3})], **old.metadata
    )
    assert moved.id == article.id
    assert index.update([moved]).added == 1


def test_a_column_called_page_is_the_users(tmp_path: Path) -> None:
    row = make_document(RAIN, page=3, path="a.csv")
    index = build_index(tmp_path / "index", [row], DeterministicFakeEmbedding(size=4))
    assert index.update([row]).added == 0
    assert index.update([make_document(RAIN, page=4, path="a.csv")]).added == 1


@pytest.mark.parametrize("size", [20, 60, 1200])
def test_passages_still_say_where_they_stand(size: int, tmp_path: Path) -> None:
    (article,) = load_documents(write_pdf(tmp_path / "a.pdf", "비", [f"{RAIN} {VOTE}", BANK]))
    for passage in split_documents([article], max_chars=size):
        start, end = passage.metadata["start"], passage.metadata["end"]
        assert article.page_content[start:end] == passage.page_content
