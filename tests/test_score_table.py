from typing import Any

import pytest

from rag_app.language import Say
from rag_app.rendering.score_table import scores_html, standings_html

STAGES: dict[str, dict[str, Any]] = {
    "lexical": {"rank": 2, "score": 9.5, "coverage": 0.41},
    "fusion": {"rank": 1, "score": 0.5, "timely": 0.125},
    "rerank": {"rank": 3, "score": 0.25, "calibrated": False},
}


def test_scores_are_a_table_of_stages_in_order_that_explains_them() -> None:
    table = scores_html({**STAGES, "<b>": {"rank": 1, "score": 0.5}})
    assert table.index("낱말 (BM25)") < table.index("합산") < table.index("재순위")
    assert "<td>2위</td><td>9.500 <small>최대치의 41%</small></td>" in table
    assert "&lt;b&gt;" in table
    assert "0.125을 더했습니다" in table
    assert "확률이 아닙니다" in table
    assert scores_html({}) == ""


def test_a_passage_left_unread_has_no_score_and_says_why() -> None:
    table = scores_html({"rerank": {"rank": 9, "scored": False, "calibrated": False}})
    assert "<td>–</td>" in table
    assert "읽지 않았습니다" in table
    assert "확률" not in table
    assert standings_html({"rerank": {"rank": 9, "scored": False}}, Say("ko")) == ""


@pytest.mark.parametrize(
    ("spent", "said"),
    [
        ({"pairs": 30, "cached": 0, "ms": 12.4, "stopped_by": None}, "단락 30개를 12 ms에 읽었습니다."),
        ({"pairs": 6, "cached": 2, "ms": 9.6, "stopped_by": "bound"}, "순서가 바뀌지 않아 멈췄습니다."),
        ({"pairs": 0, "cached": 30, "ms": 0.1, "stopped_by": None}, "전에 매긴 점수 30개를 그대로 썼습니다."),
    ],
)
def test_what_the_reranker_spent_is_told(spent: dict[str, Any], said: str) -> None:
    assert said in scores_html({"rerank": {"rank": 1, "score": 0.5, "spent": spent}})


def test_a_long_passage_and_an_article_found_in_several_say_so() -> None:
    table = scores_html({"rerank": {"rank": 1, "score": 0.5, "windows": [[0, 900], [1000, 1300]]}}, passages=3)
    assert "1,200자만 읽었습니다" in table
    assert "단락 3개를 찾았습니다" in table


def test_every_word_is_there_in_english() -> None:
    shown = scores_html({**STAGES, "dense": {"rank": 1, "score": 0.5}}, say=Say("en"), passages=2)
    shown += standings_html(STAGES, Say("en"))
    assert not any("가" <= letter <= "힣" for letter in shown)
    assert "words #2 · reranked #3" in shown
