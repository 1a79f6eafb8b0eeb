from eval.speed_corpus import source_sentences, speed_corpus
from rag_app.data import sample_documents
from rag_app.documents import make_document

SOURCES = source_sentences(sample_documents())


def test_articles_are_distinct_of_the_same_length_and_can_be_filtered() -> None:
    articles = list(speed_corpus(SOURCES, 300))
    assert len({article.id for article in articles}) == 300
    assert {len(article.page_content) for article in articles} == {450}
    assert all({"title", "date", "section", "source"} <= article.metadata.keys() for article in articles)
    assert len({article.metadata["section"] for article in articles}) == 8


def test_the_nth_article_is_always_the_same() -> None:
    assert list(speed_corpus(SOURCES, 20))[:5] == list(speed_corpus(SOURCES, 5))
    assert list(speed_corpus(SOURCES, 5, seed=1)) != list(speed_corpus(SOURCES, 5))


def test_articles_of_one_sentence_are_no_source() -> None:
    assert source_sentences([make_document("하나뿐인 문장은 아무것도 되지 못한다.")]) == []
