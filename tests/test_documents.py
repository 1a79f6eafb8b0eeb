import json
import re
import time
import unicodedata
from datetime import date
from pathlib import Path
from typing import Any

import docx
import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from pypdf import PdfReader, PdfWriter

from rag_app.documents import (
    METADATA_CHARS,
    TITLE_CHARS,
    Columns,
    document_id,
    iso_date,
    load_documents,
    make_document,
)
from rag_app.files.tables import USUAL_COLUMNS
from rag_app.index import build_index
from tests.office_files import WRITERS, write_broken, write_docx, write_pdf

WIKINEWS = Path(__file__).parents[2] / "shared/data/wikinews/wikinews.csv"
RAIN = "기상청은 주말에 전국에 비가 온다고 예보했다."
VOTE = "국회는 내년 예산안을 의결했다."


def load_one(path: Path, columns: Columns = USUAL_COLUMNS) -> Document:
    (document,) = load_documents(path, columns=columns)
    return document


def write_jsonl(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def test_the_same_text_has_the_same_id_however_it_is_spelt() -> None:
    document = make_document("한국어  문장", title="가")
    assert document.id == document.metadata["doc_id"] == make_document(unicodedata.normalize("NFD", "한국어 문장\n")).id
    assert len(document.metadata["doc_id"]) == 32
    assert document.page_content == "한국어 문장"


def test_metadata_is_normalised_without_empty_values_and_fits_into_json() -> None:
    metadata = make_document(
        "글",
        title="두\n줄",
        date=date(2025, 3, 14),
        source=unicodedata.normalize("NFD", "가람일보"),
        section="",
        score=float("nan"),
        views=0,
        tags={"쉼\u200b표"},
        place=Path("a"),
    ).metadata
    assert metadata.pop("doc_id") == document_id("글")
    assert metadata == {
        "title": "두 줄", "date": "2025-03-14", "source": "가람일보", "views": 0, "tags": ["쉼표"], "place": "a"
    }  # fmt: skip
    json.dumps(metadata, allow_nan=False)


def test_an_article_without_text_is_refused() -> None:
    with pytest.raises(ValueError, match="no text"):
        make_document(" \u200b\n")


@pytest.mark.parametrize(
    ("written", "iso"),
    [
        *((day, "2025-03-14") for day in ("2025-03-14", "2025.3.14", "2025. 3. 14.", "20250314", "2025/03/14")),
        *((day, "2025-03-14") for day in ("2025년 3월 14일", "2025-03-14T23:30:00Z", "2025.03.14. 오후 3:20")),
        *((day, "2025-03-14") for day in ("2025년 3월 14일 (금) 09:10", "20250314093000", "2025-03-14 09:10:11.5")),
        *((text, text) for text in ("지난 금요일", "2025-02-31", "2025-03-14 ~ 2025-03-20", "2025", "20251399")),
    ],
)
def test_dates_get_one_form_and_others_stay_as_written(written: str, iso: str) -> None:
    assert iso_date(written) == iso


def test_text_is_read_in_each_korean_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for encoding in ("utf-8", "utf-8-sig", "cp949", "euc-kr"):
        path.write_text(RAIN, encoding=encoding)
        assert load_one(path).page_content == RAIN
    path.write_text("똠방각하", encoding="cp949")  # not in EUC-KR
    assert load_one(path).page_content == "똠방각하"
    path.write_bytes(b"\xff" + RAIN.encode())
    with pytest.raises(ValueError, match=r"a\.txt: its encoding is neither UTF-8 nor CP949"):
        load_one(path)


@pytest.mark.fault(5, "A text in UTF-16 or UTF-32, as Windows and Excel save it, was refused in spite of its mark.")
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "iso2022_kr"])
def test_text_is_read_in_encodings_that_say_what_they_are(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(RAIN, encoding=encoding)
    assert load_one(path).page_content == RAIN


@pytest.mark.fault(5, "Chinese text was taken for Korean in CP949, and indexed as nonsense.")
def test_text_that_makes_no_sense_in_cp949_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("专家认为未来几年", encoding="gb18030")
    with pytest.raises(ValueError, match="its encoding is neither"):
        load_one(path)


@pytest.mark.fault(5, "Of two columns with the same name the first was lost.")
def test_columns_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"본문,본문,본문 2,,본문\n{RAIN},둘,셋,넷,다섯\n", "utf-8")
    document = load_one(path)
    assert document.page_content == RAIN
    assert {"둘", "셋", "다섯"} <= set(document.metadata.values())


@pytest.mark.fault(5, "A csv file with blank lines above its header was refused as one without columns.")
def test_blank_lines_above_the_header_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"\n,,\n\r\n제목,본문\n비,{RAIN}\n", "utf-8")
    assert load_one(path).metadata["title"] == "비"


@pytest.mark.fault(5, "Deeply nested metadata ended the command with a RecursionError instead of being refused.")
def test_metadata_nested_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "{RAIN}", "a": {"[" * 900}{"]" * 900}}}', "utf-8")
    with pytest.raises(ValueError, match=r"a\.jsonl: nests its metadata more than 50 deep\. Flatten it"):
        load_one(path)


@pytest.mark.fault(5, "A heading of 200,000 spaces and number signs took more than a minute to read.")
def test_a_heading_is_found_in_time_that_grows_with_it(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text(f"# 비{' #' * 100_000}x{' #' * 100_000}\n{RAIN}", "utf-8")
    started = time.process_time()
    assert load_one(path).metadata["title"].startswith("비 # #")
    assert time.process_time() - started < 5


@pytest.mark.fault(5, "A title of a megabyte was stored, searched and embedded with every passage of its article.")
def test_a_title_ends_somewhere() -> None:
    assert len(make_document(RAIN, title="가" * 10_000).metadata["title"]) == TITLE_CHARS


@pytest.mark.fault(
    5, "Metadata of a megabyte was stored with every passage of its article: a file of 3 MB filled 261 MB."
)
def test_metadata_without_end_is_refused_by_the_name_of_what_is_long(tmp_path: Path) -> None:
    keywords = "가 " * METADATA_CHARS
    path = write_jsonl(tmp_path / "a.jsonl", {"text": RAIN, "날짜": "오늘", "키워드": keywords, "places": [1]})
    with pytest.raises(ValueError, match=r"a\.jsonl: has 131,\d+ characters of metadata, more than .*out .*'키워드'"):
        load_one(path)
    places = [[number, {"page": number + 1}] for number in range(10_000)]
    assert make_document(RAIN, places=places).metadata["places"] == places  # of which a passage takes its own
    with pytest.raises(ValueError, match="'places'"):
        make_document(RAIN, places=[*places, keywords])


@pytest.mark.fault(5, "A row or line of half a gigabyte was read into memory whole, and several times over.")
def test_a_row_that_never_ends_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag_app.files.tables.MAX_ROW", 100)
    endless = "가\n" * 99
    for name, content in {"a.csv": f'본문\n"{endless}', "a.jsonl": f'{{"text": "{"가" * 99}"}}'}.items():
        (tmp_path / name).write_text(content, "utf-8")
        with pytest.raises(ValueError, match="its row has more than 100 characters"):
            load_one(tmp_path / name)
    monkeypatch.setattr("rag_app.files.loaders.plain.MAX_BYTES", 10)
    (tmp_path / "a.txt").write_text(RAIN, "utf-8")
    with pytest.raises(ValueError, match=r"a text is read up to 10\. Split it"):
        load_one(tmp_path / "a.txt")


def test_a_document_knows_its_files_path_as_it_is_spelt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = unicodedata.normalize("NFD", "글.txt")
    Path(name).write_text(RAIN, encoding="utf-8")
    assert load_one(Path(name)).metadata["path"] == str(tmp_path / name)


def test_markdown_takes_front_matter_or_the_first_heading(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text(f'---\ntitle: "주말 비"\n작성일: 2025.3.14\ntags:\n  - 날씨\n---\n# 제목 줄\n\n{RAIN}\n', "utf-8")
    document = load_one(path)
    assert document.page_content == f"# 제목 줄\n\n{RAIN}"
    assert (document.metadata["title"], document.metadata["date"]) == ("주말 비", "2025-03-14")
    path.write_text(f"```\n# 주석\n```\n## 날씨 ##\n{RAIN}\n\n---\n\n{VOTE}", "utf-8")
    document = load_one(path)
    assert document.metadata["title"] == "날씨"
    assert document.page_content.endswith(f"{RAIN}\n\n---\n\n{VOTE}")


def test_html_gives_the_article_without_the_page_around_it(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text(
        """<html><head><title>주말 비 - 가람일보</title><meta property="og:title" content="주말 비">
        <meta property="article:published_time" content="2025-03-14T09:00:00+09:00"><style>p {}</style></head>
        <body><nav>메뉴</nav><main><article><h1>주말 비</h1><p>기상청은 <b>주말</b>에
        전국에 비가 온다고 예보했다.</p><!-- 주석 --><p>첫 줄<br>둘째 줄</p><script>var a;</script>
        <table><tr><td>서울</td><td>12mm</td></tr></table></article>
        <article>다른 기사</article></main><footer>저작권</footer></body></html>""",
        encoding="cp949",
    )
    document = load_one(path)
    assert [line for line in document.page_content.splitlines() if line] == [
        "주말 비",
        RAIN,
        "첫 줄",
        "둘째 줄",
        "서울 12mm",
    ]
    assert (document.metadata["title"], document.metadata["date"]) == ("주말 비", "2025-03-14")


def test_html_with_many_articles_alike_gives_them_all(tmp_path: Path) -> None:
    path = tmp_path / "a.htm"
    path.write_text(
        f"<title>목록</title><form><main><article>{RAIN}</article><article>{VOTE}</article></main>", "utf-8"
    )
    assert load_one(path).page_content.split("\n\n") == [RAIN, VOTE]


def test_word_keeps_paragraphs_and_tables_in_order(tmp_path: Path) -> None:
    word = docx.Document()
    word.add_heading("주말 비", level=0)
    word.add_paragraph(RAIN)
    table = word.add_table(rows=2, cols=2)
    table.cell(0, 0).merge(table.cell(0, 1)).text = "강수량"
    table.cell(1, 0).text, table.cell(1, 1).text = "서울", "12mm"
    word.add_paragraph(VOTE)
    word.save(str(tmp_path / "a.docx"))
    document = load_one(tmp_path / "a.docx")
    assert document.page_content == f"주말 비\n{RAIN}\n강수량\n서울 12mm\n{VOTE}"
    assert document.metadata["title"] == "주말 비"


def test_pdf_gives_its_text_and_says_when_it_has_none_or_is_locked(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", "비", [RAIN])
    assert load_one(path).page_content == RAIN
    writer = PdfWriter(clone_from=PdfReader(path))
    writer.encrypt(user_password="", owner_password="secret", algorithm="RC4-128")
    writer.write(tmp_path / "print-protected.pdf")
    assert load_one(tmp_path / "print-protected.pdf").page_content == RAIN
    writer = PdfWriter(clone_from=PdfReader(path))
    writer.encrypt(user_password="secret", algorithm="RC4-128")
    writer.write(tmp_path / "locked.pdf")
    with pytest.raises(ValueError, match=r"locked\.pdf: this PDF is encrypted"):
        load_one(tmp_path / "locked.pdf")
    with pytest.raises(ValueError, match=r"scan\.pdf: this PDF holds no text.*OCR"):
        load_one(write_pdf(tmp_path / "scan.pdf", "", [""]))


@pytest.mark.fault(5, "A PDF whose title refers to something else than a text was refused by the process with limits.")
@pytest.mark.parametrize("title", [b"3 0 R", b"[(a)]"])
def test_a_pdf_with_something_else_for_a_title_has_none(title: bytes, tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", "비", [RAIN])
    path.write_bytes(re.sub(rb"(?<=/Title )<[^>]*>", title, path.read_bytes()))
    assert "title" not in load_one(path).metadata


@pytest.mark.parametrize("suffix", WRITERS)
def test_each_format_is_read_and_a_broken_file_of_it_is_told_with_a_remedy(suffix: str, tmp_path: Path) -> None:
    documents = list(load_documents(WRITERS[suffix](tmp_path / f"a{suffix}", "날씨와 국회", [RAIN, VOTE])))
    text = "\n".join(document.page_content for document in documents)
    assert RAIN in text
    assert VOTE in text
    assert "날씨와 국회" in (text if suffix in {".txt", ".zip"} else documents[0].metadata["title"])
    with pytest.raises(ValueError, match=rf"b\{suffix}: .+\. [A-Z]\w+ .+"):
        list(load_documents(write_broken(tmp_path / f"b{suffix}")))


def test_a_file_under_the_suffix_of_another_format_is_told_as_what_it_is(tmp_path: Path) -> None:
    for name, kind in {"a.docx": r"a PDF \(\.pdf\)", "b.zip": r"a PDF \(\.pdf\)"}.items():
        path = write_pdf(tmp_path / name, "비", [RAIN])
        with pytest.raises(ValueError, match=f"its content is that of {kind}. Give it the suffix"):
            load_one(path)
    path = write_docx(tmp_path / "c.pdf", "비", [RAIN])
    with pytest.raises(
        ValueError, match=r"its content is that of a zip archive \(\.zip, \.docx, \.hwpx\). Give it the suffix"
    ):
        load_one(path)
    (tmp_path / "d.docx").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 encrypted")
    with pytest.raises(ValueError, match=r"encrypted or an old document.*without a password"):
        load_one(tmp_path / "d.docx")


@pytest.mark.parametrize(
    "header", ["제목,본문,작성일,분류,언론사,link", "Title,Content,Published,news_category,OUTLET,URL"]
)
def test_columns_of_a_table_are_found_by_their_usual_names(tmp_path: Path, header: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f'{header}\n주말 비,"{RAIN}\n{VOTE}",2025.3.14,날씨,가람일보,https://a.b/1\n', encoding="utf-8-sig")
    document = load_one(path)
    assert document.page_content == f"{RAIN}\n{VOTE}"
    assert {**document.metadata, "doc_id": "", "path": ""} == {
        "title": "주말 비", "date": "2025-03-14", "section": "날씨", "source": "가람일보", "url": "https://a.b/1",
        "doc_id": "", "path": "",
    }  # fmt: skip


def test_columns_of_a_table_can_be_named_and_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(f"text\t줄거리\t머리\n메모\t{RAIN}\t주말 비\n", encoding="cp949")
    document = load_one(path, Columns(text=unicodedata.normalize("NFD", "줄거리"), title="머리"))
    assert document.page_content == RAIN
    assert document.metadata["title"] == "주말 비"
    with pytest.raises(ValueError, match=r"a\.tsv: line 2: no column '표제' .* text, 줄거리, 머리.*--title-column"):
        load_one(path, Columns(title="표제"))


def test_a_table_without_text_names_its_columns_and_the_option(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("이름,나이\n가,1\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.csv: line 2: no column for the text among 이름, 나이.*--text-column"):
        load_one(path)


def test_a_link_in_the_column_of_the_source_is_the_address(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"내용,출처\n{RAIN},https://ko.wikinews.org/wiki/1\n", encoding="utf-8")
    metadata = load_one(path).metadata
    assert metadata["url"] == "https://ko.wikinews.org/wiki/1"
    assert "source" not in metadata


def test_articles_longer_than_csvs_own_limit_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("본문\n" + "비" * 200_000, encoding="utf-8")
    assert len(load_one(path).page_content) == 200_000


def test_rows_of_questions_give_each_context_once_without_its_questions(tmp_path: Path) -> None:
    rows = [{"id": i, "title": "비", "context": RAIN, "question": f"질문 {i}?", "answers": "{}"} for i in range(2)]
    document = load_one(write_jsonl(tmp_path / "a.jsonl", *rows))
    assert document.page_content == RAIN
    assert set(document.metadata) == {"title", "doc_id", "path"}


def test_json_is_a_list_of_records_or_has_the_layout_of_klue(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"content": RAIN, "views": 3}, {"content": None}]), "utf-8")
    assert load_one(path).metadata["views"] == 3
    paragraph = {"context": RAIN, "qas": [{"question": "언제?", "guid": "1"}, {"question": "어디?", "guid": "2"}]}
    article = {
        "title": "비",
        "news_category": "날씨",
        "source": "가람일보",
        "paragraphs": [paragraph, {"context": VOTE}],
    }
    path.write_text(json.dumps({"version": "1", "data": [article]}), "utf-8")
    first, second = load_documents(path)
    assert [first.page_content, second.page_content] == [RAIN, VOTE]
    assert (first.metadata["section"], first.metadata["source"], first.metadata["title"]) == ("날씨", "가람일보", "비")
    assert "guid" not in first.metadata


def broken_files(folder: Path) -> dict[str, str]:
    """Write one broken file of each kind; return what its message must say."""
    (folder / "empty.txt").write_text("\n")
    (folder / "quote.csv").write_text(f'본문\n"{RAIN}\n', "utf-8")
    (folder / "cells.csv").write_text(f"본문,제목\n{RAIN},가,나\n", "utf-8")
    (folder / "line.jsonl").write_text(json.dumps({"text": VOTE}) + '\n\n{"text": ', "utf-8")
    (folder / "number.jsonl").write_text(json.dumps({"text": VOTE}) + '\n{"text": 5}\n', "utf-8")
    (folder / "list.jsonl").write_text("[1]\n")
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "object.json").write_text('{"a": 1}')
    (folder / "layout.json").write_text('{"data": [{"paragraphs": [{"qas": []}]}]}')
    (folder / "blank.csv").write_text("본문\n  \n", "utf-8")
    (folder / "word.docx").write_bytes(b"PK nothing")
    (folder / "paper.pdf").write_bytes(b"%PDF-1.4 nothing")
    (folder / "page.html").write_text("<script>var a</script>")
    return {
        "empty.txt": "holds no text",
        "quote.csv": "line 2: unexpected end of data",
        "cells.csv": "line 2: 3 cells under 2 column names",
        "line.jsonl": "line 3: not JSON",
        "number.jsonl": "line 2: column 'text' holds a int, not text",
        "list.jsonl": "line 1: want a JSON object, got a list",
        "deep.json": "not JSON",
        "object.json": "neither a list of objects nor the KLUE-MRC / KorQuAD layout",
        "layout.json": "record 1: not the KLUE-MRC / KorQuAD layout",
        "blank.csv": "holds no text",
        "word.docx": "cannot be read as a Word document",
        "paper.pdf": "cannot be read as PDF",
        "page.html": "holds no text",
    }


def test_broken_files_are_named_and_left_out_whole_and_the_rest_is_read(tmp_path: Path) -> None:
    wanted = broken_files(tmp_path)
    (tmp_path / "whole.txt").write_text(RAIN, "utf-8")
    reported: dict[str, str] = {}
    # The good first lines of line.jsonl and number.jsonl hold VOTE: they must not be there.
    loaded = load_documents(tmp_path, on_error=lambda path, error: reported.update({path.name: str(error)}))
    assert [document.page_content for document in loaded] == [RAIN]
    assert reported.keys() == wanted.keys()
    for name, message in wanted.items():
        assert str(tmp_path / name) in reported[name]
        assert message in reported[name]


def test_a_broken_file_raises_where_no_one_takes_the_report(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{", "utf-8")
    with pytest.raises(ValueError, match=r"a\.jsonl: line 1: not JSON"):
        list(load_documents(tmp_path))


def test_a_folder_gives_every_text_once_and_passes_over_hidden_and_foreign_files(tmp_path: Path) -> None:
    for name, text in {"b.txt": RAIN, "sub/a.txt": RAIN, "sub/c.TXT": VOTE, ".git/d.txt": "다", ".e.txt": "라"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    (tmp_path / "~$f.docx").write_bytes(b"lock")
    (tmp_path / "g.odt").write_bytes(b"odt")
    loaded = list(load_documents(str(tmp_path)))
    assert [document.page_content for document in loaded] == [RAIN, VOTE]
    assert loaded[0].metadata["path"] == str(tmp_path / "b.txt")


def test_a_path_that_cannot_be_read_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.odt").write_bytes(b"")
    with pytest.raises(ValueError, match=r"a\.odt has the suffix '\.odt'\. Known formats are \.txt, \.md"):
        load_documents(tmp_path / "a.odt")
    with pytest.raises(ValueError, match="holds no file of a known format"):
        load_documents(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_documents(tmp_path / "nowhere")


@pytest.mark.skipif(not WIKINEWS.exists(), reason="the Wikinews table is not beside the checkout")
def test_korean_wikinews_is_read_whole() -> None:
    articles = list(load_documents(WIKINEWS))
    assert len(articles) == 637  # of 644 rows, 7 repeat the text of another
    assert all(article.metadata["title"] and article.metadata["url"] for article in articles)
    assert all(article.metadata["date"] == iso_date(article.metadata["date"]) for article in articles)


def test_numbers_and_arrays_of_numpy_keep_their_values() -> None:
    metadata = {"float": np.float64(0.25), "int": np.int64(7), "nan": np.float32("nan"), "many": np.arange(3)}
    document = make_document("글", **metadata)
    assert {"float": 0.25, "int": 7, "many": [0, 1, 2]}.items() <= document.metadata.items()
    assert "nan" not in document.metadata


def test_an_index_inside_the_folder_is_no_article(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("사과는 빨갛다.", encoding="utf-8")
    build_index(tmp_path / "news", load_documents(tmp_path), DeterministicFakeEmbedding(size=4))
    assert [document.page_content for document in load_documents(tmp_path)] == ["사과는 빨갛다."]
