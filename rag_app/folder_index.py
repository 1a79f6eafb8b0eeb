"""An index in a folder: documents, vectors and the lexical index, changed together or not at all."""

import logging
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain, tee
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from rag_app.articles import NewArticles, distinct_articles
from rag_app.disk.damage import REMEDY
from rag_app.disk.segmented import SegmentedDocuments
from rag_app.documents import searchable_text
from rag_app.embeddings import ModelEmbeddings
from rag_app.filters import matching_ids
from rag_app.forking import Lock
from rag_app.generation_writer import Before, Filling, change_store, choose_form, link, link_files, passage_encoder
from rag_app.generations import (
    MANIFEST,
    generation_folder,
    new_generation,
    open_generation,
    read_manifest,
    writing,
)
from rag_app.identity import check_model, describe_model, load_described
from rag_app.index_contract import Changes, Index
from rag_app.index_manifest import check_manifest
from rag_app.korean import Analyzer, analyzer
from rag_app.lexical import LexicalIndex, analysis
from rag_app.models import Backend
from rag_app.observability.logs import log_event
from rag_app.observability.tracing import span
from rag_app.passages import passage_metadata, split_documents
from rag_app.stores.faiss import FaissStore

FORMATS = ("korean-rag-1", "korean-rag-2")
"""Of an index whose documents and vectors are read into memory, and of one that is searched on disk."""
LEXICAL = "lexical"
_log = logging.getLogger(__name__)
_USER_DICTIONARY = "user_dictionary.txt"


class FolderSnapshot(NamedTuple):
    """One committed version of an index; later writes leave it as it is."""

    manifest: dict[str, Any]
    store: FaissStore
    lexical: LexicalIndex


class FolderIndex(Index):
    """An open index in a folder.

    Reading is thread-safe and sees the version that was current when `snapshot` was taken. A write opens the newest
    version, changes it and commits it in one atomic step; a second writer gets BlockingIOError.

    Attributes:
        path: The index's folder.
        embeddings: What embeds questions and new documents.
        snapshot: The version this object reads.
    """

    path: Path
    snapshot: FolderSnapshot

    def __init__(self, path: Path, embeddings: Embeddings, snapshot: FolderSnapshot, *, check: bool = True) -> None:
        self.path = path
        self.embeddings = embeddings
        self.snapshot = snapshot
        self._check = check
        self._lock = Lock()

    def embedding_with(self, embeddings: Embeddings) -> Self:
        """Return the same index, opened with another object of the same model."""
        return type(self)(self.path, embeddings, self.snapshot, check=self._check)

    def document_ids(self) -> set[str]:
        """Return the ids of all documents; a document has one or more passages."""
        return _document_ids(self.snapshot.store)

    def passages(self, doc_id: str) -> list[Document]:
        """Return the passages of a document, in no particular order; none if it is not in the index."""
        store = self.snapshot.store
        passages = store.get_by_ids(list(_passages(store, [doc_id])))
        for passage in passages:
            _check_passage(self.path, passage)
        return passages

    def refresh(self) -> bool:
        """Read the newest committed version; return whether it is another than before.

        Raises:
            ValueError: It is damaged, or was built with another embedding model.
        """
        with self._lock:
            if read_manifest(self.path, format=FORMATS) == self.snapshot.manifest:
                return False
            self.snapshot = _read_snapshot(self.path, self.embeddings, check=self._check)
            return True

    def add(self, documents: Iterable[Document], *, progress: bool = False) -> Changes:
        """Add documents; those whose text is in the index already are skipped.

        Raises:
            BlockingIOError: Another process is writing.
            ValueError: A document is empty, or its metadata cannot be stored.
        """
        with writing(self.path):
            self.refresh()
            new = NewArticles(documents, _known_articles(self.snapshot.store))
            self._commit(new, removed=set(), progress=progress)
        return Changes(added=new.added, skipped=new.skipped)

    def update(self, documents: Iterable[Document], *, progress: bool = False) -> Changes:
        """Bring the index in line with new versions of files: what they no longer hold goes, what is new comes.

        Every document from a ``path`` that one of the given documents names, and that is not among them, is removed;
        one whose text is the same but whose metadata changed is replaced.
        """
        with writing(self.path):
            self.refresh()
            articles, repeated = distinct_articles(documents)
            paths = {article.metadata["path"] for article in articles.values() if "path" in article.metadata}
            store = self.snapshot.store
            ids = _passages(store, articles) | set(matching_ids(store.documents, {"path": {"$in": paths}}))
            passages = (store.documents[id_] for id_ in ids)
            present = {passage.metadata["doc_id"]: passage.metadata for passage in passages}
            same = {doc_id for doc_id in articles.keys() & present.keys() if _is_of(present[doc_id], articles[doc_id])}
            stale = {doc_id for doc_id, metadata in present.items() if metadata.get("path") in paths}
            removed = (stale | (articles.keys() & present.keys())) - same
            new = [article for doc_id, article in articles.items() if doc_id not in same]
            self._commit(iter(new), removed=removed, progress=progress)
        return Changes(added=len(new), skipped=repeated + len(same), removed=len(removed))

    def delete(self, doc_ids: Iterable[str]) -> Changes:
        """Delete documents with all their passages; unknown ids change nothing."""
        with writing(self.path):
            self.refresh()
            removed = set(_known_articles(self.snapshot.store)(set(doc_ids)))
            self._commit(iter(()), removed=removed, progress=False)
        return Changes(removed=len(removed))

    def _commit(self, new: Iterator[Document], removed: set[str], *, progress: bool) -> None:
        first = next(new, None)
        if first is None and not removed:
            return
        before = self.snapshot
        articles = new if first is None else chain([first], new)
        manifest = {key: value for key, value in before.manifest.items() if key not in {"generation", "files"}}
        with (
            span("index", index=self.path.name, removed=len(removed)) as traced,
            passage_encoder(self.path, self.embeddings, manifest["model"]["dimension"]) as encode,
            new_generation(self.path, manifest) as folder,
        ):
            old = generation_folder(self.path, before.manifest["generation"])
            if (old / _USER_DICTIONARY).exists():
                link(old / _USER_DICTIONARY, folder / _USER_DICTIONARY)
            gone = _passages(before.store, removed)
            lexical = _change_lexical(before, old, folder, gone)
            filling = Filling(folder, lexical, self.embeddings, encode, progress)
            details = manifest.get("vectors", {"asked": "auto", "form": "exact"})
            store = _fill(filling, manifest, Before(before.store, old, details), articles, gone)
            traced.note(documents=manifest["documents"], passages=manifest["passages"])
        self._read(store, lexical)

    def _read(self, store: FaissStore | None, lexical: LexicalIndex) -> None:
        """Take what has just been committed for the current version; a store that is not in memory is opened."""
        manifest = read_manifest(self.path, format=FORMATS)
        if store is None:
            folder = generation_folder(self.path, manifest["generation"])
            store = FaissStore.read(folder, self.embeddings, manifest["vectors"])
        with self._lock:
            self.snapshot = FolderSnapshot(manifest, store, lexical)
        figures = {name: manifest[name] for name in ("generation", "documents", "passages")}
        log_event(_log, "index committed", index=self.path.name, **figures)


def build_folder_index(
    folder: Path,
    documents: Iterable[Document],
    embeddings: Embeddings,
    *,
    passage_chars: int,
    vectors: str,
    user_dictionary: Path | None,
    replace: bool,
    progress: bool,
) -> FolderIndex:
    """Build an index in a folder and return it open; see `rag_app.index.build_index`."""
    choose_form(vectors, 0)
    with writing(folder):
        if (folder / MANIFEST).exists() and not replace:
            raise FileExistsError(f"{folder} holds an index already. Add to it, replace it, or choose another folder.")
        model = describe_model(embeddings)
        manifest: dict[str, Any] = {
            "model": model,
            "analysis": analysis(),
            "passage_chars": passage_chars,
        }
        with (
            span("index", index=folder.name) as traced,
            passage_encoder(folder, embeddings, model["dimension"]) as encode,
            new_generation(folder, manifest) as generation,
        ):
            if user_dictionary is not None:
                shutil.copyfile(user_dictionary, generation / _USER_DICTIONARY)
            lexical = LexicalIndex.create(_analyzer(generation), generation / LEXICAL)
            filling = Filling(generation, lexical, embeddings, encode, progress)
            before = Before(FaissStore(embeddings), None, {"asked": vectors, "form": "exact"})
            store = _fill(filling, manifest, before, NewArticles(documents), set())
            traced.note(documents=manifest["documents"], passages=manifest["passages"])
        index = FolderIndex(folder, embeddings, FolderSnapshot({}, FaissStore(embeddings), lexical))
        index._read(store, lexical)
        return index


def open_folder_index(
    folder: Path, embeddings: Embeddings | None = None, *, backend: Backend | None, check: bool
) -> FolderIndex:
    """Open an index in a folder; see `rag_app.index.open_index`."""
    if embeddings is None:
        check_manifest(folder, manifest := read_manifest(folder, format=FORMATS))
        embeddings = load_described(folder, manifest["model"], backend)
    return FolderIndex(folder, embeddings, _read_snapshot(folder, embeddings, check=check), check=check)


def _read_snapshot(path: Path, embeddings: Embeddings, *, check: bool) -> FolderSnapshot:
    def load(folder: Path, manifest: dict[str, Any]) -> FolderSnapshot:
        check_manifest(path, manifest)
        check_model(path, manifest["model"], describe_model(embeddings))
        if manifest["analysis"] != analysis():
            raise ValueError(
                f"{path} was built with another analysis ({manifest['analysis']}, now {analysis()}). "
                f"Build it anew: rag-app index PATH... --index {path} --replace"
            )
        lexical = LexicalIndex.open(_analyzer(folder), folder / LEXICAL)
        store = FaissStore.read(folder, embeddings, manifest.get("vectors"))
        check_parts(path, manifest, store, lexical)
        return FolderSnapshot(manifest, store, lexical)

    return open_generation(path, load, format=FORMATS, check=check)


def check_parts(path: Path, manifest: dict[str, Any], store: FaissStore, lexical: LexicalIndex) -> None:
    """Check what can be checked at once of parts that may have been put together by a stranger.

    Raises:
        ValueError: They do not fit together.
    """
    if {len(store), len(lexical)} != {manifest["passages"]}:
        raise ValueError(
            f"{path} has {len(store)} passages, {len(lexical)} in its lexical index, {manifest['passages']} in its "
            f"manifest. {REMEDY}"
        )
    documents = store.documents
    if not isinstance(documents, SegmentedDocuments):  # else they are looked at when they are read
        for document in documents.values():
            _check_passage(path, document)
    if len(store) and store.dimension != manifest["model"]["dimension"]:
        raise ValueError(f"{path} has vectors of {store.dimension} dimensions for {manifest['model']}. {REMEDY}")


def _check_passage(path: Path, passage: Document) -> None:
    found = [type(passage.metadata.get(key)) for key in ("doc_id", "start", "end")]
    if found != [str, int, int]:
        raise ValueError(f"{path} is damaged: it does not say of what article {passage.id} is a part. {REMEDY}")


def _analyzer(folder: Path) -> Analyzer:
    dictionary = folder / _USER_DICTIONARY
    return Analyzer(dictionary) if dictionary.exists() else analyzer()


def _fill(
    filling: Filling, manifest: dict[str, Any], before: Before, articles: Iterable[Document], gone: Collection[str]
) -> FaissStore | None:
    """Fill a generation and the rest of its manifest; return the store if it is in memory."""
    fits = filling.embeddings.fits if isinstance(filling.embeddings, ModelEmbeddings) else None
    passages = split_documents(articles, max_chars=manifest["passage_chars"], fits=fits)
    try:
        details, store = change_store(filling, before, passages, gone)
        opened = FaissStore.read(filling.folder, filling.embeddings, details) if store is None else store
        manifest.update(count_passages(opened))
        if not manifest["passages"] and before.folder is None:
            raise ValueError("There is no document to index. Give at least one that holds text.")
        filling.lexical.commit()
    except BaseException:
        filling.lexical.discard()
        raise
    manifest.update(format=FORMATS[0 if store is not None else 1], vectors=details)
    return store


def _change_lexical(before: FolderSnapshot, old: Path, folder: Path, gone: Collection[str]) -> LexicalIndex:
    """Return the lexical index of a new generation, open for writing, without some passages."""
    store = before.store
    if before.lexical.deleted + len(gone) > len(store) - len(gone):  # BM25 would go by passages that are long gone
        lexical = LexicalIndex.create(before.lexical.analyses, folder / LEXICAL)
        pairs = zip(store.documents, store.documents.values(), strict=True)  # faster on disk than their items
        kept = ((id_, passage) for id_, passage in pairs if id_ not in gone)
        ids, texts, metadatas = tee(kept, 3)
        lexical.add(
            (id_ for id_, _ in ids),
            (searchable_text(passage) for _, passage in texts),
            (passage.metadata for _, passage in metadatas),
        )
        return lexical
    # Tantivy's files never change, so both generations can share them; only its locks must be their own.
    link_files(old / LEXICAL, folder / LEXICAL)
    lexical = LexicalIndex.open(before.lexical.analyses, folder / LEXICAL)
    lexical.delete(gone)
    return lexical


def _known_articles(store: FaissStore) -> Callable[[Collection[str]], Collection[str]]:
    """Return what tells which of some doc_ids are in a store."""
    documents = store.documents
    if isinstance(documents, SegmentedDocuments):
        return lambda doc_ids: documents.rows_of_articles(doc_ids).keys()
    known = _document_ids(store)
    return known.intersection


def _passages(store: FaissStore, doc_ids: Collection[str]) -> set[str]:
    """Return the ids of the passages of some articles."""
    documents = store.documents
    if isinstance(documents, SegmentedDocuments):
        rows = [row for rows in documents.rows_of_articles(doc_ids).values() for row in rows]
        return set(documents.segments.ids(np.array(rows, np.int64)))
    return {id_ for id_, passage in documents.items() if passage.metadata["doc_id"] in doc_ids}


def _is_of(stored: dict[str, Any], article: Document) -> bool:
    """Whether a stored passage has the metadata that the article would give it today."""
    return stored == passage_metadata(article)(stored["start"], stored["end"])


def _document_ids(store: FaissStore) -> set[str]:
    if isinstance(store.documents, SegmentedDocuments):
        return {id_.partition(":")[0] for id_ in store.documents}  # a passage's id begins with that of its article
    return {passage.metadata["doc_id"] for passage in store.documents.values()}


def count_passages(store: FaissStore) -> dict[str, int]:
    """Return how many documents and passages a store holds, as the manifest keeps them."""
    documents = store.documents
    articles = documents.count_articles() if isinstance(documents, SegmentedDocuments) else len(_document_ids(store))
    return {"documents": articles, "passages": len(store)}
