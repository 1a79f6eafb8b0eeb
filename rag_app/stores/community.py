"""Importing what ``FAISS.save_local`` of langchain-community saved, without running what is in its pickle."""

import datetime
import pickle
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from rag_app.stores.faiss import FaissStore


class _Docstore:
    """Stands in for the in-memory docstore, so that langchain-community need not be installed."""

    _dict: dict[str, Document]


_CLASSES: dict[tuple[str, str], type] = {
    ("langchain_community.docstore.in_memory", "InMemoryDocstore"): _Docstore,
    ("langchain.docstore.in_memory", "InMemoryDocstore"): _Docstore,
    ("langchain_core.documents.base", "Document"): Document,
    ("langchain.schema.document", "Document"): Document,
    ("langchain.docstore.document", "Document"): Document,
    ("datetime", "date"): datetime.date,
    ("datetime", "datetime"): datetime.datetime,
}


class _Reader(pickle.Unpickler):
    """Builds documents and nothing else: any other class or function in the file is refused before it is called."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _CLASSES:
            raise ValueError(f"The file names {module}.{name}, which no index of documents needs. It was not loaded.")
        return _CLASSES[module, name]


def import_community_index(folder: str | Path, embedding: Embeddings, *, index_name: str = "index") -> FaissStore:
    """Return the documents and vectors of a folder written by langchain-community's ``FAISS.save_local``.

    Vectors are normalised on the way, so scores become cosines whatever distance the index used.

    Args:
        folder: Holds ``index.faiss`` and ``index.pkl``.
        embedding: The model that the index was built with.
        index_name: The name given to ``save_local``, if it was another.

    Raises:
        FileNotFoundError: One of the two files is missing.
        ValueError: The files hold something else, or do not fit together.
    """
    vectors_path, documents_path = (Path(folder) / f"{index_name}{suffix}" for suffix in (".faiss", ".pkl"))
    for path in (vectors_path, documents_path):
        if not path.is_file():
            raise FileNotFoundError(f"There is no {path.name} in {folder}. Give the folder that save_local wrote.")
    with documents_path.open("rb") as file:
        try:
            docstore, ids_by_row = _Reader(file).load()
            saved: dict[str, Document] = docstore._dict
            rows = sorted(ids_by_row)
            ids = [ids_by_row[row] for row in rows]
            documents = [
                Document(page_content=saved[id_].page_content, metadata=dict(saved[id_].metadata), id=id_)
                for id_ in ids
            ]
        except (pickle.UnpicklingError, AttributeError, EOFError, KeyError, TypeError) as error:
            raise ValueError(f"{documents_path} holds no documents saved by save_local: {error}") from error
    index = faiss.read_index(str(vectors_path))
    if rows != list(range(index.ntotal)):
        raise ValueError(
            f"{vectors_path} holds {index.ntotal} vectors but {documents_path} lists {len(rows)} documents."
        )
    store = FaissStore(embedding)
    if rows:
        store.add_vectors(documents, np.asarray(index.reconstruct_n(0, index.ntotal), dtype=np.float32))
    return store
