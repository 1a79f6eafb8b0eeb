"""Explanations add up to the scores that the search gave."""

from pathlib import Path

import numpy as np
import pytest

from rag_app.compressors import load_reranker
from rag_app.documents import make_document, searchable_text
from rag_app.embeddings import load_embeddings
from rag_app.explaining.comparison import KINDS, build_system
from rag_app.explaining.explanation import FIRST_STAGE, explain_match
from rag_app.explaining.word_matches import Matched, find_spans, match_words
from rag_app.folder_index import FolderIndex
from rag_app.index import build_index
from rag_app.merging import merge_passages
from rag_app.reranking.linear import LinearReranker
from rag_app.retrieval import build_retriever

NEWS = [
    make_document(
        "위성의 발사가 미뤄졌다. 헬륨 배관에서 누출이 확인됐다. 기준치의 세 배였다.",
        title="한빛 3호 발사 연기",
        date="2025-01-06",
        section="기술",
    ),
    make_document(
        "로켓이 폭발한 까닭은 스펀지 조각이었다. 조사위가 밝혔다.",
        title="은하로 사고 원인",
        date="2025-03-02",
        section="기술",
    ),
    make_document("수도권에 한파가 와 수도가 얼었다.", title="한파 동파 신고", date="2025-01-10", section="사회"),
    make_document("야구 개막전이 잠실에서 열렸다. 관중이 몰렸다.", title="개막전", date="2025-03-22", section="스포츠"),
]
QUESTIONS = (
    "한빛 3호 발사체에서 누출이 확인된 곳은 어디인가요?",
    "2025년 1월에 무슨 일로 발사가 미뤄졌나?",
    "로켓이 왜 안 떴어?",  # hardly a word matches, so meaning counts more
    "quantum 관측",
)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> FolderIndex:
    return build_index(tmp_path_factory.mktemp("why") / "index", NEWS, load_embeddings())


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_score_is_the_sum_of_its_parts(index: FolderIndex, question: str, kind: str) -> None:
    reranker = load_reranker(top_n=None)
    found = build_system(index, kind, k=4, reranker=reranker).invoke(question)
    for document in found:
        stages = document.metadata["stages"]
        explained = explain_match(question, document, index, reranker=reranker, weights=KINDS[kind].weights)
        assert explained.ranks == {stage: stages[stage]["rank"] for stage in stages}
        if "lexical" in stages:
            assert explained.lexical.score == pytest.approx(stages["lexical"]["score"], rel=1e-5)
        if "dense" in stages:
            assert sum(explained.dense.words) == pytest.approx(stages["dense"]["score"], abs=1e-3)  # stored in halves
        fusion = explained.fusion
        assert fusion is not None
        assert not fusion.derived
        assert sum(part.product for part in fusion.parts) + fusion.timely == pytest.approx(
            stages["fusion"]["score"], abs=1e-9
        )
        assert sum(part.weight for part in fusion.parts) == pytest.approx(1)
    assert found


def test_the_reranker_s_parts_add_up_to_the_logit_it_gave(index: FolderIndex) -> None:
    reranker = load_reranker(top_n=None)
    model: LinearReranker = reranker.model
    found = build_system(index, "hybrid+rerank", k=4, reranker=reranker).invoke(QUESTIONS[0])
    texts = [searchable_text(document) for document in found]
    logits = model.logits(QUESTIONS[0], texts, [d.metadata["stages"]["fusion"]["score"] for d in found])
    for document, logit in zip(found, logits, strict=True):
        explained = explain_match(QUESTIONS[0], document, index, reranker=reranker).rerank
        assert explained is not None
        assert sum(part.product for part in explained.parts) == explained.logit == pytest.approx(logit, abs=1e-3)
        assert explained.parts[-1].name == FIRST_STAGE
        score = model.probabilities(np.array([explained.logit]))[0]
        assert score == pytest.approx(document.metadata["relevance_score"], abs=1e-3)


def test_dates_that_were_asked_for_are_a_part_of_their_own(index: FolderIndex) -> None:
    best = build_system(index, "hybrid", k=4).invoke(QUESTIONS[1])[0]
    fusion = explain_match(QUESTIONS[1], best, index).fusion
    assert fusion is not None
    assert fusion.timely == best.metadata["stages"]["fusion"]["timely"] > 0
    assert fusion.dates == ["2025년 1월"]


def test_where_hardly_a_word_matches_meaning_counts_more(index: FolderIndex) -> None:
    shares = {}
    for question in (QUESTIONS[0], "우주선이 못 갔대"):
        best = build_system(index, "hybrid", k=4).invoke(question)[0]
        fusion = explain_match(question, best, index).fusion
        assert fusion is not None
        shares[question] = next(part.weight for part in fusion.parts if part.name == "dense")
    assert shares[QUESTIONS[0]] == pytest.approx(0.1)
    assert shares["우주선이 못 갔대"] > 0.1


def test_a_filter_that_is_not_named_is_computed_back_and_says_so(index: FolderIndex) -> None:
    question, only = (
        "헬륨 배관에서 누출이 확인됐다",
        {"section": "스포츠"},
    )  # the filter hides the article that matches best
    [found] = build_retriever(index, filter=only).invoke(question)
    named, unnamed = (explain_match(question, found, index, filter=filter).fusion for filter in (only, None))
    assert named is not None
    assert unnamed is not None
    assert (named.derived, unnamed.derived) == (False, True)
    score = found.metadata["stages"]["fusion"]["score"]
    assert sum(part.product for part in unnamed.parts) == pytest.approx(score, abs=1e-9)
    assert [part.weight for part in unnamed.parts] == pytest.approx([part.weight for part in named.parts])


def test_a_merged_document_is_explained_by_its_best_passage(tmp_path: Path) -> None:
    long = make_document(
        " ".join(f"{n}번째 문장은 날씨 이야기다." for n in range(60)) + " 헬륨이 샜다.", title="긴 기사"
    )
    index = build_index(tmp_path / "long", [long, *NEWS], load_embeddings(), passage_chars=300)
    [best] = [
        one for one in merge_passages(build_retriever(index).invoke("헬륨이 샜나?")) if "passages" in one.metadata
    ][:1]
    explained = explain_match("헬륨이 샜나?", best, index)
    assert explained.passage.id == best.id
    assert explained.passage.page_content in best.page_content
    assert explained.lexical.score == pytest.approx(best.metadata["stages"]["lexical"]["score"], rel=1e-5)


def test_a_cross_encoder_tells_its_score_and_what_it_read(
    tmp_path: Path, tiny_cross_encoder: Path, sentences: tuple[str, ...]
) -> None:
    index = build_index(tmp_path / "long", [make_document(" ".join(sentences))], load_embeddings())
    reranker = load_reranker(tiny_cross_encoder, top_n=None, window_tokens=32)
    [found] = build_system(index, "hybrid+rerank", k=4, reranker=reranker).invoke("국회는 서울에 있나?")
    explained = explain_match("국회는 서울에 있나?", found, index, reranker=reranker).rerank
    assert explained is not None
    assert explained.parts == []
    assert 1 / (1 + np.exp(-explained.logit)) == pytest.approx(found.metadata["relevance_score"])
    assert explained.windows == [tuple(span) for span in found.metadata["stages"]["rerank"]["windows"]]


def test_another_reranker_s_score_is_not_taken_apart(index: FolderIndex, tiny_linear_reranker: Path) -> None:
    [best, *_] = build_system(index, "hybrid+rerank", k=4, reranker=load_reranker(top_n=None)).invoke(QUESTIONS[0])
    explained = explain_match(QUESTIONS[0], best, index, reranker=load_reranker(tiny_linear_reranker)).rerank
    assert explained is not None
    assert explained.parts == []


def test_a_foreign_model_has_sentences_but_no_words(tmp_path: Path, tiny_sentence_transformer: Path) -> None:
    index = build_index(tmp_path / "foreign", NEWS, load_embeddings(tiny_sentence_transformer))
    [best, *_] = build_system(index, "base", k=4).invoke("서울의 국회")
    dense = explain_match("서울의 국회", best, index).dense
    assert dense.words == []
    assert dense.sentences
    assert [one.cosine for one in dense.sentences] == sorted((one.cosine for one in dense.sentences), reverse=True)


def test_words_are_told_apart_by_what_the_passage_has(index: FolderIndex) -> None:
    words, matched = match_words("한빛 3호 발사체 누출은 어디?", str(NEWS[0].id), index.snapshot.lexical)
    told = {word.word: word for word in words}
    assert told["누출은"].found == ("누출",)
    assert told["누출은"].score > 0
    assert told["발사체"].missing == ("발사체",)
    assert told["발사체"].bigrams[0] == 2  # ^발 and 발사, not 사체
    assert not told["어디?"].says
    assert told["누출은"].says
    assert "누출" in matched.morphemes


def test_whatever_a_word_is_said_to_have_is_marked_however_little_it_adds(index: FolderIndex) -> None:
    often = [make_document(f"{n}호 소식이 나온 동안 {n}명이 모였다.", title=f"소식 {n}") for n in range(30)]
    index = build_index(index.path.parent / "often", [*NEWS, *often], load_embeddings())
    article = often[7]
    words, matched = match_words("7호 소식이 나온 동안 몇 명이 모였나?", str(article.id), index.snapshot.lexical)
    spans = find_spans(article.page_content, matched, index.snapshot.lexical.analyses["morphemes"])
    marked = {article.page_content[start:end] for start, end in spans.morphemes}
    assert {"7", "소식", "동안"} <= {unit for word in words for unit in word.found} & marked


def test_what_matches_is_found_where_it_stands(index: FolderIndex) -> None:
    morphemes = index.snapshot.lexical.analyses["morphemes"]
    text = "헬륨 배관에서 누출이 확인됐다."
    spans = find_spans(text, Matched(frozenset({"누출"}), frozenset({"배관", "출이"})), morphemes)
    assert [text[start:end] for start, end in spans.morphemes] == ["누출"]
    assert [text[start:end] for start, end in spans.bigrams] == ["배관"]
    assert find_spans("", Matched(frozenset({"누출"}), frozenset()), morphemes) == ([], [])


def test_a_document_from_elsewhere_is_explained_by_its_words_alone(index: FolderIndex) -> None:
    explained = explain_match("발사 연기", NEWS[0], index)
    assert explained.fusion is None
    assert explained.rerank is None
    assert explained.lexical.score > 0
    assert explained.lexical.coverage is None
