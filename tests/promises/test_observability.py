"""What is logged and traced tells how it went, never what was asked or found, and no secret of any way in."""

import asyncio
import io
import json
import logging
import subprocess
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel

from rag_app.chain import build_chain
from rag_app.cli import main
from rag_app.compressors import load_reranker
from rag_app.data import sample_documents
from rag_app.embeddings import load_embeddings
from rag_app.index import Index, build_index
from rag_app.observability.logs import log_event, set_up_logging
from rag_app.observability.secret_words import without_secrets
from rag_app.observability.tracing import capture_content, span
from rag_app.retrieval import build_retriever
from rag_app.settings import Settings, load_settings
from tests.openai_server import openai_server
from tests.reliability import Promised

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

pytestmark = pytest.mark.promise(11)

CHECKOUT = Path(__file__).parents[2]
QUESTION = "한빛 3호의 태양전지판은 언제 완전히 열렸나요?"
SEARCH = {"rag.encode", "rag.lexical", "rag.dense", "rag.fusion"}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return build_index(tmp_path_factory.mktemp("observed") / "news", sample_documents(), load_embeddings())


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """A tracer provider of its own for a test; OpenTelemetry itself lets nobody replace one."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    capture_content(False)
    provider.shutdown()


def chain_over(index: Index, model: Any = None) -> Any:
    retriever = build_retriever(index, compressor=load_reranker())
    return build_chain(retriever, embeddings=index.embeddings, chat_model=model)


def children(spans: Sequence[ReadableSpan]) -> dict[str | None, list[str]]:
    """Return the names of what lies below each name."""
    names = {span.context.span_id: span.name for span in spans if span.context}
    tree: dict[str | None, list[str]] = defaultdict(list)
    for one in spans:
        tree[names.get(one.parent.span_id) if one.parent else None].append(one.name)
    return {name: sorted(below) for name, below in tree.items()}


def assert_inside(spans: Sequence[ReadableSpan]) -> None:
    """Every span begins and ends within the one above it, and all are of traces that have one root."""
    known = {one.context.span_id: one for one in spans if one.context}
    for one in spans:
        assert one.start_time is not None
        assert one.end_time is not None
        if one.parent is not None:
            above = known[one.parent.span_id]
            assert above.start_time is not None
            assert above.end_time is not None
            assert above.start_time <= one.start_time <= one.end_time <= above.end_time
            assert above.context is not None
            assert one.context is not None
            assert above.context.trace_id == one.context.trace_id


WAYS: dict[str, Callable[[Any, dict[str, Any]], object]] = {
    "invoke": lambda chain, asked: chain.invoke(asked),
    "stream": lambda chain, asked: list(chain.stream(asked)),
    "ainvoke": lambda chain, asked: asyncio.run(chain.ainvoke(asked)),
    "astream": lambda chain, asked: asyncio.run(_astream(chain, asked)),
    "batch": lambda chain, asked: chain.batch([asked]),
    "abatch": lambda chain, asked: asyncio.run(chain.abatch([asked])),
}


async def _astream(chain: Any, asked: dict[str, Any]) -> list[Any]:
    return [chunk async for chunk in chain.astream(asked)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("writes", [False, True], ids=["extractive", "model"])
def test_spans_of_an_answer_nest(
    way: str, writes: bool, index: Index, spans: InMemorySpanExporter, promised: Promised
) -> None:
    chain = chain_over(index, FakeListChatModel(responses=["2월 11일입니다 [1]."]) if writes else None)

    WAYS[way](chain, {"question": QUESTION})

    finished = spans.get_finished_spans()
    tree = children(finished)
    assert tree[None] == ["rag.answer"]
    assert tree["rag.answer"] == sorted(["rag.plan", "rag.rerank", "rag.retrieve"] + ["rag.generate"] * writes)
    assert set(tree["rag.retrieve"]) == SEARCH
    assert_inside(finished)
    promised.tried(len(finished), "spans")


def test_questions_side_by_side_do_not_mix(index: Index, spans: InMemorySpanExporter, promised: Promised) -> None:
    chain, count = chain_over(index), promised.times(8, 64)
    questions = [f"{QUESTION} {number}" for number in range(count)]
    capture_content(True)

    chain.batch([{"question": question} for question in questions], {"max_concurrency": 8})
    asyncio.run(_abatch(chain, questions))

    traces: dict[int, list[ReadableSpan]] = defaultdict(list)
    for one in spans.get_finished_spans():
        assert one.context is not None
        traces[one.context.trace_id].append(one)
    asked: list[str] = []
    for own in traces.values():
        assert children(own)[None] == ["rag.answer"]
        assert {one.name for one in own} >= SEARCH
        assert_inside(own)
        asked += [
            str(one.attributes["rag.question"]) for one in own if one.attributes and "rag.question" in one.attributes
        ]
    assert sorted(asked) == sorted(2 * questions), "each trace has one question, and each its own"
    promised.tried(2 * count, "questions traced side by side")


async def _abatch(chain: Any, questions: list[str]) -> None:
    await asyncio.gather(*(chain.ainvoke({"question": question}) for question in questions))


def test_spans_hold_figures_and_no_text(index: Index, spans: InMemorySpanExporter, tmp_path: Path) -> None:
    marked = "은하수표범"
    documents = [Document(f"{marked} 사진을 국립박물관이 공개했다.", metadata={"title": f"{marked} 공개"})]
    built = build_index(tmp_path / "index", documents, load_embeddings())
    chain_over(built, FakeListChatModel(responses=[f"{marked}입니다 [1]."])).invoke({"question": f"{marked} 사진은?"})
    with pytest.raises(ValueError, match="비밀"), span("plan"):
        raise ValueError("비밀")

    told = [one.to_json() for one in spans.get_finished_spans()]
    failed = spans.get_finished_spans()[-1]

    assert {"rag.index", "rag.commit"} <= {one.name for one in spans.get_finished_spans()}
    assert not any(marked in text or "비밀" in text for text in map(_plain, told))
    assert failed.attributes == {"error.type": "ValueError"}
    assert failed.status.status_code is trace.StatusCode.ERROR
    encoded = next(one for one in spans.get_finished_spans() if one.name == "rag.encode")
    assert dict(encoded.attributes or {}) == {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.request.model": "embedded",
    }


def _plain(text: str) -> str:
    return json.dumps(json.loads(text), ensure_ascii=False)


def test_the_reader_of_a_stream_is_not_inside_its_span(index: Index, spans: InMemorySpanExporter) -> None:
    chunks = chain_over(index).stream({"question": QUESTION})
    for _ in chunks:
        assert not trace.get_current_span().get_span_context().is_valid
        break
    chunks.close()

    assert "rag.answer" in {one.name for one in spans.get_finished_spans()}


def test_callbacks_of_langchain_are_as_without_traces(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    def runs() -> list[str]:
        async def names() -> list[str]:
            events = chain_over(index).astream_events({"question": QUESTION}, version="v2")
            return [f"{event['event']} {event['name']}" async for event in events]

        return sorted(set(asyncio.run(names())))

    without = runs()
    provider = TracerProvider()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)

    assert runs() == without
    assert any("rag_answer" in name for name in without)
    provider.shutdown()


class _Off(AbstractContextManager["_Off"]):
    """A span that does not exist."""

    def __exit__(self, *_: object) -> None: ...

    def note(self, **_: object) -> None: ...

    note_content = note


def test_without_a_tracer_a_search_costs_as_before(
    index: Index, monkeypatch: pytest.MonkeyPatch, promised: Promised
) -> None:
    """Measured in turns against a search that has no spans at all."""
    retriever, off = build_retriever(index), _Off()

    def search() -> float:
        start = time.perf_counter()
        for number in range(20):
            retriever.invoke(f"{QUESTION} {number}")
        return time.perf_counter() - start

    search()
    without, with_them = [], []
    for _ in range(promised.times(5, 100)):
        with monkeypatch.context() as change:
            for place in ("rag_app.timing.span", "rag_app.retrieval.span"):
                change.setattr(place, lambda *_, **__: off)
            without.append(search())
        with_them.append(search())
    ratio = min(with_them) / min(without)  # the least of each: what else the machine does only adds
    start = time.perf_counter()
    for _ in range(20_000):
        with span("dense", k=10):
            pass
    each = (time.perf_counter() - start) / 20_000
    promised.measured("time of a search with spans that go nowhere, against one without", f"{ratio:.3f} times")
    promised.measured("a span that goes nowhere", f"{each * 1e6:.1f} microseconds")
    assert ratio < 1.5  # far more than it is: a busy machine is not exact, and the figure is in the table


# Logs


class Said(NamedTuple):
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


@pytest.fixture
def rag_app(
    index: Index, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own_logging: None
) -> Callable[..., Said]:
    """Runs the command line over the index, in this process, with some variables."""

    def run(*arguments: str, **environment: str) -> Said:
        for name, value in {"RAG_LANG": "en", **environment}.items():
            monkeypatch.setenv(name, value)
        try:
            status = main([*arguments, "--index", str(index.path)])
        except SystemExit as ended:
            status = int(ended.code or 0)
        return Said(status, *capsys.readouterr())

    return run


def test_the_library_sets_up_no_logging() -> None:
    code = (
        "import logging, rag_app.retrieval, rag_app.chain, rag_app.cli, rag_app.index\n"
        "assert not logging.getLogger().handlers\n"
        "own = [name for name in logging.root.manager.loggerDict if name.startswith('rag_app')]\n"
        "assert own and not any(logging.getLogger(name).handlers for name in own)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=CHECKOUT)


@pytest.fixture
def own_logging() -> Iterator[None]:
    """What a test sets up ends with it."""
    logger = logging.getLogger("rag_app")
    before = (list(logger.handlers), logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.level, logger.propagate = before


@pytest.fixture
def logged(own_logging: None) -> io.StringIO:
    stream = io.StringIO()
    set_up_logging("json", stream=stream)
    return stream


def test_a_line_is_one_event(logged: io.StringIO) -> None:
    log_event(logging.getLogger("rag_app.test"), "answered\n{}", documents=3, encode_ms=0.4, request="abc")

    [line] = logged.getvalue().splitlines()
    event = json.loads(line)
    assert event.pop("time").endswith("+00:00")
    assert event == {
        "level": "INFO",
        "logger": "rag_app.test",
        "event": "answered\n{}",
        "documents": 3,
        "encode_ms": 0.4,
        "request": "abc",
    }


def test_an_exception_is_logged_with_its_place_and_without_its_message(logged: io.StringIO) -> None:
    try:
        raise KeyError("은하수표범은 어디에 있나요?")
    except KeyError:
        logging.getLogger("rag_app.test").exception("An answer failed")

    event = json.loads(logged.getvalue())
    assert event["error"] == "KeyError"
    assert "test_observability.py" in event["at"][0]
    assert "은하수표범" not in logged.getvalue()


def test_a_command_logs_figures_and_no_text(rag_app: Callable[..., Said]) -> None:
    assert rag_app("ask", QUESTION).err == ""

    [event] = map(json.loads, rag_app("ask", QUESTION, RAG_LOG="json").err.splitlines())

    assert event["event"] == "rag-app ask"
    assert {"encode_ms", "lexical_ms", "dense_ms", "fusion_ms", "rerank_ms", "ms", "status"} <= event.keys()
    assert "태양전지판" not in str(event)


# Secrets

CANARY = "sk-canary-0123456789-abcdefghij"
PASSWORD = "canary-correct-horse"
SECRETS = {
    "RAG_CHAT_API_KEY": CANARY,
    "OPENAI_API_KEY": f"{CANARY}-openai",
    "ANTHROPIC_API_KEY": f"{CANARY}-anthropic",
    "HF_TOKEN": "hf_canaryCANARYcanaryCANARY",
    "RAG_PASSWORD": PASSWORD,
    "LANGSMITH_API_KEY": "lsv2-canary-0123456789",
}


def assert_silent(*texts: str) -> None:
    for text in texts:
        assert "canary" not in text.lower(), text


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(
            {"RAG_CHAT_TIMEOUT": CANARY},
            marks=pytest.mark.fault(11, "A key put into the wrong RAG_ variable was repeated in the error about it."),
        ),
        {"RAG_K": f"http://user:{PASSWORD}@127.0.0.1/v1"},
        {"RAG_LANG": SECRETS["HF_TOKEN"]},
        {"RAG_PASSWORD": "canary"},
        pytest.param(
            {"RAG_CHAT_MODEL": CANARY, "ask": "yes"},
            marks=pytest.mark.fault(11, "A key given as a chat model's name was repeated in the error about it."),
        ),
        {"RAG_CHAT_MODEL": f"openai:gpt-5-mini?key={CANARY}", "ask": "yes"},
        {"RAG_CHAT_MODEL": f"http://user:{PASSWORD}@127.0.0.1:9/v1#m", "ask": "yes"},
        {"RAG_CHAT_MODEL": f"http://127.0.0.1:9/v1?key={CANARY}#m", "ask": "yes"},
        {"RAG_CHAT_MODEL": "http://127.0.0.1:9/v1#m", "ask": "yes"},
        {"RAG_CHAT_API_KEY": f"{CANARY}\nInjected: canary", "RAG_CHAT_MODEL": "http://127.0.0.1:9/v1#m", "ask": "yes"},
    ],
    ids=lambda wrong: " ".join(wrong),
)
def test_no_secret_is_in_what_a_command_says(
    wrong: dict[str, str], rag_app: Callable[..., Said], promised: Promised
) -> None:
    asking = ("ask", QUESTION) if "ask" in wrong else ("check",)
    variables = {name: value for name, value in wrong.items() if name != "ask"}

    said = rag_app(*asking, **{**SECRETS, "RAG_LOG": "json", "RAG_LOG_LEVEL": "DEBUG", **variables})

    assert said.status == 1
    assert_silent(said.out, said.err)
    promised.tried(1, "ways to give a secret away")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
def test_no_secret_is_in_what_is_said_of_a_server_that_repeats_it(
    status: int, rag_app: Callable[..., Said], promised: Promised
) -> None:
    with openai_server(lambda _: ["네"]) as server:
        server.status = status
        address = f"{server.url}#model"
        said = rag_app("ask", QUESTION, **SECRETS, RAG_CHAT_MODEL=address, RAG_LOG="json")

        assert any(CANARY in request.headers.get("authorization", "") for request in server.requests)
    assert said.status == 1
    assert_silent(said.out, said.err)
    promised.tried(1, "ways to give a secret away")


def test_settings_show_no_secret(monkeypatch: pytest.MonkeyPatch, promised: Promised) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert_silent(repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json())

    monkeypatch.setenv("RAG_CHAT_TIMEOUT", CANARY)
    with pytest.raises(ValueError) as wrong:
        load_settings()
    assert_silent("".join(traceback.format_exception(wrong.value)))
    with pytest.raises(ValueError) as its_own:
        Settings()
    assert_silent(str(its_own.value))
    promised.tried(6, "ways to give a secret away")


def test_help_shows_no_secret(rag_app: Callable[..., Said]) -> None:
    said = rag_app("ask", "--help", **SECRETS)
    assert "--chat-model" in said.out
    assert_silent(said.out, said.err)


@pytest.mark.fault(11, "The process that reads strangers' files had the keys and passwords in its environment.")
def test_a_child_that_reads_files_gets_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from rag_app.files.parser_process import Limits, ParserProcess

    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    child = ParserProcess(Limits(), "rag_app.files.loaders")
    try:
        proc = Path(f"/proc/{child._process.pid}")
        if not proc.exists():
            pytest.skip("the system does not show a process's environment (/proc)")
        assert_silent((proc / "environ").read_text("utf-8"), (proc / "cmdline").read_text("utf-8"))
    finally:
        child.kill()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("POST http://user:hunter22@host/v1 failed", "POST http://***@host/v1 failed"),
        ("Authorization: Bearer abcdef123456", "Authorization: Bearer ***"),
        ("key sk-abcdefghijklmnop was refused", "key *** was refused"),
        ("the value 가나다-열쇠-값입니다 stands here", "the value *** stands here"),
        ("sk-8 is a road, and http://host/a:b@c a page", "sk-8 is a road, and http://host/a:b@c a page"),
    ],
)
def test_secrets_are_recognised(text: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "가나다-열쇠-값입니다")
    assert without_secrets(text) == expected
