"""Systems from outside the benchmark: any LangChain retriever, and indexes that `rag-app` has built."""

import importlib
import inspect
import sys
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from numbers import Real
from pathlib import Path
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, SkipValidation

from eval.origins import Origins
from rag_app.documents import document_id, searchable_text
from rag_app.index import Index, open_index
from rag_app.korean import normalise
from rag_app.stores.address import index_place

FOREIGN = "foreign-"
"""Begins the doc_id of a document that is not in the benchmark's corpus; none such is ever relevant."""


class Identities:
    """Tells which document of a corpus a document from elsewhere is, by the first of these that says so.

    Its ``metadata["doc_id"]``; its ``id``; its text, alone or below its title, letter by letter after normalising; or
    that it is a chunk of one document's text, and of one only (see `eval.origins.Origins`). Retrievers that keep the
    metadata of the documents they were given are matched by the first, also where they cut them up.
    """

    def __init__(self, corpus: Iterable[Document]) -> None:
        self._texts: dict[str, str] = {}
        self._titled: dict[str, str] = {}
        for document in corpus:
            doc_id = document.metadata["doc_id"]
            self._texts[doc_id] = document.page_content
            if document.metadata.get("title"):
                self._titled[document_id(normalise(searchable_text(document)))] = doc_id
        self._origins = Origins(self._texts)

    def __contains__(self, doc_id: str) -> bool:
        """Whether it is the doc_id of a document of the corpus."""
        return doc_id in self._texts

    def find(self, document: Document) -> str:
        """Return a document's doc_id in the corpus, or one of its own that begins with `FOREIGN`."""
        for own in (document.metadata.get("doc_id"), document.id):
            if isinstance(own, str) and own in self._texts:
                return own
        by_text = document_id(normalise(document.page_content))
        if by_text in self._texts:
            return by_text
        return self._titled.get(by_text) or self._origins.find(document.page_content) or f"{FOREIGN}{by_text}"


class ForeignRetriever(BaseRetriever):
    """A retriever made elsewhere, answering in the benchmark's terms: ``metadata["doc_id"]`` and ``["score"]``.

    The order in which it returns documents is what counts. Its own ``metadata["score"]`` is kept where it agrees with
    that order, so that documents it thinks equal are tied; otherwise the first scores 0, the next -1 and so on.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    retriever: SkipValidation[BaseRetriever]
    identities: SkipValidation[Identities]

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        options = {"k": k} if k is not None and _takes_k(self.retriever) else {}
        found = self.retriever.invoke(query, {"callbacks": run_manager.get_child()}, **options)
        for document in found:
            if not isinstance(document, Document):
                raise TypeError(
                    f"{self.name} returned a {type(document).__name__} among its documents. "
                    "Return langchain_core.documents.Document objects."
                )
        return [
            document.model_copy(
                update={"metadata": {**document.metadata, "doc_id": self.identities.find(document), "score": score}}
            )
            for document, score in zip(found, _scores(found), strict=True)
        ]


def load_retriever(spec: str, corpus: Sequence[Document], *, probe: Iterable[str] = ()) -> BaseRetriever:
    """Return a retriever named as ``module:object``, ready for the benchmark.

    It is asked for as many documents as the benchmark wants where it takes ``k``, as those of vector stores do; where
    it does not, what it returns by itself is all it is measured on: give it a ``k`` of at least 10.

    Args:
        spec: The object is a retriever, or a function that is given the corpus as a list of Documents (copies) and
            returns one. The module is looked for in the working directory too.
        corpus: The benchmark's.
        probe: A few questions, asked at once, to see that what is returned comes from the corpus.

    Raises:
        ImportError: There is no such module.
        ValueError: There is no such object in it, or it is no retriever and no function that returns one; or it answers
            the probe only with documents that are not in the corpus.
    """
    retriever = _make_retriever(spec, corpus)
    wrapped = ForeignRetriever(name=spec, retriever=retriever, identities=Identities(corpus))
    _check_identities(wrapped, list(probe))
    return wrapped


def open_served_index(path: str | Path, relevant: Collection[str]) -> Index:
    """Open an index that `rag-app` has built.

    Args:
        path: Its folder, or its address in a vector database.
        relevant: The doc_ids that answer the benchmark's questions. A doc_id comes from the text alone; title and other
            metadata, or how the text was split into passages, do not matter.

    Raises:
        FileNotFoundError: There is no index.
        ValueError: It is damaged; or it holds none of the relevant documents.
    """
    index = open_index(place := index_place(path))
    if relevant and not any(index.passages(doc_id) for doc_id in sorted(relevant)):
        raise ValueError(
            f"{place} holds none of the {len(frozenset(relevant)):,} passages that answer a question here, so "
            "every score would be 0. Give it the same texts, one passage to a document: rag-app index FILE --index DIR"
        )
    return index


def _make_retriever(spec: str, corpus: Sequence[Document]) -> BaseRetriever:
    named = _load_object(spec)
    if isinstance(named, BaseRetriever):
        return named
    if not callable(named) or (inspect.isclass(named) and issubclass(named, BaseRetriever)):
        raise ValueError(
            f"{spec} is {_describe(named)}. Name a LangChain retriever (an instance of BaseRetriever), or a function "
            "that takes the list of documents and returns one"
        )
    made = named([document.model_copy(update={"metadata": {**document.metadata}}) for document in corpus])
    if not isinstance(made, BaseRetriever):
        raise ValueError(f"{spec} returned {_describe(made)}. It must return a LangChain retriever (a BaseRetriever)")
    return made


def _load_object(spec: str) -> Any:
    module_name, colon, attributes = spec.partition(":")
    if not colon or not module_name or not attributes:
        raise ValueError(f"{spec!r} does not name a retriever. Write it as module:object, for example my_search:build")
    if module_name.endswith(".py") or "/" in module_name or "\\" in module_name:
        raise ValueError(
            f"{module_name!r} is a path. Name the module, {Path(module_name).stem}:{attributes}, and run this in the "
            "folder that holds it"
        )
    if (here := str(Path.cwd())) not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there, and something it imports is not
        raise ImportError(
            f"There is no module {module_name!r} ({spec}). Run this in the folder that holds it, or install it"
        ) from error
    for attribute in attributes.split("."):
        if not hasattr(found, attribute):
            public = [name for name in vars(found) if not name.startswith("_")] if inspect.ismodule(found) else []
            hint = f" It has {', '.join(sorted(public)[:20])}" if public else ""
            raise ValueError(f"{module_name!r} has no {attribute!r} ({spec}).{hint}")
        found = getattr(found, attribute)
    return found


def _check_identities(retriever: ForeignRetriever, probe: Sequence[str]) -> None:
    found = [document for question in probe for document in retriever.invoke(question)]
    if not found or any(document.metadata["doc_id"] in retriever.identities for document in found):
        return
    raise ValueError(
        f"None of the {len(found)} documents that {retriever.name} returned for {len(probe)} questions is in the "
        f"corpus, for example {found[0].page_content[:60]!r}. Let it search the benchmark's documents (a function "
        'is given them), and return documents with their metadata["doc_id"]'
    )


def _takes_k(retriever: BaseRetriever) -> bool:
    parameters = inspect.signature(retriever._get_relevant_documents).parameters
    return "k" in parameters or any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())


def _scores(documents: Sequence[Document]) -> list[float]:
    """Return scores that fall in the order of the documents: their own where they do, else those of their ranks."""
    own = [document.metadata.get("score") for document in documents]
    scores = [float(score) for score in own if isinstance(score, Real)]
    falls = all(first >= second for first, second in pairwise(scores))
    if len(scores) == len(own) and falls and len(set(scores)) > 1:  # a rating of 5 for all is no score
        return scores
    return [-float(rank) for rank in range(len(documents))]


def _describe(value: Any) -> str:
    return f"the class {value.__name__}" if inspect.isclass(value) else f"an object of type {type(value).__name__}"
