import argparse
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from eval.hit_rate import main as hit_rate
from rag_app import build_index, load_embeddings
from rag_app.cli import main
from rag_app.data import sample_documents
from rag_app.stores.address import Address

ROOT = Path(__file__).parents[1]


def _examples(name: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def _example(name: str) -> str:
    [code] = _examples(name)
    return code


def _commands(name: str) -> list[str]:
    return re.findall(r"^rag-app ([^#\n]+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)


def test_the_example_runs_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(_example("README.md"), "README.md", "exec"), {})
    titles, answer = capsys.readouterr().out.split("\n“", 1)
    assert "한빛 3호" in titles.splitlines()[0]
    assert len(titles.splitlines()) == 5
    assert "3월 8일 새벽 완전히 열렸으며" in answer
    assert "[1]" in answer


def test_the_retriever_of_ones_own_is_measured_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_search.py").write_text(_example("docs/evaluation.md"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    options = ["--limit", "5", "--systems", "base,mine"]
    assert hit_rate(["--retriever", "mine=my_search:make", *options, "--json", "results.json"]) == 0
    systems = json.loads(Path("results.json").read_text("utf-8"))["protocols"]["clean"]["systems"]
    assert systems["mine"]["hit_rate@10"] == systems["base"]["hit_rate@10"] > 0


def test_the_retrieval_example_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    build_index("news-index", sample_documents(), load_embeddings())
    names: dict[str, Any] = {}
    exec(compile(_example("docs/retrieval.md"), "docs/retrieval.md", "exec"), names)
    documents = names["retriever"].invoke("지난달 나온 한울경제 기사 가운데 성장률 전망은?")
    assert {(document.metadata["section"], document.metadata["source"]) for document in documents} == {
        ("경제", "한울경제")
    }
    assert all("timely" in document.metadata["stages"]["fusion"] for document in documents)
    assert "spent" in documents[0].metadata["stages"]["rerank"]


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_the_commands_run_as_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "more.jsonl").write_text('{"text": "바다에 고래가 나타났다."}', encoding="utf-8")
    commands = [command for command in _commands(name) if "://" not in command]
    assert [command.split()[0] for command in commands] == ["index", "add", "search", "ask", "check"]
    for command in commands:
        assert main(shlex.split(command)) == 0
    assert "3월 8일 새벽 완전히 열렸으며" in capsys.readouterr().out.split("[1]")[0].splitlines()[-1]


@pytest.mark.parametrize("name", ["README.md", "README.ko.md", "docs/servers.md"])
def test_commands_for_servers_are_understood(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    places = []

    def understood(options: argparse.Namespace, say: object) -> int:
        places.append(options.index)
        return 0

    monkeypatch.setattr("rag_app.cli._run", understood)
    for command in _commands(name):
        assert main(shlex.split(command)) == 0
    assert any(isinstance(place, Address) for place in places)


def test_what_the_examples_for_servers_import_is_there() -> None:
    examples = _examples("docs/servers.md")
    imports = [line for example in examples for line in example.splitlines() if line.startswith("from ")]
    assert len(imports) == len(examples)
    exec("\n".join(imports), {})


def test_both_languages_show_the_same_example() -> None:
    assert _example("README.md") == _example("README.ko.md")


@pytest.mark.parametrize(
    "name",
    [
        *("README.md", "README.ko.md", "docs/chat.md", "docs/chat.ko.md"),
        *("docs/finetuning.md", "docs/evaluation.md", "docs/retrieval.md"),
        *("docs/reliability.md", "docs/security.md", "docs/operations.md", "SECURITY.md", "CHANGELOG.md"),
        *("docs/scale.md", "docs/servers.md"),
    ],
)
def test_links_and_make_targets_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("https://") or (ROOT / name).parent.joinpath(link).exists(), link
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", text, re.MULTILINE):
        assert f"\n{target}:" in makefile, target


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_only_named_extras_exist(name: str) -> None:
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    mentioned = re.findall(r"\[([a-z]+)\]'", (ROOT / name).read_text(encoding="utf-8"))
    assert set(mentioned) <= set(extras)
