"""Articles without questions, and what to ask of them: their titles, and sentences cut out of their texts."""

from collections.abc import Sequence
from pathlib import Path

from langchain_core.documents import Document

from rag_app.data.beir import is_beir
from rag_app.data.sources import NAMED, file_rows
from rag_app.documents import make_document
from rag_app.files.tables import QUESTION_NAMES, ROWS
from rag_app.korean import Sentence, normalise

FEWEST_SENTENCES = 3
"""How many a text needs for one to be cut out of it."""
SENTENCE_CHARS = range(20, 201)
"""How long that sentence may be."""


def asks_questions(source: str | Path) -> bool:
    """Whether a source is a data set with questions, and no mere articles.

    It is if it goes by a name (``"sample"``), is a BEIR folder, a table with a column for questions (``question``,
    ``query``, ``질문``), or a folder that holds such a table at any depth; or if there is nothing at the path, which
    `rag_app.data.load_retrieval_data` has words for.

    Raises:
        ValueError: A table is broken.
    """
    path = Path(source)
    if str(source) in NAMED or not path.exists() or is_beir(path):
        return True
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    tables = (file for file in files if file.suffix.lower() in ROWS and file.is_file())
    return any(name in row.values for table in tables for row in file_rows(table, "") for name in QUESTION_NAMES)


def without_title(article: Document) -> Document:
    """Return an article without its title, also where Markdown and web pages repeat it as the first line."""
    title = article.metadata.get("title")
    first, _, rest = article.page_content.partition("\n")
    repeated = title and " ".join(first.lstrip("#").split()) == title
    text = rest if repeated and rest.strip() else article.page_content
    return make_document(text, **{name: value for name, value in article.metadata.items() if name != "title"})


def askable(sentences: Sequence[Sentence]) -> list[Sentence]:
    """Return which of a text's sentences may be cut out of it to be asked for; see `FEWEST_SENTENCES`."""
    if len(sentences) < FEWEST_SENTENCES:
        return []
    return [sentence for sentence in sentences if len(sentence.text) in SENTENCE_CHARS]


def cut_out(text: str, sentence: Sentence) -> str:
    """Return what is left of a text without one of its sentences."""
    return normalise(f"{text[: sentence.start]} {text[sentence.end :]}")
