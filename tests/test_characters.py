"""Characters that come in halves."""

import pytest

from rag_app.characters.visible import VisibleCharacters


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["가나", "다"], "가나다"),
        (["가\ud83d", "\ude00 나"], "가😀 나"),
        (["가\ud83d", "나\ude00"], "가\ufffd나\ufffd"),
        (["\ud83d", "", "\ude00"], "😀"),
        (["가\ud800"], "가\ufffd"),
        ([""], ""),
    ],
)
def test_halves_are_joined_or_replaced(pieces: list[str], text: str) -> None:
    step = VisibleCharacters()
    assert "".join([*(out for piece in pieces for out in step.feed(piece)), *step.close()]) == text
