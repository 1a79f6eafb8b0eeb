"""One contract for every place that an index can be in: the same documents and questions give the same answers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from rag_app.check import check_index
from rag_app.data import sample_documents
from rag_app.data.questions import load_retrieval_data
from rag_app.documents import make_document
from rag_app.embeddings import load_embeddings
from rag_app.filters import matches, matching_ids
from rag_app.index import Changes, Index, build_index, open_index
from rag_app.news import NewsSense
from rag_app.retrieval import HybridRetriever
from rag_app.stores.address import Address, index_place
from rag_app.stores.servers import server_store
from tests import in_memory_server
from tests.milvus_server import milvus_server
from tests.postgres_server import postgres_server

NewPlace = Callable[[], Path | Address]
HOSTILE = [
    "'",
    '"',
    "\\",
    "%",
    "{}",
    "'; DROP TABLE news; --",
    '" or 1 == 1',
    "a\nb",
    "경제'",
    "$eq",
    "한글 😀",
    "null",
]
LONG = make_document(
    "\n\n".join(f"{n}번째 문장은 여기에서 끝난다. 그리고 이어진다." for n in range(200)), title="긴 글"
)
ODD = [
    make_document(
        f"별난 기사 {n}이다.", title=f"별난 기사 {n}", section=text, tags=[text, "별난"], count=n, flag=n % 2 == 0
    )
    for n, text in enumerate(HOSTILE)
]
FILTERS: list[dict[str, Any]] = [
    {},
    {"section": "경제"},
    {"section": "없는 분야"},
    {"section": {"$in": ["경제", "날씨"]}},
    {"section": {"$in": []}},
    {"section": {"$nin": ["경제", "날씨"]}},
    {"section": {"$ne": "경제"}},
    {"section": None},
    {"date": {"$gte": "2025-02-01", "$lt": "2025-03-01"}},
    {"date": {"$gt": date(2025, 3, 1)}},
    {"date": {"$lte": "2025-01-31"}, "section": "경제"},
    {"date": {"$ne": "2025-01-05"}},
    {"nothing": 1},
    {"nothing": {"$ne": 1}},
    {"nothing": {"$nin": ["a"]}},
    {"nothing": {"$gt": 0}},
    {"count": 3},
    {"count": {"$gte": 2, "$lt": 5.5}},
    {"count": {"$in": [1, "2", 3.0]}},
    {"count": {"$gt": "1"}},
    {"section": {"$gt": 1}},
    {"flag": True},
    {"flag": {"$ne": True}},
    {"tags": {"$in": ["별난"]}},
    {"tags": {"$nin": ["별난"]}},
    {"tags": {"$in": [HOSTILE[0], HOSTILE[5]]}},
    {"tags": [HOSTILE[1], "별난"]},
    {"start": 0},
    {"doc_id": LONG.metadata["doc_id"]},
    *({"section": text} for text in HOSTILE),
    *({"section": {"$in": [text]}} for text in HOSTILE),
    *({text: "경제"} for text in HOSTILE if not text.startswith("$")),
]


class Place(NamedTuple):
    """Where indexes are made.

    Attributes:
        scheme: ``folder``, or of addresses.
        new: Returns another place on every call.
    """

    scheme: str
    new: NewPlace


@contextmanager
def open_place(scheme: str, folder: Path) -> Iterator[Place]:
    """Start what a scheme needs, for as long as the block lasts."""
    numbers = count()
    if scheme == "folder":
        yield Place(scheme, lambda: folder / str(next(numbers)))
    elif scheme == "memory":
        with pytest.MonkeyPatch.context() as patch:
            in_memory_server.begin(patch)
            yield Place(scheme, lambda: index_place(f"memory://here/news{next(numbers)}"))
    elif scheme == "milvus":
        with milvus_server(folder) as milvus:
            yield Place(scheme, lambda: index_place(milvus.address(f"news{next(numbers)}")))
    else:
        with postgres_server() as postgres:
            yield Place(scheme, lambda: index_place(postgres.address(f"news{next(numbers)}")))


def _build(place: Path | Address, documents: Sequence[Document], **options: Any) -> Index:
    return build_index(place, documents, load_embeddings(), vectors="exact", passage_chars=400, **options)


def _passages(index: Index) -> dict[str, Document]:
    return {str(p.id): p for doc_id in sorted(index.document_ids()) for p in index.passages(doc_id)}


def _overlap(found: Sequence[Sequence[str]], wanted: Sequence[Sequence[str]]) -> float:
    shares = [len(set(some) & set(others)) / len(others) for some, others in zip(found, wanted, strict=True) if others]
    return sum(shares) / len(shares)


class IndexContract:
    """What every place has to do; tests/scale has it for Milvus, of which each call takes a tenth of a second."""

    scheme: str

    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
        with open_place(cls.scheme, tmp_path_factory.mktemp(cls.scheme)) as made:
            yield made

    @pytest.fixture(scope="class")
    @classmethod
    def documents(cls) -> list[Document]:
        return [*sample_documents(), LONG, *ODD]

    @pytest.fixture(scope="class")
    @classmethod
    def questions(cls) -> list[str]:
        return [question.text for question in load_retrieval_data("sample").questions][::10]

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, documents: list[Document], tmp_path_factory: pytest.TempPathFactory) -> Index:
        """The index that the others are compared with."""
        return _build(tmp_path_factory.mktemp("reference") / "index", documents)

    @pytest.fixture(scope="class")
    @classmethod
    def index(cls, place: Place, documents: list[Document]) -> Index:
        """The same at the place that is tested, which no test changes."""
        return _build(place.new(), documents)

    def test_an_index_is_sound_and_holds_every_passage_as_it_was(self, index: Index, folder: Index) -> None:
        assert check_index(index.path) == []
        assert len(index) == len(folder)
        mine, wanted = _passages(index), _passages(folder)
        assert mine.keys() == wanted.keys()
        assert all((mine[i].page_content, mine[i].metadata) == (p.page_content, p.metadata) for i, p in wanted.items())
        assert index.article(str(LONG.id)).page_content == LONG.page_content
        with pytest.raises(KeyError):
            index.article("unknown")

    def test_exact_search_finds_the_nearest(self, index: Index, folder: Index, questions: list[str]) -> None:
        """Two whose cosines differ by less than what the half precision of the folder loses may change places."""
        ids = sorted(folder.snapshot.store.documents)
        vectors = folder.snapshot.store.vectors(ids)
        for question in questions:
            vector = load_embeddings().embed_query(question)
            cosines = dict(zip(ids, (vectors @ np.asarray(vector, np.float32)).tolist(), strict=True))
            wanted = sorted(cosines.values(), reverse=True)[:10]
            found = index.snapshot.store.search_vector(vector, 10)
            assert [cosine for _, cosine in found] == pytest.approx(wanted, abs=2e-3)
            assert len({id_ for id_, _ in found}) == 10
            assert all(cosines[id_] == pytest.approx(cosine, abs=2e-3) for id_, cosine in found)

    def test_words_find_what_they_find_in_a_folder(self, index: Index, folder: Index, questions: list[str]) -> None:
        def search(index: Index) -> list[list[str]]:
            return [[hit.id for hit in index.snapshot.lexical.search(question, 10)] for question in questions]

        # Tantivy rounds lengths, Milvus Lite counts each of its segments for itself: 0.985 and 0.945 were measured.
        assert _overlap(search(index), search(folder)) >= (0.9 if "milvus" in str(index.path) else 0.97)
        for question in questions[:3]:
            mine, wanted = (i.snapshot.lexical.search(question, 10) for i in (index, folder))
            assert [hit.coverage for hit in mine] == pytest.approx([hit.coverage for hit in wanted], abs=0.05)
            [alone] = index.snapshot.lexical.search(question, 1, ids=[mine[0].id])
            assert alone.score == pytest.approx(mine[0].score, rel=1e-3)
        assert index.snapshot.lexical.search("!!! ???", 10) == []

    def test_what_each_unit_of_a_question_adds_sums_up_to_the_score(self, index: Index, questions: list[str]) -> None:
        words = index.snapshot.lexical
        for question in questions[:3]:
            for hit in words.search(question, 3):
                parts = words.unit_scores(question, hit.id)
                assert sum(parts.values()) == pytest.approx(hit.score, rel=1e-4)
                assert 0 < sum(map(bool, parts.values())) < len(parts)
        assert not any(words.unit_scores(questions[0], "unknown").values())
        assert words.unit_scores("!!! ???", hit.id) == {}

    def test_a_retriever_finds_what_it_finds_in_a_folder(
        self, index: Index, folder: Index, questions: list[str]
    ) -> None:
        def search(index: Index) -> list[list[str]]:
            retriever = HybridRetriever(index=index, k=10, news=NewsSense(today=date(2025, 6, 1)))
            return [[str(document.id) for document in retriever.invoke(question)] for question in questions]

        assert _overlap(search(index), search(folder)) > 0.95

    async def test_questions_in_batches_and_beside_each_other_get_the_same_answers(
        self, index: Index, questions: list[str]
    ) -> None:
        retriever = HybridRetriever(index=index, k=5)
        alone = [[d.id for d in retriever.invoke(question)] for question in questions[:6]]
        assert [[d.id for d in found] for found in retriever.batch(questions[:6])] == alone
        assert [[d.id for d in found] for found in await retriever.abatch(questions[:6])] == alone

    def test_dates_and_sections_in_questions_count(self, index: Index, folder: Index) -> None:
        sense = NewsSense(today=date(2025, 6, 1), infer_filters=True)
        for question in ("2025년 2월 경제 기사", "지난 1월의 날씨 소식"):
            found, wanted = (HybridRetriever(index=i, k=10, news=sense).invoke(question) for i in (index, folder))
            assert _overlap([[str(d.id) for d in found]], [[str(d.id) for d in wanted]]) >= 0.9
            assert {d.metadata["section"] for d in found} == {d.metadata["section"] for d in wanted}

    def test_filters_keep_exactly_what_matches(self, index: Index) -> None:
        store, words, passages = index.snapshot.store, index.snapshot.lexical, _passages(index)
        vector = load_embeddings().embed_query("기사")
        for filter in FILTERS:
            wanted = {id_ for id_, passage in passages.items() if matches(passage.metadata, filter)}
            allowed = matching_ids(store.documents, filter)
            assert set(allowed) == wanted, filter
            assert len(allowed) == len(wanted), filter
            found = store.search_vector(vector, len(passages), ids=allowed)
            assert {id_ for id_, _ in found} == wanted, filter
            hits = words.search("별난 기사 소식을 전한 것이다", len(passages), ids=allowed)
            assert {hit.id for hit in hits} <= wanted, filter
            if wanted:
                assert hits or not words.search("별난 기사 소식을 전한 것이다", 1, ids=sorted(wanted)[:50]), filter
        for wrong in ({"section": {"$regex": "."}}, {"$and": [{"section": "경제"}]}):
            with pytest.raises(ValueError):
                matching_ids(store.documents, wrong)

    def test_a_filter_narrows_what_a_retriever_and_a_store_find(self, index: Index) -> None:
        filter = {"section": {"$in": ["경제", HOSTILE[5]]}}
        found = HybridRetriever(index=index, k=10, filter=filter).invoke("별난 기사와 금리")
        assert found
        assert {document.metadata["section"] for document in found} <= {"경제", HOSTILE[5]}
        near = index.snapshot.store.similarity_search_with_score("금리", 5, filter=filter)
        assert len(near) == 5
        assert {document.metadata["section"] for document, _ in near} <= {"경제", HOSTILE[5]}

    def test_documents_are_got_by_id_in_the_order_asked(self, index: Index) -> None:
        store = index.snapshot.store
        ids = sorted(_passages(index))[:5][::-1]
        assert [document.id for document in store.get_by_ids([*ids[:2], "unknown", "'", *ids[2:]])] == ids
        assert store.get_by_ids([]) == []
        assert ids[0] in store.documents
        assert "unknown" not in store.documents
        vectors = store.vectors(ids)
        assert vectors.shape == (5, index.embeddings.dimension)  # type: ignore[attr-defined]
        with pytest.raises(KeyError):
            store.vectors([ids[0], "unknown"])

    def test_nothing_is_found_among_nothing(self, index: Index) -> None:
        vector = load_embeddings().embed_query("쌀")
        for k, ids in ((0, None), (5, []), (5, ["unknown"])):
            assert index.snapshot.store.search_vector(vector, k, ids=ids) == []
            assert index.snapshot.lexical.search("쌀 수확", k, ids=ids) == []

    def test_a_few_ids_are_searched_exactly(self, index: Index, folder: Index) -> None:
        ids = sorted(_passages(index))[::7]
        vector = load_embeddings().embed_query("쌀 수확량")
        mine, wanted = (dict(i.snapshot.store.search_vector(vector, len(ids), ids=ids)) for i in (index, folder))
        assert mine.keys() == wanted.keys() == set(ids)
        assert [mine[id_] for id_ in ids] == pytest.approx([wanted[id_] for id_ in ids], abs=2e-3)

    def test_the_values_of_a_key_are_listed_in_order(self, index: Index, folder: Index) -> None:
        for key in ("section", "source", "date", "tags", "count", "nothing", "'; --"):
            assert index.snapshot.store.values(key) == folder.snapshot.store.values(key)

    def test_marginal_relevance_chooses_the_same(self, index: Index, folder: Index, questions: list[str]) -> None:
        def search(index: Index) -> list[list[str]]:
            store = index.snapshot.store
            return [[str(d.id) for d in store.max_marginal_relevance_search(q, 5, 20)] for q in questions[:5]]

        assert _overlap(search(index), search(folder)) >= 0.9

    def test_changes_come_and_go_as_in_a_folder(self, place: Place, tmp_path: Path) -> None:
        first = [make_document(f"{n}번 기사다.", title=f"제목 {n}", path="a.csv") for n in range(4)]
        retitled = make_document(first[0].page_content, title="새 제목", path="a.csv")
        new = make_document("새 기사다.", title="새것", path="a.csv")

        def work(index: Index) -> list[object]:
            told: list[object] = [
                index.add([LONG, first[0], LONG]),
                index.add([LONG]),
                index.update([retitled, first[1], new]),
                index.update([retitled, first[1], new]),
                index.delete([str(first[1].id), "unknown", "'"]),
                index.delete([str(LONG.id)]),
                index.delete([str(LONG.id)]),
                index.refresh(),
            ]
            content = {id_: (p.page_content, p.metadata) for id_, p in _passages(open_index(index.path)).items()}
            return [*told, len(index), index.snapshot.manifest["documents"], content, check_index(index.path)]

        at = place.new()
        mine, wanted = work(_build(at, first)), work(_build(tmp_path / "index", first))
        assert mine == wanted
        assert mine[:3] == [Changes(1, 2, 0), Changes(0, 1, 0), Changes(2, 1, 3)]
        with pytest.raises(FileExistsError):
            _build(at, [new])
        replaced = build_index(at, [new], DeterministicFakeEmbedding(size=16), replace=True)
        assert replaced.document_ids() == {new.id}
        assert [d.id for d in HybridRetriever(index=replaced).invoke("새 기사")] == [new.id]
        with pytest.raises(ValueError, match="Open it with the model it was built with, or build it anew"):
            open_index(at, load_embeddings())

    def test_what_was_written_is_read_at_once(self, place: Place) -> None:
        index = _build(place.new(), [make_document("처음 기사다.")])
        for n in range(5):
            document = make_document(f"{n}번째 소식이 나왔다.", title=f"{n}번째")
            index.add([document])
            index.refresh()
            assert index.article(str(document.id)).page_content == document.page_content
            assert HybridRetriever(index=index, k=1).invoke(f"{n}번째 소식")[0].id == document.id
            assert len(index) == n + 2

    def test_what_another_process_writes_is_there_after_a_refresh_at_the_latest(self, place: Place) -> None:
        index = _build(place.new(), [make_document("처음 기사다.", section="경제")])
        assert index.snapshot.store.values("section") == ["경제"]
        other = open_index(index.path)
        new = make_document("가온호가 남해로 떠났다.", title="출항", section="사회")
        other.add([new])
        assert index.refresh()
        assert not index.refresh()
        assert (len(index), index.snapshot.manifest["documents"]) == (2, 2)
        assert HybridRetriever(index=index, k=1).invoke("가온호")[0].id == new.id
        assert index.snapshot.store.values("section") == ["경제", "사회"]
        other.delete([str(new.id)])
        assert index.refresh()
        assert index.passages(str(new.id)) == []
        assert new.id not in [d.id for d in HybridRetriever(index=index, k=2).invoke("가온호")]

    def test_where_there_is_no_index_is_told(self, place: Place) -> None:
        with pytest.raises(FileNotFoundError):
            open_index(place.new(), load_embeddings())


class TestFolder(IndexContract):
    scheme = "folder"


class TestInMemory(IndexContract):
    scheme = "memory"


class TestPostgreSQL(IndexContract):
    scheme = "postgresql"


class StoreContract(VectorStoreIntegrationTests):
    """LangChain's own suite; ``test_postgres.py`` has it too."""

    scheme: str

    @pytest.fixture(scope="class")
    @classmethod
    def places(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
        with open_place(cls.scheme, tmp_path_factory.mktemp(cls.scheme)) as made:
            yield made

    @pytest.fixture
    def vectorstore(self, places: Place) -> Iterator[VectorStore]:
        address = places.new()
        assert isinstance(address, Address)
        store = server_store(address, self.get_embeddings())
        store.begin({"model": {"dimension": 6}, "vectors": "exact"}).publish()
        yield store
        store.drop()


class TestStoreInMemory(StoreContract):
    scheme = "memory"
