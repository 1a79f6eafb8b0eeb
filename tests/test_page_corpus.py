"""The view of the articles, run by Streamlit's own test harness; in a browser it is tests/browser/test_corpus.py."""

import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rag_app.data import sample_documents
from rag_app.documents import make_document
from rag_app.embeddings import load_embeddings
from rag_app.index import build_index, open_index

pytest.importorskip("streamlit", reason="the ui extra is not installed")

import streamlit as st

from rag_app.page.chat.scope import Scope
from rag_app.page.corpus.file_problems import BROKEN, REASONS, explain_file
from rag_app.page.corpus.jobs import files_html, jobs

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

LAKE = make_document("가람호수의 물이 9도로 따뜻해졌다.", title="호수")


@pytest.fixture(autouse=True)
def _start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_INDEX", str(tmp_path / "news"))
    monkeypatch.setenv("RAG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RAG_MODEL", raising=False)
    st.cache_resource.clear()
    jobs()._jobs.clear()


def _view() -> None:
    from pathlib import Path

    from rag_app.generations import MANIFEST
    from rag_app.page.corpus.view import show_corpus, show_first_upload
    from rag_app.page.library import choose_index
    from rag_app.page.resources import current_index
    from rag_app.settings import load_settings

    settings = load_settings()
    path = choose_index(settings)
    assert isinstance(path, Path)
    if (path / MANIFEST).is_file():
        show_corpus(current_index(path, None), settings)
    else:
        show_first_upload(path, settings)


def _open(part: str = "overview", **state: str) -> "AppTest":
    app = _opening(**state)
    app.query_params["part"] = part
    return _run(app)


def _opening(**state: str) -> "AppTest":
    """Return the view before its first run."""
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_function(_view, default_timeout=30)
    for name, value in state.items():
        app.session_state[name] = value
    return app


def _run(app: "AppTest") -> "AppTest":
    app.run()
    assert not app.exception
    return app


def _labelled(elements: Any, label: str) -> Any:
    return next(element for element in elements if element.label == label)


def _index_folder(app: "AppTest", folder: Path, index: Path) -> "AppTest":
    """Start with a folder of the server, wait until the job has ended, and show the page again."""
    _labelled(app.text_input, "파일이나 폴더의 경로").set_value(str(folder)).run()
    _labelled(app.button, "색인 시작").click()
    _run(app)
    job = jobs().of(index)
    assert job is not None
    job.wait(60)
    return _run(app)


def _texts(index: Path) -> set[str]:
    return {document.page_content for document in open_index(index).snapshot.store.documents.values()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two articles and a file that cannot be read."""
    folder = tmp_path / "문서"
    folder.mkdir()
    (folder / "도서관.txt").write_text("누리시 도서관이 5월에 문을 연다.", encoding="utf-8")
    (folder / "운동장.md").write_text("# 운동장\n다온군 운동장이 새로 열린다.", encoding="utf-8")
    (folder / "<b>깨진*글*.docx").write_bytes(b"PK")
    return folder


def test_without_an_index_a_folder_begins_one(tmp_path: Path, folder: Path) -> None:
    app = _index_folder(_open(**{"upload from": "server"}), folder, tmp_path / "news")
    assert app.success[0].value == "news: 기사 2건을 색인했습니다."
    assert len(_texts(tmp_path / "news")) == 2
    assert "1개 있습니다" in app.warning[0].value
    table = next(element.proto.body for element in app.get("html") if "깨진" in element.proto.body)
    assert "&lt;b&gt;깨진*글*.docx" in table
    assert "<b>" not in table


def test_a_replacement_waits_for_a_yes_and_keeps_the_old_index_if_a_file_cannot_be_read(
    tmp_path: Path, folder: Path
) -> None:
    path = tmp_path / "news"
    build_index(path, [LAKE], load_embeddings())
    app = _open("upload", **{"upload from": "server", "upload target": "replace"})
    _labelled(app.text_input, "파일이나 폴더의 경로").set_value(str(folder)).run()
    assert _labelled(app.button, "색인 시작").disabled
    assert app.caption[-1].value == "지금 색인의 기사를 버려도 되면 위 칸에 표시하세요."
    _labelled(
        app.checkbox, "지금 색인의 기사 1건을 버리고 새로 만듭니다. 다 될 때까지는 지금 색인을 씁니다."
    ).check().run()
    app = _index_folder(app, folder, path)
    assert "news 색인은 그대로입니다." in app.error[0].value
    assert _texts(path) == {LAKE.page_content}
    _labelled(app.checkbox, "읽지 못한 파일이 하나라도 있으면 바꾸지 않기").uncheck().run()
    app = _index_folder(app, folder, path)
    assert len(_texts(path)) == 2
    assert LAKE.page_content not in _texts(path)


def test_a_folder_that_is_not_there_is_an_explained_error(tmp_path: Path) -> None:
    build_index(tmp_path / "news", [LAKE], load_embeddings())
    app = _open("upload", **{"upload from": "server"})
    _labelled(app.text_input, "파일이나 폴더의 경로").set_value(str(tmp_path / "없음")).run()
    _labelled(app.button, "색인 시작").click()
    assert "찾지 못했습니다" in _run(app).error[0].value


@pytest.mark.parametrize("part", ["overview", "articles", "upload", "indexes"])
def test_every_part_speaks_english(tmp_path: Path, part: str) -> None:
    build_index(
        tmp_path / "news", [make_document("The lake is warm.", title="Lake", date="2025-01-01")], load_embeddings()
    )
    app = _open(part, lang="en")
    shown = [getattr(element, "label", "") or "" for element in app.main]
    for kind in (app.caption, app.subheader, app.markdown, app.info):
        shown += [str(element.value) for element in kind]
    assert len("".join(shown)) > 50
    assert not re.search("[가-힣]", "".join(shown))


@pytest.mark.parametrize("part", ["overview", "articles", "upload", "indexes"])
def test_an_index_whose_articles_were_all_deleted_can_be_seen_and_filled(
    tmp_path: Path, folder: Path, part: str
) -> None:
    build_index(tmp_path / "news", [LAKE], load_embeddings()).delete([str(LAKE.id)])
    app = _open(part, **{"upload from": "server"})
    if part in ("overview", "articles"):
        assert "기사가 없습니다" in app.info[0].value
    if part == "upload":
        _index_folder(app, folder, tmp_path / "news")
        assert len(_texts(tmp_path / "news")) == 2


def test_an_index_of_articles_without_dates_and_sections_has_an_overview(tmp_path: Path) -> None:
    build_index(tmp_path / "news", [LAKE], load_embeddings())
    app = _open()
    assert [metric.value for metric in app.metric] == ["1", "1", "19자", "1", "0"]


def test_an_index_elsewhere_of_the_same_name_would_hide_a_new_one(tmp_path: Path) -> None:
    build_index(tmp_path / "news", [LAKE], load_embeddings())
    app = _open("upload", **{"upload from": "server", "upload target": "new"})
    _labelled(app.text_input, "새 색인의 이름").set_value("News")
    assert [box.value for box in _run(app).warning] == ["그 이름의 색인이 이미 있습니다."]


def test_a_new_index_waits_for_its_name_and_what_comes_next_is_added_again(tmp_path: Path, folder: Path) -> None:
    build_index(tmp_path / "news", [LAKE], load_embeddings())
    app = _open("upload", **{"upload from": "server", "upload target": "new"})
    assert app.caption[-1].value == "먼저 파일이나 폴더를 고르세요."
    _labelled(app.text_input, "파일이나 폴더의 경로").set_value(str(folder))
    assert _run(app).caption[-1].value == "새 색인의 이름을 적으세요."
    assert _labelled(app.button, "색인 시작").disabled
    _labelled(app.text_input, "새 색인의 이름").set_value("호수")
    app = _index_folder(_run(app), folder, tmp_path / "home" / "indexes" / "호수")
    assert _labelled(app.radio, "어디에 넣을까요?").value == "add"
    assert not _labelled(app.button, "색인 시작").disabled


def test_an_index_gets_the_name_that_was_typed_just_before_the_button_was_pressed(tmp_path: Path) -> None:
    build_index(tmp_path / "news", [LAKE], load_embeddings())
    indexes = tmp_path / "home" / "indexes"
    build_index(indexes / "호수", [LAKE], load_embeddings())
    app = _open("indexes")
    _labelled(app.text_input, "새 이름").set_value("가람호수")
    app.button(key="rename 호수").click()
    assert "‘가람호수’" in _run(app).success[0].value
    assert [path.name for path in indexes.iterdir()] == ["가람호수"]


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_the_address_names_a_part_alike_in_every_language(tmp_path: Path, lang: str) -> None:
    build_index(tmp_path / "news", [LAKE], load_embeddings())
    app = _opening(lang=lang)
    app.query_params["part"] = "indexes"
    parts: Any = _run(app).get("button_group")[0]
    assert parts.value == "indexes"
    parts.set_value("upload")
    assert _run(app).query_params["part"] == "upload"
    app.query_params["part"] = "articles"  # as a browser's Back has it
    parts = _run(app).get("button_group")[0]
    assert parts.value == "articles"


@pytest.mark.parametrize("others", [(), ("호수",)])
def test_an_address_of_an_index_that_is_not_there_says_so_once(tmp_path: Path, others: tuple[str, ...]) -> None:
    for path in (tmp_path / "news", *(tmp_path / "home" / "indexes" / name for name in others)):
        build_index(path, [LAKE], load_embeddings())
    app = _opening()
    app.query_params["index"] = "없는*것*"
    assert [toast.value for toast in _run(app).toast] == [r"‘없는\*것\*’ 색인은 없습니다. 대신 ‘news’ 색인을 엽니다."]
    assert not _run(app).toast


def test_the_scope_is_a_filter_and_words() -> None:
    days = (date(2025, 1, 1), date(2025, 1, 31))
    scope = Scope(["경제", "사회"], ["누리통신"], days)
    assert scope.filter == {
        "section": {"$in": ["경제", "사회"]},
        "source": {"$in": ["누리통신"]},
        "date": {"$gte": "2025-01-01", "$lte": "2025-01-31"},
    }
    assert scope.words == "경제, 사회 · 누리통신 · 2025-01-01 ~ 2025-01-31"
    assert (Scope().filter, Scope().words, bool(Scope())) == (None, "", False)


def test_outlets_and_days_narrow_the_scope_count_what_is_left_and_are_reset(tmp_path: Path) -> None:
    from streamlit.testing.v1 import AppTest

    import streamlit_app

    build_index(tmp_path / "news", sample_documents(), load_embeddings())
    app = _run(AppTest.from_file(str(Path(streamlit_app.__file__)), default_timeout=30))
    outlets = _labelled(app.sidebar.multiselect, "매체")
    outlets.set_value(outlets.options[:1]).run()
    of_outlet = _left(app)
    assert 0 < of_outlet < 168
    _labelled(app.sidebar.button, "최근 30일").click()
    assert _left(_run(app)) <= of_outlet
    first, last = _labelled(app.sidebar.date_input, "날짜").value
    assert (last - first).days == 29
    _labelled(app.sidebar.button, "범위 지우기").click()
    _run(app)
    assert _labelled(app.sidebar.multiselect, "매체").value == []
    assert not [caption for caption in app.caption if "이 범위의" in str(caption.value)]


def _left(app: "AppTest") -> int:
    [words] = [str(caption.value) for caption in app.caption if "이 범위의" in str(caption.value)]
    return int(re.findall(r"\d+", words)[0])


@pytest.mark.parametrize(
    ("message", "korean"),
    [
        ("a.csv: line 1: no column for the text among x, y. Name it with --text-column", "본문 열을 골라"),
        ("a.txt: its encoding is neither UTF-8 nor CP949 (EUC-KR). Save it as UTF-8", "인코딩"),
        ("a.hwp: this HWP document is locked for distribution (배포용 문서). Ask for the original", "배포용"),
        ("a.docx: this is an encrypted or an old document (.doc). Save it in Word as .docx", "오래된 형식"),
        ("a.hwp: this HWP document is encrypted. Save a copy without its password", "암호"),
        ("a.html: holds no text. Leave it out, or save it again with its text", "글이 있는지 확인"),
        ("a.txt: holds no text. Leave it out, or save it again with its text", "글이 있는지 확인"),
        ("a.docx: holds no text. Leave it out, or save it again with its text", "OCR"),
        ("a.pdf: this PDF holds no text, perhaps only scanned pages. Run text recognition (OCR) on it first", "OCR"),
        ("a.pdf: cannot be read as PDF (.pdf): the file is empty. Copy or save it again", "빈 파일"),
        ("a.hwp: this is no HWP document. Open it in its program and save it as PDF", "깨졌거나"),
        ("a.pdf: cannot be read as PDF (.pdf): its content is that of a zip archive (.zip).", "맞는 확장자"),
        ("a.csv: line 2: unexpected end of data. Close its quotes, double those in a cell", "어긋난 곳"),
        ("a.zip/b.zip: an archive in an archive is not read. Unpack it first", "다시 압축"),
        ("a.docx: cannot be read as a Word document (.docx): KeyError('word'). Open it", "깨졌거나"),
    ],
)
def test_a_file_that_cannot_be_read_is_explained_in_korean(message: str, korean: str) -> None:
    name = message.partition(": ")[0]
    assert korean in explain_file(ValueError(message), name)


def test_a_file_s_name_is_no_reason() -> None:
    assert explain_file(ValueError("password: cannot be read"), "password") == BROKEN.korean


def test_every_reason_ends_in_a_remedy_in_both_languages() -> None:
    for remedy in [BROKEN, *(remedy for _, remedy in REASONS)]:
        assert re.search(r"세요\.$", remedy.korean)
        assert not re.search("[가-힣]", remedy.english)


def test_no_reports_make_an_empty_table() -> None:
    assert "<tbody></tbody>" in files_html([])
