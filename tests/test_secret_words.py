"""Keys and passwords in what is printed and logged."""

import json

import pytest

from rag_app.observability.secret_words import public_environment, without_secrets


@pytest.mark.fault(11, "A password that another one began with was hidden in logs only to where the other one ended.")
def test_of_two_secrets_one_may_begin_with_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRST_TOKEN", "바다와하늘과산과들판")
    monkeypatch.setenv("SECOND_PASSWORD", "바다와하늘과산과들판과강물")
    assert without_secrets("바다와하늘과산과들판과강물, 바다와하늘과산과들판") == "***, ***"


@pytest.mark.fault(11, "A password with a quote or a backslash stood in JSON logs, where it is spelt otherwise.")
def test_a_secret_is_hidden_in_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_PASSWORD", password := 'a"b\\c\tdefgh')
    line = json.dumps({"event": f"서버가 {password}를 거절했습니다"}, ensure_ascii=False)
    assert json.loads(without_secrets(line)) == {"event": "서버가 ***를 거절했습니다"}


def test_a_child_that_needs_no_keys_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "가나다라마바사아")
    monkeypatch.setenv("SOME_FOLDER", "가나다")
    found = public_environment()
    assert "SOME_API_KEY" not in found
    assert found["SOME_FOLDER"] == "가나다"
