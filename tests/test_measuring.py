import sys
from typing import Any

import numpy as np
import pytest
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from eval.asking import PASSAGES
from eval.measuring import compare_systems, measure_flat, measure_system, times
from eval.memory import forget_peak, peak_memory
from eval.metrics import question_scores
from eval.protocols import Benchmark
from eval.results import Answer, Scores
from eval.systems import System
from rag_app.data.questions import Question
from rag_app.stages import with_stage


class Letters(BaseRetriever):
    """Finds the documents that a question names letter by letter."""

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int = PASSAGES
    ) -> list[Document]:
        found = [Document("글", metadata={"doc_id": letter}) for letter in query if letter.isascii()]
        return [with_stage(document, "dense", rank, -rank) for rank, document in enumerate(found[:k], 1)]


def question(id_: str, text: str, *relevant: str) -> Question:
    return Question(id_, text, frozenset(relevant), (), not relevant, {})


def no_journal(*names: str) -> None:
    return None


CORPUS = [Document("글", metadata={"doc_id": letter}) for letter in "abc"]
BENCHMARK = Benchmark(CORPUS, [question("1", "ab", "a"), question("2", "ab", "b"), question("3", "", "c")], [])
SYSTEM = System(Letters(), passages=3, index_bytes=100, compressor=None)


def test_a_system_is_scored_on_every_question() -> None:
    result = measure_system("letters", SYSTEM, BENCHMARK, k=10, protocol="clean", journals=no_journal)
    assert result.scores["mrr@10"] == {"1": 1.0, "2": 0.5, "3": 0.0}
    assert result.intervals["hit_rate@1"].mean == pytest.approx(1 / 3)
    assert result.throughput is not None
    assert result.throughput.questions == 3
    assert result.abstention is None
    assert (result.passages, result.index_bytes) == (3, 100)
    assert result.times is not None
    assert result.times.stages == {}


def test_unanswerable_questions_are_asked_apart() -> None:
    benchmark = BENCHMARK._replace(unanswerable=[question("4", "a"), question("5", "")])
    result = measure_system("letters", SYSTEM, benchmark, k=10, protocol="clean", journals=no_journal)
    assert result.answers.keys() == {"1", "2", "3"}
    assert result.abstention is not None
    assert (result.abstention.answerable, result.abstention.unanswerable) == (3, 2)


def test_all_at_once_no_question_has_a_time_of_its_own() -> None:
    result = measure_flat("letters", SYSTEM, BENCHMARK, k=10, one_at_a_time=False, journal=None)
    assert result.times is None
    assert result.throughput is not None
    alone = measure_flat("letters", SYSTEM, BENCHMARK, k=10, one_at_a_time=True, journal=None)
    assert alone.times is not None
    assert alone.throughput is None
    assert alone.scores == result.scores


def test_times_are_percentiles_and_stages_add_up() -> None:
    seconds = np.arange(1, 101) / 100
    found = times(
        [Answer({}, float(value), {"encode": 0.1, **({"rerank": 0.2} if value > 0.5 else {})}) for value in seconds]
    )
    assert (found.p50, found.p95, found.p99) == pytest.approx((0.505, 0.9505, 0.9901))
    assert found.stages == pytest.approx({"encode": 0.1, "rerank": 0.1, "other": found.mean - 0.2})


def test_measures_that_agree_on_every_question_share_their_comparisons() -> None:
    result = measure_system("letters", SYSTEM, BENCHMARK, k=10, protocol="clean", journals=no_journal)
    zero: dict[str, Scores] = {measure: dict.fromkeys(scores, 0.0) for measure, scores in result.scores.items()}
    pairs = compare_systems({"letters": result, "nothing": result._replace(scores=zero)})
    assert pairs["mrr@10"] is pairs["map@10"]  # one right document for each question
    assert pairs["mrr@10"] is not pairs["ndcg@10"]
    assert pairs["hit_rate@1"][0].comparison.before == pytest.approx(1 / 3)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process forget its peak")
def test_the_peak_of_memory_can_be_forgotten() -> None:
    block = np.ones(30_000_000)
    high = peak_memory()
    assert high > block.nbytes
    del block
    assert forget_peak()
    assert peak_memory() < high - 100_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process forget its peak")
def test_the_memory_of_scoring_is_not_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(*args: Any) -> dict[str, dict[str, float]]:
        np.ones(60_000_000)
        return question_scores(*args)

    assert forget_peak()
    before = peak_memory()
    monkeypatch.setattr("eval.measuring.question_scores", greedy)
    result = measure_flat("letters", SYSTEM, BENCHMARK, k=10, one_at_a_time=False, journal=None)
    assert result.memory_bytes is not None
    assert result.memory_bytes < before + 200_000_000 < peak_memory()
