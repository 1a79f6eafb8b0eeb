"""As many passages as a measurement of speed wants, made of the sentences of a few thousand articles.

They read like Korean, have the words of Korean with the frequencies of Korean, and metadata to filter by. What they say
makes no sense, so nothing about quality can be learned from them.
"""

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta

from langchain_core.documents import Document

from rag_app.documents import make_document

PASSAGE_CHARS = 450
SECTIONS = ("정치", "경제", "사회", "문화", "과학", "국제", "스포츠", "날씨")
OUTLETS = 200
_FIRST_DAY = date(2015, 1, 1)
_DAYS = 3650
_ENDS = re.compile(r"(?<=[.!?])\s+|\n+")
_SENTENCE_CHARS = range(15, 200)


def source_sentences(articles: Iterable[Document]) -> list[list[str]]:
    """Return the sentences of each article, those of articles with fewer than two left out."""
    found = (
        [sentence for sentence in _ENDS.split(article.page_content) if len(sentence) in _SENTENCE_CHARS]
        for article in articles
    )
    return [sentences for sentences in found if len(sentences) > 1]


def speed_corpus(
    sources: Sequence[Sequence[str]], count: int, *, chars: int = PASSAGE_CHARS, seed: int = 0
) -> Iterator[Document]:
    """Yield distinct articles of exactly ``chars`` characters, each of the sentences of two sources in random order.

    The n-th is the same however many are asked for. Each has a ``title``, a ``date`` in ten years, one of eight values
    of ``section`` and one of 200 of ``source``.

    Args:
        sources: What `source_sentences` returns, two or more.
        count: How many.
        chars: The length of each, at least 20.
        seed: Another seed, other articles.
    """
    for number in range(count):
        chance = random.Random(f"{seed} {number}")  # noqa: S311
        pair = chance.sample(range(len(sources)), 2)
        sentences = [sentence for place in pair for sentence in sources[place]]
        text = f"제{number}호"  # keeps them distinct
        while len(text) < chars:
            chance.shuffle(sentences)
            text = " ".join([text, *sentences])
        yield make_document(
            text[: chars - 1].rstrip().ljust(chars, "다"),
            title=chance.choice(sources[pair[0]])[:30],
            date=(_FIRST_DAY + timedelta(chance.randrange(_DAYS))).isoformat(),
            section=chance.choice(SECTIONS),
            source=f"매체 {chance.randrange(OUTLETS)}",
        )
