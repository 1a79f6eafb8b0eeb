import pytest
from langchain_core.documents import Document
from pydantic import ValidationError

from rag_app.collapsing import CollapseDuplicates, collapse_duplicates
from rag_app.documents import make_document
from rag_app.passages import split_documents

STORY = (
    "가온시는 3월 2일 시청 옆에 새 도서관을 열었다. 짓는 데 예산 120억 원이 들었고 장서는 모두 8만 권이다. "
    "시장은 개관식에서 주민이 가장 바라던 시설이라고 말했다. 도서관은 월요일을 빼고 매일 밤 9시까지 문을 연다."
)
REWRITTEN = STORY.replace("가온시는 3월 2일", "가온시가 지난 2일").replace("말했다.", "밝혔다.")
OTHER = "나루군은 올해 벚꽃 축제를 취소했다. 비가 많이 내려 행사장이 물에 잠겼기 때문이라고 군은 설명했다."


def article(text: str, source: str = "", date: str = "") -> Document:
    [passage] = split_documents([make_document(text, source=source, date=date, title=f"{source} 기사", section="사회")])
    return passage


def test_the_first_of_a_story_stays_and_names_the_others() -> None:
    found = [article(OTHER), article(REWRITTEN, "나루일보", "2025-03-03"), article(STORY, "가온통신", "2025-03-02")]
    before = [document.model_copy(deep=True) for document in found]
    collapsed = collapse_duplicates(found)
    assert [document.id for document in collapsed] == [found[0].id, found[1].id]
    assert collapsed[0] is found[0]
    assert collapsed[1].metadata["duplicates"] == [
        {"doc_id": found[2].id, "title": "가온통신 기사", "source": "가온통신", "date": "2025-03-02"}
    ]
    assert found == before


def test_what_nearly_repeats_a_document_that_was_collapsed_is_compared_with_the_one_that_stayed() -> None:
    words = STORY.split()
    half = len(words) // 3
    second = " ".join([*words[half:], *OTHER.split()[:half]])
    third = " ".join([*words[2 * half :], *OTHER.split()])
    found = [article(STORY), article(second), article(third)]
    kept = [document.id for document in collapse_duplicates(found)]
    assert kept == [found[0].id, found[2].id]
    assert [document.id for document in collapse_duplicates(found[1:])] == [found[1].id]  # as it repeats this one


def test_passages_of_one_article_are_never_collapsed() -> None:
    repeated = make_document(f"{STORY}\n\n{STORY} 끝.")
    passages = list(split_documents([repeated], max_chars=len(STORY) + 5, overlap=0))
    assert len(passages) == 2
    assert collapse_duplicates(passages) == passages
    [first, second] = collapse_duplicates([*passages, article(STORY)])
    assert [other["doc_id"] for other in first.metadata["duplicates"]] == [article(STORY).id]
    assert "duplicates" not in second.metadata


def test_two_passages_of_an_article_that_repeat_one_count_once() -> None:
    repeated = make_document(f"{STORY}\n\n{STORY} 끝.")
    [kept] = collapse_duplicates([article(STORY), *split_documents([repeated], max_chars=len(STORY) + 5, overlap=0)])
    assert len(kept.metadata["duplicates"]) == 1


def test_the_same_words_with_other_numbers_are_another_story() -> None:
    def weather(day: int, low: int, high: int, rain: int) -> str:
        return (
            f"가온시는 {day}일 아침 최저 기온이 {low}도, 낮 최고 기온이 {high}도로 예보됐다. "
            f"기상청은 이날 낮부터 밤까지 {rain}mm의 비가 내리겠다고 밝혔다. "
            "바다의 물결은 앞바다에서 높게 일겠고 밤에는 안개가 짙게 끼는 곳이 있겠다."
        )

    found = [article(weather(2, 14, 23, 30)), article(weather(3, 9, 17, 5))]
    assert collapse_duplicates(found) == found
    added = f"{weather(2, 14, 23, 30)} 내일은 3mm가 더 온다."
    assert len(collapse_duplicates([article(weather(2, 14, 23, 30)), article(added)])) == 1


def test_documents_without_ids_are_articles_of_their_own() -> None:
    [kept] = collapse_duplicates([Document(STORY), Document(REWRITTEN, metadata={"url": "https://example.org"})])
    assert kept.metadata["duplicates"] == [{"url": "https://example.org"}]


def test_the_compressor_collapses_and_takes_no_options() -> None:
    found = [article(STORY), article(REWRITTEN), article(OTHER)]
    assert CollapseDuplicates().compress_documents(found, "도서관은?") == collapse_duplicates(found)
    assert CollapseDuplicates().compress_documents([], "도서관은?") == []
    with pytest.raises(ValidationError):
        CollapseDuplicates.model_validate({"threshold": 0.5})


@pytest.mark.fault(10, "Where near-duplicates are grouped, a copy with the answer changed made the original disappear.")
@pytest.mark.parametrize(("right", "wrong"), [("120억", "340억"), ("도서관", "수영장"), ("월요일", "목요일")])
def test_a_copy_with_another_answer_does_not_stand_for_the_original(right: str, wrong: str) -> None:
    found = [article(STORY.replace(right, wrong), "나루일보"), article(STORY, "가온통신")]
    assert collapse_duplicates(found) == found


def test_who_reports_and_headings_make_no_other_story() -> None:
    told = [
        article(f"(가온=나루통신) 김한빛 기자 = {REWRITTEN}"),
        article(f"[나루=다온뉴스] 박다온 특파원 = {STORY}"),
        article(f"[단독] {STORY} (종합)"),
    ]
    [kept] = collapse_duplicates(told)
    assert len(kept.metadata["duplicates"]) == 2
