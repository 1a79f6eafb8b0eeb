"""The benchmark's view over a report that nobody had to measure, by Streamlit's own test harness."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eval.report.folder import write_report
from rag_app.benchmark.order import Order
from rag_app.data import load_retrieval_data, sample_documents
from rag_app.embeddings import load_embeddings
from rag_app.index import build_index
from tests.benchmark_results import SKILL, make_results

pytest.importorskip("streamlit", reason="the ui extra is not installed")

from rag_app.page.benchmark.data_problems import explain_data
from rag_app.page.benchmark.scores import PUBLISHED, milliseconds

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest


def _show() -> None:
    """The view alone, as `streamlit_app.py` shows it."""
    from rag_app.embeddings import load_embeddings
    from rag_app.index import open_index
    from rag_app.page.benchmark.view import show_benchmark
    from rag_app.settings import load_settings

    settings = load_settings()
    show_benchmark(open_index(settings.index, load_embeddings()), settings)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("benchmark") / "index"
    build_index(path, sample_documents()[:20], load_embeddings())
    return path


@pytest.fixture
def home(tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAG_HOME", str(tmp_path))
    monkeypatch.setenv("RAG_INDEX", str(index))
    monkeypatch.setattr("rag_app.page.benchmark.order._possible", lambda order: ["lexical", "base", "mine"])
    return tmp_path


def _ordered(home: Path, name: str) -> Path:
    """A benchmark's folder, of which there is only the order."""
    folder = home / "reports" / name
    folder.mkdir(parents=True)
    order = Order("sample", tuple(SKILL), protocol="both")
    content = {"order": order._asdict(), "started": "2026-11-23T01:02:03+00:00", "resumed": False}
    (folder / "order.json").write_text(json.dumps(content), "utf-8")
    return folder


def _run() -> "AppTest":
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_function(_show, default_timeout=30).run()
    assert not app.exception
    return app


def _html(app: "AppTest") -> str:
    return "\n".join(element.proto.body for element in app.get("html"))


def test_without_a_benchmark_the_page_says_how_to_begin(home: Path) -> None:
    app = _run()
    assert "아직 잰 것이 없습니다" in app.info[0].value
    assert next(box for box in app.multiselect if box.label == "견줄 검색 방식").value == ["lexical", "base", "mine"]
    start = next(button for button in app.button if button.label == "재기 시작")
    assert not start.disabled


def test_a_report_is_a_table_with_intervals_and_what_it_holds_is_text(home: Path) -> None:
    write_report(make_results(), _ordered(home, "one") / "report")
    app = _run()
    shown = _html(app)
    assert shown.count('<table class="benchmark">') == 2
    assert "mine|&lt;b&gt;" in shown
    assert "가장 높음" in shown
    assert '<th scope="row">낱말+뜻 (hybrid)</th>' in shown
    for dangerous in ("<script", "<img", "<b>mine", "mine|<b>"):
        assert dangerous not in shown
    published = [element.value for element in app.caption if "튜토리얼이 발표한" in str(element.value)]
    assert [str(value) in published[0] for _, value in PUBLISHED] == [True] * 3
    assert "다른 자료(KLUE-MRC)" in published[0]


def test_a_question_cannot_be_opened_without_an_index_of_its_articles(home: Path) -> None:
    write_report(make_results(tutorial=False), _ordered(home, "one") / "report")
    app = _run()
    opening = [button for button in app.button if button.label == "채팅에서 열기"]
    assert opening
    assert all(button.disabled for button in opening)
    assert any(button.label == "이 자료로 색인 만들기" for button in app.button)


def test_one_that_failed_shows_the_program_s_words_as_text(home: Path) -> None:
    (_ordered(home, "one") / "log.txt").write_text("eval.hit_rate: error: *line* <b>3</b>\n", "utf-8")
    app = _run()
    assert r"\*line\* \<b\>3\</b\>" in app.error[0].value
    labels = [button.label for button in app.button]
    assert {"다시 해 보기", "처음부터 다시"} <= set(labels)


def test_an_upload_without_questions_is_told_by_its_name_and_not_measured_again(home: Path) -> None:
    folder = _ordered(home, "one")
    data = folder / "data" / "기사.csv"
    data.parent.mkdir()
    data.write_text("title,text\n가람호수,물이 따뜻해졌다.\n", "utf-8")
    order = {**json.loads((folder / "order.json").read_text("utf-8"))["order"], "data": str(data)}
    content = {"order": order, "started": "2026-11-23T01:02:03+00:00", "resumed": False}
    (folder / "order.json").write_text(json.dumps(content), "utf-8")
    with pytest.raises(ValueError, match="holds no question") as raised:
        load_retrieval_data(data)
    (folder / "log.txt").write_text(f"python -m eval.hit_rate: error: {raised.value}\n", "utf-8")
    app = _run()
    [error] = app.error
    assert "question(또는 질문) 열" in error.value
    assert r"기사\.csv holds no question" in error.value
    assert not any(str(home) in str(element.value) for element in (error, *app.code))
    assert not {"다시 해 보기", "처음부터 다시"} & {button.label for button in app.button}


@pytest.mark.parametrize(
    ("message", "korean"),
    [
        ("DATA: line 2: no column for the text among question, answer. Name it with --text-column", "context(또는"),
        ("DATA: line 2: the context is empty", "빈 줄"),
        ("DATA: line 2: 3 cells under 2 column names. Put cells that hold the delimiter in quotes", "어긋난 곳"),
        ("DATA: its encoding is neither UTF-8 nor CP949 (EUC-KR). Save it as UTF-8", "UTF-8로 저장"),
        ("DATA has the suffix '.pdf'. Questions are read from .jsonl, .json, .csv, .tsv", "csv"),
        ("There is no file or folder DATA. By name there are sample, klue", "경로를 확인"),
        ("None of the 3 questions has an answer. Give data with answerable questions.", "답이 있는 질문"),
        ("json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)", ""),
        ("There is no file or folder models/mine", ""),
    ],
)
def test_data_that_cannot_be_measured_are_explained_in_korean(message: str, korean: str) -> None:
    data = "/data/line 3 holds no question.csv"
    told = explain_data(message.replace("DATA", data), data)
    assert korean in told if korean and told else told is None


def test_a_broken_report_is_explained(home: Path) -> None:
    report = _ordered(home, "one") / "report"
    report.mkdir()
    (report / "results.json").write_text("{}")
    assert "Run the benchmark again" in _run().error[0].value


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.00123, "1.23 ms"), (0.0123, "12.3 ms"), (0.123, "123 ms"), (1.5, "1500 ms")]
)
def test_times_have_three_digits(seconds: float, words: str) -> None:
    assert milliseconds(seconds) == words
