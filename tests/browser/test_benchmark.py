"""A benchmark is run, stopped and resumed from the page, and what it got wrong is opened in the chat."""

import csv
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import READABLE, Served, Shot, Visit, contrast, settle

TALL = 3200
WRONG = "가람호수는 얼마나 깊은가요?"
SLOW = 90_000
"""Milliseconds that a benchmark of the sample may take beside other work."""


def open_form(visit: Visit) -> Page:
    page = visit(path="benchmark")
    form = page.locator("details").filter(has_text="새로 재기").first
    form.wait_for()
    if form.get_attribute("open") is None:  # it is open where nothing has been measured yet
        form.locator("summary").first.click()
    page.get_by_role("button", name="재기 시작").wait_for()
    return page


def start(page: Page) -> None:
    page.get_by_role("button", name="재기 시작").click()


def keep_first_system(page: Page) -> None:
    """Take all systems but the first out of the choice, by the keyboard."""
    box = page.get_by_role("combobox", name="견줄 검색 방식")
    box.focus()
    for name in ("낱말+뜻+재순위 (hybrid+rerank)", "낱말+뜻 (hybrid)", "뜻만 (base)"):
        box.press("Backspace")
        expect(page.get_by_role("button", name=f"Remove {name}", exact=True)).to_have_count(0)


def test_a_benchmark_is_stopped_found_again_and_resumed_and_a_question_it_got_wrong_opens_in_the_chat(
    visit: Visit, shot: Shot, served: Served
) -> None:
    page = visit(path="benchmark")
    page.get_by_text("아직 잰 것이 없습니다").wait_for()
    start(page)
    page.get_by_text("질문하는 중입니다").wait_for(timeout=SLOW)
    expect(page.get_by_role("progressbar")).to_have_count(4)
    shot(page, "benchmark-progress")
    page.reload()
    page.get_by_role("button", name="멈추기").click()
    page.get_by_text("멈췄습니다.").wait_for()
    page.get_by_text("질문 177개 중").first.wait_for()
    page.get_by_role("button", name="이어서 하기").click()
    page.get_by_text("가장 높습니다.").wait_for(timeout=SLOW)
    (log,) = served.home.glob("reports/*/log.txt")
    assert "Going on with the benchmark that was interrupted" in log.read_text("utf-8")

    rows = page.locator("table.benchmark tbody tr")
    expect(rows).to_have_count(4)
    assert {row.locator("th").inner_text() for row in rows.all()} == {
        "낱말만 (lexical)",
        "뜻만 (base)",
        "낱말+뜻 (hybrid)",
        "낱말+뜻+재순위 (hybrid+rerank)",
    }
    expect(page.get_by_test_id("stVegaLiteChart").locator("canvas, svg").first).to_be_visible()
    page.set_viewport_size({"width": 1280, "height": TALL})
    shot(page, "benchmark-result")
    with page.expect_download() as downloading:
        page.get_by_role("button", name="보고서 내려받기").click()
    assert "<html" in downloading.value.path().read_text("utf-8")

    settle(page)
    question = page.locator(".asked .heading").first.inner_text()
    page.get_by_role("button", name="채팅에서 열기").first.click()
    expect(page.get_by_test_id("stChatMessage").nth(0)).to_contain_text(question)
    page.get_by_test_id("stChatMessage").nth(1).locator(".source").first.wait_for(state="attached")
    page.get_by_role("link", name="평가").click()
    page.get_by_text("가장 높습니다.").wait_for()

    for dark in (False, True):
        phone = visit(390, dark=dark, path="benchmark")
        phone.get_by_role("button", name="채팅에서 열기").first.wait_for()
        assert phone.evaluate("document.documentElement.scrollWidth") == 390
        assert contrast(phone, "table.benchmark small") >= READABLE
        assert contrast(phone, ".asked dt") >= READABLE
        phone.set_viewport_size({"width": 390, "height": TALL})
        shot(phone, f"benchmark-phone{'-dark' * dark}")

    english = visit(path="benchmark?lang=en")
    english.get_by_role("button", name="Open in compare").first.wait_for()
    settle(english)
    english.get_by_role("button", name="Open in compare").first.click()
    english.get_by_role("heading", name="Compare").wait_for()
    expect(english.get_by_role("textbox", name="Question")).to_have_value(question)


def test_one_s_own_questions_are_measured_and_an_index_of_their_articles_is_built_to_open_them(
    visit: Visit, shot: Shot, served: Served, tmp_path: Path
) -> None:
    path = tmp_path / "호수 질문.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "context", "title"])
        writer.writerow(["가람호수의 깊이는 몇 미터인가요?", "가람호수의 깊이는 30미터로 측정됐다.", "가람호수"])
        writer.writerow([WRONG, "누리연구소가 지난해 물을 조사했다.", "<b>누리연구소</b> ![x](y)"])
    page = open_form(visit)
    page.get_by_text("파일 올리기", exact=True).click()
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(path)
    keep_first_system(page)
    start(page)
    page.get_by_text("질문 2개 · 기사 2건").wait_for(timeout=SLOW)
    expect(page.locator(".asked")).to_have_count(1)
    expect(page.locator(".asked")).to_contain_text("<b>누리연구소</b> ![x](y)")
    expect(page.get_by_role("button", name="채팅에서 열기")).to_be_disabled()
    page.get_by_role("button", name="이 자료로 색인 만들기").click()
    page.get_by_role("button", name="채팅에서 열기").and_(page.locator(":enabled")).click()
    expect(page.get_by_test_id("stChatMessage").nth(0)).to_contain_text(WRONG)
    page.get_by_test_id("stChatMessage").nth(1).locator(".source").first.wait_for(state="attached")
    expect(page.get_by_test_id("stSidebar")).to_contain_text("호수-질문")
    assert (served.home / "indexes" / "호수-질문" / "manifest.json").exists()
    shot(page, "benchmark-opened-in-chat")


def test_data_that_cannot_be_read_are_explained(visit: Visit, shot: Shot, tmp_path: Path) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text('{"question": "무엇인가요?", "context": "글"}\n{"question": <b>!\n', "utf-8")
    page = open_form(visit)
    page.get_by_text("이 컴퓨터의 파일이나 폴더").click()
    box = page.get_by_role("textbox", name="파일이나 폴더의 경로")
    box.fill(str(path))
    box.press("Enter")
    keep_first_system(page)
    start(page)
    error = page.get_by_test_id("stAlert").filter(has_text="재지 못했습니다")
    expect(error).to_contain_text("broken.jsonl", timeout=SLOW)
    expect(error).to_contain_text("line 2")
    shot(page, "benchmark-broken-data")
    page.get_by_role("button", name="이 결과 지우기").click()
    page.get_by_role("button", name="지우기", exact=True).click()
    expect(error).to_have_count(0)
