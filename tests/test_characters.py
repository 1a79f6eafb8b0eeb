"""Characters that come in halves, and such as nobody sees."""

import pytest

from rag_app.characters.code_points import INVISIBLE
from rag_app.characters.visible import VisibleCharacters, visible
from rag_app.korean import normalise


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


@pytest.mark.fault(9, "The invisible control characters of shorthand stayed in what a chat model is given and writes.")
def test_what_nobody_sees_goes_from_documents_and_from_answers_alike() -> None:
    hidden = "가".join(chr(code) for first, last in INVISIBLE for code in (first, last))
    assert visible(hidden) == normalise(hidden) == "가" * (2 * len(INVISIBLE) - 1)
