import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rag_app.data import Question, load_passages, load_retrieval_data, sample_documents, sources
from rag_app.data.questions import all_passages
from rag_app.documents import Columns, document_id

ODQA = Path(__file__).parents[2] / "shared/data/odqa_ko"
RAIN = "기상청은 주말에 전국에 비가 온다고 예보했다."
VOTE = "국회는 내년 예산안을 의결했다."
RAIN_ID, VOTE_ID = document_id(RAIN), document_id(VOTE)


def write_jsonl(path: Path, *records: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def ask(path: Path, **row: Any) -> Question:
    data = load_retrieval_data(write_jsonl(path, {"context": RAIN, "question": "언제 비가 오나?", **row}))
    return data.questions[0]


@pytest.fixture
def klue(tmp_path: Path) -> Path:
    """A file in the layout of the official KLUE-MRC release: one article with three questions, one without."""
    possible = {"guid": "mrc-1", "question": "언제 비가 오나?", "question_type": 1, "is_impossible": False}
    impossible = {"guid": "mrc-2", "question": "눈은 언제 오나?", "question_type": 3, "is_impossible": True}
    span = {"text": "주말", "answer_start": 5}
    questions = [
        {**possible, "answers": [span, span]},
        {**impossible, "answers": [], "plausible_answers": [span]},
        {**possible, "guid": "mrc-3", "question": "누가 예보했나?", "answers": [{"text": "기상청", "answer_start": 0}]},
    ]
    articles = [
        {
            "title": "비",
            "news_category": "날씨",
            "source": "가람일보",
            "paragraphs": [{"context": RAIN, "qas": questions}],
        },
        {"title": "예산", "news_category": "정치", "source": "가람일보", "paragraphs": [{"context": VOTE, "qas": []}]},
    ]
    path = tmp_path / "klue-mrc-v1.1_dev.json"
    path.write_text(json.dumps({"version": "v1.1", "data": articles}), encoding="utf-8")
    return path


def test_klue_json_gives_passages_once_and_questions_with_what_answers_them(klue: Path) -> None:
    data = load_retrieval_data(klue)
    assert list(data.passages) == [RAIN_ID, VOTE_ID]
    assert data.passages[RAIN_ID].page_content == RAIN
    assert data.passages[RAIN_ID].metadata == {
        "title": "비", "section": "날씨", "source": "가람일보", "doc_id": RAIN_ID
    }  # fmt: skip
    first, second, third = data.questions
    assert (first.id, first.text, first.relevant) == ("mrc-1", "언제 비가 오나?", frozenset({RAIN_ID}))
    assert first.answers == ("주말",)
    assert first.metadata["question_type"] == 1
    assert (second.impossible, second.relevant, second.answers) == (True, frozenset(), ())
    assert [question.context_id for question in data.questions] == [RAIN_ID] * 3  # also of the impossible one
    assert (third.impossible, third.answers) == (False, ("기상청",))


def test_the_corpus_of_a_file_is_every_context(klue: Path) -> None:
    assert [passage.page_content for passage in load_passages(klue)] == [RAIN, VOTE]


def test_korquad_needs_no_more_than_context_question_and_answer(tmp_path: Path) -> None:
    questions = [{"id": "6566495-0-0", "question": "누가?", "answers": [{"text": "기상청", "answer_start": 0}]}]
    path = tmp_path / "KorQuAD_v1.0_dev.json"
    path.write_text(json.dumps({"data": [{"title": "비", "paragraphs": [{"context": RAIN, "qas": questions}]}]}))
    (question,) = load_retrieval_data(path).questions
    assert question[:5] == ("6566495-0-0", "누가?", frozenset({RAIN_ID}), ("기상청",), False)


@pytest.mark.parametrize(
    ("answers", "texts"),
    [
        ({"text": ["주말", "주말"], "answer_start": [5, 5]}, ("주말",)),
        ("{'answer_start': [5], 'text': ['주말']}", ("주말",)),
        ([{"text": "주말", "answer_start": 5}, {"text": "전국", "answer_start": 9}], ("주말", "전국")),
        ("['주말', '전국']", ("주말", "전국")),
        ("주말", ("주말",)),
        (None, ()),
        ({"text": [], "answer_start": []}, ()),
    ],
)
def test_answers_are_read_in_each_form_in_which_they_are_published(
    tmp_path: Path, answers: Any, texts: tuple[str, ...]
) -> None:
    assert ask(tmp_path / "a.jsonl", answers=answers).answers == texts


def test_answers_are_never_run_as_code(tmp_path: Path) -> None:
    code = "[__import__('pathlib').Path('ran').touch()]"
    with pytest.raises(ValueError, match=r"a\.jsonl: line 1: column 'answers' is no literal"):
        ask(tmp_path / "a.jsonl", answers=code)


@pytest.mark.parametrize(("value", "impossible"), [("True", True), (1, True), ("False", False), (None, False)])
def test_impossible_is_understood_as_text_too(tmp_path: Path, value: Any, impossible: bool) -> None:
    question = ask(tmp_path / "a.jsonl", is_impossible=value, answers={"text": ["전국"], "answer_start": [9]})
    assert (question.impossible, not question.relevant, not question.answers) == (impossible,) * 3


def test_ids_are_unique_even_where_the_source_has_none_or_repeats_them(tmp_path: Path) -> None:
    rows = [{"context": RAIN, "question": f"{number}?", "id": name} for number, name in enumerate(["a", "", "a", "b"])]
    data = load_retrieval_data(write_jsonl(tmp_path / "a.jsonl", *rows))
    assert [question.id for question in data.questions] == ["a", "2", "a#2", "b"]
    rows = [{"context": RAIN, "question": f"{number}?", "id": name} for number, name in enumerate(["a#2", "a", "a"])]
    data = load_retrieval_data(write_jsonl(tmp_path / "a.jsonl", *rows))
    assert [question.id for question in data.questions] == ["a#2", "a", "a#3"]


def test_a_table_of_questions_can_have_columns_of_its_own_names(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"질문,문단,제목\n언제?,{RAIN},비\n", encoding="cp949")
    data = load_retrieval_data(path, columns=Columns(text="문단"))
    assert data.questions[0].relevant == {RAIN_ID}
    assert data.passages[RAIN_ID].metadata["title"] == "비"


def test_broken_rows_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.jsonl: line 1: the context is empty"):
        ask(tmp_path / "a.jsonl", context="")
    with pytest.raises(ValueError, match=r"b\.jsonl: line 1: no column for the text among question"):
        load_retrieval_data(write_jsonl(tmp_path / "b.jsonl", {"question": "?"}))
    with pytest.raises(ValueError, match=r"c\.jsonl holds no question"):
        load_retrieval_data(write_jsonl(tmp_path / "c.jsonl", {"context": RAIN}))
    (tmp_path / "d.jsonl").write_text("{")
    with pytest.raises(ValueError, match=r"d\.jsonl: line 1: not JSON"):
        load_retrieval_data(tmp_path / "d.jsonl")
    (tmp_path / "e.txt").touch()
    with pytest.raises(ValueError, match=r"e\.txt has the suffix '\.txt'\. Questions are read from \.csv"):
        load_retrieval_data(tmp_path / "e.txt")
    with pytest.raises(FileNotFoundError, match=r"no file or folder .*nowhere.* sample, klue"):
        load_retrieval_data(tmp_path / "nowhere")


def test_a_folder_gives_the_files_with_the_split_in_their_name(tmp_path: Path) -> None:
    for name in ("train_1", "train_2", "mrc-v1.1_dev", "training"):
        write_jsonl(tmp_path / f"{name}.jsonl", {"context": RAIN, "question": f"{name}?"})
    for split, names in {"train": ["train_1?", "train_2?"], "validation": ["mrc-v1.1_dev?"]}.items():
        assert [question.text for question in load_retrieval_data(tmp_path, split=split).questions] == names
    with pytest.raises(FileNotFoundError, match=r"none of its tables has test in its name: mrc-v1\.1_dev\.jsonl"):
        load_retrieval_data(tmp_path, split="test")


def test_all_passages_of_a_folder_are_those_of_every_split_once(tmp_path: Path) -> None:
    contexts = {
        "train_1": RAIN,
        "train_2": "훈련",
        "mrc-v1.1_dev": VOTE,
        "TEST": RAIN,
        "training": "부록",
        "notes": "쪽",
    }
    for name, context in contexts.items():
        write_jsonl(tmp_path / f"{name}.jsonl", {"context": context, "question": "?", "제목": name})
    write_jsonl(tmp_path / "test_blind.jsonl", {"context": "시험"}, {"context": " "})  # not asked about; empty
    write_jsonl(tmp_path / "validation/old.jsonl", {"context": "옛날", "question": "?"})
    (tmp_path / "train.txt").write_text("설명")
    passages = all_passages(tmp_path)
    assert [passage.page_content for passage in passages] == [RAIN, VOTE, "시험", "훈련"]  # by file name
    assert passages[0].metadata == {"title": "TEST", "doc_id": RAIN_ID}  # no path: as in the data set itself
    for split in ("train", "validation"):
        assert load_retrieval_data(tmp_path, split=split).passages.keys() <= {passage.id for passage in passages}


def test_all_passages_are_read_from_the_columns_given(tmp_path: Path) -> None:
    for split, text in {"train": RAIN, "dev": VOTE}.items():
        write_jsonl(tmp_path / f"{split}.jsonl", {"질문": "?", "문단": text, "표제": split})
    passages = all_passages(tmp_path, columns=Columns(text="문단", title="표제"))
    assert [(passage.metadata["title"], passage.page_content) for passage in passages] == [
        ("dev", VOTE),
        ("train", RAIN),
    ]
    with pytest.raises(ValueError, match=r"dev\.jsonl: line 1: no column for the text among"):
        all_passages(tmp_path)


def test_all_passages_of_a_file_are_its_own(klue: Path) -> None:
    write_jsonl(klue.parent / "train.jsonl", {"context": "훈련", "question": "?"})
    assert [passage.page_content for passage in all_passages(klue)] == [RAIN, VOTE]
    with pytest.raises(FileNotFoundError, match=r"no file or folder .*nowhere"):
        all_passages(klue.parent / "nowhere")


def test_all_passages_of_the_sample_are_its_articles() -> None:
    assert all_passages("sample") == sample_documents()
    articles = {passage.id for passage in all_passages("sample")}
    assert all(
        load_retrieval_data("sample", split=split).passages.keys() <= articles for split in ("train", "validation")
    )


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    """A BEIR folder with two passages under three ids, one without text, and three queries."""
    write_jsonl(
        tmp_path / "corpus.jsonl",
        {"_id": "p1", "title": "비", "text": RAIN, "metadata": {"url": "https://a.b"}},
        {"_id": "p2", "title": VOTE, "text": ""},
        {"_id": "p3", "title": "다시", "text": RAIN},
    )
    write_jsonl(tmp_path / "queries.jsonl", *({"_id": f"q{number}", "text": f"{number}?"} for number in range(3)))
    return tmp_path


def write_qrels(path: Path, *lines: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n")


def test_beir_gives_the_whole_corpus_and_the_queries_with_a_relevant_passage(beir: Path) -> None:
    write_qrels(beir / "qrels/test.tsv", "q1\tp3\t2", "q1\tp2\t1", "q0\tp1\t0", "q2\tgone\t1")
    data = load_retrieval_data(beir)
    assert {doc_id: passage.page_content for doc_id, passage in data.passages.items()} == {RAIN_ID: RAIN, VOTE_ID: VOTE}
    assert data.passages[RAIN_ID].metadata == {"title": "비", "url": "https://a.b", "doc_id": RAIN_ID}
    assert [(question.id, question.text) for question in data.questions] == [("q1", "1?"), ("q2", "2?")]
    assert data.questions[0].relevant == {RAIN_ID, VOTE_ID}
    assert data.questions[1].relevant == {"gone"}  # a miss for every system, not an impossible question
    assert not data.questions[1].impossible
    assert [question.context_id for question in data.questions] == ["", ""]  # qrels do not say
    assert [passage.page_content for passage in load_passages(beir)] == [RAIN, VOTE]
    assert all_passages(beir) == load_passages(beir)


def test_beir_never_trains_on_its_test_questions(beir: Path) -> None:
    write_qrels(beir / "qrels/test.tsv", "q1\tp1\t1")
    with pytest.raises(FileNotFoundError, match=r"no qrels for train: looked for qrels\.tsv, qrels/train\.tsv"):
        load_retrieval_data(beir, split="train")
    write_qrels(beir / "qrels/train.tsv", "q0\tp1\t1")
    write_qrels(beir / "qrels/dev.tsv", "q2\tp1\t1")
    for split, query in {"train": "q0", "validation": "q2", "test": "q1"}.items():
        assert [question.id for question in load_retrieval_data(beir, split=split).questions] == [query]


def test_broken_beir_folders_say_where(beir: Path) -> None:
    (beir / "qrels.tsv").write_text("q1\tp1\t1\nq2 p1 1\n")  # without a header
    with pytest.raises(ValueError, match=r"qrels\.tsv: line 2: want query-id, corpus-id and score"):
        load_retrieval_data(beir)
    write_qrels(beir / "qrels.tsv", "q9\tp1\t1")
    with pytest.raises(ValueError, match=r"queries\.jsonl: .*q9"):
        load_retrieval_data(beir)
    write_qrels(beir / "qrels.tsv", "q1\tp1\t0")
    with pytest.raises(ValueError, match=r"qrels\.tsv: names no relevant passage"):
        load_retrieval_data(beir)
    write_qrels(beir / "qrels.tsv", "q1\tp1\t1")
    write_jsonl(beir / "queries.jsonl", {"_id": "q1", "text": " "})
    with pytest.raises(ValueError, match=r"queries\.jsonl: the query 'q1' asks nothing"):
        load_retrieval_data(beir)
    write_jsonl(beir / "corpus.jsonl", {"_id": "p1", "text": ""})
    with pytest.raises(ValueError, match=r"corpus\.jsonl: passage 'p1' holds no text"):
        load_retrieval_data(beir)


def test_klue_from_the_hub_has_flat_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def load_dataset(name: str, configuration: str, split: str) -> Iterator[dict[str, Any]]:
        asked.append((name, configuration, split))
        row = {"title": "비", "context": RAIN, "question": "언제?", "guid": f"mrc-{split}", "is_impossible": False}
        yield {**row, "answers": {"answer_start": [5], "text": ["주말"]}}
        # The Hub gives the plausible wrong answers where no answer is right.
        yield {**row, "context": split, "is_impossible": True, "answers": {"answer_start": [0], "text": ["기상청"]}}

    datasets = types.ModuleType("datasets")
    monkeypatch.setattr(datasets, "load_dataset", load_dataset, raising=False)
    monkeypatch.setitem(sys.modules, "datasets", datasets)
    monkeypatch.setattr(sources, "check_dataset", lambda repo: None)
    first, second = load_retrieval_data("klue", split="train").questions
    assert asked == [("klue/klue", "mrc", "train")]
    assert (first.answers, first.relevant) == (("주말",), frozenset({RAIN_ID}))
    assert (second.impossible, second.answers, second.id) == (True, (), "mrc-train#2")
    assert second.context_id == document_id("train")
    assert [passage.page_content for passage in load_passages("klue")] == [RAIN, "train", "validation"]
    assert all_passages("klue") == load_passages("klue")
    with pytest.raises(ValueError, match="KLUE-MRC has no split 'test'"):
        load_retrieval_data("klue", split="test")


def test_klue_without_the_datasets_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r'pip install "korean-rag\[train\]"'):
        load_retrieval_data("klue")


def test_klue_without_a_network_fails_at_once_and_names_the_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = types.ModuleType("datasets")
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: pytest.fail("tried to download"), raising=False)
    monkeypatch.setitem(sys.modules, "datasets", datasets)
    with pytest.raises(ConnectionError, match=r"klue/klue .*local copy.*'sample'.*HF_HUB_OFFLINE=1"):
        load_retrieval_data("klue")


@pytest.mark.skipif(not ODQA.exists(), reason="odqa_ko is not beside the checkout")
@pytest.mark.parametrize(("split", "passages", "questions"), [("train", 1866, 2060), ("validation", 229, 234)])
def test_odqa_is_read_whole(split: str, passages: int, questions: int) -> None:
    data = load_retrieval_data(ODQA, split=split)
    assert (len(data.passages), len(data.questions)) == (passages, questions)
    for question in data.questions:
        (doc_id,) = question.relevant
        assert any(answer in data.passages[doc_id].page_content for answer in question.answers)


@pytest.mark.skipif(not ODQA.exists(), reason="odqa_ko is not beside the checkout")
def test_all_passages_of_odqa_are_those_of_both_splits() -> None:
    assert len(all_passages(ODQA)) == 2095


@pytest.mark.parametrize(
    ("negatives", "texts"),
    [
        ([VOTE], [VOTE]),
        ([{"title": "예산", "text": VOTE}, RAIN, VOTE], [VOTE]),
        (str([VOTE]), [VOTE]),
        (VOTE, [VOTE]),
        (["...", ""], []),
        (None, []),
        ("", []),
    ],
)
def test_a_row_may_bring_passages_that_do_not_answer_it(tmp_path: Path, negatives: Any, texts: list[str]) -> None:
    row = {"context": RAIN, "question": "언제 비가 오나?", "negatives": negatives}
    data = load_retrieval_data(write_jsonl(tmp_path / "a.jsonl", row))
    (question,) = data.questions
    assert [data.passages[doc_id].page_content for doc_id in question.negatives] == texts
    assert "negatives" not in question.metadata
    assert list(data.passages) == [RAIN_ID, *question.negatives]
    assert [str(passage.id) for passage in all_passages(tmp_path / "a.jsonl")] == list(data.passages)


def test_a_negative_is_the_passage_that_another_row_asks_about_with_its_title(tmp_path: Path) -> None:
    first = {"context": RAIN, "question": "언제?", "negatives": [VOTE]}
    path = write_jsonl(tmp_path / "a.jsonl", first, {"context": VOTE, "title": "예산", "question": "무엇?"})
    assert load_retrieval_data(path).passages[VOTE_ID].metadata["title"] == "예산"
    (vote,) = (passage for passage in all_passages(path) if passage.id == VOTE_ID)
    assert vote.metadata["title"] == "예산"


def test_negatives_of_a_row_without_a_question_are_no_passages(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", {"context": RAIN, "negatives": [VOTE]})
    assert [passage.id for passage in all_passages(path)] == [RAIN_ID]


@pytest.mark.parametrize(
    ("negatives", "message"),
    [([3], "line 1: column 'negatives' holds a int, not a passage"), ([{"a": "b"}], "line 1, negative 1: no column")],
)
def test_broken_negatives_are_named(tmp_path: Path, negatives: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"a\.jsonl: {message}"):
        ask(tmp_path / "a.jsonl", negatives=negatives)
