import unicodedata
from typing import Any

import pytest

from eval.slices.asked_otherwise import PARAPHRASE, WAYS, asked_otherwise
from rag_app.data.questions import Question

TEXT = "한빛 3호의 태양전지판은 언제 완전히 열렸나요?"


def question(text: str = TEXT, id: str = "q1", **metadata: Any) -> Question:
    return Question(id, text, frozenset({"d1"}), (), False, metadata)


def asked(way: str, text: str) -> str:
    return WAYS[way](question(text), 0)


def test_nfd_takes_hangul_apart() -> None:
    assert len(asked("NFD", TEXT)) > len(TEXT)
    assert unicodedata.normalize("NFC", asked("NFD", TEXT)) == TEXT


def test_no_spaces_keeps_the_rest() -> None:
    assert asked("no spaces", TEXT) == "한빛3호의태양전지판은언제완전히열렸나요?"


@pytest.mark.parametrize(
    ("text", "without"),
    [
        (TEXT, "한빛 3호 태양전지판 언제 완전히 열렸나요?"),
        ("서울에서는 누가 국회의원으로부터 무엇을 받았는가?", "서울 누가 국회의원 무엇 받았는가?"),
        ("달의 나이는?", "달 나이?"),
        ("이 학교엔 뭘 기증했나요?", "이 학교 뭘 기증했나요?"),  # 엔 is 에 and ㄴ; 뭘 is 뭐 and ㄹ
        ("난 어디인가요?", "난 어디인가요?"),  # the polite 요 belongs to the verb
        ("🙂 달의 나이는?", "🙂 달 나이?"),
        ("Who won?", "Who won?"),
    ],
)
def test_no_particles_leaves_what_one_types_into_a_search_box(text: str, without: str) -> None:
    assert asked("no particles", text) == without


def test_a_question_of_particles_alone_stays() -> None:
    assert asked("no particles", "에서는") == "에서는"


def test_typos_depend_on_seed_and_id_and_on_nothing_else() -> None:
    typed = asked_otherwise([question(), question(id="q2")])["typos"]
    assert typed == asked_otherwise([question(), question(id="q2")])["typos"]
    assert typed[0].text == asked_otherwise([question(id="q0"), question()])["typos"][1].text
    assert len({typed[0].text, typed[1].text, TEXT}) == 3
    assert typed[0].text != asked_otherwise([question()], seed=1)["typos"][0].text


def test_only_the_text_changes_and_questions_that_a_way_leaves_alone_stay() -> None:
    questions = [question(), question("Who won in 2014?", "q2"), question("누구?", "q3")]
    found = asked_otherwise(questions)
    assert list(found) == list(WAYS)
    for changed in found.values():
        assert [one._replace(text="") for one in changed] == [one._replace(text="") for one in questions]
    assert [one.text for one in found["no spaces"]] == [asked("no spaces", TEXT), "Whowonin2014?", "누구?"]
    assert found["typos"][1] == questions[1]
    assert questions[0] == question()


def test_a_way_that_changes_no_question_is_left_out() -> None:
    assert list(asked_otherwise([question("Who won?")])) == ["no spaces"]


def test_paraphrases_come_from_a_column_and_only_for_questions_that_have_one() -> None:
    other = unicodedata.normalize("NFD", "태양전지판이 다 펴진 때는?")
    cells = [other, None, float("nan"), "nan", "", " ", TEXT, 3]
    questions = [question(id=f"q{number}", rtt_question=cell) for number, cell in enumerate(cells)]
    found = asked_otherwise(questions)
    assert found[PARAPHRASE] == [questions[0]._replace(text="태양전지판이 다 펴진 때는?")]
    assert PARAPHRASE not in asked_otherwise([question()])
    assert PARAPHRASE not in asked_otherwise(questions, paraphrase_column="other")
    assert asked_otherwise([question(other="언제 다 펴졌나?")], paraphrase_column="other")[PARAPHRASE]
