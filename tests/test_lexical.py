import unicodedata
from collections.abc import Sequence
from math import log
from pathlib import Path

import pytest
from langchain_core.documents import Document

from rag_app.korean import analyzer
from rag_app.lexical import FIELDS, LexicalIndex, LexicalRetriever, korean_analyses

TEXTS = {
    "rice": "올해 쌀 수확량이 지난해보다 4.2% 줄었다.",
    "ship": "조사선 가온호가 남해에서 해저 지형을 조사했다.",
    "bank": "은행이 대출 금리를 0.3%포인트 내렸다.",
}


def _index(texts: dict[str, str] = TEXTS, path: Path | None = None) -> LexicalIndex:
    index = LexicalIndex.create(analyzer(), path)
    index.add(texts, texts.values())
    index.commit()
    return index


def _ids(index: LexicalIndex, query: str, k: int = 10, ids: Sequence[str] | None = None) -> list[str]:
    return [hit.id for hit in index.search(query, k, ids=ids)]


@pytest.mark.parametrize(
    ("question", "best"),
    [("쌀은 얼마나 수확했나?", "rice"), ("가온호는 어디를 조사했습니까", "ship"), ("금리 내린 은행", "bank")],
)
def test_finds_the_passage_that_shares_words(question: str, best: str) -> None:
    assert _ids(_index(), question)[0] == best


def test_more_may_be_asked_for_than_there_is() -> None:
    assert len(_index().search("은행이 올해 조사", 10**12)) == 3


def test_decomposed_and_full_width_questions_find_the_same() -> None:
    index = _index()
    plain = index.search("대출 금리 0.3%", 3)
    assert plain
    assert index.search(unicodedata.normalize("NFD", "대출 금리 ０.３％"), 3) == plain


def test_passages_without_a_common_unit_are_not_returned() -> None:
    assert _ids(_index(), "축구") == []
    assert _ids(_index(), "?!") == []


def test_scores_are_bm25_summed_over_both_analyses() -> None:
    index = _index({"a": "나무", "b": "바위", "c": "구름"})
    [hit] = index.search("나무", 3)
    idf = log(1 + (3 - 1 + 0.5) / (1 + 0.5))  # one of three passages, for both bigrams and for the morpheme
    assert hit.score == pytest.approx(
        (2 * FIELDS["bigrams"] + FIELDS["morphemes"]) * idf, rel=1e-5
    )  # tf part (k1+1)*1/(1+k1) = 1: every length is the mean
    assert hit.coverage == pytest.approx(1 / 2.2, rel=1e-5)


def test_restricting_to_ids_changes_no_score_and_loses_no_match() -> None:
    index = _index({f"p{n:03}": f"기사 {n}번은 지진 소식이다." for n in range(300)})
    everything = {hit.id: hit for hit in index.search("지진 소식 7번", 300)}
    wanted = ["p299", "p007", "p150"]
    found = index.search("지진 소식 7번", 3, ids=wanted)
    assert {hit.id for hit in found} == set(wanted)
    assert all(hit == everything[hit.id] for hit in found)
    assert index.search("지진", 3, ids=[]) == []


def test_equal_scores_come_in_order_of_id() -> None:
    assert _ids(_index({"b": "지진 소식", "c": "지진 소식", "a": "지진 소식"}), "지진") == ["a", "b", "c"]


def test_a_saved_index_opens_with_its_changes(tmp_path: Path) -> None:
    index = _index(path=tmp_path / "lexical")
    index.add(["rice"], ["배추 값이 올랐다."])
    index.delete(["bank", "unknown"])
    index.commit()
    reopened = LexicalIndex.open(analyzer(), tmp_path / "lexical")
    assert len(reopened) == 2
    assert sorted(reopened.ids()) == ["rice", "ship"]
    assert _ids(reopened, "쌀 수확량") == []
    assert _ids(reopened, "배추 값") == ["rice"]


def test_uncommitted_changes_are_invisible() -> None:
    index = _index()
    index.delete(["bank"])
    assert _ids(index, "금리") == ["bank"]


def test_the_retriever_filters_during_the_search() -> None:
    sections = [("정치", 40), ("경제", 3)]
    documents = [
        Document(page_content=f"{section} 예산 기사 {n}", metadata={"section": section}, id=f"{section}{n}")
        for section, count in sections
        for n in range(count)
    ]
    retriever = LexicalRetriever.from_documents(documents, analyzer=analyzer(), k=3, filter={"section": "경제"})
    found = retriever.invoke("정치 예산 기사")
    assert [document.metadata["section"] for document in found] == ["경제"] * 3
    assert [document.metadata["stages"]["lexical"]["rank"] for document in found] == [1, 2, 3]
    assert "stages" not in documents[-1].metadata


def test_coverage_does_not_drift_when_passages_are_deleted() -> None:
    index = _index({f"p{n:02}": f"지진 소식 {n}번째" for n in range(30)})
    [before] = index.search("지진 7번째", 1, ids=["p07"])
    index.delete([f"p{n:02}" for n in range(30) if n not in {7, 8, 9}])
    index.commit()
    assert index.deleted in {0, 27}  # Tantivy may have merged them away
    for hit in index.search("지진 7번째", 3):
        assert 0 < hit.coverage <= 1
    [after] = index.search("지진 7번째", 1, ids=["p07"])
    if index.deleted:
        assert after == before


def test_opening_never_creates(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no lexical index"):
        LexicalIndex.open(analyzer(), tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_may_not_be_written_to_can_be_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _index(path=tmp_path / "lexical")
    before = sorted(path.name for path in (tmp_path / "lexical").iterdir() if path.suffix != ".lock")
    for lock in (tmp_path / "lexical").glob("*.lock"):
        lock.unlink()
    monkeypatch.setattr("rag_app.lexical.os.access", lambda path, mode: False)
    index = LexicalIndex.open(analyzer(), tmp_path / "lexical")
    assert _ids(index, "쌀 수확") == ["rice"]
    assert sorted(path.name for path in (tmp_path / "lexical").iterdir()) == before


def test_discarded_changes_leave_the_index_to_the_next_writer(tmp_path: Path) -> None:
    index = _index(path=tmp_path / "lexical")
    index.delete(["rice"])
    index.discard()
    other = LexicalIndex.open(analyzer(), tmp_path / "lexical")
    other.delete(["ship"])
    other.commit()
    assert sorted(other.ids()) == ["bank", "rice"]


def test_the_retriever_normalises_and_refuses_repeated_ids() -> None:
    decomposed = Document(page_content=unicodedata.normalize("NFD", TEXTS["rice"]), id="rice")
    [found] = LexicalRetriever.from_documents([decomposed], analyzer=analyzer()).invoke("쌀 수확량")
    assert found.id == "rice"
    with pytest.raises(ValueError, match="Two documents have the id rice"):
        LexicalRetriever.from_documents([decomposed, decomposed.model_copy()], analyzer=analyzer())


PARTICLES = {
    "speech": "국회의원이 어제 연설했다.",
    "lunch": "아이들은 떡국을 먹었다.",
    "probe": "가온누리호는 순항하고 있다.",
}


@pytest.mark.parametrize(
    ("question", "weights", "found"),
    [
        ("국회의원", {"bigrams": 1.0}, ["speech"]),
        ("떡볶이", {"bigrams": 1.0}, ["lunch"]),  # 떡국을 begins alike
        ("꿀떡은", {"bigrams": 1.0}, []),
        ("먹는", {"morphemes": 1.0}, ["lunch"]),
        ("누리호", {"bigrams": 1.0, "morphemes": 0.0}, ["probe"]),
        ("먹는 누리호", {"bigrams": 1.0, "morphemes": 1.0}, ["lunch", "probe"]),
    ],
)
def test_only_analyses_of_some_weight_are_searched(question: str, weights: dict[str, float], found: list[str]) -> None:
    assert sorted(hit.id for hit in _index(PARTICLES).search(question, 9, weights=weights)) == found


def test_the_weights_of_serving_are_the_default_in_any_order() -> None:
    index = _index()
    default = index.search("은행이 쌀 대출 금리를 조사", 9)
    assert len(default) == 3
    assert index.search("은행이 쌀 대출 금리를 조사", 9, weights=FIELDS) == default
    assert index.search("은행이 쌀 대출 금리를 조사", 9, weights=dict(reversed(FIELDS.items()))) == default


def test_one_analysis_of_two_scores_as_in_an_index_of_its_own() -> None:
    both = _index()
    for name, analyse in korean_analyses(analyzer()).items():
        alone = LexicalIndex.create({"units": analyse})
        alone.add(TEXTS, TEXTS.values())
        alone.commit()
        for question in ("쌀은 얼마나 수확했나?", "가온호는 어디를 조사했습니까", "금리 내린 은행 쌀"):
            assert both.search(question, 9, weights={name: 1.0}) == alone.search(question, 9) != []


@pytest.mark.parametrize(
    "weights",
    [{"bigrams": 1.0}, {"morphemes": 3.0}, {"bigrams": 1e6, "morphemes": 1e-6}, {"bigrams": 0.01, "morphemes": 0.02}],
)
def test_coverage_is_a_share_whatever_the_weights(weights: dict[str, float]) -> None:
    index = _index()
    for question in [*TEXTS.values(), "금리", "쌀 쌀 쌀", "은행이 조사한 쌀 수확량"]:
        for hit in index.search(question, 9, weights=weights):
            assert 0 < hit.coverage <= 1
            [same] = index.search(question, 1, ids=[hit.id], weights={name: 8 * w for name, w in weights.items()})
            assert same.coverage == pytest.approx(hit.coverage, rel=1e-5)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"nouns": 1.0}, "Weigh any of bigrams, morphemes"),
        ({"bigrams": -1.0, "morphemes": 1.0}, "none below 0"),
        ({"bigrams": float("nan")}, "none below 0"),
        ({"bigrams": float("inf")}, "none below 0"),
        ({"bigrams": 0.0, "morphemes": 0.0}, "Give one of bigrams, morphemes a weight"),
        ({}, "No analysis counts"),
    ],
)
def test_weights_that_make_no_sense_are_refused(weights: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _index().search("쌀", 1, weights=weights)


def test_an_index_takes_any_analyses_and_opens_with_them(tmp_path: Path) -> None:
    def words(texts: Sequence[str]) -> list[list[str]]:
        return [text.split() for text in texts]

    def initials(texts: Sequence[str]) -> list[list[str]]:
        return [[word[0] for word in text.split()] for text in texts]

    index = LexicalIndex.create({"words": words, "initials": initials}, tmp_path / "own")
    index.add(PARTICLES, PARTICLES.values())
    index.commit()
    reopened = LexicalIndex.open({"words": words, "initials": initials}, tmp_path / "own")
    assert reopened.search("국회의원", 9, weights={"words": 1.0}) == []  # the passage has 국회의원이
    assert [hit.id for hit in reopened.search("국회의원이", 9, weights={"words": 1.0})] == ["speech"]
    both = reopened.search("국어", 9)
    assert [hit.id for hit in both] == ["speech"]
    assert both[0].coverage < 0.5  # the initial, but not the word


@pytest.mark.parametrize("names", [(), ("id",), ("words", "every")])
def test_analyses_do_not_take_the_names_of_the_index_itself(tmp_path: Path, names: Sequence[str]) -> None:
    with pytest.raises(ValueError, match="none named after a field"):
        LexicalIndex.create(dict.fromkeys(names, analyzer().morphemes_batch), tmp_path / "own")
    assert not (tmp_path / "own").exists()


@pytest.mark.fault(1, "Ctrl-C while passages were added could end in a RuntimeError instead of a word that it stopped.")
def test_changes_are_discarded_while_a_thread_is_still_adding(tmp_path: Path) -> None:
    index = LexicalIndex.create(analyzer(), tmp_path / "lexical")

    class Busy:
        def rollback(self) -> None:
            raise RuntimeError("Already borrowed")

    index._writer = Busy()  # type: ignore[assignment]
    index.discard()
    index.add(["1"], ["서울의 예산"])
    index.commit()
    assert len(index) == 1
