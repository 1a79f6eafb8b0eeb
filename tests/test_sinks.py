"""What a chat model writes can be read, and nothing else."""

import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rag_app.characters.visible import VisibleCharacters, visible
from rag_app.citations import CitationFilter
from rag_app.untrusted.sinks import LONGEST_WORD, SinkFilter, addresses, without_sinks

GONE = "‹주소 삭제›"
SOURCES = [
    "자세한 내용은 https://www.example.com/a?x=1 또는 문의(help@example.co.kr), https://ko.example.org/서울_(도시)"
]
KNOWN = addresses(SOURCES)
UNCHANGED = [
    "3월 2일입니다 [1]. 예산은 120억 원입니다 [1][2].",
    "2025-11-20 오전 10:30, 3.5%, 1,234원, 5~7도, 3:2로 이겼다",
    "3<5이고 a < b, x>y, A&B, R&D, Q&A, AT&T, S&P 500",
    "<연합뉴스> 《책》 〈글〉 「법」 『책』 “인용” ‘강조’ [속보] (서울) {가} 【단독】",
    "전화 (02-123-4567), Tel:02-123-4567, 팩스 02.123.4567",
    "**굵게** *기울임* - 목록\n1. 하나\n2) 둘\n# 제목\n> 인용\n| 표 | 칸 |\n|---|---|",
    "$E=mc^2$ \\(x\\) \\frac{1}{2} a_1 x^2 f(x) = [0, 1)",
    "`코드` ```python\nx = [1, 2]\nprint(x[0])\n```",
    "v1.2.3 Node.js README.md 3.5kg/m km/h U.S. No.12 Dr. 김.이 합니다.It 버전 2.0/3.0",
    "https://www.example.com/a?x=1 입니다. (help@example.co.kr) “https://ko.example.org/서울_(도시)”.",
    "https: 로 시작하는 data: 값 action: 행동",
    "이모지 😀 👨\u200d👩\u200d👧 ❤️ 1️⃣ 한글 자모 ㅋㅋㅋ 漢字 日本語 ½ ㎡ ℃",
    "C:\\Users\\x \\n 줄",
]


@pytest.mark.parametrize("text", UNCHANGED)
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert without_sinks(visible(text), KNOWN) == text


@pytest.mark.fault(9, "An answer of a chat model could hold links and images with the question in their address.")
@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("[1](http://a.example/?q=비밀)", f"[1] ({GONE}비밀)"),
        ("![[1]](http://a.example/b.png)", f"![[1]] ({GONE})"),
        ("![x][1]\n\n[1]: http://a.example/b", f"![x][1]\n\n[1] : {GONE}"),
        ("[x](<http://a.example/>\n'제목')", f"[x] (<{GONE}>\n'제목')"),
        ("<http://a.example/b> <a@b.example>", f"<{GONE}> <{GONE}>"),
        ("http://a.example//b?c=d#e, 끝", f"{GONE}, 끝"),
        ("www.a.example a.example/b?c a.com 192.0.2.1/b", f"{GONE} {GONE} {GONE} {GONE}"),
        ("https://www.example.com/a?x=1&q=비밀", f"{GONE}비밀"),
        ("https://www.example.com/a?x=1에서", "https://www.example.com/a?x=1 에서"),
        ("https://www.example.com/a?x=1](https://a.example/b)", f"https://www.example.com/a?x=1 ] ({GONE})"),
        ("help@example.co.kr.a.example", GONE),
        ("javascript:alert(1) vbscript:x data:text/html,x", f"{GONE}) {GONE} {GONE}"),
        ("\\href{http://a.example}{x} \\htmlData{a}", f"href{{{GONE}}}{{x}} htmlData{{a}}"),
    ],
)
def test_addresses_go_but_for_those_of_the_sources(written: str, read: str) -> None:
    assert without_sinks(written, KNOWN) == read


@pytest.mark.fault(9, "HTML in an answer of a chat model was passed on as it was.")
@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("<img src=x onerror=alert(1)>", "< img src=x onerror=alert(1)>"),
        ("<script>a</script><!-- b --><?c?><![CDATA[d]]>", "< script>a< /script>< !-- b -->< ?c?>< ![CDATA[d]]>"),
        ("```html\n<b>굵게</b>\n```", "```html\n< b>굵게< /b>\n```"),
        ("＜img src=x＞", "＜ img src=x＞"),
        ("&lt;img&gt; A&amp;B &#8203;&#x41; &amp;amp;lt;", "< img> A&B &#8203;& #x41; & lt;"),
        ("<\u200bimg <\U000e0041b", "< img < b"),
    ],
)
def test_tags_are_text(written: str, read: str) -> None:
    assert without_sinks(visible(written)) == read.replace("&#8203;", "& #8203;")


@pytest.mark.fault(
    9, "Addresses in full-width letters, with escaped slashes, entities or invisible characters went unseen."
)
@pytest.mark.parametrize(
    "written",
    [
        "ｈｔｔｐ：／／ａ．ｅｘａｍｐｌｅ／ｂ",
        "http:\\/\\/a\\.example\\/b",
        "http\\://a.example/b",
        "ht\u200btp://a.exa\u00admple/b",
        "http:⁄⁄a.example∕b",
        "HtTpS:a.example/b",
        "𝐡𝐭𝐭𝐩://a.example/b",
        "xn--9q8h.example/b",
        "비밀.com",
    ],
)
def test_no_spelling_of_an_address_gets_through(written: str) -> None:
    assert without_sinks(visible(written)) == GONE


@pytest.mark.fault(9, "Text in the form of a tool call was passed on to whoever parses answers.")
@pytest.mark.parametrize(
    ("written", "read"),
    [
        (
            '<tool_call>{"name": "a", "arguments": {}}</tool_call>',
            '< tool_call>{"name": "a", arguments: {}}< /tool_call>',
        ),
        ("<function=a>", "< function=a>"),
        ("<|python_tag|>a <｜tool▁calls▁begin｜>", "< |python_tag|>a < ｜tool▁calls▁begin｜>"),
        ("[TOOL_CALLS][{}]", "[ TOOL_CALLS][{}]"),
        ("[send(to='a')]", "[ send(to='a')]"),
        ("```tool_call\na\n```", "```text\na\n```"),
        ("Action: a\nAction Input: b", "Action： a\nAction Input: b"),
        ('{"action": "a", "action_input": "b"}', '{action: "a", action_input: "b"}'),
    ],
)
def test_calls_of_tools_are_text(written: str, read: str) -> None:
    assert without_sinks(written) == read


@pytest.mark.parametrize(
    "text",
    ["[1](http://a.example/?q=비밀) 끝", "![[9]](a)【9】(b) [[9]9]", "<a\nhref=http://a.example>[1]</a>", *UNCHANGED],
)
def test_an_answer_is_the_same_however_it_is_cut(text: str) -> None:
    whole = _answer([text])
    for cut in range(len(text) + 1):
        assert _answer([text[:cut], text[cut:]]) == whole
    assert _answer(list(text)) == whole


_PIECES = st.sampled_from(
    [
        *"[]()<>!:/\\&#;.@-\"'` \n\u200b\u00a0１９0123456789abhtwx가나",
        "](",
        "]:",
        "http",
        "://",
        "www.",
        ".com",
        "<a",
        "[1]",
        "[9]",
        "&lt;",
    ]
)


@settings(max_examples=300, deadline=None)
@example(["&a;"])
@given(st.lists(st.lists(_PIECES, max_size=6).map("".join), max_size=12))
def test_no_pieces_leave_a_sink_and_all_cuts_give_the_same(pieces: list[str]) -> None:
    answer = _answer(pieces)
    assert answer == _answer(["".join(pieces)])
    assert not re.search(r"\][(:]|<[A-Za-z/!?|]|://|www\.\w|&(#[0-9]|[A-Za-z])[0-9A-Za-z]*;", answer)
    assert {int(number) for number in re.findall(r"\[(\d{1,3})\]", answer)} <= {1, 2}


def test_of_a_stream_at_most_a_word_is_held_back() -> None:
    step = SinkFilter()
    assert list(step.feed("도서관은 3월 2")) == ["도서관은 3월 "]
    assert list(step.feed("일에")) == []
    assert list(step.feed(" ")) == ["2일에 "]


def test_a_word_without_end_is_cut_and_takes_neither_memory_nor_time() -> None:
    step, started = SinkFilter(), time.perf_counter()
    written = 0
    for piece in ["a" * 97, "[" * 97, "a.b-" * 25, "\\" * 97, "&amp;" * 20, ":/" * 49, "@" * 97, "1." * 49]:
        for _ in range(100):
            written += sum(map(len, step.feed(piece)))
            assert len(step._word) < LONGEST_WORD
    assert written > 50_000
    assert time.perf_counter() - started < 20  # takes a second or less


def _answer(pieces: list[str]) -> str:
    """Return what the chain makes of an answer with two sources that comes in pieces."""
    for step in (VisibleCharacters(), CitationFilter(2), SinkFilter(KNOWN)):
        pieces = [*(out for piece in pieces for out in step.feed(piece)), *step.close()]
    return "".join(pieces)
