import gzip
import json
import pickle
import random
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from pyarrow import parquet

from rag_app.bulk import checkpoints, cluster, files, indexing
from rag_app.bulk.checkpoints import FOLDER, checkpoints_of, done_before
from rag_app.bulk.cluster import ray_cluster
from rag_app.bulk.command import broken_rows
from rag_app.bulk.files import DataFile, find_files
from rag_app.bulk.indexing import BulkResult, index_in_bulk
from rag_app.bulk.reading import FileReport, read_file
from rag_app.bulk.rows import ID_TYPE, REPORT, articles_of, doc_ids_of, done_with, file_tables, no_ids, reports_of
from rag_app.documents import document_id, make_document
from rag_app.embeddings import load_embeddings
from rag_app.files.tables import USUAL_COLUMNS, Columns
from rag_app.language import choose_language
from rag_app.server_index import new_manifest, write_articles
from rag_app.stores.address import Address
from rag_app.stores.server import ServerStore
from rag_app.stores.servers import server_store
from tests.in_memory_server import Server, memory_server  # noqa: F401

_TEXTS = ["국회는 예산안을 의결했다.", "기상청은 비를 예보했다.", "개막전이 잠실에서 열렸다."]


def _write_lines(path: Path, *lines: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\n".join(line.encode() if isinstance(line, str) else line for line in lines))
    return path


def _line(text: str, **fields: Any) -> str:
    return json.dumps({"text": text, **fields}, ensure_ascii=False)


def _read(path: Path, columns: Columns = USUAL_COLUMNS) -> tuple[list[str], FileReport]:
    (file,) = find_files(path)
    report = FileReport(file.name)
    return [article.page_content for article in read_file(file, columns, report)], report


def test_a_folder_is_searched_for_files_of_known_formats_and_hidden_ones_are_passed_over(tmp_path: Path) -> None:
    for name in ("b/2.jsonl.gz", "a.parquet", "c.csv", ".hidden/x.jsonl", "_temporary/y.jsonl", "notes.txt"):
        _write_lines(tmp_path / name, "")
    names = [file.name.removeprefix(f"{tmp_path}/") for file in find_files(tmp_path)]
    assert names == ["a.parquet", "b/2.jsonl.gz", "c.csv"]
    assert [file.suffix for file in find_files(tmp_path)] == [".parquet", ".jsonl", ".csv"]


def test_a_file_that_is_named_and_in_a_named_folder_is_read_once(tmp_path: Path) -> None:
    path = _write_lines(tmp_path / "a.jsonl", _line(_TEXTS[0]))
    assert len(find_files([tmp_path, path])) == 1


def test_a_place_without_articles_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find_files(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"holds no file that a bulk job reads.*\.parquet"):
        find_files(tmp_path)


def test_broken_lines_cost_only_themselves(tmp_path: Path) -> None:
    path = _write_lines(
        tmp_path / "a.jsonl",
        b"\xef\xbb\xbf" + _line(_TEXTS[0]).encode(),
        '{"text": ',
        _line(_TEXTS[1], title="날씨"),
        '{"text": 3}',
        b"\xb1\xb9\xc8\xb8",
        "",
        _line("…"),
        _line(_TEXTS[0]),
        '{"headline": "글 없음"}',
        _line(_TEXTS[2]),
    )
    texts, report = _read(path)
    assert texts == _TEXTS
    assert (report.articles, report.repeated, report.broken) == (3, 1, 4)
    for error, place in zip(
        report.errors, ["line 2: not JSON", "line 4: column", "line 5: not UTF-8", "line 9: no"], strict=True
    ):
        assert error.startswith(place)


def test_a_column_that_is_named_may_be_left_out_of_later_rows(tmp_path: Path) -> None:
    path = _write_lines(tmp_path / "a.jsonl", _line(_TEXTS[0], kopf="예산"), "{", _line(_TEXTS[1]), _line(_TEXTS[2]))
    texts, report = _read(path, Columns(title="kopf"))
    assert (texts, report.broken) == (_TEXTS, 1)


def test_each_format_gives_the_same_articles(tmp_path: Path) -> None:
    rows = [{"text": text, "title": f"제목 {number}", "date": "2025-01-31"} for number, text in enumerate(_TEXTS)]
    lines = "\n".join(json.dumps(row) for row in rows).encode()
    (tmp_path / "a.jsonl").write_bytes(lines)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines))
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
    _write_lines(tmp_path / "d.csv", "text,title,date", *(",".join(row.values()) for row in rows))
    _write_lines(tmp_path / "e.json", json.dumps(rows))
    found = []
    for file in find_files(tmp_path):
        articles = list(read_file(file, USUAL_COLUMNS, FileReport(file.name)))
        assert {article.metadata.pop("path") for article in articles} == {file.name}
        found.append(articles)
    assert len(found) == 5
    assert all(articles == found[0] for articles in found)
    assert found[0][1].metadata == {"title": "제목 1", "date": "2025-01-31", "doc_id": document_id(_TEXTS[1])}


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("a.parquet", b"no parquet", "arquet"),
        ("a.jsonl.gz", b"no gzip", "zlib"),
        ("a.csv", 'text\n"국회는'.encode(), "line 2"),
        ("a.jsonl", b"", "holds no text"),
    ],
)
def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path, name: str, content: bytes, error: str) -> None:
    (tmp_path / name).write_bytes(content)
    texts, report = _read(tmp_path / name)
    assert (texts, report.articles, report.broken) == ([], 0, 1)
    assert error in report.errors[0]


def _tables(path: Path, done: Sequence[str] = ()) -> pa.Table:
    ids = np.array(sorted(done), ID_TYPE)
    return pa.concat_tables(file_tables(find_files(path), USUAL_COLUMNS, ids))


def test_articles_travel_as_rows_and_a_report_follows_them(tmp_path: Path) -> None:
    path = _write_lines(tmp_path / "a.jsonl", *map(_line, _TEXTS), "{")
    table = _tables(path)
    articles = articles_of(pa.concat_tables([table, table]))
    assert [article.page_content for article in articles] == _TEXTS
    assert [article.id for article in articles] == list(map(document_id, _TEXTS))
    kept = done_with(table)
    assert doc_ids_of(kept) == list(map(document_id, _TEXTS))
    (report,) = reports_of(kept["report"].to_pylist())
    assert (report.file, report.articles, report.broken) == (str(path), 3, 1)


def test_what_is_done_is_left_out_but_counted_and_its_errors_are_told_again(tmp_path: Path) -> None:
    path = _write_lines(tmp_path / "a.jsonl", *map(_line, _TEXTS), "{")
    first = _tables(path)["id"].to_pylist()
    assert first[-1].startswith(REPORT)
    again = _tables(path, done=[first[0], first[2]])
    assert [article.page_content for article in articles_of(again)] == [_TEXTS[1]]
    assert again["id"].to_pylist()[-1] != first[-1]
    (report,) = reports_of(done_with(again)["report"].to_pylist())
    assert (report.articles, report.broken) == (3, 1)


def test_an_article_with_other_metadata_is_not_done(tmp_path: Path) -> None:
    path = _write_lines(tmp_path / "a.jsonl", _line(_TEXTS[0], title="예산"), _line(_TEXTS[1]))
    done = _tables(path)["id"].to_pylist()[:2]
    _write_lines(path, _line(_TEXTS[0], title="국회, 예산안 의결"), _line(_TEXTS[1]))
    assert [article.metadata["title"] for article in articles_of(_tables(path, done))] == ["국회, 예산안 의결"]


def test_checkpoints_are_those_of_one_job_and_lie_beside_what_is_read(tmp_path: Path) -> None:
    source = _write_lines(tmp_path / "in" / "a.jsonl", "{}")
    job = {"to": "milvus://here/news", "manifest": {"passage_chars": 1200}}
    notes = checkpoints_of(job, source, None)
    assert Path(notes.path).parent == source.parent / FOLDER
    assert notes == checkpoints_of(dict(reversed(job.items())), source.parent, None)
    assert notes != checkpoints_of({**job, "manifest": {"passage_chars": 500}}, source, None)
    assert Path(checkpoints_of(job, source, tmp_path / "notes").path).parent == tmp_path / "notes"


def test_checkpoints_of_what_the_store_lacks_are_deleted(
    tmp_path: Path,
    memory_server: Server,  # noqa: F811
    tiny_static: Path,
) -> None:
    embeddings = load_embeddings(tiny_static)
    manifest = new_manifest(embeddings, passage_chars=30, vectors="auto", user_dictionary=None)
    address = Address.parse("memory://here/news")
    draft = server_store(address, embeddings).begin(manifest)
    long = "국회는 내년 예산안을 의결했다. 기상청은 주말에 비가 온다고 예보했다. 대한민국의 수도는 서울이다."
    path = _write_lines(tmp_path / "a.jsonl", *map(_line, [*_TEXTS, long]))
    table = _tables(path)
    write_articles(draft, articles_of(table), manifest)
    assert draft.count() > 4
    notes = checkpoints_of({}, path, None)
    Path(notes.path).mkdir(parents=True)
    parquet.write_table(done_with(table).select(["id"]), Path(notes.path, "1.parquet"))
    Path(notes.path, "2.parquet").write_bytes(b"PAR1, and no more: a kill came")
    done = done_before(notes, draft)
    assert done.astype("S32").tolist() == sorted(document_id(text).encode() for text in [*_TEXTS, long])
    draft.delete([document_id(_TEXTS[0])])
    assert len(done_before(notes, draft)) == 0
    assert not Path(notes.path).exists()


def _begun(
    tiny_static: Path,
    *texts: str,
) -> tuple[ServerStore, dict[str, Any]]:
    """Return an unfinished index of articles, and its manifest."""
    embeddings = load_embeddings(tiny_static)
    manifest = new_manifest(embeddings, passage_chars=30, vectors="auto", user_dictionary=None)
    draft = server_store(Address.parse("memory://here/news"), embeddings).begin(manifest)
    write_articles(draft, [make_document(text) for text in texts], manifest)
    return draft, manifest


def test_what_another_job_deleted_of_what_is_noted_as_done_is_written_again(
    memory_server: Server,  # noqa: F811
    tiny_static: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With as many articles that are not given in their place; all but Ray is real."""
    begun: list[bool] = []

    def read(files: list[DataFile], columns: Columns, done: NDArray[np.bytes_]) -> pa.Table:
        return pa.concat_tables(file_tables(files, columns, done))

    def run_job(files: Any, columns: Any, actor: Any, arguments: Any, done: Any, *_: Any, **__: Any) -> Any:
        begun.append(arguments[-1])
        return reports_of(actor(*arguments)(read(files, columns, done()))["report"].to_pylist())

    first, second, third = _TEXTS
    _, manifest = _begun(tiny_static, first, third)
    path = _write_lines(tmp_path / "a.jsonl", _line(first), _line(second))
    place = "memory://here/news"
    job = {"to": place, "manifest": manifest, "columns": USUAL_COLUMNS}
    notes = checkpoints_of(job, path, None)
    Path(notes.path).mkdir(parents=True)
    parquet.write_table(done_with(_tables(path)).select(["id"]), Path(notes.path, "1.parquet"))
    monkeypatch.setattr(checkpoints, "_SAMPLED", 1)
    monkeypatch.setattr(random.Random, "sample", lambda self, ids, count: [document_id(first).encode()])
    monkeypatch.setattr(indexing, "ray_cluster", nullcontext)
    monkeypatch.setattr(indexing, "run_job", run_job)
    monkeypatch.setattr(indexing, "_given", lambda files, columns, _: set(doc_ids_of(read(files, columns, no_ids()))))
    result = index_in_bulk(path, place, str(tiny_static), passage_chars=30)
    assert begun == [True, True]
    assert {passage.page_content for passage in server_store(Address.parse(place)).scan()} == {first, second}
    assert (result.documents, result.failed) == (2, [])
    assert not Path(notes.path).exists()


def test_an_actor_that_lacks_the_model_says_so_in_one_line(
    memory_server: Server,  # noqa: F811
    tiny_static: Path,
    tmp_path: Path,
) -> None:
    from ray.exceptions import RayTaskError

    from rag_app.bulk.steps import ActorError, ArticleWriter, without_ray

    draft, manifest = _begun(tiny_static)
    writer = ArticleWriter(draft, manifest, str(tmp_path / "gone"), None, patience=0, again=False)
    with pytest.raises(ActorError) as raised:
        writer(_tables(_write_lines(tmp_path / "a.jsonl", _line(_TEXTS[0]))))
    told: ActorError = pickle.loads(pickle.dumps(raised.value))
    task_error: Any = RayTaskError
    of_ray = task_error("an actor", "File x.py\n  line 1", told).as_instanceof_cause()
    assert "\n" in str(of_ray)
    with pytest.raises(FileNotFoundError, match=r"^There is no model folder '.*gone'\.$"), without_ray():
        raise of_ray


def test_the_folder_of_a_cluster_goes_though_it_is_still_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    tries = []

    def remove(folder: str, *, ignore_errors: bool) -> None:
        tries.append(folder)
        if len(tries) == 3:
            shutil.rmtree(folder)

    monkeypatch.setattr(cluster, "rmtree", remove)
    with cluster._private_folder() as folder:
        Path(folder, "log").touch()
    assert tries == [folder] * 3
    assert not any(tmp_path.iterdir())


def test_a_job_that_was_stopped_before_it_noted_anything_begins_anew(tmp_path: Path) -> None:
    notes = checkpoints_of({}, tmp_path, None)
    assert len(notes.done()) == 0
    Path(notes.path).mkdir(parents=True)
    assert len(notes.done()) == 0


def test_a_file_address_is_a_place_like_any_other(tmp_path: Path) -> None:
    path = _write_lines(tmp_path / "in" / "a.jsonl", _line(_TEXTS[0]))
    assert find_files(tmp_path.joinpath("in").as_uri()) == find_files(tmp_path / "in")
    assert find_files(path.as_uri()) == find_files(path)
    notes = checkpoints_of({}, path, tmp_path.joinpath("notes").as_uri())
    assert notes == checkpoints_of({}, path, tmp_path / "notes")
    with pytest.raises(FileNotFoundError, match=r"file:///nowhere"):
        find_files("file:///nowhere")


@pytest.mark.parametrize("place", ["ftp://host/articles", "s3:/bucket", "nosuch://x"])
def test_an_address_of_no_object_store_says_which_there_are(place: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=r"no file or folder s3:/bucket|s3://BUCKET/FOLDER"):
        find_files(place)


def test_a_place_that_does_not_answer_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        def get_file_info(self, path: str) -> None:
            raise OSError("AWS Error NETWORK_CONNECTION\ndlopen failed")

    monkeypatch.setattr(files, "open_place", lambda place: (Away(), "bucket/in", "s3://"))
    with pytest.raises(OSError, match=r"^s3://bucket/in cannot be read: AWS Error NETWORK_CONNECTION$"):
        find_files("s3://bucket/in")


def test_what_could_not_be_read_is_told_line_by_line() -> None:
    reports = [FileReport("a.jsonl", 3), FileReport("b.jsonl", 1, 0, 3, ["line 2: not JSON"])]
    lines = broken_rows(BulkResult(4, 4, 0, reports), choose_language("en"))
    assert lines == ["skipped: b.jsonl: line 2: not JSON", "  b.jsonl: and 2 more"]


def test_without_ray_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'korean-rag\[ray\]'"):
        index_in_bulk(tmp_path, "milvus://127.0.0.1/news")


def test_a_folder_is_no_place_for_a_bulk_job(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is a folder.*leave out --engine ray"):
        index_in_bulk(tmp_path, str(tmp_path / "index"))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1"])
def test_a_cluster_at_which_nothing_listens_is_told_at_once(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private import ray_constants

    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", False)  # else Ray asks this machine's other address
    with pytest.raises(ConnectionError, match=r"No Ray cluster answers at .*:1\. Start it"), ray_cluster(address):
        pass
