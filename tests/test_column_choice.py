"""Tables are told apart in which a person must say where the text is."""

import pytest

from rag_app.files.column_choice import UnclearColumns, unclear_columns

UNCLEAR = UnclearColumns(("kolumn", "글쓴이"), "kolumn")


@pytest.mark.parametrize(
    ("suffix", "text", "columns"),
    [
        (".csv", "kolumn,글쓴이\n누리시 도서관이 문을 연다.,김도윤\n", UNCLEAR),
        (".tsv", "kolumn\t글쓴이\n누리시 도서관이 문을 연다.\t김도윤\n", UNCLEAR),
        (".jsonl", '{"kolumn": "누리시 도서관이 문을 연다.", "글쓴이": 3}\n', UNCLEAR),
        (".json", '[{"kolumn": "누리시 도서관이 문을 연다.", "글쓴이": null}]', UNCLEAR),
        (".csv", "제목,본문\n도서관,문을 연다.\n", None),
        (".csv", "kolumn\n", None),
        (".csv", "", None),
        (".jsonl", "{broken", None),
        (".txt", "kolumn,글쓴이\n가,나\n", None),
    ],
)
def test_only_a_table_without_a_usual_name_for_the_text_asks(
    suffix: str, text: str, columns: UnclearColumns | None
) -> None:
    assert unclear_columns(text.encode(), suffix, whole=True) == columns


def test_of_a_long_table_the_beginning_is_enough() -> None:
    head = "kolumn,글쓴이\n누리시 도서관이 문을 연다.,김도윤\n반쯤 잘린".encode("cp949")[:-1]
    assert unclear_columns(head, ".csv", whole=False) == UNCLEAR


def test_of_a_long_json_file_the_beginning_tells_nothing() -> None:
    assert unclear_columns(b'[{"kolumn": "a"}', ".json", whole=False) is None
