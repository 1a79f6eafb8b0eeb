"""Embeddings of exported transformers, without PyTorch."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rag_app.embeddings import ModelEmbeddings, prompt_fingerprint, share_in_unknown, to_unit_length
from rag_app.korean import normalise
from rag_app.onnx.models import OnnxModel


class OnnxEmbeddings(ModelEmbeddings):
    """A transformer exported for onnxruntime; see `ModelEmbeddings`.

    Its fingerprint is that of the model it was made from: an index may be built with one and searched with the other.

    Args:
        model: The exported model.
        name: See `ModelEmbeddings`.
        fingerprint: See `ModelEmbeddings`.
        query_prompt: Put before every question. The model's own if None; "" for none.
        document_prompt: Put before every passage, likewise.
        batch_size: Texts in one forward pass at most; batches are sorted by length and hold so many tokens anyway.
    """

    def __init__(
        self,
        model: OnnxModel,
        *,
        name: str,
        fingerprint: str,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        batch_size: int | None = None,
    ) -> None:
        self.name = name
        self.fingerprint = prompt_fingerprint(fingerprint, query_prompt, document_prompt)
        self.dimension = model.export.width
        self._model = model
        self._prompts = {
            True: model.export.query_prompt if query_prompt is None else query_prompt,
            False: model.export.document_prompt if document_prompt is None else document_prompt,
        }
        self._batch_size = batch_size

    def encode(
        self, texts: Sequence[str], *, query: bool = False, progress: bool = False, unit_length: bool = True
    ) -> NDArray[np.float32]:
        """Return one vector per text; see `ModelEmbeddings.encode`."""
        batch = [normalise(text) for text in texts]
        prompted = [self._prompts[query] + text for text in batch]
        result = self._model.run(prompted, batch_size=self._batch_size, progress=progress)
        result[[not text for text in batch]] = 0  # else the vector of the model's special tokens
        return to_unit_length(result) if unit_length else result

    @property
    def window(self) -> int | None:
        """How many tokens of a text the model reads, with its prompt and the special tokens; None if all."""
        return self._model.export.window

    def unknown_share(self, texts: Sequence[str]) -> float:
        """Return the share of the texts' letters and digits that the tokenizer makes unknown tokens of."""
        batch = [normalise(text) for text in texts]
        encodings = self._model.tokenizer.encode_batch(batch, add_special_tokens=False)
        tokens = ((encoding.ids, encoding.offsets) for encoding in encodings)
        return share_in_unknown(batch, tokens, self._model.export.unknown)

    def fits(self, text: str) -> bool:
        """Return whether a passage, with its prompt and the special tokens, has no more tokens than the model reads."""
        limit = self.window
        if limit is None:
            return True
        [length] = self._model.count_tokens([self._prompts[False] + normalise(text)])
        return length + self._model.special_tokens(pair=False) <= limit
