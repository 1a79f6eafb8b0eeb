"""An index in a vector database: passages under ids of their own, so that what was interrupted can be done again."""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from numpy.typing import ArrayLike
from tqdm import tqdm

from rag_app.articles import NewArticles, distinct_articles
from rag_app.documents import searchable_text
from rag_app.embeddings import ModelEmbeddings
from rag_app.identity import check_model, describe_model, load_described
from rag_app.index_contract import Changes, Index
from rag_app.lexical import analysis
from rag_app.models import Backend
from rag_app.observability.logs import log_event
from rag_app.observability.tracing import span
from rag_app.passages import passage_metadata, split_documents
from rag_app.stores.address import Address
from rag_app.stores.server import WRITTEN, ServerStore, ServerWords
from rag_app.stores.servers import server_store

FORMAT = "korean-rag-server-1"
FORMS = ("auto", "exact")
_ASKED = 200
"""How many ids or texts are named to a server at once."""
_log = logging.getLogger(__name__)
T = TypeVar("T")


class ServerSnapshot(NamedTuple):
    """An index as it was when it was last looked at; searches see what has been written since, too."""

    manifest: dict[str, Any]
    store: ServerStore
    lexical: ServerWords


class ServerIndex(Index):
    """An open index in a vector database.

    Several processes may write at once: each passage is kept once, under its id. A write that is interrupted leaves a
    part of it; doing it again does only what is missing.
    """

    path: Address
    snapshot: ServerSnapshot

    def __init__(self, path: Address, embeddings: Embeddings) -> None:
        self.path = path
        self.embeddings = embeddings
        store = server_store(path, embeddings)
        check_server_manifest(path, manifest := store.manifest())
        check_model(path, manifest["model"], describe_model(embeddings))
        self.snapshot = ServerSnapshot({**manifest, **count_stored(store)}, store, ServerWords(store))

    def embedding_with(self, embeddings: Embeddings) -> Self:
        """Return the same index, opened with another object of the same model."""
        return type(self)(self.path, embeddings)

    def document_ids(self) -> set[str]:
        """Return the ids of all documents, which takes a while where there are many."""
        return {str(passage.metadata["doc_id"]) for passage in self.snapshot.store.scan({"start": 0})}

    def passages(self, doc_id: str) -> list[Document]:
        """Return the passages of a document; none if it is not in the index."""
        return list(self.snapshot.store.scan({"doc_id": doc_id}))

    def refresh(self) -> bool:
        """Look how much there is, and whether another model's index has taken the place.

        Raises:
            ValueError: It was built with another embedding model.
        """
        store = self.snapshot.store
        check_server_manifest(self.path, manifest := store.manifest())
        check_model(self.path, manifest["model"], describe_model(self.embeddings))
        before = self.snapshot.manifest
        self.snapshot = self.snapshot._replace(manifest={**manifest, **count_stored(store)})
        return self.snapshot.manifest != before

    def add(self, documents: Iterable[Document], *, progress: bool = False) -> Changes:
        """Add documents; those whose text is in the index already are skipped."""
        new = NewArticles(documents)
        with span("index", index=self.path.name):
            added = write_articles(self.snapshot.store, new, self.snapshot.manifest, progress=progress)
        self._told("added", added)
        return Changes(added=added, skipped=new.skipped + new.added - added)

    def update(self, documents: Iterable[Document], *, progress: bool = False) -> Changes:
        """Bring the index in line with new versions of files: what is new comes, then what they no longer hold goes."""
        store = self.snapshot.store
        articles, repeated = distinct_articles(documents)
        paths = sorted({str(article.metadata["path"]) for article in articles.values() if "path" in article.metadata})
        present: dict[str, dict[str, Any]] = {}
        for key, values in (("doc_id", sorted(articles)), ("path", paths)):
            for some in _some(values, _ASKED):
                for passage in store.scan({key: {"$in": some}, "start": 0}):
                    present[str(passage.metadata["doc_id"])] = passage.metadata
        same = {
            doc_id
            for doc_id in articles.keys() & present.keys()
            if present[doc_id] == passage_metadata(articles[doc_id])(0, present[doc_id]["end"])
        }
        new = [article for doc_id, article in articles.items() if doc_id not in same]
        with span("index", index=self.path.name):
            write_articles(store, new, self.snapshot.manifest, again=True, progress=progress)
            self._delete(present.keys() - articles.keys())
        self._told("updated", len(new))
        replaced = len(present.keys() & articles.keys() - same)
        stale = len(present.keys() - articles.keys())
        return Changes(added=len(new), skipped=repeated + len(same), removed=stale + replaced)

    def delete(self, doc_ids: Iterable[str]) -> Changes:
        """Delete documents with all their passages; unknown ids change nothing."""
        removed = self._delete(set(doc_ids))
        self._told("deleted", removed)
        return Changes(removed=removed)

    def _delete(self, doc_ids: Collection[str]) -> int:
        store, removed = self.snapshot.store, set()
        for some in _some(sorted(doc_ids), _ASKED):
            passages = list(store.scan({"doc_id": {"$in": some}}))
            removed |= {passage.metadata["doc_id"] for passage in passages}
            for ids in _some([str(passage.id) for passage in passages], WRITTEN):
                store.delete(ids)
        return len(removed)

    def _told(self, what: str, count: int) -> None:
        self.refresh()
        log_event(_log, f"documents {what}", index=self.path.name, count=count)


def build_server_index(
    address: Address,
    documents: Iterable[Document],
    embeddings: Embeddings,
    *,
    passage_chars: int,
    vectors: str,
    user_dictionary: Path | None,
    replace: bool,
    progress: bool,
) -> ServerIndex:
    """Build an index in a vector database and return it open; see `rag_app.index.build_index`.

    Nobody sees it before it is complete. One that was interrupted is gone on with by the same call.
    """
    manifest = new_manifest(embeddings, passage_chars=passage_chars, vectors=vectors, user_dictionary=user_dictionary)
    draft = begin_index(address, embeddings, manifest, replace=replace)
    with span("index", index=address.name):
        write_articles(draft, NewArticles(documents), manifest, progress=progress)
        publish_index(draft)
    return ServerIndex(address, embeddings)


def open_server_index(
    address: Address, embeddings: Embeddings | None = None, *, backend: Backend | None
) -> ServerIndex:
    """Open an index in a vector database; see `rag_app.index.open_index`."""
    if embeddings is None:
        check_server_manifest(address, manifest := server_store(address).manifest())
        embeddings = load_described(address, manifest["model"], backend)
    return ServerIndex(address, embeddings)


def new_manifest(
    embeddings: Embeddings, *, passage_chars: int, vectors: str, user_dictionary: Path | None
) -> dict[str, Any]:
    """Return what an index is begun with.

    Raises:
        ValueError: There is no such form of vectors on a server.
    """
    if vectors not in FORMS:
        raise ValueError(f"A vector database has no vectors of the form {vectors!r}. Take one of {', '.join(FORMS)}.")
    if user_dictionary is not None:
        raise ValueError("A user dictionary is kept in an index in a folder alone. Leave it out.")
    return {
        "format": FORMAT,
        "model": describe_model(embeddings),
        "analysis": analysis(),
        "passage_chars": passage_chars,
        "vectors": vectors,
    }


def begin_index(address: Address, embeddings: Embeddings, manifest: Mapping[str, Any], *, replace: bool) -> ServerStore:
    """Return a store to fill, which nobody sees before `publish_index`.

    Raises:
        FileExistsError: There is an index already and ``replace`` was not asked for.
    """
    store = server_store(address, embeddings)
    if not replace:
        try:
            store.manifest()
        except FileNotFoundError:
            pass
        else:
            raise FileExistsError(f"{address} holds an index already. Add to it, replace it, or choose another name.")
    return store.begin(manifest)


def publish_index(draft: ServerStore) -> None:
    """Let what was filled take the place of what has the address.

    Raises:
        ValueError: It is empty.
    """
    if not draft.count():
        raise ValueError("There is no document to index. Give at least one that holds text.")
    draft.publish()


def write_articles(
    store: ServerStore,
    articles: Iterable[Document],
    manifest: Mapping[str, Any],
    *,
    again: bool = False,
    progress: bool = False,
) -> int:
    """Split articles, and embed and write those of their passages that are not there; return how many articles had any.

    Args:
        store: Where to.
        articles: From `rag_app.articles`: normalised, with ids.
        manifest: Of the index.
        again: Whether to write those too that are there.
        progress: Show a progress bar on stderr.
    """
    embeddings = store.embeddings
    fits = embeddings.fits if isinstance(embeddings, ModelEmbeddings) else None
    passages = split_documents(articles, max_chars=manifest["passage_chars"], fits=fits)
    written: set[str] = set()
    with tqdm(desc="index", unit=" passages", disable=not progress) as bar:
        for some in _some(passages, WRITTEN):
            known = set() if again else store.known([str(passage.id) for passage in some])
            if missing := [passage for passage in some if passage.id not in known]:
                store.upsert(store.rows(missing, embed_passages(missing, embeddings)))
                written |= {passage.metadata["doc_id"] for passage in missing}
            bar.update(len(some))
    return len(written)


def embed_passages(passages: Sequence[Document], embeddings: Embeddings) -> ArrayLike:
    """Return the vectors of passages, ``(n, dim)``."""
    texts = [searchable_text(passage) for passage in passages]
    if isinstance(embeddings, ModelEmbeddings):
        return embeddings.encode(texts)
    return embeddings.embed_documents(texts)


def count_stored(store: ServerStore) -> dict[str, int]:
    """Return how many documents and passages there are; each document has one passage that begins with its text."""
    return {"documents": store.count({"start": 0}), "passages": store.count()}


def check_server_manifest(address: Address, manifest: Mapping[str, Any]) -> None:
    """Check that this version can search an index.

    Raises:
        ValueError: It cannot, or others made it; says what to do.
    """
    if manifest.get("format") != FORMAT:
        raise ValueError(f"{address} was not made by this version. Choose another name, or replace it.")
    if manifest["analysis"] != analysis():
        raise ValueError(
            f"{address} was built with another analysis ({manifest['analysis']}, now {analysis()}). "
            f"Build it anew: rag-app index PATH... --index {address} --replace"
        )


def _some(items: Iterable[T], count: int) -> Iterator[list[T]]:
    rest = iter(items)
    while some := list(islice(rest, count)):
        yield some
