"""A first load of Milvus from parquet shards; Lite imports no files, so a client writes what stands in them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from pyarrow import parquet
from pymilvus import MilvusClient

from rag_app.bulk import indexing
from rag_app.bulk import shards as shards_module
from rag_app.bulk.cluster import ray_cluster
from rag_app.bulk.files import find_files
from rag_app.bulk.reading import FileReport, read_file
from rag_app.bulk.shards import Shards, begin_import, open_shards, publish_import, write_shards
from rag_app.documents import document_id
from rag_app.embeddings import load_embeddings
from rag_app.files.tables import USUAL_COLUMNS
from rag_app.index import Index, build_index, open_index
from tests.milvus_server import MilvusServer, milvus_server

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray warns of what it does itself
_ARTICLES = 120
_LONG = " ".join(f"{n}번째 문장은 여기에서 끝난다. 그리고 이어진다." for n in range(150))
_SECOND = "둘째 파일에도 있는 기사다."


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("articles")
    for part in range(2):
        rows = [{"text": _text(n), "title": f"제목 {n}", "section": "경제"} for n in range(part, _ARTICLES, 2)]
        rows.append({"text": _SECOND, "title": "둘째", "section": f"분야 {part}"})
        rows += [{"text": _LONG, "title": "긴 글"}] if part else []
        lines = [json.dumps(row, ensure_ascii=False) for row in rows] + ["{"] * part
        Path(folder, f"part-{part}.jsonl").write_text("\n".join(lines), "utf-8")
    return folder


def _text(number: int) -> str:
    return f"{number}번째 소식이다. 국회는 제{number * 7}호 예산안을 의결했고 더위는 {number % 50}도까지 오른다."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    with milvus_server(tmp_path_factory.mktemp("milvus")) as running:
        yield running


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with ray_cluster(None):
        yield


@pytest.fixture(scope="module")
def shards(cluster: None, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Shards:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards_module, "_BYTES", 150_000)
        patch.setattr(indexing, "_BLOCK", 10_000)
        return write_shards(source, tmp_path_factory.mktemp("shards") / "new", vectors="exact")


def test_shards_hold_every_passage_once(shards: Shards, source: Path) -> None:
    assert len(shards.files) > 1
    tables = [parquet.read_table(Path(shards.folder, name)) for name in shards.files]
    assert [len(table) for table in tables] == list(shards.files.values())
    ids = [id_ for table in tables for id_ in table["id"].to_pylist()]
    assert len(set(ids)) == len(ids) == shards.passages
    texts = [*map(_text, range(_ARTICLES)), _LONG, _SECOND]
    assert {id_.partition(":")[0] for id_ in ids} == set(map(document_id, texts))
    assert shards.documents == _ARTICLES + 2
    (failed,) = shards.failed
    assert (Path(failed.file).name, failed.broken) == ("part-1.jsonl", 1)
    assert open_shards(shards.folder) == shards._replace(reports=[])
    assert {path.name for path in Path(shards.folder).iterdir()} == {*shards.files, "index.json"}
    with pytest.raises(FileExistsError, match="holds shards already"):
        write_shards(source, shards.folder)


def test_an_index_that_was_imported_answers_as_one_that_was_built(
    shards: Shards, source: Path, server: MilvusServer
) -> None:
    collection = begin_import(shards, server.address("imported"))
    names = list(shards.files)
    _import(server, collection, shards, names[:-1])
    with pytest.raises(ValueError, match=rf"passages of {shards.passages:,}\. Wait until each file is imported"):
        publish_import(shards, server.address("imported"))
    with pytest.raises(FileNotFoundError):
        open_index(server.address("imported"))
    assert begin_import(shards, server.address("imported")) == collection
    _import(server, collection, shards, names)
    publish_import(shards, server.address("imported"))

    index = open_index(server.address("imported"))
    built = build_index(server.address("built"), _articles(source), load_embeddings(), vectors="exact")
    assert index.snapshot.manifest == built.snapshot.manifest
    mine, wanted = _passages(index), _passages(built)
    assert mine.keys() == wanted.keys()
    assert {id_ for id_ in wanted if mine[id_] != wanted[id_]} <= {document_id(_SECOND)}  # which may come from either
    for question in ("제70호 예산안", "더위는 몇 도까지 오르나", "긴 글의 문장"):
        vector = load_embeddings().embed_query(question)
        found, near = (dict(i.snapshot.store.search_vector(vector, 10)) for i in (index, built))
        assert found == pytest.approx(near, abs=1e-5)
        hits, words = (i.snapshot.lexical.search(question, 10) for i in (index, built))
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in words], rel=0.05)  # Lite: by segment
        assert [hit.coverage for hit in hits] == pytest.approx([hit.coverage for hit in words], abs=0.05)
    with pytest.raises(FileExistsError):
        begin_import(shards, server.address("imported"))


def test_a_job_that_was_stopped_does_only_what_is_missing(
    cluster: None, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge = shards_module._merge_pieces
    seen: list[dict[str, tuple[int, set[str]]]] = []

    def look(*arguments: Any) -> Any:
        paths = (tmp_path / "new" / "_pieces").rglob("*.parquet")
        seen.append({path.name: (path.stat().st_mtime_ns, set(_written(path))) for path in paths})
        if len(seen) == 1:
            raise KeyboardInterrupt
        return merge(*arguments)

    monkeypatch.setattr(shards_module, "_merge_pieces", look)
    monkeypatch.setattr(indexing, "_BLOCK", 10_000)
    with pytest.raises(KeyboardInterrupt):
        write_shards(source, tmp_path / "new")
    with pytest.raises(FileNotFoundError, match="no complete shards"):
        open_shards(tmp_path / "new")
    [*_, lost] = (tmp_path / "new" / "_pieces").rglob("*.parquet")
    lost.unlink()
    Path(tmp_path, "new", "shard-00077.parquet").write_bytes(b"of a job that was stopped while it merged")
    shards = write_shards(source, tmp_path / "new")
    _, missing = seen[0].pop(lost.name)
    assert len(seen[0]) > 2
    assert seen[0].items() < seen[1].items()  # what was there was not written again
    again = [articles for name, (_, articles) in seen[1].items() if name not in seen[0]]
    assert set().union(*again) == missing  # and nothing else was than what the lost one held
    assert shards.documents == _ARTICLES + 2
    assert list(shards.files) == ["shard-00000.parquet"]
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"shard-00000.parquet", "index.json"}


def test_shards_are_for_milvus(shards: Shards) -> None:
    with pytest.raises(ValueError, match="Shards are imported by Milvus"):
        begin_import(shards, "postgresql://127.0.0.1/news/news")


def _written(piece: Path) -> list[str]:
    return [str(id_) for id_ in json.loads(parquet.read_metadata(piece).metadata[b"articles"])]


def _import(server: MilvusServer, collection: str, shards: Shards, names: list[str]) -> None:
    """Write what stands in some files, column by column as it is, but for the JSON, which a client gives as such."""
    client = MilvusClient(f"http://127.0.0.1:{server.port}", dedicated=True)
    for name in names:
        rows = parquet.read_table(Path(shards.folder, name)).to_pylist()
        client.insert(collection, [{**row, "metadata": json.loads(row["metadata"])} for row in rows])
    client.close()


def _articles(source: Path) -> Iterator[Document]:
    for file in find_files(source):
        yield from read_file(file, USUAL_COLUMNS, FileReport(file.name))


def _passages(index: Index) -> dict[str, tuple[str, dict[str, Any]]]:
    found = (passage for doc_id in index.document_ids() for passage in index.passages(doc_id))
    return {str(passage.id): (passage.page_content, passage.metadata) for passage in found}
