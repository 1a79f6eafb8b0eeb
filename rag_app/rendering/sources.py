"""Sources as HTML for a page: where each is from, its quoted sentences, and why it was found."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import PurePath
from typing import Any

from langchain_core.documents import Document

from rag_app.language import KOREAN, Say
from rag_app.rendering.answer import source_id
from rag_app.rendering.score_table import scores_html, standings_html
from rag_app.rendering.text import highlight_html, web_link

EXCERPT_CHARS = 60
"""How many characters of a passage an excerpt shows before and after the quoted sentence."""


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


def origin(metadata: Mapping[str, Any]) -> list[str]:
    """Return the outlet, the date and the section of a document, as far as they are known."""
    return [str(metadata[key]) for key in ("source", "date", "section") if metadata.get(key)]


def origin_html(metadata: dict[str, Any], title: str, say: Say) -> str:
    """Return on one line where a document is from: outlet, date, section, file, page, and a link to the original."""
    known = origin(metadata)
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
