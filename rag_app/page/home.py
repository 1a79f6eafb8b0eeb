"""The folder of what the page keeps, which concerns nobody else on the machine."""

from pathlib import Path

from rag_app.settings import Settings

OURS = ("indexes", "reports")
"""The folders in it that hold nothing but the page's own."""


def keep_private(settings: Settings) -> None:
    """Make the folder if it is not there, for this account alone; what holds only the page's own is closed to others.

    A home that was there before may be somebody's on purpose and keeps its rights. Where nothing can be written,
    nothing is done: whoever writes there will say so.
    """
    try:
        settings.home.parent.mkdir(parents=True, exist_ok=True)
        _close(settings.home, only_new=True)
        for name in OURS:
            _close(settings.home / name)
    except OSError:
        return


def _close(folder: Path, *, only_new: bool = False) -> None:
    try:
        folder.mkdir(0o700)
    except FileExistsError:
        if not only_new and folder.is_dir() and folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
