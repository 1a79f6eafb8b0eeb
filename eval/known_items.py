"""Questions for articles that nobody has asked any: find each by its title, or by a sentence cut out of it."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from langchain_core.documents import Document

from rag_app.data.questions import Question, RetrievalData
from rag_app.data.unlabelled import FEWEST_SENTENCES, SENTENCE_CHARS, askable, cut_out, without_title
from rag_app.documents import document_id, make_document
from rag_app.korean import Sentence, analyzer


def known_items(articles: Iterable[Document], *, seed: int = 0) -> RetrievalData:
    """Return articles without their titles, and each title as a question that its articles answer.

    Known-item search (Azzopardi, de Rijke and Balog, "Building Simulated Queries for Known-Item Topics", SIGIR 2007).
    The title is left out of the text, lest it be read off there. An article without a title is asked for by a random
    sentence that stands in no other, cut out of it; see `rag_app.data.unlabelled.askable`. Such questions are worded as
    the articles are, so they flatter lexical search: use them to compare analyses, not to tell how good a search is.

    Args:
        articles: What to search; articles of one title share one question.
        seed: Which sentences are drawn also depends on the article's id, and on nothing else.

    Raises:
        ValueError: No article gives a question.
    """
    articles = list(articles)
    cut = _choose_sentences([article for article in articles if not article.metadata.get("title")], seed)
    passages: dict[str, Document] = {}
    questions: dict[str, Question] = {}
    for article in articles:
        query, origin, passage = article.metadata.get("title", ""), "title", without_title(article)
        if sentence := cut.get(article.metadata["doc_id"]):
            query, origin = sentence.text, "sentence"
            passage = make_document(cut_out(article.page_content, sentence), **article.metadata)
        doc_id = passages.setdefault(str(passage.id), passage).metadata["doc_id"]
        if query:
            new = Question(document_id(query), query, frozenset(), (), impossible=False, metadata={"made_from": origin})
            known = questions.setdefault(query, new)
            questions[query] = known._replace(relevant=known.relevant | {doc_id})
    if not questions:
        raise ValueError(
            f"None of the {len(articles)} articles gives a question: that takes a title, or at least "
            f"{FEWEST_SENTENCES} sentences, one of them of {SENTENCE_CHARS[0]} to {SENTENCE_CHARS[-1]} characters. "
            "Name the column of titles with --title-column, or give data with questions"
        )
    return RetrievalData(passages, list(questions.values()))


def _choose_sentences(articles: Sequence[Document], seed: int) -> Mapping[str, Sentence]:
    """Return the sentence that each article is asked for by, by doc_id; articles that give none are not there."""
    found = list(analyzer().sentences_batch([article.page_content for article in articles]))
    often = Counter(sentence.text for sentences in found for sentence in sentences)
    chosen = {}
    for article, sentences in zip(articles, found, strict=True):
        if own := [sentence for sentence in askable(sentences) if often[sentence.text] == 1]:
            doc_id = article.metadata["doc_id"]
            chosen[doc_id] = random.Random(f"{seed} {doc_id}").choice(own)  # noqa: S311
    return chosen
