"""What ``rag-app index ... --engine ray`` does."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rag_app.bulk.indexing import BulkResult, Workers, index_in_bulk
from rag_app.data.sources import NAMED
from rag_app.files.tables import Columns
from rag_app.language import Say
from rag_app.models import Backend
from rag_app.passages import PASSAGE_CHARS
from rag_app.stores.address import Address


def run_bulk(
    paths: Sequence[str],
    index: str | Path | Address,
    model: str,
    say: Say,
    *,
    columns: Columns,
    passage_chars: int | None,
    vectors: str,
    replace: bool,
    quiet: bool,
    checkpoint: str | None,
    ray_address: str | None,
    actors: int | None,
    gpus_per_actor: float,
    backend: Backend | None,
) -> tuple[str, bool]:
    """Index in bulk, say on stderr what could not be read, and return the closing words and whether all could be read.

    See `rag_app.bulk.indexing.index_in_bulk` for the arguments and for what is raised.
    """
    if named := [path for path in paths if path in NAMED]:
        raise ValueError(f"{' and '.join(named)}: data of this name are read in process. Leave out --engine ray")
    result = index_in_bulk(
        paths,
        index if isinstance(index, Address) else str(index),
        model,
        columns=columns,
        passage_chars=passage_chars or PASSAGE_CHARS,
        vectors=vectors,
        replace=replace,
        checkpoint=checkpoint,
        workers=Workers(ray_address, actors, gpus_per_actor, backend),
        progress=not quiet,
    )
    for line in broken_rows(result, say):
        print(line, file=sys.stderr)  # noqa: T201
    words = say(
        f"{index}: 문서 {result.documents:,}건, 단락 {result.passages:,}개를 색인했습니다 "
        f"(되풀이된 글 {result.skipped:,}건, 문제가 있는 파일 {len(result.failed):,}개).",
        f"{index}: {result.documents:,} documents in {result.passages:,} passages indexed "
        f"({result.skipped:,} repeated, {len(result.failed):,} files with errors).",
    )
    return words, not result.failed


def broken_rows(result: BulkResult, say: Say) -> list[str]:
    """Return a line on each row that could not be read, the first of each file in full."""
    lines = []
    for report in result.failed:
        lines += [say(f"건너뜀: {report.file}: {error}", f"skipped: {report.file}: {error}") for error in report.errors]
        if more := report.broken - len(report.errors):
            lines.append(say(f"  {report.file}: 이 밖에 {more:,}곳", f"  {report.file}: and {more:,} more"))
    return lines
