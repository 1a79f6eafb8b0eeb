"""The sentences of a long passage that best match a question, for a model that reads only so many tokens."""

import re
from collections.abc import Callable, Sequence
from itertools import islice
from math import log

from langchain_core.documents import Document

from rag_app.korean import bigrams, normalise

Measure = Callable[[Sequence[str]], Sequence[int]]
"""How many tokens each of some texts has; those of sentences add up to no less than those of the text they make."""
Spans = tuple[tuple[int, int], ...]
"""``(start, end)`` of parts of a text, in order."""

_SENTENCE = re.compile(r"[.!?][\"”’')\]]*\s+|\n+")
_PIECE = 160  # characters; longer sentences, as of tables, are cut between words
_SMALLEST = 10
_NEIGHBOUR = 0.3  # what the bigrams of the sentences beside one count for; chosen on questions of ``odqa_ko`` train


def best_windows(question: str, documents: Sequence[Document], limit: int, measure: Measure) -> dict[int, Spans]:
    """Return which parts to read of each document that is too long to be read whole beside a question, by its number.

    Args:
        question: Normalised.
        documents: Their titles are read as well and take up room.
        limit: How many tokens of question and document are read. Where the question and a title leave less than a
            quarter of it, the parts have a quarter, and the model's tokenizer has to cut.
        measure: Counts tokens; called once for all documents, if no sentence is too long.
    """
    titles = [str(document.metadata.get("title") or "") for document in documents]
    cut = [_cut(document.page_content, _PIECE) for document in documents]
    pieces = [
        document.page_content[start:end] for document, spans in zip(documents, cut, strict=True) for start, end in spans
    ]
    asked, *sizes = measure([question, *titles, *pieces])
    of_pieces = iter(sizes[len(titles) :])
    windows = {}
    for number, (document, title, spans) in enumerate(zip(documents, sizes, cut, strict=False)):
        own = list(islice(of_pieces, len(spans)))
        room = max(limit - asked - title, limit // 4)
        if sum(own) > room:
            windows[number] = _choose(question, document.page_content, spans, own, room, measure)
    return windows


def read_through(text: str, windows: Spans) -> str:
    """Return the parts of a text, one behind the other."""
    return " ".join(text[start:end] for start, end in windows)


def _choose(
    question: str, text: str, spans: list[tuple[int, int]], sizes: Sequence[int], room: int, measure: Measure
) -> Spans:
    """Return the sentences with most of the question's bigrams in and beside them, as many as there is room for."""
    longest = _PIECE
    while max(sizes) > room and longest > _SMALLEST:
        longest //= 2
        spans = _cut(text, longest)
        sizes = measure([text[start:end] for start, end in spans])
    own = _merits(question, [normalise(text[start:end]).lower() for start, end in spans])
    around = [before + after for before, after in zip([0.0, *own], [*own[1:], 0.0], strict=False)]
    merits = [merit + _NEIGHBOUR * beside for merit, beside in zip(own, around, strict=True)]
    chosen = []
    for number in sorted(range(len(spans)), key=lambda number: -merits[number]):
        if sizes[number] <= room:
            room -= sizes[number]
            chosen.append(number)
    return _joined([spans[number] for number in sorted(chosen or [0])], text)


def _merits(question: str, pieces: Sequence[str]) -> list[float]:
    """Return the weight of the question's bigrams that each piece has; those in few of the pieces count more."""
    asked = {unit for unit in bigrams(question) if len(unit) > 1} or set(bigrams(question))
    merits = [0.0] * len(pieces)
    for unit in asked:
        found = [number for number, piece in enumerate(pieces) if unit in piece]
        for number in found:
            merits[number] += log(1 + len(pieces) / len(found))
    return merits


def _joined(spans: Sequence[tuple[int, int]], text: str) -> Spans:
    """Return the spans, those with only white space between them as one."""
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and not text[joined[-1][1] : start].strip():
            start = joined.pop()[0]
        joined.append((start, end))
    return tuple(joined)


def _cut(text: str, longest: int) -> list[tuple[int, int]]:
    """Return the spans of sentences of no more than so many characters, without the white space around them."""
    spans = []
    start = 0
    for end in [*(match.end() for match in _SENTENCE.finditer(text)), len(text)]:
        while end - start > longest:
            space = text.rfind(" ", start + 1, start + longest + 1)
            cut = space if space > start else start + longest
            spans.append((start, cut))
            start = cut
        spans.append((start, end))
        start = end
    parts = [(start, text[start:end]) for start, end in spans]
    return [
        (start + len(part) - len(part.lstrip()), start + len(part.rstrip())) for start, part in parts if part.strip()
    ]
