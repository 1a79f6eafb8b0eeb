import pytest
from langchain_core.documents import Document

from rag_app.rendering import EXCERPT_CHARS, answer_markdown, excerpt_html, highlight_html, scores_html, source_html


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        (0, 3, "<mark>a&lt;b</mark>&amp;c"),
        (3, 5, "a&lt;b<mark>&amp;c</mark>"),
        (2, 2, "a&lt;b&amp;c"),
        (9, 12, "a&lt;b&amp;c"),
    ],
)
def test_highlighting_marks_the_span_and_escapes_all(start: int, end: int, shown: str) -> None:
    assert highlight_html("a<b&c", (start, end)) == shown


def test_every_quoted_sentence_is_marked() -> None:
    assert highlight_html("가<나. 다. 라.", (0, 4), (8, 10)) == "<mark>가&lt;나.</mark> 다. <mark>라.</mark>"


def test_an_excerpt_has_a_few_words_around_the_sentence() -> None:
    text = "앞말 " * 50 + "바로 이 문장.\n" + "뒷말 " * 50
    start = text.index("바로")
    shown = excerpt_html(text, start, start + 8)
    assert shown.startswith("…앞말 ")
    assert "<mark>바로 이 문장.</mark> 뒷말" in shown
    assert shown.endswith("뒷말…")
    assert len(shown) < 2 * EXCERPT_CHARS + 40


def test_an_excerpt_of_a_short_passage_is_the_passage() -> None:
    assert excerpt_html("앞. 가운데. 뒤.", 3, 7) == "앞. <mark>가운데.</mark> 뒤."


@pytest.mark.parametrize("url", ["http://example.com/a?b=1&c=2", "https://뉴스.example/기사"])
def test_web_addresses_become_links(url: str) -> None:
    document = Document("본문", metadata={"url": url})
    assert f'<a href="{url.replace("&", "&amp;")}" target="_blank" rel="noopener noreferrer">' in source_html(document)


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "//example.com", "http://[", "file:///a", "", None, 5]
)
def test_other_addresses_do_not(url: object) -> None:
    assert "<a" not in source_html(Document("본문", metadata={"url": url}))


def test_an_address_cannot_leave_its_attribute() -> None:
    assert 'href="http://a/&quot; onclick=' in source_html(Document("본문", metadata={"url": 'http://a/" onclick="x'}))


def test_a_source_without_title_is_named_by_its_file() -> None:
    assert "기사.txt" in source_html(Document("본문", metadata={"path": "/somewhere/기사.txt"}))
    assert "/somewhere" not in source_html(Document("본문", metadata={"path": "/somewhere/기사.txt"}))


def test_an_answer_is_text_but_for_its_citations() -> None:
    shown = answer_markdown("기온은 3~5도, *7~9도*다. ![그림](http://a/b.png) [2]", written=False)
    assert shown.endswith(r"\!\[그림\]\(http\:\/\/a/b\.png\) :blue[**\[2\]**]".replace(r"\/\/", "//"))
    assert r"3\~5도, \*7\~9도\*" in shown
    assert "*7" in answer_markdown("*7*", written=True)
    assert r"\*7" not in answer_markdown("*7*", written=True)


def test_scores_are_a_table_of_stages_in_order() -> None:
    stages = {"lexical": {"rank": 2, "score": 9.5, "coverage": 0.41}, "<b>": {"rank": 1, "score": 0.5}}
    table = scores_html(stages)
    assert "<th>낱말 (BM25)</th><td>2위</td><td>9.500 (최대치의 41%)</td>" in table
    assert "&lt;b&gt;" in table
    assert scores_html({}) == ""
