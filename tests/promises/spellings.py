"""One text in the many ways in which Unicode, keyboards, programs and tricksters write it."""

import random
import unicodedata
from collections.abc import Callable, Sequence
from typing import Literal

Respell = Callable[[str, random.Random], str]

_FIRST = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_LAST = " ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
_HALF_WIDTH = {
    chr(int(unicodedata.decomposition(chr(code)).split()[1], 16)): chr(code)
    for code in range(0xFFA0, 0xFFDD)
    if unicodedata.decomposition(chr(code))
}
ZERO_WIDTH = "\u200b\u200c\u200d\ufeff\u2060\u00ad\u034f\u180e"
BIDI = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c"
VARIATION_SELECTORS = "\ufe00\ufe0e\ufe0f\U000e0100\U000e01ef"
TAGS = "".join(map(chr, range(0xE0020, 0xE0080)))
_SPACES = "\u00a0\u2003\u2009\u202f\u3000\u3164\uffa0\u2800"
_MARKS = "\u0301\u0336\u20dd"
_OTHER_PUNCTUATION = str.maketrans(dict(zip("'\"‘’“”-·~…?!", "’”''\"\"–ㆍ∼‥？！", strict=True)))


def single_letters(text: str) -> str:
    """Return a text with each syllable spelt out in letters that stand alone."""
    return "".join(map(_letters, unicodedata.normalize("NFC", text)))


def _letters(character: str) -> str:
    if not "가" <= character <= "힣":
        return character
    first, rest = divmod(ord(character) - ord("가"), 588)
    vowel, last = divmod(rest, 28)
    return f"{_FIRST[first]}{chr(ord('ㅏ') + vowel)}{_LAST[last].strip()}"


def _half_width(text: str) -> str:
    return "".join(_HALF_WIDTH.get(letter, letter) for letter in single_letters(text))


def _full_width(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else "\u3000" if c == " " else c for c in text)


def _formula_letters(text: str) -> str:
    bold = {"A": 0x1D400, "a": 0x1D41A, "0": 0x1D7CE}
    spans = [(first, chr(ord(first) + (9 if first == "0" else 25)), code) for first, code in bold.items()]
    table = {ord(a) + at: code + at for a, z, code in spans for at in range(ord(z) - ord(a) + 1)}
    return text.translate(table)


def _sprinkled(characters: Sequence[str]) -> Respell:
    """Return what puts some of the characters behind two letters in five, and one at the very beginning."""
    return lambda text, chance: (
        chance.choice(characters)
        + "".join(c + (chance.choice(characters) if chance.random() < 0.4 else "") for c in text)
    )


def _form(name: Literal["NFC", "NFD", "NFKC", "NFKD"]) -> Respell:
    return lambda text, chance: unicodedata.normalize(name, text)


FORMS: dict[str, Respell] = {"NFC": _form("NFC"), "NFD": _form("NFD")}
"""Those of which nothing may differ."""

OTHERS: dict[str, Respell] = {
    "NFKC": _form("NFKC"),
    "NFKD": _form("NFKD"),
    "single letters": lambda text, chance: single_letters(text),
    "half-width letters": lambda text, chance: _half_width(text),
    "full width": lambda text, chance: _full_width(text),
    "letters of formulas": lambda text, chance: _formula_letters(text),
    "zero width": _sprinkled(ZERO_WIDTH),
    "zero width in NFD": lambda text, chance: _sprinkled(ZERO_WIDTH)(unicodedata.normalize("NFD", text), chance),
    "bidirectional controls": _sprinkled(BIDI),
    "variation selectors": _sprinkled(VARIATION_SELECTORS),
    "tags": _sprinkled(TAGS),
    "other spaces": lambda text, chance: "".join(chance.choice(_SPACES) if c == " " else c for c in text),
    "tabs and line ends": lambda text, chance: f"\ufeff\r\n{text.replace(' ', chr(9), 1)}\r\n",
    "other punctuation": lambda text, chance: text.translate(_OTHER_PUNCTUATION),
    "accents over Hangul": lambda text, chance: "".join(
        c + chance.choice(_MARKS) if "가" <= c <= "힣" and chance.random() < 0.4 else c for c in text
    ),
    "upper case": lambda text, chance: text.upper(),
    "lower case": lambda text, chance: text.lower(),
}
"""Those of which one in a hundred may find something else."""


def respell(texts: Sequence[str], name: str) -> list[str]:
    """Return texts in a spelling of `FORMS` or `OTHERS`, the same in every run."""
    chance = random.Random(name)
    return [(FORMS | OTHERS)[name](text, chance) for text in texts]
