"""Documents and answers as HTML and Markdown for a page: all they hold is shown as text, never run or fetched."""

import re
from html import escape
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

from langchain_core.documents import Document

EXCERPT_CHARS = 60
"""How many characters of a passage an excerpt shows before and after the quoted sentence."""
STAGES = {"lexical": "낱말 (BM25)", "dense": "뜻 (코사인)", "fusion": "합산", "rerank": "재순위"}
"""What a reader calls each stage of a search."""
_MARKUP = frozenset("\\`*_{}[]()<>#+-.!|~$:=&")  # Streamlit's Markdown knows formulas, colours and bare addresses


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


def answer_markdown(piece: str, *, written: bool) -> str:
    """Return a piece of an answer as Markdown: its citation markers stand out, emphasis and lists only if written.

    Everything else is text. Else "3~5도, 7~9도" would be struck through, a price in dollars become a formula, and an
    image in an article or a model's answer would be fetched.
    """
    parts = re.split(r"(\[\d{1,3}\])", piece)
    keep = "*-." if written else ""
    return "".join(
        f":blue[**{escape_markdown(part)}**]" if number % 2 else escape_markdown(part, keep)
        for number, part in enumerate(parts)
    )


def excerpt_html(text: str, start: int, end: int) -> str:
    """Return ``text[start:end]`` marked, on one line with a few words around it; cut between words if there are any."""
    before = text[max(0, start - EXCERPT_CHARS) : start]
    after = text[end : end + EXCERPT_CHARS]
    if start > EXCERPT_CHARS:
        before = "…" + re.sub(r"^\S*\s+", "", before)
    if end + EXCERPT_CHARS < len(text):
        after = re.sub(r"\s+\S*$", "", after) + "…"
    shown = highlight_html(before + text[start:end] + after, (len(before), len(before) + end - start))
    return shown.replace("\n", " ")


def source_html(document: Document) -> str:
    """Return a source as HTML: where it is from, the quoted sentence, and folded the whole passage and its scores."""
    metadata, text = document.metadata, document.page_content
    quote = metadata.get("quote") or {"start": 0, "end": 0}
    spans = [(span["start"], span["end"]) for span in metadata.get("quotes", [quote])]
    details = [escape(str(metadata[key])) for key in ("source", "date", "section") if metadata.get(key)]
    if link := web_link(metadata.get("url")):
        details.append(f'<a href="{escape(link)}" target="_blank" rel="noopener noreferrer">원문 보기</a>')
    if others := metadata.get("duplicates"):
        details.append(f"비슷한 기사 {len(others)}건")
    if metadata.get("fictional") is True:
        details.append('<span class="badge">가상 기사</span>')
    return (
        f'<div class="source" lang="ko"><div class="heading">{escape(_headline(document))}</div>'
        f'<div class="meta">{" · ".join(details)}</div>'
        f'<div class="passage excerpt">{excerpt_html(text, quote["start"], quote["end"])}</div>'
        f"<details><summary>단락 전체와 점수</summary>"
        f'<div class="passage">{highlight_html(text, *spans)}</div>'
        f"{_duplicates_html(metadata.get('duplicates') or [])}"
        f"{scores_html(metadata.get('stages') or {})}</details></div>"
    )


def _duplicates_html(duplicates: list[dict[str, Any]]) -> str:
    """Return where else nearly the same article appeared, one on each line."""
    lines = [
        " · ".join(str(other[key]) for key in ("title", "source", "date") if other.get(key)) for other in duplicates
    ]
    return "".join(f'<div class="meta">비슷한 기사: {escape(line)}</div>' for line in lines if line)


def scores_html(stages: dict[str, dict[str, Any]]) -> str:
    """Return a table of each stage's rank and score, in the order in which they ran; empty without stages."""
    rows = [
        f"<tr><th>{escape(STAGES.get(name, name))}</th><td>{stage['rank']}위</td><td>{_score(stage)}</td></tr>"
        for name, stage in stages.items()
    ]
    head = "<tr><th>단계</th><th>순위</th><th>점수</th></tr>"
    return f'<table class="scores"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>' if rows else ""


def _score(stage: dict[str, Any]) -> str:
    if "score" not in stage:  # the reranker's limits left it unread
        return "–"
    share = f" (최대치의 {stage['coverage']:.0%})" if "coverage" in stage else ""
    return f"{stage['score']:.3f}{share}"


def _headline(document: Document) -> str:
    metadata = document.metadata
    title = metadata.get("title") or PurePath(str(metadata.get("path") or "")).name or "제목 없음"
    return f"[{metadata['citation']}] {title}" if "citation" in metadata else str(title)
