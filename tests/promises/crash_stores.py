"""Writes to the page's SQLite files, one after the other until the process is killed, and what they should leave."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain_core.documents import Document

from rag_app.conversations.store import Conversations
from rag_app.conversations.turn import Turn
from rag_app.feedback.entries import Entry, Shown
from rag_app.feedback.store import Feedback


def save_turns(path: Path, owner: int, count: int, told: Callable[[Any], None]) -> None:
    """Save the turns of a conversation one by one, each twice as an answer is, telling its number once it is kept."""
    store = Conversations(path, str(owner))
    conversation = store.create(f"대화 {owner}", f"conversation-{owner}")
    for number in range(count):
        turn = turn_of(owner, number, done=False)
        store.save(conversation, turn)
        store.save(conversation, turn_of(owner, number, done=True))
        told(number)


def save_entries(path: Path, owner: int, count: int, told: Callable[[Any], None]) -> None:
    """Save feedback with its articles, telling the number of each once it is kept; every third is withdrawn."""
    store = Feedback(path)
    for number in range(count):
        store.save(entry_of(owner, number), articles_of(owner, number))
        if number % 3 == 2:
            store.withdraw(entry_of(owner, number).turn)
        told(number)


def turn_of(owner: int, number: int, *, done: bool) -> Turn:
    """Return a turn, as it is while its answer is being written or when it is done."""
    answer = f"답 {number}" * (1 + number % 50)
    return Turn(
        question=f"질문 {number}",
        id=f"{owner}-{number}",
        created=f"2025-01-01T00:00:00.{number:06d}+00:00",
        answer=answer if done else answer[:3],
        finished=done,
        documents=articles_of(owner, number) if done else [],
    )


def articles_of(owner: int, number: int) -> list[Document]:
    """Return the articles that an answer is made of; the first is shared with the next two answers."""
    ids = [f"{owner}-shared-{number // 3}", f"{owner}-own-{number}"]
    return [Document(id=id_, page_content=f"{id_}의 글. " * 60, metadata={"doc_id": id_}) for id_ in ids]


def entry_of(owner: int, number: int) -> Entry:
    """Return feedback on an answer."""
    shown = tuple(
        Shown(str(article.id), rank, article.page_content[:40], cited=rank == 1)
        for rank, article in enumerate(articles_of(owner, number), start=1)
    )
    question, created = f"질문 {number}", f"2025-01-01T00:00:00.{number:06d}+00:00"
    return Entry(f"{owner}-{number}", f"{owner}", question, question, "up", shown, "index", {}, created)


def check_turns(path: Path, owner: int, kept: int) -> int:
    """Return how many turns are kept; the first ``kept`` were told to be.

    Raises:
        AssertionError: One of those is missing or changed, or there is anything else than was being saved.
    """
    _check_file(path)
    store = Conversations(path, str(owner))
    if not store.list():
        assert not kept, "a conversation that was kept is gone"
        return 0
    _, _, revision, turns = store.open(f"conversation-{owner}")
    assert kept <= len(turns) <= kept + 1
    for number, turn in enumerate(turns):
        states = [turn_of(owner, number, done=done) for done in (True, False)]
        assert turn in (states[:1] if number < kept else states)
    assert revision == sum(1 + turn.finished for turn in turns), "a change was counted but not made"
    return len(turns)


def check_entries(path: Path, owner: int, kept: int) -> int:
    """Return how many entries are kept; what became of the first ``kept`` numbers was told.

    Raises:
        AssertionError: One of those is missing or changed, or an article stays without an entry or the other way.
    """
    _check_file(path)
    store = Feedback(path)
    everything = store.entries()
    entries = [entry for entry in everything if entry.conversation == str(owner)]
    told = {entry_of(owner, number).turn for number in range(kept) if number % 3 != 2}
    assert {entry.turn for entry in entries} - {entry_of(owner, kept).turn} == told
    for entry in entries:
        assert entry == entry_of(owner, int(entry.turn.partition("-")[2]))
        assert store.articles(entry.doc_ids).keys() == set(entry.doc_ids)
    mentioned = {doc_id for entry in everything for doc_id in entry.doc_ids}
    if not everything:
        return 0
    with sqlite3.connect(path) as database:
        assert {doc_id for (doc_id,) in database.execute("SELECT doc_id FROM article")} == mentioned
    database.close()
    return len(entries)


def _check_file(path: Path) -> None:
    if not path.exists():
        return
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()
