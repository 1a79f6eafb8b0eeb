"""Cross-encoders at work: what a reranker asks of one, whatever it runs on."""

import copy
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from rag_app.korean import normalise

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder


class PairModel(Protocol):
    """A loaded model that reads question and passage together. Safe to share between threads."""

    @property
    def window(self) -> int | None:
        """How many tokens of question and passage together, with the special ones, the model reads; None if all."""

    @property
    def special_tokens(self) -> int:
        """How many tokens a pair has besides those of its texts."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each text has, without special ones and uncut."""

    def logits(
        self, pairs: Sequence[tuple[str, str]], *, batch_size: int | None = None, progress: bool = False
    ) -> NDArray[np.float64]:
        """Return the logit of each (question, passage text) pair, ``(n,)`` float64.

        Args:
            pairs: Of one question or of several, in any order.
            batch_size: Pairs in one forward pass at most.
            progress: Whether to show a progress bar.
        """


class TorchCrossEncoder:
    """A cross-encoder of sentence-transformers as a `PairModel`.

    Args:
        model: What `rag_app.models.load_cross_encoder` returns, or one in training.
    """

    def __init__(self, model: "CrossEncoder") -> None:
        self._model = model

    @property
    def window(self) -> int | None:
        """See `PairModel.window`."""
        limit: int | None = self._model.max_seq_length
        return limit

    @cached_property
    def special_tokens(self) -> int:
        """See `PairModel.special_tokens`."""
        return int(self._tokenizer.num_special_tokens_to_add(pair=True))

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """See `PairModel.count_tokens`."""
        if not texts:
            return []
        normal = [normalise(text) for text in texts]
        tokens = self._tokenizer(normal, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        return [len(ids) for ids in tokens]

    def logits(
        self, pairs: Sequence[tuple[str, str]], *, batch_size: int | None = None, progress: bool = False
    ) -> NDArray[np.float64]:
        """See `PairModel.logits`."""
        from torch.nn import Identity

        texts = [(normalise(query), normalise(passage)) for query, passage in pairs]
        # The logits of a cross-encoder with one label, whatever activation its configuration names.
        logits = self._model.predict(
            texts, batch_size=batch_size or 32, activation_fn=Identity(), show_progress_bar=progress
        )
        return np.asarray(logits, dtype=np.float64)

    @property
    def _tokenizer(self) -> Any:
        if self._model not in _TOKENIZERS:
            # A copy: turning truncation off would turn it off for a thread that scores meanwhile.
            _TOKENIZERS[self._model] = copy.deepcopy(self._model.tokenizer)
        return _TOKENIZERS[self._model]


_TOKENIZERS: "WeakKeyDictionary[CrossEncoder, Any]" = WeakKeyDictionary()
"""A copy of each model's tokenizer, which takes 40 ms: a page makes a compressor for every question."""
