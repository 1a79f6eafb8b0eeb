"""Text that comes in pieces, cut inside a character: a server may send an emoji as the two halves of UTF-16."""

from collections.abc import Iterable, Iterator


class WholeCharacters:
    """Joins halves that belong together and replaces those that are alone: no file or page could hold them."""

    def __init__(self) -> None:
        self._half = ""

    def feed(self, chunk: str) -> Iterator[str]:
        """Yield a piece of the text, less a first half at its end, which waits for the second."""
        text = self._half + chunk
        self._half = text[-1] if "\ud800" <= text[-1:] <= "\udbff" else ""
        if text := text.removesuffix(self._half):
            yield text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def close(self) -> Iterable[str]:
        """Return what is left, if a half is."""
        return ["\ufffd"] if self._half else []
