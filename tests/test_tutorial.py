from pathlib import Path

import pytest

from finetune.tutorial import random_negative_pairs, tutorial_pairs
from rag_app.data import Question, RetrievalData, load_retrieval_data
from rag_app.documents import make_document

ODQA = Path(__file__).parents[2] / "shared/data/odqa_ko"
QUOTED = "'팝의 황제' \"사망\""


def data_of(*articles: tuple[str, str], impossible: bool = False) -> RetrievalData:
    """Return a question for each article: its title and text."""
    passages = [make_document(text, title=title) for title, text in articles]
    questions = [
        Question(f"q{n}", f"{n}?", frozenset(() if impossible else {str(p.id)}), (), impossible, {}, str(p.id))
        for n, p in enumerate(passages)
    ]
    return RetrievalData({str(p.id): p for p in passages}, questions)


def test_unanswerable_questions_are_pairs_too_and_contexts_stand_alone_and_uncut() -> None:
    long = "긴 글이다. " * 500
    pairs = tutorial_pairs(data_of(("제목", "가"), ("제목", long), impossible=True))
    assert [(pair.query, pair.passage) for pair in pairs] == [("0?", "가"), ("1?", long.strip())]


def test_each_question_gets_its_context_and_then_one_of_another_title() -> None:
    data = data_of(("하나", "가"), ("하나", "나"), (QUOTED, "다"), ("", "라"))
    rows = random_negative_pairs(data, seed=1)
    assert [(row.query, row.passage, row.label) for row in rows[::2]] == [
        ("0?", "가", 1), ("1?", "나", 1), ("2?", "다", 1), ("3?", "라", 1)
    ]  # fmt: skip
    assert [(row.query, row.label) for row in rows[1::2]] == [("0?", 0), ("1?", 0), ("2?", 0), ("3?", 0)]
    assert random_negative_pairs(data, seed=1) == rows
    drawn = [{random_negative_pairs(data, seed=seed)[n].passage for seed in range(40)} for n in (1, 3, 5, 7)]
    assert drawn == [set("다라"), set("다라"), set("가나라"), set("가나다")]


def test_without_two_titles_nothing_can_be_drawn() -> None:
    with pytest.raises(ValueError, match="All 2 contexts have the title '하나'"):
        random_negative_pairs(data_of(("하나", "가"), ("하나", "나")))
    with pytest.raises(ValueError, match="All 2 contexts have the title None"):
        random_negative_pairs(data_of(("", "가"), ("", "나")))
    with pytest.raises(ValueError, match="All 0 contexts"):
        random_negative_pairs(RetrievalData({}, []))


def test_data_that_do_not_name_the_context_are_refused() -> None:
    data = data_of(("하나", "가"), ("둘", "나"))
    questions = [question._replace(context_id="") for question in data.questions]
    with pytest.raises(ValueError, match="does not say which context question 'q0' was asked of"):
        tutorial_pairs(RetrievalData(data.passages, questions))


@pytest.mark.skipif(not ODQA.exists(), reason="odqa_ko is not beside the checkout")
def test_real_titles_with_quotes_are_no_trouble() -> None:
    data = load_retrieval_data(ODQA, split="train")
    rows = random_negative_pairs(data)
    assert len(rows) == 2 * 2060
    titles = {passage.page_content: passage.metadata.get("title") for passage in data.passages.values()}
    assert any("'" in str(title) or '"' in str(title) for title in titles.values())
    assert all(titles[own.passage] != titles[other.passage] for own, other in zip(rows[::2], rows[1::2], strict=True))
