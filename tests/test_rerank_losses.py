from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from finetune.pairs import Pair
from finetune.rerank_losses import build_dataset, build_loss, rows_per_batch
from rag_app.models import load_cross_encoder

PAIRS = [Pair("언제?", "가", "a", ("나", "다")), Pair("왜?", "나", "b"), Pair("누가?", "다", "c", ("가",))]


def test_cross_entropy_reads_one_passage_at_a_time() -> None:
    rows = build_dataset("bce", PAIRS)
    assert rows.column_names == ["query", "passage", "label"]
    assert [tuple(row.values()) for row in rows] == [
        ("언제?", "가", 1),
        ("언제?", "나", 0),
        ("언제?", "다", 0),
        ("왜?", "나", 1),
        ("누가?", "다", 1),
        ("누가?", "가", 0),
    ]


def test_lists_hold_all_passages_of_a_question_and_a_question_without_negatives_is_none() -> None:
    rows = build_dataset("lambda", PAIRS)
    assert [tuple(row.values()) for row in rows] == [
        ("언제?", ["가", "나", "다"], [1, 0, 0]),
        ("누가?", ["다", "가"], [1, 0]),
    ]


def test_right_passages_weigh_as_much_as_all_negatives(tiny_cross_encoder: Path) -> None:
    model = load_cross_encoder(tiny_cross_encoder, device="cpu")
    loss: Any = build_loss("bce", model, PAIRS[::2])
    assert loss.pos_weight.item() == 1.5


@pytest.mark.parametrize(("loss", "rows"), [("bce", 64), ("lambda", 8)])
def test_a_batch_holds_as_many_pairs_with_either_loss(loss: str, rows: int) -> None:
    assert rows_per_batch(Namespace(loss=loss, batch_size=64, negatives=7)) == rows
    assert rows_per_batch(Namespace(loss=loss, batch_size=1, negatives=7)) == 1
