"""Without one of the extras for more than one machine, whatever needs it says how to install it."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding

from eval.hit_rate import main as benchmark
from rag_app.check import check_index
from rag_app.cli import FAILED
from rag_app.cli import main as rag_app
from rag_app.documents import make_document
from rag_app.index import build_index, open_index
from rag_app.stores.address import Address
from rag_app.stores.servers import server_store
from tests.in_memory_server import Server, memory_server

__all__ = ["memory_server"]

BRINGS = {
    "milvus": ("grpc", "langchain_milvus", "pymilvus"),
    "postgres": ("asyncpg", "langchain_postgres", "pgvector", "psycopg", "sqlalchemy"),
    "ray": ("fastapi", "grpc_reflection", "mmh3", "pyarrow", "ray", "starlette", "uvicorn", "watchfiles"),
}
"""The modules that only the extra brings, next to the core."""
PLACES = {
    "milvus": "milvus://me:hunter2@127.0.0.1:1/news",
    "postgres": "postgresql://me:hunter2@127.0.0.1:1/db/news",
}
EMBEDDINGS = DeterministicFakeEmbedding(size=8)
DOCUMENT = make_document("은행이 금리를 내렸다.")
Work = Callable[[str], object]
WORK: dict[str, Work] = {
    "server_store": lambda place: server_store(Address.parse(place)),
    "open_index": open_index,
    "open_index with embeddings": lambda place: open_index(place, EMBEDDINGS),
    "build_index": lambda place: build_index(place, [DOCUMENT], EMBEDDINGS),
    "build_index, replacing": lambda place: build_index(place, [DOCUMENT], EMBEDDINGS, replace=True),
    "check_index": lambda place: check_index(Address.parse(place)),
}
COMMANDS = {
    "index": ["index", "sample", "--quiet"],
    "index --replace": ["index", "sample", "--quiet", "--replace"],
    "add": ["add", "sample", "--quiet"],
    "add --update": ["add", "sample", "--quiet", "--update"],
    "delete": ["delete", "0"],
    "search": ["search", "금리"],
    "ask": ["ask", "금리는?"],
    "check": ["check"],
}


def _leave_out(extra: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let nothing be imported that only an extra brings, and return the command that installs it."""
    for name in list(sys.modules):
        if name.startswith(("rag_app.stores.milvus", "rag_app.stores.postgres", "rag_app.bulk", "rag_app.replicas")):
            monkeypatch.delitem(sys.modules, name)
    for name in BRINGS[extra]:
        monkeypatch.setitem(sys.modules, name, None)
    return f"pip install 'korean-rag[{extra}]'"


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("extra", PLACES)
def test_a_database_without_its_extra_is_told(extra: str, work: str, monkeypatch: pytest.MonkeyPatch) -> None:
    remedy = _leave_out(extra, monkeypatch)
    with pytest.raises(ImportError) as raised:
        WORK[work](PLACES[extra])
    assert remedy in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("extra", PLACES)
def test_a_command_without_its_extra_is_told(
    extra: str, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    remedy = _leave_out(extra, monkeypatch)
    assert rag_app([*COMMANDS[command], "--index", PLACES[extra]]) == FAILED
    told = capsys.readouterr().err
    assert remedy in told
    assert "hunter2" not in told


@pytest.mark.parametrize("extra", PLACES)
def test_the_benchmark_without_the_extra_of_its_store_is_told_before_anything_slow(
    extra: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    remedy = _leave_out(extra, monkeypatch)
    monkeypatch.setattr("eval.hit_rate.prepare", lambda *_: pytest.fail("data and models are loaded"))
    with pytest.raises(SystemExit):
        benchmark(["--data", "sample", "--store", PLACES[extra]])
    told = capsys.readouterr().err
    assert remedy in told
    assert "hunter2" not in told


def test_a_database_that_does_not_answer_is_told_before_anything_slow(
    memory_server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(call: str) -> None:
        raise ConnectionError("memory://here does not answer.")

    memory_server.fail = fail
    monkeypatch.setattr("eval.hit_rate.prepare", lambda *_: pytest.fail("data and models are loaded"))
    with pytest.raises(SystemExit):
        benchmark(["--data", "sample", "--store", "memory://here/bench"])
    assert "memory://here does not answer." in capsys.readouterr().err


@pytest.mark.parametrize("name", ["app", "running"])
def test_replicas_without_ray_are_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    remedy = _leave_out("ray", monkeypatch)
    with pytest.raises(ImportError) as raised:
        importlib.import_module(f"rag_app.replicas.{name}")
    assert remedy in str(raised.value)


def test_asking_replicas_needs_no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for extra in BRINGS:
        _leave_out(extra, monkeypatch)
    assert importlib.import_module("rag_app.replicas.client").ReplicaRetriever


@pytest.mark.parametrize(("missing", "extra"), [("ray", "ray"), ("milvus", "milvus"), ("postgres", "postgres")])
def test_indexing_in_bulk_without_an_extra_is_told(
    missing: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "news.jsonl"
    source.write_text('{"text": "은행이 금리를 내렸다."}', "utf-8")
    remedy = _leave_out(missing, monkeypatch)
    bulk = importlib.import_module("rag_app.bulk.indexing")
    with pytest.raises(ImportError) as raised:
        bulk.index_in_bulk(str(source), PLACES.get(extra, PLACES["milvus"]))
    assert remedy in str(raised.value)


def test_an_index_in_a_folder_needs_no_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for extra in BRINGS:
        _leave_out(extra, monkeypatch)
    build_index(tmp_path / "index", [DOCUMENT], EMBEDDINGS)
    assert open_index(str(tmp_path / "index"), EMBEDDINGS).document_ids() == {DOCUMENT.id}
