import json
from pathlib import Path

import pytest

from rag_app.bulk import indexing
from rag_app.cli import FAILED, main

PLACE = "postgresql://me@127.0.0.1:1/rag/news"


pytestmark = pytest.mark.usefixtures("english")


@pytest.fixture
def news(tmp_path: Path) -> Path:
    path = tmp_path / "news.jsonl"
    path.write_text(json.dumps({"text": "국회는 예산안을 의결했다."}), encoding="utf-8")
    return path


def _error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["index", *arguments, "--quiet"]) == FAILED
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    "option",
    [
        ["--ray-address", "here:6379"],
        ["--workers", "2"],
        ["--gpus-per-actor", "0.5"],
        ["--checkpoint", "notes"],
    ],
)
def test_options_of_an_engine_are_refused_without_one(
    option: list[str], news: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = _error(capsys, str(news), "--index", str(tmp_path / "index"), *option)
    assert error == f"rag-app: {option[0]}: only with --engine ray. Add that, or leave this out.\n"
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("engine", [[], ["--engine", "ray"]])
def test_a_user_dictionary_is_refused_for_a_vector_database(
    engine: list[str], news: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = _error(capsys, str(news), "--index", PLACE, "--user-dictionary", str(news), *engine)
    assert "Leave out --user-dictionary." in error


def test_a_folder_is_refused_as_the_place_of_a_bulk_job(
    news: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = _error(capsys, str(news), "--index", str(tmp_path / "index"), "--engine", "ray")
    assert "index is a folder. Give an address" in error
    assert "or leave out --engine ray" in error


def test_without_ray_the_command_says_what_to_install(
    news: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(indexing, "find_spec", lambda name: None)
    error = _error(capsys, str(news), "--index", PLACE, "--engine", "ray")
    assert error.endswith("Install: pip install 'korean-rag[ray]'\n")


def test_data_that_go_by_a_name_are_read_in_process(capsys: pytest.CaptureFixture[str]) -> None:
    error = _error(capsys, "sample", "--index", PLACE, "--engine", "ray")
    assert error == "rag-app: sample: data of this name are read in process. Leave out --engine ray\n"


@pytest.mark.parametrize("share", ["0", "-1", "1.5", "x", "nan", "inf"])
def test_a_share_of_a_gpu_that_ray_does_not_give_is_refused(share: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["index", "in", "--engine", "ray", f"--gpus-per-actor={share}"])
    assert "want a share of one GPU such as 0.5" in capsys.readouterr().err
