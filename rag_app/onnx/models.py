"""Exported transformers at work: onnxruntime, tokenizers and numpy alone, no PyTorch.

Texts are sorted by length and put into batches of about as many tokens each, so that little is computed for padding.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from rag_app.korean import normalise
from rag_app.models import ResolvedModel, check_korean
from rag_app.onnx.folder import GRAPH, TOKENIZER, read_export
from rag_app.token_vectors import read_tokenizer

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

_BATCH_TOKENS = 2048  # with padding; more take more memory and are no faster
_SORTED = 4096  # texts that are tokenized and sorted at a time

Input = str | tuple[str, str]


class OnnxModel:
    """The graph of a model with its tokenizer. Safe to share between threads.

    Args:
        folder: What `rag_app.onnx.export.export_model` returns.
        model: The model it was made from, for messages.
        threads: Threads of one forward pass; as many as this process may use cores if None.

    Attributes:
        export: What the folder's manifest says.

    Raises:
        ImportError: onnxruntime is not installed.
        ValueError: The tokenizer loses Korean.
    """

    def __init__(self, folder: Path, *, model: ResolvedModel, threads: int | None = None) -> None:
        export = read_export(folder)
        if export is None:
            raise FileNotFoundError(f"{folder} holds no export of {model.name!r}. Make it with export_model.")
        self.export = export
        self._run = _open_session(folder / GRAPH, model, threads)
        self._whole = read_tokenizer(folder / TOKENIZER)  # for counting, where nothing may be cut
        self._cut = read_tokenizer(folder / TOKENIZER)
        if export.window is not None:
            self._cut.enable_truncation(export.window)
        check_korean(lambda text: self._whole.encode(text, add_special_tokens=False).ids, export.unknown, model)

    def run(
        self, texts: Sequence[Input], *, batch_size: int | None = None, progress: bool = False
    ) -> NDArray[np.float32]:
        """Return what the graph makes of each text or pair of texts, ``(n, width)`` float32.

        Args:
            texts: Normalised, with their prompts.
            batch_size: How many go into one forward pass at most.
            progress: Whether to show a progress bar.
        """
        result = np.zeros((len(texts), self.export.width), dtype=np.float32)
        with tqdm(total=len(texts), unit="text", disable=not progress) as bar:
            for start in range(0, len(texts), _SORTED):
                encodings = self._cut.encode_batch(list(texts[start : start + _SORTED]))
                for numbers in batches([len(encoding) for encoding in encodings], batch_size):
                    inputs = self._pad([encodings[i] for i in numbers])
                    result[start + np.array(numbers)] = self._run(inputs).reshape(len(numbers), -1)
                    bar.update(len(numbers))
        return result

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each text has, without special ones and uncut."""
        return [len(encoding) for encoding in self._whole.encode_batch(list(texts), add_special_tokens=False)]

    def special_tokens(self, *, pair: bool) -> int:
        """Return how many tokens are put around a text, or around and between two."""
        return self._whole.num_special_tokens_to_add(pair)

    @property
    def is_checked(self) -> bool:
        """Whether it gives what the model gives, as far as was measured; see `rag_app.onnx.export.export_model`."""
        return self.export.backend == "onnx" or self.export.quality is not None

    @property
    def tokenizer(self) -> "Tokenizer":
        """The tokenizer, which cuts nothing; not to be changed."""
        return self._whole

    def _pad(self, encodings: Sequence["Encoding"]) -> dict[str, NDArray[np.int64]]:
        shape = len(encodings), max(1, *(len(encoding) for encoding in encodings))
        inputs = {name: np.zeros(shape, dtype=np.int64) for name in self.export.inputs}
        inputs["input_ids"][:] = self.export.padding
        for row, encoding in enumerate(encodings):
            inputs["input_ids"][row, : len(encoding)] = encoding.ids
            inputs["attention_mask"][row, : len(encoding)] = 1
            if "token_type_ids" in inputs:
                inputs["token_type_ids"][row, : len(encoding)] = encoding.type_ids
        return inputs


class OnnxCrossEncoder:
    """An exported cross-encoder with one label. Safe to share between threads.

    Args:
        model: The exported model.
    """

    def __init__(self, model: OnnxModel) -> None:
        self._model = model

    @property
    def window(self) -> int | None:
        """How many tokens of question and passage together, with the special ones, the model reads."""
        return self._model.export.window

    @property
    def special_tokens(self) -> int:
        """How many tokens a pair has besides those of its texts."""
        return self._model.special_tokens(pair=True)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each text has, without special ones and uncut."""
        return self._model.count_tokens([normalise(text) for text in texts])

    def logits(
        self, pairs: Sequence[tuple[str, str]], *, batch_size: int | None = None, progress: bool = False
    ) -> NDArray[np.float64]:
        """Return the logit of each (question, passage text) pair, ``(n,)`` float64."""
        texts = [(normalise(query), normalise(passage)) for query, passage in pairs]
        return self._model.run(texts, batch_size=batch_size, progress=progress)[:, 0].astype(np.float64)


def batches(lengths: Sequence[int], batch_size: int | None = None) -> list[list[int]]:
    """Return which texts go into each batch: longest first, and as many as make up the tokens of a batch.

    Args:
        lengths: Tokens of each text.
        batch_size: Texts in a batch at most, None for any number.
    """
    result: list[list[int]] = []
    room = 0
    for number in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if room == 0:
            result.append([])
            room = max(1, _BATCH_TOKENS // max(1, lengths[number]))
            room = room if batch_size is None else min(room, batch_size)
        result[-1].append(number)
        room -= 1
    return result


def _open_session(path: Path, model: ResolvedModel, threads: int | None) -> Callable[[Any], NDArray[np.float32]]:
    try:
        from onnxruntime import InferenceSession, SessionOptions
    except ImportError as error:
        raise ImportError(
            f"{model.name!r} needs onnxruntime for this backend: pip install 'korean-rag[onnx]'"
        ) from error
    options = SessionOptions()
    # Its own default counts cores that a container or taskset forbids, and binds threads to them.
    options.intra_op_num_threads = threads or _usable_cores()
    try:  # weights outside of the model's folder are refused by onnxruntime itself
        session = InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of many classes, which nobody else raises
        raise ValueError(
            f"{path} cannot be loaded: {error}. Delete {path.parent}, and the model is exported anew."
        ) from error

    def run(inputs: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        [output] = session.run(None, inputs)
        return np.asarray(output, dtype=np.float32)

    return run


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
