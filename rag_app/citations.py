"""Numbered sources, and answers whose citation markers name only sources that exist."""

import re
from collections.abc import Iterable, Iterator, Sequence

from langchain_core.documents import Document

from rag_app.extractive import Extract, rank_sentences

_INSIDE = 64  # characters between its brackets that a marker has at the most; they are held back until it is complete
_MARKER = re.compile(rf"[^\S\n]?[\[【](?=[\d\s,·]{{1,{_INSIDE}}}[\]】])\s*(\d{{1,3}}(?:\s*[,·]\s*\d{{1,3}})*)\s*[\]】]")
_PERHAPS_MARKER = re.compile(rf"\s?(?:[\[【][\d\s,·]{{0,{_INSIDE}}})?$")
_OPEN = re.compile(r"[\[【][\d\s,·]*$")
_CITED = re.compile(r"\[(\d{1,3})\]")
_CLAIM_END = re.compile(r"(?<=[.!?。])\s+(?!\[)|\n+")


class Sources(list[Document]):
    """The documents of an answer. Added to, it is replaced: a later chunk of a stream tells the same list better."""

    def __add__(self, other: list[Document]) -> "Sources":  # type: ignore[override]
        return Sources(other)


class CitationFilter:
    """Rewrites the markers in a streamed answer: ``[1, 3]`` to ``[1][3]``, and none out of range.

    Text is held back only while it may be the beginning of a marker. A number of four digits, a year, is no marker.

    Args:
        sources: How many there are; markers run from 1 to this.
    """

    def __init__(self, sources: int) -> None:
        self._sources = sources
        self._held = ""
        self._said = ""

    def feed(self, chunk: str) -> Iterator[str]:
        """Yield what of the answer is certain after one more piece of it."""
        text = self._held + chunk
        cut = _PERHAPS_MARKER.search(text)
        end = cut.start() if cut else len(text)
        self._held = text[end:]
        if said := self._checked(text[:end]):
            yield said
            self._said = (self._said + said)[-_INSIDE:]

    def close(self) -> Iterator[str]:
        """Yield the rest."""
        if self._held:
            yield self._held

    def _checked(self, text: str) -> str:
        said, at = "", 0
        for match in _MARKER.finditer(text):
            said += text[at : match.start()]
            numbers = dict.fromkeys(int(number) for number in re.findall(r"\d+", match[1]))
            markers = "".join(f"[{number}]" for number in numbers if 1 <= number <= self._sources)
            if markers:
                said += match[0][: match[0][0].isspace()] + markers
            elif _OPEN.search((self._said + said)[-_INSIDE:]):
                said += " "  # else what is left of [[9]9] would be a marker
            at = match.end()
        return said + text[at:]


def number_sources(documents: Sequence[Document], quotes: dict[int, list[Extract]], cited: Iterable[int]) -> Sources:
    """Return copies of documents with ``citation`` (from 1, their place), ``cited``, ``quote`` and ``quotes``.

    Args:
        documents: In citation order.
        quotes: Each document's sentences to highlight, best first, by place from 0.
        cited: Places, from 0, of the documents that the answer cites.
    """
    places = set(cited)
    return Sources(
        _with(
            document,
            citation=place + 1,
            cited=place in places,
            **_spans(quotes.get(place, [])),
        )
        for place, document in enumerate(documents)
    )


def best_quotes(ranked: Iterable[Extract]) -> dict[int, list[Extract]]:
    """Return each document's best sentence, by the document's place."""
    quotes: dict[int, list[Extract]] = {}
    for extract in ranked:
        quotes.setdefault(extract.document, [extract])
    return quotes


def mark_cited(documents: Sequence[Document], answer: str) -> Sources:
    """Return the sources of a written answer: which it cites, and the sentence in each that best fits what it says."""
    claims: dict[int, str] = {}
    for claim in _CLAIM_END.split(answer):
        for number in map(int, _CITED.findall(claim)):
            claims[number - 1] = f"{claims.get(number - 1, '')} {_CITED.sub('', claim)}".strip()
    marked = Sources()
    for place, document in enumerate(documents):
        best = rank_sentences(claims[place], [document])[:1] if claims.get(place) else []
        marked.append(_with(document, cited=place in claims, **_spans(best)))
    return marked


def _spans(extracts: Sequence[Extract]) -> dict[str, object]:
    """Return the metadata that tells where a document's quoted sentences stand: the best one, and all in order."""
    spans = [{"start": extract.start, "end": extract.end} for extract in extracts]
    return {"quote": spans[0], "quotes": sorted(spans, key=lambda span: span["start"])} if spans else {}


def _with(document: Document, **metadata: object) -> Document:
    return document.model_copy(update={"metadata": {**document.metadata, **metadata}})
