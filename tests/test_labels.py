import pytest

from eval.labels import labelled


def test_labels_are_what_stands_before_the_first_equals_sign() -> None:
    options = ["models/mrc", "e5=intfloat/multilingual-e5-small@main", "한국어=models/a=b", "runs/lr=3/model", "./x=1"]
    assert labelled(options, "tuned") == {
        "tuned": "models/mrc",
        "e5": "intfloat/multilingual-e5-small@main",
        "한국어": "models/a=b",
        "tuned-2": "runs/lr=3/model",
        "tuned-3": "./x=1",
    }
    assert labelled(["mine=my_search:build", "my_search:build"], "foreign") == {
        "mine": "my_search:build",
        "foreign": "my_search:build",
    }
    assert labelled([], "tuned") == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["a+b=x"], "'a\\+b'"),
        (["a b=x"], "'a b'"),
        (["=x"], "''"),
        (["a="], "names nothing"),
        ([""], "names nothing"),
        (["a=x", "a=y"], "two systems with the label 'a'"),
        (["tuned=x", "y"], "two systems with the label 'tuned'"),
        (["hybrid=x"], "two systems with the label 'hybrid'"),
    ],
)
def test_a_label_that_cannot_be_used_is_refused(options: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        labelled(options, "tuned", taken=["base", "hybrid"])
