"""An index, changed and searched at random, does what a plain dictionary and a scan of all vectors would.

Every form of it is a `World`: the thing itself beside a model of it, and operations that do something to both and
compare what comes out. Hypothesis chooses short series of them, and a random generator one long one.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from hashlib import blake2b, sha256
from itertools import chain
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from rag_app.check import check_index
from rag_app.filters import matching_ids
from rag_app.index import Changes, Index, build_index, open_index
from rag_app.korean import normalise
from rag_app.retrieval import HybridRetriever
from rag_app.stores.faiss import FaissStore
from tests.reliability import Promised

pytestmark = pytest.mark.promise(3)

DIMENSION = 16
PASSAGE_CHARS = 100
TOLERANCE = 1e-5  # of cosines: of float32 sums in another order
SYLLABLES = [chr(code) for code in range(0xAC00, 0xD7A4, 37)]
COMMON = ("지진", "태풍", "예산", "국회", "날씨", "야구", "서울", "기차", "발표", "시민")


class HashedEmbeddings(Embeddings):
    """Gives each text a vector by its hash; some texts have the same one, and some the zero vector."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        seed = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
        if seed % 31 == 0:
            return [0.0] * DIMENSION
        if seed % 7 == 0:
            seed %= 35  # five vectors that many texts share
        return np.random.default_rng(seed).normal(size=DIMENSION).tolist()  # type: ignore[no-any-return]


EMBEDDINGS = HashedEmbeddings()


def stored_vector(text: str) -> NDArray[np.float64]:
    """Return the vector that is kept of a text: of length 1, in half precision."""
    return unit_vector(text).astype(np.float16).astype(np.float64)


def unit_vector(text: str) -> NDArray[np.float32]:
    vector = np.asarray(EMBEDDINGS.embed_query(text), dtype=np.float32)
    return np.asarray(vector / (np.linalg.norm(vector) or 1), np.float32)


# What is written


def rare_word(number: int, place: int) -> str:
    """Return a word that one sentence of one article has."""
    return "".join(Random(f"{number}/{place}").choices(SYLLABLES, k=6))


def text_of(number: int, version: int) -> str:
    """Return an article's text; one in six has several passages, and another version may have the same text."""
    count = 6 if number % 6 == 0 else 1
    sentences = []
    for place in range(count):
        words = Random(f"{number}/{place}").choices(COMMON, k=4)
        sentences.append(f"{rare_word(number, place)} {' '.join(words)} 소식을 전했다.")
    if version == 2:
        sentences.append("고친 기사다.")
    return " ".join(sentences)


def rare_words_of(text: str) -> list[str]:
    return [sentence.split()[0] for sentence in text.split(". ") if not sentence.startswith("고친")]


def odd_metadata(rng: Random) -> dict[str, Any]:
    """Return metadata of every kind that JSON can hold."""
    values: dict[str, Sequence[Any]] = {
        "section": ("정치", "경제", "날씨", ""),
        "date": ("2025-01-02", "2025-02-03", "2024-12-31"),
        "n": (0, 1, 2, -3, 2.5, 1.0, True, False, None, "2", 10**20, 0.0, -0.0),
        "flag": (True, False, 1, 0, 1.0, None),
        "tags": (["지진", "속보"], ["속보"], [], [1, "1", None], [["깊이"]]),
        "nested": ({"a": {"b": [1, None, "셋"]}}, {}, {"a": 1}),
        "k" * 300: ("v", "v" * 300),
        "열쇠🔑": ("값", "값\u2028둘", 'a"b\\c\n'),
        "$odd": (1,),
        "": ("leer",),
        "many": tuple(range(12)),
        "mixed": ("text", ["text"], {"text": 1}, 3),
    }
    return {key: rng.choice(choices) for key, choices in values.items() if rng.random() < 0.4}


def some_filter(rng: Random) -> dict[str, Any] | None:
    """Return a filter with any of the operators, on values that exist and others."""
    if rng.random() < 0.25:
        return None
    wanted: dict[str, Sequence[Any]] = {
        "section": ("정치", "경제", "없음", "", None),
        "date": (date(2025, 1, 2), "2025-02-03", date(2025, 1, 15), "2025"),
        "n": (0, 1, 1.0, True, 2.5, "2", None, 10**20, -1),
        "flag": (True, 0, 1.0, None),
        "tags": ("속보", 1, None, "깊이"),
        "nested": ({"a": 1}, 3),
        "k" * 300: ("v", "w"),
        "열쇠🔑": ("값", "값\u2028둘"),
        "": ("leer",),
        "many": tuple(range(12)),
        "mixed": ("text", 3),
        "missing": ("x", None),
    }
    found = {}
    for key in rng.sample(list(wanted), k=rng.choice((1, 1, 2))):
        choices = wanted[key]
        condition: dict[str, Any] = {}
        for operator in rng.sample(list(OPERATORS), k=rng.choice((1, 1, 1, 2))):
            several = operator in ("$in", "$nin")
            condition[operator] = rng.choices(choices, k=3) if several else rng.choice(choices)
        plain = isinstance(choices[0], dict) or rng.random() < 0.6
        found[key] = condition if plain else rng.choice(choices)
    return found


# What a filter means, told anew


def _ordered(value: Any, wanted: Any, holds: Callable[[int], bool]) -> bool:
    """Compare two texts or two numbers; lists with lists as Python does, and nothing else."""
    wanted = normalise(wanted) if isinstance(wanted, str) else _text(wanted)
    if isinstance(value, str) != isinstance(wanted, str) or isinstance(value, list | dict) or wanted is None:
        return False
    if isinstance(wanted, list | dict):
        return False
    return holds((value > wanted) - (value < wanted))


def _equal(value: Any, wanted: Any) -> bool:
    return bool(value == _text(wanted)) or (isinstance(wanted, str) and bool(value == normalise(wanted)))


def _text(wanted: Any) -> Any:
    return wanted.isoformat() if isinstance(wanted, date) else wanted


def _among(value: Any, wanted: Sequence[Any]) -> bool:
    return any(_equal(item, one) for item in (value if isinstance(value, list) else [value]) for one in wanted)


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": _equal,
    "$ne": lambda value, wanted: not _equal(value, wanted),
    "$gt": lambda value, wanted: _ordered(value, wanted, lambda sign: sign > 0),
    "$gte": lambda value, wanted: _ordered(value, wanted, lambda sign: sign >= 0),
    "$lt": lambda value, wanted: _ordered(value, wanted, lambda sign: sign < 0),
    "$lte": lambda value, wanted: _ordered(value, wanted, lambda sign: sign <= 0),
    "$in": _among,
    "$nin": lambda value, wanted: not _among(value, wanted),
}


def keeps(filter: Mapping[str, Any] | None, metadata: Mapping[str, Any]) -> bool:
    for key, condition in (filter or {}).items():
        for operator, wanted in (condition if isinstance(condition, dict) else {"$eq": condition}).items():
            value = metadata.get(key)
            if value is None and operator not in ("$ne", "$nin"):
                return False
            if value is not None and not OPERATORS[operator](value, wanted):
                return False
    return True


# Comparing


def check_ranking(
    hits: Sequence[tuple[str, float]], truth: Mapping[str, float], k: int, tolerance: float = TOLERANCE
) -> None:
    """Check that hits are the k best of what there is: where scores are as good as equal, either may be left out."""
    found = [id_ for id_, _ in hits]
    assert len(set(found)) == len(found) == min(max(k, 0), len(truth))
    assert list(hits) == sorted(hits, key=lambda hit: (-hit[1], hit[0]))
    for id_, score in hits:
        assert score == pytest.approx(truth[id_], abs=tolerance), id_
    if found:
        last = min(truth[id_] for id_ in found)
        assert {id_ for id_, score in truth.items() if score > last + 2 * tolerance} <= set(found)


def same(document: Document, id_: str, text: str, metadata: Mapping[str, Any]) -> bool:
    """Whether a document is that of the model, to the letter: 1, 1.0 and True are not the same."""
    return (document.id, document.page_content, _json(document.metadata)) == (id_, text, _json(metadata))


def _json(metadata: Mapping[str, Any]) -> str:
    return json.dumps(metadata, sort_keys=True)


class Passage(NamedTuple):
    """What the model holds under an id."""

    text: str
    metadata: dict[str, Any]


def cosines(passages: Mapping[str, Passage], question: str, embedded: Callable[[Passage], str]) -> dict[str, float]:
    query = unit_vector(question).astype(np.float64)
    return {id_: float(stored_vector(embedded(passage)) @ query) for id_, passage in passages.items()}


# The worlds


class World(ABC):
    """Something under test, a model of it, and what can be done to both."""

    weights: ClassVar[dict[str, int]]
    pool: ClassVar[int]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.passages: dict[str, Passage] = {}
        self.recalls: list[float] = []

    def do(self, operation: str, seed: int) -> None:
        getattr(self, operation)(Random(seed))

    @abstractmethod
    def check(self) -> None:
        """Compare all that is there."""

    def some_numbers(self, rng: Random) -> list[int]:
        return [rng.randrange(self.pool) for _ in range(rng.choice((1, 2, 4, 30 if len(self.passages) < 90 else 5)))]

    def question(self, rng: Random) -> str:
        number = rng.randrange(self.pool)
        return rng.choice((text_of(number, 0), rare_word(number, 0), " ".join(rng.choices(COMMON, k=2))))

    def wanted(self, filter: Mapping[str, Any] | None) -> dict[str, Passage]:
        return {id_: passage for id_, passage in self.passages.items() if keeps(filter, passage.metadata)}


class StoreWorld(World):
    """A FAISS store in memory, saved and loaded now and then."""

    pool = 150
    weights: ClassVar[dict[str, int]] = {
        "add": 6,
        "delete": 3,
        "search": 8,
        "diverse": 2,
        "look_up": 3,
        "save_and_load": 1,
        "values": 1,
        "empty": 0,
        "spoil": 2,
    }

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.store = FaissStore(EMBEDDINGS)

    def id_of(self, number: int) -> str:
        odd = ("", '"', "\\", " ", "\u2028", "é", "e\u0301", "🔑", "x" * 400)
        return f"문서{odd[number % len(odd)]}{number}"

    def add(self, rng: Random) -> None:
        documents = [
            Document(page_content=text_of(n, rng.randrange(3)), metadata=odd_metadata(rng), id=self.id_of(n))
            for n in self.some_numbers(rng)
        ]
        ids = self.store.add_documents(documents)
        assert ids == [document.id for document in documents]
        self.passages = {id_: passage for id_, passage in self.passages.items() if id_ not in ids}
        last = {str(document.id): document for document in documents}
        for id_, document in last.items():
            self.passages[id_] = Passage(document.page_content, json.loads(json.dumps(document.metadata)))
        for document in documents:  # whoever gave them may change theirs
            document.metadata.get("tags", []).append("später")
            document.metadata["spät"] = 1
        self.check()

    def delete(self, rng: Random) -> None:
        ids = [*map(self.id_of, self.some_numbers(rng)), "unbekannt"]
        assert self.store.delete(ids)
        self.passages = {id_: passage for id_, passage in self.passages.items() if id_ not in ids}
        self.check()

    def empty(self, rng: Random) -> None:
        assert self.store.delete()
        self.passages = {}
        self.check()

    def search(self, rng: Random) -> None:
        question, filter, k = self.question(rng), some_filter(rng), rng.choice((1, 4, 10, 1000))
        found = self.store.similarity_search_with_score(question, k, filter=filter)
        wanted = self.wanted(filter)
        assert all(same(document, str(document.id), *wanted[str(document.id)]) for document, _ in found)
        check_ranking([(str(d.id), score) for d, score in found], cosines(wanted, question, lambda p: p.text), k)

    def diverse(self, rng: Random) -> None:
        question, filter, share = self.question(rng), some_filter(rng), rng.choice((0.0, 0.5, 1.0))
        found = self.store.max_marginal_relevance_search(question, 4, 12, share, filter=filter)
        near = cosines(self.wanted(filter), question, lambda passage: passage.text)
        least = sorted(near.values(), reverse=True)[:12]
        chosen = [str(document.id) for document in found]
        assert len(set(chosen)) == len(chosen) == min(4, len(near))
        assert all(near[id_] >= least[-1] - 1e-4 for id_ in chosen)
        if chosen and len(near) <= 12:  # else it depends on which of several equal ones are candidates
            vectors = {id_: stored_vector(self.passages[id_].text) for id_ in near}
            assert near[chosen[0]] == pytest.approx(max(near.values()), abs=1e-4)
            for place, id_ in enumerate(chosen[1:], 1):
                gains = {
                    other: share * near[other] - (1 - share) * max(vectors[other] @ vectors[c] for c in chosen[:place])
                    for other in near
                    if other not in chosen[:place]
                }
                assert gains[id_] >= max(gains.values()) - 1e-3

    def look_up(self, rng: Random) -> None:
        ids = [*map(self.id_of, self.some_numbers(rng)), "unbekannt", *map(self.id_of, self.some_numbers(rng))]
        found = self.store.get_by_ids(ids)
        assert [document.id for document in found] == [id_ for id_ in ids if id_ in self.passages]
        assert all(same(document, str(document.id), *self.passages[str(document.id)]) for document in found)
        known = [str(document.id) for document in found]
        if known:
            vectors = np.array([stored_vector(self.passages[id_].text) for id_ in known])
            assert np.allclose(self.store.vectors(known), vectors, atol=1e-6)
        hits = self.store.search_vector(EMBEDDINGS.embed_query("물음"), 3, ids=ids)
        truth = cosines({id_: self.passages[id_] for id_ in set(known)}, "물음", lambda passage: passage.text)
        check_ranking(hits, truth, 3)

    def spoil(self, rng: Random) -> None:
        """Change what a search returned, which is the caller's own."""
        found = [
            *self.store.similarity_search(self.question(rng), 2),
            *self.store.max_marginal_relevance_search(self.question(rng), 2),
            *self.store.get_by_ids([self.id_of(number) for number in self.some_numbers(rng)]),
        ]
        for document in found:
            document.page_content = "verdorben"
            document.metadata["section"] = "verdorben"
            for value in document.metadata.values():
                if isinstance(value, list):
                    value.append("verdorben")
        self.check()

    def values(self, rng: Random) -> None:
        key = rng.choice(("section", "tags", "n", "mixed", "missing"))
        values = [passage.metadata.get(key) for passage in self.passages.values()]
        items = chain.from_iterable(value if isinstance(value, list) else [value] for value in values)
        assert self.store.values(key) == sorted({item for item in items if isinstance(item, str)})

    def save_and_load(self, rng: Random) -> None:
        self.store.save(self.folder / "store")
        before, self.store = self.store, FaissStore.load(self.folder / "store", EMBEDDINGS)
        question = self.question(rng)
        assert self.store.search_vector(EMBEDDINGS.embed_query(question), 1000) == before.search_vector(
            EMBEDDINGS.embed_query(question), 1000
        )
        self.check()

    def check(self) -> None:
        assert len(self.store) == len(self.passages)
        assert list(self.store.documents) == list(self.passages)
        for (id_, document), passage in zip(self.store.documents.items(), self.passages.values(), strict=True):
            assert same(document, id_, *passage)


class IndexWorld(World):
    """An index on disk, read by another object that follows it."""

    pool = 150
    vectors = "auto"
    weights: ClassVar[dict[str, int]] = {
        "add": 3,
        "update": 3,
        "delete": 2,
        "search": 45,
        "search_words": 45,
        "retrieve": 20,
        "look_up": 30,
        "values": 6,
        "reopen": 1,
        "follow": 2,
        "empty": 0,
    }

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.articles: dict[str, Passage] = {}
        self.deleted: list[str] = []  # the words of deleted passages
        documents = [article(number, 0, Random(number)) for number in range(0, self.pool, 3)]
        self.index = build_index(
            folder / "index", documents, EMBEDDINGS, passage_chars=PASSAGE_CHARS, vectors=self.vectors
        )
        self.articles = {id_of(document): expected(document) for document in documents}
        self.take_passages()
        self.follower, self.followed = open_index(folder / "index", EMBEDDINGS), self.passages

    # Writing

    def add(self, rng: Random) -> None:
        documents = [article(number, rng.randrange(3), rng) for number in self.some_numbers(rng)]
        new: dict[str, Passage] = {}
        for document in documents:
            if id_of(document) not in self.articles and id_of(document) not in new:
                new[id_of(document)] = expected(document)
        changes = self.index.add(documents)
        assert changes == Changes(added=len(new), skipped=len(documents) - len(new))
        self.articles.update(new)
        self.check()

    def update(self, rng: Random) -> None:
        documents = [article(number, rng.randrange(3), rng) for number in self.some_numbers(rng)]
        given: dict[str, Passage] = {}
        for document in documents:
            given.setdefault(id_of(document), expected(document))
        paths = {passage.metadata["path"] for passage in given.values() if "path" in passage.metadata}
        kept = {id_ for id_ in given.keys() & self.articles.keys() if self.articles[id_] == given[id_]}
        stale = {id_ for id_, old in self.articles.items() if old.metadata.get("path") in paths} - given.keys()
        replaced = (given.keys() & self.articles.keys()) - kept
        changes = self.index.update(documents)
        assert changes == Changes(
            len(given) - len(kept), len(documents) - len(given) + len(kept), len(stale | replaced)
        )
        self.articles = {id_: old for id_, old in self.articles.items() if id_ not in stale}
        self.articles.update({id_: passage for id_, passage in given.items() if id_ not in kept})
        self.check()

    def delete(self, rng: Random) -> None:
        ids = {id_of(article(number, rng.randrange(3), rng)) for number in self.some_numbers(rng)}
        self.delete_articles([*ids, "unbekannt"])

    def empty(self, rng: Random) -> None:
        self.delete_articles(list(self.articles))

    def delete_articles(self, ids: list[str]) -> None:
        known = self.articles.keys() & ids
        assert self.index.delete(ids) == Changes(removed=len(known))
        self.articles = {id_: old for id_, old in self.articles.items() if id_ not in known}
        self.check()

    def reopen(self, rng: Random) -> None:
        assert check_index(self.folder / "index") == []
        self.index = open_index(self.folder / "index", EMBEDDINGS, check=rng.random() < 0.5)
        self.check()

    def follow(self, rng: Random) -> None:
        """Let the other object read the newest version, once it has proved that it still holds its own."""
        self.check_documents(self.follower, self.followed)
        changed = self.follower.refresh()
        assert changed or self.followed == self.passages
        self.followed = self.passages
        self.check_documents(self.follower, self.followed)

    # Reading

    def search(self, rng: Random) -> None:
        question, filter, k = self.question(rng), some_filter(rng), rng.choice((1, 5, 30, 1000))
        store = self.index.snapshot.store
        hits = store.search_vector(EMBEDDINGS.embed_query(question), k, filter=filter)
        wanted = self.wanted(filter)
        truth = cosines(wanted, question, embedded)
        if filter is not None or self.is_exact:
            check_ranking(hits, truth, k)
            return
        # What approximate search finds is there and has its true cosine; how much of the best it finds is counted.
        check_ranking(hits, {id_: truth[id_] for id_, _ in hits}, k)
        assert len(hits) == min(k, len(truth))
        least = sorted(truth.values(), reverse=True)[: len(hits)][-1:]
        self.recalls += [float(np.mean([score >= least[0] - 1e-3 for _, score in hits]))] if hits else []

    @property
    def is_exact(self) -> bool:
        return bool(self.index.snapshot.manifest["vectors"]["form"] == "exact")

    def search_words(self, rng: Random) -> None:
        question, filter, k = self.question(rng), some_filter(rng), rng.choice((1, 5, 30, 1000))
        snapshot = self.index.snapshot
        everything = {hit.id: hit.score for hit in snapshot.lexical.search(question, len(self.passages) + 1)}
        wanted = self.wanted(filter)
        truth = {id_: score for id_, score in everything.items() if id_ in wanted}
        ids = None if filter is None else matching_ids(snapshot.store.documents, filter)
        assert ids is None or (set(ids) == wanted.keys() and len(ids) == len(wanted))
        hits = snapshot.lexical.search(question, k, ids=ids)
        check_ranking([(hit.id, hit.score) for hit in hits], truth, k, tolerance=1e-3)
        assert everything.keys() <= self.passages.keys()
        words = set(question.split()) & set(COMMON)
        assert {id_ for id_, passage in self.passages.items() if words & set(passage.text.split())} <= everything.keys()

    def retrieve(self, rng: Random) -> None:
        question, filter, k = self.question(rng), some_filter(rng), rng.choice((1, 5, 20))
        found = HybridRetriever(index=self.index, k=k, filter=filter).invoke(question)
        wanted = self.wanted(filter)
        assert len(found) == min(k, len(wanted))
        scores = [document.metadata["score"] for document in found]
        assert scores == sorted(scores, reverse=True)
        for document in found:
            metadata = {key: document.metadata[key] for key in document.metadata if key not in ("stages", "score")}
            assert same(document.model_copy(update={"metadata": metadata}), str(document.id), *wanted[str(document.id)])
        for document in found:  # which is the caller's own
            document.metadata.get("tags", []).append("verdorben")
            document.metadata["section"] = "verdorben"

    def look_up(self, rng: Random) -> None:
        doc_id = id_of(article(rng.randrange(self.pool), rng.randrange(3), rng))
        if doc_id in self.articles:
            found, wanted = self.index.article(doc_id), self.articles[doc_id]
            assert same(found, doc_id, wanted.text, {**wanted.metadata, "doc_id": doc_id})
        else:
            with pytest.raises(KeyError, match=doc_id):
                self.index.article(doc_id)
        ids = rng.sample(list(self.passages), min(3, len(self.passages)))
        documents = self.index.snapshot.store.get_by_ids(["unbekannt", *ids])
        assert [document.id for document in documents] == ids
        assert all(same(document, id_, *self.passages[id_]) for document, id_ in zip(documents, ids, strict=True))

    def values(self, rng: Random) -> None:
        key = rng.choice(("section", "tags", "n", "mixed", "missing", "path"))
        values = [passage.metadata.get(key) for passage in self.passages.values()]
        items = chain.from_iterable(value if isinstance(value, list) else [value] for value in values)
        assert self.index.snapshot.store.values(key) == sorted({item for item in items if isinstance(item, str)})

    # Comparing all

    def check(self) -> None:
        self.take_passages()
        self.check_documents(self.index, self.passages)
        lexical = self.index.snapshot.lexical
        assert sorted(lexical.ids()) == sorted(self.passages)
        chosen = Random(len(self.passages)).sample(list(self.passages), min(5, len(self.passages)))
        for id_ in chosen:
            self.check_found(id_)
        for word in self.deleted[-3:]:
            assert {hit.id for hit in lexical.search(word, 5)} <= self.passages.keys()

    def check_found(self, id_: str) -> None:
        for word in rare_words_of(self.passages[id_].text)[:1]:
            hits = self.index.snapshot.lexical.search(word, 20)
            assert id_ in [hit.id for hit in hits], word

    def check_documents(self, index: Index, passages: Mapping[str, Passage]) -> None:
        documents = index.snapshot.store.documents
        assert len(index) == len(documents) == len(passages)
        assert {id_: Passage(d.page_content, d.metadata) for id_, d in documents.items()} == passages
        assert all(same(document, id_, *passages[id_]) for id_, document in documents.items())
        assert index.document_ids() == {passage.metadata["doc_id"] for passage in passages.values()}
        manifest = index.snapshot.manifest
        assert (manifest["documents"], manifest["passages"]) == (len(index.document_ids()), len(passages))

    def take_passages(self) -> None:
        """Bring the model's passages in line with its articles: those of new ones as they were cut, if rightly."""
        of_article: dict[str, dict[str, Passage]] = {}
        for id_, document in self.index.snapshot.store.documents.items():
            found = Passage(document.page_content, json.loads(_json(document.metadata)))
            of_article.setdefault(document.metadata["doc_id"], {})[id_] = found
        assert of_article.keys() == self.articles.keys()
        before = self.passages
        self.passages = {}
        for doc_id, passages in of_article.items():
            check_cut(doc_id, self.articles[doc_id], passages)
            if passages.keys() & before.keys():
                assert all(before[id_].text == passage.text for id_, passage in passages.items())
            self.passages.update(passages)
        for id_ in before.keys() - self.passages.keys():
            self.deleted += rare_words_of(before[id_].text)[:1]


def check_cut(doc_id: str, article: Passage, passages: Mapping[str, Passage]) -> None:
    """Check that passages are all of an article, each with its metadata."""
    covered = [False] * len(article.text)
    for id_, passage in passages.items():
        start, end = passage.metadata["start"], passage.metadata["end"]
        assert id_ == (doc_id if (start, end) == (0, len(article.text)) else f"{doc_id}:{start}")
        assert passage.text == article.text[start:end]
        assert _json(passage.metadata) == _json({**article.metadata, "doc_id": doc_id, "start": start, "end": end})
        covered[start:end] = [True] * (end - start)
    assert all(done or letter == " " for done, letter in zip(covered, article.text, strict=True))


def article(number: int, version: int, rng: Random) -> Document:
    """Return a document as somebody would give it to an index."""
    metadata = odd_metadata(rng)
    if rng.random() < 0.3:
        metadata["date"] = date(2025, 1, 2)
    if rng.random() < 0.4:
        metadata["path"] = f"articles/{number % 12}.txt"
    if rng.random() < 0.2:
        metadata["score"] = 7
    return Document(page_content=text_of(number, version), metadata=metadata, id=rng.choice((None, f"나의 {number}")))


def id_of(document: Document) -> str:
    return sha256(document.page_content.encode()).hexdigest()[:32]


def expected(document: Document) -> Passage:
    """Return what an index keeps of a document."""
    metadata = json.loads(json.dumps(document.metadata, default=str))
    if "score" in metadata:
        metadata["source_score"] = metadata.pop("score")
    if document.id:
        metadata["source_id"] = document.id
    if "열쇠🔑" in metadata:
        metadata["열쇠🔑"] = metadata["열쇠🔑"].replace("\u2028", "\n").strip()
    kept = {key: value for key, value in metadata.items() if value is not None and value not in ("", [], {})}
    return Passage(document.page_content, kept)


def embedded(passage: Passage) -> str:
    return f"{passage.metadata['title']}\n{passage.text}" if "title" in passage.metadata else passage.text


class GrowingWorld(IndexWorld):
    """An index that changes over from memory to disk and back again as it grows and shrinks."""

    weights: ClassVar[dict[str, int]] = {**IndexWorld.weights, "empty": 1}


class ClustersWorld(IndexWorld):
    vectors = "ivf"


class BitsWorld(IndexWorld):
    vectors = "rabitq"


WORLDS: dict[str, type[World]] = {
    "store": StoreWorld,
    "memory": IndexWorld,
    "growing": GrowingWorld,
    "ivf": ClustersWorld,
    "rabitq": BitsWorld,
}


@pytest.fixture
def _everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few hundred passages take the ways that otherwise only many thousands take."""
    monkeypatch.setattr("rag_app.lexical._NAMED", 3)
    monkeypatch.setattr("rag_app.lexical._DEEP", 60)
    monkeypatch.setattr("rag_app.lexical._HEAP_BYTES", 15_000_000)
    monkeypatch.setattr("rag_app.disk.metadata_columns._MOST_VALUES", 8)
    monkeypatch.setattr("rag_app.disk.segments._FEW", 20)
    monkeypatch.setattr("rag_app.disk.segmented._BATCH", 32)


@pytest.fixture
def _grows_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag_app.generation_writer.EXACT_MOST", 90)
    monkeypatch.setattr("rag_app.generation_writer.IVF_MOST", 160)


@pytest.mark.usefixtures("_everything_is_large")
@pytest.mark.parametrize("form", WORLDS)
def test_a_short_series_of_operations_does_what_a_dictionary_would(
    form: str, promised: Promised, request: pytest.FixtureRequest
) -> None:
    if form == "growing":
        request.getfixturevalue("_grows_soon")
    world_of, count = WORLDS[form], 0
    operations = [name for name in world_of.weights if name != "check"]

    class Machine(RuleBasedStateMachine):
        @initialize()
        def open(self) -> None:
            self.folder = TemporaryDirectory()
            self.world = world_of(Path(self.folder.name))

        @rule(operation=st.sampled_from(operations), seed=st.integers(0, 10_000))
        def step(self, operation: str, seed: int) -> None:
            nonlocal count
            count += 1
            self.world.do(operation, seed)

        def teardown(self) -> None:
            if hasattr(self, "folder"):
                self.folder.cleanup()

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=promised.times(*((8, 100) if form == "store" else (2, 20))),
            stateful_step_count=30,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
    promised.tried(count, "operations")


PARTS = [(form, part) for form in WORLDS for part in range(2)]


@pytest.mark.usefixtures("_everything_is_large")
@pytest.mark.parametrize(("form", "part"), PARTS)
def test_a_long_series_of_operations_does_what_a_dictionary_would(
    form: str, part: int, promised: Promised, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if form == "growing":
        request.getfixturevalue("_grows_soon")
    rng = Random(f"{form}/{part}")
    world = WORLDS[form](tmp_path)
    names, weights = zip(*world.weights.items(), strict=True)
    count = promised.times(60, 5000)
    for number in range(count):
        operation, seed = rng.choices(names, weights)[0], rng.getrandbits(32)
        if number % 1000 == 700:
            operation = "empty"
        try:
            world.do(operation, seed)
        except BaseException as error:
            error.add_note(f"Operation {number} of {form}/{part}: {operation}, seed {seed}")
            raise
    world.check()
    if isinstance(world, IndexWorld):
        for id_ in world.passages:
            world.check_found(id_)
    if world.recalls:
        assert np.mean(world.recalls) >= 0.9
    promised.tried(count, "operations")
