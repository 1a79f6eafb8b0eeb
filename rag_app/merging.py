"""Several passages of one article -> one result, which reads as a part of the article does."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict, Field

from rag_app.files.places import PLACE

GAP = "\n[…]\n"
"""Stands in a merged text where something of the article is left out."""

MERGED_CHARS = 2400
"""The most characters of an article in one result, unless asked otherwise: as good as 3,600 where it was measured, and
1,200 loses one answer in twenty-five."""

WHITE_SPACE = {0: "", 1: " ", 2: "\n\n"}
"""What stands between two passages with nothing but white space between them, by its length: in a normalised text two
characters are always a blank line, and one is more often a space than a line break."""


class _Span(NamedTuple):
    """A stretch of an article: ``article[start:end] == text``, but for a line break that may have become a space."""

    start: int
    end: int
    text: str


class MergePassages(BaseDocumentCompressor):
    """Merges the passages of each article into one result; see `merge_passages`. Put it behind the reranker.

    Attributes:
        max_chars: The most characters of an article in one result.
    """

    model_config = ConfigDict(extra="forbid")

    max_chars: int = Field(default=MERGED_CHARS, ge=1)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return one document per article, in the order of their best passages."""
        return merge_passages(documents, max_chars=self.max_chars)


def merge_passages(documents: Sequence[Document], *, max_chars: int = MERGED_CHARS) -> list[Document]:
    """Return one document per article, in the order of their best passages.

    It goes by the best passage's id and metadata, stages and score among them. Its text is the passages in the order
    of the article, overlaps once, and `GAP` where something between them is missing. In its metadata,

    - ``passages`` lists ``start``, ``end``, ``score`` and the place in the file (``page``, ``paragraph``) of all
      passages of the article that were found; see `place_of`,
    - ``spans`` lists ``start`` and ``end`` of the stretches of the article that the text shows, in their order: the
      text is ``GAP.join(article[start:end] for each span)``, but that a line break between two passages that do not
      overlap may have become a space,
    - ``start`` and ``end`` are those of the first and the last span, so that the text is ``article[start:end]`` where
      there is only one,
    - ``duplicates`` lists what `rag_app.collapsing` noted of any of the passages, each article once,
    - the ``windows`` that a reranker's stage may tell, what it read of the best passage, count in the new text.

    A document that does not say which part of which article it is (``doc_id``, and ``start`` and ``end`` as far apart
    as its text is long) comes back as it is, as does one that has been merged.

    Args:
        documents: Passages as `rag_app.passages.split_documents` makes them, best first.
        max_chars: The best passage is shown, however long; others, best first, as far as the text does not become
            longer than this.
    """
    articles: dict[object, list[Document]] = {}
    for place, document in enumerate(documents):
        articles.setdefault(document.metadata["doc_id"] if _is_part(document) else place, []).append(document)
    return [_merged(found, max_chars) if _is_part(found[0]) else found[0] for found in articles.values()]


def place_of(document: Document, offset: int) -> dict[str, Any]:
    """Return where in its file a character of a result stands.

    A quote from a merged text may be on another page than the best passage, which the metadata goes by.

    Args:
        document: A passage, or a result of `merge_passages`.
        offset: Where the character stands in its text.

    Returns:
        ``page``, ``paragraph`` and their ``last_...`` of the passage that it was found in; empty if that has none.
    """
    found: dict[str, Any] = document.metadata
    for span in document.metadata.get("spans", ()):
        if offset < span["end"] - span["start"]:
            at = span["start"] + offset
            found = next(passage for passage in reversed(document.metadata["passages"]) if passage["start"] <= at)
            break
        offset -= span["end"] - span["start"] + len(GAP)
    return {key: found[key] for key in PLACE if key in found}


def _is_part(document: Document) -> bool:
    doc_id, start, end, spans = map(document.metadata.get, ("doc_id", "start", "end", "spans"))
    if spans or not (isinstance(doc_id, str) and isinstance(start, int) and isinstance(end, int)):
        return False
    return end - start == len(document.page_content)


def _merged(found: Sequence[Document], max_chars: int) -> Document:
    shown: list[_Span] = []
    for document in found:
        more = _joined([*shown, _span(document)])
        if not shown or _length(more) <= max_chars:
            shown = more
    best = found[0]
    metadata: dict[str, Any] = {
        **_with_moved_windows(best.metadata, _offset(best, shown)),
        "start": shown[0].start,
        "end": shown[-1].end,
        "spans": [{"start": span.start, "end": span.end} for span in shown],
        "passages": sorted(map(_place, found), key=lambda place: (place["start"], place["end"])),
    }
    repeats = [other for document in found for other in document.metadata.get("duplicates", ())]
    if repeats:
        metadata["duplicates"] = [other for place, other in enumerate(repeats) if other not in repeats[:place]]
    return best.model_copy(update={"page_content": GAP.join(span.text for span in shown), "metadata": metadata})


def _offset(best: Document, shown: Sequence[_Span]) -> int:
    """Return where in the merged text the best passage begins."""
    start: int = best.metadata["start"]
    before = [span for span in shown if span.end <= start and span.start < start]
    return sum(len(span.text) + len(GAP) for span in before) + start - shown[len(before)].start


def _with_moved_windows(metadata: dict[str, Any], offset: int) -> dict[str, Any]:
    stages = metadata.get("stages", {})
    if "windows" not in stages.get("rerank", {}):
        return metadata
    windows = [[start + offset, end + offset] for start, end in stages["rerank"]["windows"]]
    return {**metadata, "stages": {**stages, "rerank": {**stages["rerank"], "windows": windows}}}


def _span(document: Document) -> _Span:
    return _Span(document.metadata["start"], document.metadata["end"], document.page_content)


def _place(document: Document) -> dict[str, Any]:
    return {key: document.metadata[key] for key in ("start", "end", "score", *PLACE) if key in document.metadata}


def _joined(spans: Sequence[_Span]) -> list[_Span]:
    """Return the spans in order, those that overlap or have only white space between them as one."""
    joined: list[_Span] = []
    for span in sorted(spans):
        before = joined[-1] if joined else None
        if before is None or (span.start > before.end and span.start - before.end not in WHITE_SPACE):
            joined.append(span)
        elif span.end > before.end:
            text = (
                before.text
                + WHITE_SPACE.get(span.start - before.end, "")
                + span.text[max(0, before.end - span.start) :]
            )
            joined[-1] = _Span(before.start, span.end, text)
    return joined


def _length(spans: Sequence[_Span]) -> int:
    return sum(len(span.text) for span in spans) + len(GAP) * (len(spans) - 1)
