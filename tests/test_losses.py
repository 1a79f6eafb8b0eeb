"""The columns and losses of search training."""

import math
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from finetune.embedding import load_trainable
from finetune.losses import build_dataset, build_loss, check_loss
from finetune.pairs import Pair

PAIRS = [
    Pair("q1", "p1", "a", ("n1", "n2")),
    Pair("q2", "p2", "b", ("n3",)),
    Pair("q3", "p3", "c"),
]
DEVICE = Namespace(device="cpu", max_length=None)


def settings(**given: Any) -> Namespace:
    usual = {"loss": "mnrl", "scale": 20.0, "mini_batch_size": 2, "seed": 1, "recipe": "default", "negatives": 0}
    return Namespace(**{**usual, "matryoshka": None, "teacher": None, "widen": 0, "model": "a model", **given})


class Teacher:
    """A reranker whose logit for a passage is the number at its end."""

    def score_pairs(self, pairs: Sequence[tuple[str, str]], *, progress: bool) -> Any:
        return np.array([1 / (1 + math.exp(-int(text[-1]))) for _, text in pairs])


# Columns


def test_without_negatives_there_are_questions_and_passages() -> None:
    data = build_dataset(settings(), [pair._replace(negatives=()) for pair in PAIRS])
    assert data.to_dict() == {"query": ["q1", "q2", "q3"], "passage": ["p1", "p2", "p3"]}


def test_every_row_gets_as_many_negatives() -> None:
    columns = build_dataset(settings(), PAIRS).to_dict()
    assert list(columns) == ["query", "passage", "negative_1", "negative_2"]
    rows = list(zip(columns["negative_1"], columns["negative_2"], strict=True))
    assert rows[:2] == [("n1", "n2"), ("n3", "n3")]
    assert rows[2] in [("n1", "n2"), ("n3", "n3")], "those of a random other row"
    assert build_dataset(settings(), PAIRS).to_dict() == columns
    drawn = {build_dataset(settings(seed=seed), PAIRS).to_dict()["negative_1"][2] for seed in range(20)}
    assert drawn == {"n1", "n3"}


def test_a_row_never_gets_its_own_passage_for_wrong() -> None:
    pairs = [Pair("q1", "p1", "a", ("p2",)), Pair("q2", "p2", "b")]
    assert build_dataset(settings(), pairs).to_dict()["negative_1"] == ["p2", "p1"]


def test_a_teacher_gives_the_margins() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rag_app.compressors.load_reranker", lambda name: Teacher())
        data = build_dataset(settings(loss="margin-mse", teacher="a/b", negatives=2), PAIRS[:2])
    assert np.array(data.to_dict()["label"]) == pytest.approx(np.array([[0.0, -1.0], [-1.0, -1.0]]), abs=1e-6)
    with pytest.raises(ValueError, match=r"No hard negative was found, and --loss margin-mse needs them\. Lower"):
        build_dataset(settings(loss="margin-mse", teacher="a/b", negatives=2), PAIRS[2:])


def test_a_teacher_that_is_certain_has_finite_margins() -> None:
    class Certain:
        def score_pairs(self, pairs: Sequence[tuple[str, str]], *, progress: bool) -> Any:
            return np.array([float(text.startswith("p")) for _, text in pairs], dtype=np.float32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rag_app.compressors.load_reranker", lambda name: Certain())
        data = build_dataset(settings(loss="margin-mse", teacher="a/b", negatives=1), PAIRS[:2])
    margins = np.array(data.to_dict()["label"])
    assert np.isfinite(margins).all()
    assert (margins > 10).all()


# Losses


def test_mnrl_and_its_cached_form_are_the_same_loss_with_the_scale_that_was_set(tiny_transformer: Path) -> None:
    model = load_trainable(tiny_transformer, DEVICE).eval()
    texts = [["국회는 예산안을", "주말에 비가", "개막전이"], ["예산안을 의결했다", "비가 온다고", "프로야구 개막전이"]]
    features = [model.preprocess(column) for column in texts]
    with torch.no_grad():
        queries, passages = (
            torch.nn.functional.normalize(model(dict(part))["sentence_embedding"]) for part in features
        )
    expected = cross_entropy(7 * queries @ passages.T, torch.arange(3)).item()
    for name in ("mnrl", "cached-mnrl"):
        loss = build_loss(settings(loss=name, scale=7.0), model)
        assert loss([dict(part) for part in features], torch.zeros(3)).item() == pytest.approx(expected, rel=1e-4)


def test_margin_mse_compares_scaled_cosines_with_the_margins(tiny_transformer: Path) -> None:
    model = load_trainable(tiny_transformer, DEVICE).eval()
    texts = [["국회는"], ["국회는 예산안을"], ["주말에 비가"]]
    features = [model.preprocess(column) for column in texts]
    with torch.no_grad():
        query, right, wrong = (
            torch.nn.functional.normalize(model(dict(part))["sentence_embedding"]) for part in features
        )
    margin = 20 * ((query * right).sum() - (query * wrong).sum()).item()
    loss = build_loss(settings(loss="margin-mse"), model)
    assert loss([dict(part) for part in features], torch.tensor([[margin + 3]])).item() == pytest.approx(9, rel=1e-3)


def test_the_whole_vector_is_trained_with_its_first_dimensions(tiny_transformer: Path) -> None:
    loss: Any = build_loss(settings(matryoshka=[8, 16]), load_trainable(tiny_transformer, DEVICE))
    assert sorted(loss.matryoshka_dims) == [8, 16, 32]


@pytest.mark.parametrize("recipe", ["default", "tutorial"])
@pytest.mark.parametrize("name", ["mnrl", "cached-mnrl"])
def test_several_processes_share_their_passages(
    name: str, recipe: str, tiny_transformer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_trainable(tiny_transformer, DEVICE)
    alone: Any = build_loss(settings(loss=name, recipe=recipe), model)
    monkeypatch.setenv("WORLD_SIZE", "2")
    together: Any = build_loss(settings(loss=name, recipe=recipe), model)
    assert (alone.gather_across_devices, together.gather_across_devices) == (False, True)


def test_what_does_not_go_together_is_said(tiny_static: Path, tiny_transformer: Path, tiny_cross_encoder: Path) -> None:
    static, transformer = load_trainable(tiny_static, DEVICE), load_trainable(tiny_transformer, DEVICE)
    check_loss(settings(matryoshka=[8, 16]), static)
    check_loss(settings(matryoshka=[20], widen=4), static)
    check_loss(settings(loss="cached-mnrl"), transformer)
    check_loss(settings(loss="margin-mse", teacher=str(tiny_cross_encoder), negatives=1), static)
    with pytest.raises(ValueError, match="--matryoshka 17 is more than the 16 dimensions of a model"):
        check_loss(settings(matryoshka=[8, 17]), static)
    with pytest.raises(ValueError, match="has no cached-mnrl"):
        check_loss(settings(loss="cached-mnrl"), static)
    for wrong in ({"loss": "margin-mse"}, {"teacher": "a/b", "negatives": 1}, {"loss": "margin-mse", "teacher": "a/b"}):
        with pytest.raises(ValueError, match="give it --teacher NAME and --negatives above 0"):
            check_loss(settings(**wrong), static)
    with pytest.raises(ValueError, match="wanted: cross-encoder"):
        check_loss(settings(loss="margin-mse", teacher=str(tiny_static), negatives=1), static)
