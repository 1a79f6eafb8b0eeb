"""An index in a vector database: passages under ids of their own, so that what was interrupted can be done again."""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby, islice
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
from rag_app.passages import split_documents
from rag_app.stores.address import Address
from rag_app.stores.server import WRITTEN, ServerStore, ServerWords
from rag_app.stores.servers import server_store
from rag_app.whole_article import is_whole

FORMAT = "korean-rag-server-1"
FORMS = ("auto", "exact")
_ASKED = 200
"""How many ids or texts are named to a server at once."""
_EMPTY = "There is no document to index. Give at least one that holds text."
_log = logging.getLogger(__name__)
T = TypeVar("T")


class ServerSnapshot(NamedTuple):
    """An index as it was when it was last looked at; searches see what has been written since, too."""

    manifest: dict[str, Any]
    store: ServerStore
    lexical: ServerWords


class ServerIndex(Index):
    """An open index in a vector database.

    What a database does of a write is done for everybody at once, but a write of many passages is many steps:

    - Each passage is kept once, under its id, however often and from however many processes it is written.
    - A write that was interrupted, at any point, is completed by the same call: it does what is missing, and no more.
      An article of which there is any passage has its first passage, so it is listed, counted, updated and deleted.
    - An update writes what is new before it deletes what is old: whoever searches meanwhile may find both, never
      neither.
    - Searches see at once what this process wrote; what others wrote at once or a moment later, as the store says.
      `refresh` brings up to date what is kept here: the counts, and the values of metadata where the store keeps them.
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
        """Look how much there is, and whether another model's index has taken the place; return whether it changed.

        Raises:
            ValueError: It was built with another embedding model.
        """
        store, manifest, before = self.snapshot.store, self._manifest(), self.snapshot.manifest
        self.snapshot = self.snapshot._replace(manifest={**manifest, **count_stored(store)})
        if changed := self.snapshot.manifest != before:
            store.forget()
        return changed

    def _manifest(self) -> dict[str, Any]:
        """Return that of the index that has the address now, if it is of the model that this one embeds with."""
        check_server_manifest(self.path, manifest := self.snapshot.store.manifest())
        check_model(self.path, manifest["model"], describe_model(self.embeddings))
        return manifest

    def add(self, documents: Iterable[Document], *, progress: bool = False) -> Changes:
        """Add documents; those whose text is in the index already are skipped."""
        new = NewArticles(documents)
        with span("index", index=self.path.name):
            added = write_articles(self.snapshot.store, new, self._manifest(), progress=progress)
        self._told("added", added)
        return Changes(added=added, skipped=new.skipped + new.added - added)

    def update(self, documents: Iterable[Document], *, progress: bool = False) -> Changes:
        """Bring the index in line with new versions of files: what is new comes, then what they no longer hold goes."""
        store, manifest = self.snapshot.store, self._manifest()
        articles, repeated = distinct_articles(documents)
        paths = {article.metadata["path"] for article in articles.values() if "path" in article.metadata}
        stale = {
            str(passage.metadata["doc_id"])
            for some in _some(sorted(paths), _ASKED)
            for passage in store.scan({"path": {"$in": some}, "start": 0})
        } - articles.keys()
        there = articles_in(store, articles)
        with span("index", index=self.path.name):
            new = set(_write(store, iter(articles.values()), manifest, again=True, progress=progress))
            _delete_articles(store, stale)
        self._told("updated", len(new))
        removed = len(stale) + len(new & there)
        return Changes(added=len(new), skipped=repeated + len(articles) - len(new), removed=removed)

    def delete(self, doc_ids: Iterable[str]) -> Changes:
        """Delete documents with all their passages; unknown ids change nothing."""
        removed = _delete_articles(self.snapshot.store, set(doc_ids))
        self._told("deleted", removed)
        return Changes(removed=removed)

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

    Nobody sees it before it is complete: an index that it replaces, perhaps of another model, is searched until then,
    and what is added to that one meanwhile goes with it. One that was interrupted is gone on with by the same call;
    what it had written of documents that are not given any more is deleted. Let one process build at an address at a
    time.
    """
    manifest = new_manifest(embeddings, passage_chars=passage_chars, vectors=vectors, user_dictionary=user_dictionary)
    _check_vacant(address, replace=replace)
    articles = NewArticles(documents)
    if (first := next(articles, None)) is None:
        raise ValueError(_EMPTY)
    draft = begin_index(address, embeddings, manifest, replace=replace)
    interrupted = draft.count() > 0
    given: set[str] = set()
    with span("index", index=address.name):
        rest = _noting(chain([first], articles), given) if interrupted else chain([first], articles)
        write_articles(draft, rest, manifest, again=interrupted, progress=progress)
        if interrupted:
            keep_articles(draft, given)
        publish_index(draft, replace=replace)
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
        raise ValueError(
            f"A user dictionary goes with an index in a folder; a vector database keeps none. Leave {user_dictionary} "
            "out (user_dictionary, --user-dictionary), or give a folder for the index."
        )
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
    _check_vacant(address, replace=replace)
    return server_store(address, embeddings).begin(manifest)


def _check_vacant(address: Address, *, replace: bool) -> None:
    if not replace:
        try:
            server_store(address).manifest()
        except FileNotFoundError:
            return
        raise FileExistsError(f"{address} holds an index already. Add to it, replace it, or choose another name.")


def publish_index(draft: ServerStore, *, replace: bool) -> None:
    """Let what was filled take the place of what has the address.

    Raises:
        FileExistsError: Somebody else's index has come there meanwhile, and ``replace`` was not asked for.
        ValueError: It is empty.
    """
    if not draft.count():
        raise ValueError(_EMPTY)
    _check_vacant(draft.address, replace=replace)
    draft.publish()


def keep_articles(draft: ServerStore, given: Collection[str]) -> None:
    """Delete the articles but these, all of which are there: what an interrupted build wrote of other documents."""
    if draft.count({"start": 0}) > len(given):
        there = {str(passage.metadata["doc_id"]) for passage in draft.scan({"start": 0})}
        _delete_articles(draft, there.difference(given))


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
        again: Whether to replace passages that are there with other metadata; otherwise an article whose text is there
            stays as it is.
        progress: Show a progress bar on stderr.
    """
    return sum(1 for _ in _write(store, articles, manifest, again=again, progress=progress))


def _write(
    store: ServerStore, articles: Iterable[Document], manifest: Mapping[str, Any], *, again: bool, progress: bool
) -> Iterator[str]:
    """Write what is missing of articles, and yield the doc_ids of those of which anything was."""
    fits = store.embeddings.fits if isinstance(store.embeddings, ModelEmbeddings) else None
    passages = split_documents(articles, max_chars=manifest["passage_chars"], fits=fits)
    with tqdm(desc="index", unit=" passages", disable=not progress) as bar:
        for some in _whole_articles(passages, WRITTEN):
            missing, gone = (_differing if again else _unknown)(store, some)
            for batch in _some(missing, WRITTEN):
                store.upsert(store.rows(batch, embed_passages(batch, store.embeddings)))
            for ids in _some(gone, WRITTEN):
                store.delete(ids)
            bar.update(sum(map(len, some.values())))
            yield from dict.fromkeys([str(p.metadata["doc_id"]) for p in missing] + [_article_of(id_) for id_ in gone])


def _whole_articles(passages: Iterable[Document], count: int) -> Iterator[dict[str, list[Document]]]:
    """Yield some articles at a time, about so many passages, by doc_id."""
    some: dict[str, list[Document]] = {}
    held = 0
    for doc_id, of_one in groupby(passages, key=lambda passage: str(passage.metadata["doc_id"])):
        some[doc_id] = list(of_one)
        held += len(some[doc_id])
        if held >= count:
            yield some
            some, held = {}, 0
    if some:
        yield some


_Work = tuple[list[Document], list[str]]
"""The passages to write, and the ids of those to delete afterwards."""


def _unknown(store: ServerStore, articles: Mapping[str, list[Document]]) -> _Work:
    """Return what there is to do so that the texts of articles are there, however they are split."""
    ids = {id_ for doc_id in articles for id_ in _first_ids(doc_id)}
    ids |= {str(passage.id) for passages in articles.values() for passage in passages}
    known = {id_ for some in _some(sorted(ids), WRITTEN) for id_ in store.known(some)}
    begun = {
        doc_id: passages
        for doc_id, passages in articles.items()
        if not known.isdisjoint(_first_ids(doc_id)) and not known.issuperset(str(passage.id) for passage in passages)
    }
    stored = _stored(store, begun)
    broken = {doc_id: passages for doc_id, passages in begun.items() if not is_whole(stored[doc_id])}
    missing = [
        passage
        for doc_id, passages in articles.items()
        if doc_id not in begun
        for passage in passages
        if passage.id not in known
    ]
    more, gone = _difference(broken, stored)
    return missing + more, gone


def _differing(store: ServerStore, articles: Mapping[str, list[Document]]) -> _Work:
    """Return what there is to do so that articles are there as they would be written today."""
    stored = _stored(store, articles_in(store, articles))
    return _difference(articles, {doc_id: stored.get(doc_id, []) for doc_id in articles})


def _difference(articles: Mapping[str, list[Document]], stored: Mapping[str, list[Document]]) -> _Work:
    missing, gone = [], []
    for doc_id, passages in articles.items():
        there = {str(passage.id): (passage.page_content, passage.metadata) for passage in stored[doc_id]}
        missing += [p for p in passages if there.pop(str(p.id), None) != (p.page_content, p.metadata)]
        gone += list(there)
    return missing, gone


def _stored(store: ServerStore, doc_ids: Collection[str]) -> dict[str, list[Document]]:
    found: dict[str, list[Document]] = {doc_id: [] for doc_id in doc_ids}
    for some in _some(doc_ids, _ASKED):
        for passage in store.scan({"doc_id": {"$in": some}}):
            found[str(passage.metadata["doc_id"])].append(passage)
    return found


def _delete_articles(store: ServerStore, doc_ids: Collection[str]) -> int:
    """Delete articles, the first passage of each last, and return how many there were."""
    removed = 0
    for some in _some(sorted(doc_ids), _ASKED):
        stored = _stored(store, some)
        removed += sum(map(bool, stored.values()))
        passages = [passage for passages in stored.values() for passage in passages]
        passages.sort(key=lambda passage: passage.metadata["start"], reverse=True)
        for batch in _some(passages, WRITTEN):
            store.delete([str(passage.id) for passage in batch])
    return removed


def _noting(articles: Iterable[Document], doc_ids: set[str]) -> Iterator[Document]:
    for article in articles:
        doc_ids.add(str(article.metadata["doc_id"]))
        yield article


def articles_in(store: ServerStore, doc_ids: Iterable[str]) -> set[str]:
    """Return which of these articles there are."""
    first = (id_ for doc_id in doc_ids for id_ in _first_ids(doc_id))
    return {_article_of(id_) for some in _some(first, WRITTEN) for id_ in store.known(some)}


def _first_ids(doc_id: str) -> tuple[str, str]:
    """Return what the id of an article's first passage can be; see `rag_app.passages.split_documents`."""
    return doc_id, f"{doc_id}:0"


def _article_of(id_: str) -> str:
    return id_.partition(":")[0]


def embed_passages(passages: Sequence[Document], embeddings: Embeddings) -> ArrayLike:
    """Return the vectors of passages, ``(n, dim)``."""
    texts = [searchable_text(passage) for passage in passages]
    if isinstance(embeddings, ModelEmbeddings):
        return embeddings.encode(texts)
    return embeddings.embed_documents(texts)


def count_stored(store: ServerStore) -> dict[str, int]:
    """Return how many documents and passages there are."""
    return {"documents": store.count_articles(), "passages": store.count()}


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
