"""Feedback: what a thumb proposes, what is kept, what is exported and trained on."""

import json
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document

from eval.health.questions import question_key
from rag_app import cli
from rag_app.conversations.turn import Turn
from rag_app.data import load_retrieval_data
from rag_app.documents import make_document
from rag_app.feedback.entries import Entry, answering_sentence, choose_right, decide, rate
from rag_app.feedback.export import candidates, negatives, training_row, write_training_data
from rag_app.feedback.store import FILE_NAME, Counts, Feedback

RAIN = "기상청은 주말에 전국에 비가 온다고 예보했다. 우산을 챙기는 것이 좋다. 낮 기온은 어제보다 5도 낮다."
VOTE = "국회는 내년 예산안을 의결했다. 찬성이 반대보다 많았다. 정부는 곧 집행 계획을 낸다."
GAME = "프로야구 개막전이 잠실에서 열렸다. 관중 2만 명이 들었다. 홈 팀이 한 점 차로 이겼다."
SONG = "합창단이 새 노래를 불렀다. 시민 회관에 삼백 명이 모였다. 공연은 두 시간 이어졌다."
ARTICLES = {
    str(article.id): article
    for article in (
        make_document(text, title=title, source="누리통신", date="2025-01-06")
        for title, text in (("주말 비", RAIN), ("예산", VOTE), ("개막", GAME), ("합창", SONG))
    )
}
RAIN_ID, VOTE_ID, GAME_ID, SONG_ID = ARTICLES


def found(*doc_ids: str, cited: tuple[str, ...] = ()) -> list[Document]:
    """The passages of a search, each quoted in its first sentence if it is cited."""
    return [
        Document(
            page_content=ARTICLES[doc_id].page_content,
            metadata={
                **ARTICLES[doc_id].metadata,
                "cited": doc_id in cited,
                **(
                    {"quote": {"start": 0, "end": ARTICLES[doc_id].page_content.index(".") + 1}}
                    if doc_id in cited
                    else {}
                ),
            },
            id=doc_id,
        )
        for doc_id in doc_ids
    ]


def asked(*doc_ids: str, cited: tuple[str, ...] = (), **more: Any) -> Turn:
    return Turn("주말에 비가 오나요?", id="t1", documents=found(*doc_ids, cited=cited), finished=True, **more)


@pytest.fixture
def feedback(tmp_path: Path) -> Feedback:
    return Feedback(tmp_path / "home" / "feedback.sqlite")


def test_a_thumbs_up_proposes_the_only_article_that_is_cited_and_what_is_quoted_of_it() -> None:
    entry = rate(asked(VOTE_ID, RAIN_ID, cited=(RAIN_ID,)), "up", conversation="c", models={"chat": "m"})
    assert (entry.right, entry.answer) == (RAIN_ID, "기상청은 주말에 전국에 비가 온다고 예보했다.")
    assert [(s.doc_id, s.rank, s.cited) for s in entry.shown] == [(VOTE_ID, 1, False), (RAIN_ID, 2, True)]
    assert (entry.state, entry.conversation, entry.models) == ("new", "c", {"chat": "m"})


@pytest.mark.parametrize(
    ("turn", "thumb"),
    [
        (asked(VOTE_ID, RAIN_ID, cited=(RAIN_ID, VOTE_ID)), "up"),
        (asked(VOTE_ID, RAIN_ID), "up"),
        (asked(RAIN_ID, cited=(RAIN_ID,), refused=True), "up"),
        (asked(RAIN_ID, cited=(RAIN_ID,)), "down"),
        (asked(), "up"),
    ],
)
def test_nothing_else_proposes_an_article(turn: Turn, thumb: Any) -> None:
    assert (rate(turn, thumb).right, rate(turn, thumb).answer) == ("", "")


def test_what_a_follow_up_was_searched_with_is_what_is_trained_unless_the_reviewer_words_it() -> None:
    entry = rate(asked(RAIN_ID, searched="서울에  비가 오나요?"), "up")
    assert entry.asks == "서울에 비가 오나요?"
    assert replace(entry, wording="부산에 비가 오나요?").asks == "부산에 비가 오나요?"
    assert replace(entry, searched="").asks == "주말에 비가 오나요?"


def test_the_sentence_that_fits_the_question_best_is_proposed() -> None:
    assert answering_sentence("관중은 몇 명이 들었나요?", ARTICLES[GAME_ID]) == "관중 2만 명이 들었다."


def test_only_a_question_with_its_article_can_be_accepted_and_another_article_is_reviewed_anew() -> None:
    entry = rate(asked(RAIN_ID, VOTE_ID), "down")
    with pytest.raises(ValueError, match="Choose the article first"):
        decide(entry, "accepted")
    accepted = decide(replace(choose_right(entry, RAIN_ID), negatives=(VOTE_ID,)), "accepted")
    assert accepted.reviewed
    assert choose_right(accepted, RAIN_ID, "다른 문장") == accepted
    again = choose_right(accepted, VOTE_ID)
    assert (again.state, again.negatives, again.reviewed) == ("new", None, "")
    assert decide(accepted, "new") == replace(accepted, state="new", reviewed="")


def test_changing_one_s_mind_updates_and_taking_it_back_deletes_with_the_articles(feedback: Feedback) -> None:
    entry = rate(asked(RAIN_ID, VOTE_ID), "up")
    feedback.save(entry, ARTICLES.values())
    feedback.save(rate(asked(RAIN_ID), "down"), ())
    (kept,) = feedback.entries()
    assert kept.thumb == "down"
    assert feedback.articles([RAIN_ID, VOTE_ID]).keys() == {RAIN_ID}, "no entry speaks of the other any more"
    feedback.withdraw("t1")
    feedback.withdraw("t1")
    assert feedback.find("t1") is None
    assert feedback.articles([RAIN_ID]) == {}
    assert RAIN.encode() not in feedback.path.read_bytes(), "deleted text is overwritten"


def test_entries_and_articles_come_back_as_they_were(feedback: Feedback) -> None:
    entry = replace(rate(asked(RAIN_ID, VOTE_ID), "down"), negatives=(VOTE_ID,), reason="articles", note="<b>틀림</b>")
    feedback.save(entry, ARTICLES.values())
    again = Feedback(feedback.path)
    assert again.find("t1") == entry
    assert again.articles([RAIN_ID, "unknown"]) == {RAIN_ID: ARTICLES[RAIN_ID]}
    assert again.path.stat().st_mode & 0o077 == 0


def test_an_article_that_is_neither_given_nor_kept_is_refused_and_nothing_changes(feedback: Feedback) -> None:
    with pytest.raises(ValueError, match=f"The article {RAIN_ID} is neither given nor kept"):
        feedback.save(rate(asked(RAIN_ID), "up"))
    assert feedback.entries() == []


def test_what_a_conversation_said_goes_with_it(feedback: Feedback) -> None:
    for number, state in enumerate(("new", "accepted", "accepted", "rejected")):
        entry = rate(replace(asked(RAIN_ID, cited=(RAIN_ID,)), id=f"t{number}"), "up", conversation=f"c{number % 2}")
        feedback.save(decide(entry, state), ARTICLES.values())  # type: ignore[arg-type]
    assert feedback.counts() == Counts(1, 2, 1)
    assert feedback.counts("c0") == Counts(new=1, accepted=1)
    assert feedback.forget("c0") == 2
    assert feedback.counts() == Counts(0, 1, 1)
    assert [entry.turn for entry in feedback.entries("accepted")] == ["t1"]
    assert feedback.forget("unknown") == 0


def test_reading_where_there_is_nothing_makes_no_file(feedback: Feedback) -> None:
    assert (feedback.entries(), feedback.counts(), feedback.find("t"), feedback.articles(["a"])) == (
        [],
        Counts(),
        None,
        {},
    )
    assert (feedback.forget("c"), feedback.change("t", lambda entry: entry)) == (0, None)
    feedback.withdraw("t")
    assert not feedback.path.parent.exists()


def test_an_entry_that_was_taken_back_is_not_changed(feedback: Feedback) -> None:
    feedback.save(rate(asked(RAIN_ID), "up"), ARTICLES.values())
    changed = feedback.change("t1", lambda entry: choose_right(entry, VOTE_ID), ARTICLES.values())
    assert changed is not None
    assert changed == feedback.find("t1")
    feedback.withdraw("t1")
    assert feedback.change("t1", lambda entry: entry) is None
    assert feedback.find("t1") is None


def test_several_threads_can_write(feedback: Feedback) -> None:
    def give(number: int) -> None:
        feedback.save(rate(replace(asked(RAIN_ID), id=f"t{number}"), "up"), ARTICLES.values())

    threads = [threading.Thread(target=give, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert feedback.counts().total == 8


def test_files_that_are_none_are_left_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "feedback.sqlite"
    path.write_bytes(b"something else" * 100)
    with pytest.raises(ValueError, match="is not a file of feedback, or is damaged"):
        Feedback(path).save(rate(asked(), "up"))
    assert path.read_bytes() == b"something else" * 100
    newer = tmp_path / "newer.sqlite"
    with sqlite3.connect(newer) as database:
        database.execute("PRAGMA user_version = 9")
    database.close()
    with pytest.raises(ValueError, match="holds feedback of version 9"):
        Feedback(newer).entries()
    with pytest.raises(OSError, match="cannot be read or written"):
        Feedback(tmp_path).entries()


def test_proposed_for_negatives_are_those_above_and_just_below_the_right_article() -> None:
    entry = choose_right(rate(asked(VOTE_ID, RAIN_ID, GAME_ID, SONG_ID), "down"), RAIN_ID)
    assert [(one.article.id, one.rank, one.proposed) for one in candidates(entry, ARTICLES)] == [
        (VOTE_ID, 1, True), (GAME_ID, 3, True), (SONG_ID, 4, True),
    ]  # fmt: skip
    first = choose_right(rate(asked(RAIN_ID, GAME_ID, SONG_ID, VOTE_ID), "down"), RAIN_ID)
    assert [one.proposed for one in candidates(first, ARTICLES)] == [True, True, False]
    assert [str(article.id) for article in negatives(replace(first, negatives=(VOTE_ID,)), ARTICLES)] == [VOTE_ID]
    assert negatives(replace(first, negatives=()), ARTICLES) == []


def test_of_an_article_that_was_not_shown_all_that_were_are_wrong_and_of_none_nothing_is() -> None:
    entry = rate(asked(VOTE_ID, GAME_ID, SONG_ID), "down")
    assert not any(one.proposed for one in candidates(entry, ARTICLES))
    assert all(one.proposed for one in candidates(choose_right(entry, RAIN_ID), ARTICLES))


def test_what_a_good_answer_cites_as_well_is_no_negative() -> None:
    entry = rate(asked(VOTE_ID, RAIN_ID, GAME_ID, cited=(RAIN_ID, GAME_ID)), "up")
    found = candidates(choose_right(entry, RAIN_ID), ARTICLES)
    assert [(one.article.id, one.proposed) for one in found] == [(VOTE_ID, True), (GAME_ID, False)]


def test_what_nearly_repeats_the_right_article_is_never_a_negative() -> None:
    wire = make_document(f"{RAIN} 연합.", title="전국 비")
    articles = {**ARTICLES, str(wire.id): wire}
    turn = Turn("비가 오나요?", documents=[wire, *found(RAIN_ID, VOTE_ID)])
    entry = choose_right(rate(turn, "down"), RAIN_ID)
    assert [(one.repeats, one.proposed) for one in candidates(entry, articles)] == [(True, False), (False, True)]
    ticked = replace(entry, negatives=(str(wire.id), VOTE_ID))
    assert [article.id for article in negatives(ticked, articles)] == [VOTE_ID]


def accept(feedback: Feedback, number: int, *shown: str, right: str) -> Entry:
    sentence = ARTICLES[right].page_content.split(". ")[0] + "."
    asks = f"{number}번째 질문: {sentence.split(' ', 1)[1].rstrip('.')}?"
    turn = Turn(asks, id=f"t{number}", documents=found(*shown))
    entry = decide(choose_right(rate(turn, "down"), right, sentence), "accepted")
    feedback.save(entry, ARTICLES.values())
    return entry


def test_only_what_was_accepted_is_exported_and_reads_as_a_data_set(feedback: Feedback, tmp_path: Path) -> None:
    feedback.save(rate(replace(asked(VOTE_ID, cited=(VOTE_ID,)), id="new"), "up"), ARTICLES.values())
    with pytest.raises(ValueError, match="holds no accepted feedback"):
        write_training_data(feedback, tmp_path / "feedback.jsonl")
    assert not (tmp_path / "feedback.jsonl").exists()
    entry = accept(feedback, 1, VOTE_ID, RAIN_ID, right=RAIN_ID)
    assert write_training_data(feedback, tmp_path / "feedback.jsonl") == 1
    data = load_retrieval_data(tmp_path / "feedback.jsonl")
    (question,) = data.questions
    assert (question.id, question.text) == ("feedback-t1", entry.question)
    assert question_key(question.text) == question_key(entry.question)
    assert (question.relevant, question.negatives) == (frozenset({RAIN_ID}), (VOTE_ID,))
    assert question.answers == ("기상청은 주말에 전국에 비가 온다고 예보했다.",)
    assert question.metadata["origin"] == "feedback"
    assert question.metadata["source"] == "누리통신", "the outlet, as in every table of articles"
    # The whole articles, with the ids that the index and an evaluation know them by.
    assert data.passages == {doc_id: ARTICLES[doc_id] for doc_id in (RAIN_ID, VOTE_ID)}


def test_the_command_lists_all_and_exports_what_was_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAG_HOME", str(tmp_path))
    feedback = Feedback(tmp_path / FILE_NAME)
    feedback.save(rate(asked(VOTE_ID), "down"), ARTICLES.values())
    path = tmp_path / "out.jsonl"
    assert cli.main(["feedback", "export", str(path), "--lang", "en"]) == cli.FAILED
    assert "holds no accepted feedback" in capsys.readouterr().err
    assert cli.main(["feedback", "export"]) == cli.FAILED
    entry = accept(feedback, 2, VOTE_ID, RAIN_ID, right=RAIN_ID)
    assert cli.main(["feedback", "export", str(path), "--lang", "en"]) == cli.OK
    assert len(load_retrieval_data(path).questions) == 1
    capsys.readouterr()
    assert cli.main(["feedback", "list"]) == cli.OK
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert sorted((state, thumb, right, asks) for state, thumb, _, right, asks in lines) == [
        ("accepted", "down", RAIN_ID, entry.asks),
        ("new", "down", "-", "주말에 비가 오나요?"),
    ]


def test_a_sentence_that_is_not_in_the_article_is_no_answer() -> None:
    entry = choose_right(rate(asked(RAIN_ID), "down"), RAIN_ID, "없는 문장.")
    assert training_row(entry, ARTICLES)["answers"] == {"text": [], "answer_start": []}


@pytest.fixture
def exported(feedback: Feedback, tmp_path: Path) -> Path:
    """Twenty-four questions about four articles each of which is told from two others."""
    order = list(ARTICLES)
    for number in range(24):
        shown = [order[(number + place) % 4] for place in range(3)]
        accept(feedback, number, *shown, right=shown[1])
    path = tmp_path / "feedback.jsonl"
    assert write_training_data(feedback, path) == 24
    return path


def test_both_programs_train_on_it_to_the_end(
    exported: Path, tiny_static: Path, tiny_transformer: Path, tmp_path: Path
) -> None:
    from finetune import cross_encoder, mrc

    given = [f"--train={exported}", f"--validation={exported}", "--device=cpu"]
    output = tmp_path / "mrc"
    assert mrc.main([f"--model={tiny_static}", f"--output={output}", *given, "--max-steps=2", "--crops=0"]) == 0
    assert json.loads((output / "run.json").read_text("utf-8"))["given_negatives"] == 48
    output = tmp_path / "reranker"
    shares = ["--validation-share=0.25", "--candidates=3", "--negatives=2", "--max-steps=2", "--no-gate"]
    arguments = [f"--model={tiny_transformer}", f"--retriever={tiny_static}", f"--output={output}", *given, *shares]
    assert cross_encoder.main(arguments) == 0
    record = json.loads((output / "run.json").read_text("utf-8"))
    assert record["negatives"] > 0
    linear = [f"--model={tiny_static}", f"--retriever={tiny_static}", "--folds=2", "--no-gate", "--candidates=4"]
    assert cross_encoder.main([*linear, f"--output={tmp_path / 'linear'}", *given[:2]]) == 0
