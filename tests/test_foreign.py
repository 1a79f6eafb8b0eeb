import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_classic.retrievers import EnsembleRetriever
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_text_splitters import RecursiveCharacterTextSplitter
from pydantic import Field

from eval.asking import ask
from eval.foreign import FOREIGN, Identities, load_retriever, open_served_index
from rag_app.data.questions import Question
from rag_app.documents import make_document
from rag_app.embeddings import load_embeddings
from rag_app.index import build_index

TEXTS = (
    "국회는 내년 예산안을 의결했다. 여야는 밤늦게까지 협상한 끝에 합의에 이르렀고, 본회의는 자정을 넘겨 끝났다.",
    "기상청은 주말에 비가 온다고 예보했다. 남부 지방에는 천둥과 번개를 동반한 비가 내리고, 중부에는 구름이 많겠다.",
    "프로야구 개막전이 잠실에서 열렸다. 만원 관중 앞에서 홈 팀이 연장 접전 끝에 한 점 차이로 이겨 첫 승리를 거두었다.",
)
CORPUS = [make_document(text, title=f"기사 {number}") for number, text in enumerate(TEXTS)]
IDS = [str(document.id) for document in CORPUS]


class Listed(BaseRetriever):
    """Returns a fixed list, however many are asked for."""

    documents: list[Document] = Field(default_factory=list)

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return self.documents


class Counted(Listed):
    """Returns as many as it is asked for, and notes how many that was."""

    asked: list[int] = Field(default_factory=list)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int = 4
    ) -> list[Document]:
        self.asked.append(k)
        return self.documents[:k]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with a module of the user's own in it."""
    path = tmp_path / "my_search.py"
    path.write_text("from langchain_core.embeddings import DeterministicFakeEmbedding\nready = 1\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    yield path
    for name in [name for name in sys.modules if name.partition(".")[0] in {"my_search", "broken"}]:
        del sys.modules[name]


def wrapped(retriever: BaseRetriever, monkeypatch: pytest.MonkeyPatch) -> BaseRetriever:
    monkeypatch.setattr(sys.modules[__name__], "named", retriever, raising=False)
    return load_retriever(f"{__name__}:named", CORPUS)


def doc_ids(documents: list[Document]) -> list[str]:
    return [document.metadata["doc_id"] for document in documents]


def test_a_document_is_known_by_its_doc_id_its_id_its_text_or_its_title_and_text() -> None:
    identities = Identities(CORPUS)
    assert identities.find(Document("다른 글", metadata={"doc_id": IDS[1]})) == IDS[1]
    assert identities.find(Document("다른 글", id=IDS[2], metadata={"doc_id": "12"})) == IDS[2]
    assert identities.find(Document(f"  {TEXTS[0]}\n", metadata={"doc_id": 7})) == IDS[0]
    assert identities.find(Document(f"기사 2\n{TEXTS[2]}")) == IDS[2]
    assert identities.find(Document(TEXTS[1][:70])) == IDS[1]


def test_a_document_from_elsewhere_keeps_an_id_that_no_document_of_the_corpus_has() -> None:
    identities = Identities(CORPUS)
    first, second = (identities.find(Document(text)) for text in ("하나", "둘"))
    assert first.startswith(FOREIGN)
    assert first != second
    assert first == identities.find(Document("하나", metadata={"source": "x"}))
    assert first not in identities
    assert IDS[0] in identities


def test_a_vector_store_is_asked_for_as_many_as_the_benchmark_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    store = InMemoryVectorStore.from_documents(CORPUS, DeterministicFakeEmbedding(size=8))
    retriever = wrapped(store.as_retriever(search_kwargs={"k": 1}), monkeypatch)
    assert len(retriever.invoke("질문")) == 1
    assert sorted(doc_ids(retriever.invoke("질문", k=30))) == sorted(IDS)


def test_k_is_given_only_to_a_retriever_that_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    taking = Counted(documents=CORPUS)
    wrapped(taking, monkeypatch).invoke("질문", k=2)
    assert taking.asked == [2]
    assert doc_ids(wrapped(Listed(documents=CORPUS), monkeypatch).invoke("질문", k=2)) == IDS
    fused = EnsembleRetriever(retrievers=[Listed(documents=CORPUS), Listed(documents=CORPUS[::-1])], weights=[0.5, 0.5])
    assert len(wrapped(fused, monkeypatch).invoke("질문", k=2)) == 3


def test_chunks_count_as_their_document_with_and_without_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    splitter = RecursiveCharacterTextSplitter(chunk_size=40, chunk_overlap=0, separators=[" "])
    chunks = splitter.split_documents(CORPUS)
    assert len(chunks) >= 6
    identities = Identities(CORPUS)
    kept = [identities.find(chunk) for chunk in chunks]
    assert set(kept) == set(IDS)
    bare = [identities.find(Document(text[1:])) for text in TEXTS]
    assert bare == IDS


def test_without_scores_the_order_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    found = wrapped(Listed(documents=CORPUS), monkeypatch).invoke("질문")
    assert [document.metadata["score"] for document in found] == [0, -1, -2]
    assert doc_ids(found) == IDS
    assert all("score" not in document.metadata for document in CORPUS)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((0.9, 0.5, 0.5), [0.9, 0.5, 0.5]),
        ((0.1, 0.5, 0.9), [0, -1, -2]),  # a distance: less is better
        ((5, 5, 5), [0, -1, -2]),  # a rating of the text, not of its relevance
        ((0.9, None, 0.5), [0, -1, -2]),
        ((0.9, float("nan"), 0.5), [0, -1, -2]),
        (("0.9", "0.5", "0.1"), [0, -1, -2]),
    ],
)
def test_scores_count_where_they_agree_with_the_order(
    scores: tuple[object, ...], expected: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [Document(text, metadata={"score": score}) for text, score in zip(TEXTS, scores, strict=True)]
    found = wrapped(Listed(documents=documents), monkeypatch).invoke("질문")
    assert [document.metadata["score"] for document in found] == expected
    assert doc_ids(found) == IDS


def test_the_benchmark_can_ask_it(monkeypatch: pytest.MonkeyPatch) -> None:
    retriever = wrapped(Listed(documents=[Document("딴 글"), *CORPUS]), monkeypatch)
    questions = [Question(f"q{n}", "질문", frozenset({IDS[0]}), (), False, {}) for n in range(3)]
    answers = ask(retriever, questions)
    assert [list(answer.found) for answer in answers.values()] == [
        [Identities(CORPUS).find(Document("딴 글")), *IDS]
    ] * 3
    assert list(answers["q0"].found.values()) == [0, -1, -2, -3]


def test_something_that_is_no_document_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Listed.model_construct(documents=["글"])
    with pytest.raises(TypeError, match="returned a str"):
        wrapped(broken, monkeypatch).invoke("질문")


def test_a_function_in_the_working_directory_gets_copies_of_the_corpus(module: Path) -> None:
    module.write_text(
        "from langchain_core.embeddings import DeterministicFakeEmbedding\n"
        "from langchain_core.vectorstores import InMemoryVectorStore\n"
        "class Searches:\n"
        "    @staticmethod\n"
        "    def build(corpus):\n"
        "        assert isinstance(corpus, list)\n"
        "        for document in corpus:\n"
        "            document.metadata['mine'] = 1\n"
        "        embeddings = DeterministicFakeEmbedding(size=8)\n"
        "        return InMemoryVectorStore.from_documents(corpus, embeddings).as_retriever()\n",
        "utf-8",
    )
    retriever = load_retriever("my_search:Searches.build", tuple(CORPUS), probe=["누가 이겼나?"])
    assert set(doc_ids(retriever.invoke("누가 이겼나?"))) == set(IDS)
    assert all("mine" not in document.metadata for document in CORPUS)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("my_search", ValueError, "module:object"),
        (":build", ValueError, "module:object"),
        ("my_search.py:build", ValueError, "my_search:build"),
        ("folder/my_search.py:build", ValueError, "my_search:build"),
        ("my_serch:build", ImportError, "no module 'my_serch'"),
        ("my_search.inner:build", ImportError, "no module 'my_search.inner'"),
        ("my_search:built", ValueError, "It has .*ready"),
        ("my_search:ready", ValueError, "an object of type int"),
        ("langchain_core.retrievers:BaseRetriever", ValueError, "the class BaseRetriever"),
        ("builtins:len", ValueError, "returned an object of type int"),
    ],
)
def test_what_is_no_retriever_is_refused_by_name(spec: str, error: type[Exception], message: str, module: Path) -> None:
    with pytest.raises(error, match=message):
        load_retriever(spec, CORPUS)


def test_a_module_that_lacks_something_is_not_called_missing(module: Path) -> None:
    module.with_name("broken.py").write_text("import no_such_library\n", "utf-8")
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        load_retriever("broken:build", CORPUS)


def test_a_retriever_of_another_corpus_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "named", Listed(documents=[Document("딴 글")]), raising=False)
    with pytest.raises(ValueError, match=r"None of the 2 documents .* for 2 questions .*딴 글.*doc_id"):
        load_retriever(f"{__name__}:named", CORPUS, probe=["하나", "둘"])
    monkeypatch.setattr(sys.modules[__name__], "named", Listed(documents=[Document("딴 글"), CORPUS[0]]))
    load_retriever(f"{__name__}:named", CORPUS, probe=["하나", "둘"])
    monkeypatch.setattr(sys.modules[__name__], "named", Listed())  # finding nothing is a result
    load_retriever(f"{__name__}:named", CORPUS, probe=["하나", "둘"])


def test_an_index_that_holds_some_of_the_answers_is_opened(tmp_path: Path) -> None:
    build_index(tmp_path, [Document(TEXTS[0], metadata={"title": "다른 제목"}), CORPUS[1]], load_embeddings())
    assert open_served_index(tmp_path, IDS).document_ids() == set(IDS[:2])


def test_an_index_of_something_else_is_refused(tmp_path: Path) -> None:
    build_index(tmp_path, CORPUS[:1], load_embeddings())
    with pytest.raises(ValueError, match="none of the 2 passages"):
        open_served_index(tmp_path, IDS[1:])
    with pytest.raises(FileNotFoundError):
        open_served_index(tmp_path / "nowhere", IDS)
