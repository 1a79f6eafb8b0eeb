import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from langchain_core.documents import Document

from finetune.groups import group_passages
from rag_app.data import load_passages

ODQA = Path(__file__).parents[2] / "shared/data/odqa_ko"


def groups(*texts: str, titles: tuple[str, ...] = ()) -> list[int]:
    metadata: list[dict[str, str]] = [{"title": title} for title in titles] or [{} for _ in texts]
    passages = {
        f"d{number}": Document(page_content=text, metadata=values)
        for number, (text, values) in enumerate(zip(texts, metadata, strict=True))
    }
    grouped = group_passages(passages)
    assert list(grouped) == list(passages)
    return list(grouped.values())


def words(first: int, last: int) -> str:
    """The text of the numbered words; each word stands only once, so n words have n - 3 shingles."""
    return " ".join(f"낱말{number}" for number in range(first, last))


def test_passages_of_one_title_are_a_group_and_those_without_a_title_are_not() -> None:
    texts = ("비가 온다.", "눈이 온다.", "바람이 분다.", "해가 뜬다.", "달이 뜬다.")
    assert groups(*texts, titles=("날씨", "", "\u1102\u1161\u11af\u110a\u1175 ", " ", "해")) == [0, 1, 0, 2, 3]


def test_a_title_of_none_is_no_title() -> None:
    documents = {str(n): Document(page_content=f"글 {n}", metadata={"title": None}) for n in range(2)}
    assert group_passages(documents) == {"0": 0, "1": 1}


def test_a_short_text_is_a_near_duplicate_from_half_of_the_longer_ones_shingles() -> None:
    # 13 words have ten shingles; 18 words of which the first 13 are the same have 15, and 23 have 20.
    assert groups(words(0, 13), words(0, 23)) == [0, 0]
    assert groups(words(0, 13), words(0, 24)) == [0, 1]  # ten of 21
    assert groups(words(0, 24), words(0, 13)) == [0, 1]


def test_spelling_case_and_punctuation_make_no_difference() -> None:
    assert groups("LG전자는 오늘, “신제품”을 공개했다!", "lg전자는 오늘 신제품 을 공개했다.") == [0, 0]


def test_the_order_of_words_makes_a_difference() -> None:
    assert groups("비가 오고 눈이 온다", "눈이 오고 비가 온다") == [0, 1]


def test_texts_of_few_words_are_grouped_only_if_they_are_the_same() -> None:
    assert groups("속보", "속보!", "속보 정정", "정정") == [0, 0, 1, 2]


def test_texts_without_words_are_no_duplicates_of_each_other() -> None:
    assert groups("!!!", "???", "…") == [0, 1, 2]


def test_a_chain_of_near_duplicates_and_titles_is_one_group() -> None:
    texts = (words(0, 20), words(6, 26), words(12, 32), "딴 글", words(50, 60))
    assert groups(texts[0], texts[2]) == [0, 1]  # the ends alone share five of 17
    assert groups(*texts, titles=("", "", "비", "비", "")) == [0, 0, 0, 0, 1]


def test_long_stories_that_repeat_each_other_are_found_and_other_stories_are_not() -> None:
    rng = np.random.default_rng(0)
    story = words(0, 400).split()
    edited = [word if rng.random() > 0.05 else f"고침{number}" for number, word in enumerate(story)]  # 0.95**4 = 0.81
    half = words(0, 100) + " " + words(1000, 1300)  # shares a quarter
    assert groups(" ".join(story), " ".join(edited), half, words(2000, 2400)) == [0, 0, 1, 2]


def test_a_line_under_every_article_groups_nothing() -> None:
    footer = words(0, 40)
    assert groups(*(f"{words(100 * n, 100 * n + 99)} {footer}" for n in range(1, 30))) == list(range(29))


def test_no_passages_have_no_groups() -> None:
    assert group_passages({}) == {}


def test_two_thousand_passages_with_one_footer_take_no_quadratic_time() -> None:
    footer = words(0, 40)
    texts = [f"{words(200 * n, 200 * n + 199)} {footer}" for n in range(1, 2001)]
    start = time.perf_counter()
    assert len(set(groups(*texts))) == 2000
    assert time.perf_counter() - start < 20  # takes half a second


@pytest.mark.skipif(not ODQA.exists(), reason="odqa_ko is not beside the checkout")
def test_odqa_groups_are_its_titles() -> None:
    passages = {passage.metadata["doc_id"]: passage for passage in load_passages(ODQA)}
    grouped = group_passages(passages)
    assert (len(grouped), len(set(grouped.values()))) == (2095, 1766)
    titles = Counter(passage.metadata["title"] for passage in passages.values())
    assert sorted(Counter(grouped.values()).values()) == sorted(titles.values())
