"""A person says which article was the right one, reviews it, and takes the training data away."""

import json
from pathlib import Path

from rag_app.data import load_retrieval_data, sample_documents
from tests.browser.conftest import READABLE, Shot, Visit, ask, contrast

QUESTION = "한빛 3호 발사체에서 누출이 확인된 곳은 어디인가요?"
RIGHT = "날개 편 한빛 3호, 첫 사진은 경북 사과밭… 수명은 열 달 줄어"
SETTLED = "!document.querySelector('[data-stale=true], [data-testid=stSkeleton]')"
"""Whether nothing is about to be drawn anew."""
ELSEWHERE = "은하 관측소"


def test_feedback_is_given_reviewed_and_exported(visit: Visit, shot: Shot, tmp_path: Path) -> None:
    page = visit()
    ask(page, QUESTION)

    # A thumbs-down asks for the right article: on the cards, or any other of the index.
    page.get_by_role("radio", name="아쉬워요").click()
    page.get_by_role("button", name="이 기사가 맞습니다").first.wait_for()
    page.get_by_role("button", name="맞는 기사 고르기").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("radio", name="다른 기사를 찾았어야 합니다").click()
    words = dialog.get_by_role("textbox", name="다른 기사 찾기")
    words.fill(ELSEWHERE)
    words.press("Enter")
    found = dialog.get_by_role("radio", name="별 하나에 탄성 하나")
    found.wait_for()
    shot(page, "feedback-dialog")
    dialog.get_by_role("radio", name="날개 편 한빛 3호").check(force=True)
    dialog.get_by_role("button", name="저장").click()
    page.get_by_role("button", name="맞는 기사: 날개 편").wait_for()
    shot(page, "feedback-thumbs")

    # A reload finds both.
    page.reload()
    page.get_by_role("button", name="맞는 기사: 날개 편").wait_for()
    assert page.get_by_role("radio", name="아쉬워요").get_attribute("aria-checked") == "true"

    # The review: an article that may answer as well is no negative; accepted by a key.
    page.get_by_role("link", name="피드백").click()
    page.get_by_role("heading", name="답이 아닌 기사").wait_for()
    page.locator(".passage").first.wait_for()
    page.get_by_role("checkbox", name="한빛 3호 궤도 안착").uncheck(force=True)
    page.get_by_role("checkbox", name="한빛 3호 궤도 안착", checked=False).wait_for()
    page.set_viewport_size({"width": 1280, "height": 1800})
    page.wait_for_function(SETTLED)
    shot(page, "feedback-review")
    page.get_by_role("heading", level=1).click()
    page.keyboard.press("a")
    page.get_by_text("새로 온 피드백을 모두 검토했습니다").wait_for()

    # What was accepted is a data set.
    with page.expect_download() as download:
        page.get_by_role("button", name="승인한 1건 내보내기").click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    data = load_retrieval_data(path)
    (question,) = data.questions
    titles = {str(article.id): article.metadata["title"] for article in sample_documents()}
    assert question.text == QUESTION
    assert [titles[doc_id] for doc_id in question.relevant] == [RIGHT]
    wrong = {titles[doc_id] for doc_id in question.negatives}
    assert "한빛 3호 발사 14시간 앞두고 연기… 헬륨이 샜다" in wrong
    assert not any(title.startswith("한빛 3호 궤도") for title in wrong)
    assert json.loads(path.read_text("utf-8"))["origin"] == "feedback"


def test_the_review_fits_a_phone_in_the_dark_and_in_english(visit: Visit, shot: Shot) -> None:
    page = visit(390, dark=True, path="?lang=en")
    ask(page, "두루시민축구단 김도윤 감독은 무엇을 약속했나요?")
    page.get_by_role("radio", name="Good", exact=True).click()
    page.get_by_role("radio", name="Good", exact=True, checked=True).wait_for()
    shot(page, "feedback-thumbs-phone-dark")
    page = visit(390, dark=True, path="feedback?lang=en")
    page.get_by_role("heading", name="The right article").wait_for()
    page.get_by_role("button", name="Reject").wait_for()
    page.set_viewport_size({"width": 390, "height": 2200})
    page.get_by_role("checkbox").nth(3).wait_for()
    page.get_by_role("combobox", name="The sentence that answers").wait_for()
    page.wait_for_function(SETTLED)
    shot(page, "feedback-review-phone-dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert contrast(page, ".st-key-feedback-entries button p") >= READABLE
