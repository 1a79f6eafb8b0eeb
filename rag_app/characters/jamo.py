"""Syllables that are spelt out in single letters, as some programs leave Hangul: ㅎㅏㄴㄱㅡㄹㅇㅡㄴ."""

import re
import unicodedata

_FIRST = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_LAST = "ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
_VOWEL = "[ㅏ-ㅣ]"
_SYLLABLE = re.compile(f"([{_FIRST}])({_VOWEL})([{_LAST}](?!{_VOWEL}))?")
_SPELT_OUT = re.compile(rf"(?:{_SYLLABLE.pattern}){{3}}")
_HALF_WIDTH = re.compile("[ﾡ-ﾾￂ-ￇￊ-ￏￒ-ￗￚ-ￜ]+")


def join_jamo(text: str) -> str:
    """Return a text with its syllables composed if it is spelt out in single letters, else as it is.

    It is if three syllables follow each other so. Elsewhere letters stand alone because they are meant to: ㅋㅋ, ㅠㅠ,
    or "ㄱ과 ㅏ가 만나 가가 된다".
    """
    return _SYLLABLE.sub(_compose, text) if _SPELT_OUT.search(text) else text


def join_half_width(text: str) -> str:
    """Return a text with the letters of half width, which no one but a computer writes, joined to syllables."""
    return _HALF_WIDTH.sub(lambda run: _SYLLABLE.sub(_compose, "".join(map(_widen, run.group()))), text)


def _widen(letter: str) -> str:  # and not by NFKC, which takes all consonants for those that begin a syllable
    return chr(int(unicodedata.decomposition(letter).split()[1], 16))


def _compose(match: re.Match[str]) -> str:
    first, vowel, last = match.groups()
    place = _LAST.index(last) + 1 if last else 0
    return chr(0xAC00 + (_FIRST.index(first) * 21 + ord(vowel) - ord("ㅏ")) * 28 + place)
