"""HWP 5 and HWPX: what stands in a document, in which order, on which page; what is said of one that is not read."""

import random
import time
import zipfile
import zlib
from pathlib import Path

import pytest

from rag_app.documents import load_documents
from rag_app.files.loaders.hangul import flow
from rag_app.passages import split_documents
from tests.office_files import (
    COMPRESSED,
    hwp_control,
    hwp_note,
    hwp_paragraph,
    hwp_record,
    hwp_table,
    write_hwp,
    write_hwp_section,
    write_hwpx,
    write_hwpx_section,
)

PLAN = Path(__file__).parents[2] / "shared/data/documents/digital-government-plan.hwp"
RAIN = "기상청은 주말에 전국에 비가 온다고 예보했다."
VOTE = "국회는 내년 예산안을 의결했다."


def text_of(path: Path) -> str:
    (document,) = load_documents(path)
    return document.page_content


def xml_paragraph(run: str, top: int | None = None) -> str:
    layout = "" if top is None else f'<hp:linesegarray><hp:lineseg vertpos="{top}"/></hp:linesegarray>'
    return f"<hp:p><hp:run>{run}</hp:run>{layout}</hp:p>"


def xml_list(text: str) -> str:
    return f"<hp:subList>{xml_paragraph(f'<hp:t>{text}</hp:t>')}</hp:subList>"


@pytest.mark.parametrize(("write", "name"), [(write_hwp, "a.hwp"), (write_hwpx, "a.hwpx")])
def test_a_document_gives_its_title_and_its_paragraphs_with_their_numbers(
    write: object, name: str, tmp_path: Path
) -> None:
    assert callable(write)
    (document,) = load_documents(
        write(tmp_path / name, "주말 <비> 예보".replace("<", "").replace(">", ""), [RAIN, "", VOTE])
    )
    assert document.page_content == f"{RAIN}\n{VOTE}"
    assert document.metadata["title"] == "주말 비 예보"
    passages = list(split_documents([document], max_chars=30))
    assert [(p.page_content, p.metadata["paragraph"]) for p in passages] == [(RAIN, 1), (VOTE, 2)]
    assert all("page" not in passage.metadata for passage in passages)  # it was never laid out


@pytest.mark.fault(5, "A Hangul paragraph of ten thousand long runs took minutes: it was copied anew for each of them.")
def test_a_paragraph_is_put_together_in_time_that_grows_with_it() -> None:
    started = time.process_time()
    assert flow(["가" * 2_000] * 10_000 + [["칸"]] + ["나"]) == ["가" * 20_000_000, "칸", "나"]
    assert time.process_time() - started < 2


def test_hwp_tables_are_read_row_by_row_where_they_are_anchored(tmp_path: Path) -> None:
    table = hwp_table([["지역", "비"], ["서울\n강남", "12mm"], ["", "한 칸\n두 줄"]])
    around = hwp_paragraph(f"표 앞{hwp_control('tbl ')}표 뒤", table)
    path = write_hwp_section(tmp_path / "a.hwp", "", hwp_paragraph(RAIN) + around + hwp_paragraph(VOTE))
    assert text_of(path).splitlines() == [RAIN, "표 앞", "지역 비", "서울 강남 12mm", "한 칸", "두 줄", "표 뒤", VOTE]


def test_a_table_in_a_cell_of_a_table_is_read_there(tmp_path: Path) -> None:
    inner = hwp_paragraph(hwp_control("tbl "), hwp_table([["안", "쪽"]], level=3), level=2)
    outer = hwp_table([["바깥"]])
    section = hwp_paragraph(hwp_control("tbl "), outer + inner)
    assert text_of(write_hwp_section(tmp_path / "a.hwp", "", section)).splitlines() == ["바깥", "안 쪽"]


def test_hwp_boxes_and_notes_are_read_and_headers_are_not(tmp_path: Path) -> None:
    text = f"{hwp_control('head')}본문{hwp_control('fn  ')}이다.{hwp_control('gso ')}끝"
    controls = [hwp_note("머리말", "head"), hwp_note("각주"), hwp_note("글상자", "gso ")]
    path = write_hwp_section(tmp_path / "a.hwp", "", hwp_paragraph(text, *controls))
    assert text_of(path).splitlines() == ["본문이다.", "글상자", "끝", "각주"]


def test_hwp_control_characters_leave_nothing_behind(tmp_path: Path) -> None:
    tab = "\t" + "\u7fcc\0\0\0\0\0" + "\t"  # with a width that reads like a character
    field = "\x03" + "\u2525\u6b6c\0\0\0\0" + "\x03"
    end = "\x04" + "\u2525\u6b6c\0\0\0\0" + "\x04"
    words = f"가{tab}나\n다\x1e라\x1f마\x18바 {field}고리{end}\uf0a0😀"
    path = write_hwp_section(tmp_path / "a.hwp", "", hwp_paragraph(words, hwp_record(71, 1, b"klh%".ljust(20, b"\0"))))
    assert text_of(path) == "가 나\n다 라 마-바 고리😀"


def test_long_records_and_sections_that_are_not_compressed_are_read(tmp_path: Path) -> None:
    long = "비가 온다. " * 2000
    path = write_hwp_section(tmp_path / "a.hwp", "", hwp_paragraph(long), flags=0)
    assert text_of(path) == long.strip()


def test_pages_are_counted_where_the_layout_begins_at_the_top_again(tmp_path: Path) -> None:
    layouts = [("하나", [0, 1600]), ("둘", [3200, 0]), ("셋", [1600]), ("넷", [0])]
    section = b"".join(hwp_paragraph(text, tops=tops) for text, tops in layouts)
    (hwp,) = load_documents(write_hwp_section(tmp_path / "a.hwp", "", section))
    assert [part["page"] for _, part in hwp.metadata["places"]] == [1, 1, 2, 3]
    body = "".join(xml_paragraph(f"<hp:t>{text}</hp:t>", tops[0]) for text, tops in layouts)
    (hwpx,) = load_documents(write_hwpx_section(tmp_path / "a.hwpx", "", body))
    assert [part["page"] for _, part in hwpx.metadata["places"]] == [1, 1, 2, 3]


@pytest.mark.parametrize(("count", "pages"), [(1, True), (2, False)])
def test_pages_are_not_told_where_a_column_begins_at_the_top_too(count: int, pages: bool, tmp_path: Path) -> None:
    columns = hwp_record(71, 1, b"dloc" + (count << 2).to_bytes(2, "little").ljust(12, b"\0"))
    section = hwp_paragraph("하나", columns, tops=[1600]) + hwp_paragraph("둘", tops=[0])
    (hwp,) = load_documents(write_hwp_section(tmp_path / "a.hwp", "", section))
    ctrl = f'<hp:ctrl><hp:colPr colCount="{count}"/></hp:ctrl><hp:t>하나</hp:t>'
    body = xml_paragraph(ctrl, 1600) + xml_paragraph("<hp:t>둘</hp:t>", 0)
    (hwpx,) = load_documents(write_hwpx_section(tmp_path / "a.hwpx", "", body))
    for document in (hwp, hwpx):
        assert ["page" in part for _, part in document.metadata["places"]] == [pages, pages]


def test_pages_are_not_told_where_a_paragraph_was_not_laid_out(tmp_path: Path) -> None:
    body = xml_paragraph("<hp:t>하나</hp:t>", 1600) + xml_paragraph("<hp:t>둘</hp:t>")
    (document,) = load_documents(write_hwpx_section(tmp_path / "a.hwpx", "", body))
    assert document.metadata["places"] == [[0, {"paragraph": 1}], [3, {"paragraph": 2}]]


def test_hwpx_tables_notes_and_boxes_are_read_and_headers_and_memos_are_not(tmp_path: Path) -> None:
    cells = "".join(f"<hp:tc>{xml_list(text)}</hp:tc>" for text in ("서울", "12mm"))
    body = xml_paragraph(
        f"<hp:ctrl><hp:header>{xml_list('머리말')}</hp:header></hp:ctrl>"
        f"<hp:ctrl><hp:fieldBegin>{xml_list('메모')}</hp:fieldBegin></hp:ctrl>"
        "<hp:t>본문<hp:tab/>에<hp:lineBreak/>줄</hp:t>"
        f"<hp:ctrl><hp:footNote>{xml_list('각주')}</hp:footNote></hp:ctrl><hp:t>이다.</hp:t>"
        f"<hp:tbl><hp:caption>{xml_list('표 제목')}</hp:caption><hp:tr>{cells}</hp:tr></hp:tbl>"
        f"<hp:rect><hp:drawText>{xml_list('글상자')}</hp:drawText></hp:rect>"
    )
    path = write_hwpx_section(tmp_path / "a.hwpx", "", body)
    assert text_of(path).splitlines() == ["본문 에", "줄이다.", "표 제목", "서울 12mm", "글상자", "각주"]


def test_the_suffix_may_be_that_of_the_other_format(tmp_path: Path) -> None:
    assert text_of(write_hwpx(tmp_path / "a.hwp", "", [RAIN])) == RAIN
    assert text_of(write_hwp(tmp_path / "b.hwpx", "", [RAIN])) == RAIN


def truncated(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    return path


def broken_off(path: Path) -> Path:
    """Write a document whose compressed section has no end."""
    words = random.Random(0).choices("가나다라마바사아자차카타파하", k=20_000)
    section = zlib.compress(hwp_paragraph("".join(words)), wbits=-zlib.MAX_WBITS)
    write_hwp_section(path, "", section[:6000], flags=0)
    content = bytearray(path.read_bytes())
    content[content.index(b"HWP Document File") + 36] = COMPRESSED
    path.write_bytes(content)
    return path


def zip_of(path: Path, name: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, "글")
    return path


def unreadable_files(folder: Path) -> dict[Path, str]:
    """Write documents that are not read; return what their messages say."""
    entity = "<!DOCTYPE a [<!ENTITY b 'c'>]><hs:sec xmlns:hs='hs'>&b;</hs:sec>"
    with zipfile.ZipFile(folder / "entity.hwpx", "w") as archive:
        archive.writestr("Contents/section0.xml", entity)
    (folder / "old.hwp").write_bytes(b"HWP Document File V3.00 \x1a\1\2\3\4\5" + bytes(200))
    (folder / "empty.hwp").write_bytes(b"")
    (folder / "paper.hwp").write_bytes(b"%PDF-1.4 nothing")
    section = hwp_paragraph(RAIN)
    return {
        write_hwp_section(folder / "locked.hwp", "", section, flags=COMPRESSED | 2): "encrypted.*password",
        write_hwp_section(folder / "drm.hwp", "", section, flags=COMPRESSED | 16): "encrypted",
        write_hwp_section(folder / "final.hwp", "", section, flags=COMPRESSED | 4): "배포용.*Ask for the original",
        write_hwp_section(folder / "blank.hwp", "", hwp_paragraph("")): "no text.*OCR",
        write_hwp_section(
            folder / "records.hwp", "", hwp_record(66, 0, bytes(9000))[:5000], flags=0
        ): "Open it in Hangul",
        write_hwp_section(folder / "deep.hwp", "", deep_paragraphs(), flags=0): "RecursionError.*Open it in Hangul",
        broken_off(folder / "section.hwp"): "a section breaks off.*save it",
        truncated(write_hwp(folder / "short.hwp", "", [RAIN] * 2000)): "Open it in|save it",
        truncated(write_hwpx(folder / "short.hwpx", "", [RAIN] * 20)): "cannot be read as an HWP document.*save it",
        write_hwpx_section(folder / "locked.hwpx", "", "", manifest="<encryption-data/>"): "encrypted.*password",
        write_hwpx_section(folder / "xml.hwpx", "", "<hp:p>"): "mismatched tag.*save it",
        write_hwpx_section(folder / "blank.hwpx", "", ""): "no text.*OCR",
        zip_of(folder / "other.hwpx", "a.txt"): "no HWPX document. Give it the suffix",
        folder / "entity.hwpx": "document type.*Save it again",
        folder / "old.hwp": "HWP 3.*Save it as HWPX",
        folder / "empty.hwp": "the file is empty. Copy or save it again",
        folder / "paper.hwp": r"its content is that of a PDF \(\.pdf\). Give it the suffix",
    }


def deep_paragraphs() -> bytes:
    """Return a table in a table in a table, as deep as levels can be written."""
    return b"".join(
        hwp_paragraph(hwp_control("tbl "), hwp_table([["글"]], level=level + 1), level=level)
        for level in range(0, 1018, 2)
    )


def test_what_cannot_be_read_is_said_with_what_to_do_about_it(tmp_path: Path) -> None:
    for path, message in unreadable_files(tmp_path).items():
        with pytest.raises(ValueError, match=message) as raised:
            list(load_documents(path))
        assert str(raised.value).startswith(f"{path}: ")


def test_a_section_that_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag_app.files.loaders.hwp5._MOST", 1000)
    path = write_hwp(tmp_path / "a.hwp", "", [RAIN * 100])
    with pytest.raises(ValueError, match=r"longer than 1,000 bytes\. Split"):
        list(load_documents(path))


@pytest.mark.skipif(not PLAN.exists(), reason="the HWP document is not beside the checkout")
def test_a_plan_of_the_government_is_read_as_it_is_printed() -> None:
    (document,) = load_documents(PLAN)
    text = document.page_content
    assert not any(ord(character) < 32 and character != "\n" for character in text)
    assert not any(0xE000 <= ord(character) < 0xF900 for character in text)
    lines = text.splitlines()
    assert lines[:3] == ["디지털 정부혁신 추진계획", "2019. 10. 29.", "관계부처 합동"]
    assert "공공부문 자기정보 다운로드 서비스 개시 포털 구축 행안부" in lines  # a row of the schedule
    # Its table of contents names pages 1, 2, 4 and 8; cover and contents are two sheets before them.
    sheets = {"I. 개 요": 3, "II. 디지털 정부혁신 추진계획": 4, "III. 추진체계 및 일정": 6}
    sheets["붙임 디지털 정부혁신 우선 추진과제(상세)"] = 10
    places = {line: part for start, part in document.metadata["places"] for line in [text[start:].partition("\n")[0]]}
    assert {line: places[line]["page"] for line in sheets} == sheets
    assert places["□ 공공서비스 개방"] == {"page": 21, "paragraph": 392}
