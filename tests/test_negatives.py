import pytest
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.retrievers import BaseRetriever

from finetune.negatives import mine_negatives
from finetune.pairs import Pair
from rag_app.documents import make_document
from rag_app.index import build_index
from rag_app.retrieval import HybridRetriever

GROUPS = {name: number for number, name in enumerate("abcdef")}


class Found(BaseRetriever):
    """Returns the same passages for every question: letters stand for documents, with their scores."""

    passages: list[tuple[str, float]]

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return [
            Document(page_content=f"글 {name} {rank}", metadata={"doc_id": name, "score": score, "title": name.upper()})
            for rank, (name, score) in enumerate(self.passages)
        ]


def pair(doc_id: str, query: str = "언제?") -> Pair:
    return Pair(query, f"글 {doc_id}", doc_id)


def test_what_scores_near_the_positive_or_above_is_left_out() -> None:
    found = Found(passages=[("b", 1.2), ("a", 1.0), ("c", 0.96), ("d", 0.95), ("e", 0.5)])
    mined = mine_negatives([pair("a")], found, groups=GROUPS, count=2, progress=False)
    assert mined.pairs == [pair("a")._replace(negatives=("D\n글 d 3", "E\n글 e 4"))]
    assert mined[1:] == (1.0, 0.0, 0.0, 0.5)
    assert mine_negatives([pair("a")], found, groups=GROUPS, count=2, margin=0, progress=False).too_close == 0.25
    (wide,) = mine_negatives([pair("a")], found, groups=GROUPS, count=2, margin=0.3, progress=False).pairs
    assert wide.negatives == ("E\n글 e 4",)


def test_documents_of_the_positive_s_group_are_left_out() -> None:
    found = Found(passages=[("a", 1.0), ("b", 0.5), ("c", 0.4), ("d", 0.3)])
    mined = mine_negatives([pair("a")], found, groups={**GROUPS, "b": GROUPS["a"]}, count=1, progress=False)
    assert mined.pairs[0].negatives == ("C\n글 c 2",)
    assert mined.same_group == pytest.approx(1 / 3)


def test_no_answer_of_a_question_is_a_negative_of_another_answer() -> None:
    found = Found(passages=[("a", 1.0), ("b", 0.5), ("c", 0.4)])
    mined = mine_negatives([pair("a"), pair("b"), pair("a", "왜?")], found, groups=GROUPS, count=2, progress=False)
    assert [p.negatives for p in mined.pairs] == [("C\n글 c 2",), ("C\n글 c 2",), ("B\n글 b 1", "C\n글 c 2")]
    assert mined.full == pytest.approx(1 / 3)


def test_a_document_counts_once_by_its_best_passage() -> None:
    found = Found(passages=[("a", 1.0), ("b", 0.8), ("b", 0.7), ("a", 0.6), ("c", 0.5), ("b", 0.4)])
    (mined,) = mine_negatives([pair("a")], found, groups=GROUPS, count=3, progress=False).pairs
    assert mined.negatives == ("B\n글 b 1", "C\n글 c 4")  # measured against the positive's best passage, not its last


def test_below_zero_the_bound_lies_beneath_the_positive() -> None:
    found = Found(passages=[("a", -1.0), ("b", -1.04), ("c", -1.06)])
    (mined,) = mine_negatives([pair("a")], found, groups=GROUPS, count=2, progress=False).pairs
    assert mined.negatives == ("C\n글 c 2",)


def test_a_pair_whose_document_was_not_found_gets_none() -> None:
    found = Found(passages=[("b", 1.0), ("c", 0.1)])
    mined = mine_negatives([pair("a"), pair("b", "왜?")], found, groups=GROUPS, count=1, progress=False)
    assert [p.negatives for p in mined.pairs] == [(), ("C\n글 c 1",)]
    assert (mined.full, mined.lost) == (0.5, 0.5)


def test_what_makes_no_sense_is_refused() -> None:
    found = Found(passages=[("z", 1.0)])
    with pytest.raises(ValueError, match="document z has no group"):
        mine_negatives([pair("a")], found, groups=GROUPS, count=1, progress=False)
    for settings in ({"count": 0}, {"count": 1, "margin": 1.0}):
        with pytest.raises(ValueError, match="count of at least 1 and a margin"):
            mine_negatives([pair("a")], found, groups=GROUPS, progress=False, **settings)


def test_the_hybrid_retriever_gives_hard_negatives(tmp_path_factory: pytest.TempPathFactory) -> None:
    texts = [
        "가온시 도서관이 문을 열었다.",
        "나루군 도서관이 문을 닫았다.",
        "가온시 축제가 열린다.",
        "올해 쌀값이 내렸다.",
    ]
    news = [make_document(text, title=f"소식 {number}") for number, text in enumerate(texts)]
    index = build_index(tmp_path_factory.mktemp("index"), news, DeterministicFakeEmbedding(size=8))
    groups = {str(document.id): number for number, document in enumerate(news)}
    retriever = HybridRetriever(index=index, k=4, weights={"lexical": 1, "dense": 0})
    asked = Pair("가온시 도서관이 열었나?", f"소식 0\n{texts[0]}", str(news[0].id))
    mined = mine_negatives([asked], retriever, groups=groups, count=2, progress=False)
    assert set(mined.pairs[0].negatives) == {f"소식 1\n{texts[1]}", f"소식 2\n{texts[2]}"}


def test_a_pair_s_own_negatives_come_first_and_are_mined_besides_only_as_far_as_there_is_room() -> None:
    found = Found(passages=[("a", 1.0), ("b", 0.5), ("c", 0.4), ("d", 0.3)])
    own = pair("a")._replace(negatives=("본 글", "B\n글 b 1"))
    (mined,) = mine_negatives([own], found, groups=GROUPS, count=3, progress=False).pairs
    assert mined.negatives == ("본 글", "B\n글 b 1", "C\n글 c 2")
    (mined,) = mine_negatives([own], found, groups=GROUPS, count=1, progress=False).pairs
    assert mined.negatives == ("본 글",)
    (lost,) = mine_negatives([own._replace(doc_id="e")], found, groups=GROUPS, count=3, progress=False).pairs
    assert lost.negatives == own.negatives
