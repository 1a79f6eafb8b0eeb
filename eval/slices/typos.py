"""Slips of the finger on the Korean two-set (dubeolsik) keyboard."""

import random
import re
from collections.abc import Callable, Iterator

SYLLABLES_PER_TYPO = 10
"""A slip every 25 strokes or so: more than the 2% of characters that people leave wrong on a phone (Palin et al., "How
do people type on mobile devices?", MobileHCI 2019), because a question without any would show nothing."""

_PLAIN = ("ㅂㅈㄷㄱㅅㅛㅕㅑㅐㅔ", "ㅁㄴㅇㄹㅎㅗㅓㅏㅣ", "ㅋㅌㅊㅍㅠㅜㅡ")
_SHIFT = ("ㅃㅉㄸㄲㅆㅛㅕㅑㅒㅖ", *_PLAIN[1:])
_INDENTS = (0.0, 0.25, 0.75)  # of the rows, in keys
_REACH = 1.3  # between the middles of neighbouring keys, in keys

_INITIALS: tuple[str, ...] = tuple("ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ")
_VOWELS: tuple[str, ...] = (
    *"ㅏㅐㅑㅒㅓㅔㅕㅖㅗ",
    "ㅗㅏ",
    "ㅗㅐ",
    "ㅗㅣ",
    *"ㅛㅜ",
    "ㅜㅓ",
    "ㅜㅔ",
    "ㅜㅣ",
    *"ㅠㅡ",
    "ㅡㅣ",
    "ㅣ",
)
_FINALS: tuple[str, ...] = (
    *("", "ㄱ", "ㄲ", "ㄱㅅ", "ㄴ", "ㄴㅈ", "ㄴㅎ", "ㄷ", "ㄹ", "ㄹㄱ", "ㄹㅁ", "ㄹㅂ", "ㄹㅅ", "ㄹㅌ", "ㄹㅍ", "ㄹㅎ"),
    *("ㅁ", "ㅂ", "ㅂㅅ", "ㅅ", "ㅆ", "ㅇ", "ㅈ", "ㅊ", "ㅋ", "ㅌ", "ㅍ", "ㅎ"),
)
_FIRST_SYLLABLE, _FIRST_VOWEL = ord("가"), ord("ㅏ")
_WORD = re.compile("[가-힣]+")


def _longest_first(jamo: tuple[str, ...]) -> str:
    return "|".join(sorted(filter(None, jamo), key=len, reverse=True))


_SYLLABLE = re.compile(
    rf"([{''.join(_INITIALS)}]?)({_longest_first(_VOWELS)})"
    rf"((?:{_longest_first(_FINALS)})(?![ㅏ-ㅣ]))?"  # a consonant before a vowel begins the next syllable
)


def typos(text: str, generator: random.Random, *, syllables_per_typo: int = SYLLABLES_PER_TYPO) -> str:
    """Return a text with slips in its Hangul: one for so many syllables, at least one, at most one a word.

    A slip is a stroke of a neighbouring key (consonant for consonant, vowel for vowel), one that comes too late, is
    missing or comes twice, or a shift that was not pressed. What was typed is composed as an input method does it: a
    missing silent ㅇ carries a final consonant over (먹이 becomes 머기), and jamo that fit nowhere stand alone (ㅎ나).

    Args:
        text: Composed (NFC). Only whole syllables are mistyped.
        generator: Chooses the slips.
        syllables_per_typo: How many syllables there are for one slip.
    """
    words = list(_WORD.finditer(text))
    wanted = max(1, round(sum(len(word[0]) for word in words) / syllables_per_typo))
    places = [(number, place) for number, word in enumerate(words) for place in range(len(to_strokes(word[0])))]
    generator.shuffle(places)
    mistyped: dict[int, str] = {}
    for number, place in places:
        if len(mistyped) == wanted:
            break
        if number not in mistyped:
            mistyped[number] = _mistype(words[number][0], place, generator)
    numbers = iter(range(len(words)))
    return _WORD.sub(lambda word: mistyped.get(next(numbers), word[0]), text)


def to_strokes(text: str) -> str:
    """Return what is typed for a text: every syllable as its jamo, those of two strokes (ㅘ, ㄳ) as two."""
    return "".join(map(_strokes, text))


def from_strokes(strokes: str) -> str:
    """Return the text that the input method makes of strokes; jamo that join no syllable stay as they are."""
    return _SYLLABLE.sub(_compose, strokes)


def _strokes(character: str) -> str:
    if not _WORD.match(character):
        return character
    rest, final = divmod(ord(character) - _FIRST_SYLLABLE, len(_FINALS))
    initial, vowel = divmod(rest, len(_VOWELS))
    return _INITIALS[initial] + _VOWELS[vowel] + _FINALS[final]


def _compose(found: re.Match[str]) -> str:
    initial, vowel, final = found.groups(default="")
    number = _VOWELS.index(vowel)
    if not initial:
        return chr(_FIRST_VOWEL + number) + final
    number += _INITIALS.index(initial) * len(_VOWELS)
    return chr(_FIRST_SYLLABLE + number * len(_FINALS) + _FINALS.index(final))


def _mistype(word: str, place: int, generator: random.Random) -> str:
    """Return the word with a slip at one of its strokes, of a kind that changes it there."""
    strokes = to_strokes(word)
    changed = {
        slip: [text for typed in slip(strokes, place) if (text := from_strokes(typed)) != word] for slip in _SLIPS
    }
    possible = [slip for slip, texts in changed.items() if texts]
    (chosen,) = generator.choices(possible, [_SLIPS[slip] for slip in possible])
    return generator.choice(changed[chosen])


def _neighbouring(strokes: str, place: int) -> Iterator[str]:
    for near in _NEIGHBOURS[strokes[place]]:
        yield strokes[:place] + near + strokes[place + 1 :]


def _swapped(strokes: str, place: int) -> Iterator[str]:
    if place + 1 < len(strokes):
        yield strokes[:place] + strokes[place + 1] + strokes[place] + strokes[place + 2 :]


def _missing(strokes: str, place: int) -> Iterator[str]:
    yield strokes[:place] + strokes[place + 1 :]


def _doubled(strokes: str, place: int) -> Iterator[str]:
    yield strokes[: place + 1] + strokes[place:]


def _unshifted(strokes: str, place: int) -> Iterator[str]:
    if strokes[place] in _UNSHIFTED:
        yield strokes[:place] + _UNSHIFTED[strokes[place]] + strokes[place + 1 :]


# How often each happens, set by hand: fingers miss keys far more often than their order.
_SLIPS: dict[Callable[[str, int], Iterator[str]], float] = {
    _neighbouring: 4.0,
    _missing: 2.0,
    _unshifted: 2.0,
    _doubled: 1.0,
    _swapped: 1.0,
}


def _neighbours(rows: tuple[str, ...]) -> dict[str, str]:
    keys = {
        jamo: (indent + column, row)
        for row, (jamos, indent) in enumerate(zip(rows, _INDENTS, strict=True))
        for column, jamo in enumerate(jamos)
    }
    return {
        jamo: "".join(
            other
            for other, (to_x, to_y) in keys.items()
            if other != jamo and (other in _VOWELS) == (jamo in _VOWELS) and abs(complex(to_x - x, to_y - y)) < _REACH
        )
        for jamo, (x, y) in keys.items()
    }


_NEIGHBOURS = _neighbours(_SHIFT) | _neighbours(_PLAIN)  # with shift held, a slip lands on a shifted key
_UNSHIFTED = {shifted: plain for shifted, plain in zip(_SHIFT[0], _PLAIN[0], strict=True) if shifted != plain}
