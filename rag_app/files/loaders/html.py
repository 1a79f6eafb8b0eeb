"""Web pages."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rag_app.files.encodings import text_encoding
from rag_app.files.loaders.records import Record
from rag_app.files.tables import Columns
from rag_app.files.unreadable import reading_as

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

_NOT_TEXT = ["script", "style", "nav", "noscript", "template", "button", "select", "svg", "aside", "footer"]
_BLOCKS = {
    *("address", "article", "blockquote", "dd", "div", "dl", "dt", "fieldset", "figcaption", "figure", "header", "hr"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "li", "main", "ol", "p", "pre", "section", "table", "tr", "ul"),
}
_META = {  # property or name of the <meta> tags that hold each field
    "title": ("og:title",),
    "date": ("article:published_time", "og:article:published_time", "datePublished"),
    "section": ("article:section", "og:article:section"),
    "source": ("og:site_name",),
    "url": ("og:url",),
}


def load_html(path: Path, columns: Columns) -> Iterator[Record]:
    """Yield the article of a web page, without what stands around it."""
    from bs4 import BeautifulSoup

    source = path.read_text(encoding=text_encoding(path))
    with reading_as("a web page (.html, .htm)", path, "Save it anew, or its text as .txt"):
        soup = BeautifulSoup(source, "html.parser")
        record = {field: _meta(soup, names) for field, names in _META.items()}
        if not record["title"] and (title := soup.find("title") or soup.find("h1")):
            record["title"] = title.get_text()
        record["text"] = _flow(_article(soup))
    yield record


def _meta(soup: "BeautifulSoup", names: tuple[str, ...]) -> str | None:
    for name in names:
        for attribute in ("property", "name", "itemprop"):
            if tag := soup.find("meta", attrs={attribute: name}):
                return str(tag.get("content", ""))
    return None


def _article(soup: "BeautifulSoup") -> "Tag":
    """Return the part of a page that holds the article; of many <article>s (a list, teasers) only a dominant one."""
    for tag in soup(_NOT_TEXT):
        tag.decompose()
    articles = sorted(soup.find_all("article"), key=lambda tag: len(tag.get_text()))
    if articles and 3 * len(articles[-1].get_text()) > 2 * sum(len(tag.get_text()) for tag in articles):
        return articles[-1]
    return soup.find("main") or soup.find(role="main") or soup.find("body") or soup


def _flow(root: "Tag") -> str:
    """Return a tag's text with a line per block: white space in the source means nothing, <br> does."""
    from bs4.element import CData, NavigableString, Tag

    pieces: list[str] = []
    inside = [root]  # walked through by hand: to put line breaks into the tree takes ever longer the deeper it is
    preformatted = 0

    def close() -> None:
        nonlocal preformatted
        tag = inside.pop()
        preformatted -= tag.name == "pre"
        pieces.append(" " if tag.name in ("td", "th") else "\n" if tag.name in _BLOCKS else "")

    for element in root.descendants:
        while inside[-1] is not element.parent:
            close()
        if isinstance(element, Tag):
            inside.append(element)
            preformatted += element.name == "pre"
            pieces.append("\n" if element.name == "br" or element.name in _BLOCKS else "")
        elif type(element) in (NavigableString, CData):  # not in comments and declarations
            pieces.append(str(element) if preformatted else re.sub(r"\s+", " ", str(element)))
    while len(inside) > 1:
        close()
    return "".join(pieces)
