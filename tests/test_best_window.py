"""Reading the sentences of a long passage that match the question: which, how many, and that none is cut."""

import unicodedata
from collections.abc import Sequence

import pytest
from langchain_core.documents import Document

from rag_app.reranking.best_window import best_windows, read_through

TEXT = (
    "첫 문장은 인사말이다. 나로호는 고흥에서 발사됐다! 날씨는 맑았다. 바람은 약했다. 누리호도 고흥에서 발사됐다. "
    "끝으로 감사하다."
)


def words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def windows(question: str, limit: int, text: str = TEXT, **metadata: str) -> list[str] | None:
    """Return the parts that are read, None if all is."""
    document = Document(page_content=text, metadata=metadata)
    found = best_windows(question, [document], limit, words).get(0)
    return None if found is None else [text[start:end] for start, end in found]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (5, ["누리호도 고흥에서 발사됐다."]),
        (8, ["나로호는 고흥에서 발사됐다!", "누리호도 고흥에서 발사됐다."]),
        (10, ["나로호는 고흥에서 발사됐다!", "바람은 약했다. 누리호도 고흥에서 발사됐다."]),  # what stands beside it
        (17, None),
    ],
)
def test_the_sentences_that_match_are_read_as_far_as_there_is_room(limit: int, expected: list[str] | None) -> None:
    assert windows("누리호 발사됐나", limit) == expected


def test_a_rare_bigram_counts_more_than_one_that_is_everywhere() -> None:
    text = "고흥 고흥 군청. 고흥 고흥 읍내. 고흥 고흥 항구. 위성 발사 소식. 고흥 고흥 들판."

    assert windows("고흥 위성?", 5, text) == ["위성 발사 소식."]


def test_question_and_title_take_up_room() -> None:
    assert windows("누리호 발사됐나", 17) is None
    assert windows("누리호 발사됐나", 18, title="우주 항공") is not None
    assert windows("누리호 발사됐나", 19, title="우주 항공") is None


def test_a_title_that_fills_the_window_leaves_a_quarter_for_the_text() -> None:
    assert windows("누리호", 12, title="긴 " * 20) == ["누리호도 고흥에서 발사됐다."]


def test_a_text_in_decomposed_hangul_matches_likewise() -> None:
    expected = [unicodedata.normalize("NFD", "누리호도 고흥에서 발사됐다.")]

    assert windows("누리호 발사됐나", 5, unicodedata.normalize("NFD", TEXT)) == expected


def test_a_question_without_a_match_reads_the_beginning() -> None:
    assert windows("zzz", 4) == ["첫 문장은 인사말이다."]
    assert windows("?!", 4) == ["첫 문장은 인사말이다."]


def test_a_sentence_longer_than_the_window_is_cut_between_words() -> None:
    text = " ".join(f"낱말{number}" for number in range(200)) + " 누리호 " + "뒤에 오는 말 " * 50

    [part] = windows("누리호", 20, text) or [""]

    assert "누리호" in part.split()
    assert 10 <= len(part.split()) <= 20
    assert set(part.split()) <= set(text.split())


def test_a_text_without_spaces_is_cut_where_it_has_to_be() -> None:
    text = "가" * 500 + "누리호" + "나" * 500

    found = best_windows("누리호", [Document(page_content=text)], 60, lambda texts: [len(t) for t in texts])

    assert "누리" in read_through(text, found[0])
    assert sum(end - start for start, end in found[0]) <= 57


def test_each_of_several_documents_is_judged_by_its_own_length() -> None:
    documents = [Document(page_content=text) for text in ("짧다.", TEXT, "누리호. " * 3, TEXT * 2)]
    calls = []

    def measure(texts: Sequence[str]) -> list[int]:
        calls.append(texts)
        return words(texts)

    assert list(best_windows("누리호 발사됐나", documents, 12, measure)) == [1, 3]
    assert len(calls) == 1


def test_spans_say_where_the_parts_stand() -> None:
    found = best_windows("누리호 발사됐나", [Document(page_content=TEXT)], 8, words)[0]

    assert read_through(TEXT, found) == "나로호는 고흥에서 발사됐다! 누리호도 고흥에서 발사됐다."
    assert list(found) == sorted(found)
