import pytest

from rag_app.language import Say
from rag_app.rendering.refusal import refusal_html

KO, EN = Say("ko"), Say("en")


def test_weak_evidence_is_told_with_how_weak_it_is_and_what_is_missing() -> None:
    shown = refusal_html(0.31, 0.4, ["<b>양자</b>", "격자"], "경제", found=True, say=KO)
    assert "답할 근거가 약해" in shown
    assert "가능성 31% (어림값). 40%부터 답합니다." in shown
    assert "&lt;b&gt;양자&lt;/b&gt;" in shown
    assert "‘경제’에서만 찾았습니다" in shown
    assert "가까운 기사를 열어" in shown


def test_a_word_without_end_is_cut() -> None:
    shown = refusal_html(0.31, 0.4, ["가" * 41, "나" * 40], "", found=True, say=KO)
    assert f">{'가' * 40}…</b>" in shown
    assert f">{'나' * 40}</b>" in shown


def test_without_a_filter_there_is_nothing_to_widen() -> None:
    assert "넓혀" not in refusal_html(0.31, 0.4, [], "", found=True, say=KO)


def test_a_chat_model_that_refuses_is_not_weak_evidence() -> None:
    shown = refusal_html(0.9, 0.4, [], "", found=True, say=KO)
    assert "채팅 모델이" in shown
    assert "근거가 약해" not in shown


@pytest.mark.parametrize("evidence", [None, 0.0])
def test_where_nothing_was_found_there_is_nothing_to_open(evidence: float | None) -> None:
    shown = refusal_html(evidence, 0.4, ["양자"], "", found=False, say=KO)
    assert "찾은 기사가 없어" in shown
    assert "%" not in shown
    assert "양자" not in shown
    assert "가까운 기사를 열어" not in shown


def test_an_evidence_that_is_not_known_is_not_made_up() -> None:
    assert "%" not in refusal_html(None, 0.4, [], "", found=True, say=KO)


def test_it_speaks_english() -> None:
    shown = refusal_html(0.31, 0.4, ["quantum"], "2025", found=True, say=EN)
    shown += refusal_html(0.9, 0.4, [], "", found=True, say=EN) + refusal_html(0, 0.4, [], "", found=False, say=EN)
    assert not any("가" <= letter <= "힣" for letter in shown)
    assert "31%" in shown
