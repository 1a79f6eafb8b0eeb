import re

import pytest
from langchain_core.documents import Document

from rag_app.language import Say
from rag_app.rendering.answer import answer_markdown, cited_numbers, source_id
from rag_app.rendering.sources import (
    EXCERPT_CHARS,
    best_quote,
    excerpt_html,
    position,
    preview_html,
    quote_spans,
    source_html,
)
from rag_app.rendering.text import escape_markdown, highlight_html


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
    shown = excerpt_html(text, (start, start + 8))
    assert shown.startswith("…앞말 ")
    assert "<mark>바로 이 문장.</mark> 뒷말" in shown
    assert shown.endswith("뒷말…")
    assert len(shown) < 2 * EXCERPT_CHARS + 40


def test_an_excerpt_of_a_short_passage_is_the_passage() -> None:
    assert excerpt_html("앞. 가운데. 뒤.", (3, 7)) == "앞. <mark>가운데.</mark> 뒤."
    assert excerpt_html("앞. 가운데. 뒤.") == "앞. 가운데. 뒤."


def test_an_excerpt_of_several_sentences_leaves_out_what_is_far_from_all_of_them() -> None:
    text = f"하나. 둘. {'먼 말 ' * 100}셋. 넷."
    three = text.index("셋")
    shown = excerpt_html(text, (0, 3), (4, 6), (three, three + 2))
    assert shown.startswith("<mark>하나.</mark> <mark>둘.</mark> 먼 말 ")
    assert shown.endswith("먼 말 <mark>셋.</mark> 넷.")
    assert shown.count("…") == 1
    assert len(shown) < 4 * EXCERPT_CHARS


@pytest.mark.parametrize("url", ["http://example.com/a?b=1&c=2", "https://뉴스.example/기사"])
def test_web_addresses_become_links(url: str) -> None:
    document = Document("본문", metadata={"url": url})
    assert f'<a href="{url.replace("&", "&amp;")}" target="_blank" rel="noopener noreferrer">' in source_html(document)


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "//example.com", "http://[", "file:///a", "", None, 5]
)
def test_other_addresses_do_not(url: object) -> None:
    assert "<a " not in source_html(Document("본문", metadata={"url": url}))


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


def test_a_citation_leads_to_its_source_and_stays_on_the_line_of_what_it_supports() -> None:
    assert answer_markdown("됐다 [1].", written=True, anchor="t") == "됐다\u00a0[:small[출처] 1](#source-t-1)."
    link = "[:small[Source] 12](#source-t-12)"
    assert answer_markdown("됐다[12][12]", written=True, anchor="t", say=Say("en")) == f"됐다{link}{link}"
    assert source_id("t", 12) == "source-t-12"


@pytest.mark.parametrize("answer", ["첫째 [1].\n\n둘째[2][1]", "“인용” [1]\n\n“인용” [2]"])
def test_a_stream_of_pieces_reads_as_the_whole(answer: str) -> None:
    written = "“" not in answer
    pieces = [part for part in answer.replace("[", "|[").replace(" |", "| ").split("|") if part]
    shown = "".join(answer_markdown(piece, written=written, anchor="t") for piece in pieces)
    assert shown == answer_markdown(answer, written=written, anchor="t")
    assert cited_numbers(answer, written=written) == {1, 2}


def test_markers_inside_a_quoted_sentence_are_the_article_s_own() -> None:
    quoted = "“백과사전[3]은 그렇게 적었다.” [1]"
    assert cited_numbers(quoted, written=False) == {1}
    assert answer_markdown(quoted, written=False, anchor="t").count("](#") == 1
    assert answer_markdown(quoted, written=False).count(":blue") == 1


def test_a_source_that_an_answer_leads_to_has_its_number_and_can_be_focused() -> None:
    document = Document("본문", metadata={"title": '가"<b>', "citation": 3})
    shown = source_html(document, anchor="t")
    assert '<article class="source" id="source-t-3" tabindex="-1" aria-label="출처 3: 가&quot;&lt;b&gt;">' in shown
    assert 'aria-hidden="true">3</span>' in shown
    other = source_html(document)
    assert "id=" not in other
    assert ">3<" not in other
    assert 'aria-label="Source 3: 가' in source_html(document, anchor="t", say=Say("en"))


def test_a_preview_holds_every_source_folded() -> None:
    documents = [Document("본문", metadata={"citation": number}) for number in (1, 2)]
    shown = preview_html(documents, "t")
    assert shown.startswith('<details class="preview"><summary>찾은 기사 2건</summary>')
    assert 'id="source-t-1"' in shown
    assert 'id="source-t-2"' in shown


@pytest.mark.parametrize(
    ("metadata", "korean", "english"),
    [
        ({"page": 12}, "12쪽", "page 12"),
        ({"page": 12, "last_page": 14}, "12–14쪽", "pages 12–14"),
        ({"paragraph": 1, "last_paragraph": 1}, "1번째 문단", "paragraph 1"),
        ({"paragraph": 2, "last_paragraph": 5}, "2–5번째 문단", "paragraphs 2–5"),
        ({}, "", ""),
    ],
)
def test_where_in_its_file_a_source_stands(metadata: dict[str, int], korean: str, english: str) -> None:
    assert position(metadata, Say("ko")) == korean
    assert position(metadata, Say("en")) == english
    assert korean in source_html(Document("본문", metadata=metadata))


def test_near_duplicates_are_named_and_linked() -> None:
    duplicates = [
        {"doc_id": "a", "title": "<b>같은</b> 기사", "source": "누리통신", "url": "https://a.example/1"},
        {"doc_id": "b", "title": "또", "url": "javascript:alert(1)"},
        {"doc_id": "c"},
    ]
    shown = source_html(Document("본문", metadata={"duplicates": duplicates}))
    assert "비슷한 기사 3건" in shown
    assert '<a href="https://a.example/1" target="_blank" rel="noopener noreferrer">&lt;b&gt;같은&lt;/b&gt;' in shown
    assert '<li lang="ko">또</li>' in shown
    assert "javascript" not in shown


def test_the_best_quote_is_known_by_its_place() -> None:
    spans = [{"start": 0, "end": 2}, {"start": 3, "end": 5}]
    document = Document("하나 둘셋", metadata={"quote": spans[1], "quotes": spans})
    assert quote_spans(document) == [(0, 2), (3, 5)]
    assert best_quote(document) == 1
    assert quote_spans(Document("하나", metadata={"quote": spans[0]})) == [(0, 2)]
    assert (quote_spans(Document("하나")), best_quote(Document("하나"))) == ([], 0)


@pytest.mark.fault(9, "The names of emoji in a text, and so the middle of 1:100:5, were shown as emoji and icons.")
@pytest.mark.parametrize("text", [":smile:", "1:100:5", ":material/home:", ":streamlit:", ":+1:"])
def test_names_of_emoji_are_broken(text: str) -> None:
    shown = escape_markdown(text)
    assert not re.search(r":[\w+\-/]+:", shown.replace("\\", ""))
    assert shown.replace("\\", "").replace("\u2060", "") == text


def test_times_have_nothing_hidden_in_them() -> None:
    assert "\u2060" not in escape_markdown("10:30:45, 3:2, 오전 9:00:00, 가:나:다")


@pytest.mark.fault(9, "A line of a question that began with four spaces was shown as code, with backslashes in it.")
@pytest.mark.parametrize("text", ["    <b>", "가\n\n\t<b>", "가\n      <b>", "  \t<b>"])
def test_an_indented_line_is_text(text: str) -> None:
    assert not re.search(r"^( {4}| {0,3}\t)", escape_markdown(text), re.MULTILINE)
    assert not re.search(r"^( {4}| {0,3}\t)", escape_markdown(text, "*-."), re.MULTILINE)


def test_a_list_inside_a_list_of_an_answer_stays_one() -> None:
    assert escape_markdown("- 하나\n    - 둘", "*-.") == "- 하나\n    - 둘"
