"""A Unigram tokenizer over the spellings of Kiwi's morphemes, and what each of its tokens counts for.

Scores follow Zipf's law over Kiwi's order, which goes from frequent to rare. A token's weight is its SIF weight (Arora
et al. 2017, "A simple but tough-to-beat baseline for sentence embeddings"), damped for particles and endings.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from kiwipiepy import Kiwi
from tokenizers import Regex, Tokenizer, models, normalizers

from finetune.morpheme_space import FIRST_MORPHEME, Morpheme
from rag_app.korean import normalise

Vocabulary = dict[str, list[Morpheme]]

FUNCTION_TAGS = ("J", "E", "VCP", "VX", "XS", "XPN", "Z_", "SS", "SF", "SP", "SE", "SO", "SB", "SW", "W_", "U")
BOUND_TAGS = ("J", "E", "VCP", "VX", "XS")  # particles, endings, suffixes: they continue a word, never begin one
STEM_TAGS = ("VV", "VA", "VX", "XSV", "XSA", "VCP", "VCN")
ENDINGS = (("었", "EP"), ("어", "EC"), ("은", "ETM"), ("ᆯ", "ETM"), ("ᆸ니다", "EF"), ("으면", "EC"), ("ᆷ", "ETN"))
WORD_START, PLAIN = "▁", "0123456789abcdefghijklmnopqrstuvwxyz"
FUNCTION_WEIGHT, PLAIN_WEIGHT, SIF = 0.05, 0.2, 1e-4
MARKED = 10_000  # so many of the most frequent morphemes have a spelling of their own for the start of a word
FUSED = 30_000  # and so many of them have spellings fused with an ending
INSIDE = {"marked": 6.0, "marked verb": 9.0, "unmarked": 2.0}  # what content pays, in nats, for continuing a word


class Token(NamedTuple):
    """A vocabulary entry; ``row`` is the id of the morpheme whose vector it takes."""

    text: str
    score: float
    row: int
    weight: float


def frequency(morpheme: Morpheme) -> float:
    """Return Zipf's law over Kiwi's order; sums to one over the table of kiwipiepy_model 0.24."""
    return float((morpheme.id - 70) ** -0.8 / 37.0)


def relevance(morpheme: Morpheme) -> float:
    """Return what a morpheme counts for before its frequency is taken into account."""
    return FUNCTION_WEIGHT if morpheme.tag.startswith(FUNCTION_TAGS) else 1.0


def spellings(kiwi: Kiwi, morphemes: Sequence[Morpheme]) -> Vocabulary:
    """Return every spelling with the morphemes it can stand for, stems fused with an ending included.

    Composed Hangul cannot be split inside a syllable, so 했 (하 + 었) is a spelling of 하.
    """
    table: defaultdict[str, list[Morpheme]] = defaultdict(list)
    for morpheme in morphemes[FIRST_MORPHEME:]:
        if morpheme.form:
            table[normalise(morpheme.form).lower()].append(morpheme)
    for morpheme in morphemes[FIRST_MORPHEME:]:
        if morpheme.form and morpheme.tag.split("-")[0] in STEM_TAGS and morpheme.id < FUSED:
            for ending, tag in ENDINGS:
                joined = kiwi.join([(morpheme.form, morpheme.tag), (ending, tag)])
                fused = joined[: len(morpheme.form)] if ending in ("ᆸ니다", "으면") else joined
                if not fused.startswith(morpheme.form) and morpheme not in table[fused]:
                    table[fused].append(morpheme)
    return table


def to_token(text: str, readings: Sequence[Morpheme], costs: Sequence[float]) -> Token:
    """Return a spelling's token: the vector of its likeliest reading, the frequency of all together."""
    shares = [frequency(m) * math.exp(-cost) for m, cost in zip(readings, costs, strict=True)]
    total, together = sum(shares), sum(map(frequency, readings))
    damping = sum(share * relevance(m) for share, m in zip(shares, readings, strict=True)) / total
    row = readings[shares.index(max(shares))].id
    return Token(text, round(math.log(total), 1), row, damping * SIF / (SIF + together))


def to_tokens(vocabulary: Vocabulary) -> list[Token]:
    """Return the tokens: each spelling as it continues a word, the frequent ones also as they begin one.

    Without the second kind 의미로 falls apart into the particle 의 and 미로.
    """
    tokens = [Token(WORD_START, 0.0, FIRST_MORPHEME, 0.0)]  # also the unknown token: model2vec drops it unread
    for text, readings in vocabulary.items():
        free = [m for m in readings if not m.tag.startswith(BOUND_TAGS)]
        marked = min((m.id for m in free), default=MARKED) < MARKED
        if marked:
            tokens.append(to_token(WORD_START + text, free, [0.0] * len(free)))
        kinds = ["marked verb" if m.tag.startswith(("VV", "VA")) else "marked" for m in readings]
        inside = [INSIDE[kind if marked else "unmarked"] for kind in kinds]
        costs = [cost if m in free else 0.0 for m, cost in zip(readings, inside, strict=True)]
        tokens.append(to_token(text, readings, costs))
    return reachable(tokens)


def reachable(tokens: Sequence[Token]) -> list[Token]:
    """Return the tokens that can come out: not those with punctuation, nor those that others spell at a better score.

    A Unigram segmentation knows no context, so a text that is not one token alone is never one inside another.
    """
    tokenizer = build_tokenizer(tokens)
    tokenizer.normalizer = normalizers.Sequence([])  # it would mark every text as the start of a word
    encodings = tokenizer.encode_batch_fast([token.text for token in tokens], add_special_tokens=False)
    return [
        token
        for index, (token, encoding) in enumerate(zip(tokens, encodings, strict=True))
        if index == 0 or (encoding.ids == [index] and token.text.removeprefix(WORD_START).isalnum())
    ]


def build_tokenizer(tokens: Sequence[Token]) -> Tokenizer:
    """Return a Unigram tokenizer that composes, lower-cases and sees spaces, punctuation and symbols as one mark.

    It has no pre-tokenizer: no token holds the mark but as its first character, so none spans two words, and cutting
    the text first would take half of the time (LOG.md).
    """
    plain = [(letter, -18.0) for letter in PLAIN]
    tokenizer = Tokenizer(models.Unigram([(t.text, t.score) for t in tokens] + plain, unk_id=0, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Lowercase(),
            normalizers.Prepend(WORD_START),
            normalizers.Replace(Regex(r"[\s\p{P}\p{S}]+"), WORD_START),
        ]
    )
    return tokenizer
