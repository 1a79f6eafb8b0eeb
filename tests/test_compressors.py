"""Reranking: order, scores in metadata, limits, async; with a cross-encoder and with a linear reranker."""

import asyncio
import shutil
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
from rag_app.data import sample_documents
from rag_app.documents import searchable_text
from rag_app.evidence import gather_evidence
from rag_app.models import load_cross_encoder
from rag_app.rendering.score_table import scores_html
from rag_app.reranking.cross_encoders import TorchCrossEncoder
from rag_app.reranking.early_stop import EarlyStop, write_early_stop
from rag_app.stages import with_stage


class CommonCharacters:
    """A cross-encoder whose logit is the number of the question's characters that the passage has, less two."""

    max_seq_length = None

    def __init__(self, delay: float = 0) -> None:
        self.delay = delay
        self.calls: list[list[tuple[str, str]]] = []

    def predict(self, pairs: list[tuple[str, str]], **_: Any) -> np.ndarray[Any, Any]:
        time.sleep(self.delay)
        self.calls.append(pairs)
        return np.array([len(set(query) & set(passage)) - 2 for query, passage in pairs], dtype=np.float32)


def without_spent(found: Sequence[Document]) -> list[tuple[str, dict[str, Any]]]:
    """Return texts and metadata without what the call took, which is never twice the same."""
    records = []
    for document in found:
        stages = {**document.metadata["stages"]}
        stages["rerank"] = {key: value for key, value in stages["rerank"].items() if key != "spent"}
        records.append((document.page_content, {**document.metadata, "stages": stages}))
    return records


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
    assert best.metadata["stages"]["rerank"].keys() == {"rank", "score", "spent"}
    assert best.metadata["stages"]["rerank"]["rank"] == 1
    assert worst.metadata["stages"] == {"rerank": {"rank": 4, "score": worst.metadata["score"]}}


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


@pytest.mark.parametrize(
    "settings",
    [
        *({"top_n": 0}, {"threshold": 1.5}, {"batch_size": 0}, {"topn": 3}),
        *({"budget_ms": 0}, {"max_pairs": 0}, {"settle": 0}, {"window_tokens": 8}),
    ],
)
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
    assert without_spent(task.result()) == without_spent(compressor.compress_documents(documents(), "가나다라"))


# Limits


def test_documents_left_unscored_stay_in_order_behind_the_others_and_say_so() -> None:
    compressor = CrossEncoderCompressor(model=CommonCharacters(), name="fake", max_pairs=2)
    given = found(("가나", 0.9), ("가나다라", 0.8), ("마바", 0.7), ("가나다", 0.6))
    given[2].metadata["relevance_score"] = 0.99  # of another reranker before

    result = compressor.compress_documents(given, "가나다라")

    assert [document.page_content for document in result] == ["가나다라", "가나", "마바", "가나다"]
    unread = result[2]
    assert unread.metadata["stages"] == {"fusion": {"rank": 2, "score": 0.7}, "rerank": {"rank": 3, "scored": False}}
    assert unread.metadata["score"] == 0.7
    assert "relevance_score" not in unread.metadata
    assert gather_evidence("가나다라", result).rerank == result[0].metadata["score"]
    assert "–" in scores_html(unread.metadata["stages"])


def test_a_threshold_drops_what_was_not_scored() -> None:
    compressor = CrossEncoderCompressor(model=CommonCharacters(), name="fake", max_pairs=2, threshold=0.1)

    assert len(compressor.compress_documents(documents(), "가나다라")) == 2


def test_the_first_document_tells_what_was_spent() -> None:
    compressor = CrossEncoderCompressor(model=CommonCharacters(), name="fake", max_pairs=3)

    first, second, *_ = compressor.compress_documents(documents(), "가나다라")

    spent = first.metadata["stages"]["rerank"]["spent"]
    assert {key: spent[key] for key in ("pairs", "cached", "stopped_by")} == {
        "pairs": 3,
        "cached": 0,
        "stopped_by": "pairs",
    }
    assert spent["ms"] > 0
    assert "spent" not in second.metadata["stages"]["rerank"]


def test_time_limits_what_is_scored() -> None:
    class Slow(CommonCharacters):
        def predict(self, pairs: list[tuple[str, str]], **options: Any) -> np.ndarray[Any, Any]:
            time.sleep(0.01 * len(pairs))
            return super().predict(pairs, **options)

    compressor = CrossEncoderCompressor(model=Slow(), name="fake", budget_ms=80, top_n=None)

    result = compressor.compress_documents(documents([f"가나 {number}" for number in range(40)]), "가나")

    spent = result[0].metadata["stages"]["rerank"]["spent"]
    assert spent["stopped_by"] == "budget"
    assert 4 <= spent["pairs"] <= 8
    assert len(result) == 40


def test_a_bound_stops_when_the_first_place_is_settled() -> None:
    model = CommonCharacters()
    bound = EarlyStop(drop=1.0, margin=1.0, places=1)
    compressor = CrossEncoderCompressor(model=model, name="fake", early_stop=bound, settle=1)
    given = documents(["가나다라마바사아", *("호" * number for number in range(1, 20))])

    result = compressor.compress_documents(given, "가나다라마바사아")

    assert result[0].page_content == "가나다라마바사아"
    assert result[0].metadata["stages"]["rerank"]["spent"]["stopped_by"] == "bound"
    assert sum(map(len, model.calls)) == 4
    assert len(result) == 10
    exact = CrossEncoderCompressor(model=model, name="fake", early_stop=bound)  # ten places: it does not pay
    assert exact.compress_documents(given, "가나다라마바사아")[0].metadata["stages"]["rerank"]["spent"]["pairs"] == 20


# Remembered scores


def test_the_same_question_is_scored_once_for_any_settings(tiny_cross_encoder: Path) -> None:
    first = load_reranker(tiny_cross_encoder, device="cpu", top_n=1)
    first.forget()
    given = documents(["국회 예산안", "비 예보", "국회 예보"])
    [best] = first.compress_documents(given[:2], "예산안?")

    again = load_reranker(tiny_cross_encoder, device="cpu", top_n=3).compress_documents(given, " 예산안? ")

    spent = again[0].metadata["stages"]["rerank"]["spent"]
    assert (spent["pairs"], spent["cached"]) == (1, 2)
    assert best.metadata["score"] in {document.metadata["score"] for document in again}
    assert first.cache.hits == 2
    first.forget()
    assert first.compress_documents(given, "예산안?")[0].metadata["stages"]["rerank"]["spent"]["cached"] == 0


def test_windows_are_remembered_for_the_same_title_and_text_only(tiny_cross_encoder: Path) -> None:
    reranker = load_reranker(tiny_cross_encoder, device="cpu", top_n=None)
    reranker.forget()
    text = f"{'프로야구 개막전이 잠실에서 열렸다. ' * 60}국회는 내년 예산안을 의결했다."
    apart, together = Document(page_content=text, metadata={"title": "서울"}), Document(page_content=f"서울\n{text}")

    for document in (apart, together):
        [result] = reranker.compress_documents([document], "예산안 의결")
        windows = result.metadata["stages"]["rerank"]["windows"]
        assert any("예산안을 의결했다." in document.page_content[start:end] for start, end in windows)
        assert all(document.page_content[start:end].endswith(".") for start, end in windows)


def test_compressors_of_one_model_share_a_copy_of_its_tokenizer(tiny_cross_encoder: Path) -> None:
    model = load_cross_encoder(tiny_cross_encoder, device="cpu")
    first, second = TorchCrossEncoder(model), TorchCrossEncoder(model)

    assert first._tokenizer is second._tokenizer
    assert first._tokenizer is not model.tokenizer


def test_a_linear_score_is_remembered_with_the_score_of_the_search(tiny_linear_reranker: Path) -> None:
    reranker = load_reranker(tiny_linear_reranker)
    reranker.forget()
    low, high = ([found(("국회", score))[0]] for score in (0.1, 0.9))

    scores = [reranker.compress_documents(given, "국회?")[0].metadata["score"] for given in (low, high, low)]

    assert scores[0] == scores[2] < scores[1]
    assert (reranker.cache.hits, reranker.cache.misses) == (1, 2)


def test_a_score_does_not_depend_on_what_is_scored_beside_it() -> None:
    """Else batches, limits and remembered scores would change the order; with the model that is shipped."""
    reranker = load_reranker(top_n=None)
    given = found(
        *((f"{text} 누리호는 {text}에서 발사됐다.", 0.1 * len(text)) for text in ("고흥", "나로", "서울시", ""))
    )

    def scores(parts: Sequence[Sequence[Document]]) -> dict[str, float]:
        reranker.forget()
        results = [reranker.compress_documents(part, "누리호는 어디에서 발사됐나?") for part in parts]
        return {document.page_content: document.metadata["score"] for result in results for document in result}

    together, apart = scores([given]), scores([[document] for document in given])
    assert together == pytest.approx(apart)


async def test_threads_share_remembered_scores(tiny_cross_encoder: Path) -> None:
    reranker = load_reranker(tiny_cross_encoder, device="cpu", top_n=None)
    given = documents(["국회 예산안", "비 예보", "국회 예보", "잠실"])
    questions = ["예산안", "예보", "국회", "잠실"] * 4
    expected = {question: without_spent(reranker.compress_documents(given, question)) for question in questions}
    reranker.forget()

    results = await asyncio.gather(*(reranker.acompress_documents(given, question) for question in questions))

    for question, result in zip(questions, results, strict=True):
        texts = [document.page_content for document in result]
        assert texts == [text for text, _ in expected[question]]


# Windows


def test_a_passage_longer_than_the_window_is_read_through_the_sentences_that_match(tiny_cross_encoder: Path) -> None:
    reranker = load_reranker(tiny_cross_encoder, device="cpu", top_n=None)
    filler = "프로야구 개막전이 잠실에서 열렸다. " * 30
    text = f"{filler}국회는 내년 예산안을 의결했다. {filler}"
    whole, long = documents(["국회는 내년 예산안을 의결했다.", text])
    assert not reranker.fits("예산안", text)

    result = {
        d.page_content: d.metadata["stages"]["rerank"] for d in reranker.compress_documents([whole, long], "예산안")
    }

    assert "windows" not in result[whole.page_content]
    windows = result[text]["windows"]
    parts = [text[start:end] for start, end in windows]
    assert any("예산안" in part for part in parts)
    assert reranker.fits("예산안", " ".join(parts))
    assert not reranker.fits("예산안", " ".join(parts) + filler[:40])  # there was no room for more
    [expected] = reranker.score_pairs([("예산안", " ".join(parts))])
    assert result[text]["score"] == pytest.approx(expected, abs=1e-6)


def test_a_smaller_window_can_be_asked_for_and_keeps_the_title(tiny_cross_encoder: Path) -> None:
    reranker = load_reranker(tiny_cross_encoder, device="cpu", window_tokens=60)
    text = (
        "프로야구 개막전이 잠실에서 열렸다. 국회는 내년 예산안을 의결했다. 기상청은 주말에 비가 온다고 예보했다. " * 2
    )
    document = Document(page_content=text, metadata={"title": "국회"})

    [result] = reranker.compress_documents([document], "예산안")

    windows = result.metadata["stages"]["rerank"]["windows"]
    read = " ".join(text[start:end] for start, end in windows)
    assert "예산안" in read
    assert len(read) < len(text) / 2
    [expected] = reranker.score_pairs([("예산안", f"국회\n{read}")])
    assert result.metadata["score"] == pytest.approx(expected, abs=1e-6)
    [whole] = load_reranker(tiny_cross_encoder, device="cpu").compress_documents([document], "예산안")
    assert "windows" not in whole.metadata["stages"]["rerank"]
    assert result.page_content == text


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


def test_limits_and_the_folder_s_bound_reach_the_compressor(tiny_linear_reranker: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_linear_reranker, tmp_path / "reranker")
    assert load_reranker(folder).early_stop is None
    write_early_stop(folder, EarlyStop(1.5, 3.0, 2))

    reranker = load_reranker(folder, budget_ms=50, max_pairs=20, settle=1)

    assert reranker.early_stop == EarlyStop(1.5, 3.0, 2)
    assert (reranker.budget_ms, reranker.max_pairs, reranker.settle) == (50, 20, 1)


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
    [(_, metadata)] = without_spent([document])
    assert metadata["stages"]["rerank"] == {"rank": 1, "score": score, "calibrated": False}
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
    kept = load_reranker(tiny_linear_reranker, threshold=0.3).compress_documents(given, "국회는?")
    assert without_spent(kept) == without_spent(result[:1])
    assert reranker.compress_documents([], "국회는?") == []


async def test_a_linear_reranker_serves_async_callers(tiny_linear_reranker: Path) -> None:
    reranker = load_reranker(tiny_linear_reranker)
    given = found(("비 예보", 0.5), ("국회 예산안", 0.5))
    expected = reranker.compress_documents(given, "국회 예산안은?")
    assert without_spent(await reranker.acompress_documents(given, "국회 예산안은?")) == without_spent(expected)


def test_a_linear_reranker_is_loaded_once_and_takes_no_device(tiny_linear_reranker: Path) -> None:
    first, second = load_reranker(tiny_linear_reranker, top_n=3), load_reranker(str(tiny_linear_reranker))
    assert first.model is second.model
    for option in ({"device": "cpu"}, {"batch_size": 8}, {"window_tokens": 128}):
        with pytest.raises(ValueError, match="linear reranker: it takes no batch size, device, window"):
            load_reranker(tiny_linear_reranker, **option)


# Without a reranker


def test_top_n_keeps_the_first_as_they_are() -> None:
    given = documents()

    result = TopN(top_n=2).compress_documents(given, "질문")

    assert result == given[:2]
    assert result[0] is given[0]
    assert TopN(top_n=2).compress_documents([], "질문") == []


@pytest.mark.fault(
    13,
    "The embedded reranker's score of a passage depended in its last digits on what else was scored with it, and so on "
    "what had been asked before.",
)
def test_a_passage_has_the_same_score_whatever_is_scored_beside_it() -> None:
    texts = [document.page_content for document in sample_documents()][:40]
    reranker = load_reranker()
    pairs = [("누리호 발사는 언제 어디에서 했나요?", text) for text in texts]
    together = reranker.score_pairs(pairs).tolist()
    reranker.forget()
    assert [reranker.score_pairs([pair])[0] for pair in pairs] == together
    assert reranker.score_pairs(pairs[7:]).tolist() == together[7:]
    assert reranker.score_pairs(pairs[::-1]).tolist() == together[::-1]
