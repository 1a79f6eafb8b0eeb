"""Retrieval metrics, computed by ir_measures: per question, and their means."""

from collections.abc import Collection, Mapping
from typing import Any

from rag_app.fusion import ranks

Qrels = Mapping[str, Collection[str]]
"""By question id, the doc_ids that answer it, all equally relevant."""

Run = Mapping[str, Mapping[str, float]]
"""By question id, the score of each document found; higher is better. Questions that found nothing may be absent."""


def measures(k: int = 10) -> dict[str, Any]:
    """Return the ir_measures measure behind each metric's name.

    Hit rate@k is Success@k in TREC terms, not Recall@k: a question with two relevant documents and one of them among
    the first k counts 1 there, and 0.5 in recall. MRR@k is 0 for a question whose first relevant document is beyond k.
    MAP@k divides the sum of the precisions by all relevant documents, as trec_eval does, not by k at most: a question
    with more than k of them cannot reach 1, and neither can its recall. Where every question has one relevant document,
    recall@k is hit_rate@k and map@k is mrr@k.

    Raises:
        ImportError: ir_measures is not installed.
    """
    try:
        from ir_measures import AP, RR, R, Success, nDCG
    except ImportError as error:
        raise ImportError("The benchmark needs ir_measures: pip install 'korean-rag[eval]'") from error
    return {
        "hit_rate@1": Success @ 1,
        f"hit_rate@{k}": Success @ k,
        f"recall@{k}": R @ k,
        f"mrr@{k}": RR @ k,
        f"ndcg@{k}": nDCG @ k,
        f"map@{k}": AP @ k,
    }


def question_scores(qrels: Qrels, run: Run, k: int = 10) -> dict[str, dict[str, float]]:
    """Return, by metric, every question's score in the order of ``qrels``.

    A question that found nothing scores 0 and counts. Questions that only the run has do not.

    Args:
        qrels: What is relevant; at least one document for each question. One that the corpus lacks, and that cannot
            be found, counts in recall, MAP and the ideal order of nDCG all the same.
        run: What was found; equal scores rank by doc_id.
        k: Where the metrics cut off.
    """
    from ir_measures import iter_calc

    wanted = measures(k)
    names = {measure: name for name, measure in wanted.items()}
    relevant = {query_id: dict.fromkeys(doc_ids, 1) for query_id, doc_ids in qrels.items()}
    ranked = {query_id: _without_ties(run[query_id]) for query_id in relevant if query_id in run}
    scores: dict[str, dict[str, float]] = {name: dict.fromkeys(relevant, 0.0) for name in wanted}
    for metric in iter_calc(list(names), relevant, ranked):
        scores[names[metric.measure]][metric.query_id] = metric.value
    return scores


def _without_ties(scores: Mapping[str, float]) -> dict[str, float]:
    """Return scores that only keep the order, because ir_measures' providers break ties in different ways."""
    return {doc_id: -float(rank) for doc_id, rank in ranks(scores).items()}
