import json
from pathlib import Path
from typing import Any

import pytest

from rag_app.cli import FAILED, INTERRUPTED, OK, PARTLY, main
from rag_app.documents import document_id
from rag_app.stores import servers
from tests.in_memory_server import Server, memory_server

__all__ = ["memory_server"]

RICE = "올해 쌀 수확량이 지난해보다 4.2% 줄었다. 가뭄 탓이다."
SHIP = "조사선 가온호가 남해로 떠났다. 석 달 동안 해저 지형을 살핀다."
ARTICLES = [
    {"제목": "쌀 수확량 4.2% 감소", "본문": RICE, "작성일": "2025.1.3", "분야": "경제"},
    {"제목": "가온호 출항", "본문": SHIP, "작성일": "2025.2.7", "분야": "사회"},
]
PLACE = "memory://me:hunter2hunter@here/news"


pytestmark = pytest.mark.usefixtures("english")


@pytest.fixture
def news(tmp_path: Path) -> Path:
    path = tmp_path / "news.jsonl"
    path.write_text("\n".join(json.dumps(article, ensure_ascii=False) for article in ARTICLES), encoding="utf-8")
    return path


def test_every_command_takes_an_address(
    memory_server: Server, news: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAG_INDEX", PLACE)
    assert main(["index", str(news), "--quiet"]) == OK
    assert "memory://me@here/news: 2 documents in 2 passages indexed" in capsys.readouterr().out
    assert main(["index", str(news), "--quiet"]) == FAILED
    assert "memory://me@here/news holds an index already" in capsys.readouterr().err
    assert main(["search", "쌀 수확량", "--json"]) == OK
    assert json.loads(capsys.readouterr().out)[0]["text"] == RICE
    assert main(["search", "쌀 수확량", "--json", "--section", "사회"]) == OK
    assert [found["text"] for found in json.loads(capsys.readouterr().out)] == [SHIP]
    assert main(["ask", "가온호는 어디로 떠났나?", "--index", PLACE]) == OK
    assert "남해" in capsys.readouterr().out
    news.write_text(json.dumps(ARTICLES[0], ensure_ascii=False), encoding="utf-8")
    assert main(["add", str(news), "--update", "--quiet"]) == OK
    assert "removed 1." in capsys.readouterr().out
    assert main(["add", "sample", "--quiet"]) == OK
    assert main(["delete", document_id(RICE), "unknown"]) == PARTLY
    out, err = capsys.readouterr()
    assert "Removed 1." in out
    assert err.split("\n")[0] == "Not in the index: unknown"
    assert main(["check", "--json"]) == OK
    assert json.loads(capsys.readouterr().out) == {"index": "memory://me@here/news", "sound": True, "problems": []}
    memory_server.tables["news"].rows.popitem()
    assert main(["check", "--lang", "ko"]) in (OK, FAILED)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ConnectionError("memory://me@here/news does not answer.")])
@pytest.mark.parametrize("command", [["index"], ["add"], ["add", "--update"]])
def test_what_an_interruption_leaves_is_told_and_the_same_command_goes_on(
    command: list[str],
    error: BaseException,
    memory_server: Server,
    news: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if command[0] == "add":
        assert main(["index", "sample", "--index", PLACE, "--quiet"]) == OK

    def fail(call: str) -> None:
        if call == "upsert":
            raise error

    memory_server.fail_after = fail
    arguments = [*command, str(news), "--index", PLACE, "--quiet"]
    assert main(arguments) == (INTERRUPTED if isinstance(error, KeyboardInterrupt) else FAILED)
    assert "What was written by then is kept: the same command goes on." in capsys.readouterr().err
    memory_server.fail_after = lambda call: None
    assert main(arguments) == OK
    assert main(["check", "--index", PLACE]) == OK


def test_a_question_that_is_not_answered_says_nothing_of_writing(
    memory_server: Server, news: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", str(news), "--index", PLACE, "--quiet"]) == OK

    def fail(call: str) -> None:
        raise ConnectionError("The server is gone. Start it.")

    memory_server.fail = fail
    assert main(["search", "쌀", "--index", PLACE]) == FAILED
    assert capsys.readouterr().err == "rag-app: The server is gone. Start it.\n"


@pytest.mark.parametrize(
    "wrong", ["memory://me:hunter2@hunter@here/-", "redis://me:hunter2/hunter@here/news", "memory://me:hunter2@here"]
)
@pytest.mark.parametrize("way", ["option", "variable"])
def test_passwords_are_never_printed(
    way: str,
    wrong: str,
    memory_server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrong += "?token=hunter"
    if way == "option":
        with pytest.raises(SystemExit):
            main(["search", "쌀", "--index", wrong])
    else:
        monkeypatch.setenv("RAG_INDEX", wrong)
        assert main(["search", "쌀"]) == FAILED
    err = capsys.readouterr().err
    assert "hunter" not in err
    assert "memory://here/NAME" in err


def test_help_names_the_address_without_its_password(
    memory_server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAG_INDEX", PLACE)
    with pytest.raises(SystemExit):
        main(["search", "--help"])
    told = capsys.readouterr().out
    assert "memory://me@here/news" in told
    assert "hunter" not in told


def test_a_user_dictionary_is_refused_before_anything_is_read(
    memory_server: Server, news: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = news.with_name("words.tsv")
    words.write_text("가온호\tNNP\t0", encoding="utf-8")
    assert main(["index", str(news), "--index", PLACE, "--user-dictionary", str(words), "--quiet"]) == FAILED
    told = capsys.readouterr().err
    assert "goes with an index in a folder; a vector database keeps none. Leave out --user-dictionary." in told
    assert not memory_server.calls


@pytest.mark.parametrize(("scheme", "extra"), [("milvus", "milvus"), ("postgresql", "postgres")])
def test_a_missing_extra_is_named_with_the_command_that_brings_it(
    scheme: str, extra: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str, *_: Any) -> None:
        return None

    monkeypatch.setattr(servers, "find_spec", missing)
    assert main(["search", "쌀", "--index", f"{scheme}://me:hunter2hunter@127.0.0.1/database/news"]) == FAILED
    err = capsys.readouterr().err
    assert f"Install: pip install 'korean-rag[{extra}]'" in err
    assert "hunter" not in err
