"""Questions for articles that nobody has asked any: find each by its title, or by a sentence cut out of it."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from langchain_core.documents import Document

from rag_app.data.beir import is_beir
from rag_app.data.questions import Question, RetrievalData
from rag_app.data.sources import NAMED
from rag_app.documents import document_id, make_document
from rag_app.korean import Sentence, analyzer, normalise
from rag_app.tables import QUESTION_NAMES, ROWS

TITLE, SENTENCE = "title", "sentence"
_FEWEST_SENTENCES = 3  # in an article that one is cut out of
_SENTENCE_CHARS = range(20, 201)


class _Item(NamedTuple):
    query: str  # empty if the article gives none
    text: str  # what is left of the article
    origin: str


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
    return any(_has_questions(file) for file in files if file.suffix.lower() in ROWS and file.is_file())


def known_items(articles: Iterable[Document], *, seed: int = 0) -> RetrievalData:
    """Return articles without their titles, and each title as a question that its articles answer.

    Known-item search (Azzopardi, de Rijke and Balog, "Building Simulated Queries for Known-Item Topics", SIGIR 2007).
    The title is left out of the text, lest it be read off there. An article without a title is asked for by a random
    sentence of 20 to 200 characters, cut out of it, that stands in no other; one of fewer than three sentences is not
    asked for. Such questions are worded as the articles are, so they flatter lexical search: use them to compare
    analyses, not to tell how good a search is.

    Args:
        articles: What to search; articles of one title share one question.
        seed: Which sentences are drawn also depends on the article's id, and on nothing else.

    Raises:
        ValueError: No article gives a question.
    """
    articles = list(articles)
    cut = _cut_sentences([article for article in articles if not article.metadata.get("title")], seed)
    passages: dict[str, Document] = {}
    questions: dict[str, Question] = {}
    for article in articles:
        item = cut.get(article.metadata["doc_id"]) or _ask_title(article)
        passage = _passage(article, item.text)
        doc_id = passage.metadata["doc_id"]
        passages.setdefault(doc_id, passage)
        if item.query:
            known = questions.setdefault(item.query, _question(item))
            questions[item.query] = known._replace(relevant=known.relevant | {doc_id})
    if not questions:
        raise ValueError(
            f"None of the {len(articles)} articles gives a question: that takes a title, or at least "
            f"{_FEWEST_SENTENCES} sentences, one of them of {_SENTENCE_CHARS[0]} to {_SENTENCE_CHARS[-1]} characters. "
            "Name the column of titles with --title-column, or give data with questions"
        )
    return RetrievalData(passages, list(questions.values()))


def without_title(article: Document) -> Document:
    """Return an article as `known_items` has it, for distractors: with a title it would be easier to find."""
    return _passage(article, _ask_title(article).text)


def _has_questions(table: Path) -> bool:
    try:
        return any(name in row.values for row in ROWS[table.suffix.lower()](table) for name in QUESTION_NAMES)
    except ValueError as error:
        raise ValueError(f"{table}: {error}") from error


def _passage(article: Document, text: str) -> Document:
    return make_document(text, **{name: value for name, value in article.metadata.items() if name != "title"})


def _question(item: _Item) -> Question:
    metadata = {"made_from": item.origin}
    return Question(document_id(item.query), item.query, frozenset(), (), impossible=False, metadata=metadata)


def _ask_title(article: Document) -> _Item:
    """Return an article's title and its text without it: Markdown and web pages have it as their first line."""
    title = str(article.metadata.get("title") or "")
    first, _, rest = article.page_content.partition("\n")
    repeated = " ".join(first.lstrip("#").split()) == title
    return _Item(title, rest if repeated and rest.strip() else article.page_content, TITLE)


def _cut_sentences(articles: Sequence[Document], seed: int) -> Mapping[str, _Item]:
    found = list(analyzer().sentences_batch([article.page_content for article in articles]))
    often = Counter(sentence.text for sentences in found for sentence in sentences)
    items = {}
    for article, sentences in zip(articles, found, strict=True):
        own = [one for one in sentences if often[one.text] == 1 and len(one.text) in _SENTENCE_CHARS]
        if own and len(sentences) >= _FEWEST_SENTENCES:
            doc_id = article.metadata["doc_id"]
            items[doc_id] = _cut(article.page_content, random.Random(f"{seed} {doc_id}").choice(own))  # noqa: S311
    return items


def _cut(text: str, sentence: Sentence) -> _Item:
    return _Item(sentence.text, normalise(f"{text[: sentence.start]} {text[sentence.end :]}"), SENTENCE)
