"""Feedback on answers, kept in a SQLite file until somebody has reviewed it."""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, cast

from langchain_core.documents import Document

from rag_app.feedback.entries import Entry, Shown, State
from rag_app.sqlite_files import Tables, connected, writing

VERSION = 1
"""Of the tables, kept in the file's ``user_version``."""
FILE_NAME = "feedback.sqlite"
"""What the file is called in the folder of what the page keeps."""
_TABLES = Tables(
    "feedback",
    VERSION,
    """
    CREATE TABLE IF NOT EXISTS entry (
        turn TEXT PRIMARY KEY, conversation TEXT NOT NULL, state TEXT NOT NULL, created TEXT NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS entry_by_conversation ON entry (conversation);
    CREATE TABLE IF NOT EXISTS article (doc_id TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS mention (
        turn TEXT NOT NULL REFERENCES entry (turn) ON DELETE CASCADE, doc_id TEXT NOT NULL, PRIMARY KEY (turn, doc_id)
    ) STRICT;
    """,
)


class Counts(NamedTuple):
    """How many entries there are of each state."""

    new: int = 0
    accepted: int = 0
    rejected: int = 0

    @property
    def total(self) -> int:
        """Of all states."""
        return sum(self)


class Feedback:
    """The entries of a file. Thread-safe: each call has a connection of its own.

    Articles are kept whole beside the entries that speak of them, so that they survive the index, and go with the last
    of these. What is deleted is overwritten in the file.

    Every method raises OSError where the file cannot be read or written (no permission, no space, locked for long), and
    ValueError where it is damaged, or of another version. Where there is no file, there is nothing: only `save` makes
    one.

    Args:
        path: Of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, entry: Entry, articles: Iterable[Document] = ()) -> None:
        """Keep an entry in place of what its turn had.

        Args:
            entry: Every article it speaks of is among ``articles`` or has been kept before.
            articles: Whole ones; those that the entry does not speak of are passed over.

        Raises:
            ValueError: An article is missing.
        """
        with self._writing() as database:
            _put(database, entry, articles)

    def change(self, turn: str, change: Callable[[Entry], Entry], articles: Iterable[Document] = ()) -> Entry | None:
        """Keep what a function makes of a turn's entry, and return that; None if the turn has none, or no longer."""
        if not self.path.exists():
            return None
        with self._writing() as database:
            row = database.execute("SELECT body FROM entry WHERE turn = ?", (turn,)).fetchone()
            if row is None:
                return None
            entry = change(_read_entry(row[0]))
            _put(database, entry, articles)
            return entry

    def find(self, turn: str) -> Entry | None:
        """Return the entry of a turn; None if it has none."""
        return next(iter(self._entries("WHERE turn = ?", turn)), None)

    def entries(self, state: State | None = None) -> list[Entry]:
        """Return the entries of a state, or all, oldest first."""
        return self._entries("") if state is None else self._entries("WHERE state = ?", state)

    def articles(self, doc_ids: Collection[str]) -> dict[str, Document]:
        """Return those of some articles that are kept, whole, by doc_id."""
        found: dict[str, Document] = {}
        with self._reading() as database:
            for doc_id in dict.fromkeys(doc_ids):
                row = database and database.execute("SELECT body FROM article WHERE doc_id = ?", (doc_id,)).fetchone()
                if row:
                    found[doc_id] = Document(**json.loads(row[0]))
        return found

    def counts(self, conversation: str = "") -> Counts:
        """Return how many entries there are, of one conversation or of all."""
        with self._reading() as database:
            rows = database.execute(
                "SELECT state, count(*) FROM entry WHERE ? IN ('', conversation) GROUP BY state", (conversation,)
            )
            return Counts(**{str(state): int(count) for state, count in rows})

    def withdraw(self, turn: str) -> None:
        """Delete the entry of a turn; a turn that has none changes nothing."""
        self._delete("turn = ?", turn)

    def forget(self, conversation: str) -> int:
        """Delete all entries of a conversation, whatever was decided on them; return how many there were.

        They repeat the conversation's questions: whoever deletes it wants them gone too.
        """
        return self._delete("conversation = ?", conversation)

    def _delete(self, which: str, value: str) -> int:
        if not self.path.exists():
            return 0
        with self._writing() as database:
            deleted = database.execute(f"DELETE FROM entry WHERE {which}", (value,)).rowcount  # noqa: S608
            _drop_articles(database)
        return deleted

    def _entries(self, which: str, *values: str) -> list[Entry]:
        with self._reading() as database:
            rows = database.execute(f"SELECT body FROM entry {which} ORDER BY created, turn", values)  # noqa: S608
            return [_read_entry(body) for (body,) in rows]

    def _reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """Return a connection to the file, or where there is none to an empty one in memory."""
        return connected(self.path if self.path.exists() else ":memory:", _TABLES)

    def _writing(self) -> AbstractContextManager[sqlite3.Connection]:
        return writing(self.path, _TABLES)


def _put(database: sqlite3.Connection, entry: Entry, articles: Iterable[Document]) -> None:
    given = {str(article.metadata["doc_id"]): article for article in articles}
    database.execute(
        "INSERT INTO entry VALUES (?, ?, ?, ?, ?) ON CONFLICT (turn) DO UPDATE SET"
        " conversation = excluded.conversation, state = excluded.state, body = excluded.body",
        (entry.turn, entry.conversation, entry.state, entry.created, json.dumps(asdict(entry), ensure_ascii=False)),
    )
    database.execute("DELETE FROM mention WHERE turn = ?", (entry.turn,))
    for doc_id in entry.doc_ids:
        if article := given.get(doc_id):
            row = (doc_id, _article_json(article))
            database.execute("INSERT INTO article VALUES (?, ?) ON CONFLICT (doc_id) DO NOTHING", row)
        elif not database.execute("SELECT 1 FROM article WHERE doc_id = ?", (doc_id,)).fetchone():
            raise ValueError(f"The article {doc_id} is neither given nor kept. Pass it to save.")
        database.execute("INSERT INTO mention VALUES (?, ?)", (entry.turn, doc_id))
    _drop_articles(database)


def _drop_articles(database: sqlite3.Connection) -> None:
    """Delete the articles that no entry speaks of any more."""
    database.execute("DELETE FROM article WHERE doc_id NOT IN (SELECT doc_id FROM mention)")


def _read_entry(body: str) -> Entry:
    values: dict[str, Any] = json.loads(body)
    values["shown"] = tuple(Shown(*source) for source in cast(list[list[Any]], values["shown"]))
    if values["negatives"] is not None:
        values["negatives"] = tuple(values["negatives"])
    return Entry(**values)


def _article_json(article: Document) -> str:
    kept = {"doc_id", "title", "date", "section", "source", "url", "fictional"}
    metadata = {name: value for name, value in article.metadata.items() if name in kept}
    return json.dumps(
        {"id": article.id, "page_content": article.page_content, "metadata": metadata}, ensure_ascii=False
    )
