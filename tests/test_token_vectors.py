from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from rag_app.token_vectors import read_token_vectors


def _copy(tiny_static: Path, folder: Path) -> dict[str, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_bytes((tiny_static / "tokenizer.json").read_bytes())
    return load_file(tiny_static / "model.safetensors")


def test_the_unknown_token_is_known_and_limits_are_lifted(tiny_static: Path) -> None:
    model = read_token_vectors(tiny_static)
    assert model.unknown == 0
    assert model.tokenizer.truncation is None
    assert len(model.rows) == len(model.weights) == model.tokenizer.get_vocab_size()


def test_the_older_layout_of_sentence_transformers_is_read(tiny_static: Path, tmp_path: Path) -> None:
    tensors = _copy(tiny_static, tmp_path / "0_StaticEmbedding")
    save_file({"embedding.weight": tensors["embeddings"]}, tmp_path / "0_StaticEmbedding" / "model.safetensors")
    np.testing.assert_array_equal(read_token_vectors(tmp_path).vectors, tensors["embeddings"])


def test_a_quantised_vocabulary_keeps_its_mapping_and_weights(tiny_static: Path, tmp_path: Path) -> None:
    tensors = _copy(tiny_static, tmp_path)
    count = len(tensors["embeddings"])
    mapping, weights = np.arange(count) % 3, np.linspace(0, 1, count)
    save_file(
        {"embeddings": tensors["embeddings"][:3].copy(), "mapping": mapping, "weights": weights},
        tmp_path / "model.safetensors",
    )
    model = read_token_vectors(tmp_path)
    np.testing.assert_array_equal(model.rows, mapping)
    np.testing.assert_allclose(model.weights, weights, atol=1e-7)


def test_parts_that_do_not_fit_are_refused(tiny_static: Path, tmp_path: Path) -> None:
    tensors = _copy(tiny_static, tmp_path)
    save_file({"embeddings": tensors["embeddings"][:3].copy()}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="3 vectors for the"):
        read_token_vectors(tmp_path)
    save_file({"other": tensors["embeddings"]}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="no vectors"):
        read_token_vectors(tmp_path)
    with pytest.raises(ValueError, match=r"no model\.safetensors and tokenizer\.json"):
        read_token_vectors(tmp_path / "nowhere")
