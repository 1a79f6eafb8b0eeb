import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from finetune.pairs import (
    Pair,
    crop_pairs,
    load_training_data,
    question_pairs,
    read_pairs,
    truncated,
    write_pairs,
)
from rag_app.data import Question, RetrievalData
from rag_app.documents import document_id, make_document

WIKINEWS = Path(__file__).parents[2] / "shared/data/wikinews/wikinews.csv"
RAIN = "기상청은 주말에 전국에 비가 온다고 예보했다."
VOTE = "국회는 내년 예산안을 의결했다."
GAME = "프로야구 개막전이 잠실에서 열렸다."
RAIN_ID, VOTE_ID, GAME_ID = map(document_id, (RAIN, VOTE, GAME))


def write_jsonl(path: Path, *records: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def ask(number: int, relevant: Sequence[str], *answers: str, context_id: str = "") -> Question:
    return Question(f"q{number}", f"{number}?", frozenset(relevant), answers, not relevant, {}, context_id)


def words(count: int) -> Any:
    return lambda text: len(text.split()) <= count


# Loading


def test_labelled_sources_are_joined_and_ids_stay_unique(tmp_path: Path) -> None:
    first = {"context": RAIN, "title": "비", "question": "언제?", "id": "a"}
    one = write_jsonl(tmp_path / "one.jsonl", first, {**first, "question": "어디?"})
    two = write_jsonl(tmp_path / "two.jsonl", {**first, "title": "다른 제목"}, {"context": VOTE, "question": "무엇?"})
    training = load_training_data([one, two, one])
    assert training.unlabelled == ()
    assert list(training.data.passages) == [RAIN_ID, VOTE_ID]
    assert training.data.passages[RAIN_ID].metadata["title"] == "비"
    questions = training.data.questions
    assert [question.id for question in questions] == ["a", "a#2", "a#3", "2"]
    assert [question.text for question in questions] == ["언제?", "어디?", "언제?", "무엇?"]


def test_a_title_is_asked_of_its_article_without_it(tmp_path: Path) -> None:
    table = tmp_path / "news.csv"
    table.write_text(f"작성일,출처,제목,내용\n2025-01-02,https://a.b,주말 비,{RAIN}\n,,,{VOTE}\n", encoding="utf-8")
    training = load_training_data([table])
    assert training.unlabelled == (str(table),)
    (question,) = training.data.questions
    assert question == Question(RAIN_ID, "주말 비", frozenset({RAIN_ID}), (), False, {}, RAIN_ID)
    assert list(training.data.passages) == [RAIN_ID, VOTE_ID]  # what has no title is still a passage
    assert "title" not in training.data.passages[RAIN_ID].metadata
    assert training.data.passages[RAIN_ID].metadata["date"] == "2025-01-02"
    assert question_pairs(training.data) == [Pair("주말 비", RAIN, RAIN_ID)]


def test_a_title_that_the_text_begins_with_is_taken_off_too(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(f"# 주말 비\n\n{RAIN}\n", encoding="utf-8")
    (tmp_path / "b.md").write_text("# 제목뿐\n", encoding="utf-8")
    data = load_training_data([tmp_path]).data
    assert [(q.text, *q.relevant) for q in data.questions] == [
        ("주말 비", RAIN_ID),
        ("제목뿐", document_id("# 제목뿐")),
    ]
    assert data.passages[RAIN_ID].page_content == RAIN


def test_an_article_with_questions_keeps_its_title_and_is_not_asked_for_it(tmp_path: Path) -> None:
    row = {"context": RAIN, "title": "주말 비"}
    labelled = write_jsonl(tmp_path / "labelled.jsonl", {**row, "question": "언제?"})
    articles = write_jsonl(tmp_path / "articles.jsonl", row, {"context": VOTE, "title": "예산"})
    training = load_training_data([articles, labelled])
    assert [question.text for question in training.data.questions] == ["언제?", "예산"]
    assert training.data.passages[RAIN_ID].metadata["title"] == "주말 비"


@pytest.mark.parametrize("place", ["validation.jsonl", "deeper/train.jsonl"])
def test_a_folder_of_questions_is_never_read_as_unlabelled_text(place: str, tmp_path: Path) -> None:
    write_jsonl(tmp_path / place, {"context": RAIN, "title": "주말 비", "question": "언제?"})
    (tmp_path / "article.txt").write_text(VOTE, encoding="utf-8")
    with pytest.raises(FileNotFoundError, match="none of its tables has train in its name"):
        load_training_data([tmp_path])


def test_the_sample_and_beir_are_labelled(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "corpus.jsonl", {"_id": "p", "text": RAIN}, {"_id": "r", "text": VOTE})
    write_jsonl(tmp_path / "queries.jsonl", {"_id": "q", "text": "언제?"})
    (tmp_path / "qrels.tsv").write_text("q\tp\t1\nq\tr\t1\nq\tgone\t1\n")
    training = load_training_data([tmp_path, "sample"])
    assert training.unlabelled == ()
    assert [(pair.query, pair.passage) for pair in question_pairs(training.data)[:2]] == [
        ("언제?", training.data.passages[doc_id].page_content) for doc_id in sorted([RAIN_ID, VOTE_ID])
    ]
    assert len(training.data.questions) > 10


def test_what_cannot_be_trained_on_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to train on"):
        load_training_data([])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_training_data([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match="holds no file of a known format"):
        load_training_data([tmp_path])
    (tmp_path / "a.jsonl").write_text("{")
    with pytest.raises(ValueError, match=r"a\.jsonl: line 1: not JSON"):
        load_training_data([tmp_path])


@pytest.mark.skipif(not WIKINEWS.exists(), reason="the Wikinews table is not beside the checkout")
def test_every_title_of_wikinews_is_asked() -> None:
    training = load_training_data([WIKINEWS])
    assert training.unlabelled == (str(WIKINEWS),)
    assert len(training.data.questions) == len(training.data.passages) == 637
    assert len({question.id for question in training.data.questions}) == 637


# Pairs


def test_unanswerable_questions_make_no_pair() -> None:
    passages = {RAIN_ID: make_document(RAIN, title="비")}
    data = RetrievalData(passages, [ask(1, [RAIN_ID]), ask(2, [], context_id=RAIN_ID), ask(3, ["gone"])])
    assert question_pairs(data) == [Pair("1?", f"비\n{RAIN}", RAIN_ID)]


def test_of_a_long_passage_the_part_with_the_answer_is_taken() -> None:
    filler = "어제는 하늘이 온종일 맑고 바람이 불지 않았다. " * 5
    passage = make_document(f"{filler}{RAIN} {filler}{VOTE}", title="소식")
    doc_id = str(passage.id)
    questions = [ask(1, [doc_id], "예산안"), ask(2, [doc_id], "주말"), ask(3, [doc_id], "없는 답"), ask(4, [doc_id])]
    fits = words(30)
    pairs = question_pairs(RetrievalData({doc_id: passage}, questions), fits=fits)
    assert all(pair.passage.startswith("소식\n") and fits(pair.passage) for pair in pairs)
    assert [(VOTE in pair.passage, RAIN in pair.passage) for pair in pairs[:2]] == [(True, False), (False, True)]
    assert pairs[2].passage == pairs[3].passage == pairs[3].passage.replace(VOTE, "")
    assert pairs[2].passage.startswith("소식\n어제는")
    (whole,) = question_pairs(RetrievalData({doc_id: passage}, questions[:1]))
    assert whole.passage == f"소식\n{passage.page_content}"


def test_each_question_gets_a_part_of_its_own_passage() -> None:
    filler = "어제는 하늘이 온종일 맑고 바람이 불지 않았다. " * 5
    passages = [make_document(f"{filler}{text}", title=text[:2]) for text in (RAIN, VOTE, GAME)]
    rain, vote, game = (str(passage.id) for passage in passages)
    questions = [ask(1, [game], "잠실"), ask(2, [rain, vote], "주말", "예산안"), ask(3, [game], "개막전")]
    pairs = question_pairs(RetrievalData({str(p.id): p for p in passages}, questions), fits=words(25))
    assert [(pair.query, pair.doc_id) for pair in pairs] == [
        ("1?", game), *(("2?", doc_id) for doc_id in sorted([rain, vote])), ("3?", game),
    ]  # fmt: skip
    answers = {rain: RAIN, vote: VOTE, game: GAME}
    assert all(pair.passage.endswith(answers[pair.doc_id]) for pair in pairs)
    assert all(pair.passage.startswith(answers[pair.doc_id][:2]) for pair in pairs)


def test_a_question_s_negatives_are_read_where_they_are_likest_to_it() -> None:
    filler = "어제는 하늘이 온종일 맑고 바람이 불지 않았다. " * 5
    right, wrong = make_document(RAIN, title="비"), make_document(f"{filler}{GAME} {filler}", title="운동")
    question = ask(1, [RAIN_ID])._replace(text="개막전은 언제?", negatives=(str(wrong.id), "gone"))
    data = RetrievalData({RAIN_ID: right, str(wrong.id): wrong}, [question])
    (pair,) = question_pairs(data, fits=words(25))
    (negative,) = pair.negatives
    assert negative.startswith("운동\n어제는")
    assert GAME in negative
    assert len(negative) < len(wrong.page_content)


def test_a_sentence_is_cut_out_and_asked_of_the_rest() -> None:
    passage = make_document(f"{RAIN} 짧다.\n{VOTE}", title="소식")
    pairs = crop_pairs([passage], per_passage=2)
    assert {pair.query: pair.passage for pair in pairs} == {RAIN: f"소식\n짧다.\n{VOTE}"}  # the others are too short
    assert pairs[0].doc_id == passage.id


def test_a_cut_out_line_leaves_no_gap() -> None:
    sentence = "가온시는 삼월 이일에 시청 옆 새 도서관의 문을 활짝 열었다."
    (pair,) = crop_pairs([make_document(f"가. 나.\n{sentence}\n다.")])
    assert (pair.query, pair.passage) == (sentence, "가. 나.\n\n다.")


def test_cut_out_sentences_depend_on_seed_and_document_only() -> None:
    article = make_document(
        " ".join(f"{word} 가온시에서 열린 올해 행사를 빠짐없이 지켜봤다." for word in "가나다라마바")
    )
    pairs = crop_pairs([article], per_passage=3, seed=1)
    assert len({pair.query for pair in pairs}) == 3
    assert all(pair.query not in pair.passage for pair in pairs)
    assert crop_pairs([make_document(RAIN), article], per_passage=3, seed=1) == pairs
    assert any(crop_pairs([article], per_passage=3, seed=seed) != pairs for seed in range(2, 6))
    assert len(crop_pairs([article], per_passage=9)) == 6
    assert crop_pairs([article], per_passage=0) == []


def test_each_part_of_a_long_passage_is_a_passage_to_cut_from() -> None:
    article = make_document(
        " ".join(f"{word}씨는 가온시에서 열린 올해 행사를 빠짐없이 지켜봤다." for word in "가나다라마바사아자차")
    )
    pairs = crop_pairs([article], fits=words(30))
    assert len(pairs) > 1
    assert {pair.doc_id for pair in pairs} == {article.id}
    assert truncated([pair.passage for pair in pairs], words(30)) == 0


def test_the_share_of_texts_that_are_cut() -> None:
    assert truncated(["가", "가 나", "가 나 다", "라"], words(1)) == 0.5
    assert truncated([], words(1)) == 0


def test_pairs_are_read_as_they_were_written(tmp_path: Path) -> None:
    pairs = [Pair("무엇\u2028입니까?", "비\n그리고 눈", "a", ("하나", "둘")), Pair("누구?", VOTE, "b")]
    write_pairs(tmp_path / "pairs.jsonl", pairs)
    assert read_pairs(tmp_path / "pairs.jsonl") == pairs
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.jsonl"]
