import pytest

from eval.known_items import known_items
from rag_app.documents import make_document

SENTENCES = (
    "조사선 가온호가 남해에서 해저 지형을 조사했다고 밝혔다.",
    "선원 스물두 명이 석 달 동안 배에서 지냈다고 한다.",
    "다음 조사는 내년 봄에 동해에서 시작될 예정이다.",
)
BOILERPLATE = "이 기사의 무단 전재와 재배포를 금지합니다."


def test_a_title_is_asked_for_and_left_out_of_the_text() -> None:
    article = make_document("# 쌀 수확량 감소\n올해 쌀이 줄었다.", title="쌀 수확량 감소", section="경제")
    data = known_items([article, make_document("은행이 금리를 내렸다.", title="금리 인하")])
    assert [question.text for question in data.questions] == ["쌀 수확량 감소", "금리 인하"]
    [rice, bank] = data.passages.values()
    assert rice.page_content == "올해 쌀이 줄었다."
    assert (rice.metadata["section"], "title" in rice.metadata) == ("경제", False)
    assert bank.page_content == "은행이 금리를 내렸다."
    assert [question.relevant for question in data.questions] == [{rice.id}, {bank.id}]
    assert article.metadata["title"] == "쌀 수확량 감소"


def test_articles_of_one_title_share_a_question() -> None:
    data = known_items([make_document("맑겠다.", title="오늘의 날씨"), make_document("흐리겠다.", title="오늘의 날씨")])
    [question] = data.questions
    assert question.relevant == data.passages.keys()
    assert len(data.passages) == 2


def test_an_article_without_a_title_is_asked_for_by_a_sentence_that_it_loses() -> None:
    articles = [
        make_document(" ".join([*SENTENCES, BOILERPLATE])),
        make_document(f"다른 기사다. 문장이 세 개가 넘는다. 하지만 모두 짧다. {BOILERPLATE}"),
    ]
    asked = set()
    for seed in range(20):
        data = known_items(articles, seed=seed)
        [question] = data.questions
        [doc_id] = question.relevant
        asked.add(question.text)
        left = " ".join(sentence for sentence in [*SENTENCES, BOILERPLATE] if sentence != question.text)
        assert data.passages[doc_id].page_content == left
        assert list(data.passages.values())[1].page_content == articles[1].page_content
        assert data == known_items(articles, seed=seed)
    assert asked == set(SENTENCES)  # and never what both articles end with


def test_articles_that_give_no_question_are_refused() -> None:
    with pytest.raises(ValueError, match=r"None of the 1 articles gives a question.*--title-column"):
        known_items([make_document(SENTENCES[0])])
