import os
import signal
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rag_app.korean import Analyzer, analyzer, bigrams, marked_bigrams, normalise

SENTENCE = "국회의원이 2014년 6월 신고리 원전을 둘러봤다."


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (unicodedata.normalize("NFD", "한국어"), "한국어"),
        ("ＫＢＳ　２０２５년", "KBS 2025년"),
        ("한\u200b국\ufeff어\u00ad", "한국어"),
        ("ᄒ\u200bᅡ\u200dᆫ", "한"),
        ("\u202e뒤집힌\u202c 글", "뒤집힌 글"),
        ("빈\u3164칸", "빈 칸"),
        (" 앞뒤 \t 와\xa0사이 ", "앞뒤 와 사이"),
        ("가\r\n나\r다\u2028라", "가\n나\n다\n라"),
        ("문단 \n\n\n\n 문단", "문단\n\n문단"),
        ("널\x00문자와 짝 잃은 \ud800", "널 문자와 짝 잃은 \ufffd"),
        ("\u200b\n ", ""),
    ],
)
def test_one_spelling_remains(raw: str, clean: str) -> None:
    assert normalise(raw) == clean


FAULTS = {
    "Question or document with variation selectors or tag characters, which nobody sees, was not found.": {
        "한\U000e0041\U000e0042국\U000e007f어": "한국어",
        "한\ufe0f국\U000e0101어": "한국어",
    },
    "Hangul in half-width or single letters was broken up instead of composed.": {
        "ﾾￂﾤﾡￓﾡﾷￆﾷￂ": "한국어아",
        "ㅎㅏㄴㄱㅡㄹㅇㅡㄹ ㅂㅘ": "한글을 봐",
        "ㄷㅏㄺㄷㅗ ㅇㅓㅄㄷㅏㄱㅗ": "닭도 없다고",
    },
    "Unit signs, ㈜, Roman numerals and letters of formulas were not found by what one types for them.": {
        "12㎞를 3㎧로 ㈜한빛": "12km를 3m/s로 (주)한빛",
        "𝐊𝐁𝐒 𝟐채널 Ⅳ장 ﬁne": "KBS 2채널 IV장 fine",
    },
    "Blanks that are no white space to Unicode glued the words before and behind them together.": {
        "빈\u3164칸\uffa0두\u2800개": "빈 칸 두 개",
    },
    "A middle dot typed on a Korean keyboard was taken for a letter.": {
        "한ㆍ미ㆍ일 3ㆍ1운동": "한·미·일 3·1운동",
    },
    "Accents and strokes through Korean letters hid the words.": {
        "한\u0336국\u0301\u20dd어 ㅎ\u0301": "한국어 ㅎ",
    },
    "Emoji of several characters fell apart.": {
        "가족 👨\u200d👩\u200d👧 ❤\ufe0f 1\ufe0f\u20e3": "가족 👨\u200d👩\u200d👧 ❤\ufe0f 1\ufe0f\u20e3",
    },
}


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        pytest.param(raw, clean, marks=pytest.mark.fault(6, fault))
        for fault, spellings in FAULTS.items()
        for raw, clean in spellings.items()
    ],
)
def test_what_a_reader_sees_is_what_is_found(raw: str, clean: str) -> None:
    assert normalise(raw) == clean


@pytest.mark.parametrize(
    "text",
    [
        "ㅋㅋㅋ ㅠㅠ ㅇㅋ ㅇㅇㅈ",
        "ㄱ과 ㅏ가 만나 가가 된다: ㄱㅏ",
        "아래아(ㆍ)는 모음이다. ㅎㆍㄴ",
        "나랏말ᄊᆞ미 듀ᇰ귁에 달아",
        "나\u302e랏말",
        "10²은 m²와 다르다",
        "① 첫째",
        "café naïve Ångström",
        "x̄ ± σ",
    ],
)
def test_what_is_meant_as_it_stands_stays(text: str) -> None:
    assert normalise(text) == text


_TRICKY = (
    "가각한ㄱㅏㄴㅎㆍㅡ 1aA\n\u1112\u1161\u11ab\u115f\u1160\u119e\ua960\ud7b0\u302e\u0301\u0336\u20dd"
    "\u200d\ufe0f\u20e3👨❤\u3164ﾡￂ￣ﾞ㎞Ⅳ"
)


@given(st.text(st.one_of(st.sampled_from(_TRICKY), st.characters(categories=["L", "M", "N", "P", "S", "Z", "C"]))))
@example("ﾡ\u0301￣")
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3)))
def test_decomposed_hangul_is_the_same_text(text: str) -> None:
    assert normalise(unicodedata.normalize("NFD", text)) == text


def test_bigrams_stay_inside_words() -> None:
    assert bigrams("나는 KBS를 3월에 봄") == ["나는", "kb", "bs", "s를", "3월", "월에", "봄"]


def test_marked_bigrams_know_how_each_word_begins() -> None:
    text = "나는 KBS를 3월에 봄"
    assert marked_bigrams(text) == ["^나", "나는", "^k", "kb", "bs", "s를", "^3", "3월", "월에", "^봄"]
    assert marked_bigrams("가, 나_다 ^") == ["^가", "^나", "^다"]
    assert marked_bigrams(" ?! ") == []


def test_morphemes_keep_content_and_drop_particles() -> None:
    assert analyzer().morphemes(SENTENCE) == ["국회의원", "2014", "6", "고리", "원전", "둘러보"]


@pytest.mark.fault(6, "A name in curly quotation marks was not found by a question with straight ones.")
def test_quotation_marks_and_dashes_change_no_morphemes() -> None:
    curly = "영화 ‘한빛’과 “다시금속”의 관객—서울〜부산 “한빛’이"
    assert analyzer().morphemes(curly) == analyzer().morphemes("영화 '한빛'과 \"다시금속\"의 관객-서울~부산 \"한빛'이")


def test_a_batch_gives_what_single_texts_give() -> None:
    texts = [SENTENCE, "", "하늘이 높다."]
    assert list(analyzer().morphemes_batch(texts)) == [analyzer().morphemes(text) for text in texts]


def test_morphemes_know_where_they_stand() -> None:
    text = "🙂 난 서울에서는 뭘 봤나?"
    morphemes = analyzer().analyse(text)
    assert [(text[morpheme.start : morpheme.end], morpheme.form, morpheme.tag) for morpheme in morphemes[1:5]] == [
        ("난", "나", "NP"),
        ("난", "ᆫ", "JX"),
        ("서울", "서울", "NNP"),
        ("에서", "에서", "JKB"),
    ]
    assert analyzer().analyse("") == []


def test_a_user_dictionary_keeps_names_whole(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("가온누리호\tNNP\t10\n", encoding="utf-8")
    assert "가온누리호" not in analyzer().morphemes("가온누리호가 출항했다")
    assert "가온누리호" in Analyzer(words).morphemes("가온누리호가 출항했다")


def test_an_unreadable_user_dictionary_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="word<TAB>tag<TAB>score"):
        Analyzer(tmp_path / "missing.txt")


def test_sentences_know_where_they_stand() -> None:
    text = '그는 "맞다." 라고 말했다. 회의는 끝났다!\n\n다음 날이었다'
    sentences = analyzer().sentences(text)
    assert [sentence.text for sentence in sentences] == ['그는 "맞다." 라고 말했다.', "회의는 끝났다!", "다음 날이었다"]
    assert all(text[sentence.start : sentence.end] == sentence.text for sentence in sentences)


def test_a_batch_gives_the_sentences_of_single_texts() -> None:
    texts = ["첫째다. 둘째다.\n\n셋째다!", "", " \n ", "🙂 하늘이 높다. 말이 살찐다.\r\n끝", SENTENCE, "첫째다.\n"]
    batch = list(analyzer().sentences_batch(texts))
    assert batch == [analyzer().sentences(text) for text in texts]
    assert [[sentence.text for sentence in sentences] for sentences in batch] == [
        ["첫째다.", "둘째다.", "셋째다!"],
        [],
        [],
        ["🙂 하늘이 높다.", "말이 살찐다.", "끝"],
        [SENTENCE],
        ["첫째다."],
    ]
    for text, sentences in zip(texts, batch, strict=True):
        assert all(text[sentence.start : sentence.end] == sentence.text for sentence in sentences)


def test_a_batch_can_be_left_unfinished() -> None:
    first = next(analyzer().sentences_batch([f"{number}일이다. 맑다." for number in range(500)]))
    assert [sentence.text for sentence in first] == ["0일이다.", "맑다."]
    assert [sentence.text for sentence in analyzer().sentences("비가 온다.")] == ["비가 온다."]


def test_a_very_long_line_is_analysed_in_parts_that_end_with_sentences() -> None:
    sentence = "가람호수의 물은 9도로 따뜻해졌다. "
    text = (sentence * 1000).strip()
    found = analyzer().sentences(text)
    assert [s.text for s in found] == [sentence.strip()] * 1000
    assert all(text[s.start : s.end] == s.text for s in found)


def test_a_very_long_line_without_any_space_loses_nothing() -> None:
    text = "가" * 20_001
    assert "".join(s.text for s in analyzer().sentences(text)) == text


@pytest.mark.fault(4, "A process forked after its parent had analysed Korean waited for ever on its first new word.")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_an_analyser_goes_on_in_a_forked_process() -> None:
    texts = [SENTENCE, "기상청은 비가 온다고 했다. 밤에는 그친다."]
    expected = (list(analyzer().morphemes_batch(texts)), list(analyzer().sentences_batch(texts)))
    if (child := os.fork()) == 0:
        signal.alarm(10)  # ends it if it waits
        found = (list(analyzer().morphemes_batch(texts)), list(analyzer().sentences_batch(texts)))
        os._exit(0 if found == expected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
