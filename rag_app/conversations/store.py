"""Conversations: questions, answers and their sources, kept in a SQLite file."""

import sqlite3
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from rag_app.conversations.turn import Turn, new_id, now
from rag_app.sqlite_files import Tables, connected, writing

VERSION = 1
"""Of the tables, kept in the file's ``user_version``."""
TITLE_CHARS = 80
MOST = 10_000
"""How many conversations of one owner are kept."""
_TABLES = Tables(
    "conversations",
    VERSION,
    """
    CREATE TABLE IF NOT EXISTS conversation (
        id TEXT PRIMARY KEY, owner TEXT NOT NULL, title TEXT NOT NULL, changed TEXT NOT NULL, revision INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS conversation_by_owner ON conversation (owner, changed);
    CREATE TABLE IF NOT EXISTS turn (
        place INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        conversation TEXT NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
        body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS turn_by_conversation ON turn (conversation, place);
    """,
    file_options="PRAGMA journal_mode = WAL;",  # readers go on while somebody writes
)


class Summary(NamedTuple):
    """A conversation in a list.

    Attributes:
        changed: When it was last added to or taken from, in UTC.
        turns: How many questions were asked.
    """

    id: str
    title: str
    changed: datetime
    turns: int


class Conversation(NamedTuple):
    """A conversation with all that was said.

    Attributes:
        revision: Another number after every change.
    """

    id: str
    title: str
    revision: int
    turns: list[Turn]


class Conversations:
    """The conversations of one owner in a file that others may share. Thread-safe: each call has its own connection.

    Every method raises OSError where the file cannot be read or written (no permission, no space, locked for long),
    and ValueError where it is no such file, is damaged, or is of another version. None ever replaces a file.

    Args:
        path: Created with its folder on first use.
        owner: Whose they are; nobody sees those of another.
    """

    def __init__(self, path: Path, owner: str = "") -> None:
        self.path = path
        self.owner = owner

    def create(self, title: str, id_: str = "") -> str:
        """Begin a conversation and return its id: the one given, a new one by default; one that is there stays.

        Raises:
            ValueError: There are as many as are kept.
        """
        id_ = id_ or new_id()
        with writing(self.path, _TABLES) as database:
            mine = "SELECT count(*), coalesce(sum(id = ?), 0) FROM conversation WHERE owner = ?"
            kept, known = database.execute(mine, (id_, self.owner)).fetchone()
            if kept >= MOST and not known:
                raise ValueError(f"{kept:,} conversations are kept, which is as many as may be. Delete old ones.")
            database.execute(
                "INSERT OR IGNORE INTO conversation VALUES (?, ?, ?, ?, 0)",
                (id_, self.owner, short_title(title), now()),
            )
        return id_

    def list(self, limit: int = -1) -> list[Summary]:
        """Return the conversations, newest first; at most ``limit`` unless that is negative."""
        with connected(self.path, _TABLES) as database:
            rows = database.execute(
                "SELECT id, title, changed, (SELECT count(*) FROM turn WHERE conversation = conversation.id)"
                " FROM conversation WHERE owner = ? ORDER BY changed DESC, rowid DESC LIMIT ?",
                (self.owner, limit),
            )
            return [Summary(id_, title, datetime.fromisoformat(changed), turns) for id_, title, changed, turns in rows]

    def open(self, id_: str) -> Conversation:
        """Return a conversation with its turns in order.

        Raises:
            KeyError: There is none of this id.
        """
        with connected(self.path, _TABLES) as database:
            database.execute("BEGIN")  # both look at one state of the file
            row = database.execute(
                "SELECT title, revision FROM conversation WHERE id = ? AND owner = ?", (id_, self.owner)
            ).fetchone()
            if row is None:
                raise KeyError(id_)
            bodies = database.execute("SELECT body FROM turn WHERE conversation = ? ORDER BY place", (id_,)).fetchall()
        title, revision = row
        return Conversation(id_, title, revision, [Turn.from_json(body) for (body,) in bodies])

    def revision(self, id_: str) -> int:
        """Return the number that every change of a conversation changes.

        Raises:
            KeyError: There is none of this id.
        """
        with connected(self.path, _TABLES) as database:
            row = database.execute(
                "SELECT revision FROM conversation WHERE id = ? AND owner = ?", (id_, self.owner)
            ).fetchone()
        if row is None:
            raise KeyError(id_)
        return int(row[0])

    def rename(self, id_: str, title: str) -> None:
        """Give a conversation another title; the list keeps its order.

        Raises:
            KeyError: There is none of this id.
            ValueError: The title is empty.
        """
        if not short_title(title):
            raise ValueError("The title is empty. Give the conversation a name.")
        with writing(self.path, _TABLES) as database:
            self._touch(database, id_)
            database.execute("UPDATE conversation SET title = ? WHERE id = ?", (short_title(title), id_))

    def delete(self, id_: str) -> None:
        """Remove a conversation with all its turns; an unknown id changes nothing."""
        with writing(self.path, _TABLES) as database:
            database.execute("DELETE FROM conversation WHERE id = ? AND owner = ?", (id_, self.owner))

    def save(self, id_: str, turn: Turn) -> None:
        """Keep a turn as it is now: at the end of its conversation, or where it was kept before.

        Raises:
            KeyError: There is no such conversation, or no longer.
        """
        body = turn.to_json()
        with writing(self.path, _TABLES) as database:
            self._touch(database, id_, now())
            database.execute(
                "INSERT INTO turn (id, conversation, body) VALUES (?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET body = excluded.body WHERE conversation = excluded.conversation",
                (turn.id, id_, body),
            )

    def remove_from(self, id_: str, turn_id: str) -> None:
        """Remove a turn and all that came after it.

        Raises:
            KeyError: There is no such conversation.
        """
        with writing(self.path, _TABLES) as database:
            self._touch(database, id_, now())
            database.execute(
                "DELETE FROM turn WHERE conversation = ? AND place >= (SELECT place FROM turn WHERE id = ?)",
                (id_, turn_id),
            )

    def _touch(self, database: sqlite3.Connection, id_: str, changed: str | None = None) -> None:
        touched = database.execute(
            "UPDATE conversation SET revision = revision + 1, changed = coalesce(?, changed)"
            " WHERE id = ? AND owner = ?",
            (changed, id_, self.owner),
        )
        if not touched.rowcount:
            raise KeyError(id_)


def short_title(text: str) -> str:
    """Return a text as a conversation's title: on one line, not too long."""
    line = " ".join(text.split())
    return line if len(line) <= TITLE_CHARS else line[: TITLE_CHARS - 1].rstrip() + "…"
