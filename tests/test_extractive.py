import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from rag_app.extractive import Extract, SentenceWeights, cosines, find_candidates, rank_sentences, select_sentences
from rag_app.merging import GAP

LIBRARY = "가온시는 3월 2일 새 도서관을 열었다. 도서관은 시청 옆에 있다. 짓는 데 예산 120억 원이 들었다."
FESTIVAL = "나루군은 올해 벚꽃 축제를 취소했다. 비가 많이 내려 행사장이 잠겼기 때문이다."
DOCUMENTS = [Document(LIBRARY, metadata={"doc_id": "a"}), Document(FESTIVAL, metadata={"doc_id": "b"})]


class LetterEmbeddings(Embeddings):
    """Counts of a few letters: a meaning one can compute by hand."""

    letters = "가나다라"

    def __init__(self) -> None:
        self.embedded: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.embedded.extend(texts)
        return [[float(text.count(letter)) for letter in self.letters] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return [float(text.count(letter)) for letter in self.letters]


def extract(text: str, probability: float = 0.1, document: int = 0) -> Extract:
    return Extract(document, 0, len(text), text, probability)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("가온시 도서관은 언제 열었나요?", "가온시는 3월 2일 새 도서관을 열었다."),
        ("도서관은 어디 옆에 있나요?", "도서관은 시청 옆에 있다."),
        ("도서관을 짓는 데 예산이 얼마나 들었나요?", "짓는 데 예산 120억 원이 들었다."),
        ("나루군이 취소한 축제는?", "나루군은 올해 벚꽃 축제를 취소했다."),
    ],
)
def test_the_sentence_that_answers_comes_first(question: str, answer: str) -> None:
    assert rank_sentences(question, DOCUMENTS)[0].text == answer


def test_every_extract_is_the_passage_between_its_offsets() -> None:
    ranked = rank_sentences("축제는 왜 취소됐나요?", DOCUMENTS)
    assert len(ranked) == 5
    assert all(DOCUMENTS[e.document].page_content[e.start : e.end] == e.text for e in ranked)
    assert {e.document for e in ranked} == {0, 1}


def test_what_has_no_words_is_never_quoted() -> None:
    gap = Document(f"***\n{LIBRARY}{GAP}{FESTIVAL}")
    ranked = rank_sentences("축제는 왜 취소됐나요?", [gap])
    assert len(ranked) == 5
    assert not any("…" in e.text or "*" in e.text for e in ranked)
    assert all(gap.page_content[e.start : e.end] == e.text for e in ranked)
    assert rank_sentences("축제는?", [Document("***")]) == []


def test_probabilities_fall_and_add_up_to_one() -> None:
    probabilities = [e.probability for e in rank_sentences("축제는 왜 취소됐나요?", DOCUMENTS)]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1)


def test_decomposed_hangul_ranks_like_composed() -> None:
    import unicodedata

    question = "가온시 도서관은 언제 열었나요?"
    assert rank_sentences(unicodedata.normalize("NFD", question), DOCUMENTS) == rank_sentences(question, DOCUMENTS)


def test_a_question_for_a_time_prefers_a_sentence_with_one() -> None:
    document = Document("도서관이 문을 열었다. 도서관이 1998년 문을 열었다.")
    assert "1998년" in rank_sentences("도서관은 언제 문을 열었나요?", [document])[0].text
    assert "1998년" not in rank_sentences("도서관은 누가 문을 열었나요?", [document])[0].text


def test_the_better_passage_wins_between_equal_sentences() -> None:
    documents = [Document("도서관이 문을 열었다.", id="1"), Document("도서관이 문을 열었다.", id="2")]
    assert [e.document for e in rank_sentences("도서관은?", documents)] == [0, 1]


def test_a_neighbour_that_names_the_subject_lifts_a_sentence() -> None:
    found = find_candidates(
        "가온시 도서관 예산", [Document("가온시 도서관이 열렸다. 백억이 들었다."), Document("백억이 들었다.")]
    )
    column = SentenceWeights._fields.index("neighbours")
    assert [e.text for e in found.sentences] == ["가온시 도서관이 열렸다.", "백억이 들었다.", "백억이 들었다."]
    assert found.features[1, column] > 0
    assert found.features[2, column] == 0  # neighbours are of the same passage


def test_meaning_decides_where_words_do_not() -> None:
    documents = [Document("나나나. 다다다.")]
    assert [e.text for e in rank_sentences("다", documents, LetterEmbeddings())] == ["다다다.", "나나나."]
    assert [e.text for e in rank_sentences("나", documents, LetterEmbeddings())] == ["나나나.", "다다다."]


def test_only_a_shortlist_is_embedded() -> None:
    embeddings = LetterEmbeddings()
    text = " ".join(f"가온시가 {n}번째 소식을 전했다." for n in range(60))
    ranked = rank_sentences("가온시 소식", [Document(text)], embeddings)
    assert len(ranked) == len(embeddings.embedded) == 24


def test_the_context_tells_what_a_leaning_question_is_about() -> None:
    documents = [Document("나루군 축제의 예산은 3억 원이다. 가온시 도서관의 예산은 120억 원이다.")]
    question = "예산은 얼마인가요?"
    assert "나루군" in rank_sentences(question, documents, context=f"나루군 축제는 언제인가요? {question}")[0].text
    assert "가온시" in rank_sentences(question, documents, context=f"가온시 도서관은 어디 있나요? {question}")[0].text


def test_nothing_to_rank_gives_nothing() -> None:
    assert rank_sentences("질문?", []) == []
    assert rank_sentences("질문?", [Document("")]) == []
    assert select_sentences([]) == []


def test_a_question_without_any_word_still_ranks() -> None:
    assert len(rank_sentences("?!", DOCUMENTS)) == 5


def test_a_near_repeat_is_not_quoted_twice() -> None:
    first, repeat, other = (
        "가온시는 3월 2일 새 도서관을 열었다.",
        "가온시는 3월 2일 새 도서관을 열었다고 한다.",
        "비가 왔다.",
    )
    chosen = select_sentences([extract(first), extract(repeat, document=1), extract(other)])
    assert [e.text for e in chosen] == [first, other]


def test_no_more_is_quoted_than_needed_or_allowed() -> None:
    texts = ["하나는 사과다.", "둘째 날 비가 왔다.", "셋이 모여 걸었다.", "네 시에 끝났다."]
    assert len(select_sentences([extract(text) for text in texts], 3)) == 3
    assert len(select_sentences([extract(texts[0], 0.95), *(extract(text, 0.01) for text in texts[1:])])) == 2


def test_a_zero_vector_has_cosine_zero() -> None:
    assert np.array_equal(cosines("가", ["가", "하"], LetterEmbeddings()), [1.0, 0.0])
    assert np.array_equal(cosines("하", ["가"], LetterEmbeddings()), [0.0])


def test_a_number_is_asked_for_with_its_counter() -> None:
    text = "회의는 3월 2일 오전 9시에 열렸다. 이 자리에는 2만여 명이 모였다. 장소는 시청 앞이었다."
    [best, *_] = rank_sentences("시청 앞 회의에는 몇 명이 모였나요?", [Document(page_content=text)])
    assert best.text == "이 자리에는 2만여 명이 모였다."
