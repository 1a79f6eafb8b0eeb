import builtins
import random
from typing import Any

import pytest

from eval.metrics import mean_scores, measures, question_scores

FOUND_FIRST = {"a": 3.0, "b": 2.0}
FOUND_SECOND = {"b": 3.0, "a": 2.0}


def test_scores_of_one_question_by_hand() -> None:
    scores = question_scores({"q": {"a"}}, {"q": FOUND_SECOND})
    assert scores["hit_rate@1"] == {"q": 0}
    assert scores["hit_rate@10"] == {"q": 1}
    assert scores["mrr@10"] == {"q": pytest.approx(1 / 2)}
    assert scores["ndcg@10"] == {"q": pytest.approx(0.63093, abs=1e-5)}  # 1 / log2(3)


def test_a_question_that_found_nothing_scores_zero_and_counts() -> None:
    qrels = {"found": {"a"}, "empty": {"a"}, "missing": {"a"}, "wrong": {"a"}}
    run: dict[str, dict[str, float]] = {"found": FOUND_FIRST, "empty": {}, "wrong": {"b": 1.0}}
    assert set(mean_scores(qrels, run).values()) == {1 / 4}
    assert question_scores(qrels, run)["mrr@10"] == {"found": 1, "empty": 0, "missing": 0, "wrong": 0}


def test_a_run_that_found_nothing_at_all_scores_zero() -> None:
    assert set(mean_scores({"q1": {"a"}, "q2": {"b"}}, {}).values()) == {0}


def test_questions_only_the_run_has_do_not_count() -> None:
    assert set(mean_scores({"q": {"a"}}, {"q": FOUND_FIRST, "other": {"b": 1.0}}).values()) == {1}


@pytest.mark.parametrize(("relevant", "rank"), [("a", 1), ("b", 2), ("c", 3)])
def test_equal_scores_rank_by_doc_id_in_every_metric(relevant: str, rank: int) -> None:
    scores = mean_scores({"q": {relevant}}, {"q": {"b": 0.5, "c": 0.5, "a": 0.5}})
    assert scores["hit_rate@1"] == (rank == 1)
    assert scores["mrr@10"] == pytest.approx(1 / rank)
    assert scores["ndcg@10"] == pytest.approx({1: 1, 2: 0.63093, 3: 0.5}[rank], abs=1e-5)


def test_hit_rate_is_success_and_not_recall() -> None:
    scores = mean_scores({"q": {"a", "z"}}, {"q": FOUND_FIRST})
    assert scores["hit_rate@1"] == 1
    assert scores["hit_rate@10"] == 1
    assert scores["ndcg@10"] == pytest.approx(0.61315, abs=1e-5)  # 1 / (1 + 1 / log2(3))


def test_what_comes_after_rank_k_does_not_count() -> None:
    run = {"q": {f"{rank:02}": -float(rank) for rank in range(1, 13)}}
    assert mean_scores({"q": {"10"}}, run)["mrr@10"] == pytest.approx(1 / 10)
    assert set(mean_scores({"q": {"11"}}, run).values()) == {0}
    assert mean_scores({"q": {"03"}}, run, k=3) == {
        "hit_rate@1": 0,
        "hit_rate@3": 1,
        "mrr@3": pytest.approx(1 / 3),
        "ndcg@3": pytest.approx(0.5),
    }


def test_cutting_off_at_1_leaves_three_metrics_that_agree() -> None:
    scores = mean_scores({"q1": {"a"}, "q2": {"a"}}, {"q1": FOUND_FIRST, "q2": FOUND_SECOND}, k=1)
    assert scores == {"hit_rate@1": 0.5, "mrr@1": 0.5, "ndcg@1": 0.5}


def test_agrees_with_ir_measures_where_nothing_ties() -> None:
    import ir_measures

    qrels = {f"q{n}": {f"d{n % 25}", f"d{(n + 1) % 25}"} for n in range(100)}
    shuffled = random.Random(1)
    run = {f"q{n}": {f"d{m}": shuffled.random() for m in range(25)} for n in range(0, 100, 2)}
    judged = {query_id: dict.fromkeys(doc_ids, 1) for query_id, doc_ids in qrels.items()}
    expected = ir_measures.calc_aggregate(list(measures().values()), judged, run)
    for name, measure in measures().items():
        assert 0 < mean_scores(qrels, run)[name] < 1
        assert mean_scores(qrels, run)[name] == pytest.approx(expected[measure])


def test_without_ir_measures_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def no_ir_measures(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "ir_measures":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_ir_measures)
    with pytest.raises(ImportError, match=r"pip install 'korean-rag\[eval\]'"):
        measures()
