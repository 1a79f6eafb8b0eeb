"""Files become articles that can be asked about, searched, deleted; indexes are made, chosen, renamed and deleted."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import READABLE, Shot, Visit, ask, contrast, settle
from tests.office_files import WRITERS, write_broken

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

PLAN = Path(__file__).parents[3] / "shared" / "data" / "documents" / "digital-government-plan.hwp"


def _part(page: "Page", name: str) -> None:
    page.get_by_test_id("stButtonGroup").get_by_text(name, exact=True).click()


def _result(page: "Page", file: str) -> "Locator":
    return page.locator(".files tr").filter(has=page.get_by_role("rowheader", name=file, exact=True))


def _enter(box: "Locator", text: str) -> None:
    box.fill(text)
    box.press("Enter")


def _tick(page: "Page", row: int) -> None:
    """Tick a row of the table of articles, which is drawn on a canvas."""
    page.get_by_test_id("stDataFrame").click(position={"x": 17, "y": 35 * row + 17})


def test_files_of_every_format_become_an_index_that_can_be_asked(visit: Visit, shot: Shot, tmp_path: Path) -> None:
    files: list[Path] = []
    for degrees, (suffix, write) in enumerate(WRITERS.items(), start=3):
        text = f"가람{suffix[1:]}호수의 물은 {degrees}도로 따뜻해졌다고 관리소가 밝혔다."
        files.append(write(tmp_path / f"글{suffix}", f"{suffix[1:]} 소식", [text]))
        files.append(write_broken(tmp_path / f"깨진{suffix}"))
    table = tmp_path / "표.csv"
    table.write_text("kolumn,qui\n누리시 도서관은 오월에 새로 문을 연다고 시장이 말했다.,김도윤\n", encoding="utf-8")
    files += [table, PLAN] if PLAN.exists() else [table]

    page = visit(path="corpus")
    _part(page, "올리기")
    page.get_by_text("새 색인 만들기").click()
    _enter(page.get_by_role("textbox", name="새 색인의 이름"), "../밖")
    page.get_by_text("이름에는 글자, 숫자").wait_for()
    _enter(page.get_by_role("textbox", name="새 색인의 이름"), "올린 글")
    page.get_by_text("이름에는 글자, 숫자").wait_for(state="hidden")
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(files)
    page.get_by_role("combobox", name="본문 열").wait_for()
    settle(page)
    shot(page, "corpus-upload")
    page.get_by_role("button", name="색인 시작").click()
    page.get_by_text("올린 글: 기사 ").wait_for(timeout=60_000)
    shot(page, "corpus-results")

    for suffix in WRITERS:
        broken = _result(page, f"깨진{suffix}")
        assert "읽지 못함" in broken.inner_text()
        assert re.search(r"[가-힣] .*(올리세요|나누)", broken.locator(".reason").inner_text())
        assert f"깨진{suffix}: " in broken.locator(".detail").inner_text()
        assert "읽음: 기사 " in _result(page, f"글{suffix}").inner_text()
    assert _result(page, "글.zip/문서/한글.hwpx").inner_text().endswith("읽음: 기사 1건")
    assert _result(page, "표.csv").inner_text().endswith("읽음: 기사 1건")
    if PLAN.exists():
        assert _result(page, PLAN.name).inner_text().endswith("읽음: 기사 1건")
    with page.expect_download() as download:
        page.get_by_role("button", name="결과 내려받기 (CSV)").click()
    lines = download.value.path().read_text("utf-8-sig").splitlines()
    assert lines[0] == "파일,결과,기사 수,까닭,자세히"
    assert "글.hwpx,읽음: 기사 1건,1,," in lines

    page.get_by_role("button", name="이 색인 쓰기").click()
    page.get_by_role("combobox", name="색인").and_(page.locator("[value='올린 글']")).wait_for()
    page.get_by_role("button", name="닫기", exact=True).click()
    page.get_by_role("button", name="닫기", exact=True).wait_for(state="hidden")
    page.get_by_role("link", name="대화").click()
    ask(page, "가람hwpx호수의 물은 몇 도로 따뜻해졌나요?")
    page.get_by_text(f"가람hwpx호수의 물은 {3 + list(WRITERS).index('.hwpx')}도로").first.wait_for()
    page.reload()
    page.get_by_role("combobox", name="색인").and_(page.locator("[value='올린 글']")).wait_for()


def test_articles_are_found_and_deleted_and_indexes_are_kept(visit: Visit, shot: Shot, tmp_path: Path) -> None:
    page = visit(path="corpus")
    page.get_by_role("heading", name="월별 기사 수").or_(page.get_by_role("heading", name="날짜별 기사 수")).wait_for()
    page.get_by_test_id("stVegaLiteChart").first.locator("canvas, svg").first.wait_for()
    page.get_by_text("분야별 기사: 표").click()
    page.get_by_role("cell", name="경제").wait_for()
    page.get_by_role("button", name="온전한지 검사하기").click()
    page.get_by_text("이상 없습니다.").wait_for()
    shot(page, "corpus-overview")

    _part(page, "기사")
    page.get_by_text("168건 가운데").wait_for()
    _enter(page.get_by_role("textbox", name="기사 찾기"), "한빛 3호")
    page.get_by_role("button", name=re.compile("찾은 기사")).wait_for()
    settle(page)
    _tick(page, 1)
    page.get_by_role("button", name="읽기").and_(page.locator(":enabled")).click()
    page.get_by_role("dialog").get_by_role("heading", name="한빛 3호").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    page.get_by_role("button", name="고른 기사 1건 지우기").click()
    page.get_by_role("dialog").get_by_text("기사 1건(단락 ").wait_for()
    shot(page, "corpus-delete")
    page.get_by_role("dialog").get_by_role("button", name="지우기", exact=True).click()
    page.get_by_text("기사 1건을 지웠습니다.").wait_for()

    _part(page, "올리기")
    page.get_by_text("서버의 폴더").click()
    folder = tmp_path / "문서"
    folder.mkdir()
    (folder / "글.txt").write_text("가람호수의 물이 따뜻해졌다.", encoding="utf-8")
    _enter(page.get_by_role("textbox", name="파일이나 폴더의 경로"), str(folder))
    page.get_by_text("새 색인 만들기").click()
    start = page.get_by_role("button", name="색인 시작")
    start.and_(page.locator(":disabled")).wait_for()
    _enter(page.get_by_role("textbox", name="새 색인의 이름"), "호수")
    start.and_(page.locator(":enabled")).click()
    page.get_by_text("호수: 기사 1건을 색인했습니다.").wait_for()

    _part(page, "색인 관리")
    page.get_by_test_id("stMarkdown").get_by_text("호수", exact=True).wait_for()
    settle(page)
    shot(page, "corpus-indexes")
    shown = page.locator("[class*='st-key-index-']").filter(has_text="호수")
    shown.get_by_role("button", name="이름 바꾸기").click()
    _enter(page.get_by_role("textbox", name="새 이름"), "가람호수")
    page.get_by_test_id("stPopoverBody").get_by_role("button", name="바꾸기").click()
    page.get_by_text("이름을 ‘가람호수’").wait_for()
    settle(page)
    shown.get_by_role("button", name="지우기").click()
    confirm = page.get_by_test_id("stPopoverBody").get_by_role("button", name="지우기")
    assert confirm.is_disabled()
    _enter(page.get_by_role("textbox", name="색인 이름"), "가람호수")
    confirm.and_(page.locator(":enabled")).click()
    page.get_by_text("‘가람호수’ 색인을 지웠습니다.").wait_for()


@pytest.mark.parametrize(("dark", "name"), [(True, "dark"), (False, "light")])
def test_every_part_fits_a_phone(visit: Visit, shot: Shot, dark: bool, name: str) -> None:
    page = visit(390, dark=dark, path="corpus")
    for part, seen in [
        ("한눈에", page.get_by_role("button", name="온전한지 검사하기")),
        ("기사", page.get_by_role("textbox", name="기사 찾기")),
        ("올리기", page.get_by_text("어디에 넣을까요?")),
        ("색인 관리", page.get_by_text("지금 쓰는 색인")),
    ]:
        _part(page, part)
        seen.wait_for()
        shot(page, f"corpus-phone-{name}-{part}")
        edges = page.locator("[data-testid=stMain] *:not([data-testid=stDataFrame] *)").evaluate_all(
            "all => all.map(one => one.getBoundingClientRect().right)"
        )
        assert max(edges) <= 390
    assert contrast(page, "[data-testid=stCaptionContainer] p") >= READABLE
