"""Reranking: order, scores in metadata, limits, async; with a cross-encoder and with a linear reranker."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from pydantic import ValidationError

from rag_app.compressors import CrossEncoderCompressor, LinearCompressor, TopN, load_reranker
from rag_app.documents import searchable_text
from rag_app.stages import with_stage


class CommonCharacters:
    """A cross-encoder whose logit is the number of the question's characters that the passage has, less two."""

    def __init__(self, delay: float = 0) -> None:
        self.delay = delay
        self.calls: list[list[tuple[str, str]]] = []

    def predict(self, pairs: list[tuple[str, str]], **_: Any) -> np.ndarray[Any, Any]:
        time.sleep(self.delay)
        self.calls.append(pairs)
        return np.array([len(set(query) & set(passage)) - 2 for query, passage in pairs], dtype=np.float32)


def documents(texts: Sequence[str] = ("가나", "가나다라", "마바", "가나다")) -> list[Document]:
    return [Document(id=text, page_content=text, metadata={"doc_id": text}) for text in texts]


@pytest.fixture
def compressor() -> CrossEncoderCompressor:
    return CrossEncoderCompressor(model=CommonCharacters(), name="fake")


def test_documents_come_back_best_first(compressor: CrossEncoderCompressor) -> None:
    result = compressor.compress_documents(documents(), "가나다라")

    assert [document.page_content for document in result] == ["가나다라", "가나다", "가나", "마바"]
    assert [document.id for document in result] == ["가나다라", "가나다", "가나", "마바"]


def test_scores_are_sigmoids_in_the_metadata(compressor: CrossEncoderCompressor) -> None:
    best, *_, worst = compressor.compress_documents(documents(), "가나다라")

    assert best.metadata["relevance_score"] == best.metadata["score"] == pytest.approx(1 / (1 + np.exp(-2)))
    assert worst.metadata["relevance_score"] == pytest.approx(1 / (1 + np.exp(2)))
    assert type(best.metadata["relevance_score"]) is float
    assert best.metadata["stages"] == {"rerank": {"rank": 1, "score": best.metadata["score"]}}
    assert worst.metadata["stages"]["rerank"]["rank"] == 4


def test_equal_scores_stay_in_the_order_they_came_in(compressor: CrossEncoderCompressor) -> None:
    result = compressor.compress_documents(documents(["나가", "하", "가나", "호", "나나가"]), "가나")

    assert [document.page_content for document in result] == ["나가", "가나", "나나가", "하", "호"]


def test_large_logits_do_not_tie() -> None:
    compressor = CrossEncoderCompressor(model=CommonCharacters(), name="fake")
    letters = "가나다라마바사아자차카타파하거너더러머버서어저처커터퍼허"

    result = compressor.compress_documents(documents([letters[:22], letters[:26], letters[:24]]), letters)

    assert [len(document.page_content) for document in result] == [26, 24, 22]


def test_the_documents_given_are_left_as_they_were(compressor: CrossEncoderCompressor) -> None:
    given = documents()
    for document in given:
        document.metadata["stages"] = {"dense": {"rank": 3, "score": 0.4}}
    before = [document.model_copy(deep=True) for document in given]

    result = compressor.compress_documents(given, "가나다라")

    assert given == before
    assert result[0].metadata["stages"].keys() == {"dense", "rerank"}
    assert result[0].metadata["doc_id"] == "가나다라"


@pytest.mark.parametrize(("top_n", "expected"), [(1, 1), (3, 3), (10, 4), (None, 4)])
def test_top_n_limits_what_comes_back(top_n: int | None, expected: int) -> None:
    compressor = CrossEncoderCompressor(model=CommonCharacters(), name="fake", top_n=top_n)

    assert len(compressor.compress_documents(documents(), "가나다라")) == expected


def test_a_threshold_drops_the_documents_below_it() -> None:
    compressor = CrossEncoderCompressor(model=CommonCharacters(), name="fake", threshold=0.5)

    result = compressor.compress_documents(documents(), "가나다라")

    assert [document.page_content for document in result] == ["가나다라", "가나다", "가나"]  # the last scores just 0.5
    assert compressor.compress_documents(documents(["마바"]), "가나다라") == []


def test_no_documents_give_no_documents(compressor: CrossEncoderCompressor, tiny_cross_encoder: Path) -> None:
    assert compressor.compress_documents([], "질문") == []
    assert load_reranker(tiny_cross_encoder, device="cpu").compress_documents([], "질문") == []


def test_a_title_is_read_before_the_text() -> None:
    model = CommonCharacters()
    titled = Document(page_content="본문", metadata={"title": "제목"})

    CrossEncoderCompressor(model=model, name="fake").compress_documents([titled, *documents(["무제"])], "질문")

    assert model.calls == [[("질문", "제목\n본문"), ("질문", "무제")]]
    assert searchable_text(Document(page_content="본문", metadata={"title": None})) == "본문"


@pytest.mark.parametrize("settings", [{"top_n": 0}, {"threshold": 1.5}, {"batch_size": 0}, {"topn": 3}])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CrossEncoderCompressor(model=CommonCharacters(), name="fake", **settings)


async def test_the_event_loop_goes_on_while_documents_are_scored() -> None:
    compressor = CrossEncoderCompressor(model=CommonCharacters(delay=0.3), name="fake")

    task = asyncio.create_task(compressor.acompress_documents(documents(), "가나다라"))
    beats = 0
    while not task.done():
        await asyncio.sleep(0.01)
        beats += 1

    assert beats >= 10
    assert task.result() == compressor.compress_documents(documents(), "가나다라")


# A real model, in miniature


def test_several_questions_are_scored_at_once_as_each_alone(
    tiny_cross_encoder: Path, sentences: tuple[str, ...]
) -> None:
    reranker = load_reranker(tiny_cross_encoder, device="cpu", batch_size=3)
    pairs = [(query, passage) for query in ("수도", "예산안") for passage in (*sentences, sentences[0] * 60)]

    scores = reranker.score_pairs(pairs)

    assert scores.shape == (10,)
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert len(set(scores.round(4))) > 5
    np.testing.assert_allclose(scores, [reranker.score_pairs([pair])[0] for pair in pairs], atol=1e-4)
    assert reranker.score_pairs([]).shape == (0,)


def test_scores_are_those_of_the_cross_encoder(tiny_cross_encoder: Path, sentences: tuple[str, ...]) -> None:
    reranker = load_reranker(tiny_cross_encoder, device="cpu")
    pairs = [("예산안", text) for text in sentences]

    np.testing.assert_allclose(reranker.score_pairs(pairs), reranker.model.predict(pairs), atol=1e-5)


def test_decomposed_hangul_scores_the_same(tiny_cross_encoder: Path, sentences: tuple[str, ...]) -> None:
    import unicodedata

    reranker = load_reranker(tiny_cross_encoder, device="cpu")
    decomposed = unicodedata.normalize("NFD", "예산안"), unicodedata.normalize("NFD", sentences[1])

    assert reranker.score_pairs([decomposed]) == reranker.score_pairs([("예산안", sentences[1])])


def test_threads_share_a_reranker(tiny_cross_encoder: Path, sentences: tuple[str, ...]) -> None:
    reranker = load_reranker(tiny_cross_encoder, device="cpu")
    pairs = [("예산안", sentences[i % 4] * (i % 5 + 1)) for i in range(40)]
    expected = reranker.score_pairs(pairs)

    with ThreadPoolExecutor(8) as pool:
        scores = list(pool.map(lambda pair: reranker.score_pairs([pair])[0], pairs))

    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_a_reranker_is_loaded_once_for_any_settings(tiny_cross_encoder: Path) -> None:
    first = load_reranker(tiny_cross_encoder, top_n=3, device="cpu")
    second = load_reranker(tiny_cross_encoder, top_n=5, threshold=0.2, device="cpu")

    assert first.model is second.model
    assert (first.top_n, second.top_n, second.threshold, second.name) == (3, 5, 0.2, str(tiny_cross_encoder))


def test_a_bi_encoder_is_no_reranker(tiny_sentence_transformer: Path) -> None:
    with pytest.raises(ValueError, match="train it as a reranker first"):
        load_reranker(tiny_sentence_transformer)


# A linear reranker


def found(*scored: tuple[str, float]) -> list[Document]:
    """Return documents as a hybrid search does, with the score it gave them."""
    return [with_stage(Document(page_content=text), "fusion", rank, score) for rank, (text, score) in enumerate(scored)]


def test_a_linear_reranker_orders_by_text_and_first_stage(tiny_linear_reranker: Path) -> None:
    reranker = load_reranker(tiny_linear_reranker)
    assert isinstance(reranker, LinearCompressor)
    by_text = reranker.compress_documents(found(("비 예보", 0.5), ("국회 예산안", 0.5)), "국회 예산안은?")
    by_search = reranker.compress_documents(found(("비 예보", 0.9), ("국회 예산안", 0.1)), "국회 예산안은?")
    assert [document.page_content for document in by_text] == ["국회 예산안", "비 예보"]
    assert [document.page_content for document in by_search] == ["비 예보", "국회 예산안"]  # its first_stage is 2
    expected = 1 / (1 + np.exp(-(0.5 * (0 + 2 * 0.5) - 1)))
    assert by_text[1].metadata["relevance_score"] == by_text[1].metadata["score"] == pytest.approx(expected)


def test_a_linear_score_says_that_it_is_not_calibrated(tiny_linear_reranker: Path) -> None:
    [document] = load_reranker(tiny_linear_reranker).compress_documents(found(("국회", 0.5)), "국회?")
    score = document.metadata["score"]
    assert document.metadata["stages"]["rerank"] == {"rank": 1, "score": score, "calibrated": False}
    assert document.metadata["stages"]["fusion"]["score"] == 0.5


def test_without_first_stage_scores_for_all_a_linear_reranker_goes_by_the_text(tiny_linear_reranker: Path) -> None:
    reranker = load_reranker(tiny_linear_reranker)
    some = [*found(("비 예보", 0.9)), Document(page_content="국회 예산안"), Document(page_content="국회", metadata={})]
    result = reranker.compress_documents(some, "국회 예산안은?")
    assert [document.page_content for document in result] == ["국회 예산안", "국회", "비 예보"]
    pairs = [("국회 예산안은?", document.page_content) for document in result]
    np.testing.assert_array_equal(reranker.score_pairs(pairs), [document.metadata["score"] for document in result])


def test_a_linear_reranker_scores_pairs_of_several_questions(tiny_linear_reranker: Path) -> None:
    reranker = load_reranker(tiny_linear_reranker)
    pairs = [("국회?", "국회"), ("비?", "국회"), ("국회?", "비"), ("비?", "비")]
    scores = reranker.score_pairs(pairs)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp([0.5, 1, 1, 0.5])))
    assert reranker.score_pairs([]).shape == (0,)


def test_a_linear_reranker_reads_the_title_and_keeps_ties_and_limits(tiny_linear_reranker: Path) -> None:
    given = [Document(page_content="비"), Document(page_content="가"), Document("나", metadata={"title": "국회"})]
    before = [document.model_copy(deep=True) for document in given]
    reranker = load_reranker(tiny_linear_reranker, top_n=2)
    result = reranker.compress_documents(given, "국회는?")
    assert [document.page_content for document in result] == ["나", "비"]
    assert given == before
    assert load_reranker(tiny_linear_reranker, threshold=0.3).compress_documents(given, "국회는?") == result[:1]
    assert reranker.compress_documents([], "국회는?") == []


async def test_a_linear_reranker_serves_async_callers(tiny_linear_reranker: Path) -> None:
    reranker = load_reranker(tiny_linear_reranker)
    given = found(("비 예보", 0.5), ("국회 예산안", 0.5))
    expected = reranker.compress_documents(given, "국회 예산안은?")
    assert await reranker.acompress_documents(given, "국회 예산안은?") == expected


def test_a_linear_reranker_is_loaded_once_and_takes_no_device(tiny_linear_reranker: Path) -> None:
    first, second = load_reranker(tiny_linear_reranker, top_n=3), load_reranker(str(tiny_linear_reranker))
    assert first.model is second.model
    for option in ({"device": "cpu"}, {"batch_size": 8}):
        with pytest.raises(ValueError, match="linear reranker: it takes no batch size or device"):
            load_reranker(tiny_linear_reranker, **option)


# Without a reranker


def test_top_n_keeps_the_first_as_they_are() -> None:
    given = documents()

    result = TopN(top_n=2).compress_documents(given, "질문")

    assert result == given[:2]
    assert result[0] is given[0]
    assert TopN(top_n=2).compress_documents([], "질문") == []
