"""Whether the evidence tells the questions that the corpus answers from those that it does not."""

from collections.abc import Sequence

import numpy as np

from eval.results import Abstention
from eval.statistics import wilson


def abstention(answerable: Sequence[float], unanswerable: Sequence[float], threshold: float) -> Abstention:
    """Return what becomes of the questions if only evidence of at least the threshold is answered.

    Args:
        answerable: The evidence (see `rag_app.evidence.evidence_score`) of each question that the corpus answers. A
            refusal of one is false, whether or not the passage that answers it was found.
        unanswerable: The evidence of each question that it does not answer.
        threshold: Less evidence than this is refused.

    Raises:
        ValueError: There is no question of one kind.
    """
    if not answerable or not unanswerable:
        raise ValueError(
            f"Want questions with an answer and questions without, got {len(answerable)} and {len(unanswerable)}"
        )
    return Abstention(
        threshold=threshold,
        answerable=len(answerable),
        unanswerable=len(unanswerable),
        false_answers=wilson(sum(evidence >= threshold for evidence in unanswerable), len(unanswerable)),
        false_refusals=wilson(sum(evidence < threshold for evidence in answerable), len(answerable)),
        auc=area_under_curve(answerable, unanswerable),
    )


def area_under_curve(answerable: Sequence[float], unanswerable: Sequence[float]) -> float:
    """Return how often an answerable question has more evidence than an unanswerable one; equal evidence counts half.

    This is the area under the ROC curve, by its equality with the Mann-Whitney statistic (Hanley and McNeil, "The
    meaning and use of the area under a receiver operating characteristic curve", Radiology 1982).
    """
    ascending = np.sort(unanswerable)
    less = np.searchsorted(ascending, answerable, side="left")
    not_more = np.searchsorted(ascending, answerable, side="right")
    return float((less + not_more).mean() / (2 * len(ascending)))
