import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.slices import typos as module
from eval.slices.typos import from_strokes, to_strokes, typos

QUESTION = "한빛 3호의 태양전지판은 언제 완전히 열렸나요?"
SYLLABLES = st.text(st.characters(min_codepoint=ord("가"), max_codepoint=ord("힣")), min_size=1)


@pytest.mark.parametrize(
    ("text", "strokes"),
    [
        ("한국", "ㅎㅏㄴㄱㅜㄱ"),
        ("값을", "ㄱㅏㅂㅅㅇㅡㄹ"),
        ("왜", "ㅇㅗㅐ"),
        ("빵을 밖에서", "ㅃㅏㅇㅇㅡㄹ ㅂㅏㄲㅇㅔㅅㅓ"),
        ("KBS 3", "KBS 3"),
    ],
)
def test_strokes_are_what_one_types(text: str, strokes: str) -> None:
    assert to_strokes(text) == strokes


@pytest.mark.parametrize(
    ("strokes", "text"),
    [
        ("ㄱㅏㄱㅅ", "갃"),
        ("ㄱㅏㄱㅅㅏ", "각사"),  # half of the final moves on
        ("ㅁㅓㄱㅣ", "머기"),  # 먹이 without its silent ㅇ
        ("ㅎㄴㅏㄱㅜㄱ", "ㅎ나국"),
        ("ㅎㅏㄴㄴㄱㅜㄱ", "한ㄴ국"),
        ("ㅏㅎㄴ", "ㅏㅎㄴ"),
        ("ㅇㅐㅗ", "애ㅗ"),
        ("ㅗㅐ", "ㅙ"),
        ("ㄱㅏㄸㅗ", "가또"),  # ㄸ ends no syllable
        ("ㅋㅋ", "ㅋㅋ"),
    ],
)
def test_strokes_are_composed_as_an_input_method_does(strokes: str, text: str) -> None:
    assert from_strokes(strokes) == text


@given(SYLLABLES)
def test_typing_without_slips_gives_the_text_again(text: str) -> None:
    assert from_strokes(to_strokes(text)) == text


@pytest.mark.parametrize(
    ("slip", "word", "place", "typed"),
    [
        ("_neighbouring", "가", 0, {"다", "사", "아", "라"}),
        ("_neighbouring", "개", 1, {"갸", "게", "가", "기"}),
        ("_neighbouring", "까", 0, {"따", "싸", "아", "라"}),  # with shift held
        ("_swapped", "한", 1, {"ㅎ나"}),
        ("_swapped", "한", 2, set()),  # nothing comes after it
        ("_missing", "먹이", 3, {"머기"}),
        ("_missing", "선언", 3, {"서넌"}),
        ("_doubled", "가", 1, {"가ㅏ"}),
        ("_unshifted", "빵", 0, {"방"}),
        ("_unshifted", "얘", 1, {"애"}),
        ("_unshifted", "방", 0, set()),
    ],
)
def test_each_slip_does_what_it_is_named_for(slip: str, word: str, place: int, typed: set[str]) -> None:
    slips = getattr(module, slip)(to_strokes(word), place)
    assert {from_strokes(strokes) for strokes in slips} == typed


def test_all_kinds_of_slips_happen() -> None:
    typed = {module._mistype("쌀", 0, random.Random(seed)) for seed in range(200)}
    assert typed == {"깔", "랄", "할", "ㅏㄹ", "ㅆ쌀", "ㅏㅆㄹ", "살"}


@given(SYLLABLES, st.integers(0, 5))
def test_typos_always_change_hangul_and_leave_hangul(text: str, seed: int) -> None:
    mistyped = typos(text, random.Random(seed))
    assert mistyped != text
    assert re.fullmatch("[가-힣ㄱ-ㅣ]+", mistyped)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 5))
def test_what_is_no_hangul_syllable_stays(text: str, seed: int) -> None:
    mistyped = typos(text, random.Random(seed))
    assert re.sub("[가-힣ㄱ-ㅣ]", "", mistyped) == re.sub("[가-힣ㄱ-ㅣ]", "", text)


def test_the_same_seed_makes_the_same_typos_and_others_make_others() -> None:
    assert typos(QUESTION, random.Random(7)) == typos(QUESTION, random.Random(7))
    assert len({typos(QUESTION, random.Random(seed)) for seed in range(20)}) > 15


def test_one_word_is_mistyped_for_so_many_syllables() -> None:
    text = "가나다라마 바사아자차 " * 6  # 60 syllables, 12 words
    words = text.split()
    for wanted, per_typo in [(6, 10), (3, 20), (12, 5), (12, 1), (1, 100)]:
        mistyped = typos(text, random.Random(0), syllables_per_typo=per_typo).split()
        assert sum(old != new for old, new in zip(words, mistyped, strict=True)) == wanted


def test_a_text_without_hangul_stays_as_it_is() -> None:
    assert typos("Who won in 2014?", random.Random(0)) == "Who won in 2014?"
