"""What an indexing job does to an index: build it or bring it up to date, telling how far the embedding is."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray

from rag_app.corpus.index_folders import discard_unfinished
from rag_app.corpus.indexing_job import Watch, Write
from rag_app.embeddings import ModelEmbeddings, StaticEmbeddings
from rag_app.index import Changes, Index, build_index
from rag_app.stores.address import Address

_STATIC_PIECE = 1024  # texts that are embedded between two looks at whether to stop
_PIECE = 64  # of a transformer; some ten seconds without a GPU


def building(path: Path | Address, load: Callable[[], ModelEmbeddings], *, replace: bool = False) -> Write:
    """Return what builds an index; one that is there is replaced only if asked to, once the new one is complete.

    Args:
        path: Where the index is to be.
        load: Loads the embedding model, in the job's thread.
        replace: Whether there may be an index already.
    """

    def write(documents: list[Document], watch: Watch) -> Changes:
        try:
            index = build_index(path, documents, watched(load(), watch), replace=replace)
        except BaseException:
            if isinstance(path, Path):  # a server goes on with it when it is begun again
                discard_unfinished(path)
            raise
        added = int(index.snapshot.manifest["documents"])
        return Changes(added=added, skipped=len(documents) - added)

    return write


def updating(index: Index) -> Write:
    """Return what adds articles to an index; a file of a name that is there already takes the place of that file."""

    def write(documents: list[Document], watch: Watch) -> Changes:
        if not isinstance(index.embeddings, ModelEmbeddings):
            raise ValueError(f"{index.path} was built with an embedding model that only a program can load. Add there.")
        return index.embedding_with(watched(index.embeddings, watch)).update(documents)

    return write


def watched(embeddings: ModelEmbeddings, watch: Watch) -> ModelEmbeddings:
    """Return the same model, which tells of the texts that it has embedded, piece by piece."""
    twin = copy.copy(embeddings)
    size = _STATIC_PIECE if isinstance(embeddings, StaticEmbeddings) else _PIECE

    def encode(texts: Sequence[str], **options: Any) -> NDArray[np.float32]:
        parts = [np.zeros((0, embeddings.dimension), np.float32)]
        for start in range(0, len(texts), size):
            piece = texts[start : start + size]
            parts.append(embeddings.encode(piece, **options))
            watch(piece)
        return np.concatenate(parts)

    twin.encode = encode  # type: ignore[method-assign]
    return twin
