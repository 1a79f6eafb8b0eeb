"""What the search programs train, choose and measure on."""

import json
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from finetune.search_data import SearchData, ask_otherwise, load_search_data
from rag_app.data.records import Question

WORDS = ("국회", "예산", "주말", "야구", "잠실", "서울", "수도", "국민", "비", "내년", "개막", "의결")


def write(path: Path, numbers: Iterable[int], **columns: Any) -> Path:
    """Write one row with a passage and a question for each number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "question": f"{WORDS[number % 12]} {number}?",
            "context": " ".join(f"{word}{number}" for word in WORDS),
            "title": f"제목 {number}",
            "id": f"q{number}",
            **columns,
        }
        for number in numbers
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def load(*train: Path | str, validation: list[Path] | None = None, share: float = 0.0, seed: int = 1) -> SearchData:
    return load_search_data(
        Namespace(
            train=list(map(str, train)),
            validation=validation and list(map(str, validation)),
            validation_share=share,
            seed=seed,
        )
    )


def test_a_passage_in_two_parts_is_as_the_test_part_has_it(tmp_path: Path) -> None:
    text, question = "비가 온다고 한다. 눈도 온다.", {"question": "무엇이 오나요?"}
    articles = tmp_path / "articles.jsonl"
    articles.write_text(json.dumps({"title": "날씨", "text": text}, ensure_ascii=False) + "\n", "utf-8")
    asked = tmp_path / "asked.jsonl"
    asked.write_text(json.dumps({"title": "날씨", "context": text, **question}, ensure_ascii=False) + "\n", "utf-8")
    data = load(articles, validation=[asked])
    (passage,) = data.passages.values()
    assert passage.metadata["title"] == "날씨"
    assert [p.metadata.get("title") for p in data.train.passages.values()] == [None]
    assert data.leaked == 1


def test_validation_data_are_measured_on_and_nothing_is_held_out(tmp_path: Path) -> None:
    data = load(write(tmp_path / "a.jsonl", range(20)), validation=[write(tmp_path / "b.jsonl", range(20, 25))])
    assert [len(part.questions) for part in (data.train, data.held_out, data.test)] == [20, 0, 5]
    assert data.measured is data.test
    assert len(data.passages) == 25
    assert data.groups.keys() == data.repeats.keys() == data.passages.keys()
    assert data.leaked == 0
    assert data.unlabelled == ()


def test_a_single_file_is_not_measured_on_what_it_trains_on(tmp_path: Path) -> None:
    data = load(write(tmp_path / "a.jsonl", range(20)))
    assert [len(part.questions) for part in (data.train, data.held_out, data.test)] == [18, 2, 0]
    assert data.measured is data.held_out
    assert not {q.id for q in data.train.questions} & {q.id for q in data.held_out.questions}
    assert load(tmp_path / "a.jsonl") == data
    assert load(tmp_path / "a.jsonl", share=0.25).held_out.questions != data.held_out.questions
    assert len(load(tmp_path / "a.jsonl", share=0.25).held_out.questions) == 5


def test_a_folder_is_measured_on_its_own_validation_part_if_it_has_one(tmp_path: Path) -> None:
    write(tmp_path / "set" / "train.jsonl", range(20))
    assert [len(part.questions) for part in load(tmp_path / "set")[:3]] == [18, 2, 0]
    write(tmp_path / "set" / "validation.jsonl", range(20, 23))
    assert [len(part.questions) for part in load(tmp_path / "set")[:3]] == [20, 0, 3]
    assert [len(part.questions) for part in load("sample")[:3]][2] > 0


def test_a_share_is_held_out_beside_validation_data_to_choose_by(tmp_path: Path) -> None:
    data = load(write(tmp_path / "a.jsonl", range(20)), validation=[write(tmp_path / "b.jsonl", [90])], share=0.2)
    assert [len(part.questions) for part in data[:3]] == [16, 4, 1]
    assert data.measured is data.test


def test_passages_of_one_title_are_never_on_both_sides(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = write(path, range(40)).read_text("utf-8").splitlines()
    titled = [{**json.loads(row), "title": f"제목 {number // 4}"} for number, row in enumerate(rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in titled), "utf-8")
    data = load(path, share=0.3)
    sides = [{str(p.metadata["title"]) for p in part.passages.values()} for part in (data.train, data.held_out)]
    assert len(sides[1]) == 3
    assert sides[0].isdisjoint(sides[1])
    assert len(set(data.groups.values())) == 10
    assert len(set(data.repeats.values())) == 40, "in a batch they may be negatives of each other"


def test_what_leaks_from_training_into_the_test_is_counted(tmp_path: Path) -> None:
    train = write(tmp_path / "a.jsonl", range(10))
    test = write(tmp_path / "b.jsonl", range(8, 12))
    with test.open("a", encoding="utf-8") as file:
        nearly = " ".join(f"{word}3" for word in WORDS) + " 뉴스"
        file.write(json.dumps({"question": "뉴스?", "context": nearly, "title": "다른 제목"}) + "\n")
        file.write(json.dumps({"question": "불능?", "context": nearly, "is_impossible": True}) + "\n")
    assert load(train, validation=[test]).leaked == pytest.approx(3 / 5)


def test_articles_are_trained_on_and_never_taken_for_a_test(tmp_path: Path) -> None:
    for number in range(12):
        text = " ".join(f"{word}{number}" for word in WORDS)
        (tmp_path / "articles").mkdir(exist_ok=True)
        (tmp_path / "articles" / f"{number}.md").write_text(f"# 기사 {number}\n\n{text}\n", "utf-8")
    data = load(tmp_path / "articles")
    assert data.unlabelled == (str(tmp_path / "articles"),)
    assert [len(part.questions) for part in data[:3]] == [11, 1, 0]


def test_the_record_changes_with_questions_passages_and_parts(tmp_path: Path) -> None:
    one = load(write(tmp_path / "a.jsonl", range(20)), share=0.1).record()
    assert {name: (part["rows"], part["passages"]["rows"]) for name, part in one.items()} == {
        "train": (18, 18),
        "held out": (2, 2),
        "test": (0, 0),
    }
    assert load(tmp_path / "a.jsonl", share=0.1).record() == one
    assert json.loads(json.dumps(one)) == one
    assert load(tmp_path / "a.jsonl", share=0.1, seed=3).record() != one
    text = (tmp_path / "a.jsonl").read_text("utf-8")
    for old, new in (("예산 1?", "예산 하나?"), ("잠실7", "잠실70")):
        assert old in text
        (tmp_path / "a.jsonl").write_text(text.replace(old, new), "utf-8")
        assert load(tmp_path / "a.jsonl", share=0.1).record() != one


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(write(tmp_path / "a.jsonl", range(20)), validation=[tmp_path / "nowhere"])


def test_a_question_is_asked_in_the_words_of_another_column() -> None:
    question = Question("q", "언제?", frozenset({"a"}), (), False, {"colloquial": " 언제임 ", "empty": ""}, "a")
    assert ask_otherwise([question], ["colloquial", "empty", "missing"]) == [
        question._replace(id="q (colloquial)", text="언제임")
    ]


def test_negatives_that_answer_the_question_after_all_are_left_out(tmp_path: Path) -> None:
    right, wrong = (" ".join(f"{word}{n}" for word in WORDS for n in range(base, base + 3)) for base in (0, 10))
    rows = [
        {"question": "언제?", "context": right, "negatives": [f"{right} 끝", wrong]},
        {"question": "어디?", "context": right, "negatives": [wrong]},
        {"question": "어디?", "context": f"{wrong} 끝"},
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    data = load(path, validation=[write(tmp_path / "b.jsonl", range(3))])
    texts = [[data.passages[doc_id].page_content for doc_id in q.negatives] for q in data.train.questions]
    assert texts == [[wrong], [], []]
    assert data.record()["train"] != load(write(tmp_path / "c.jsonl", range(3))).record()["train"]


def test_the_record_tells_negatives(tmp_path: Path) -> None:
    validation = [write(tmp_path / "b.jsonl", range(3))]
    one, two = (
        load(write(tmp_path / f"{n}.jsonl", [5, 6], negatives=["비가 온다.", "눈이 온다."][:n]), validation=validation)
        for n in (1, 2)
    )
    assert one.record()["train"]["passages"] != two.record()["train"]["passages"]
    part = one.train._replace(questions=[q._replace(negatives=()) for q in one.train.questions])
    assert one._replace(train=part).record()["train"] != one.record()["train"]


def test_what_is_held_out_is_nobody_s_negative(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", range(20))
    texts = [str(json.loads(line)["context"]) for line in path.read_text("utf-8").splitlines()]
    data = load(write(path, range(20), negatives=texts))
    kept = [
        doc_id for question in data.train.questions for doc_id in question.negatives if doc_id in data.train.passages
    ]
    assert len(kept) == 18 * 17
    assert data.train.passages.keys().isdisjoint(data.held_out.passages)
