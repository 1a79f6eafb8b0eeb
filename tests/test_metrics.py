import builtins
import random
from math import log2
from statistics import fmean
from typing import Any

import ir_measures
import pytest
from ir_measures import AP, RR, R, Success, nDCG

from eval.metrics import Qrels, Run, measures, question_scores

FOUND_FIRST = {"a": 3.0, "b": 2.0}
FOUND_SECOND = {"b": 3.0, "a": 2.0}


def means(qrels: Qrels, run: Run, k: int = 10) -> dict[str, float]:
    return {name: fmean(scores.values()) for name, scores in question_scores(qrels, run, k).items()}


def test_scores_of_one_question_by_hand() -> None:
    scores = question_scores({"q": {"a"}}, {"q": FOUND_SECOND})
    assert scores["hit_rate@1"] == {"q": 0}
    assert scores["hit_rate@10"] == {"q": 1}
    assert scores["mrr@10"] == {"q": pytest.approx(1 / 2)}
    assert scores["recall@10"] == {"q": 1}
    assert scores["ndcg@10"] == {"q": pytest.approx(0.63093, abs=1e-5)}  # 1 / log2(3)
    assert scores["map@10"] == {"q": pytest.approx(1 / 2)}


def test_the_measures_stand_in_one_order() -> None:
    names = ["hit_rate@1", "hit_rate@5", "recall@5", "mrr@5", "ndcg@5", "map@5"]
    assert list(measures(5)) == list(question_scores({"q": {"a"}}, {}, k=5)) == names


def test_several_relevant_documents_by_hand() -> None:
    run = {"q": {"x": 5.0, "a": 4.0, "y": 3.0, "b": 2.0, "z": 1.0}}
    scores = means({"q": {"a", "b", "c"}}, run)  # found at ranks 2 and 4, the third is not found
    assert scores["hit_rate@1"] == 0
    assert scores["hit_rate@10"] == 1
    assert scores["recall@10"] == pytest.approx(2 / 3)
    assert scores["mrr@10"] == pytest.approx(1 / 2)
    assert scores["map@10"] == pytest.approx((1 / 2 + 2 / 4) / 3)
    ideal = 1 + 1 / log2(3) + 1 / log2(4)
    assert scores["ndcg@10"] == pytest.approx((1 / log2(3) + 1 / log2(5)) / ideal)


def test_more_relevant_documents_than_k_keep_recall_and_map_below_one() -> None:
    relevant = {"a", "b", "c"}
    scores = means({"q": relevant}, {"q": dict.fromkeys(relevant, 1.0)}, k=2)
    assert scores["recall@2"] == pytest.approx(2 / 3)
    assert scores["map@2"] == pytest.approx(2 / 3)
    assert scores["ndcg@2"] == 1  # its ideal order stops at k


def test_a_relevant_document_that_no_corpus_has_counts_as_not_found() -> None:
    found = means({"q": {"a"}}, {"q": FOUND_FIRST})
    with_missing = means({"q": {"a", "in no corpus"}}, {"q": FOUND_FIRST})
    assert found["recall@10"] == found["map@10"] == found["ndcg@10"] == 1
    assert with_missing["recall@10"] == with_missing["map@10"] == 1 / 2
    assert with_missing["ndcg@10"] == pytest.approx(1 / (1 + 1 / log2(3)))
    assert with_missing["mrr@10"] == with_missing["hit_rate@1"] == 1


def test_of_one_relevant_document_recall_is_hit_rate_and_map_is_mrr() -> None:
    shuffled = random.Random(2)
    run = {f"q{n}": {f"d{m:02}": shuffled.random() for m in range(20)} for n in range(50)}
    scores = means({f"q{n}": {"d07"} for n in range(50)}, run)
    assert 0 < scores["recall@10"] == scores["hit_rate@10"] < 1
    assert 0 < scores["map@10"] == pytest.approx(scores["mrr@10"])


def test_a_question_that_found_nothing_scores_zero_and_counts() -> None:
    qrels = {"found": {"a"}, "empty": {"a"}, "missing": {"a"}, "wrong": {"a"}}
    run: dict[str, dict[str, float]] = {"found": FOUND_FIRST, "empty": {}, "wrong": {"b": 1.0}}
    assert set(means(qrels, run).values()) == {1 / 4}
    assert question_scores(qrels, run)["mrr@10"] == {"found": 1, "empty": 0, "missing": 0, "wrong": 0}


def test_a_run_that_found_nothing_at_all_scores_zero() -> None:
    assert set(means({"q1": {"a"}, "q2": {"b"}}, {}).values()) == {0}


def test_questions_only_the_run_has_do_not_count() -> None:
    assert set(means({"q": {"a"}}, {"q": FOUND_FIRST, "other": {"b": 1.0}}).values()) == {1}


@pytest.mark.parametrize(("relevant", "rank"), [("a", 1), ("b", 2), ("c", 3)])
def test_equal_scores_rank_by_doc_id_in_every_metric(relevant: str, rank: int) -> None:
    scores = means({"q": {relevant}}, {"q": {"b": 0.5, "c": 0.5, "a": 0.5}})
    assert scores["hit_rate@1"] == (rank == 1)
    assert scores["mrr@10"] == scores["map@10"] == pytest.approx(1 / rank)
    assert scores["ndcg@10"] == pytest.approx({1: 1, 2: 0.63093, 3: 0.5}[rank], abs=1e-5)


def test_hit_rate_is_success_and_not_recall() -> None:
    scores = means({"q": {"a", "z"}}, {"q": FOUND_FIRST})
    assert scores["hit_rate@1"] == 1
    assert scores["hit_rate@10"] == 1
    assert scores["ndcg@10"] == pytest.approx(0.61315, abs=1e-5)  # 1 / (1 + 1 / log2(3))


def test_what_comes_after_rank_k_does_not_count() -> None:
    run = {"q": {f"{rank:02}": -float(rank) for rank in range(1, 13)}}
    assert means({"q": {"10"}}, run)["mrr@10"] == pytest.approx(1 / 10)
    assert set(means({"q": {"11"}}, run).values()) == {0}
    assert means({"q": {"03"}}, run, k=3) == {
        "hit_rate@1": 0,
        "hit_rate@3": 1,
        "recall@3": 1,
        "mrr@3": pytest.approx(1 / 3),
        "ndcg@3": pytest.approx(0.5),
        "map@3": pytest.approx(1 / 3),
    }


def test_cutting_off_at_1_leaves_metrics_that_agree() -> None:
    scores = means({"q1": {"a"}, "q2": {"a"}}, {"q1": FOUND_FIRST, "q2": FOUND_SECOND}, k=1)
    assert scores == dict.fromkeys(["hit_rate@1", "recall@1", "mrr@1", "ndcg@1", "map@1"], 0.5)


@pytest.mark.parametrize("k", [1, 5, 10])
@pytest.mark.parametrize("relevant", [1, 2, 12])
def test_every_question_agrees_with_ir_measures_where_nothing_ties(relevant: int, k: int) -> None:
    shuffled = random.Random(1)
    qrels = {f"q{n}": {f"d{(n + m) % 25}" for m in range(relevant)} for n in range(100)}
    run = {f"q{n}": {f"d{m}": shuffled.random() for m in range(25)} for n in range(0, 100, 2)}
    judged = {query_id: dict.fromkeys(doc_ids, 1) for query_id, doc_ids in qrels.items()}
    expected = {
        name: dict.fromkeys(qrels, 0.0)
        | {value.query_id: value.value for value in ir_measures.iter_calc([measure], judged, run)}
        for name, measure in {
            "hit_rate@1": Success @ 1,
            f"hit_rate@{k}": Success @ k,
            f"recall@{k}": R @ k,
            f"mrr@{k}": RR @ k,
            f"ndcg@{k}": nDCG @ k,
            f"map@{k}": AP @ k,
        }.items()
    }
    scores = question_scores(qrels, run, k)
    assert scores.keys() == expected.keys()
    for name, own in scores.items():
        assert own == pytest.approx(expected[name])
        assert 0 < sum(own.values()) < 100


def test_without_ir_measures_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def no_ir_measures(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "ir_measures":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_ir_measures)
    with pytest.raises(ImportError, match=r"pip install 'korean-rag\[eval\]'"):
        measures()
