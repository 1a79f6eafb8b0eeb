import asyncio
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import create_retriever_tool

from rag_app.documents import make_document
from rag_app.index import Index, build_index
from rag_app.lexical import FIELDS
from rag_app.retrieval import HybridRetriever, build_retriever

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
