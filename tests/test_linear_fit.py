import numpy as np
import pytest
from numpy.typing import NDArray

from finetune.linear_fit import CandidateLists, cross_validate, fit_probability, fit_weights, pad_lists

SAME = np.ones(60)


@pytest.fixture
def lists() -> CandidateLists:
    """Sixty lists of three to five candidates: the first feature tells most answers, the second is noise."""
    chance = np.random.default_rng(1)
    features, relevant = [], []
    for number in range(60):
        own = chance.normal(size=(3 + number % 3, 2))
        answers = np.zeros(len(own), bool)
        answers[int(np.argmax(own[:, 0] + 0.5 * chance.normal(size=len(own))))] = True
        features.append(own)
        relevant.append(answers.tolist())
    return pad_lists(features, relevant, SAME)


def loss(lists: CandidateLists, weights: NDArray[np.float64], ridge: float) -> float:
    """The loss as its definition reads, one list at a time."""
    rows = np.concatenate([(own - own.mean(0)) for own, here in _unpadded(lists)])
    deviation = np.sqrt((rows**2).mean(0))
    total = ridge * float(((weights * deviation) ** 2).sum())
    for number, (own, _) in enumerate(_unpadded(lists)):
        odds = np.exp(own @ weights)
        right = lists.relevant[number][: len(own)]
        if right.any():
            total -= lists.weights[number] * float(np.log(odds[right].sum() / odds.sum()))
    return total


def _unpadded(lists: CandidateLists) -> list[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    return [(own[here], here) for own, here in zip(lists.features, lists.present, strict=True)]


def test_the_weights_have_the_least_loss(lists: CandidateLists) -> None:
    two_answers = lists.relevant.copy()
    two_answers[:10, 0] = True
    lists = lists._replace(relevant=two_answers, weights=np.linspace(0.5, 1.5, 60))
    weights = fit_weights(lists, ridge=2.0)
    least = loss(lists, weights, 2.0)
    for step in np.array([[1, 0], [-1, 0], [0, 1], [0, -1]]) * 0.01:
        assert loss(lists, weights + step, 2.0) > least


def test_the_feature_that_tells_answers_counts_most_and_less_the_stronger_the_pull(lists: CandidateLists) -> None:
    weights, pulled = fit_weights(lists, ridge=0.1), fit_weights(lists, ridge=100.0)
    assert weights[0] > 1.5
    assert abs(weights[1]) < weights[0] / 5
    assert 0 < pulled[0] < weights[0] / 2


def test_the_unit_of_a_feature_does_not_matter(lists: CandidateLists) -> None:
    weights = fit_weights(lists, ridge=5.0)
    per_cent = fit_weights(lists._replace(features=lists.features * [100, 1]), ridge=5.0)
    np.testing.assert_allclose(per_cent * [100, 1], weights, rtol=1e-4)


def test_a_feature_that_is_the_same_all_over_a_list_gets_no_weight(lists: CandidateLists) -> None:
    constant = np.broadcast_to(np.arange(60.0)[:, None, None], (*lists.present.shape, 1))
    weights = fit_weights(lists._replace(features=np.concatenate([lists.features, constant], axis=2)), ridge=1.0)
    np.testing.assert_allclose(weights, [*fit_weights(lists, ridge=1.0), 0], atol=1e-4)


def test_lists_without_an_answer_or_without_anything_else_leave_the_weights_as_they_are(lists: CandidateLists) -> None:
    nothing, all_right = np.full((1, 2), 7.0), np.full((1, 2), -7.0)
    longer = pad_lists(
        [*(own for own, _ in _unpadded(lists)), nothing, all_right],
        [*(right[here].tolist() for right, here in zip(lists.relevant, lists.present, strict=True)), [False], [True]],
        np.ones(62),
    )
    np.testing.assert_allclose(fit_weights(longer, ridge=1.0), fit_weights(lists, ridge=1.0))


def test_a_list_that_counts_twice_is_like_two(lists: CandidateLists) -> None:
    twice = np.r_[np.arange(60), 7]
    repeated = CandidateLists(lists.features[twice], lists.present[twice], lists.relevant[twice], np.ones(61))
    heavy = lists._replace(weights=np.where(np.arange(60) == 7, 2.0, 1.0))
    # Not to the last digit: the deviation within lists is that of all lists, whatever they count.
    np.testing.assert_allclose(fit_weights(heavy, ridge=0.0), fit_weights(repeated, ridge=0.0), rtol=1e-3)


def test_without_any_answer_there_is_nothing_to_fit(lists: CandidateLists) -> None:
    with pytest.raises(ValueError, match="None of 60 questions has both an answer and a wrong passage"):
        fit_weights(lists._replace(relevant=np.zeros_like(lists.relevant)), ridge=1.0)


def test_a_fold_is_scored_by_weights_that_never_saw_its_answers(lists: CandidateLists) -> None:
    folds = np.arange(60) % 3
    scores = cross_validate(lists, folds, ridge=1.0)
    lied = lists.relevant.copy()
    lied[folds == 0] = lists.present[folds == 0] & ~lied[folds == 0]
    others = cross_validate(lists._replace(relevant=lied), folds, ridge=1.0)
    np.testing.assert_array_equal(others[folds == 0], scores[folds == 0])
    assert not np.allclose(others[folds == 1], scores[folds == 1])
    own = lists.take(folds != 0)
    np.testing.assert_allclose(scores[folds == 0], lists.features[folds == 0] @ fit_weights(own, ridge=1.0))


def test_the_probability_is_as_high_as_answers_are_frequent() -> None:
    chance = np.random.default_rng(2)
    scores = chance.normal(size=(4000, 5))
    relevant = chance.random(size=scores.shape) < 1 / (1 + np.exp(-(2.0 * scores - 1.0)))
    lists = CandidateLists(np.zeros((4000, 5, 1)), np.ones(scores.shape, bool), relevant, np.ones(4000))
    scale, bias = fit_probability(scores, lists)
    assert scale == pytest.approx(2.0, abs=0.1)
    assert bias == pytest.approx(-1.0, abs=0.1)


def test_rows_behind_the_last_candidate_have_no_part_in_the_probability() -> None:
    relevant = np.array([[True, False], [False, True], [True, True]])
    scores, more = np.array([[2.0, 1.0], [0.0, 1.0], [3.0, -1.0]]), [(0, 0), (0, 3)]
    lists = CandidateLists(np.zeros((3, 2, 1)), np.ones((3, 2), bool), relevant, np.ones(3))
    padded = CandidateLists(np.zeros((3, 5, 1)), np.pad(lists.present, more), np.pad(relevant, more), np.ones(3))
    expected = fit_probability(scores, lists)
    assert fit_probability(np.pad(scores, more, constant_values=9), padded) == pytest.approx(expected)


def test_scores_that_tell_all_answers_still_give_a_finite_scale() -> None:
    scores = np.array([[1.0, 0.0]] * 20)
    lists = CandidateLists(np.zeros((20, 2, 1)), np.ones((20, 2), bool), scores > 0, np.ones(20))
    scale, bias = fit_probability(scores, lists)
    # Platt's target for 20 answers is 21 / 22, and 1 / 22 for the rest.
    assert 1 / (1 + np.exp(-(scale + bias))) == pytest.approx(21 / 22, abs=1e-4)
    assert 1 / (1 + np.exp(-bias)) == pytest.approx(1 / 22, abs=1e-4)
