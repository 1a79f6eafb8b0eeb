import errno
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rag_app.cli import FAILED, INTERRUPTED, OK, PARTLY, main

RICE = "올해 쌀 수확량이 지난해보다 4.2% 줄었다. 가뭄 탓이다."
SHIP = "조사선 가온호가 남해로 떠났다. 석 달 동안 해저 지형을 살핀다."
COLD = "강원 산지에 한파 경보가 내려졌다. 기온이 영하 20도까지 떨어진다."
ARTICLES = [
    {"제목": "쌀 수확량 4.2% 감소", "본문": RICE, "작성일": "2025.1.3", "분야": "경제"},
    {"제목": "가온호 출항", "본문": SHIP, "작성일": "2025.2.7", "분야": "사회"},
    {"제목": "한파 특보", "본문": COLD, "작성일": "2025.2.9", "분야": "날씨"},
]


pytestmark = pytest.mark.usefixtures("english")


@pytest.fixture
def news(tmp_path: Path) -> Path:
    path = tmp_path / "news.jsonl"
    path.write_text("\n".join(json.dumps(article, ensure_ascii=False) for article in ARTICLES), encoding="utf-8")
    return path


@pytest.fixture
def index(tmp_path: Path, news: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["index", str(news), "--index", str(tmp_path / "index"), "--quiet"]) == OK
    capsys.readouterr()
    return tmp_path / "index"


def _search(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main(["search", *arguments, "--json"]) == OK
    results: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return results


def test_index_says_what_it_did(tmp_path: Path, news: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", str(news), "--index", str(tmp_path / "index"), "--quiet"]) == OK
    assert "3 documents in 3 passages indexed" in capsys.readouterr().out


def test_the_form_of_the_vectors_can_be_chosen(tmp_path: Path, news: Path) -> None:
    for form in ("auto", "exact"):
        command = ["index", str(news), "--index", str(tmp_path / "index"), "--quiet", "--replace", "--vectors", form]
        assert main(command) == OK
        manifest = json.loads((tmp_path / "index" / "manifest.json").read_text(encoding="utf-8"))
        assert manifest["vectors"]["asked"] == form


def test_search_prints_records(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = _search(capsys, "쌀은 얼마나 줄었나?", "-k", "2", "--index", str(index))
    assert len(results) == 2
    assert set(results[0]) == {"doc_id", "score", "text", "metadata"}
    assert results[0]["text"] == ARTICLES[0]["본문"]
    assert results[0]["metadata"]["title"] == ARTICLES[0]["제목"]
    assert results[0]["metadata"]["date"] == "2025-01-03"
    assert results[0]["score"] > results[1]["score"]


def test_search_reranks_unless_told_not_to(
    index: Path, tiny_linear_reranker: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stages(*arguments: str) -> set[str]:
        [first, *_] = _search(capsys, "가온호는 어디로 떠났나?", "--index", str(index), *arguments)
        assert first["metadata"]["title"] == "가온호 출항"
        return set(first["metadata"]["stages"])

    searched = {"lexical", "dense", "fusion"}
    assert stages() == searched | {"rerank"}
    assert stages("--reranker", str(tiny_linear_reranker)) == searched | {"rerank"}
    assert stages("--reranker", "none") == searched
    monkeypatch.setenv("RAG_RERANKER", "None")
    assert stages() == searched
    assert stages("--reranker", "embedded") == searched | {"rerank"}


def test_help_names_the_reranker_in_use(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for value, shown in (("embedded", "default embedded"), ("none", "default none")):
        monkeypatch.setenv("RAG_RERANKER", value)
        with pytest.raises(SystemExit):
            main(["search", "--help"])
        assert shown in " ".join(capsys.readouterr().out.split())


def test_search_filters_by_section_and_date(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["소식", "--index", str(index)]
    assert [r["metadata"]["section"] for r in _search(capsys, *common, "--section", "날씨")] == ["날씨"]
    assert len(_search(capsys, *common, "--since", "2025.2.1")) == 2
    assert len(_search(capsys, *common, "--since", "2025-02-01", "--until", "2025-02-07")) == 1


def test_ask_quotes_with_sources(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "가온호는 어디로 떠났나요?", "--index", str(index)]) == OK
    printed = capsys.readouterr().out
    assert "조사선 가온호가 남해로 떠났다." in printed
    assert "[1] 가온호 출항 (2025-02-07, 사회)" in printed


@pytest.mark.fault(5, "The command read the first 2,000 characters of a long question without saying so.")
def test_a_question_that_is_not_read_to_its_end_is_told(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("search", "ask"):
        assert main([command, "가온호는 어디로 떠났나요? " * 200, "--index", str(index), "--lang", "en"]) == OK
        assert "Only the question's first 2,000 characters are read." in capsys.readouterr().err


def test_ask_json_holds_answer_and_sources(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "가온호는 어디로 떠났나요?", "--index", str(index), "--json"]) == OK
    answer = json.loads(capsys.readouterr().out)
    assert answer["refused"] is False
    assert "[1]" in answer["answer"]
    [source] = [source for source in answer["sources"] if source["metadata"]["citation"] == 1]
    quote = source["metadata"]["quote"]
    assert source["text"][quote["start"] : quote["end"]] in answer["answer"]


def test_ask_refuses_what_no_article_says(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "프로야구 결승전 우승팀은?", "--index", str(index), "--json"]) == OK
    answer = json.loads(capsys.readouterr().out)
    assert answer["refused"] is True
    assert answer["answer"].startswith("관련 기사를 찾지 못했습니다")


def test_add_update_and_delete(index: Path, news: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["add", str(news), "--index", str(index), "--quiet"]) == OK
    assert "Added 0, there already 3, removed 0." in capsys.readouterr().out
    corrected = [{**ARTICLES[0], "본문": "올해 쌀 수확량이 5.1% 줄었다."}, ARTICLES[1]]
    news.write_text("\n".join(json.dumps(article, ensure_ascii=False) for article in corrected), encoding="utf-8")
    assert main(["add", str(news), "--update", "--index", str(index), "--quiet"]) == OK
    assert "Added 1, there already 1, removed 2." in capsys.readouterr().out
    [rice, ship] = _search(capsys, "쌀 수확량", "--index", str(index))
    assert "5.1%" in rice["text"]
    assert main(["delete", ship["doc_id"], "nowhere", "--index", str(index)]) == PARTLY
    assert "nowhere" in capsys.readouterr().err
    assert len(_search(capsys, "쌀 수확량", "--index", str(index))) == 1


def test_a_broken_file_is_named_and_the_rest_is_indexed(
    tmp_path: Path, news: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"본문": "글"}\n{"본문": ', encoding="utf-8")
    (tmp_path / "cp949.txt").write_bytes("완성형으로 쓴 기사입니다.".encode("cp949"))
    assert main(["index", str(tmp_path), "--index", str(tmp_path / "index"), "--quiet"]) == PARTLY
    captured = capsys.readouterr()
    assert "4 documents" in captured.out
    assert "broken.jsonl" in captured.err
    assert "line 2" in captured.err


def test_columns_can_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "table.csv"
    table.write_text("기사글,머리말\n바다에 고래가 나타났다.,고래 출현\n", encoding="utf-8")
    arguments = ["index", str(table), "--index", str(tmp_path / "index"), "--quiet"]
    assert main(arguments) == FAILED
    assert "--text-column" in capsys.readouterr().err
    assert main([*arguments, "--text-column", "기사글", "--title-column", "머리말"]) == OK
    capsys.readouterr()
    assert _search(capsys, "고래", "--index", str(tmp_path / "index"))[0]["metadata"]["title"] == "고래 출현"


def test_an_index_is_only_replaced_on_request(index: Path, news: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", str(news), "--index", str(index), "--quiet"]) == FAILED
    assert "already" in capsys.readouterr().err
    assert main(["index", str(news), "--index", str(index), "--quiet", "--replace"]) == OK


def test_check_tells_sound_from_damaged(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--index", str(index), "--json"]) == OK
    assert json.loads(capsys.readouterr().out)["sound"] is True
    [documents] = index.glob("*/documents.jsonl")
    documents.write_bytes(documents.read_bytes().replace("쌀".encode(), "빵".encode(), 1))
    assert main(["check", "--index", str(index)]) == FAILED
    assert "documents.jsonl" in capsys.readouterr().out
    assert main(["search", "쌀", "--index", str(index)]) == FAILED
    assert "Damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "질문", "--index", "nowhere"], "rag-app index"),
        (["index", "nowhere.txt", "--index", "new"], "nowhere.txt"),
        (["index", "--index", "new", "--model", "nowhere/folder/x", "sample"], "nowhere/folder/x"),
    ],
)
def test_errors_are_one_line_with_a_remedy(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == FAILED
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_an_empty_question_is_refused(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("search", "ask"):
        assert main([command, "  ", "--index", str(index)]) == FAILED
        assert "empty" in capsys.readouterr().err


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_help_speaks_both_languages(lang: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["search", "--help", "--lang", lang])
    assert stop.value.code == 0
    assert ("질문에 맞는 글을" in capsys.readouterr().out) is (lang == "ko")


def test_the_locale_chooses_the_language(
    index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LC_ALL", "ko_KR.UTF-8")
    assert main(["check", "--index", str(index)]) == OK
    assert "이상 없습니다" in capsys.readouterr().out


def test_ctrl_c_leaves_no_half_index(tmp_path: Path) -> None:
    lines = (
        json.dumps({"text": f"{n}번째 기사. " + "긴 글이 이어진다. " * 60}, ensure_ascii=False) for n in range(20_000)
    )
    (tmp_path / "many.jsonl").write_text("\n".join(lines), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "rag_app.cli",
        "index",
        str(tmp_path / "many.jsonl"),
        "--index",
        str(tmp_path / "i"),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "i" / "generation-000001").exists():  # it has begun to write
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    # Python ends itself by the signal if it came while code was compiled from a string, as NamedTuples are: a shell
    # sees the same status.
    assert process.returncode in (INTERRUPTED, -signal.SIGINT)
    assert "Traceback" not in error
    assert not (tmp_path / "i" / "manifest.json").exists()
    assert not (tmp_path / "i" / "generation-000001").exists()


def test_what_ctrl_c_keeps_is_told(
    tmp_path: Path,
    tiny_sentence_transformer: Path,
    news: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rag_app.vector_spool.VectorSpool.discard", stop)  # all vectors are made, nothing is committed
    index = str(tmp_path / "index")
    for model, told in [("embedded", 0), (str(tiny_sentence_transformer), 1)]:
        status = main(["index", str(news), "--index", index, "--model", model, "--quiet", "--replace"])
        assert status == (INTERRUPTED if told else OK)
        assert capsys.readouterr().err.count("vectors are kept") == told
    assert main(["search", "쌀", "--index", index]) == OK


@pytest.mark.fault(
    1, "After Ctrl-C or on a full disk, the command said that the index was as before when it had changed."
)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_what_comes_after_the_index_has_changed_does_not_say_that_it_has_not(
    error: BaseException,
    index: Path,
    news: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    command = ["index", str(news), "--index", str(index), "--replace", "--quiet", "--model", "embedded", "--lang", "en"]
    monkeypatch.setattr("rag_app.folder_index.log_event", fail)  # once it is committed
    assert main(command) != OK
    assert "The index had been changed by then." in capsys.readouterr().err
    monkeypatch.setattr("rag_app.folder_index.new_generation", fail)
    assert main(command) != OK
    assert "The index is as it was." in capsys.readouterr().err


def test_update_knows_a_file_by_whatever_name(index: Path, news: Path, capsys: pytest.CaptureFixture[str]) -> None:
    news.write_text(json.dumps(ARTICLES[0], ensure_ascii=False), encoding="utf-8")
    detour = news.parent / ".." / news.parent.name / news.name
    assert main(["add", str(detour), "--update", "--index", str(index), "--quiet"]) == OK
    assert "removed 2." in capsys.readouterr().out


def test_wrong_settings_and_dates_are_explained(
    index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["search", "쌀", "--index", str(index), "--since", "어제"])
    assert "2025-01-31" in capsys.readouterr().err
    for wrong in ("RAG_K=many", "RAG_RERANK_BUDGET_MS=inf", "RAG_BACKEND=onnx-int4", "RAG_COLLAPSE=perhaps"):
        with monkeypatch.context() as environment:
            environment.setenv(*wrong.split("="))
            assert main(["search", "쌀", "--index", str(index)]) == FAILED
        assert capsys.readouterr().err.count(wrong) == 1


@pytest.mark.parametrize("wrong", ["0", "-1", "nan", "inf", "many", "9" * 400])
@pytest.mark.parametrize("option", ["-k", "--recency", "--rerank-budget-ms"])
def test_wrong_numbers_are_explained(option: str, wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["search", "쌀", f"{option}={wrong}" if option != "-k" else f"-k{wrong}"])
    assert stop.value.code == 2
    assert f", got {wrong}" in capsys.readouterr().err


def test_an_answer_can_rest_on_more_than_ten_sources(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    news = tmp_path / "many.jsonl"
    rows = ({"본문": f"가온호가 {n}번째 항해를 마쳤다."} for n in range(15))
    news.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    assert main(["index", str(news), "--index", str(tmp_path / "index"), "--quiet"]) == OK
    capsys.readouterr()
    question = "가온호는 7번째 항해를 마쳤나요?"
    assert main(["ask", question, "--sources", "12", "--index", str(tmp_path / "index"), "--json"]) == OK
    assert len(json.loads(capsys.readouterr().out)["sources"]) == 12
