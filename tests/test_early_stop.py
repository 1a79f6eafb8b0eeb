"""The bound on what candidates still to come can score: asked, kept in a folder, and learned."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from finetune.early_stop import add_early_stop, learn_early_stop
from finetune.reranking import Candidates
from rag_app.reranking.early_stop import EarlyStop, read_early_stop, to_logits, write_early_stop

Floats = NDArray[np.float64]


def test_the_first_place_is_settled_when_the_bound_lies_below_it() -> None:
    logits = np.array([3.0, -1.0, -2.0, -2.0])
    level = np.mean(logits + np.log([1, 2, 3, 4]))  # the bound at rank 5 is level + margin - log(5)
    just = 3.0 - level + np.log(5)

    assert EarlyStop(1.0, just - 0.01, 1).next_check(logits, 1) == 4
    assert EarlyStop(1.0, just + 0.01, 1).next_check(logits, 1) == 8  # not at every candidate
    assert EarlyStop(1.0, just + 1.0, 1).next_check(logits, 1) == 13  # the bound comes down to it at rank 5e


def test_more_places_need_more_candidates() -> None:
    bound = EarlyStop(1.0, 0.5, 5)

    assert bound.next_check(np.array([3.0, -1.0, -2.0, -2.0]), 5) == 5
    assert bound.next_check(np.array([3.0, -1.0, -2.0, -2.0]), 2) > 4


def test_a_bound_that_is_out_of_reach_asks_for_all() -> None:
    assert EarlyStop(0.01, 9.0, 1).next_check(np.array([3.0, -1.0, -2.0, -2.0]), 1) > 1000


def test_logits_of_extreme_scores_are_finite() -> None:
    np.testing.assert_allclose(to_logits(np.array([0.0, 0.5, 1 / (1 + np.exp(-2)), 1.0])), [-36, 0, 2, 36], atol=1e-9)


def test_a_bound_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_early_stop(tmp_path) is None
    write_early_stop(tmp_path, EarlyStop(1.5, 3.0, 2), questions=500)

    assert read_early_stop(tmp_path) == EarlyStop(1.5, 3.0, 2)
    assert json.loads((tmp_path / "early_stop.json").read_text("utf-8"))["provenance"] == {"questions": 500}


@pytest.mark.parametrize(
    "content", [{}, {"drop": 0, "margin": 1, "places": 1}, {"drop": 1, "margin": "x", "places": 1}]
)
def test_what_is_no_bound_is_refused(tmp_path: Path, content: dict[str, Any]) -> None:
    (tmp_path / "early_stop.json").write_text(json.dumps(content), "utf-8")

    with pytest.raises(ValueError, match="wanted: a drop above 0"):
        read_early_stop(tmp_path)


def questions(count: int, *, seed: int, surprises: float) -> list[Floats]:
    """Return logits that fall by twice the logarithm of the rank; in some questions the 20th of 30 is the best."""
    chance = np.random.default_rng(seed)
    lists = []
    for _ in range(count):
        logits = chance.normal() - 2 * np.log(np.arange(1, 31)) + chance.normal(scale=0.5, size=30)
        logits[0] += 4
        if chance.random() < surprises:
            logits[19] = logits.max() + 1
        lists.append(logits)
    return lists


def stops_wrongly(logits: Floats, bound: EarlyStop) -> bool:
    counts = range(4, len(logits))
    first = next((count for count in counts if bound.next_check(logits[:count], 1) == count), len(logits))
    return int(np.argmax(logits)) >= first


def test_a_learned_bound_hardly_ever_stops_too_early() -> None:
    bound = learn_early_stop(questions(1000, seed=1, surprises=0.001))

    assert bound is not None
    assert bound.drop == pytest.approx(2.5, abs=0.1)  # 2, and the first one above the rest
    unseen = questions(1000, seed=2, surprises=0.0)
    assert np.mean([stops_wrongly(logits, bound) for logits in unseen]) <= 0.002
    assert np.mean([bound.next_check(logits[:4], 1) == 4 for logits in unseen]) > 0.5


def test_surprises_beyond_what_is_tolerated_widen_the_margin() -> None:
    rare = learn_early_stop(questions(1000, seed=1, surprises=0.0))
    often = questions(1000, seed=1, surprises=0.05)
    wide = learn_early_stop(often, tolerance=0.0)

    assert rare is not None
    assert np.mean([stops_wrongly(logits, rare) for logits in often]) > 0.02
    assert wide is None or (wide.margin > rare.margin and not any(stops_wrongly(logits, wide) for logits in often))


def test_nothing_is_learned_from_few_questions_or_scores_that_follow_no_rank() -> None:
    chance = np.random.default_rng(1)

    assert learn_early_stop(questions(50, seed=1, surprises=0.0)) is None
    assert learn_early_stop([np.sort(chance.normal(size=30)) for _ in range(200)]) is None
    assert learn_early_stop([chance.normal(size=4) for _ in range(200)]) is None  # too few candidates to stop among


def test_a_reranker_s_folder_gets_the_bound_of_its_scores(tiny_linear_reranker: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "reranker"
    shutil.copytree(tiny_linear_reranker, folder)
    passages = ["국회는 내년 예산안을 의결했다.", *(f"{word} 예보" for word in "가나다라마바사아자차카타파하")]

    bound = add_early_stop(folder, [Candidates("국회 예산안 의결?", passages, passages[:1])] * 120)

    assert bound is not None
    assert read_early_stop(folder) == bound
