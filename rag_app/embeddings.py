"""Embeddings for LangChain: static models without PyTorch, and sentence-transformers models."""

import copy
import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray
from tqdm import tqdm

from rag_app.batching import Batcher
from rag_app.korean import normalise, normalise_question
from rag_app.loaded import Loaded
from rag_app.models import (
    EMBEDDED,
    Backend,
    ResolvedModel,
    check_backend,
    is_onnx,
    load_sentence_transformer,
    load_static_model,
    model_fingerprint,
    resolve_kind,
    resolve_model,
)
from rag_app.token_vectors import TokenVectors

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from rag_app.onnx.models import OnnxModel

_STATIC_BATCH = 1024  # texts in one call of a tokenizer


class ModelEmbeddings(Embeddings):
    """A loaded embedding model, safe to share between threads.

    Vectors are float32 and have length 1; texts are normalised first, so that decomposed Hangul gives the same vector.
    A text in which there is nothing to embed gets the zero vector, whose cosine with everything is 0. The async
    methods run in a thread, where tokenizing and matrix products leave the event loop free. Questions that are asked
    at the same time share one forward pass, see `rag_app.batching`; where a transformer pads them to one length, the
    components of their vectors can differ from those of each alone by rounding.

    Attributes:
        name: The name the model was asked for by.
        fingerprint: What identifies its vectors; see `rag_app.models.model_fingerprint`.
        dimension: Length of its vectors.
    """

    name: str
    fingerprint: str
    dimension: int

    @abstractmethod
    def encode(
        self, texts: Sequence[str], *, query: bool = False, progress: bool = False, unit_length: bool = True
    ) -> NDArray[np.float32]:
        """Return one vector per text, ``(n, dimension)`` float32.

        Args:
            texts: Passages or questions, any number.
            query: Whether they are questions, for models that treat the two differently.
            progress: Whether to show a progress bar.
            unit_length: Whether to scale a transformer's vectors to length 1. Without it they are as the model gives
                them, as some programs search them by L2 distance; everything here compares cosines.
        """

    @property
    @abstractmethod
    def window(self) -> int | None:
        """How many tokens of a text the model reads, its own special ones among them; None if there is no limit."""

    @abstractmethod
    def unknown_share(self, texts: Sequence[str]) -> float | None:
        """Return the share of the texts' letters and digits that stand in tokens which the model does not know.

        None where its tokenizer does not tell which characters a token stands for; 0 of no letters.
        """

    @abstractmethod
    def fits(self, text: str) -> bool:
        """Return whether the model reads a passage to its end; what lies past its window has no part in the vector."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector per passage."""
        vectors: list[list[float]] = self.encode(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a question, of its first `rag_app.korean.QUESTION_CHARS` characters.

        Those of callers that ask at the same time are made together.
        """
        vector: list[float] = self._questions.submit(normalise_question(text)).tolist()
        return vector

    async def aembed_query(self, text: str) -> list[float]:
        """Return the vector of a question; see `embed_query`."""
        vector: list[float] = (await self._questions.asubmit(normalise_question(text))).tolist()
        return vector

    def __getstate__(self) -> dict[str, Any]:
        """Return all but who waits for a question: a copy has callers of its own."""
        return {name: value for name, value in vars(self).items() if name != "_questions"}

    @cached_property
    def _questions(self) -> Batcher[str, NDArray[np.float32]]:
        return Batcher(lambda texts: list(self.encode(texts, query=True)))


class StaticEmbeddings(ModelEmbeddings):
    """The normalised sum of fixed token vectors (Model2Vec, https://github.com/MinishLab/model2vec), without PyTorch.

    Tokens unknown to the model are left out. Questions and passages are treated alike.

    Args:
        model: What `rag_app.models.load_static_model` returns.
        name: See `ModelEmbeddings`.
        fingerprint: See `ModelEmbeddings`.

    Attributes:
        token_vectors: The model itself, not to be changed.
    """

    def __init__(self, model: TokenVectors, *, name: str, fingerprint: str) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.dimension = int(model.vectors.shape[1])
        self.token_vectors = model

    def encode(
        self, texts: Sequence[str], *, query: bool = False, progress: bool = False, unit_length: bool = True
    ) -> NDArray[np.float32]:
        """Return one vector per text; see `ModelEmbeddings.encode`."""
        model = self.token_vectors
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        with tqdm(total=len(texts), unit="text", disable=not progress) as bar:
            for start in range(0, len(texts), _STATIC_BATCH):
                batch = [normalise(text) for text in texts[start : start + _STATIC_BATCH]]
                for row, tokens in enumerate(model.tokens.batch(batch), start):
                    vectors[row] = model.weights[tokens] @ model.vectors[model.rows[tokens]].astype(np.float32)
                bar.update(len(batch))
        return to_unit_length(vectors)

    @property
    def window(self) -> None:
        """None: a sum has no window."""
        return None

    def unknown_share(self, texts: Sequence[str]) -> float:
        """Return the share of the texts' letters and digits that have no part in their vectors."""
        batch = [normalise(text) for text in texts]
        encodings = self.token_vectors.tokenizer.encode_batch(batch, add_special_tokens=False)
        tokens = ((encoding.ids, encoding.offsets) for encoding in encodings)
        return share_in_unknown(batch, tokens, self.token_vectors.unknown)

    def fits(self, text: str) -> bool:
        """Return True: a sum has no window."""
        return True


class TransformerEmbeddings(ModelEmbeddings):
    """A sentence-transformers model.

    Args:
        model: What `rag_app.models.load_sentence_transformer` returns, or one in training.
        name: See `ModelEmbeddings`.
        fingerprint: See `ModelEmbeddings`.
        query_prompt: Put before every question, for example "query: " for E5. The model's own if None; "" for none.
        document_prompt: Put before every passage, likewise.
        batch_size: Texts in one forward pass; they are sorted by length first.
    """

    def __init__(
        self,
        model: "SentenceTransformer",
        *,
        name: str,
        fingerprint: str,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        batch_size: int = 32,
    ) -> None:
        dimension = model.get_embedding_dimension()
        if dimension is None:
            raise ValueError(f"Model {name!r} does not say how long its vectors are. Use one that ends in pooling.")
        self.name = name
        self.fingerprint = prompt_fingerprint(fingerprint, query_prompt, document_prompt)
        self.dimension = dimension
        self._model = model
        self._prompts = {True: query_prompt, False: document_prompt}
        self._batch_size = batch_size

    def encode(
        self, texts: Sequence[str], *, query: bool = False, progress: bool = False, unit_length: bool = True
    ) -> NDArray[np.float32]:
        """Return one vector per text; see `ModelEmbeddings.encode`."""
        batch = [normalise(text) for text in texts]
        encode = self._model.encode_query if query else self._model.encode_document  # both run in inference mode
        vectors = encode(batch, prompt=self._prompts[query], batch_size=self._batch_size, show_progress_bar=progress)
        result = np.array(vectors, dtype=np.float32).reshape(len(batch), self.dimension)
        result[[not text for text in batch]] = 0  # else the vector of the model's special tokens
        return to_unit_length(result) if unit_length else result

    @property
    def window(self) -> int | None:
        """How many tokens of a text the model reads, with its prompt and the special tokens; None if all."""
        limit = self._model.max_seq_length
        return None if limit is None or limit == float("inf") else int(limit)  # infinite: a static model in training

    def unknown_share(self, texts: Sequence[str]) -> float | None:
        """Return the share of the texts' letters and digits that the tokenizer makes unknown tokens of."""
        batch = [normalise(text) for text in texts]
        if not self._tokenizer.is_fast:
            return None
        if not batch:
            return 0.0
        encodings = self._tokenizer(
            batch, add_special_tokens=False, truncation=False, verbose=False, return_offsets_mapping=True
        )
        tokens = zip(encodings["input_ids"], encodings["offset_mapping"], strict=True)
        return share_in_unknown(batch, tokens, self._tokenizer.unk_token_id)

    def fits(self, text: str) -> bool:
        """Return whether a passage, with its prompt and the special tokens, has no more tokens than the model reads."""
        limit = self.window
        if limit is None:
            return True
        tokens = self._tokenizer(self._document_prompt() + normalise(text), truncation=False, verbose=False)
        return len(tokens["input_ids"]) <= limit

    @cached_property
    def _tokenizer(self) -> Any:
        # A copy: turning truncation off would turn it off for a thread that embeds meanwhile.
        return copy.deepcopy(self._model.tokenizer)

    def _document_prompt(self) -> str:
        given = self._prompts[False]
        return model_prompt(self._model, query=False) if given is None else given


def model_prompt(model: "SentenceTransformer", *, query: bool) -> str:
    """Return what a model's own ``encode_query`` or ``encode_document`` puts before a text."""
    prompts = model.prompts
    usual = (name for name in (("query",) if query else ("document", "passage", "corpus")) if name in prompts)
    return prompts.get(next(usual, model.default_prompt_name or ""), "") or ""


def prompt_fingerprint(fingerprint: str, query_prompt: str | None, document_prompt: str | None) -> str:
    """Return what identifies a model's vectors under these prompts, which change them as other weights would."""
    if query_prompt is None and document_prompt is None:
        return fingerprint
    prompts = json.dumps([query_prompt, document_prompt]).encode()
    return f"{fingerprint}+{hashlib.sha256(prompts).hexdigest()[:16]}"


def load_embeddings(
    name: str | Path = EMBEDDED,
    *,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    backend: Backend | None = None,
    threads: int | None = None,
) -> ModelEmbeddings:
    """Load an embedding model by name, once per process and set of options.

    Args:
        name: "embedded", a folder, or a Hub id with optional ``@revision``; see `rag_app.models.resolve_model`. A
            folder whose files have changed is loaded anew.
        query_prompt: See `TransformerEmbeddings`, as for the following; a static model takes none of them.
        document_prompt: Put before every passage.
        batch_size: Texts in one forward pass, 32 if None; onnxruntime's batches hold so many tokens instead.
        device: For example "cpu" or "cuda"; sentence-transformers chooses if None. onnxruntime stays on the CPU.
        backend: What a transformer runs on. "torch" if None; "torch-bf16" and "torch-fp16" for shorter numbers; "onnx"
            and "onnx-int8" for onnxruntime, for which the model is exported once, see
            `rag_app.onnx.export.export_model`.
        threads: Threads of onnxruntime; as many as this process may use cores if None.

    Raises:
        ImportError: The model needs PyTorch or onnxruntime, which is not installed.
        ValueError: The model is not an embedding model, not safe to load, takes no such option, or int8 would rank too
            differently.
        FileNotFoundError: See `rag_app.models.resolve_model`.
        ConnectionError: See `rag_app.models.resolve_model`.
    """
    resolved = resolve_model(name)
    if resolved.kind == "static" and any(
        option is not None for option in (query_prompt, document_prompt, batch_size, device, backend, threads)
    ):
        raise ValueError(
            f"{resolved.name!r} is a static model: it takes no prompts, batch size, device, backend or threads."
        )
    check_backend(backend, device, threads)
    fingerprint = model_fingerprint(resolved)
    runs_on = (resolved, fingerprint, device, backend, threads)

    def load() -> ModelEmbeddings:
        if resolved.kind == "static":
            return StaticEmbeddings(load_static_model(resolved), name=resolved.name, fingerprint=fingerprint)
        model = _models.get(runs_on, lambda: _load_transformer(resolved, device, backend, threads))
        if not is_onnx(backend):
            return TransformerEmbeddings(
                model,
                name=resolved.name,
                fingerprint=fingerprint,
                query_prompt=query_prompt,
                document_prompt=document_prompt,
                batch_size=batch_size or 32,
            )
        from rag_app.onnx.embeddings import OnnxEmbeddings

        return OnnxEmbeddings(
            model,
            name=resolved.name,
            fingerprint=fingerprint if model.is_checked else f"{fingerprint}+{backend}",
            query_prompt=query_prompt,
            document_prompt=document_prompt,
            batch_size=batch_size,
        )

    return _embeddings.get((*runs_on, query_prompt, document_prompt, batch_size), load)


_models: Loaded[Any] = Loaded()
_embeddings: Loaded[ModelEmbeddings] = Loaded()


def _load_transformer(
    resolved: ResolvedModel, device: str | None, backend: Backend | None, threads: int | None
) -> "SentenceTransformer | OnnxModel":
    if is_onnx(backend):
        from rag_app.onnx.export import load_onnx_model

        resolved = resolve_kind(resolved, "sentence-transformer", "transformer")
        return load_onnx_model(resolved, backend, threads=threads)
    return load_sentence_transformer(resolved, device=device, backend=backend or "torch")


def share_in_unknown(
    texts: Sequence[str], tokens: Iterable[tuple[Sequence[int], Sequence[tuple[int, int]]]], unknown: int | None
) -> float:
    """Return the share of letters and digits in unknown tokens, from each text's token ids and their spans."""
    lost = sum(
        sum(map(str.isalnum, text[start:end]))
        for text, (ids, spans) in zip(texts, tokens, strict=True)
        for token, (start, end) in zip(ids, spans, strict=True)
        if token == unknown
    )
    return lost / max(1, sum(map(str.isalnum, "".join(texts))))


def to_unit_length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the rows scaled to length 1; a zero vector stays one."""
    lengths: NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    return vectors / lengths
