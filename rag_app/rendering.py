"""Documents and answers as HTML and Markdown for a page: all they hold is shown as text, never run or fetched."""

import re
from collections.abc import Sequence
from html import escape
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

from langchain_core.documents import Document

from rag_app.language import KOREAN, Say
from rag_app.score_table import scores_html, standings_html

EXCERPT_CHARS = 60
"""How many characters of a passage an excerpt shows before and after the quoted sentence."""
_MARKUP = frozenset("\\`*_{}[]()<>#+-.!|~$:=&")  # Streamlit's Markdown knows formulas, colours and bare addresses
_MARKER = re.compile(r"( ?\[\d{1,3}\])")
_FREE_MARKER = re.compile(r"((?: |(?<!\S))\[\d{1,3}\])(?!\S)")
"""Of a marker that stands free: in an answer of quoted sentences one inside a sentence is the article's own."""


def highlight_html(text: str, *spans: tuple[int, int]) -> str:
    """Return a text as HTML with ``text[start:end]`` of each span marked; spans are in order and do not overlap."""
    parts, at = [], 0
    for start, end in spans:
        if text[start:end]:
            parts += [escape(text[at:start]), f"<mark>{escape(text[start:end])}</mark>"]
            at = end
    return "".join([*parts, escape(text[at:])])


def web_link(url: object) -> str:
    """Return an http(s) address as it is, anything else as an empty string."""
    try:
        parts = urlsplit(str(url))
    except ValueError:
        return ""
    return str(url) if parts.scheme in {"http", "https"} and parts.hostname else ""


def escape_markdown(text: str, keep: str = "") -> str:
    """Return Markdown that shows a text as it is, except that the punctuation in ``keep`` keeps its meaning."""
    return "".join(f"\\{c}" if c in _MARKUP and c not in keep else c for c in text)


def source_id(anchor: str, number: int | str) -> str:
    """Return the id that the card of a source has on the page.

    Args:
        anchor: The id of the turn.
        number: The source's citation.
    """
    return f"source-{anchor}-{number}"


def answer_markdown(piece: str, *, written: bool, anchor: str = "", say: Say = KOREAN) -> str:
    """Return a piece of an answer as Markdown, in which its citation markers lead to their sources.

    If a model wrote it there is emphasis and there are lists. Everything else is text. Else "3~5도, 7~9도" would be
    struck through, a price in dollars become a formula, and an image in an article or a model's answer would be
    fetched.

    Args:
        piece: A piece of it, or all. No marker is cut in two.
        written: A chat model wrote it; otherwise it quotes sentences, and markers inside those are their own.
        anchor: The id of the turn whose sources the markers lead to, see `source_id`; empty for markers that only
            stand out.
        say: The language in which a screen reader is told what a marker is.
    """
    keep = "*-." if written else ""
    return "".join(
        _citation_markdown(part, anchor, say) if number % 2 else escape_markdown(part, keep)
        for number, part in enumerate((_MARKER if written else _FREE_MARKER).split(piece))
    )


def _citation_markdown(marker: str, anchor: str, say: Say) -> str:
    space, number = marker[: marker.index("[")], marker.strip(" []")
    if not anchor:
        return f"{space}:blue[**{escape_markdown(f'[{number}]')}**]"
    # It stays on the line of what it supports. What is :small is hidden by page.css from all but screen readers.
    space = "\u00a0" if space else ""
    return f"{space}[:small[{say('출처', 'Source')}] {number}](#{source_id(anchor, number)})"


def cited_numbers(answer: str, *, written: bool = True) -> set[int]:
    """Return the numbers in the citation markers of an answer, as `answer_markdown` takes them."""
    return {int(marker.strip(" []")) for marker in (_MARKER if written else _FREE_MARKER).findall(answer)}


def excerpt_html(text: str, *spans: tuple[int, int]) -> str:
    """Return the spans marked, on one line with a few words around each; cut between words if there are any.

    Args:
        text: A passage.
        spans: In order, not overlapping; without one, the passage's beginning is shown.
    """
    windows: list[list[tuple[int, int]]] = []
    for span in spans or ((0, 0),):
        if windows and span[0] - windows[-1][-1][1] <= 2 * EXCERPT_CHARS:
            windows[-1].append(span)
        else:
            windows.append([span])
    shown = "".join(_window_html(text, window) for window in windows)
    return shown.replace("……", "…").replace("\n", " ")


def _window_html(text: str, spans: Sequence[tuple[int, int]]) -> str:
    first, last = spans[0][0], spans[-1][1]
    before, after = text[max(0, first - EXCERPT_CHARS) : first], text[last : last + EXCERPT_CHARS]
    if first > EXCERPT_CHARS:
        before = "…" + re.sub(r"^\S*\s+", "", before)
    if last + EXCERPT_CHARS < len(text):
        after = re.sub(r"\s+\S*$", "", after) + "…"
    moved = len(before) - first
    return highlight_html(before + text[first:last] + after, *((start + moved, end + moved) for start, end in spans))


def source_html(document: Document, *, say: Say = KOREAN, anchor: str = "") -> str:
    """Return a source as HTML: where it is from, the quoted sentences, and folded the whole passage and its scores.

    Args:
        document: As `rag_app.chain` numbers it.
        say: The language of all that is not the document's.
        anchor: The id of its turn, so that the markers of the answer can lead here, see `source_id`; without it the
            source has no number.
    """
    metadata, text = document.metadata, document.page_content
    number = metadata.get("citation") if anchor else None
    named = f' id="{escape(source_id(anchor, number))}" tabindex="-1"' if number else ""
    title = headline(document, say)
    badge = f'<span class="number" aria-hidden="true">{escape(str(number))}</span>' if number else ""
    label = f"{say('출처', 'Source')} {number}: {title}" if number else title
    found = say("찾은 단락과 점수", "Passage and scores")
    return (
        f'<article class="source"{named} aria-label="{escape(label)}">'
        f'<h3 class="heading">{badge}<span lang="ko">{escape(title)}</span></h3>'
        f'<div class="meta">{origin_html(metadata, title, say)}</div>'
        f'<div class="passage excerpt" lang="ko">{excerpt_html(text, *quote_spans(document))}</div>'
        f"{duplicates_html(metadata.get('duplicates') or [], say)}"
        f'<details class="found"><summary>{found}{standings_html(metadata.get("stages") or {}, say)}</summary>'
        f'<div class="passage" lang="ko">{highlight_html(text, *quote_spans(document))}</div>'
        f"{scores_html(metadata.get('stages') or {}, say=say, passages=len(metadata.get('passages') or [0]))}"
        "</details></article>"
    )


def preview_html(documents: Sequence[Document], anchor: str, say: Say = KOREAN) -> str:
    """Return all sources of an answer that is still being written, folded; a browser unfolds them for a citation."""
    summary = say(f"찾은 기사 {len(documents)}건", f"Found: {len(documents)}")
    cards = "".join(source_html(document, say=say, anchor=anchor) for document in documents)
    return f'<details class="preview"><summary>{summary}</summary>{cards}</details>'


def quote_spans(document: Document) -> list[tuple[int, int]]:
    """Return where in a source's text the sentences stand that the answer rests on, in order."""
    metadata = document.metadata
    spans = metadata.get("quotes") or ([metadata["quote"]] if metadata.get("quote") else [])
    return [(span["start"], span["end"]) for span in spans]


def best_quote(document: Document) -> int:
    """Return the place among `quote_spans` of the sentence that answers best; 0 if there is none."""
    best = document.metadata.get("quote")
    spans = quote_spans(document)
    return spans.index((best["start"], best["end"])) if best and (best["start"], best["end"]) in spans else 0


def headline(document: Document, say: Say = KOREAN) -> str:
    """Return what a document is called: its title, or the name of its file."""
    metadata = document.metadata
    return str(metadata.get("title") or _file_name(metadata) or say("제목 없음", "Untitled"))


def origin_html(metadata: dict[str, Any], title: str, say: Say) -> str:
    """Return on one line where a document is from: outlet, date, section, file, page, and a link to the original."""
    known = [str(metadata[key]) for key in ("source", "date", "section") if metadata.get(key)]
    if (name := _file_name(metadata)) and name != title and not metadata.get("source"):
        known.append(name)
    details = [f'<span lang="ko">{escape(detail)}</span>' for detail in known]
    details += [escape(place)] if (place := position(metadata, say)) else []
    if link := web_link(metadata.get("url")):
        words = say("원문 보기", "Original")
        details.append(f'<a href="{escape(link)}" target="_blank" rel="noopener noreferrer">{words}</a>')
    if metadata.get("fictional") is True:
        details.append(f'<span class="badge">{say("가상 기사", "Made up")}</span>')
    return " · ".join(details)


def position(metadata: dict[str, Any], say: Say) -> str:
    """Return the pages, or the paragraphs, of its file that a passage stands on; empty where they are not known."""
    for key, one, several in (
        ("page", ("{}쪽", "page {}"), ("{}–{}쪽", "pages {}–{}")),
        ("paragraph", ("{}번째 문단", "paragraph {}"), ("{}–{}번째 문단", "paragraphs {}–{}")),
    ):
        if first := metadata.get(key):
            last = metadata.get(f"last_{key}") or first
            return say(*one).format(first) if last == first else say(*several).format(first, last)
    return ""


def duplicates_html(duplicates: Sequence[dict[str, Any]], say: Say) -> str:
    """Return which other articles say nearly the same, one on each line; empty if there are none."""
    lines = []
    for other in duplicates:
        words = escape(" · ".join(str(other[key]) for key in ("title", "source", "date") if other.get(key)))
        if link := web_link(other.get("url")):
            words = f'<a href="{escape(link)}" target="_blank" rel="noopener noreferrer">{words or escape(link)}</a>'
        lines += [f'<li lang="ko">{words}</li>'] if words else []
    if not lines:
        return ""
    summary = say(f"비슷한 기사 {len(duplicates)}건", f"Nearly the same: {len(duplicates)}")
    return f'<details class="also"><summary>{summary}</summary><ul>{"".join(lines)}</ul></details>'


def _file_name(metadata: dict[str, Any]) -> str:
    return PurePath(str(metadata.get("path") or "")).name
