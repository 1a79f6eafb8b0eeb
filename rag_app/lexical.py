"""The Korean lexical index: BM25 over character bigrams and Kiwi morphemes at once, kept by Tantivy."""

import os
import re
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from itertools import islice, repeat
from math import inf, log
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import tantivy
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field, SkipValidation

from rag_app.by_word import ByWord, join_units, morphemes_by_word
from rag_app.disk.damage import REMEDY, panics_as_errors
from rag_app.disk.id_blocks import check_id_blocks
from rag_app.disk.id_hashes import HashedIds, HashFilter, hash_id
from rag_app.disk.metadata_terms import TermCondition, TermFilter, metadata_terms
from rag_app.documents import searchable_text
from rag_app.filters import Filter, matching_ids
from rag_app.korean import CONTENT_TAGS, Analyzer, marked_bigrams, normalise, normalise_question
from rag_app.scratch import scratch_folder
from rag_app.stages import with_stage

K1 = 1.2  # Tantivy's constant, which it does not let one change
_HEAP_BYTES = 256_000_000
_NAMED = 100  # ids that are named to Tantivy, which takes 20 microseconds for each
_DEEP = 4000  # hits that are looked through for the k wanted, where a filter keeps many, a microsecond each
_TERMS = 4000  # terms of metadata that are named to Tantivy, where a filter keeps few
_EVERY = "every"  # a field with the same term in every passage: its frequency counts deleted ones too, as BM25 does
_KEY = "key"  # the hash of the id, which can be read for many hits at once
_METADATA = "metadata"  # see `rag_app.disk.metadata_terms`
_OWN_FIELDS = ("id", _EVERY, _KEY, _METADATA)
FIELDS = {"bigrams": 1.0, "morphemes": 1.5}
"""How much each analysis counts; chosen on train questions, see ``finetune/LOG.md``."""

Analysis = Callable[[Sequence[str]], Iterable[Sequence[str]]]
"""Yields the units of each of several normalised texts; none is empty."""

_BATCH = 2048
_NAME = "The lexical index"
_SYSTEM_ERROR = re.compile(r"(?:\(os error |\bcode: )(\d+)")  # as Rust writes them


class LexicalHit(NamedTuple):
    """One found passage.

    Attributes:
        id: The passage's id.
        score: BM25, summed over the analyses with their weights.
        coverage: The score divided by the highest score this question could reach, 0 to 1. Unlike BM25 itself it can
            be compared between questions.
    """

    id: str
    score: float
    coverage: float


def korean_analyses(analyzer: Analyzer) -> dict[str, Analysis]:
    """Return the analyses of `FIELDS`: those of serving."""
    return {"bigrams": ByWord(lambda words: map(marked_bigrams, words)), "morphemes": morphemes_by_word(analyzer)}


def analysis() -> dict[str, Any]:
    """Return what the units of the lexical index depend on; a patch release of Kiwi keeps them."""
    kiwi = ".".join(version("kiwipiepy").split(".")[:2])
    return {
        "kiwipiepy": kiwi,
        "fields": dict(FIELDS),
        "tags": sorted(CONTENT_TAGS),
        "morphemes_of": "words",
        "metadata": True,
        "spelling": 2,  # of `normalise`: a text has the same doc_id only under the same one
    }


def check_analyses(weights: Mapping[str, float], known: Collection[str] = FIELDS) -> None:
    """Check the weights of analyses.

    Raises:
        ValueError: An analysis is not known, a weight is below 0 or no number, or all are 0.
    """
    if not set(weights) <= set(known) or not all(0 <= weight < inf for weight in weights.values()):
        raise ValueError(f"The analyses are {dict(weights)}. Weigh any of {', '.join(known)}, none below 0.")
    if not any(weights.values()):
        raise ValueError(f"No analysis counts: {dict(weights)}. Give one of {', '.join(known)} a weight above 0.")


def _schema(fields: Iterable[str]) -> tantivy.Schema:
    builder = tantivy.SchemaBuilder().add_text_field("id", stored=True, tokenizer_name="raw", index_option="basic")
    builder = builder.add_text_field(_EVERY, tokenizer_name="raw", index_option="basic")
    builder = builder.add_unsigned_field(_KEY, fast=True).add_unsigned_field(_METADATA, indexed=True)
    for field in fields:
        builder = builder.add_text_field(field, tokenizer_name="words", index_option="freq")
    return builder.build()


class LexicalIndex:
    """A Tantivy index of passages in several analyses, one field for each: character bigrams and morphemes in serving.

    These two fail on different questions, so their weighted sum beats either: see ``finetune/LOG.md``. Searching is
    thread-safe. A change is visible after `commit`. Make one with `create` or `open`.

    Attributes:
        analyses: Take passages and questions apart, by name.
    """

    def __init__(self, analyses: Mapping[str, Analysis], index: tantivy.Index) -> None:
        self.analyses = analyses
        self._index = index
        words = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build()
        self._index.register_tokenizer("words", words)
        self._index.config_reader(reload_policy="manual")
        self._index.reload()
        self._writer: tantivy.IndexWriter | None = None

    @classmethod
    def create(cls, analyses: Analyzer | Mapping[str, Analysis], path: Path | None = None) -> Self:
        """Return a new, empty index.

        Args:
            analyses: An analyser gives bigrams and morphemes, as in serving; or any analyses by name.
            path: The folder to keep it in; in memory if None.

        Raises:
            ValueError: There is no analysis, or one has the name of a field that the index needs itself.
        """
        table = _table(analyses)
        if path is not None:
            path.mkdir(parents=True)
        with _system_errors():
            return cls(table, tantivy.Index(_schema(table), path=None if path is None else str(path), reuse=False))

    @classmethod
    def open(cls, analyses: Analyzer | Mapping[str, Analysis], path: Path) -> Self:
        """Return the index in a folder; one that may not be written to can still be searched.

        Args:
            analyses: Those it was created with.
            path: The folder.

        Raises:
            FileNotFoundError: There is no index.
            ValueError: It is damaged, or has other fields.
        """
        if not (path / "meta.json").is_file():
            raise FileNotFoundError(f"There is no lexical index in {path}.")
        if os.access(path, os.W_OK):
            return cls._open(_table(analyses), path, path)
        links = scratch_folder()  # Tantivy wants to put a lock beside the files even to read
        try:
            for file in path.iterdir():
                Path(links.name, file.name).symlink_to(file.resolve())
            index = cls._open(_table(analyses), Path(links.name), path)
        except BaseException:
            links.cleanup()
            raise
        weakref.finalize(index, links.cleanup)
        return index

    @classmethod
    def _open(cls, table: Mapping[str, Analysis], path: Path, name: Path) -> Self:
        check_id_blocks(path)
        with panics_as_errors(name), _system_errors():
            index = tantivy.Index.open(str(path))
            if index.schema != _schema(table):
                raise ValueError(f"{name} has other fields than this version's. {REMEDY}")
            return cls(table, index)

    @panics_as_errors(_NAME)
    def __len__(self) -> int:
        return int(self._index.searcher().num_docs)

    @property
    @panics_as_errors(_NAME)
    def deleted(self) -> int:
        """How many deleted passages still take part in the statistics of BM25."""
        return _count_every(self._index.searcher()) - len(self)

    def add(
        self, ids: Iterable[str], texts: Iterable[str], metadatas: Iterable[Mapping[str, Any]] | None = None
    ) -> None:
        """Add passages, replacing committed ones of the same ids; the ids of one commit must be distinct.

        Args:
            ids: The passages' ids.
            texts: Their texts, normalised already.
            metadatas: Their metadata, so that `search` understands a `TermFilter`.
        """
        replaces = len(self) > 0
        passages = (
            zip(ids, texts, repeat({}), strict=False) if metadatas is None else zip(ids, texts, metadatas, strict=True)
        )
        while batch := list(islice(passages, _BATCH)):
            batch_ids, batch_texts, batch_metadatas = zip(*batch, strict=True)
            analysed = zip(*(joined_units(analyse, batch_texts) for analyse in self.analyses.values()), strict=True)
            with self._writing() as writer:
                for id_, metadata, found in zip(batch_ids, batch_metadatas, analysed, strict=True):
                    if replaces:
                        writer.delete_documents_by_term("id", id_)
                    words = dict(zip(self.analyses, found, strict=True))
                    document = tantivy.Document(id=id_, **{_EVERY: _EVERY}, **words)
                    document.add_unsigned(_KEY, hash_id(id_))
                    for term in metadata_terms(metadata):
                        document.add_unsigned(_METADATA, term)
                    writer.add_document(document)

    def delete(self, ids: Iterable[str]) -> None:
        """Delete passages by id; an unknown id changes nothing."""
        with self._writing() as writer:
            for id_ in ids:
                writer.delete_documents_by_term("id", id_)

    def commit(self) -> None:
        """Make all changes since the last commit durable and visible at once.

        Raises:
            OSError: They cannot be written; `discard` them.
        """
        if self._writer is not None:
            with self._writing() as writer:
                writer.commit()
                writer.garbage_collect_files()
                writer.wait_merging_threads()
                self._writer = None
                self._index.reload()

    def discard(self) -> None:
        """Forget all changes since the last commit, and let others write."""
        if self._writer is not None:
            with suppress(ValueError, RuntimeError):  # on a full disk; where Ctrl-C left a thread that is still adding
                self._writer.rollback()
            self._writer = None

    @panics_as_errors(_NAME)
    def ids(self) -> list[str]:
        """Return the ids of all passages, in no particular order."""
        searcher = self._index.searcher()
        hits = searcher.search(tantivy.Query.all_query(), limit=max(1, searcher.num_docs)).hits
        return [_id(searcher, address) for _, address in hits]

    @panics_as_errors(_NAME)
    def search(
        self,
        query: str,
        k: int,
        *,
        ids: Collection[str] | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> list[LexicalHit]:
        """Return the k passages with the highest BM25 scores, best first, those of equal score among them by id.

        Args:
            query: The question, in any Unicode spelling.
            k: At most this many passages; those that share no unit with the question are never returned.
            ids: If given, only these passages are searched; the scores are the same as without.
            weights: How much each analysis counts; one of weight 0, or left out, is not searched. If None, those of
                `FIELDS`, and 1 for any other.

        Raises:
            ValueError: See `check_analyses`.
        """
        if weights is None:
            weights = {field: FIELDS.get(field, 1.0) for field in self.analyses}
        check_analyses(weights, self.analyses)
        searcher = self._index.searcher()
        terms = question_terms(self.analyses, normalise_question(query), weights)
        if k < 1 or not terms or not searcher.num_docs or (ids is not None and not ids):
            return []
        schema = self._index.schema
        queries = (
            tantivy.Query.boost_query(tantivy.Query.term_query(schema, field, unit), weight)
            for (field, unit), weight in terms.items()
        )
        parsed = tantivy.Query.boolean_query([(tantivy.Occur.Should, query) for query in queries])
        found = _search_among(searcher, schema, parsed, min(k, searcher.num_docs), ids)
        bound = _upper_bound(searcher, terms)
        hits = [LexicalHit(_id(searcher, address), score, min(1.0, score / bound)) for score, address in found]
        return sorted(hits, key=lambda hit: (-hit.score, hit.id))

    @panics_as_errors(_NAME)
    def unit_scores(
        self, query: str, id_: str, *, weights: Mapping[str, float] = FIELDS
    ) -> dict[tuple[str, str], float]:
        """Return what each unit of a question adds to a passage's BM25 score, by analysis and unit; 0 if it lacks it.

        Args:
            query: The question, in any Unicode spelling.
            id_: The passage's.
            weights: See `search`.
        """
        searcher, schema = self._index.searcher(), self._index.schema
        scores = {}
        for (field, unit), weight in question_terms(self.analyses, normalise_question(query), weights).items():
            query_of_one = tantivy.Query.boost_query(tantivy.Query.term_query(schema, field, unit), weight)
            found = searcher.search(_with_ids(schema, query_of_one, [id_]), limit=1, count=False).hits
            scores[field, unit] = found[0][0] if found else 0.0
        return scores

    @contextmanager
    def _writing(self) -> Iterator[tantivy.IndexWriter]:
        with _system_errors():
            if self._writer is None:
                self._writer = self._index.writer(heap_size=_HEAP_BYTES, num_threads=1)
            try:
                yield self._writer
            except ValueError as error:
                if "writer was killed" in str(error):
                    self._writer.commit()  # which says what it died of
                raise


def question_terms(
    analyses: Mapping[str, Analysis], question: str, weights: Mapping[str, float]
) -> dict[tuple[str, str], float]:
    """Return the weight of each unit of a normalised question, by analysis and unit."""
    searched = {name: analyse for name, analyse in analyses.items() if weights.get(name)}
    counts = {name: Counter(next(joined_units(analyse, [question])).split()) for name, analyse in searched.items()}
    return {(name, unit): weights[name] * n for name, found in counts.items() for unit, n in found.items()}


class LexicalRetriever(BaseRetriever):
    """Lexical search as a LangChain retriever."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    index: LexicalIndex
    documents: SkipValidation[Mapping[str, Document]]
    """The indexed passages by id."""
    k: int = Field(default=10, ge=1)
    """How many passages to return."""
    filter: SkipValidation[Filter | None] = None
    """Only passages whose metadata matches are searched; see `rag_app.filters`."""

    @classmethod
    def from_documents(cls, documents: Iterable[Document], *, analyzer: Analyzer, **kwargs: Any) -> Self:
        """Index documents in memory; those without an id are numbered.

        Args:
            documents: What to search; titles in the metadata are searched too.
            analyzer: See `rag_app.korean.analyzer`.
            kwargs: The retriever's other fields.

        Raises:
            ValueError: Two documents have the same id.
        """
        by_id: dict[str, Document] = {}
        for number, document in enumerate(documents):
            if by_id.setdefault(document.id or str(number), document) is not document:
                raise ValueError(f"Two documents have the id {document.id or number}. Give each its own, or none.")
        index = LexicalIndex.create(analyzer)
        index.add(by_id, (normalise(searchable_text(document)) for document in by_id.values()))
        index.commit()
        return cls(index=index, documents=by_id, **kwargs)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        allowed = None if self.filter is None else matching_ids(self.documents, self.filter)
        hits = self.index.search(query, self.k if k is None else k, ids=allowed)
        return [
            with_stage(self.documents[hit.id], "lexical", rank, hit.score, coverage=hit.coverage)
            for rank, hit in enumerate(hits, start=1)
        ]


@contextmanager
def _system_errors() -> Iterator[None]:
    """Raise OSError where the system refused Tantivy something, which it tells in words of its own."""
    try:
        yield
    except ValueError as error:
        if found := _SYSTEM_ERROR.search(str(error)):
            raise OSError(int(found[1]), os.strerror(int(found[1]))) from error
        raise


def _table(analyses: Analyzer | Mapping[str, Analysis]) -> Mapping[str, Analysis]:
    table = korean_analyses(analyses) if isinstance(analyses, Analyzer) else analyses
    if not table or not table.keys().isdisjoint(_OWN_FIELDS):
        raise ValueError(
            f"The analyses are {', '.join(table) or 'none'}. Give one or more, none named after a field "
            f"of the index itself ({', '.join(_OWN_FIELDS)})"
        )
    return table


def _search_among(
    searcher: tantivy.Searcher, schema: tantivy.Schema, query: tantivy.Query, k: int, ids: Collection[str] | None
) -> list[tuple[float, tantivy.DocAddress]]:
    """Return the k best hits among some ids, in whichever way is the fastest."""
    if ids is not None:
        depth = _depth(searcher, k, ids)
        if len(ids) <= _NAMED:
            query = _with_ids(schema, query, ids)
        elif depth > _DEEP and (conditions := _by_terms(ids)) is not None:
            query = _with_terms(schema, query, conditions)
        elif depth <= max(_DEEP, len(ids)):
            hashed = ids if isinstance(ids, HashFilter) else HashedIds(set(ids))
            return _search_deeper(searcher, query, k, hashed, depth)
        else:
            query = _with_ids(schema, query, ids)
    return searcher.search(query, limit=k, count=False).hits


def _depth(searcher: tantivy.Searcher, k: int, ids: Collection[str]) -> int:
    """Return how many hits should hold k of some ids."""
    return int(1.5 * k * searcher.num_docs / len(ids)) + k


def _by_terms(ids: Collection[str]) -> Sequence[TermCondition] | None:
    """Return what terms of metadata tell ids; None if they do not, or are too many."""
    conditions = ids.conditions if isinstance(ids, TermFilter) else None
    if conditions is None or sum(len(condition.terms) for condition in conditions) > _TERMS:
        return None
    return conditions


def _with_ids(schema: tantivy.Schema, query: tantivy.Query, ids: Collection[str]) -> tantivy.Query:
    if len(ids) <= _NAMED:  # quicker than a set, for which Tantivy walks through its dictionary
        terms = [(tantivy.Occur.Should, tantivy.Query.term_query(schema, "id", id_, "basic")) for id_ in ids]
        wanted = tantivy.Query.boolean_query(terms)
    else:
        wanted = tantivy.Query.term_set_query(schema, "id", list(ids))
    allowed = tantivy.Query.const_score_query(wanted, 0.0)
    return tantivy.Query.boolean_query([(tantivy.Occur.Must, query), (tantivy.Occur.Must, allowed)])


def _with_terms(schema: tantivy.Schema, query: tantivy.Query, conditions: Iterable[TermCondition]) -> tantivy.Query:
    clauses = [(tantivy.Occur.Must, query)]
    for terms, wanted in conditions:
        some = tantivy.Query.const_score_query(tantivy.Query.term_set_query(schema, _METADATA, terms), 0.0)
        clauses.append((tantivy.Occur.Must if wanted else tantivy.Occur.MustNot, some))
    return tantivy.Query.boolean_query(clauses)


def _search_deeper(
    searcher: tantivy.Searcher, query: tantivy.Query, k: int, ids: HashFilter, depth: int
) -> list[tuple[float, tantivy.DocAddress]]:
    """Return the k best hits among many ids: as many hits as should hold k of them, more if they do not."""
    while True:
        hits = searcher.search(query, limit=min(depth, searcher.num_docs), count=False).hits
        keys = np.array(_keys(searcher, [address for _, address in hits]), np.uint64)
        kept = np.flatnonzero(ids.keeps(keys)).tolist()
        if len(kept) >= k or len(hits) < depth:
            return [hits[place] for place in kept[:k]]
        depth *= 4


def joined_units(analyse: Analysis, texts: Sequence[str]) -> Iterator[str]:
    """Yield the units of each normalised text, joined by spaces."""
    return iter(analyse.joined(texts)) if isinstance(analyse, ByWord) else map(join_units, analyse(texts))


def _keys(searcher: tantivy.Searcher, addresses: list[tantivy.DocAddress]) -> list[Any]:
    found = searcher.fast_field_values(_KEY, addresses)
    if None in found:
        raise ValueError(f"{_NAME} is damaged: a passage has no key. {REMEDY}")
    return found


def _id(searcher: tantivy.Searcher, address: tantivy.DocAddress) -> str:
    found = searcher.doc(address).get_first("id")
    if not isinstance(found, str):
        raise ValueError(f"{_NAME} is damaged: a passage has no id. {REMEDY}")
    return found


def _count_every(searcher: tantivy.Searcher) -> int:
    return int(searcher.doc_freq(_EVERY, _EVERY))


def _upper_bound(searcher: tantivy.Searcher, terms: Mapping[tuple[str, str], float]) -> float:
    total = _count_every(searcher)
    frequencies = ((weight, searcher.doc_freq(field, unit)) for (field, unit), weight in terms.items())
    return sum(weight * (K1 + 1) * log(1 + (total - df + 0.5) / (df + 0.5)) for weight, df in frequencies)
