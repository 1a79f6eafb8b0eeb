"""The linear reranker: a weighted sum of how a passage matches the question and of what the search thought of it.

On disk it is a folder with its weights in ``config.json`` and the document counts in ``counts.safetensors``. The token
vectors stay in the static model that it was fitted with, which it names together with that model's fingerprint.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from rag_app.embeddings import StaticEmbeddings, load_embeddings
from rag_app.model_folders import COUNTS, LINEAR_RERANKER, read_json, read_tensors
from rag_app.models import EMBEDDED
from rag_app.reranking.matching import FEATURES, Counts, Matcher, weighted

_NUMBERS = ("first_stage", "scale", "bias")


class LinearReranker:
    """Scores passages for a question without PyTorch. Safe to share between threads.

    Attributes:
        matcher: Measures the features.
        weights: What each of `rag_app.reranking.matching.FEATURES` counts for, ``(len(FEATURES),)`` float64.
        first_stage: What the score of the search before it counts for, on the scale of
            `rag_app.fusion.adaptive_sum`, 0 to 1.
        scale: With ``bias``, turns a logit into a probability: ``sigmoid(scale * logit + bias)``.
        bias: See ``scale``.
    """

    def __init__(
        self, matcher: Matcher, weights: NDArray[np.float64], *, first_stage: float, scale: float, bias: float
    ) -> None:
        self.matcher = matcher
        self.weights = weights
        self.first_stage = first_stage
        self.scale = scale
        self.bias = bias

    def logits(
        self, question: str, passages: Sequence[str], first_stage_scores: Sequence[float] | None = None
    ) -> NDArray[np.float64]:
        """Return one score per passage, ``(n,)`` float64, to be compared among the passages of one question.

        Args:
            question: In any Unicode spelling, as the passages.
            passages: Each as it is searched; see `rag_app.documents.searchable_text`.
            first_stage_scores: What the hybrid search gave each of them; None leaves their share out, for all alike.
        """
        logits = weighted(self.matcher.features(question, passages), self.weights)
        if first_stage_scores is not None:
            logits = logits + self.first_stage * np.asarray(first_stage_scores, np.float64)
        return logits

    def probabilities(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return logits as numbers between 0 and 1, in the same order."""
        return np.asarray(1 / (1 + np.exp(-(self.scale * logits + self.bias))))


def read_linear_reranker(folder: Path) -> LinearReranker:
    """Read a linear reranker. Its static model is shared with `rag_app.embeddings.load_embeddings`.

    Raises:
        ValueError: The folder holds none, its features are not those of this version, or its static model has changed
            since it was fitted; and what `load_embeddings` raises, as for OSError.
    """
    path = folder / "config.json"
    config = read_json(path)
    if config.get("model_type") != LINEAR_RERANKER:
        raise ValueError(f"{path} has the model_type {config.get('model_type')!r}, wanted: {LINEAR_RERANKER!r}.")
    weights = _in_order(config.get("weights") or {}, str(path))
    first_stage, scale, bias = (_number(config, name, path) for name in _NUMBERS)
    if scale <= 0:
        raise ValueError(f"{path} has the scale {scale}, wanted: more than 0, or better passages would score lower.")
    embeddings = _own_model(config, path)
    counts = _read_counts(folder / COUNTS, len(embeddings.token_vectors.rows))
    matcher = Matcher(embeddings.token_vectors, counts)
    return LinearReranker(matcher, weights, first_stage=first_stage, scale=scale, bias=bias)


def write_linear_reranker(
    folder: Path,
    *,
    weights: Mapping[str, float],
    first_stage: float,
    scale: float,
    bias: float,
    counts: Counts,
    provenance: Mapping[str, Any],
    model: str | Path = EMBEDDED,
) -> None:
    """Write a linear reranker into a folder, which is made if need be.

    Args:
        folder: Where ``config.json`` and ``counts.safetensors`` are written.
        weights: By name, what each of `rag_app.reranking.matching.FEATURES` counts for.
        first_stage: See `LinearReranker`, as for the following.
        scale: More than 0.
        bias: See ``scale``.
        counts: What `rag_app.reranking.matching.count_documents` returned for the same static model.
        provenance: What it was fitted on and with, and its scores; must fit into JSON.
        model: The static model that was fitted with. One in a folder is found again only while it stays there.

    Raises:
        ValueError: A feature has no weight, there is a weight for something else, or the model is not static.
    """
    _in_order(weights, "The reranker to be written")
    embeddings = _static(model)
    config = {
        "model_type": LINEAR_RERANKER,
        "model": {"name": embeddings.name, "fingerprint": embeddings.fingerprint},
        "weights": {name: float(weights[name]) for name in FEATURES},
        "first_stage": float(first_stage),
        "scale": float(scale),
        "bias": float(bias),
        "provenance": dict(provenance),
    }
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.ascontiguousarray(array) for name, array in counts._asdict().items() if name != "documents"}
    # Not save_file, which makes a file that only its owner may read.
    (folder / COUNTS).write_bytes(save({**arrays, "documents": np.array([counts.documents])}))
    (folder / "config.json").write_text(json.dumps(config, ensure_ascii=False, indent=2) + "\n", "utf-8")


def _own_model(config: Mapping[str, Any], path: Path) -> StaticEmbeddings:
    """Return the static model that a reranker was fitted with."""
    model = config.get("model", {})
    if not isinstance(model, dict) or not {"name", "fingerprint"} <= model.keys():
        raise ValueError(f"{path} has the model {model!r}, wanted: a static model's name and fingerprint.")
    embeddings = _static(model["name"])
    if embeddings.fingerprint != model["fingerprint"]:
        raise ValueError(
            f"{path} was fitted with the token vectors of {embeddings.name!r} as they were at fingerprint "
            f"{model['fingerprint'][:12]}; they are now at {embeddings.fingerprint[:12]}. Fit the reranker again."
        )
    return embeddings


def _in_order(weights: Mapping[str, float], where: str) -> NDArray[np.float64]:
    if weights.keys() != set(FEATURES):
        missing, unknown = sorted(set(FEATURES) - weights.keys()), sorted(weights.keys() - set(FEATURES))
        raise ValueError(
            f"{where} has weights for other features than this version of korean-rag measures. "
            f"Missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}. Fit the reranker again."
        )
    return np.array([float(weights[name]) for name in FEATURES])


def _number(config: Mapping[str, Any], name: str, path: Path) -> float:
    value = config.get(name)
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{path} has the {name} {value!r}, wanted: a number.")
    return float(value)


def _static(name: str | Path) -> StaticEmbeddings:
    embeddings = load_embeddings(name)
    if not isinstance(embeddings, StaticEmbeddings):
        raise ValueError(f"A linear reranker reads a static model, and {embeddings.name!r} is none.")
    return embeddings


def _read_counts(path: Path, tokens: int) -> Counts:
    arrays = read_tensors(path)
    missing = set(Counts._fields) - arrays.keys()
    if missing or len(arrays["token_counts"]) != tokens or len(arrays["bigrams"]) != len(arrays["bigram_counts"]):
        shapes = {name: array.shape for name, array in arrays.items()}
        raise ValueError(f"{path} holds {shapes}, wanted: {', '.join(Counts._fields)}, for {tokens} tokens.")
    return Counts(int(arrays["documents"][0]), arrays["bigrams"], arrays["bigram_counts"], arrays["token_counts"])
