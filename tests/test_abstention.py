import pytest

from eval.abstention import abstention, area_under_curve
from eval.statistics import wilson

ANSWERABLE = [0.9, 0.6, 0.5, 0.2]
UNANSWERABLE = [0.5, 0.4, 0.1]


def test_evidence_at_the_threshold_is_answered_and_below_it_refused() -> None:
    found = abstention(ANSWERABLE, UNANSWERABLE, 0.5)
    assert (found.threshold, found.answerable, found.unanswerable) == (0.5, 4, 3)
    assert found.false_answers == wilson(1, 3)  # 0.5 is answered
    assert found.false_refusals == wilson(1, 4)  # 0.2 is refused, 0.5 is not
    assert found.false_answers.mean == pytest.approx(1 / 3)
    assert found.false_answers.low < 1 / 3 < found.false_answers.high


def test_auc_counts_the_pairs_in_the_right_order_and_ties_as_half() -> None:
    # 0.9 and 0.6 beat all three; 0.5 beats two and ties with one; 0.2 beats one.
    assert area_under_curve(ANSWERABLE, UNANSWERABLE) == pytest.approx((3 + 3 + 2.5 + 1) / 12)
    assert area_under_curve([0.3, 0.3], [0.3]) == 0.5
    assert area_under_curve([0.8], [0.1, 0.2]) == 1.0
    assert area_under_curve([0.1], [0.8, 0.9]) == 0.0


@pytest.mark.parametrize(("answerable", "unanswerable"), [([], [0.1]), ([0.1], [])])
def test_both_kinds_of_questions_are_wanted(answerable: list[float], unanswerable: list[float]) -> None:
    with pytest.raises(ValueError, match=f"got {len(answerable)} and {len(unanswerable)}"):
        abstention(answerable, unanswerable, 0.4)
