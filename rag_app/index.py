"""Building and opening an index, in a folder or in a vector database."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, overload

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from rag_app.folder_index import FolderIndex, build_folder_index, open_folder_index
from rag_app.index_contract import Changes, Index, Snapshot
from rag_app.models import Backend
from rag_app.passages import PASSAGE_CHARS
from rag_app.server_index import ServerIndex, build_server_index, open_server_index
from rag_app.stores.address import Address, index_place

__all__ = ["Changes", "Index", "Snapshot", "build_index", "open_index"]


@overload
def build_index(
    path: Path,
    documents: Iterable[Document],
    embeddings: Embeddings,
    *,
    passage_chars: int = ...,
    vectors: str = ...,
    user_dictionary: Path | None = ...,
    replace: bool = ...,
    progress: bool = ...,
) -> FolderIndex: ...
@overload
def build_index(
    path: Address,
    documents: Iterable[Document],
    embeddings: Embeddings,
    *,
    passage_chars: int = ...,
    vectors: str = ...,
    user_dictionary: Path | None = ...,
    replace: bool = ...,
    progress: bool = ...,
) -> ServerIndex: ...
@overload
def build_index(
    path: str,
    documents: Iterable[Document],
    embeddings: Embeddings,
    *,
    passage_chars: int = ...,
    vectors: str = ...,
    user_dictionary: Path | None = ...,
    replace: bool = ...,
    progress: bool = ...,
) -> Index: ...
def build_index(
    path: str | Path | Address,
    documents: Iterable[Document],
    embeddings: Embeddings,
    *,
    passage_chars: int = PASSAGE_CHARS,
    vectors: str = "auto",
    user_dictionary: Path | None = None,
    replace: bool = False,
    progress: bool = False,
) -> Index:
    """Build an index and return it open.

    Args:
        path: A folder, created when missing, or an address in a vector database; see
            `rag_app.stores.address.Address`.
        documents: Any LangChain documents, for example from `rag_app.documents.load_documents`. Repeated texts count
            once. A document goes by the hash of its text: an id of your own, and metadata under the names that
            searches write (``doc_id``, ``start``, ``end``, ``stages``, ``score``), are kept as ``source_...``.
        embeddings: The embedding model; the index can only be opened with the same one.
        passage_chars: Longer documents are split on sentences into passages of at most this many characters, and
            shorter where one of our own embedding models would not read a passage to its end.
        vectors: How vectors are searched. ``"exact"`` compares all; ``"ivf"`` those of the nearest of about
            ``4 * sqrt(n)`` lists, as many lists as it takes to find 0.99 of the ten nearest to sampled questions;
            ``"rabitq"`` likewise by one bit for each dimension, then compares the best exactly. ``"auto"`` is the first
            up to 100,000 passages, the second up to 3,000,000, the third beyond. The manifest says which it is, with
            the recall that was measured; a growing index changes over by itself. A vector database takes ``"exact"``,
            and for ``"auto"`` the index that its store's module names.
        user_dictionary: Words for the morpheme analysis; copied into the index. See `rag_app.korean.Analyzer`.
        replace: Replace an index that is there already; it stays whole until the new one is complete.
        progress: Show a progress bar on stderr.

    Raises:
        FileExistsError: There is an index already and ``replace`` was not asked for.
        ValueError: There is no document, one is empty, its metadata cannot be stored, or there is no such form of
            vectors.
        BlockingIOError: Another process is writing there.
        ConnectionError: The vector database does not answer.
        ImportError: What its address needs is not installed; says how to install it.
    """
    place = index_place(path)
    options: dict[str, Any] = {
        "passage_chars": passage_chars,
        "vectors": vectors,
        "user_dictionary": user_dictionary,
        "replace": replace,
        "progress": progress,
    }
    if isinstance(place, Address):
        return build_server_index(place, documents, embeddings, **options)
    return build_folder_index(place, documents, embeddings, **options)


@overload
def open_index(
    path: Path, embeddings: Embeddings | None = ..., *, backend: Backend | None = ..., check: bool = ...
) -> FolderIndex: ...
@overload
def open_index(
    path: Address, embeddings: Embeddings | None = ..., *, backend: Backend | None = ..., check: bool = ...
) -> ServerIndex: ...
@overload
def open_index(
    path: str | Path | Address, embeddings: Embeddings | None = ..., *, backend: Backend | None = ..., check: bool = ...
) -> Index: ...
def open_index(
    path: str | Path | Address,
    embeddings: Embeddings | None = None,
    *,
    backend: Backend | None = None,
    check: bool = True,
) -> Index:
    """Open an index for searching and changing; one in a folder having checked every byte of it.

    Args:
        path: The folder or address it was built in.
        embeddings: The model it was built with; None loads that model by the name in the manifest.
        backend: What a transformer that is loaded so runs on; see `rag_app.embeddings.load_embeddings`.
        check: Whether to compare every file with its checksum, which takes about a second for each gigabyte. Without
            it a large index opens in milliseconds; `rag_app.check.check_index` checks it when there is time.

    Raises:
        FileNotFoundError: There is no index.
        ValueError: It is damaged, or was built with another model.
        ConnectionError: The vector database does not answer.
        ImportError: What its address needs is not installed; says how to install it.
    """
    place = index_place(path)
    if isinstance(place, Address):
        return open_server_index(place, embeddings, backend=backend)
    return open_folder_index(place, embeddings, backend=backend, check=check)
