import pytest

from tests.reliability import BEGIN, END, Outcome, table, with_table


def test_numbers_of_the_same_things_are_added_up() -> None:
    outcomes = [
        Outcome("tests/a.py::one", (1,), (), True, ((20, "kills"),), (("lost", "0"),)),
        Outcome("tests/a.py::two", (1,), (), True, ((30, "kills"), (4, "full disks"))),
        Outcome("tests/b.py::three", (), ((1, "A manifest was lost."),), True),
    ]
    first = table(outcomes, "today").splitlines()[4]
    assert first == "| 1 | Crash safety | `a.py` | 4 full disks<br>50 kills | lost: 0 | 1 | yes |"
    assert "- 1. A manifest was lost. `tests/b.py::three`" in table(outcomes, "today").splitlines()


def test_a_failed_or_missing_test_is_told() -> None:
    lines = table([Outcome("tests/a.py::one", (2,), ((3, "Wrong."),), False)], "today").splitlines()
    assert lines[4].endswith("| not run |")
    assert lines[5].endswith("| **no** |")
    assert "- 3. Wrong. `tests/a.py::one` **fails**" in lines


def test_the_table_takes_the_place_of_the_one_before() -> None:
    text = with_table(f"Before\n{BEGIN}\nold\n{END}\nafter\n", "a | b \\1")
    assert text == f"Before\n{BEGIN}\na | b \\1\n{END}\nafter\n"
    with pytest.raises(ValueError, match="no place"):
        with_table("Nothing", "a")
