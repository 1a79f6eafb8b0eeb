"""Tokens word by word, each word tokenized once: what makes embedding a million passages a matter of a minute."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

WORDS = 500_000
"""How many words are remembered, some 200 bytes each."""

_START = "▁"
_NORMALIZERS = [
    {"type": "NFC"},
    {"type": "Lowercase"},
    {"type": "Prepend", "prepend": _START},
    {"type": "Replace", "pattern": {"Regex": "[\\s\\p{P}\\p{S}]+"}, "content": _START},
]
"""Of the tokenizers that `finetune.distill` makes: white space and punctuation become one mark before the next word."""


class WordTokens:
    """Tokenizes texts into tokens that a static model knows, those of our own models by looking up their words.

    A Unigram tokenizer takes half a millisecond of one core over a passage of 450 characters, and most words of a
    passage have been met before. Where no token has the mark of a word's start behind its first character, none spans
    two words, so that the most likely tokens of a text are those of its words. Texts of any other tokenizer are
    tokenized whole. Safe to share between threads.

    Args:
        tokenizer: Neither pads nor truncates.
        unknown: The id of the unknown token, which is left out; None if there is none.
        at_words: Whether the known tokens of a text are those of its words; see `splits_at_words`.
        words: How many to remember; the older half is forgotten when there are more.
    """

    def __init__(self, tokenizer: Tokenizer, unknown: int | None, *, at_words: bool, words: int = WORDS) -> None:
        self._tokenizer = tokenizer
        self._unknown = unknown
        self._at_words = at_words
        self._words = words
        self._known: dict[str, bytes] = {}

    def batch(self, texts: Sequence[str]) -> Iterator[NDArray[np.int32]]:
        """Yield the ids of each normalised text's known tokens, in order, ``(t,)`` int32."""
        if not self._at_words:
            yield from self._tokenize(texts)
            return
        known = self._known
        found = [list(map(known.get, text.split())) for text in texts]
        incomplete = {place: texts[place].split() for place, ids in enumerate(found) if None in ids}
        pairs = (pair for place, words in incomplete.items() for pair in zip(words, found[place], strict=True))
        new = list(dict.fromkeys(word for word, ids in pairs if ids is None))
        known.update(zip(new, (ids.tobytes() for ids in self._tokenize(new)), strict=True))
        for place, words in incomplete.items():
            found[place] = [known[word] for word in words]
        for ids in found:
            yield np.frombuffer(b"".join(filter(None, ids)), dtype=np.int32)
        if len(known) > self._words:  # replaced, not shortened: another thread may be reading it
            self._known = dict(list(known.items())[len(known) // 2 :])

    def _tokenize(self, texts: Sequence[str]) -> Iterator[NDArray[np.int32]]:
        for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False):
            ids = np.array(encoding.ids, dtype=np.int32)
            yield ids if self._unknown is None else ids[ids != self._unknown]


def splits_at_words(tokenizer: Mapping[str, Any]) -> bool:
    """Whether the known tokens of any text are those of its words, of a tokenizer as it is in ``tokenizer.json``."""
    model = tokenizer["model"]
    if (
        model["type"] != "Unigram"
        or tokenizer["pre_tokenizer"] is not None
        or tokenizer["added_tokens"]
        or (tokenizer["normalizer"] or {}).get("normalizers") != _NORMALIZERS
    ):
        return False
    marks = [number for number, (piece, _) in enumerate(model["vocab"]) if piece == _START]
    # Or the mark that punctuation leaves at the end of a word would be a token of its own there.
    unknown = marks in ([], [model["unk_id"]])
    return unknown and not any(_START in piece[1:] for piece, _ in model["vocab"])
