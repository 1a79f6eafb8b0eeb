"""Files -> records: one loader per format, in a table by suffix.

A record is a dict with ``text`` and, where the file says so, ``title``, ``date``, ``section``, ``source``, ``url`` and
other fields. Loaders raise ValueError for a file they cannot read, without its name: `rag_app.documents` adds that.
The libraries of a format are imported when a file of that format comes up.
"""

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag_app.tables import ROWS, USUAL_NAMES, Columns, find_column, table_records, text_encoding

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag
    from docx.document import Document as WordDocument
    from docx.table import Table

Record = dict[str, Any]
Loader = Callable[[Path, Columns], Iterator[Record]]

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?\n)---[ \t]*(?:\n|\Z)", re.DOTALL)
_FENCED = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t#]*$", re.MULTILINE)

_NOT_TEXT = ["script", "style", "nav", "noscript", "template", "button", "select", "svg", "aside", "footer"]
_BLOCKS = (
    *("address", "article", "blockquote", "dd", "div", "dl", "dt", "fieldset", "figcaption", "figure", "header", "hr"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "li", "main", "ol", "p", "pre", "section", "table", "tr", "ul"),
)
_META = {  # property or name of the <meta> tags that hold each field
    "title": ("og:title",),
    "date": ("article:published_time", "og:article:published_time", "datePublished"),
    "section": ("article:section", "og:article:section"),
    "source": ("og:site_name",),
    "url": ("og:url",),
}


def _load_text(path: Path, columns: Columns) -> Iterator[Record]:
    yield {"text": path.read_text(encoding=text_encoding(path))}


def _load_markdown(path: Path, columns: Columns) -> Iterator[Record]:
    """Front matter of ``name: value`` lines is taken off and read; otherwise the text stays as it is."""
    text = path.read_text(encoding=text_encoding(path))
    record: Record = {}
    if front := _FRONT_MATTER.match(text):
        text = text[front.end() :]
        pairs = (line.partition(":") for line in front[1].splitlines() if not line.startswith((" ", "-", "#")))
        values = {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}
        names = {field: find_column(field, values) for field in USUAL_NAMES if field != "text"}
        record = {field: values[name] for field, name in names.items() if name}
    if not record.get("title") and (heading := _HEADING.search(_FENCED.sub("", text))):
        record["title"] = heading[1]
    yield {**record, "text": text}


def _load_html(path: Path, columns: Columns) -> Iterator[Record]:
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(path.read_text(encoding=text_encoding(path)), "html.parser")
    record = {field: _meta(soup, names) for field, names in _META.items()}
    if not record["title"] and (title := soup.find("title") or soup.find("h1")):
        record["title"] = title.get_text()
    yield {**record, "text": _flow(_article(soup))}


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
    for string in root.find_all(string=True):
        if not string.find_parent("pre"):
            string.replace_with(type(string)(re.sub(r"\s+", " ", string)))
    for tag in root(["br", "td", "th", *_BLOCKS]):
        if tag.name == "br":
            tag.replace_with("\n")
        elif tag.name in ("td", "th"):
            tag.append(" ")
        else:
            tag.insert_before("\n")
            tag.append("\n")
    return root.get_text()


def _load_pdf(path: Path, columns: Columns) -> Iterator[Record]:
    from pypdf import PdfReader

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # what is wrong with a file is in the error

    with path.open("rb") as file:
        try:
            reader = PdfReader(file)
            # Documents protected only against printing or editing open with an empty password.
            locked = reader.is_encrypted and not reader.decrypt("")
            text = "" if locked else "\n\n".join(page.extract_text() for page in reader.pages)
            title = None if locked else reader.metadata and reader.metadata.title
        except Exception as error:  # a broken PDF raises almost anything, from KeyError to RecursionError
            raise ValueError(f"cannot be read as PDF: {error!r}") from error
    if locked:
        raise ValueError("this PDF is encrypted. Save a copy without its password")
    if not text.strip():
        raise ValueError("this PDF holds no text, perhaps only scanned pages. Run text recognition (OCR) on it first")
    yield {"title": title, "text": text}


def _load_docx(path: Path, columns: Columns) -> Iterator[Record]:
    import docx

    try:
        document = docx.Document(str(path))
        title = document.core_properties.title or _word_title(document)
        text = "\n".join(_word_blocks(document))
    except Exception as error:  # zip, XML and relationship errors share no base class
        raise ValueError(f"cannot be read as a Word document (.docx): {error!r}") from error
    yield {"title": title, "text": text}


def _word_title(document: "WordDocument") -> str | None:
    titles = (p.text for p in document.paragraphs if p.style is not None and p.style.name in ("Title", "Heading 1"))
    return next(filter(None, titles), None)


def _word_blocks(container: "WordDocument") -> Iterator[str]:
    from docx.text.paragraph import Paragraph

    for block in container.iter_inner_content():
        if isinstance(block, Paragraph):
            yield block.text
        else:
            yield from _word_table(block)


def _word_table(table: "Table") -> Iterator[str]:
    for row in table.rows:
        cells = {id(cell._tc): cell.text for cell in row.cells}  # a merged cell comes up once per column it spans
        yield " ".join(cells.values())


def _load_table(path: Path, columns: Columns) -> Iterator[Record]:
    return table_records(ROWS[path.suffix.lower()](path), columns)


LOADERS: dict[str, Loader] = {
    ".txt": _load_text,
    ".md": _load_markdown,
    ".markdown": _load_markdown,
    ".html": _load_html,
    ".htm": _load_html,
    ".pdf": _load_pdf,
    ".docx": _load_docx,
    **dict.fromkeys(ROWS, _load_table),
}
"""The loader of each format, by the file's suffix in lower case."""
