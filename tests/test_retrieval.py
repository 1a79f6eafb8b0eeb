import asyncio
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest
from langchain_core.callbacks import BaseCallbackHandler, Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import HumanMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import create_retriever_tool

from rag_app.documents import make_document
from rag_app.embeddings import load_embeddings
from rag_app.history import standalone_by_rule
from rag_app.index import Index, build_index
from rag_app.korean import QUESTION_CHARS, normalise_question
from rag_app.lexical import FIELDS, LexicalHit
from rag_app.news import NewsSense
from rag_app.retrieval import HybridRetriever, build_retriever
from rag_app.stores import faiss
from rag_app.timing import stage_times

EMBEDDINGS = DeterministicFakeEmbedding(size=8)
NEWS = [
    make_document(
        f"{topic} 소식을 {n}번째로 전한다.", title=f"{topic} 기사 {n}", section=topic, date=f"2025-01-{n + 1:02}"
    )
    for topic in ("경제", "날씨", "문화")
    for n in range(12)
]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return build_index(tmp_path_factory.mktemp("news"), NEWS, EMBEDDINGS)


def test_each_stage_leaves_rank_and_score(index: Index) -> None:
    found = build_retriever(index, top_n=3).invoke("날씨 소식")
    assert [document.metadata["stages"]["fusion"]["rank"] for document in found] == [1, 2, 3]
    for document in found:
        stages = document.metadata["stages"]
        assert set(stages) == {"lexical", "dense", "fusion"}
        assert 0 < stages["lexical"]["coverage"] <= 1
        assert document.metadata["score"] == stages["fusion"]["score"]
    assert all("stages" not in passage.metadata for passage in index.snapshot.store.documents.values())


@pytest.mark.fault(3, "Whoever changed a list in the metadata of a result, or of an article, changed the index's own.")
def test_what_was_found_is_the_callers_own(tmp_path: Path) -> None:
    index = build_index(tmp_path / "index", [make_document("날씨 소식이다.", tags=["하나"])], EMBEDDINGS)
    for _ in range(2):
        [found] = HybridRetriever(index=index).invoke("날씨")
        whole = index.article(found.metadata["doc_id"])
        assert found.metadata["tags"] == whole.metadata["tags"] == ["하나"]
        found.metadata["tags"].append("둘")
        whole.metadata["tags"].append("셋")


def test_every_candidate_is_scored_by_both_searches(index: Index) -> None:
    hybrid = HybridRetriever(index=index, k=36, candidates=1)
    vector = EMBEDDINGS.embed_query("날씨 기사 7")
    for document in hybrid.invoke("날씨 기사 7"):
        [(_, cosine)] = index.snapshot.store.search_vector(vector, 1, ids=[str(document.id)])
        assert document.metadata["stages"]["dense"]["score"] == pytest.approx(cosine)


def test_a_search_of_weight_0_is_not_run(index: Index) -> None:
    [lexical] = build_retriever(index, weights={"lexical": 1, "dense": 0}, top_n=1).invoke("날씨 기사 7번째")
    assert set(lexical.metadata["stages"]) == {"lexical", "fusion"}
    assert lexical.metadata["title"] == "날씨 기사 7"
    text = f"{NEWS[5].metadata['title']}\n{NEWS[5].page_content}"
    [dense] = build_retriever(index, weights={"lexical": 0, "dense": 1}, top_n=1).invoke(text)
    assert set(dense.metadata["stages"]) == {"dense", "fusion"}
    assert dense.id == NEWS[5].id


@pytest.mark.parametrize("fusion", ["adaptive", "standardised", "rrf"])
def test_both_fusions_find_the_named_article(index: Index, fusion: Any) -> None:
    weights = {"lexical": 1.0, "dense": 0.1}
    [best] = build_retriever(index, top_n=1, fusion=fusion, weights=weights).invoke("문화 기사 9번째 소식")
    assert best.metadata["title"] == "문화 기사 9"


def test_an_article_of_the_time_that_is_named_gains_also_where_all_fused_scores_are_below_0(index: Index) -> None:
    retriever = HybridRetriever(index=index, fusion="standardised", weights={"lexical": 0.5, "dense": 0.5})
    first, second = str(NEWS[0].id), str(NEWS[1].id)
    hits = {first: LexicalHit(first, 2.0, 0.9), second: LexicalHit(second, 1.0, 0.1)}
    cosines = {first: -0.5, second: 0.6, str(NEWS[2].id): 0.6, str(NEWS[3].id): 0.6}
    question = f"{NEWS[1].metadata['date']} 소식"

    found = retriever._fuse(index.snapshot, question, hits, cosines, 4)
    plain = retriever.model_copy(update={"news": NewsSense(date_boost=0)})._fuse(
        index.snapshot, question, hits, cosines, 4
    )

    timely, before = ({d.id: d.metadata["score"] for d in documents}[second] for documents in (found, plain))
    assert before < 0
    assert timely > before


def test_filters_never_under_return(index: Index) -> None:
    retriever = build_retriever(index, top_n=4, filter={"section": "문화", "date": {"$gte": "2025-01-09"}})
    found = retriever.invoke("경제 날씨 소식")
    assert sorted(document.metadata["date"] for document in found) == [f"2025-01-{day:02}" for day in (9, 10, 11, 12)]


def test_a_compressor_has_the_last_word(index: Index) -> None:
    class Reverse(BaseDocumentCompressor):
        def compress_documents(self, documents: Any, query: str, callbacks: Callbacks | None = None) -> list[Document]:
            return list(reversed(documents))

    found = build_retriever(index, compressor=Reverse(), k=5).invoke("경제")
    assert [document.metadata["stages"]["fusion"]["rank"] for document in found] == [5, 4, 3, 2, 1]


def _titles(documents: list[Document]) -> list[str]:
    return [document.metadata["title"] for document in documents]


def test_works_in_lcel_batch_async_and_events(index: Index) -> None:
    retriever = build_retriever(index, top_n=2)
    titles = retriever | RunnableLambda(_titles)
    questions = ["경제 기사 3번째", "날씨 기사 4번째"]
    expected = [titles.invoke(question) for question in questions]
    assert titles.batch(questions) == expected

    async def concurrent() -> list[list[str]]:
        return await asyncio.gather(*(titles.ainvoke(question) for question in questions))

    async def events() -> list[str]:
        return [event["event"] async for event in titles.astream_events(questions[0], version="v2")]

    assert asyncio.run(concurrent()) == expected
    assert {"on_retriever_start", "on_retriever_end"} <= set(asyncio.run(events()))


def test_works_as_an_agent_tool(index: Index) -> None:
    tool = create_retriever_tool(build_retriever(index, top_n=1), "news", "한국어 뉴스를 찾는다")
    assert "경제 소식을 3번째로" in tool.invoke({"query": "경제 기사 3번째"})


def test_the_retriever_follows_the_index(tmp_path: Path) -> None:
    index = build_index(tmp_path, NEWS[:2], EMBEDDINGS)
    retriever = build_retriever(index)
    late = make_document("혜성이 나타났다.")
    index.add([late])
    assert retriever.invoke("혜성")[0].id == late.id
    index.delete([str(late.id)])
    assert late.id not in [document.id for document in retriever.invoke("혜성")]


@pytest.mark.parametrize("question", ["", " \u200b\n"])
def test_an_empty_question_is_refused(index: Index, question: str) -> None:
    with pytest.raises(ValueError, match="question is empty"):
        build_retriever(index).invoke(question)


def test_reciprocal_rank_ignores_a_search_that_found_nothing(index: Index) -> None:
    found = build_retriever(index, fusion="rrf", top_n=5).invoke("quantum")
    assert [document.metadata["stages"]["dense"]["rank"] for document in found] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("weights", [{"lexical": 1.0}, {"lexical": 0, "dense": 0}, {"lexical": 2, "dense": -1}])
def test_weights_that_make_no_sense_are_refused(index: Index, weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="Give 'lexical' and 'dense'"):
        build_retriever(index, weights=weights)


def _coverages(index: Index, question: str, **options: Any) -> list[float]:
    found = build_retriever(index, weights={"lexical": 1.0, "dense": 0.0}, top_n=3, **options).invoke(question)
    return [document.metadata["stages"]["lexical"]["coverage"] for document in found]


@pytest.mark.parametrize("analyses", [{"bigrams": 1.0}, {"morphemes": 1.0, "bigrams": 0.0}, FIELDS])
def test_lexical_search_weighs_the_analyses(index: Index, analyses: dict[str, float]) -> None:
    hits = index.snapshot.lexical.search("날씨 소식을 7번째로", 100, weights=analyses)
    best = sorted((hit.coverage for hit in hits), reverse=True)[:3]
    assert _coverages(index, "날씨 소식을 7번째로", analyses=analyses) == best
    assert (_coverages(index, "날씨 소식을 7번째로") == best) == (analyses == FIELDS)


def test_both_searches_score_by_the_chosen_analyses(index: Index) -> None:
    """Also the passages that only the dense search proposed."""
    hits = {hit.id: hit for hit in index.snapshot.lexical.search("날씨 소식", 100, weights={"bigrams": 1.0})}
    for document in HybridRetriever(index=index, k=36, candidates=1, analyses={"bigrams": 1.0}).invoke("날씨 소식"):
        stage = document.metadata["stages"].get("lexical")
        assert (stage and stage["coverage"]) == (hits[str(document.id)].coverage if document.id in hits else None)


@pytest.mark.parametrize("analyses", [{"nouns": 1.0}, {"bigrams": 0.0}, {"bigrams": 2.0, "morphemes": -1.0}, {}])
def test_analyses_that_make_no_sense_are_refused(index: Index, analyses: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="bigrams, morphemes"):
        build_retriever(index, analyses=analyses)


QUESTIONS = [f"{topic} 기사 {n}번째 소식" for n in range(12) for topic in ("경제", "날씨", "문화")]


def _found(documents: list[Document]) -> list[tuple[str | None, Any]]:
    return [(document.id, document.metadata["stages"]) for document in documents]


@pytest.fixture(scope="module")
def embedded_index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return build_index(tmp_path_factory.mktemp("embedded"), NEWS, load_embeddings())


@pytest.mark.parametrize("threads_from", [0, 100_000])
@pytest.mark.parametrize("which", ["index", "embedded_index"])
def test_asked_together_every_question_finds_what_it_finds_alone(
    which: str, threads_from: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faiss, "_THREADS_FROM", threads_from)
    hybrid = HybridRetriever(index=request.getfixturevalue(which), k=5, candidates=8)
    compressing = build_retriever(hybrid.index, top_n=5)

    async def concurrent(retriever: BaseRetriever) -> list[list[Document]]:
        return await asyncio.gather(*map(retriever.ainvoke, QUESTIONS))

    for retriever in (hybrid, compressing):
        alone = [_found(retriever.invoke(question)) for question in QUESTIONS]
        assert list(map(_found, retriever.batch(QUESTIONS))) == alone
        assert list(map(_found, retriever.batch(QUESTIONS, {"max_concurrency": 32}))) == alone
        assert list(map(_found, asyncio.run(concurrent(retriever)))) == alone
        assert list(map(_found, asyncio.run(retriever.abatch(QUESTIONS)))) == alone


def test_words_and_vectors_searched_side_by_side_find_the_same(
    embedded_index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    hybrid = HybridRetriever(index=embedded_index, k=5, candidates=2)
    one_by_one = [_found(hybrid.invoke(question)) for question in QUESTIONS]
    monkeypatch.setattr(faiss, "_THREADS_FROM", 0)
    with stage_times() as seconds:
        assert [_found(hybrid.invoke(question)) for question in QUESTIONS] == one_by_one
    assert {"lexical", "dense"} <= seconds.keys()


def test_questions_that_wait_for_one_another_are_embedded_together(
    embedded_index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = embedded_index.embeddings.encode  # type: ignore[attr-defined]
    sizes: list[int] = []

    def slow(texts: Any, **options: Any) -> Any:
        sizes.append(len(texts))
        time.sleep(0.02)
        return encode(texts, **options)

    monkeypatch.setattr(embedded_index.embeddings, "encode", slow)
    build_retriever(embedded_index).batch(QUESTIONS, {"max_concurrency": 8})
    assert sum(sizes) == len(QUESTIONS)
    assert len(sizes) < len(QUESTIONS) / 2


def test_retrievers_of_one_index_keep_their_own_settings_when_asked_at_once(index: Index) -> None:
    retrievers = [
        HybridRetriever(index=index, k=3),
        HybridRetriever(index=index, k=3, filter={"section": "문화"}),
        HybridRetriever(index=index, k=3, weights={"lexical": 0, "dense": 1}),
        HybridRetriever(index=index, k=3).model_copy(update={"k": 7}),
    ]
    alone = [_found(retriever.invoke("경제 소식")) for retriever in retrievers]
    assert [len(found) for found in alone] == [3, 3, 3, 7]

    async def at_once() -> list[list[Document]]:
        return await asyncio.gather(
            *(retriever.ainvoke("경제 소식") for _ in range(9) for retriever in retrievers),
            *(retriever.ainvoke("경제 소식", k=2) for retriever in retrievers),
        )

    found = list(map(_found, asyncio.run(at_once())))
    assert found[:36] == 9 * alone
    assert [documents[:2] for documents in alone] == [
        [(id_, stages) for id_, stages in documents] for documents in found[36:]
    ]


class Failing(DeterministicFakeEmbedding):
    """Cannot embed one question."""

    def embed_query(self, text: str) -> list[float]:
        if text == "고장":
            raise RuntimeError("the server is down")
        return super().embed_query(text)


@pytest.mark.parametrize("bad", ["", "고장"])
def test_a_question_that_fails_does_so_alone(bad: str, tmp_path: Path) -> None:
    retriever = build_retriever(build_index(tmp_path, NEWS, Failing(size=8)), top_n=2)
    questions = [*QUESTIONS[:7], bad, *QUESTIONS[7:14]]
    results: list[Any] = retriever.batch(questions, return_exceptions=True)
    assert [type(result) for result in results] == [list] * 7 + [RuntimeError if bad else ValueError] + [list] * 7
    assert _found(results[3]) == _found(retriever.invoke(questions[3]))
    with pytest.raises((RuntimeError, ValueError)):
        retriever.batch(questions)


def test_every_question_of_a_batch_is_traced(index: Index) -> None:
    class Noting(BaseCallbackHandler):
        started: ClassVar[list[str]] = []
        ended: ClassVar[list[int]] = []

        def on_retriever_start(self, serialized: dict[str, Any], query: str, **kwargs: Any) -> None:
            self.started.append(query)

        def on_retriever_end(self, documents: Any, **kwargs: Any) -> None:
            self.ended.append(len(documents))

    build_retriever(index, top_n=2).batch(QUESTIONS, {"callbacks": [Noting()]})
    assert sorted(Noting.started) == sorted(2 * QUESTIONS)  # of the compressing retriever and of the hybrid one
    assert Noting.ended == [2] * 2 * len(QUESTIONS)


def test_stage_times_of_questions_asked_together_add_up_to_what_they_took(index: Index) -> None:
    with stage_times() as seconds:
        start = time.perf_counter()
        build_retriever(index).batch(QUESTIONS)
        spent = time.perf_counter() - start
    assert set(seconds) == {"lexical", "encode", "dense", "fusion"}
    assert 0 < seconds["lexical"] + seconds["dense"] + seconds["fusion"] <= spent


@pytest.mark.fault(5, "A question of 100,000 characters took 42 seconds and 3 GB of memory.")
def test_a_question_is_read_as_far_as_one_can_ask() -> None:
    assert len(normalise_question("가" * 100_000)) == QUESTION_CHARS
    long = "누리호 " * 1000
    assert standalone_by_rule("그럼 언제요?", [HumanMessage(long)]).endswith(" 그럼 언제요?")
    assert len(standalone_by_rule("그럼 언제요?", [HumanMessage(long)])) <= QUESTION_CHARS
