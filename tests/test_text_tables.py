from rag_app.text_tables import aligned


def test_columns_are_aligned_whatever_the_width_of_their_letters() -> None:
    assert aligned([("이름", "kind"), ("a", "")]) == "이름  kind\na"


def test_figures_stand_flush_right() -> None:
    assert aligned([("name", "of", "n"), ("a", "b", "100")], labels=2).splitlines() == [
        "name  of    n",
        "a     b   100",
    ]


def test_no_rows_are_no_text() -> None:
    assert aligned([]) == ""
