"""Whether there is room for one more index, or for more in one."""

import shutil
from pathlib import Path

from rag_app.corpus.index_folders import size_on_disk
from rag_app.corpus.job_registry import Jobs
from rag_app.page.limits import LimitError
from rag_app.settings import Settings
from rag_app.stores.address import Address

FREE_MB = 500
"""How many megabytes of the disk stay free."""


def check_jobs(jobs: Jobs, settings: Settings) -> None:
    """Check that one more indexing job may run.

    Raises:
        LimitError: As many as may are running.
    """
    running = sum(job.running for job in jobs.all())
    if running >= settings.jobs:
        raise LimitError(
            f"다른 색인 작업 {running}개가 돌고 있습니다. 하나가 끝난 뒤 다시 시작하세요.",
            f"{running} other indexes are being built. Start when one of them has ended.",
        )


def check_room(path: Path | Address, size: int, settings: Settings) -> None:
    """Check that there is room for the files of an index, and that the page may build it.

    Args:
        path: Where it is; how much room a server has, only that knows.
        size: Bytes of the files that are to be indexed.
        settings: Those of the page.

    Raises:
        LimitError: There is not, or it would be one too many.
    """
    near = path if isinstance(path, Path) else settings.home
    existing = next(folder for folder in (near, *near.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < size + FREE_MB * 1_000_000:
        raise LimitError(
            f"디스크에 {free / 1e6:,.0f}MB만 남았습니다. 자리를 비운 뒤 다시 해 보세요.",
            f"The disk has only {free / 1e6:,.0f} MB left. Make room and try again.",
        )
    folder = settings.home / "indexes"
    if not isinstance(path, Path) or path.parent != folder or not folder.is_dir():
        return
    kept = [child for child in folder.glob("[!.]*") if child.is_dir()]
    if path not in kept and len(kept) >= settings.indexes:
        raise LimitError(
            f"색인이 {len(kept):,}개 있습니다. 쓰지 않는 색인을 지운 뒤 다시 해 보세요.",
            f"There are {len(kept):,} indexes. Delete one that nobody uses and try again.",
        )
    if sum(map(size_on_disk, kept)) + size > settings.home_mb * 1_000_000:
        raise LimitError(
            f"색인들이 {settings.home_mb:,}MB를 넘게 됩니다. 쓰지 않는 색인을 지운 뒤 다시 해 보세요.",
            f"The indexes would take more than {settings.home_mb:,} MB. Delete one that nobody uses and try again.",
        )
