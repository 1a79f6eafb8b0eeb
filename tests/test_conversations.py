"""Conversations in their file: kept whole, seen by their owner alone, never overwritten."""

import sqlite3
import stat
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document

from rag_app import sqlite_files
from rag_app.conversations.store import TITLE_CHARS, VERSION, Conversations
from rag_app.conversations.turn import Turn

ARTICLE = Document(
    id="a#0",
    page_content="달은 지구를 돈다.",
    metadata={"title": "달", "citation": 1, "quote": {"start": 0, "end": 10}, "stages": {"dense": {"rank": 1}}},
)


@pytest.fixture
def store(tmp_path: Path) -> Conversations:
    return Conversations(tmp_path / "home" / "chat.sqlite")


def _turn(question: str, **values: object) -> Turn:
    return Turn(question, **values)  # type: ignore[arg-type]


def test_a_conversation_is_opened_as_it_was_saved(store: Conversations) -> None:
    id_ = store.create("달은 무엇을 도나요?")
    first = _turn("달은 무엇을 도나요?", answer="지구 [1]", documents=[ARTICLE], finished=True, seconds={"total": 0.5})
    second = _turn("왜요?", stopped=True, evidence=0.25)
    store.save(id_, first)
    store.save(id_, second)
    opened = Conversations(store.path).open(id_)
    assert (opened.title, opened.turns) == ("달은 무엇을 도나요?", [first, second])
    assert opened.turns[0].documents[0].metadata == ARTICLE.metadata


def test_a_turn_that_is_saved_again_keeps_its_place(store: Conversations) -> None:
    id_ = store.create("가")
    turns = [_turn("가"), _turn("나")]
    for turn in turns:
        store.save(id_, turn)
    turns[0].answer = "늦게 온 답"
    store.save(id_, turns[0])
    assert store.open(id_).turns == turns


def test_a_score_of_numpy_is_kept_as_a_number(store: Conversations) -> None:
    id_ = store.create("가")
    found = Document("글", metadata={"score": np.float32(0.5), "rank": np.int64(3)})
    store.save(id_, _turn("가", documents=[found]))
    assert store.open(id_).turns[0].documents[0].metadata == {"score": 0.5, "rank": 3}


def test_the_list_is_newest_first_with_the_number_of_questions(store: Conversations) -> None:
    first, second = store.create("처음"), store.create("다음")
    store.save(second, _turn("다음"))
    assert [(one.title, one.turns) for one in store.list()] == [("다음", 1), ("처음", 0)]
    store.save(first, _turn("하나"))
    store.save(first, _turn("둘"))
    assert [(one.id, one.turns) for one in store.list()] == [(first, 2), (second, 1)]
    assert len(store.list(limit=1)) == 1


def test_every_change_has_a_revision_of_its_own(store: Conversations) -> None:
    id_ = store.create("가")
    turn = _turn("가")
    seen = [store.revision(id_)]
    store.save(id_, turn)
    seen.append(store.revision(id_))
    store.rename(id_, "나")
    seen.append(store.revision(id_))
    store.remove_from(id_, turn.id)
    seen.append(store.revision(id_))
    assert len(set(seen)) == 4


def test_renaming_changes_the_title_and_not_the_order(store: Conversations) -> None:
    first, second = store.create("처음"), store.create("다음")
    store.rename(first, "  새\n이름 ")
    assert [one.title for one in store.list()] == ["다음", "새 이름"]
    with pytest.raises(ValueError, match="empty"):
        store.rename(second, " \n")


def test_a_title_is_one_line_and_not_too_long(store: Conversations) -> None:
    title = store.open(store.create("긴\n" + "제목 " * 100)).title
    assert "\n" not in title
    assert len(title) <= TITLE_CHARS
    assert title.endswith("…")


def test_turns_go_from_one_on(store: Conversations) -> None:
    id_, other = store.create("가"), store.create("나")
    turns = [_turn(name) for name in "가나다"]
    for turn in turns:
        store.save(id_, turn)
    store.save(other, _turn("남의 것"))
    store.remove_from(id_, turns[1].id)
    assert store.open(id_).turns == turns[:1]
    assert len(store.open(other).turns) == 1
    store.save(id_, _turn("다시"))
    assert [turn.question for turn in store.open(id_).turns] == ["가", "다시"]


def test_what_is_deleted_is_gone_and_nothing_is_saved_to_it(store: Conversations) -> None:
    id_ = store.create("가")
    store.save(id_, _turn("가"))
    store.delete(id_)
    assert store.list() == []
    for use in (lambda: store.open(id_), lambda: store.save(id_, _turn("나")), lambda: store.rename(id_, "다")):
        with pytest.raises(KeyError):
            use()
    with sqlite3.connect(store.path) as database:
        assert database.execute("SELECT count(*) FROM turn").fetchone() == (0,)
    database.close()


def test_a_conversation_that_is_there_is_not_created_again(store: Conversations) -> None:
    id_ = store.create("가")
    store.save(id_, _turn("가"))
    assert store.create("나", id_) == id_
    assert store.open(id_).title == "가"
    assert len(store.open(id_).turns) == 1


def test_nobody_sees_or_changes_the_conversations_of_another(store: Conversations) -> None:
    id_ = store.create("내 것")
    other = Conversations(store.path, owner="다른 사람")
    assert other.list() == []
    other.delete(id_)
    for use in (lambda: other.open(id_), lambda: other.save(id_, _turn("?")), lambda: other.rename(id_, "!")):
        with pytest.raises(KeyError):
            use()
    assert store.open(id_).title == "내 것"


def test_a_file_that_is_something_else_is_an_error_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "chat.sqlite"
    path.write_bytes(b"something else" * 1000)
    with pytest.raises(ValueError, match="not a file of conversations, or is damaged"):
        Conversations(path).create("가")
    assert path.read_bytes() == b"something else" * 1000


def test_a_file_of_a_later_version_is_an_error_and_stays(store: Conversations) -> None:
    id_ = store.create("가")
    with sqlite3.connect(store.path) as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    database.close()
    with pytest.raises(ValueError, match=f"version {VERSION + 1}; this program writes version {VERSION}"):
        store.open(id_)


def test_what_a_later_version_added_to_a_turn_is_left_out() -> None:
    text = Turn("가", id="1").to_json().replace("{", '{"mood": "good", ', 1)
    assert Turn.from_json(text).question == "가"
    with pytest.raises(ValueError, match="not a turn"):
        Turn.from_json("[]")


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        Conversations(tmp_path / "file" / "chat.sqlite").list()


def test_a_full_disk_is_an_os_error_and_loses_nothing(store: Conversations, monkeypatch: pytest.MonkeyPatch) -> None:
    id_ = store.create("가")
    store.save(id_, _turn("가"))
    prepare = sqlite_files._prepare

    def small(database: sqlite3.Connection, *details: Any) -> None:
        prepare(database, *details)
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        database.execute(f"PRAGMA max_page_count = {pages}")

    monkeypatch.setattr(sqlite_files, "_prepare", small)
    with pytest.raises(OSError, match="full"):
        store.save(id_, _turn("나", answer="긴 답 " * 100_000))
    assert [turn.question for turn in store.open(id_).turns] == ["가"]


def test_nobody_else_on_the_machine_may_read_them(store: Conversations) -> None:
    store.create("가")
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_a_new_file_waits_for_others_who_are_making_it(store: Conversations, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = iter(range(2))

    class Busy(sqlite3.Connection):
        def executescript(self, script: str) -> sqlite3.Cursor:
            if "journal_mode" in script and next(refusals, None) is not None:
                raise sqlite3.OperationalError("database is locked")  # as SQLite does at once while others make it
            return super().executescript(script)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Busy))
    id_ = store.create("가")
    assert store.open(id_).title == "가"
    assert next(refusals, None) is None


def test_what_was_deleted_is_not_left_in_the_file(tmp_path: Path) -> None:
    def kept() -> bool:
        return any("a secret question" in path.read_text("latin-1") for path in tmp_path.iterdir())

    store = Conversations(tmp_path / "chat.sqlite")
    id_ = store.create("제목")
    store.save(id_, Turn("a secret question"))
    assert kept()
    store.delete(id_)
    assert not kept()
