"""Answers in the background: they go on unwatched, are saved, and stop at once."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableGenerator

from rag_app.chain import build_chain
from rag_app.conversations.turn import Turn
from rag_app.embeddings import load_embeddings
from rag_app.timing import timed
from tests.openai_server import OpenAIServer, openai_server

pytest.importorskip("streamlit", reason="the ui extra is not installed")

from rag_app.page.chat import answering
from rag_app.page.chat.answering import Answer, Answers, Request

SECONDS = 20
State = dict[str, Any]


@pytest.fixture(scope="module")
def answers() -> Iterator[Answers]:
    running = Answers(at_once=2)
    yield running
    running.close()


class _Kept:
    """Keeps what was saved, as JSON, in order."""

    def __init__(self, error: Exception | None = None) -> None:
        self.bodies: list[str] = []
        self.error = error

    def __call__(self, turn: Turn) -> None:
        self.bodies.append(turn.to_json())
        if self.error is not None:
            raise self.error

    @property
    def last(self) -> Turn:
        return Turn.from_json(self.bodies[-1])


def _chain(*chunks: State | threading.Event | Exception) -> Runnable[State, State]:
    """Return a chain that says each dictionary, waits for each event and raises each error."""

    async def say(_: AsyncIterator[State]) -> AsyncIterator[State]:
        for chunk in chunks:
            if isinstance(chunk, threading.Event):
                while not chunk.is_set():
                    await asyncio.sleep(0.005)
            elif isinstance(chunk, Exception):
                raise chunk
            else:
                yield chunk

    return RunnableGenerator(say)


def _start(
    answers: Answers,
    build: Callable[[], Runnable[State, State]],
    save: Callable[[Turn], None],
    *,
    explain: Callable[[Exception], str] = str,
    conversation: str = "c",
    history: tuple[str, ...] = (),
) -> Answer:
    said = [HumanMessage(text) for text in history]
    return answers.start(Request(Turn("질문?"), conversation, [*said], build, explain, save))


def _wait_for(answer: Answer, condition: Callable[[], bool]) -> None:
    for _ in answer.changes():
        if condition():
            return
        assert answer.seconds < SECONDS
    assert condition()


def _wait(answer: Answer) -> None:
    _wait_for(answer, lambda: answer.ended)


def test_an_answer_is_made_and_saved_though_nobody_watches(answers: Answers) -> None:
    saved = threading.Event()
    kept = _Kept()

    def save(turn: Turn) -> None:
        kept(turn)
        saved.set()

    documents = [Document("글", metadata={"citation": 1})]
    chunks = ({"standalone_question": "온 질문"}, {"documents": documents, "evidence": 0.7}, {"answer": "답 "})
    answer = _start(answers, lambda: _chain(*chunks, {"answer": "[1]"}, {"refused": False}), save)
    assert saved.wait(SECONDS)
    turn = kept.last
    assert (turn.searched, turn.answer, turn.documents, turn.finished) == ("온 질문", "답 [1]", documents, True)
    assert turn.evidence == 0.7
    assert turn.seconds.keys() == {"found", "first", "total"}
    _wait(answer)
    assert answers.get(turn.id) is None


def test_whoever_looks_finds_an_answer_while_it_is_on_its_way(answers: Answers) -> None:
    gate = threading.Event()
    answer = _start(answers, lambda: _chain({"answer": "첫 "}, gate, {"answer": "끝"}), _Kept())
    _wait_for(answer, lambda: answer.turn.answer == "첫 ")
    assert answers.get(answer.turn.id) is answer
    gate.set()
    _wait(answer)
    assert answer.turn.answer == "첫 끝"


def test_a_growing_answer_is_saved_now_and_then_also_while_its_model_stalls(
    answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "SAVE_SECONDS", 0.1)
    gate, kept = threading.Event(), _Kept()
    answer = _start(answers, lambda: _chain({"answer": "반"}, gate, {"answer": "쪽"}), kept)
    _wait_for(answer, lambda: bool(kept.bodies))
    assert (kept.last.answer, kept.last.finished) == ("반", False)
    gate.set()
    _wait(answer)
    assert (kept.last.answer, kept.last.finished) == ("반쪽", True)


def test_the_time_of_each_stage_is_noted(answers: Answers) -> None:
    async def search(_: AsyncIterator[State]) -> AsyncIterator[State]:
        with timed("dense"):
            yield {"answer": "답"}

    kept = _Kept()
    _wait(_start(answers, lambda: RunnableGenerator(search), kept))
    assert "dense" in kept.last.seconds


def test_an_error_is_explained_and_what_had_come_stays(answers: Answers) -> None:
    kept = _Kept()
    error = OSError("선이 끊겼다")
    _wait(_start(answers, lambda: _chain({"answer": "반"}, error), kept, explain=lambda _: "고치세요"))
    turn = kept.last
    assert (turn.answer, turn.problem, turn.detail, turn.finished) == ("반", "고치세요", "선이 끊겼다", False)


def test_a_bug_is_saved_as_such_and_raised_where_somebody_looks(answers: Answers) -> None:
    kept = _Kept()
    answer = _start(answers, lambda: _chain(RuntimeError("bug")), kept, explain=lambda _: "")
    with pytest.raises(RuntimeError, match="bug"):
        list(answer.changes())
    assert kept.last.problem == "RuntimeError"


def test_what_cannot_be_saved_is_answered_and_noted(answers: Answers) -> None:
    answer = _start(answers, lambda: _chain({"answer": "답"}), _Kept(OSError("가득 찼습니다")))
    _wait(answer)
    assert (answer.turn.answer, answer.unsaved) == ("답", "가득 찼습니다")


def test_an_answer_ends_even_if_saving_it_fails_as_never_foreseen(answers: Answers) -> None:
    answer = _start(answers, lambda: _chain({"answer": "답"}), _Kept(TypeError("버그")))
    while not answer.ended:
        assert answer.seconds < SECONDS
    with pytest.raises(TypeError, match="버그"):
        list(answer.changes())
    assert answers.get(answer.turn.id) is None


def test_an_answer_to_a_deleted_conversation_is_given_up(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "SAVE_SECONDS", 0.01)
    submit = asyncio.run_coroutine_threadsafe

    def submitted_late(*arguments: Any) -> Any:  # as where the loop is faster than whoever asks
        made = submit(*arguments)
        time.sleep(0.1)
        return made

    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", submitted_late)
    answer = _start(answers, lambda: _chain({"answer": "반"}, threading.Event()), _Kept(KeyError("gone")))
    _wait(answer)
    assert answer.turn.stopped


def test_only_some_are_made_at_once_and_one_that_waits_can_be_stopped(answers: Answers) -> None:
    gate = threading.Event()
    first = [_start(answers, lambda: _chain({"answer": "첫"}, gate), _Kept()) for _ in range(2)]
    for answer in first:
        _wait_for(answer, lambda answer=answer: bool(answer.turn.answer))  # type: ignore[misc]
    waiting, stopped = (_start(answers, lambda: _chain({"answer": "다음"}), _Kept()) for _ in range(2))
    assert waiting.waiting
    stopped.stop()
    _wait(stopped)
    assert (stopped.turn.stopped, stopped.turn.answer) == (True, "")
    gate.set()
    _wait(waiting)
    assert waiting.turn.answer == "다음"


def test_all_answers_of_a_conversation_can_be_stopped_and_no_others(answers: Answers) -> None:
    gate = threading.Event()
    one = _start(answers, lambda: _chain(gate, {"answer": "답"}), _Kept(), conversation="하나")
    other = _start(answers, lambda: _chain(gate, {"answer": "답"}), _Kept(), conversation="둘")
    answers.stop_all("하나")
    assert (one.ended, one.turn.stopped) == (True, True)
    gate.set()
    _wait(other)
    assert other.turn.finished


def test_a_stop_that_comes_too_late_changes_nothing(answers: Answers) -> None:
    kept = _Kept()
    answer = _start(answers, lambda: _chain({"answer": "답"}), kept)
    _wait(answer)
    answer.stop()
    assert (answer.turn.finished, answer.turn.stopped) == (True, False)
    assert len(kept.bodies) == 1


class _Found(BaseRetriever):
    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        return [
            Document("달은 지구를 돈다.", metadata={"doc_id": "1", "stages": {"rerank": {"score": 1.0, "rank": 1}}})
        ]


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    pytest.importorskip("langchain_openai", reason="the chat extra is not installed")
    with openai_server(lambda _: ["달은 늘 ", "지구를 ", "돕니다 [1]."]) as running:
        yield running


@pytest.mark.parametrize(
    ("gate", "history", "came"),
    [("gate", (), "달은 "), ("first_gate", (), ""), ("first_gate", ("지구는 무엇을 도나요?",), "")],
    ids=["between two pieces", "before the first", "while the question is rewritten"],
)
def test_stopping_closes_the_connection_to_a_model_that_stalls(
    answers: Answers, server: OpenAIServer, gate: str, history: tuple[str, ...], came: str
) -> None:
    from rag_app.chat_models.loading import load_chat_model

    getattr(server, gate).clear()
    model = load_chat_model(f"{server.url}#tiny")
    kept = _Kept()

    def build() -> Runnable[State, State]:
        return build_chain(_Found(), embeddings=load_embeddings(), chat_model=model)

    answer = _start(answers, build, kept, history=history)
    _wait_for(answer, lambda: bool(server.requests) and answer.turn.answer.strip() == came.strip())
    answer.stop()
    _wait(answer)
    assert server.disconnected.wait(5)
    assert (kept.last.stopped, kept.last.answer.strip()) == (True, came.strip())
