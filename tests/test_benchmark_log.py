import io

import pytest
from tqdm import tqdm

from rag_app.benchmark.log import Bar, Step, bars, problem, progress, tail
from rag_app.benchmark.order import Order

ORDER = Order("sample", ("lexical", "base+rerank"))


def draw(label: str | None, done: int, total: int) -> str:
    """What tqdm writes when so much is done, seen now and then."""
    drawn = io.StringIO()
    with tqdm(total=total, desc=label, file=drawn, unit="question", mininterval=0, miniters=1) as bar:
        for _ in range(done):
            bar.update()
    return drawn.getvalue()


def test_of_a_bar_that_is_drawn_again_and_again_the_last_counts() -> None:
    assert bars(draw("lexical", 3, 7)) == [Bar("lexical", 3, 7)]
    assert bars(draw(None, 1, 2) + draw("lexical, at once", 2, 2)) == [Bar("", 1, 2), Bar("lexical, at once", 2, 2)]


def test_progress_goes_from_loading_to_writing() -> None:
    log = ""
    assert progress(ORDER, log).phase == "loading"
    log += "Protocol clean: 7 questions, 9 passages\n" + draw("lexical, check", 7, 7)
    assert progress(ORDER, log).phase == "indexing"
    log += draw("lexical", 4, 7)
    now = progress(ORDER, log)
    assert (now.phase, now.bar) == ("asking", Bar("lexical", 4, 7))
    assert now.steps == [Step("clean", "lexical", 4, 7), Step("clean", "base+rerank", 0, 0)]
    log += draw("lexical", 7, 7) + draw("lexical, at once", 7, 7) + draw("base+rerank", 7, 7)
    assert progress(ORDER, log).phase == "asking"
    log += draw("base+rerank, at once", 7, 7)
    assert progress(ORDER, log).phase == "writing"


def test_under_both_protocols_a_system_that_comes_again_is_the_tutorial_s() -> None:
    order = Order("sample", ("base",), protocol="both")
    log = draw("base", 7, 7) + draw("base, at once", 7, 7) + draw("base", 3, 5)
    assert progress(order, log).steps == [Step("clean", "base", 7, 7), Step("tutorial", "base", 3, 5)]
    assert progress(order._replace(protocol="tutorial"), draw("base", 2, 5)).steps == [Step("tutorial", "base", 2, 5)]


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (
            "usage: python -m eval.hit_rate [-h]\npython -m eval.hit_rate: error: There is no file x\n",
            "There is no file x",
        ),
        ("eval.hit_rate: error: one\ntwo\n", "one\ntwo"),
        ("a\nTraceback (most recent call last):\n  File x\nValueError: 틀렸다\n", "ValueError: 틀렸다"),
        ("\nInterrupted: not measured: base. The same command goes on from there.\n", ""),
        (draw("lexical", 1, 2), ""),
    ],
)
def test_what_went_wrong_is_the_program_s_own_message(log: str, said: str) -> None:
    assert problem(log) == said


def test_the_tail_shows_what_a_terminal_would() -> None:
    assert tail("one\n\rlexical: 1%\rlexical: 100%\ntwo\n", 2) == "lexical: 100%\ntwo"
