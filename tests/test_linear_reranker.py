"""The linear reranker: its sum, its files, and what it refuses."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from rag_app.compressors import load_reranker
from rag_app.embeddings import StaticEmbeddings, load_embeddings
from rag_app.models import resolve_model
from rag_app.reranking.linear import LinearReranker, read_linear_reranker, write_linear_reranker
from rag_app.reranking.matching import FEATURES, count_documents

PASSAGES = ["국회는 내년 예산안을 의결했다.", "기상청은 비를 예보했다."]


@pytest.fixture
def copy(tiny_linear_reranker: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_linear_reranker, tmp_path / "copy"))


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    change(config)
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return folder


def test_a_logit_is_the_weighted_sum_of_features_and_first_stage(tiny_linear_reranker: Path) -> None:
    reranker = read_linear_reranker(tiny_linear_reranker)
    weights = np.arange(1.0, len(FEATURES) + 1)
    reranker = LinearReranker(reranker.matcher, weights, first_stage=5.0, scale=0.5, bias=-1.0)
    features = reranker.matcher.features("국회는 언제?", PASSAGES)
    np.testing.assert_allclose(reranker.logits("국회는 언제?", PASSAGES), features @ weights)
    fused = reranker.logits("국회는 언제?", PASSAGES, [0.4, 0.2])
    np.testing.assert_allclose(fused, features @ weights + [2.0, 1.0])
    np.testing.assert_allclose(reranker.probabilities(np.array([2.0, 4.0])), [0.5, 1 / (1 + np.exp(-1))])
    assert reranker.logits("국회", []).shape == (0,)


def test_what_is_written_is_read(tiny_linear_reranker: Path, tiny_static: Path) -> None:
    reranker = read_linear_reranker(tiny_linear_reranker)
    assert dict(zip(FEATURES, reranker.weights, strict=True))["bigrams_sentence"] == 1
    assert (reranker.weights.sum(), reranker.first_stage, reranker.scale, reranker.bias) == (1, 2, 0.5, -1)
    assert reranker.matcher.counts.documents == 4
    embeddings = load_embeddings(tiny_static)
    assert isinstance(embeddings, StaticEmbeddings)
    assert reranker.matcher.vectors is embeddings.token_vectors  # one copy in memory
    config = json.loads((tiny_linear_reranker / "config.json").read_text("utf-8"))
    assert config["model"] == {"name": str(tiny_static), "fingerprint": embeddings.fingerprint}
    assert config["provenance"] == {"data": "four sentences"}


def test_files_are_for_everyone_to_read(tiny_linear_reranker: Path) -> None:
    modes = {path.stat().st_mode & 0o777 for path in tiny_linear_reranker.iterdir()}
    assert len(modes) == 1  # safetensors would keep its own from the group


def test_the_passage_that_shares_words_is_better(tiny_linear_reranker: Path) -> None:
    first, second = read_linear_reranker(tiny_linear_reranker).logits("예산안은 누가 의결했나?", PASSAGES)
    assert first > second == 0


def test_weights_of_other_features_are_refused(copy: Path) -> None:
    def rename(config: dict[str, Any]) -> None:
        config["weights"]["kernel"] = config["weights"].pop("time")

    with pytest.raises(ValueError, match=r"Missing: time; unknown: kernel\. Fit the reranker again"):
        read_linear_reranker(edit(copy, rename))


def test_writing_weights_of_other_features_is_refused(copy: Path) -> None:
    counts = read_linear_reranker(copy).matcher.counts
    for weights in ({}, {**dict.fromkeys(FEATURES, 1.0), "kernel": 1.0}):
        with pytest.raises(ValueError, match=r"Missing: .*; unknown: "):
            write_linear_reranker(
                copy / "new", weights=weights, first_stage=0, scale=1, bias=0, counts=counts, provenance={}
            )
    assert not (copy / "new").exists()


def test_another_state_of_the_static_model_is_refused(copy: Path) -> None:
    with pytest.raises(ValueError, match=r"at fingerprint 0123abcd; they are now at [0-9a-f]{12}\. Fit the reranker"):
        read_linear_reranker(edit(copy, lambda config: config["model"].update(fingerprint="0123abcd")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": 0}, "scale 0.0, wanted: more than 0"),
        ({"bias": "much"}, "bias 'much', wanted: a number"),
        ({"first_stage": None}, "first_stage None, wanted: a number"),
        ({"model": "embedded"}, "wanted: a static model's name and fingerprint"),
        ({"model_type": "bert"}, "model_type 'bert', wanted: 'korean-rag-linear-reranker'"),
        ({"weights": None}, "Missing: bigrams_passage"),
    ],
)
def test_a_broken_configuration_says_what_is_wrong(change: dict[str, Any], message: str, copy: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_linear_reranker(edit(copy, lambda config: config.update(change)))


def test_a_transformer_has_no_token_vectors(copy: Path, tiny_sentence_transformer: Path) -> None:
    model = {"name": str(tiny_sentence_transformer), "fingerprint": ""}
    with pytest.raises(ValueError, match=r"reads a static model, and .* is none"):
        read_linear_reranker(edit(copy, lambda config: config.update(model=model)))


def test_counts_of_another_vocabulary_are_refused(copy: Path) -> None:
    arrays = load_file(copy / "counts.safetensors")
    save_file({**arrays, "token_counts": arrays["token_counts"][:3].copy()}, copy / "counts.safetensors")
    with pytest.raises(ValueError, match=r"'token_counts': \(3,\).*wanted: documents, bigrams, .* for 50 tokens"):
        read_linear_reranker(copy)


def test_it_runs_without_torch(tiny_linear_reranker: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"  # importing it now fails
        "from rag_app import load_reranker\n"
        f"reranker = load_reranker({str(tiny_linear_reranker)!r})\n"
        "assert reranker.score_pairs([('국회는?', '국회다.')])[0] > reranker.score_pairs([('국회는?', '비다.')])[0]\n"
        "assert 'sentence_transformers' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_reranker_of_the_embedded_model_can_be_written(tmp_path: Path) -> None:
    embeddings = load_embeddings()
    assert isinstance(embeddings, StaticEmbeddings)
    counts = count_documents(PASSAGES, embeddings.token_vectors)
    weights = dict.fromkeys(FEATURES, 1.0)
    write_linear_reranker(
        tmp_path, weights=weights, first_stage=1, scale=1, bias=0, counts=counts, provenance={"corpus": 2}
    )
    assert json.loads((tmp_path / "config.json").read_text("utf-8"))["model"]["name"] == "embedded"
    first, second = read_linear_reranker(tmp_path).logits("내년 예산안은 누가 의결했나요?", PASSAGES)
    assert first > second


# The one that ships with the package


def test_the_embedded_reranker_is_small_and_names_the_embedded_model() -> None:
    folder = resolve_model("embedded", role="reranker").folder
    assert sum(path.stat().st_size for path in folder.iterdir()) < 12_000_000
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert config["model"]["name"] == "embedded"
    assert config["provenance"]


def test_the_embedded_reranker_puts_the_passage_that_answers_first() -> None:
    passages = [
        "누리호 2차 발사 연기\n누리호 2차 발사가 강한 바람 때문에 하루 미뤄졌다. 기술진은 산화제 센서도 살피고 있다.",
        "누리호\n누리호는 한국이 만든 우주 발사체이다. 2차 발사는 2022년 6월 21일에 이루어져 위성을 궤도에 올렸다.",
        "나로호\n나로호는 2013년 1월 30일에 발사에 성공했다. 1단은 러시아가 만들었다.",
    ]
    reranker = load_reranker()
    scores = reranker.score_pairs([("누리호가 두 번째로 발사된 날은 언제인가요?", passage) for passage in passages])
    assert scores.argmax() == 1
    assert ((scores > 0) & (scores < 1)).all()
