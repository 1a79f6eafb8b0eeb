import threading
from collections.abc import Iterator, Sequence

from rag_app.by_word import ByWord
from rag_app.korean import analyzer, bigrams


class Counting:
    """Takes words apart into their letters, and counts them."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def __call__(self, words: Sequence[str]) -> Iterator[list[str]]:
        self.words += words
        return (list(word) for word in words)


def test_each_word_is_analysed_once() -> None:
    counting = Counting()
    analyse = ByWord(counting)
    assert analyse(["가나 다", "다  가나\n라", ""]) == [["가", "나", "다"], ["다", "가", "나", "라"], []]
    assert analyse(["라 마"]) == [["라", "마"]]
    assert sorted(counting.words) == ["가나", "다", "라", "마"]


def test_what_is_met_often_is_remembered_and_the_rest_forgotten() -> None:
    counting = Counting()
    analyse = ByWord(counting, words=10)
    for number in range(200):
        assert analyse([f"{number:03} 늘"]) == [[*f"{number:03}", "늘"]]
    assert counting.words.count("늘") == 1
    assert sum(map(len, analyse._tables)) <= 10
    assert analyse(["000"]) == [["0", "0", "0"]]
    assert counting.words.count("000") == 2


def test_more_words_than_are_remembered_in_one_text() -> None:
    words = [chr(ord("가") + number) for number in range(50)]
    analyse = ByWord(Counting(), words=10)
    for _ in range(2):
        assert analyse([" ".join(words)]) == [words]


def test_bigrams_are_those_of_the_whole_text() -> None:
    text = "국회의원이 A-1 회의(3차)에서 '연설'했다.\n끝 B.C. 3,000원"
    assert ByWord(lambda words: map(bigrams, words))([text]) == [bigrams(text)]


def test_morphemes_of_a_word_do_not_depend_on_its_neighbours() -> None:
    analyse = ByWord(analyzer().morphemes_batch)
    [both], [first], [second] = (analyse([text]) for text in ("조사선이 남해를", "조사선이", "남해를"))
    assert both == first + second
    assert first


def test_threads_may_share_it() -> None:
    analyse = ByWord(Counting(), words=50)
    wrong: list[str] = []

    def work(start: int) -> None:
        for number in range(300):
            text = f"{start * number % 97:03} {number % 89:03}"
            if analyse([text]) != [list(text.replace(" ", ""))]:
                wrong.append(text)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
