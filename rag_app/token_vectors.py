"""Static models on disk: a tokenizer and one vector per token, in the formats of Model2Vec and sentence-transformers.

Read here rather than by model2vec, which takes three times as long over a vocabulary of this size and brings what only
training needs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from rag_app.model_folders import read_json, read_tensors
from rag_app.word_tokens import WordTokens, splits_at_words

LAYOUTS = (
    ("model.safetensors", "tokenizer.json"),
    ("0_StaticEmbedding/model.safetensors", "0_StaticEmbedding/tokenizer.json"),
)
"""Where the tensors and the tokenizer are: of both formats, and of sentence-transformers' older layout."""
_TENSORS = ("embeddings", "embedding.weight")


@dataclass(frozen=True, eq=False)
class TokenVectors:
    """A static model: token ``t`` has the vector ``weights[t] * vectors[rows[t]]``.

    Attributes:
        tokenizer: Neither pads nor truncates.
        vectors: ``(r, dim)`` of any number type; fewer rows than tokens where the vocabulary is quantised.
        rows: ``(tokens,)`` int64.
        weights: ``(tokens,)`` float32.
        unknown: The id of the unknown token, which has no part in a text's vector; None if there is none.
        at_words: Whether the known tokens of a text are those of its words; see `rag_app.word_tokens`.
    """

    tokenizer: Tokenizer
    vectors: NDArray[Any]
    rows: NDArray[np.int64]
    weights: NDArray[np.float32]
    unknown: int | None
    at_words: bool = False

    @cached_property
    def tokens(self) -> WordTokens:
        """What takes texts apart into known tokens; whoever uses this model shares what it remembers."""
        return WordTokens(self.tokenizer, self.unknown, at_words=self.at_words)


def read_token_vectors(folder: Path) -> TokenVectors:
    """Read a static model; its tokenizer's limits on length are lifted.

    Raises:
        ValueError: There is none, or its parts do not fit together.
    """
    found = [pair for pair in LAYOUTS if all((folder / name).is_file() for name in pair)]
    if not found:
        raise ValueError(f"{folder} holds no static model: it has no {' and '.join(LAYOUTS[0])}.")
    tensors_path, tokenizer_path = (folder / name for name in found[0])
    tensors = read_tensors(tensors_path)
    vectors = next((tensors[name] for name in _TENSORS if name in tensors), None)
    tokenizer = read_tokenizer(tokenizer_path)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokens = tokenizer.get_vocab_size()
    if vectors is None or (len(vectors) != tokens and "mapping" not in tensors):
        count = "no" if vectors is None else len(vectors)
        raise ValueError(f"{tensors_path} holds {count} vectors for the {tokens} tokens of {tokenizer_path.name}.")
    rows = tensors.get("mapping", np.arange(tokens)).astype(np.int64)
    weights = tensors.get("weights", np.ones(tokens)).astype(np.float32)
    known = (
        vectors.ndim == 2 and rows.shape == weights.shape == (tokens,) and 0 <= rows.min() <= rows.max() < len(vectors)
    )
    if not known or not np.isfinite(weights).all() or not np.isfinite(vectors).all():
        raise ValueError(f"{tensors_path} is damaged: it does not hold one vector for each of {tokens} tokens.")
    parsed = read_json(tokenizer_path)
    return TokenVectors(
        tokenizer, vectors, rows, weights, _unknown(tokenizer, parsed["model"]), splits_at_words(parsed)
    )


def read_tokenizer(path: Path) -> Tokenizer:
    """Read a tokenizer.

    Raises:
        ValueError: It is none, or damaged.
    """
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # what the library raises has no class of its own
        raise ValueError(f"{path} cannot be read as a tokenizer: {error}. Get the model anew.") from error


def _unknown(tokenizer: Tokenizer, model: Mapping[str, Any]) -> int | None:
    if model["type"] == "Unigram":
        return None if model.get("unk_id") is None else int(model["unk_id"])
    token = model.get("unk_token")
    return None if token is None else tokenizer.token_to_id(token)
