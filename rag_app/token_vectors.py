"""Static models on disk: a tokenizer and one vector per token, in the formats of Model2Vec and sentence-transformers.

Read here rather than by model2vec, which takes three times as long over a vocabulary of this size and brings what only
training needs.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

LAYOUTS = (
    ("model.safetensors", "tokenizer.json"),
    ("0_StaticEmbedding/model.safetensors", "0_StaticEmbedding/tokenizer.json"),
)
"""Where the tensors and the tokenizer are: of both formats, and of sentence-transformers' older layout."""
_TENSORS = ("embeddings", "embedding.weight")


class TokenVectors(NamedTuple):
    """A static model: token ``t`` has the vector ``weights[t] * vectors[rows[t]]``.

    Attributes:
        tokenizer: Neither pads nor truncates.
        vectors: ``(r, dim)`` of any number type; fewer rows than tokens where the vocabulary is quantised.
        rows: ``(tokens,)`` int64.
        weights: ``(tokens,)`` float32.
        unknown: The id of the unknown token, which has no part in a text's vector; None if there is none.
    """

    tokenizer: Tokenizer
    vectors: NDArray[Any]
    rows: NDArray[np.int64]
    weights: NDArray[np.float32]
    unknown: int | None


def read_token_vectors(folder: Path) -> TokenVectors:
    """Read a static model; its tokenizer's limits on length are lifted.

    Raises:
        ValueError: There is none, or its parts do not fit together.
    """
    found = [pair for pair in LAYOUTS if all((folder / name).is_file() for name in pair)]
    if not found:
        raise ValueError(f"{folder} holds no static model: it has no {' and '.join(LAYOUTS[0])}.")
    tensors_path, tokenizer_path = (folder / name for name in found[0])
    tensors = load_file(tensors_path)
    vectors = next((tensors[name] for name in _TENSORS if name in tensors), None)
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokens = tokenizer.get_vocab_size()
    if vectors is None or (len(vectors) != tokens and "mapping" not in tensors):
        count = "no" if vectors is None else len(vectors)
        raise ValueError(f"{tensors_path} holds {count} vectors for the {tokens} tokens of {tokenizer_path.name}.")
    rows = tensors.get("mapping", np.arange(tokens)).astype(np.int64)
    weights = tensors.get("weights", np.ones(tokens)).astype(np.float32)
    return TokenVectors(tokenizer, vectors, rows, weights, _unknown(tokenizer, tokenizer_path))


def _unknown(tokenizer: Tokenizer, path: Path) -> int | None:
    model = json.loads(path.read_bytes())["model"]
    if model["type"] == "Unigram":
        return None if model.get("unk_id") is None else int(model["unk_id"])
    token = model.get("unk_token")
    return None if token is None else tokenizer.token_to_id(token)
