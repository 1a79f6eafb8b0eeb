from hypothesis import given
from hypothesis import strategies as st

from rag_app.rendering.text_blocks import BLOCK_CHARS, Run, marked_blocks

TEXT = "첫 문단이다. 둘째 문장.\n\n셋째 문장이다.\n넷째 문장."


def test_paragraphs_are_blocks_and_what_is_marked_is_a_run_of_its_own() -> None:
    quotes = [(8, 14), (TEXT.index("넷째"), len(TEXT))]
    assert marked_blocks(TEXT, [(8, len(TEXT))], quotes) == [
        [Run("", "첫 문단이다. "), Run("quote", "둘째 문장.", 0)],
        [Run("passage", "셋째 문장이다.\n"), Run("quote", "넷째 문장.", 1)],
    ]


def test_a_quote_across_paragraphs_is_one_quote_in_two_blocks() -> None:
    blocks = marked_blocks(TEXT, [], [(8, 24)])
    assert [[run.quote for run in block] for block in blocks] == [[-1, 0], [0, -1]]


@given(
    text=st.lists(st.sampled_from(["가", "나다 ", "끝. ", "\n", "\n\n", "😀", "라" * 700]), max_size=60).map("".join),
    spans=st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 9000)).map(sorted).map(tuple), max_size=4),
)
def test_no_character_is_lost_and_no_block_is_long(text: str, spans: list[tuple[int, int]]) -> None:
    blocks = marked_blocks(text, spans, spans[:1])
    shown = "".join(run.text for block in blocks for run in block)
    assert "".join(shown.split()) == "".join(text.split())
    assert all(run.text for block in blocks for run in block)
    assert all(sum(len(run.text) for run in block) <= BLOCK_CHARS for block in blocks)
    quoted = "".join(run.text for block in blocks for run in block if run.mark == "quote")
    start, end = spans[0] if spans else (0, 0)
    assert "".join(quoted.split()) == "".join(text[start:end].split())


def test_a_long_paragraph_is_cut_at_the_end_of_a_sentence() -> None:
    sentence = "가나다 라마바 사아자차. "
    blocks = marked_blocks(sentence * 500, [], [])
    assert all(block[-1].text.endswith("차.") for block in blocks[:-1])
