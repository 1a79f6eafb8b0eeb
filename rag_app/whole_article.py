"""The passages of an article -> the article again, and where in it a source stands."""

from collections.abc import Iterable, Sequence
from itertools import product

from langchain_core.documents import Document

from rag_app.documents import document_id
from rag_app.merging import GAP, WHITE_SPACE

Span = tuple[int, int]
"""``(start, end)`` of a part of a text."""

_OF_A_PASSAGE = frozenset({"start", "end", "page", "last_page", "paragraph", "last_paragraph"})
_UNKNOWN = 8
"""How many unknown characters are guessed at most, at two guesses each."""


def join_passages(passages: Iterable[Document]) -> Document:
    """Return the article that was split into passages.

    Every character stands where it stood, so that the ``start`` and ``end`` of a passage, and the ``spans`` of a merged
    source, count in its text. Only a line break between two passages that do not overlap may have become a space.

    Args:
        passages: All of one article, as `rag_app.passages.split_documents` makes them, in any order.

    Raises:
        ValueError: There is none.
    """
    ordered = sorted(passages, key=lambda passage: (passage.metadata["start"], passage.metadata["end"]))
    if not ordered:
        raise ValueError("There is no passage to join. Give all passages of one article.")
    parts: list[str] = []
    at = 0
    for passage in ordered:
        start, end = passage.metadata["start"], passage.metadata["end"]
        if end > at:
            missing = max(0, start - at)
            parts += [WHITE_SPACE.get(missing, " " * missing), passage.page_content[max(0, at - start) :]]
            at = end
    metadata = {key: value for key, value in ordered[0].metadata.items() if key not in _OF_A_PASSAGE}
    return Document(page_content="".join(parts), metadata=metadata, id=metadata.get("doc_id"))


def is_whole(passages: Iterable[Document]) -> bool:
    """Return whether all passages of an article are there.

    They have to begin where it begins, nothing but white space may be missing between two, and the text that they make
    has to be the one that the ``doc_id`` is of. Where single characters between many passages are unknown, a line break
    or a space, the last passage is not missed.
    """
    ordered = sorted(passages, key=lambda passage: (passage.metadata["start"], passage.metadata["end"]))
    if not ordered:
        return False
    parts: list[tuple[str, ...]] = []
    at = 0
    for passage in ordered:
        start, end = passage.metadata["start"], passage.metadata["end"]
        gap = start - at
        if gap > 0 and (not at or gap not in WHITE_SPACE):
            return False
        if end > at:
            parts += [(" ", "\n") if gap == 1 else (WHITE_SPACE.get(gap, ""),), (passage.page_content[max(0, -gap) :],)]
            at = end
    if sum(len(part) > 1 for part in parts) > _UNKNOWN:
        return True
    return any(document_id("".join(text)) == ordered[0].metadata["doc_id"] for text in product(*parts))


def spans_in_article(source: Document) -> list[Span]:
    """Return the stretches of its article that a source, or a single passage, shows; empty if it does not say."""
    metadata = source.metadata
    if spans := metadata.get("spans"):
        return [(span["start"], span["end"]) for span in spans]
    start, end = metadata.get("start"), metadata.get("end")
    if isinstance(start, int) and isinstance(end, int) and end - start == len(source.page_content):
        return [(start, end)]
    return []


def in_article(source: Document, spans: Sequence[Span]) -> list[Span]:
    """Return where in its article parts of a source's text stand, without those across a gap or of unknown place."""
    places = []
    at = 0
    for first, last in spans_in_article(source):
        inside = (span for span in spans if at <= span[0] and span[1] <= at + last - first)
        places += [(start - at + first, end - at + first) for start, end in inside]
        at += last - first + len(GAP)
    return places
