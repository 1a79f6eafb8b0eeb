"""Texts as HTML and Markdown that shows them as they are: nothing in them is run or fetched."""

import re
from html import escape
from urllib.parse import urlsplit

_MARKUP = frozenset("\\`*_{}[]()<>#+-.!|~$:=&")  # Streamlit's Markdown knows formulas, colours and bare addresses

_INDENTED = re.compile(r"^(?: {4}| {0,3}\t)[ \t]*", re.MULTILINE)
_INDENTED_TEXT = re.compile(rf"{_INDENTED.pattern}(?![ \t]|[-*] |\d+[.)] )", re.MULTILINE)
_EMOJI = re.compile(r":(?=(?:[A-Za-z0-9_+\-/]*[A-Za-z_+\-/][A-Za-z0-9_+\-/]*|100|1234):)")


def highlight_html(text: str, *spans: tuple[int, int]) -> str:
    """Return a text as HTML with ``text[start:end]`` of each span marked; spans are in order and do not overlap."""
    parts, at = [], 0
    for start, end in spans:
        if text[start:end]:
            parts += [escape(text[at:start]), f"<mark>{escape(text[start:end])}</mark>"]
            at = end
    return "".join([*parts, escape(text[at:])])


def shortened(text: str, most: int) -> str:
    """Return a text on one line, cut after so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most].rstrip()}…"


def web_link(url: object) -> str:
    """Return an http(s) address as it is, anything else as an empty string."""
    try:
        parts = urlsplit(str(url))
    except ValueError:
        return ""
    return str(url) if parts.scheme in {"http", "https"} and parts.hostname else ""


def escape_markdown(text: str, keep: str = "") -> str:
    """Return Markdown that shows a text as it is, except that the punctuation in ``keep`` keeps its meaning.

    Against two things no backslash helps: a line that is indented is code, and Streamlit makes emoji of their names,
    as of ``1:100:5``, once the backslashes are gone. Such a line is indented by spaces that do not break, and a name
    begins with a character that has no width.
    """
    indented = _INDENTED_TEXT if "-" in keep else _INDENTED
    text = indented.sub(lambda match: "\u00a0" * len(match[0].expandtabs(4)), text)
    text = _EMOJI.sub(":\u2060", text)
    return "".join(f"\\{c}" if c in _MARKUP and c not in keep else c for c in text)
