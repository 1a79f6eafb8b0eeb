"""SQLite files of ours: opened if their version fits, never overwritten, and with errors that say what to do."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

from rag_app.durable_files import sync_parents

_BUSY_SECONDS = 5.0


class Tables(NamedTuple):
    """What a file holds.

    Attributes:
        holds: The same in a word, for messages.
        version: Of the tables, kept in the file's ``user_version``.
        schema: SQL that makes them, in which ``IF NOT EXISTS`` lets another process be first.
        file_options: SQL for a new file, outside of any transaction.
    """

    holds: str
    version: int
    schema: str
    file_options: str = ""


@contextmanager
def connected(path: Path | str, tables: Tables) -> Iterator[sqlite3.Connection]:
    """Yield a connection to a file, which is made with its folder if it is not there, or to ``:memory:``.

    Transactions are begun by hand: else a reader could not hold one state of the file.

    Raises:
        OSError: It cannot be read or written: no permission, no space, locked for long.
        ValueError: It is no such file, is damaged, or is of another version. It is left as it is.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if path != ":memory:" and not Path(path).exists():
        Path(path).touch(0o600)  # nobody else's; SQLite's own files beside it get the same rights
        sync_parents(Path(path))  # SQLite flushes the file alone
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)) as database:
            _prepare(database, path, tables)
            yield database
    except sqlite3.OperationalError as error:  # of the disk, of permissions, of locks
        raise OSError(f"The {tables.holds} in {path} cannot be read or written: {error}") from error
    except sqlite3.DatabaseError as error:
        raise ValueError(
            f"{path} is not a file of {tables.holds}, or is damaged: {error}. "
            "Move it away to begin a new one; it is left as it is."
        ) from error


@contextmanager
def writing(path: Path, tables: Tables) -> Iterator[sqlite3.Connection]:
    """Yield a connection whose changes are committed together at the end, or not at all; see `connected`."""
    with connected(path, tables) as database:
        database.execute("BEGIN IMMEDIATE")
        try:
            yield database
        except BaseException:
            database.rollback()
            raise
        database.commit()


def _prepare(database: sqlite3.Connection, path: Path | str, tables: Tables) -> None:
    # What is committed is on the disk, whatever SQLite was built with; what is deleted is overwritten.
    database.executescript("PRAGMA synchronous = EXTRA; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version == tables.version:
        return
    if version:
        raise ValueError(
            f"{path} holds {tables.holds} of version {version}; this program writes version {tables.version}. "
            "Use the version of the program that wrote the file, or move it away."
        )
    _set_file_options(database, tables.file_options)
    database.executescript(f"BEGIN IMMEDIATE; {tables.schema} PRAGMA user_version = {tables.version}; COMMIT;")


def _set_file_options(database: sqlite3.Connection, options: str) -> None:
    """Set them, once others who are making the same file let us: here SQLite does not wait by itself."""
    until = monotonic() + _BUSY_SECONDS
    while True:
        try:
            database.executescript(options)
            return
        except sqlite3.OperationalError:
            if monotonic() > until:
                raise
            sleep(0.01)
