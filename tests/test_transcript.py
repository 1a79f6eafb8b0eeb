"""A conversation as Markdown shows what was said, and nothing in it is markup."""

from datetime import UTC, timedelta, timezone, tzinfo

import pytest
from langchain_core.documents import Document

from rag_app.conversations.store import Conversation
from rag_app.conversations.transcript import file_name, to_markdown
from rag_app.conversations.turn import Turn
from rag_app.language import Say

MOON = Document(
    "지구는 해를 돈다. 달은 <b>지구</b>를 돈다.",
    metadata={
        "title": "달 *소식*",
        "source": "누리통신",
        "date": "2025-01-06",
        "section": "과학",
        "url": "https://example.com/달_1?a=b>c",
        "quote": {"start": 11, "end": 28},
    },
)
OTHER = Document("다른 글", metadata={"title": "다른 기사", "url": "javascript:alert(1)"})


def _markdown(*turns: Turn, lang: str = "ko", zone: tzinfo = UTC) -> str:
    return to_markdown(Conversation("1", "달 이야기", 1, list(turns)), Say("en" if lang == "en" else "ko"), zone)


def test_a_turn_has_its_question_what_was_searched_its_answer_and_the_sources_it_cites() -> None:
    turn = Turn(
        "그건 무엇을 도나요?",
        created="2026-01-02T03:04:05+00:00",
        searched="달은 무엇을 도나요?",
        answer="“달은 지구를 돈다.” [1]",
        documents=[MOON, OTHER],
        finished=True,
        chat_model="openai:gpt",
    )
    assert _markdown(turn) == (
        "# 달 이야기\n\n"
        "## 그건 무엇을 도나요?\n\n"
        "*2026-01-02 03:04 UTC*  \n*openai:gpt*  \n*찾은 질문: 달은 무엇을 도나요?*\n\n"
        "“달은 지구를 돈다.” [1]\n\n"
        "**출처**\n\n"
        "1. 달 \\*소식\\* · 누리통신 · 2025-01-06 · 과학  \n"
        "   <https://example.com/달_1?a=b%3Ec>  \n"
        "   “달은 \\<b\\>지구\\</b\\>를 돈다.”\n"
    )


def test_what_an_article_has_in_brackets_cites_nothing_and_a_path_stays_at_home() -> None:
    report = Document("각주 3[2]은 없다.", metadata={"path": "/home/somebody/보고서.pdf"})
    text = _markdown(Turn("?", answer="“각주 3[2]은 없다.” [1]", documents=[report, OTHER], finished=True))
    assert "**출처**\n\n1. 보고서.pdf\n" in text
    assert "다른 기사" not in text


def test_times_are_those_of_the_visitor_s_clock() -> None:
    turn = Turn("?", created="2026-01-02T23:04:05+00:00")
    assert "*2026-01-03 08:04 UTC+09:00*" in _markdown(turn, zone=timezone(timedelta(hours=9)))


@pytest.mark.parametrize(("lang", "words"), [("ko", "가상 기사"), ("en", "Made up")])
def test_a_made_up_article_is_called_so(lang: str, words: str) -> None:
    made_up = Document("글", metadata={"title": "소식", "date": "2025-01-06", "fictional": True})
    text = _markdown(Turn("?", answer="글 [1][2]", documents=[made_up, OTHER], finished=True), lang=lang)
    assert f"\n1. 소식 · 2025-01-06 · {words}\n" in text
    assert text.count(words) == 1


def test_a_refusal_lists_the_nearest_articles_without_links_that_run() -> None:
    text = _markdown(Turn("?", answer="없습니다", documents=[OTHER], refused=True, finished=True), lang="en")
    assert "**Nearest articles**\n\n1. 다른 기사" in text
    assert "javascript" not in text


def test_an_answer_that_is_not_complete_says_so() -> None:
    assert "*답변을 멈췄습니다.*" in _markdown(Turn("?", answer="반쯤", stopped=True))
    assert "*답변이 중간에 끊겼습니다.*" in _markdown(Turn("?", answer="반쯤"))
    assert "*서버가 없습니다 \\[x\\]*" in _markdown(Turn("?", problem="서버가 없습니다", detail="[x]"))


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("[1] [x](http://a) ![y](z)", r"[1] \[x\](http\://a) !\[y\](z)"),
        ("1. 하나", r"1\. 하나"),
        ("+ 더하기", r"\+ 더하기"),
        ("# 제목 `코드` *굵게* _밑줄_", r"\# 제목 \`코드\` \*굵게\* \_밑줄\_"),
        ("<b>&amp;</b> 3~5도 $5$", r"\<b\>\&amp;\</b\> 3\~5도 \$5\$"),
        ("2025-01-06 3.5%", "2025-01-06 3.5%"),
    ],
)
def test_what_would_be_markup_is_escaped_and_nothing_else(said: str, written: str) -> None:
    assert f"\n\n{written}\n" in _markdown(Turn("?", answer=said, finished=True))


@pytest.mark.fault(9, "In a downloaded conversation, [1] followed by an address in brackets became a link to it.")
def test_a_marker_that_an_address_follows_is_no_link_and_no_definition() -> None:
    text = _markdown(Turn("[1]: http://a.example", answer="[1](http://a.example) ![1](//b) [1]", finished=True))
    assert "## \\[1\\]: http\\://a.example" in text
    assert "\n\\[1\\](http\\://a.example) !\\[1\\](//b) [1]\n" in text


def test_paragraphs_and_lines_of_an_answer_stay() -> None:
    assert "하나.  \n둘.\n\n\\- 셋" in _markdown(Turn("?", answer="하나.\n둘.\n\n- 셋", finished=True))


def test_a_file_s_name_is_one_that_any_system_takes() -> None:
    assert file_name(Conversation("1", '달/해: "어디" <?>', 1, [])) == "달 해 어디.md"
    assert file_name(Conversation("ab", "???", 1, [])) == "ab.md"
