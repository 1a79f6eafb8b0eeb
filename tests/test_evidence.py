import pytest
from langchain_core.documents import Document

from rag_app.documents import make_document
from rag_app.evidence import gather_evidence, missing_words


@pytest.mark.parametrize(
    ("question", "texts", "share"),
    [
        ("국회 예산안", ["국회가 예산안을 의결했다.", "개막전이 잠실에서 열렸다."], 1.0),
        ("국회 개막전", ["국회가 예산안을 의결했다.", "개막전이 잠실에서 열렸다."], 0.5),  # of one passage, not of all
        ("국회는 언제 예산안을 의결했나요?", ["국회가 예산안을 의결했다."], 1.0),  # 언제 need not be there
        ("국회 예산안", ["날씨가 맑다."], 0.0),
        ("국회 예산안", ["?!", ""], 0.0),
        ("?!", ["국회가 예산안을 의결했다."], 0.0),
    ],
)
def test_the_words_that_a_passage_shares_with_the_question(question: str, texts: list[str], share: float) -> None:
    assert gather_evidence(question, [Document(text) for text in texts]).words == share


def test_a_title_is_part_of_its_passage() -> None:
    document = Document("예산안을 의결했다.", metadata={"title": "국회 본회의"})

    assert gather_evidence("국회 예산안", [document]).words == 1.0


def test_the_words_that_no_article_has_are_named_as_they_were_asked() -> None:
    documents = [Document("국회가 예산안을 의결했다."), Document("3월에 열렸다.", metadata={"title": "개막전"})]
    assert missing_words("국회에서 quantum 격자의, 예산안은 언제 통과됐나요? 격자의", documents) == [
        "quantum",
        "격자",
        "통과됐나요",
    ]
    assert missing_words("개막전은 언제 열렸나요?", documents) == []
    assert missing_words("?!", documents) == []
    assert missing_words("예산안", []) == ["예산안"]


def test_a_word_inside_a_longer_one_is_not_missing() -> None:
    document = make_document("제주시는 비자림로를 넓힐 필요가 있다고 말한다.")
    assert missing_words("제주 도로", [document]) == ["도로"]
