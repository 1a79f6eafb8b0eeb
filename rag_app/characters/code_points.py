"""Which characters a reader takes for others, or does not see at all.

`rag_app.korean.normalise` goes by it; of the invisible ones and of emoji `rag_app.characters.visible` does too.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator

_COMPATIBLE = (  # full-width forms, units (㎞), (가), Ⅳ, radicals, ligatures, the bold and italic letters of formulas
    *((0xFF01, 0xFFEE), (0x3371, 0x337A), (0x3380, 0x33DF), (0x320E, 0x321E), (0x2160, 0x217F), (0x2F00, 0x2FD5)),
    *((0xFB00, 0xFB06), (0x1D400, 0x1D7FF), (0xB5, 0xB5), (0x2103, 0x2103), (0x2113, 0x2113)),
)
INVISIBLE = (  # zero-width, bidi, fillers, tags: what Unicode calls default ignorable, and annotations
    *((0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F)),
    *((0x200B, 0x200C), (0x200E, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0xFEFF, 0xFEFF), (0xFFF0, 0xFFFB)),
    *((0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE00FF), (0xE01F0, 0xE0FFF)),
)
"""The first and the last of each range of characters that nobody sees, wherever they stand."""
_SELECTORS = ((0xFE00, 0xFE0E), (0xE0100, 0xE01EF))  # of variants of letters; 0xFE0F makes emoji of signs
_BLANK = ((0x2800, 0x2800), (0x3000, 0x3000), (0x3164, 0x3164), (0xFFA0, 0xFFA0))
_CONTROL = ((0x00, 0x09), (0x0B, 0x1F), (0x7F, 0x84), (0x86, 0x9F))
_SURROGATES = ((0xD800, 0xDFFF),)


def _codes(spans: Iterable[tuple[int, int]]) -> Iterator[int]:
    return (code for first, last in spans for code in range(first, last + 1))


TABLE: dict[int, str | None] = {
    **{code: unicodedata.normalize("NFKC", chr(code)).replace("\u2215", "/") for code in _codes(_COMPATIBLE)},
    **dict.fromkeys(_codes((*INVISIBLE, *_SELECTORS))),
    **dict.fromkeys(_codes((*_BLANK, *_CONTROL)), " "),
    **dict.fromkeys(_codes(_SURROGATES), "\ufffd"),
    0x85: "\n",
    0x2028: "\n",
    0x2029: "\n\n",
}
"""For `str.translate`: what each character stands for."""

EMOJI = (
    "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u21aa\u231a-\u23ff\u24c2\u25aa-\u27bf\u2934\u2935\u2b05-\u2b55"
    "\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
)
"""What emoji begin with, for a regular expression."""
STRAY_JOINERS = re.compile(
    rf"(?<![{EMOJI}])(?<![{EMOJI}]\ufe0f)\u200d|\u200d(?![{EMOJI}])|(?<![{EMOJI}])\ufe0f(?!\u20e3)"
)
"""Zero-width joiners and emoji variation selectors anywhere but in an emoji, which would fall apart without them."""

_HANGUL = "가-힣ㄱ-ㆎᄀ-ᇿ\ua960-\ua97f\ud7b0-\ud7ff"
_MARKS = "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20f0\ufe20-\ufe2f"
HANGUL_MARKS = re.compile(rf"(?<=[{_HANGUL}])[{_MARKS}]+")
"""Accents and strokes through Korean letters, of which Korean writing has none."""

ARAEA_AS_DOT = re.compile(r"(?<=[0-9A-Za-z가-힣一-鿿])ㆍ(?=[0-9A-Za-z가-힣一-鿿])")
"""The old vowel where it stands for a middle dot, as Korean keyboards have it: 한ㆍ미."""

_WIDE_SPACES = "\u00a0\u1680\u2000-\u200a\u202f\u205f"  # with those in the table, all white space but " " and "\n"
_BMP = "".join(chr(code) for code in TABLE if code <= 0xFFFF)
UNUSUAL = re.compile(
    rf"[{re.escape(_BMP)}\U0001bca0-\U0001d7ff\U000e0000-\U000e0fff\u200d\ufe0f{_WIDE_SPACES}{_MARKS}ㄱ-ㆎ]"
)
"""Any character that a text must have for one of the others to change it; one set is searched for fastest."""
