"""Korean text: normalisation, morphemes, character bigrams and sentences."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from rag_app.characters.code_points import ARAEA_AS_DOT, HANGUL_MARKS, STRAY_JOINERS, TABLE, UNUSUAL
from rag_app.characters.jamo import join_half_width, join_jamo
from rag_app.forking import Lock, survives_fork

CONTENT_TAGS = frozenset({"NNG", "NNP", "NR", "VV", "VA", "MAG", "XR", "SL", "SH", "SN"})
"""Sejong tags of the morphemes that carry content: nouns, verbs, adjectives, roots, foreign words, numbers."""

_WORD = re.compile(r"[^\W_]+")
_SPACES = re.compile(r"[^\S\n]+")
_AROUND_NEWLINE = re.compile(r" ?\n ?")
_BLANK_LINES = re.compile(r"\n{3,}")

_LONGEST_LINE = 8000  # characters; Kiwi takes more than twice as long for twice as many: 13 s for 350,000
_QUOTES = str.maketrans("‘’‚‛“”„‟〃–—−∼〜", '\'\'\'\'"""""---~~')


QUESTION_CHARS = 2000
"""How much of a question is read, which is more than any that asks something; models read a few hundred words."""


class Sentence(NamedTuple):
    """One sentence and where it stands: ``text == source[start:end]``."""

    start: int
    end: int
    text: str


class Morpheme(NamedTuple):
    """One morpheme and where it stands; two that are contracted (난 is 나 and ㄴ) share their characters.

    Attributes:
        start: Where its first character stands in the text.
        end: Behind its last character.
        form: Its dictionary form, which the text need not have.
        tag: The Sejong tag of its part of speech.
    """

    start: int
    end: int
    form: str
    tag: str


def normalise(text: str) -> str:
    """Return the one spelling under which a text is stored, searched and embedded.

    Composes Hangul (NFC), turns full-width forms, unit signs (``㎞``) and the like into the letters they stand for,
    drops zero-width, bidirectional and other invisible characters, and folds white space: one space inside a line, at
    most one blank line between paragraphs. Emoji stay whole. Applying it twice changes nothing.
    """
    unusual = UNUSUAL.search(text)
    if unusual:  # seldom: looking takes a tenth of the time of translating
        text = join_half_width(text.replace("\r\n", "\n").replace("\r", "\n"))
        text = STRAY_JOINERS.sub("", text.translate(TABLE))
        text = HANGUL_MARKS.sub("", unicodedata.normalize("NFC", text))
        text = ARAEA_AS_DOT.sub("·", join_jamo(text))
    text = unicodedata.normalize("NFC", text)
    if unusual or "  " in text:
        text = _SPACES.sub(" ", text)
    if " \n" in text or "\n " in text:
        text = _AROUND_NEWLINE.sub("\n", text)
    if "\n\n\n" in text:
        text = _BLANK_LINES.sub("\n\n", text)
    return text.strip()


def normalise_question(text: str) -> str:
    """Return a question as `normalise` does, as far as it is read: its first `QUESTION_CHARS` characters."""
    return normalise(text)[:QUESTION_CHARS].rstrip()


def bigrams(text: str) -> list[str]:
    """Return the character bigrams inside each word of a normalised text, lower-cased; one-letter words stay whole.

    They need no dictionary, see through particles (``국회의원이`` holds all units of ``국회의원``), and never span a
    space.
    """
    return [
        unit
        for word in _WORD.findall(text.lower())
        for unit in ([word] if len(word) == 1 else (word[i : i + 2] for i in range(len(word) - 1)))
    ]


def marked_bigrams(text: str) -> list[str]:
    """Return the character bigrams of each word of a normalised text with a mark (``^``) in front, lower-cased.

    These are its `bigrams` and besides the letter each word begins with (``^국``), which is what is left of a short
    word once an ending or a slip of the finger has changed its second letter.
    """
    marked = (f"^{word}" for word in _WORD.findall(text.lower()))
    return [word[i : i + 2] for word in marked for i in range(len(word) - 1)]


class Analyzer:
    """A loaded Kiwi analyser: morphemes by part of speech, and sentences.

    Loading takes about a second; share one through `analyzer`. Safe to call from several threads.

    Args:
        user_dictionary: A Kiwi user dictionary, UTF-8 text with ``word<TAB>tag<TAB>score`` lines, so that names of
            your own field stay whole.

    Raises:
        ValueError: The dictionary cannot be read.
    """

    def __init__(self, user_dictionary: Path | None = None) -> None:
        from kiwipiepy import Kiwi  # here: what reads files normalises text in processes that analyse none

        # Without Kiwi's multi-word dictionary compounds stay in searchable pieces, and loading takes half the time.
        self._kiwi = Kiwi(load_multi_dict=False, load_typo_dict=False)
        if user_dictionary is not None:
            try:
                self._kiwi.load_user_dictionary(str(user_dictionary))
            except (OSError, ValueError) as error:
                raise ValueError(
                    f"Cannot read the user dictionary {user_dictionary}: {error}. "
                    "Give a UTF-8 file with lines of word<TAB>tag<TAB>score, for example 가온시<TAB>NNP<TAB>0"
                ) from error

        self._has_threads = True
        survives_fork(self)

    def after_fork(self) -> None:
        """Analyse by oneself: Kiwi's threads are the parent's, and who asks them waits for ever."""
        self._has_threads = False

    def _of_each(self, analyse: Callable[[Any], Any], texts: Iterable[str]) -> Iterator[Any]:
        return iter(analyse(texts)) if self._has_threads else map(analyse, texts)

    def morphemes(self, text: str, tags: frozenset[str] = CONTENT_TAGS) -> list[str]:
        """Return the lower-cased forms of a normalised text's morphemes with one of the given tags, in order."""
        return next(self.morphemes_batch([text], tags))

    def morphemes_batch(self, texts: Sequence[str], tags: frozenset[str] = CONTENT_TAGS) -> Iterator[list[str]]:
        """Yield `morphemes` of each text, analysed on all cores."""
        for tokens in self._of_each(self._kiwi.tokenize, [text.translate(_QUOTES) for text in texts]):
            yield [token.form.lower() for token in tokens if token.tag.split("-")[0] in tags]

    def analyse(self, text: str) -> list[Morpheme]:
        """Return all morphemes of a normalised text, in order."""
        return [Morpheme(token.start, token.end, token.form, token.tag) for token in self._kiwi.tokenize(text)]

    def sentences(self, text: str) -> list[Sentence]:
        """Return the sentences of a text in order, none empty; a line break always ends one."""
        return next(self.sentences_batch([text]))

    def sentences_batch(self, texts: Sequence[str]) -> Iterator[list[Sentence]]:
        """Yield `sentences` of each text, analysed on all cores."""
        split = partial(self._kiwi.split_into_sents, return_sub_sents=False)
        analysed = self._of_each(split, (line for text in texts for _, line in _lines(text)))
        for text in texts:
            sentences: list[Sentence] = []
            for offset, _ in _lines(text):
                spans = [(offset + span.start, offset + span.end) for span in next(analysed)]
                sentences += [Sentence(start, end, text[start:end]) for start, end in spans]
            yield sentences


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text that are not blank and where they start, the longest ones in parts."""
    start = 0
    for line in text.split("\n"):
        end = start + len(line)
        while end - start > _LONGEST_LINE:
            window = text[start : start + _LONGEST_LINE]
            cut = start + ((window.rfind(". ") + 1 or window.rfind(" ")) + 1 or _LONGEST_LINE)
            yield start, text[start:cut]
            start = cut
        if text[start:end].strip():
            yield start, text[start:end]
        start = end + 1


_lock = Lock()


@lru_cache(maxsize=4)
def _load(user_dictionary: Path | None) -> Analyzer:
    return Analyzer(user_dictionary)


def analyzer(user_dictionary: Path | None = None) -> Analyzer:
    """Return the process's shared analyser, loading it on first use."""
    with _lock:
        return _load(user_dictionary)
