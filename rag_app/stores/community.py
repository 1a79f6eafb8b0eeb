"""Importing what ``FAISS.save_local`` of langchain-community saved, without running what is in its pickle."""

from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from rag_app.disk.faiss_files import FLAT, read_faiss
from rag_app.stores.faiss import FaissStore
from rag_app.stores.pickled_documents import check_size, load_pickled


def import_community_index(folder: str | Path, embedding: Embeddings, *, index_name: str = "index") -> FaissStore:
    """Return the documents and vectors of a folder written by langchain-community's ``FAISS.save_local``.

    Vectors are normalised on the way, so scores become cosines whatever distance the index used.

    Args:
        folder: Holds ``index.faiss`` and ``index.pkl``.
        embedding: The model that the index was built with.
        index_name: The name given to ``save_local``, if it was another.

    Raises:
        FileNotFoundError: One of the two files is missing.
        ValueError: The files hold something else, do not fit together, or the vectors are of an index that
            ``from_texts`` and ``from_documents`` do not make.
    """
    vectors_path, documents_path = (Path(folder) / f"{index_name}{suffix}" for suffix in (".faiss", ".pkl"))
    for path in (vectors_path, documents_path):
        if not path.is_file():
            raise FileNotFoundError(f"There is no {path.name} in {folder}. Give the folder that save_local wrote.")
    try:
        documents = _read_documents(documents_path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{documents_path} holds no documents saved by save_local: {error}. It was not loaded.") from (
            error
        )
    index = read_faiss(vectors_path, FLAT)
    if len(documents) != index.ntotal:
        raise ValueError(
            f"{vectors_path} holds {index.ntotal} vectors but {documents_path} lists {len(documents)} documents."
        )
    store = FaissStore(embedding)
    if documents:
        store.add_vectors(documents, np.asarray(index.reconstruct_n(0, index.ntotal), dtype=np.float32))
    return store


def _read_documents(content: bytes) -> list[Document]:
    """Return the documents of a pickle in the order of their vectors."""
    try:
        docstore, ids_by_row = load_pickled(content)
        saved: dict[str, Any] = docstore._dict
        ids = [ids_by_row[row] for row in range(len(ids_by_row))]
        parts = [(id_, saved[id_].page_content, saved[id_].metadata) for id_ in ids]
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    check_size([parts], 10 * len(content))
    if not all(isinstance(metadata, dict) and all(isinstance(key, str) for key in metadata) for *_, metadata in parts):
        raise ValueError("it has metadata that is none")
    return [Document(page_content=text, metadata=dict(metadata), id=id_) for id_, text, metadata in parts]
