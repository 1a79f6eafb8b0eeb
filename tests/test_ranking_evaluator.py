from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from finetune.pairs import Pair
from finetune.ranking_evaluator import RankingEvaluator
from finetune.reranking import Candidates, cut_share
from rag_app.models import load_cross_encoder


class Lengths:
    """A model that scores a passage by its length; all long ones would be 1 as a sigmoid in float32."""

    def predict(self, pairs: list[tuple[str, str]], **settings: Any) -> NDArray[np.float64]:
        return np.array([10.0 * len(passage) for _, passage in pairs])


def test_the_first_right_passage_counts_and_one_that_was_not_found_counts_nothing() -> None:
    found = [
        Candidates("첫째", ["가", "가나", "가나다"], ["가나"]),
        Candidates("둘째", ["가", "가나"], []),
        Candidates("셋째", ["가", "나", "다라"], ["가", "나"]),
    ]
    assert RankingEvaluator(found)(Lengths()) == {"mrr@10": pytest.approx((1 / 2 + 0 + 1 / 2) / 3)}


def test_equal_scores_keep_the_order_of_the_search() -> None:
    assert RankingEvaluator([Candidates("질문", ["가", "나", "다"], ["다"])])(Lengths()) == {"mrr@10": 1 / 3}


def test_what_a_model_does_not_read_to_the_end_with_its_question_is_counted(tiny_cross_encoder: Path) -> None:
    model = load_cross_encoder(tiny_cross_encoder, device="cpu", max_length=8)
    # [CLS] and two [SEP] leave five tokens, and the miniature has one for each letter
    pairs = [Pair("국회", "예산안", "a"), Pair("국회는", "예산안", "b"), Pair("국회는", "예산안을", "c")]
    assert cut_share(model, pairs) == pytest.approx(2 / 3)
    assert cut_share(load_cross_encoder(tiny_cross_encoder, device="cpu"), pairs) == 0
