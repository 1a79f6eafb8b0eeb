"""A job reads files and indexes them in one step; it can be watched and stopped, and explains what went wrong."""

import errno
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import pytest
from langchain_core.documents import Document

from rag_app.corpus.indexing_job import FileReport, IndexingJob, SourceFile, Watch, readable_files
from rag_app.corpus.job_registry import Jobs
from rag_app.documents import FileResult, make_document
from rag_app.files.tables import USUAL_COLUMNS, Columns
from rag_app.index import Changes

LAKE = make_document("가람호수의 물이 9도로 따뜻해졌다.")
LIBRARY = make_document("누리시 도서관이 5월에 문을 연다.")


class Reads:
    """Reads what it is given by the files' names; one of them may have to wait."""

    def __init__(self, results: dict[str, list[FileResult]], gate: threading.Event | None = None) -> None:
        self.results = results
        self.gate = gate
        self.asked: list[tuple[str | None, Columns]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def read_all(
        self, path: Path, *, name: str | None = None, columns: Columns = USUAL_COLUMNS
    ) -> Iterator[FileResult]:
        self.asked.append((name, columns))
        if self.gate is not None:
            self.gate.wait(20)
        yield from self.results[name or str(path)]

    def close(self) -> None:
        if self.gate is not None:
            self.gate.set()


class Written:
    """Takes documents as an index would, telling of each; fails if it is given an error."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.documents: list[Document] = []

    def __call__(self, documents: list[Document], watch: Watch) -> Changes:
        for document in documents:
            watch([document.page_content])
            if self.error is not None:
                raise self.error
        self.documents = documents
        return Changes(added=len(documents))


def _job(reads: Reads, write: Callable[..., Changes], *, whole: bool = False) -> IndexingJob:
    sources = [SourceFile(Path(f"/tmp/{number}"), name) for number, name in enumerate(reads.results)]
    return IndexingJob(Path("index"), sources, write, whole, open_reader=lambda: reads)


def _ended(job: IndexingJob) -> IndexingJob:
    job.start()
    job.wait(20)
    assert not job.running
    return job


TWO = {
    "호수.txt": [FileResult("호수.txt", [LAKE], None)],
    "깨짐.hwp": [FileResult("깨짐.hwp", [], ValueError("깨짐.hwp: cannot be read"))],
}


def test_what_can_be_read_is_indexed_in_one_step_and_each_file_reports() -> None:
    written = Written()
    job = _ended(_job(Reads(TWO), written))
    assert job.phase == "done"
    assert written.documents == [LAKE]
    assert [(report.name, report.state, report.articles) for report in job.files] == [
        ("호수.txt", "read", 1),
        ("깨짐.hwp", "failed", 0),
    ]
    assert [str(report.error) for report in job.failed_files] == ["깨짐.hwp: cannot be read"]
    assert (job.changes.added, job.articles, job.passages) == (1, 1, 1)
    assert job.read_share == job.indexed_share == 1.0


def test_members_of_an_archive_report_behind_it_in_order() -> None:
    members = [
        FileResult("자료.zip/호수.txt", [LAKE], None),
        FileResult("자료.zip/깨짐.pdf", [], ValueError("자료.zip/깨짐.pdf: broken")),
    ]
    later = [FileResult("도서관.txt", [LIBRARY], None)]
    job = _ended(_job(Reads({"자료.zip": members, "도서관.txt": later}), Written()))
    assert job.files == [
        FileReport("자료.zip", "read", 1),
        FileReport("자료.zip/호수.txt", "read", 1),
        FileReport("자료.zip/깨짐.pdf", "failed", 0, members[1].error),
        FileReport("도서관.txt", "read", 1),
    ]


def test_a_file_keeps_its_name_and_columns() -> None:
    reads = Reads({"표.csv": [FileResult("표.csv", [LAKE], None)]})
    columns = Columns(text="kolumn1")
    job = IndexingJob(Path("i"), [SourceFile(Path("/tmp/1"), "표.csv", columns)], Written(), open_reader=lambda: reads)
    _ended(job)
    assert reads.asked == [("표.csv", columns)]


def test_without_a_single_article_nothing_is_written() -> None:
    written = Written()
    job = _ended(_job(Reads({"깨짐.hwp": TWO["깨짐.hwp"]}), written))
    assert job.phase == "failed"
    assert "None of the files" in str(job.error)
    assert written.documents == []


def test_a_file_that_cannot_be_read_prevents_what_wants_all_files() -> None:
    written = Written()
    job = _ended(_job(Reads(TWO), written, whole=True))
    assert job.phase == "failed"
    assert "1 files could not be read" in str(job.error)
    assert written.documents == []


def test_what_it_cannot_do_without_is_tried_before_anything_is_read() -> None:
    def load() -> None:
        raise FileNotFoundError("There is no model x")

    reads = Reads(TWO)
    job = _job(reads, Written())
    job.prepare = load
    _ended(job)
    assert (job.phase, str(job.error), reads.asked) == ("failed", "There is no model x", [])


def test_a_full_disk_is_what_it_failed_of() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    job = _ended(_job(Reads(TWO), Written(full)))
    assert (job.phase, job.error) == ("failed", full)


@pytest.mark.parametrize("error", [ValueError("x"), None])
def test_the_uploads_are_removed_whatever_comes(error: Exception | None) -> None:
    uploads = TemporaryDirectory()
    job = _job(Reads(TWO), Written(error))
    job.uploads = uploads
    _ended(job)
    assert not Path(uploads.name).exists()


def test_stopped_while_reading_it_writes_nothing() -> None:
    written, reads = Written(), Reads(TWO, gate=threading.Event())
    job = _job(reads, written)
    job.start()
    while not reads.asked:
        job.wait(0.01)
    assert job.files[0].state == "reading"
    job.stop()
    job.wait(20)
    assert (job.phase, job.error, written.documents) == ("stopped", None, [])


def test_stopped_while_embedding_it_leaves_the_writing() -> None:
    came_back: list[bool] = []

    def write(documents: list[Document], watch: Watch) -> Changes:
        job.stop()
        watch(["첫 단락"])
        came_back.append(True)
        return Changes()

    job = _job(Reads(TWO), write)
    _ended(job)
    assert (job.phase, job.passages, came_back) == ("stopped", 1, [])


def test_one_job_of_an_index_at_a_time() -> None:
    jobs, gate = Jobs(), threading.Event()
    first = _job(Reads(TWO, gate), Written())
    jobs.start(first)
    with pytest.raises(BlockingIOError, match="Another job"):
        jobs.start(_job(Reads(TWO), Written()))
    other = _job(Reads(TWO), Written())
    other.index = Path("other")
    jobs.start(other)
    jobs.put_away(Path("index"))
    assert jobs.of(Path("index")) is first
    gate.set()
    first.wait(20)
    other.wait(20)
    assert jobs.all() == [first, other]
    jobs.put_away(Path("index"))
    assert jobs.of(Path("index")) is None


def test_a_folder_s_files_are_those_of_known_formats(tmp_path: Path) -> None:
    (tmp_path / "안").mkdir()
    for name in ("호수.txt", "안/누리.md", "그림.png"):
        (tmp_path / name).touch()
    assert readable_files(tmp_path) == [tmp_path / "안" / "누리.md", tmp_path / "호수.txt"]
    assert readable_files(tmp_path / "호수.txt") == [tmp_path / "호수.txt"]
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        readable_files(tmp_path / "없음")
    (tmp_path / "빈").mkdir()
    with pytest.raises(ValueError, match="no file of a known format"):
        readable_files(tmp_path / "빈")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such name")
def test_a_name_that_is_no_text_is_reported_as_text(tmp_path: Path) -> None:
    path = Path(os.fsdecode(bytes(tmp_path) + b"/\xb1\xe2\xbb\xe7.txt"))  # CP949
    path.write_text("누리호가 발사됐다.")
    job = _ended(IndexingJob(tmp_path / "news", [SourceFile(path)], Written()))
    [report] = job.files
    assert (report.state, report.articles) == ("read", 1)
    assert report.name.encode().endswith(b".txt")
