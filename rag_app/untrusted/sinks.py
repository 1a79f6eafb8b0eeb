"""What a chat model wrote, as text in which nothing can be followed, fetched, rendered or called.

A document may tell the model to write an address that has the conversation in it: an image is fetched by whatever shows
the answer, a link by whoever clicks on it. No such document has to be recognised here. Whatever the model writes, its
answer has no Markdown link, image, definition, tag of HTML or call of a tool, and no address but those that stand,
letter by letter, in what the model was given to read: these carry nothing out.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from html import unescape

from rag_app.untrusted.control_tokens import TAG, break_tokens

REMOVED = {"ko": "‹주소 삭제›", "en": "‹address removed›"}
"""What stands in an answer for an address that was in none of the sources, by language."""
LONGEST_WORD = 1024
"""A longer run of characters without white space is cut by a space, so that it need not be kept whole."""

_WORD = re.compile(r"[^ \t\n]+")
_ENTITY = re.compile(r"&(#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{0,31});")
_LABEL = r"[a-z0-9_\-]{1,63}\\*\."
_TOP = (
    "com|net|org|edu|gov|mil|info|biz|xyz|top|site|online|shop|store|club|live|link|icu|app|dev|cloud|tech|pro|zip|"
    "io|ai|cc|co|tv|me|to|gg|ly|kr|jp|cn|tw|hk|ru|uk|de|fr|eu|us|in|onion|example|test|invalid|local|localhost"
)
_ADDRESS = re.compile(  # a backslash before punctuation is none for Markdown
    "|".join(
        (
            r"(?:[a-z][a-z0-9+.\-]{0,31})?\\*:(?:\\*/){2}",
            r"(?<![a-z0-9])(?:https?|ftp|wss?|javascript|vbscript|livescript|blob|view-source)\\*:(?=[^\s<>])",
            r"(?<![:/\\\w])[/\\]{2,}(?=[\w\-]+(?:\\*\.[\w\-]+)+)",
            r"(?<![a-z0-9])data\\*:(?=[a-z]+/|[;,])",
            r"www\\*\.(?=[^\s<>])",
            r"[a-z0-9._%+\-]{1,64}\\*@(?:[\w\-]{1,63}\\*\.){1,8}[\w\-]{2,63}",
            rf"(?:{_LABEL}){{1,8}}[a-z][a-z0-9\-]{{1,23}}(?::\d{{1,5}})?\\*[/?#](?=[^\s<>])",
            rf"(?:{_LABEL}){{0,8}}[\w\-]{{1,63}}\\*\.(?:{_TOP})(?![a-z0-9_\-])",
            r"(?<![\d.])(?:\d{1,3}\\*\.){3}\d{1,3}(?::\d{1,5}|/(?=\D))",
        )
    ),
    re.IGNORECASE,
)
_BODY = re.compile(r"[!#-;=?-Z\\^_a-z~]*")  # printable ASCII that no bracket or quote ends
_ENDS = ">\\.,;:!?'\")]}*_~`。．，、！？”’»›〉》」』】·…"

_LATEX = re.compile(r"\\(?=(?:href|url|includegraphics|html[A-Z]\w*)\b)")
_CALL_KEY = re.compile(
    r"""\\?["'](tool_calls?|tool_use|tool_input|function_call|arguments|parameters|action|action_input)\\?["']"""
)
_FENCE = re.compile(r"([`~]{3})(?:tool|function)[\w-]*")
_STEP = re.compile(r"\b(Action|Tool Call|Function Call):")
_LINK = re.compile(r"\](?=[(:])")


class _Folding(dict[int, int | str]):
    """What a character is once a browser or a search has normalised it: full-width and mathematical letters, slashes.

    Only where that is one character of ASCII that is seen, so that places stay the same.
    """

    def __missing__(self, code: int) -> int | str:
        plain = unicodedata.normalize("NFKC", chr(code))
        self[code] = plain if len(plain) == 1 and "!" <= plain <= "~" else code
        return self[code]


_FOLDING = _Folding(
    {
        **dict.fromkeys(map(ord, "⁄∕⧸╱⟋"), "/"),
        **dict.fromkeys(map(ord, "ː˸։∶꞉"), ":"),
        **dict.fromkeys(map(ord, "。․"), "."),
    }
)


class SinkFilter:
    """Makes an answer that comes in pieces harmless, a word at a time; see `without_sinks`.

    Args:
        known: Addresses that may stand, from `addresses`.
        lang: Of what stands for the others, see `REMOVED`.
    """

    def __init__(self, known: Iterable[str] = (), lang: str = "ko") -> None:
        self._known = frozenset(known)
        self._removed = REMOVED[lang]
        self._word = ""

    def feed(self, chunk: str) -> Iterator[str]:
        """Yield the words that are complete, and the white space between them."""
        text = self._word + chunk
        self._word = ""
        told = []
        for match in re.finditer(r"[ \t\n]+|[^ \t\n]+", text):
            piece = match[0]
            if piece[0] in " \t\n":
                told.append(piece)
                continue
            while len(piece) >= LONGEST_WORD:
                told += [self._harmless(piece[:LONGEST_WORD]), " "]
                piece = piece[LONGEST_WORD:]
            if match.end() == len(text):
                self._word = piece
            elif piece:
                told.append(self._harmless(piece))
        if told:
            yield "".join(told)

    def close(self) -> Iterator[str]:
        """Yield the last word."""
        if self._word:
            yield self._harmless(self._word)

    def _harmless(self, word: str) -> str:
        if word.isalnum():  # nearly all are
            return word
        word = _ENTITY.sub(_decoded, _ENTITY.sub(_decoded, word))
        word = _ENTITY.sub(r"& \1;", word)
        word = _STEP.sub(r"\1：", _FENCE.sub(r"\1text", _CALL_KEY.sub(r"\1", _LATEX.sub("", word))))
        word = self._without_addresses(word)
        for match in reversed([*TAG.finditer(word.translate(_FOLDING))]):
            word = f"{word[: match.end()]} {word[match.end() :]}"
        return _LINK.sub("] ", break_tokens(word))

    def _without_addresses(self, word: str) -> str:
        folded = word.translate(_FOLDING)
        parts, at = [], 0
        while match := _ADDRESS.search(folded, at):
            start = match.start()
            run, body = _spans(word, folded, match)
            parts.append(word[at:start])
            if word[start:run] in self._known:
                parts.append(word[start:run])
                at = run
            elif word[start:body] in self._known:
                parts.append(word[start:body])
                # Where an address ends is a matter of opinion: a space ends it for all.
                goes_on = any(map(str.isalnum, word[body:].partition("<")[0]))
                parts.append(" " if goes_on else "")
                at = body
            else:
                parts.append(self._removed)
                at = max(body, match.end())
        return "".join([*parts, word[at:]])


def without_sinks(text: str, known: Iterable[str] = (), lang: str = "ko") -> str:
    """Return a chat model's text with nothing in it that can be followed, fetched, rendered or called.

    - ``](`` and ``]:`` get a space between them, so that there are no links, images or definitions: ``[1] (...)``;
    - so does ``<`` before a letter, so that there are no tags: ``< img``; Korean in angle brackets stays as it is;
    - addresses, also such without ``http``, in full-width letters or entities, are removed but for ``known``;
    - tokens, keys and code fences by which agents tell the call of a tool are broken.

    Citation markers, formulas, code and all else stay as they are.

    Args:
        text: `rag_app.characters.visible.visible`.
        known: See `SinkFilter`, as for the following.
        lang: Of what stands for an address.
    """
    step = SinkFilter(known, lang)
    return "".join([*step.feed(text), *step.close()])


def addresses(texts: Iterable[str]) -> set[str]:
    """Return the addresses in texts, as they stand there: the whole, and as far as it is ASCII."""
    found = set()
    for text in texts:
        for word in _WORD.findall(text):
            folded = word.translate(_FOLDING)
            at = 0
            while match := _ADDRESS.search(folded, at):
                run, body = _spans(word, folded, match)
                found |= {word[match.start() : run], word[match.start() : body]}
                at = max(body, match.end())
    return found - {""}


def _spans(word: str, folded: str, match: re.Match[str]) -> tuple[int, int]:
    """Return where an address may end: at white space or ``<``, as on GitHub, and where it is ASCII no more."""
    start = match.start()
    run, body = word[start:].partition("<")[0], next(_BODY.finditer(folded, start))[0]
    return start + len(run.rstrip(_ENDS)), start + len(body.rstrip(_ENDS))


def _decoded(entity: re.Match[str]) -> str:
    """Return the character of an entity if it is one that has to be written so, else the entity."""
    character = unescape(entity[0])
    if character in ("\u00a0", "&", "<", ">", '"', "'"):
        return character.replace("\u00a0", " ")
    return character if len(character) == 1 and character.isprintable() and not character.isascii() else entity[0]
