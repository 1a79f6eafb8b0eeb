"""What an index should hold after a sequence of writes, kept as a plain dictionary, and a comparison with what it does.

A state is the revision of each article by its number. Articles are made of their number and revision alone, so that the
process that writes and the one that looks afterwards need only tell each other numbers.
"""

import random
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from rag_app import cli
from rag_app.documents import make_document, searchable_text
from rag_app.folder_index import FolderIndex, FolderSnapshot
from rag_app.index import build_index, open_index
from rag_app.passages import split_documents

State = dict[int, int]
ARTICLES = 96
PASSAGE_CHARS = 120
DIMENSION = 24
EXACT_MOST = 45
"""Where vectors of the setup ``auto`` move to the disk."""
_IN_A_FILE = 4
_WORDS = [
    "국회",
    "예산",
    "의결",
    "기상청",
    "주말",
    "비",
    "예보",
    "야구",
    "개막전",
    "잠실",
    "수도",
    "서울",
    "대통령",
    "경제",
    "반도체",
    "수출",
    "증가",
    "은행",
    "금리",
    "인하",
]


class Setup(NamedTuple):
    """How an index is built.

    Attributes:
        vectors: See `rag_app.index.build_index`.
        slow: Whether its model is one whose vectors are put by.
    """

    vectors: str
    slow: bool


SETUPS = {
    "exact": Setup("exact", slow=False),
    "ivf": Setup("ivf", slow=False),
    "rabitq": Setup("rabitq", slow=True),
    "auto": Setup("auto", slow=True),
}


class Write(NamedTuple):
    """A write to an index.

    Attributes:
        kind: ``build``, ``replace``, ``add``, ``update`` or ``delete``.
        articles: Numbers and revisions.
    """

    kind: str
    articles: list[tuple[int, int]]


class Bags(Embeddings):
    """Vectors of texts as bags of words; the same text has the same vector in every process."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector for each."""
        return [sum((_word_vector(word) for word in text.split()), np.full(DIMENSION, 0.01)).tolist() for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a question."""
        return self.embed_documents([text])[0]


class SlowBags(Bags):
    """The same under a name, so that it is taken for a model whose vectors are worth putting by."""

    model = "bags"


@lru_cache(maxsize=4096)
def _word_vector(word: str) -> "np.ndarray[Any, np.dtype[np.float64]]":
    return np.random.default_rng(crc32(word.encode())).normal(size=DIMENSION)


def embeddings_of(setup: Setup) -> Embeddings:
    """Return the embedding model of a setup."""
    return SlowBags() if setup.slow else Bags()


@lru_cache(maxsize=4096)
def article(number: int, revision: int) -> Document:
    """Return an article; every fifth is long enough for several passages."""
    chance = random.Random(number)
    sentences = [f"{' '.join(chance.choices(_WORDS, k=6))}다." for _ in range(9 if number % 5 == 0 else 2)]
    text = f"{mark(number)} {' '.join(sentences)}"
    path = f"file-{number // _IN_A_FILE}.txt"
    return make_document(text, title=f"제목 {number}", path=path, revision=revision)


def mark(number: int) -> str:
    """Return a word that only one article holds."""
    return "".join(chr(0xAC00 + 588 * (1 + int(digit)) + 28 * place) for place, digit in enumerate(f"{number:03d}"))


@lru_cache(maxsize=4096)
def passages_of(number: int, revision: int) -> tuple[Document, ...]:
    """Return the passages of an article."""
    return tuple(split_documents([article(number, revision)], max_chars=PASSAGE_CHARS))


def next_write(state: Mapping[int, int] | None, chance: random.Random) -> Write:
    """Return a random write that changes an index of a state; None for no index.

    One that changes nothing would leave what others left, too.
    """
    while True:
        write = _any_write(state, chance)
        if after(state, write) != state:
            return write


def _any_write(state: Mapping[int, int] | None, chance: random.Random) -> Write:
    everything = list(range(ARTICLES))
    if not state:
        kind = "build" if state is None else "add"
        return Write(kind, [(number, 0) for number in sorted(chance.sample(everything, chance.randint(8, 60)))])
    kind = chance.choices(["replace", "add", "update", "delete"], [1, 5, 4, 4])[0]
    free = [number for number in everything if number not in state]
    if kind == "replace":
        return Write(kind, [(number, 0) for number in sorted(chance.sample(everything, chance.randint(8, 60)))])
    if kind == "add" and free:
        chosen = chance.sample(free, min(len(free), chance.choice([1, 3, 20])))
        return Write(kind, [(number, 0) for number in chosen])
    if kind == "update":
        file = chance.choice(sorted(state)) // _IN_A_FILE
        numbers = range(file * _IN_A_FILE, (file + 1) * _IN_A_FILE)
        kept = chance.sample(numbers, chance.randint(1, _IN_A_FILE - 1))
        return Write(kind, [(number, chance.randint(0, 9)) for number in sorted(kept)])
    chosen = chance.sample(sorted(state), chance.choice([1, 3, len(state) // 2 + 1]) if len(state) > 3 else 1)
    return Write("delete", [(number, state[number]) for number in chosen])


def after(state: Mapping[int, int] | None, write: Write) -> State:
    """Return what a write leaves."""
    given = dict(write.articles)
    if write.kind in ("build", "replace"):
        return given
    known = dict(state or {})
    if write.kind == "add":
        return given | known
    if write.kind == "delete":
        return {number: revision for number, revision in known.items() if number not in given}
    files = {number // _IN_A_FILE for number in given}
    return {number: revision for number, revision in known.items() if number // _IN_A_FILE not in files} | given


def perform(folder: Path, setup: Setup, write: Write) -> FolderIndex:
    """Do a write and return the index."""
    articles = [article(*one) for one in write.articles]
    embeddings = embeddings_of(setup)
    if write.kind in ("build", "replace"):
        replace = write.kind == "replace"
        options: dict[str, Any] = {"passage_chars": PASSAGE_CHARS, "vectors": setup.vectors, "replace": replace}
        return build_index(folder, articles, embeddings, **options)
    index = open_index(folder, embeddings)
    if write.kind == "delete":
        index.delete([str(one.metadata["doc_id"]) for one in articles])
    elif write.kind == "update":
        index.update(articles)
    else:
        index.add(articles)
    return index


def warm_up() -> None:
    """Analyse every article, so that a forked process needs none of the analyser's threads."""
    from rag_app.by_word import morphemes_by_word
    from rag_app.korean import analyzer

    words = morphemes_by_word(analyzer())
    for number in range(ARTICLES):
        for revision in range(10):
            passages_of(number, revision)
        words.joined([searchable_text(passage) for passage in passages_of(number, 0)])


def held(snapshot: FolderSnapshot) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return what an index holds: text and metadata by passage id.

    Raises:
        AssertionError: Its parts do not agree.
    """
    _, store, lexical = snapshot
    found = {id_: (passage.page_content, passage.metadata) for id_, passage in store.documents.items()}
    assert len(store) == len(found) == len(lexical)
    assert set(lexical.ids()) == set(found)
    return found


def expected(state: Mapping[int, int]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the same for a state."""
    passages = (passage for one in state.items() for passage in passages_of(*one))
    return {str(passage.id): (passage.page_content, passage.metadata) for passage in passages}


def look(folder: Path, setup: Setup, states: Iterable[State | None]) -> State | None:
    """Return which of some states an index has, all of it; None stands for there being none.

    Raises:
        AssertionError: It has none of them, or is not sound, or does not find what it holds.
    """
    possible = list(states)
    if not (folder / "manifest.json").exists():
        assert None in possible, "an index that was committed is gone"
        return None
    assert cli.main(["check", "--index", str(folder)]) == cli.OK
    snapshot = open_index(folder, embeddings_of(setup)).snapshot
    found = held(snapshot)
    state = next((state for state in possible if state is not None and found == expected(state)), None)
    assert state is not None, f"{len(found)} passages are neither the old nor the new state"
    _search(snapshot, setup, state)
    return state


def _search(snapshot: FolderSnapshot, setup: Setup, state: State) -> None:
    embeddings = embeddings_of(setup)
    _, store, lexical = snapshot
    passages = [passage for one in state.items() for passage in passages_of(*one)]
    if not passages:
        assert not lexical.search("국회 예산", 5)
        return
    vectors = np.array(embeddings.embed_documents([searchable_text(passage) for passage in passages]))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(store.vectors([str(passage.id) for passage in passages]), vectors, atol=2e-3)
    for number in (min(state), max(state)):
        own = {str(passage.id) for passage in passages_of(number, state[number])}
        assert lexical.search(mark(number), 1)[0].id in own
        question = searchable_text(article(number, 0))
        query = np.array(embeddings.embed_query(question))
        best = float(np.max(vectors @ query) / np.linalg.norm(query))
        [(_, score)] = store.similarity_search_with_score(question, k=1)
        assert score == pytest_approx(best) if setup.vectors == "exact" else score > best - 0.5
    gone = next((number for number in range(ARTICLES) if number not in state), None)
    if gone is not None:
        ids = {str(passage.id) for passage in passages_of(gone, 0)}
        assert ids.isdisjoint(hit.id for hit in lexical.search(mark(gone), 5))


def pytest_approx(value: float) -> Any:
    """Return a value to compare half-precision cosines with."""
    import pytest

    return pytest.approx(value, abs=5e-3)
