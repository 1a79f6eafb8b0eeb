"""Text as it comes from a model or a document: its characters whole, and none that nobody sees."""

import re
from collections.abc import Iterable, Iterator

from rag_app.characters.code_points import EMOJI, INVISIBLE

_LINE_BREAK = re.compile("[\u2028\u2029\x85]")
_INVISIBLE = "".join(f"{chr(first)}-{chr(last)}" for first, last in INVISIBLE)
_HIDDEN = re.compile(
    rf"[\x00-\x08\x0b-\x1f\x7f-\x9f{_INVISIBLE}\u3164\uffa0\ufffc]"  # a terminal obeys control characters
    rf"|(?<![{EMOJI}\ufe0f])\u200d"  # joins emoji only
    # One variation selector says how a sign looks; many behind each other spell a hidden text.
    r"|(?<![#*0-9\u00a0-\u2fff\u3003-\ufdff\ufe10-\U000e00ff])[\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)


def visible(text: str, before: str = "") -> str:
    """Return a text without the characters that nobody sees and a model or a terminal reads all the same.

    Control, zero-width, bidirectional and tag characters go; what emoji are made of stays.

    Args:
        text: Any.
        before: The character that stood before it, in a text that comes in pieces.
    """
    return _seen(before + text)[len(_seen(before)) :]


def _seen(text: str) -> str:
    return _HIDDEN.sub("", _LINE_BREAK.sub("\n", text))


class VisibleCharacters:
    """Makes a text that comes in pieces whole and `visible`.

    A server may cut an emoji into the two halves of UTF-16: halves that belong together are joined, and those that are
    alone replaced, as no file or page could hold them.
    """

    def __init__(self) -> None:
        self._half = ""
        self._before = ""

    def feed(self, chunk: str) -> Iterator[str]:
        """Yield a piece of the text, less a first half at its end, which waits for the second."""
        text = self._half + chunk
        self._half = text[-1] if "\ud800" <= text[-1:] <= "\udbff" else ""
        if text := text.removesuffix(self._half):
            whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            if seen := visible(whole, self._before):
                yield seen
            self._before = whole[-1]

    def close(self) -> Iterable[str]:
        """Return what is left, if a half is."""
        return ["\ufffd"] if self._half else []
