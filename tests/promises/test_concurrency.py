"""Readers in threads, processes and event loops see one committed version; one writes at a time; no loop is blocked."""

import asyncio
import gc
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import FakeListChatModel
from langchain_core.runnables import Runnable
from numpy.typing import NDArray

from rag_app.chain import build_chain
from rag_app.compressors import LinearCompressor, load_reranker
from rag_app.documents import make_document
from rag_app.embeddings import StaticEmbeddings, load_embeddings
from rag_app.index import Index, build_index, open_index
from rag_app.retrieval import build_retriever
from rag_app.stores.faiss import FaissStore
from tests.reliability import Promised

pytestmark = pytest.mark.promise(4)

ARTICLES = 40
FORMS = ["exact", "ivf"]  # in memory, and in segments on disk
THREADS, PROCESSES = 16, 4
SLOW = 0.5  # seconds that a slow model takes
BLOCKED = 0.25  # seconds for which an event loop is not to stand still
TRIES = 3  # a loop that is blocked stands still every time; one on a busy machine does not


def edition(version: int) -> list[Document]:
    """Return all articles in one version, each telling it."""
    return [
        make_document(
            f"{number}번째 소식이다. 제{version}판이다.",
            version=version,
            number=number,
            path=f"{number % 4}.csv",
            tags=[f"v{version}"],
        )
        for number in range(ARTICLES)
    ]


def wrong_answer(found: Sequence[Document]) -> str | None:
    """Return what is wrong with an answer that should be all articles of one version."""
    versions = {document.metadata["version"] for document in found}
    numbers = sorted(document.metadata["number"] for document in found)
    texts = {f"제{version}판" for version in versions}
    if len(versions) != 1 or numbers != list(range(ARTICLES)):
        return f"{len(found)} documents of versions {sorted(versions)}"
    if not all(text in document.page_content for document in found for text in texts):
        return "texts and metadata of different versions"
    return None


# One writer, many readers


class Readers:
    """Threads that ask in every way until they are told to stop, and note what is wrong."""

    def __init__(self, index: Index, embeddings: Embeddings) -> None:
        self.index = index
        self.other = open_index(index.path, embeddings)
        self.done = threading.Event()
        self.wrong: list[str] = []
        self.answers = [0] * THREADS
        self.newest = [0] * THREADS

    def read(self, place: int) -> None:
        ways: list[Callable[[], Iterator[Sequence[Document]]]] = [
            self._invoke,
            self._ainvoke,
            self._batch,
            self._refresh,
            self._store,
            self._filtered,
        ]
        try:
            while not self.done.is_set():
                for found in ways[place % len(ways)]():
                    self.answers[place] += 1
                    if (wrong := wrong_answer(found)) is not None:
                        self.wrong.append(wrong)
                    version = found[0].metadata["version"] if found else 0
                    if version < self.newest[place]:
                        self.wrong.append(f"version {version} after {self.newest[place]}")
                    self.newest[place] = version
        except BaseException as error:
            self.wrong.append(repr(error))
            raise

    def _retriever(self, index: Index | None = None, **options: Any) -> Runnable[str, list[Document]]:
        return build_retriever(index or self.index, top_n=ARTICLES, **options)

    def _invoke(self) -> Iterator[Sequence[Document]]:
        yield self._retriever().invoke("소식")

    def _ainvoke(self) -> Iterator[Sequence[Document]]:
        async def ask() -> list[list[Document]]:
            retriever = self._retriever()
            return await asyncio.gather(*(retriever.ainvoke("소식이다") for _ in range(3)))

        answers = asyncio.run(ask())
        yield from sorted(answers, key=lambda found: found[0].metadata["version"])

    def _batch(self) -> Iterator[Sequence[Document]]:
        answers = self._retriever().batch(["소식", "번째", "소식이다"])
        yield from sorted(answers, key=lambda found: found[0].metadata["version"])

    def _refresh(self) -> Iterator[Sequence[Document]]:
        self.other.refresh()
        yield self._retriever(self.other).invoke("번째 소식")

    def _store(self) -> Iterator[Sequence[Document]]:
        store = self.index.snapshot.store
        yield store.similarity_search("소식", ARTICLES)
        yield list(store.documents.values())

    def _filtered(self) -> Iterator[Sequence[Document]]:
        yield self._retriever(filter={"number": {"$lt": ARTICLES}, "path": {"$ne": "x"}}).invoke("소식")


def wait_for(path: Path) -> None:
    """Wait until there is a file; events that processes share do not survive one that is killed."""
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until, f"There is still no {path}"
        time.sleep(0.005)


def read_in_a_process(path: Path, model: Path, ready: Path, stop: Path) -> tuple[int, list[str]]:
    """Open an index again and again, and ask; return how many answers there were and what was wrong."""
    embeddings, answers, newest = load_embeddings(model), 0, 0
    wrong: list[str] = []
    index = open_index(path, embeddings)
    build_retriever(index).invoke("소식")
    ready.touch()
    while not stop.exists():
        if answers % 3:
            index.refresh()
        else:
            index = open_index(path, embeddings, check=answers % 2 == 0)
        found = build_retriever(index, top_n=ARTICLES).invoke("소식")
        answers += 1
        if (problem := wrong_answer(found)) is not None:
            wrong.append(problem)
        elif found[0].metadata["version"] < newest:
            wrong.append(f"version {found[0].metadata['version']} after {newest}")
        else:
            newest = found[0].metadata["version"]
    return answers, wrong


@pytest.mark.parametrize("form", FORMS)
def test_every_answer_belongs_to_one_committed_version(
    form: str, promised: Promised, tmp_path: Path, tiny_static: Path
) -> None:
    embeddings = load_embeddings(tiny_static)
    index = build_index(tmp_path / "index", edition(0), embeddings, vectors=form)
    readers, stop = Readers(index, embeddings), tmp_path / "stop"
    seconds, processes = promised.times(2, 60), promised.times(1, PROCESSES)
    version = 0
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context) as children, ThreadPoolExecutor(THREADS) as pool:
        ready = [tmp_path / f"ready{number}" for number in range(processes)]
        elsewhere = [children.submit(read_in_a_process, index.path, tiny_static, one, stop) for one in ready]
        for one in ready:
            wait_for(one)
        threads = [pool.submit(readers.read, place) for place in range(THREADS)]
        second = open_index(index.path, embeddings)
        until = time.monotonic() + seconds
        try:
            while time.monotonic() < until and not readers.wrong:
                version += 1
                changes = index.update(edition(version))
                assert (changes.added, changes.removed) == (ARTICLES, ARTICLES)
                second.delete(["unbekannt"])
        finally:
            readers.done.set()
            stop.touch()
        for thread in threads:
            thread.result(60)
        found = [child.result(60) for child in elsewhere]
    assert readers.wrong == []
    assert [wrong for _, wrong in found] == [[]] * processes
    assert min(readers.answers) > 0
    assert min(answers for answers, _ in found) > 0
    assert index.snapshot.store.similarity_search("소식", 1)[0].metadata["version"] == version
    promised.tried(sum(readers.answers), "answers in threads")
    promised.tried(sum(answers for answers, _ in found), "answers in other processes")
    promised.tried(version, "commits meanwhile")


# A second writer


def write_slowly(path: Path, model: Path, began: Path, finish: Path) -> None:
    """Add a document, which takes until there is a file."""

    def documents() -> Iterator[Document]:
        yield make_document("느린 소식이다.")
        began.touch()
        wait_for(finish)

    open_index(path, load_embeddings(model)).add(documents())


def try_to_write(path: Path, model: Path) -> tuple[float, str]:
    """Return in how many seconds a second writer was refused, and how."""
    index = open_index(path, load_embeddings(model))
    start = time.perf_counter()
    try:
        index.add([make_document("둘째 소식이다.")])
    except BlockingIOError as error:
        return time.perf_counter() - start, str(error)
    return time.perf_counter() - start, "not refused"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("end", ["done", "killed"])
def test_a_second_writer_is_refused_at_once_until_the_first_is_done_or_dead(
    form: str, end: str, promised: Promised, tmp_path: Path, tiny_static: Path
) -> None:
    path = tmp_path / "index"
    build_index(path, edition(0), load_embeddings(tiny_static), vectors=form)
    began, finish = tmp_path / "began", tmp_path / "finish"
    writer = multiprocessing.get_context("spawn").Process(target=write_slowly, args=(path, tiny_static, began, finish))
    writer.start()
    try:
        wait_for(began)
        with ThreadPoolExecutor(4) as pool:
            refusals = list(pool.map(try_to_write, [path] * 8, [tiny_static] * 8))
        for seconds, message in refusals:
            assert seconds < 1
            assert str(path) in message
            assert "Try again" in message
        promised.tried(len(refusals), "second writers")
        if end == "killed":
            writer.kill()
    finally:
        finish.touch()
        writer.join(60)
    assert try_to_write(path, tiny_static)[1] == "not refused"
    texts = {d.page_content for d in open_index(path, load_embeddings(tiny_static)).snapshot.store.documents.values()}
    assert ("느린 소식이다." in texts) == (end == "done")
    assert "둘째 소식이다." in texts
    assert len(texts) == ARTICLES + (2 if end == "done" else 1)


def test_a_second_writer_of_the_same_process_is_refused_at_once(tmp_path: Path, tiny_static: Path) -> None:
    index = build_index(tmp_path / "index", edition(0), load_embeddings(tiny_static))
    began, finish = threading.Event(), threading.Event()

    def documents() -> Iterator[Document]:
        began.set()
        assert finish.wait(60)
        yield make_document("느린 소식이다.")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(index.add, documents())
        assert began.wait(60)
        for attempt in (index.delete, index.add, index.update):
            start = time.perf_counter()
            with pytest.raises(BlockingIOError, match="Try again"):
                attempt([])
            assert time.perf_counter() - start < 1
        assert len(build_retriever(index, top_n=ARTICLES).invoke("소식")) == ARTICLES  # who reads goes on
        finish.set()
        assert first.result(60).added == 1
    assert index.add([make_document("둘째 소식이다.")]).added == 1


# Event loops


def sleep_through() -> None:
    time.sleep(SLOW)


def compute_through() -> None:
    matrix, until = np.ones((256, 256), np.float32), time.perf_counter() + SLOW
    while time.perf_counter() < until:
        np.dot(matrix, matrix)
        sum(range(1000))


KINDS = {"sleeping": sleep_through, "computing": compute_through}


class SlowEmbeddings(StaticEmbeddings):
    """One of ours, slowed down."""

    slow: Callable[[], None] = staticmethod(lambda: None)

    def encode(
        self, texts: Sequence[str], *, query: bool = False, progress: bool = False, unit_length: bool = True
    ) -> NDArray[np.float32]:
        self.slow()
        return super().encode(texts, query=query)


class SlowForeignEmbeddings(Embeddings):
    """Embeddings of somebody else, without async methods."""

    def __init__(self, slow: Callable[[], None]) -> None:
        self.slow = slow

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.slow()
        return [[1.0, float(len(text))] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


class SlowCompressor(LinearCompressor):
    """A reranker, slowed down."""

    slow: Any = None

    def _score_in_order(self, documents: Sequence[Document], query: str) -> Any:
        self.forget()  # else it would know the scores the second time
        return super()._score_in_order(documents, query)

    def _probabilities(self, query: str, passages: Sequence[str], fused: Sequence[float] | None) -> NDArray[np.float64]:
        self.slow()
        return super()._probabilities(query, passages, fused)


class SlowChatModel(FakeListChatModel):
    """A chat model without async methods, slowed down."""

    slow: Any = None

    def _call(self, *args: Any, **kwargs: Any) -> str:
        self.slow()
        return super()._call(*args, **kwargs)

    def _stream(self, *args: Any, **kwargs: Any) -> Any:
        self.slow()
        yield from super()._stream(*args, **kwargs)

    _agenerate = property(lambda self: super(FakeListChatModel, self)._agenerate)
    _astream = property(lambda self: super(FakeListChatModel, self)._astream)


async def longest_gap(work: Awaitable[Any]) -> float:
    """Return for how many seconds the event loop stood still while it awaited something."""
    longest, done = 0.0, False

    async def beat() -> None:
        nonlocal longest
        while not done:
            start = time.perf_counter()
            await asyncio.sleep(0.005)
            longest = max(longest, time.perf_counter() - start - 0.005)

    heart = asyncio.create_task(beat())
    await asyncio.sleep(0)
    await work
    done = True
    await heart
    return longest


async def all_of(stream: Any) -> list[Any]:
    return [chunk async for chunk in stream]


def async_calls(slow: Callable[[], None], model: Path, reranker: Path, folder: Path) -> dict[str, Any]:
    """Return calls of every async method that has a model behind it, by name."""
    loaded = load_embeddings(model)
    assert isinstance(loaded, StaticEmbeddings)
    ours = SlowEmbeddings(loaded.token_vectors, name=loaded.name, fingerprint=loaded.fingerprint)
    index = build_index(folder / "ours", edition(0), ours)
    ours.slow = slow
    foreign = SlowForeignEmbeddings(lambda: None)
    other = build_index(folder / "foreign", edition(0), foreign)
    store = FaissStore(foreign)
    store.add_texts(["하나"])
    foreign.slow = slow
    fast = load_reranker(reranker)
    compressor = SlowCompressor(model=fast.model, name="slow", slow=slow)
    plain = build_index(folder / "plain", edition(0), loaded)
    reranked = build_retriever(plain, compressor=compressor)
    extractive = build_chain(build_retriever(index), embeddings=ours, min_evidence=0)
    written = build_chain(
        build_retriever(plain),
        embeddings=loaded,
        chat_model=SlowChatModel(responses=["답 [1]"], slow=slow),
        min_evidence=0,
    )
    documents = edition(0)
    question = {"question": "소식은?", "history": [("human", "무슨 소식?"), ("ai", "없습니다.")]}
    return {
        "retriever.ainvoke": lambda: build_retriever(index).ainvoke("소식"),
        "retriever.abatch": lambda: build_retriever(index).abatch(["소식", "번째", "판"]),
        "retriever.ainvoke, foreign model": lambda: build_retriever(other).ainvoke("소식"),
        "retriever.ainvoke, reranked": lambda: reranked.ainvoke("소식"),
        "embeddings.aembed_query": lambda: ours.aembed_query("소식"),
        "embeddings.aembed_documents": lambda: ours.aembed_documents(["소식"]),
        "compressor.acompress_documents": lambda: compressor.acompress_documents(documents, "소식 둘"),
        "store.aadd_texts": lambda: store.aadd_texts(["둘"]),
        "store.aadd_documents": lambda: store.aadd_documents(documents),
        "store.asimilarity_search": lambda: store.asimilarity_search("소식"),
        "store.asimilarity_search_with_score": lambda: store.asimilarity_search_with_score("소식"),
        "store.amax_marginal_relevance_search": lambda: store.amax_marginal_relevance_search("소식"),
        "store.as_retriever().ainvoke": lambda: store.as_retriever().ainvoke("소식"),
        "chain.ainvoke": lambda: extractive.ainvoke(question),
        "chain.astream": lambda: all_of(extractive.astream(question)),
        "chain.ainvoke, chat model": lambda: written.ainvoke(question),
        "chain.astream, chat model": lambda: all_of(written.astream(question)),
    }


@pytest.mark.parametrize("kind", KINDS)
async def test_no_model_blocks_an_event_loop(
    kind: str, promised: Promised, tmp_path: Path, tiny_static: Path, tiny_linear_reranker: Path
) -> None:
    slept = 0

    def slow() -> None:
        nonlocal slept
        slept += 1
        KINDS[kind]()

    calls = await asyncio.to_thread(async_calls, slow, tiny_static, tiny_linear_reranker, tmp_path)
    if promised.times(1, 0) and kind == "computing":
        calls = {name: calls[name] for name in ("retriever.ainvoke", "compressor.acompress_documents", "chain.ainvoke")}
    slept, gaps = 0, {}
    for name, call in calls.items():
        for _ in range(TRIES):
            before = slept
            gaps[name] = await longest_gap(call())
            assert slept > before, f"{name} did not use the slow model"
            if gaps[name] < BLOCKED:
                break
    assert {name: gap for name, gap in gaps.items() if gap >= BLOCKED} == {}
    promised.tried(len(gaps), "async calls of slow models")
    promised.measured("an event loop stood still for at most", f"{1000 * max(gaps.values()):.0f} ms ({kind} model)")


async def test_an_event_loop_goes_on_while_an_index_is_built_and_changed(tmp_path: Path, tiny_static: Path) -> None:
    embeddings = load_embeddings(tiny_static)
    documents = [document for version in range(20) for document in edition(version)]

    def work() -> None:
        index = build_index(tmp_path / "index", documents, embeddings, vectors="ivf", replace=True)
        index.update(edition(21))
        index.delete([str(document.id) for document in documents[:50]])
        open_index(tmp_path / "index", embeddings)

    gap = BLOCKED
    for _ in range(TRIES):
        gap = min(gap, await longest_gap(asyncio.to_thread(work)))
        if gap < BLOCKED:
            break
    assert gap < BLOCKED


# What goes wrong


def slowed(model: Path, slow: Callable[[], None]) -> SlowEmbeddings:
    loaded = load_embeddings(model)
    assert isinstance(loaded, StaticEmbeddings)
    embeddings = SlowEmbeddings(loaded.token_vectors, name=loaded.name, fingerprint=loaded.fingerprint)
    embeddings.slow = slow
    return embeddings


async def test_a_cancelled_task_leaves_the_others_and_the_index_alive(tmp_path: Path, tiny_static: Path) -> None:
    embeddings = slowed(tiny_static, lambda: None)
    retriever = build_retriever(build_index(tmp_path / "index", edition(0), embeddings), top_n=ARTICLES)
    embeddings.slow = lambda: time.sleep(0.05)
    for _ in range(3):
        tasks = [asyncio.create_task(retriever.ainvoke(f"소식 {number}")) for number in range(12)]
        await asyncio.sleep(0.02)
        for task in tasks[::3]:
            task.cancel()
        found = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)
        for number, answer in enumerate(found):
            if number % 3 == 0:
                assert isinstance(answer, asyncio.CancelledError)
            else:
                assert isinstance(answer, list)
                assert wrong_answer(answer) is None
    assert len(await asyncio.wait_for(retriever.ainvoke("소식"), 30)) == ARTICLES


class Failing(StaticEmbeddings):
    """Cannot embed some questions."""

    error: Any = ValueError

    def encode(
        self, texts: Sequence[str], *, query: bool = False, progress: bool = False, unit_length: bool = True
    ) -> NDArray[np.float32]:
        time.sleep(0.01)
        if any("고장" in text for text in texts):
            raise self.error("고장")
        return super().encode(texts, query=query)


@pytest.mark.parametrize("error", [ValueError, MemoryError, StopIteration, KeyError, SystemExit])
async def test_a_question_that_fails_spoils_no_other(
    error: type[BaseException], tmp_path: Path, tiny_static: Path
) -> None:
    loaded = load_embeddings(tiny_static)
    assert isinstance(loaded, StaticEmbeddings)
    embeddings = Failing(loaded.token_vectors, name=loaded.name, fingerprint=loaded.fingerprint)
    embeddings.error = error
    retriever = build_retriever(build_index(tmp_path / "index", edition(0), embeddings), top_n=ARTICLES)
    questions = ["소식", "고장 소식", "번째", "판 고장", "소식이다", "둘째 판"] * 2

    def outcome(question: str) -> Any:
        try:
            return retriever.invoke(question)
        except BaseException as raised:
            return raised

    async def aoutcome(question: str) -> Any:
        try:
            return await retriever.ainvoke(question)
        except asyncio.CancelledError:
            raise
        except BaseException as raised:
            return raised

    with ThreadPoolExecutor(len(questions)) as pool:
        in_threads = list(pool.map(outcome, questions, timeout=30))
    tasks = [asyncio.create_task(aoutcome(question)) for question in questions]
    in_tasks = await asyncio.wait_for(asyncio.gather(*tasks), 30)
    for question, found in zip(questions * 2, [*in_threads, *in_tasks], strict=True):
        if "고장" in question:
            assert isinstance(found, error | RuntimeError)
        else:
            assert wrong_answer(found) is None
    with pytest.raises(BaseException, match="고장"):
        embeddings.embed_query("고장")
    assert len(embeddings.embed_query("소식")) == embeddings.dimension


def test_a_model_that_fails_while_writing_leaves_readers_their_version(tmp_path: Path, tiny_static: Path) -> None:
    loaded = load_embeddings(tiny_static)
    assert isinstance(loaded, StaticEmbeddings)
    embeddings = Failing(loaded.token_vectors, name=loaded.name, fingerprint=loaded.fingerprint)
    index = build_index(tmp_path / "index", edition(0), embeddings)
    for _ in range(3):
        with pytest.raises(ValueError, match="고장"):
            index.update([*edition(1), make_document("고장 난 글이다.")])
        assert wrong_answer(build_retriever(index, top_n=ARTICLES).invoke("소식")) is None
        assert not index.refresh()
    assert index.update(edition(2)).added == ARTICLES


def test_an_index_outlives_event_loops(tmp_path: Path, tiny_static: Path) -> None:
    embeddings = slowed(tiny_static, lambda: None)
    retriever = build_retriever(build_index(tmp_path / "index", edition(0), embeddings), top_n=ARTICLES)
    embeddings.slow = lambda: time.sleep(0.05)

    async def ask() -> list[Document]:
        return await asyncio.wait_for(retriever.ainvoke("소식"), 30)

    async def leave() -> None:  # with the question still under way
        tasks = [asyncio.create_task(retriever.ainvoke(f"소식 {number}")) for number in range(4)]
        await asyncio.sleep(0.02)
        assert not any(task.done() for task in tasks)

    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            found = list(pool.map(lambda _: asyncio.run(ask()), range(4), timeout=60))
            assert all(wrong_answer(answer) is None for answer in found)
            asyncio.run(leave())
    assert wrong_answer(retriever.invoke("소식")) is None


async def test_a_stream_that_is_broken_off_leaves_nothing_behind(tmp_path: Path, tiny_static: Path) -> None:
    embeddings = load_embeddings(tiny_static)
    index = build_index(tmp_path / "index", edition(0), embeddings)
    chain = build_chain(build_retriever(index), embeddings=embeddings, min_evidence=0)
    for count in range(1, 5):
        stream = chain.astream({"question": "소식은?"})
        for _ in range(count):
            await asyncio.wait_for(anext(stream), 30)
        await stream.aclose()  # type: ignore[attr-defined]
        pieces = chain.stream({"question": "소식은?"})
        for _ in range(count):
            next(pieces)
        del pieces
        gc.collect()
    answer = await asyncio.wait_for(chain.ainvoke({"question": "소식은?"}), 30)
    assert answer == chain.invoke({"question": "소식은?"})
    assert answer["answer"]


def ask_in_a_child(path: Path, model: Path) -> list[str]:
    """Ask in a process that was forked while its parent was busy."""
    embeddings = _forked[0]
    found = _forked[1].invoke("처음 듣는 뜻밖의 소식")
    fresh = build_retriever(open_index(path, load_embeddings(model)), top_n=ARTICLES).invoke("소식")
    vectors = embeddings.embed_query("소식") == load_embeddings(model).embed_query("소식")
    return [str(problem) for problem in (wrong_answer(found), wrong_answer(fresh)) if problem] + [""] * (not vectors)


_forked: Any = None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_goes_on_by_itself(tmp_path: Path, tiny_static: Path) -> None:
    global _forked
    embeddings = slowed(tiny_static, lambda: None)
    index = build_index(tmp_path / "index", edition(0), embeddings)
    retriever = build_retriever(index, top_n=ARTICLES)
    entered, stop = threading.Event(), threading.Event()

    def slow() -> None:
        if threading.current_thread() is not threading.main_thread() and os.getpid() == parent:
            entered.set()
            stop.wait(60)

    parent, embeddings.slow, _forked = os.getpid(), slow, (embeddings, retriever)
    with ThreadPoolExecutor(3) as pool:
        questions: list[Future[Any]] = [
            pool.submit(retriever.invoke, "소식"),
            pool.submit(embeddings.embed_query, "소식"),
        ]
        assert entered.wait(60)
        questions.append(pool.submit(retriever.invoke, "번째 소식"))
        time.sleep(0.05)
        try:
            context = multiprocessing.get_context("fork")
            with context.Pool(2) as children:
                results = [children.apply_async(ask_in_a_child, (index.path, tiny_static)) for _ in range(4)]
                assert [result.get(20) for result in results] == [[]] * 4
        finally:
            stop.set()
        assert all(question.result(60) for question in questions)
    _forked = None


@pytest.mark.parametrize("way", ["thread", "task", "interrupted"])
def test_an_interpreter_ends_though_somebody_still_asks(way: str, tmp_path: Path, tiny_static: Path) -> None:
    build_index(tmp_path / "index", edition(0), load_embeddings(tiny_static))
    program = tmp_path / "program.py"
    program.write_text(
        f"""
import asyncio, threading, time
from rag_app import build_retriever, load_embeddings, open_index
embeddings = load_embeddings({str(tiny_static)!r})
retriever = build_retriever(open_index({str(tmp_path / "index")!r}, embeddings))
encode = type(embeddings).encode
type(embeddings).encode = lambda self, texts, **options: (time.sleep(0.3), encode(self, texts, **options))[1]
if {way!r} == "thread":
    for _ in range(8):
        threading.Thread(target=retriever.invoke, args=("소식",), daemon=True).start()
    time.sleep(0.1)
elif {way!r} == "task":
    async def ask():
        tasks = [asyncio.create_task(retriever.ainvoke("소식")) for _ in range(8)]
        await asyncio.sleep(0.1)
    asyncio.run(ask())
else:
    threading.Timer(0.1, __import__("_thread").interrupt_main).start()
    for _ in range(8):
        threading.Thread(target=retriever.invoke, args=("소식",)).start()
    retriever.invoke("소식")
""",
        "utf-8",
    )
    ended = subprocess.run([sys.executable, str(program)], timeout=60, capture_output=True, text=True, check=False)
    assert ended.returncode == (0 if way != "interrupted" else 1) or way == "interrupted", ended.stderr
    assert "KeyboardInterrupt" in ended.stderr or way != "interrupted"
    assert "Fatal" not in ended.stderr
