"""Which encoding a text file is in: as its mark says, else what its bytes can be and makes sense."""

import codecs
import re
from itertools import islice
from pathlib import Path

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_ESCAPE, _ISO_2022_KR = b"\x1b$", b"\x1b$)C"
_READ = 1 << 20
_FEW_NULS = 0.2  # of all bytes; of English in UTF-16 without a mark it is half of them
_ENOUGH = 2000  # letters that show what language a text is in
_LETTERS = re.compile(r"[^\W\d_\x00-\x7f]")
_HANGUL = re.compile("[가-힣]")
_USUAL = re.compile(  # the syllables that 0.83 of Korean consists of, and 0.09 of what other texts look like in CP949
    "[가각간강개거건것게격결경계고공과관교구국군권그금기까나난남내년노는니다단당대던데도독동되된두드들등때라러레려력령로루르를리마만"
    "말며면명모무문물미민바반받발방배번법보본부분불비사산상생서선설성세소속수스시식신실심아안않알았야약양어업없었에여역연였영예오와왕"
    "요용우운원월위유으은을음의이인일임입있자작장재적전점정제조종주중지직진차처청체최추출치카코크키타태터토통트파포표프피하학한할함해"
    "했행현형호화회후히]"
)
_HALF_A_SYLLABLE = re.compile("[\u0180-\u02ff]")  # rare letters, which syllables in CP949 look like in UTF-8


def text_encoding(path: Path) -> str:
    """Return the encoding of a text file: UTF-8, CP949 (which holds EUC-KR), ISO-2022-KR, or UTF-16 or 32 with a mark.

    UTF-8 is tried first because Korean UTF-8 is hardly ever valid CP949, and CP949 hardly ever valid UTF-8. Much else
    is valid CP949 (Chinese, Japanese, Johab), but no Korean then: what is not is refused.

    Raises:
        ValueError: It is in none of them.
    """
    with path.open("rb") as file:
        head = file.read(_READ)
    for encoding in _candidates(head):
        letters = _letters(path, encoding)
        if letters is None or (encoding == "cp949" and not _is_korean(letters)):
            continue
        if encoding == "utf-8" and _HALF_A_SYLLABLE.search(letters) and max(letters) < "\u0800":
            other = _letters(path, "cp949")
            if other and len(_USUAL.findall(other)) == len(other):
                return "cp949"
        return encoding
    raise ValueError("its encoding is neither UTF-8 nor CP949 (EUC-KR), or not all of it is. Save it as UTF-8")


def without_mark(head: bytes) -> bytes:
    """Return the beginning of a text with a mark in UTF-8, where a line break is a byte; another as it is."""
    encoding = _marked(head)
    return head if encoding is None else head.decode(encoding, "ignore").encode(errors="replace")


def _candidates(head: bytes) -> list[str]:
    if encoding := _marked(head):
        return [encoding]
    if _ISO_2022_KR in head:
        return ["iso2022_kr"]
    if _ESCAPE in head and head.isascii():  # ISO-2022-JP and its like
        return []
    return ["utf-8", "cp949"] if head.count(0) <= _FEW_NULS * len(head) else []


def _marked(head: bytes) -> str | None:
    return next((encoding for mark, encoding in _MARKS.items() if head.startswith(mark)), None)


def _letters(path: Path, encoding: str) -> str | None:
    """Return the first letters of a file that are not ASCII; None if it is not in the encoding."""
    letters = ""
    try:
        with path.open(encoding=encoding) as file:
            while text := file.read(_READ):
                if len(letters) < _ENOUGH:
                    letters += "".join(match[0] for match in islice(_LETTERS.finditer(text), _ENOUGH))
    except UnicodeError:
        return None
    return letters


def _is_korean(letters: str) -> bool:
    """Return whether letters that were read as CP949 are of a Korean text, in which there may be Chinese ones."""
    hangul, usual = len(_HANGUL.findall(letters)), len(_USUAL.findall(letters))
    return 4 * hangul >= len(letters) and 5 * usual >= 2 * hangul
