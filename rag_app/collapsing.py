"""Stories told twice: a wire story that several outlets printed becomes one result that names the others."""

import re
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict

from rag_app.duplicates import near_duplicates
from rag_app.korean import analyzer, normalise

_TOLD = ("doc_id", "title", "source", "date", "url")
_NUMBER = re.compile(r"\d+")
_REPLACED = 8  # words
_FACTS = frozenset({"NNG", "NNP", "NNB", "NR", "MM", "SL", "SH", "SN"})
_FEW, _SHARED = 3, 0.7  # numbers; of Wikinews articles with all their numbers replaced 9 in 10 would pass for the same


class CollapseDuplicates(BaseDocumentCompressor):
    """Keeps the first of the passages that say nearly the same; see `collapse_duplicates`.

    It can stand before a reranker, which then has fewer passages to read, or behind it, where the best of each story
    stays; before `rag_app.merging.MergePassages` in either case.
    """

    model_config = ConfigDict(extra="forbid")

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return the passages that say something new, in their order."""
        return collapse_duplicates(documents)


def collapse_duplicates(documents: Sequence[Document]) -> list[Document]:
    """Return the documents without those that nearly repeat one before them in another article.

    What is nearly the same is decided by `rag_app.duplicates`, and by the numbers: today's report of the weather, or
    of a share's price, may have the words of yesterday's, but not 7 in 10 of its numbers. A document that others repeat
    comes back as a copy whose ``metadata["duplicates"]`` lists, in their order, ``doc_id``, ``title``, ``source``,
    ``date`` and ``url``, as far as known, of each article that repeats it. Each is compared with the documents that
    stay, so that a chain of small changes does not make one of two different stories.

    Two documents that have different names, nouns or numbers in the midst of the same words both stay, however much
    they repeat: or a copy with the answer changed, if it ranks first, would make the original disappear.

    Args:
        documents: Best first. One that lacks ``doc_id`` counts as an article of its own.
    """
    repeated: dict[int, list[int]] = {}
    for later, earlier in near_duplicates(document.page_content for document in documents):
        if _same_numbers(documents[later].page_content, documents[earlier].page_content):
            repeated.setdefault(later, []).append(earlier)
    kept: dict[int, dict[object, dict[str, Any]]] = {}
    for place, document in enumerate(documents):
        article = _article(documents, place)
        others = (earlier for earlier in sorted(repeated.get(place, ())) if earlier in kept)
        others = (earlier for earlier in others if _article(documents, earlier) != article)
        same = next((earlier for earlier in others if not _contradict(document, documents[earlier])), None)
        if same is None:
            kept[place] = {}
        else:
            told = {key: document.metadata[key] for key in _TOLD if key in document.metadata}
            kept[same].setdefault(article, told)
    return [_with(documents[place], list(others.values())) for place, others in kept.items()]


def _same_numbers(text: str, other: str) -> bool:
    """Return whether both have most of the numbers of the one that has fewer, or that one has hardly any."""
    numbers, others = set(_NUMBER.findall(text)), set(_NUMBER.findall(other))
    fewer = min(len(numbers), len(others))
    return fewer < _FEW or len(numbers & others) >= _SHARED * fewer


def _contradict(document: Document, other: Document) -> bool:
    """Return whether in the midst of the same words each has a name, noun or number that the other one lacks.

    What stands before or behind them, such as a heading and who reports from where, contradicts nothing, nor does what
    only one of them adds.
    """
    text, other_text = (normalise(one.page_content) for one in (document, other))
    words, others = text.split(), other_text.split()
    told, others_told = _telling(text), _telling(other_text)
    for tag, i, after_i, j, after_j in SequenceMatcher(None, words, others, autojunk=False).get_opcodes():
        midst = i > 0 and j > 0 and after_i < len(words) and after_j < len(others)
        if tag == "replace" and midst and max(after_i - i, after_j - j) <= _REPLACED:
            own, theirs = (
                analyzer().morphemes(" ".join(part), _FACTS) for part in (words[i:after_i], others[j:after_j])
            )
            if not all(map(others_told, own)) and not all(map(told, theirs)):
                return True
    return False


def _telling(text: str) -> Callable[[str], bool]:
    """Return what says of a name, noun or number whether a normalised text has it."""
    text = text.lower()
    numbers = set(_NUMBER.findall(text))
    return lambda fact: fact in (numbers if fact.isdecimal() else text)


def _article(documents: Sequence[Document], place: int) -> object:
    return documents[place].metadata.get("doc_id", place)


def _with(document: Document, duplicates: list[dict[str, Any]]) -> Document:
    if not duplicates:
        return document
    return document.model_copy(update={"metadata": {**document.metadata, "duplicates": duplicates}})
