import json
from pathlib import Path

import pytest
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field

from eval.asking import ask, ask_at_once, document_scores, read_journal, warm_up
from rag_app.data.questions import Question
from rag_app.stages import with_stage
from rag_app.timing import timed


class Listed(BaseRetriever):
    """Finds a fixed list of passages and notes how many it was asked for, and what."""

    passages: list[Document]
    asked: list[int] = Field(default_factory=list)
    questions: list[str] = Field(default_factory=list)
    fails_on: str = ""

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int = 10
    ) -> list[Document]:
        if query == self.fails_on:
            raise RuntimeError("the server is down")
        self.asked.append(k)
        self.questions.append(query)
        with timed("dense"):
            return self.passages[:k]


def passages_of(*doc_ids: str) -> list[Document]:
    return [Document("글", metadata={"doc_id": doc_id, "score": -float(rank)}) for rank, doc_id in enumerate(doc_ids)]


def questions(*texts: str) -> list[Question]:
    return [Question(f"q{n}", text, frozenset({"x"}), (), False, {}) for n, text in enumerate(texts)]


def test_the_warm_up_is_no_question_of_the_benchmark() -> None:
    retriever = Listed(passages=[])
    assert warm_up(retriever) > 0
    assert ask(retriever, questions("하나")).keys() == {"q0"}
    assert len(retriever.questions) == 2


def test_every_question_is_answered_and_timed_also_when_nothing_is_found() -> None:
    answers = ask(Listed(passages=[]), questions("하나", "둘"))
    assert list(answers) == ["q0", "q1"]
    assert all(answer.found == {} and answer.seconds > 0 for answer in answers.values())


def test_a_document_of_several_passages_counts_once_at_its_best_rank() -> None:
    scores = document_scores(passages_of("a", "b", "a", "c", "b"))
    assert list(scores) == ["a", "b", "c"]
    assert scores["c"] < scores["b"] < scores["a"]


def test_neighbours_with_the_same_score_stay_tied() -> None:
    found = [
        Document("글", metadata={"doc_id": doc_id, "score": score}) for doc_id, score in [("b", 1), ("a", 1), ("c", 0)]
    ]
    scores = document_scores(found)
    assert scores["a"] == scores["b"] > scores["c"]
    assert list(scores) == ["a", "b", "c"]


def test_the_order_served_counts_even_against_the_scores() -> None:
    found = [Document("글", metadata={"doc_id": doc_id, "score": score}) for doc_id, score in [("a", 0.1), ("b", 0.9)]]
    scores = document_scores(found)
    assert scores["a"] > scores["b"]


def test_more_passages_are_fetched_until_they_come_from_k_documents() -> None:
    long = ["long"] * 70
    retriever = Listed(passages=passages_of(*long, *(f"d{n}" for n in range(50))))
    answers = ask(retriever, questions("질문"), k=10)
    assert len(answers["q0"].found) >= 10
    assert retriever.asked == [30, 60, 120]


def test_fetching_stops_when_there_are_no_more_documents() -> None:
    retriever = Listed(passages=passages_of(*["long"] * 60))
    assert len(ask(retriever, questions("질문"), k=10)["q0"].found) == 1
    assert retriever.asked == [30, 60, 120]


def test_stages_are_part_of_the_time() -> None:
    answer = ask(Listed(passages=passages_of("a")), questions("질문"))["q0"]
    assert set(answer.stages) == {"dense"}
    assert 0 < answer.stages["dense"] < answer.seconds


def test_evidence_is_told_where_it_is_asked_for_and_stages_are_known() -> None:
    bare = passages_of("a")
    staged = [with_stage(bare[0], "dense", 1, 0.9)]
    assert ask(Listed(passages=staged), questions("질문"))["q0"].evidence is None
    assert ask(Listed(passages=bare), questions("질문"), evidence=True)["q0"].evidence is None
    evidence = ask(Listed(passages=staged), questions("질문"), evidence=True)["q0"].evidence
    assert evidence is not None
    assert 0 < evidence < 1
    assert ask(Listed(passages=[]), questions("질문"), evidence=True)["q0"].evidence == 0


def test_an_error_names_the_question() -> None:
    with pytest.raises(RuntimeError, match="the server is down") as error:
        ask(Listed(passages=[], fails_on="둘"), questions("하나", "둘"))
    assert "'q1': 둘" in error.value.__notes__[0]


def test_asked_at_once_the_same_is_found() -> None:
    retriever = Listed(passages=passages_of(*["long"] * 70, *(f"d{n}" for n in range(50))))
    asked = questions(*(f"질문 {n}" for n in range(5)))
    at_once = ask_at_once(retriever, asked)
    assert at_once.answers.keys() == {question.id for question in asked}
    assert at_once.answers["q3"].found == ask(retriever, asked)["q3"].found
    assert at_once.seconds == pytest.approx(sum(answer.seconds for answer in at_once.answers.values()))


def test_only_questions_without_enough_documents_are_asked_again_at_once() -> None:
    class Uneven(Listed):
        def _get_relevant_documents(
            self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int = 10
        ) -> list[Document]:
            self.questions.append(f"{query} {k}")
            return (
                passages_of(*["long"] * 40, *"abcdefghijkl")[:k] if query == "긴 것" else passages_of(*"abcdefghijkl")
            )

    retriever = Uneven(passages=[])
    answers = ask_at_once(retriever, questions("긴 것", "짧은 것")).answers
    assert sorted(retriever.questions) == ["긴 것 30", "긴 것 60", "짧은 것 30"]
    assert len(answers["q0"].found) == 13


def test_answers_are_written_down_and_not_asked_for_again(tmp_path: Path) -> None:
    journal = tmp_path / "new" / "lexical.jsonl"
    failing = Listed(passages=passages_of("a", "b"), fails_on="셋")
    with pytest.raises(RuntimeError):
        ask(failing, questions("하나", "둘", "셋"), journal=journal)
    kept = read_journal(journal)
    assert list(kept) == ["q0", "q1"]
    retriever = Listed(passages=passages_of("c"))
    answers = ask(retriever, questions("하나", "둘", "셋"), journal=journal)
    assert retriever.questions == ["셋"]
    assert answers["q0"].found == kept["q0"].found == {"a": 0.0, "b": -1.0}
    assert answers["q0"].seconds == pytest.approx(kept["q0"].seconds)
    assert answers["q2"].found == {"c": 0.0}
    assert ask_at_once(retriever, questions("하나", "둘", "셋"), journal=journal).answers == read_journal(journal)
    assert retriever.questions == ["셋"]


def test_a_line_cut_short_by_a_kill_is_asked_again(tmp_path: Path) -> None:
    journal = tmp_path / "lexical.jsonl"
    ask(Listed(passages=passages_of("a")), questions("하나", "둘"), journal=journal)
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-5])
    assert list(read_journal(journal)) == ["q0"]
    ask(Listed(passages=passages_of("b")), questions("하나", "둘"), journal=journal)
    assert [json.loads(line)["id"] for line in journal.read_text("utf-8").splitlines()] == ["q0", "q1"]
    assert read_journal(journal)["q1"].found == {"b": 0.0}


@pytest.mark.parametrize("damage", [b"\0\0\0\n", b"{}\n", b"[1]\n", b'{"id": "q1"}{"id": "q1"}\n', b"\xff\n"])
def test_what_follows_a_damaged_line_is_asked_again(damage: bytes, tmp_path: Path) -> None:
    journal = tmp_path / "lexical.jsonl"
    ask(Listed(passages=passages_of("a")), questions("하나", "둘", "셋"), journal=journal)
    first, _, third = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(first + damage + third)
    retriever = Listed(passages=passages_of("b"))
    answers = ask(retriever, questions("하나", "둘", "셋"), journal=journal)
    assert retriever.questions == ["둘", "셋"]
    kept = read_journal(journal)
    assert {id_: answer.found for id_, answer in kept.items()} == {id_: answers[id_].found for id_ in kept}
    assert list(kept) == ["q0", "q1", "q2"]


def test_any_id_can_be_written_down(tmp_path: Path) -> None:
    asked = [Question("a/b\n\ud800\u2028", "하나", frozenset({"x"}), (), False, {})]
    ask(Listed(passages=passages_of("a")), asked, journal=tmp_path / "lexical.jsonl")
    assert list(read_journal(tmp_path / "lexical.jsonl")) == [asked[0].id]
