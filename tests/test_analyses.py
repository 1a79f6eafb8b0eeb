from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace

from eval.analyses import SERVING, Measured, candidates, measure, ngrams, word_pieces, words
from eval.protocols import Benchmark
from rag_app.data.questions import Question
from rag_app.documents import make_document
from rag_app.korean import analyzer, bigrams, marked_bigrams
from rag_app.passages import split_documents

TEXT = "국회의원이 NHK에서 '4.2%'를 먹었다."


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """A WordPiece tokenizer that knows two pieces, pads and truncates."""
    pieces = Tokenizer(WordPiece({"[UNK]": 0, "국회": 1, "##의원": 2, "nhk": 3, "[PAD]": 4}, unk_token="[UNK]"))
    pieces.pre_tokenizer = Whitespace()
    pieces.enable_truncation(2)
    pieces.enable_padding(pad_id=4, length=9)
    path = tmp_path / "mine" / "tokenizer.json"
    path.parent.mkdir()
    pieces.save(str(path))
    return path


def units(name: str, text: str = TEXT) -> list[str]:
    [analyse] = candidates(analyzer())[name].analyses.values()
    [found] = analyse([text])
    return list(found)


def test_each_analysis_takes_a_text_apart() -> None:
    assert units("split") == ["국회의원이", "NHK에서", "'4.2%'를", "먹었다."]
    assert units("words") == ["국회의원이", "nhk에서", "4", "2", "를", "먹었다"]
    assert units("unigrams")[:7] == ["국", "회", "의", "원", "이", "n", "h"]
    assert units("bigrams") == marked_bigrams(TEXT)
    assert units("trigrams") == [
        *("국회의", "회의원", "의원이"),
        *("nhk", "hk에", "k에서"),
        *("4", "2", "를", "먹었다"),
    ]
    assert units("morphemes") == ["국회", "의원", "nhk", "4.2", "먹"]
    assert units("nouns") == ["국회", "의원", "nhk", "4.2"]
    assert units("all morphemes") == [*("국회", "의원", "이"), *("nhk", "에서"), *("4.2", "를"), *("먹", "었", "다")]
    assert len(units("word pieces")) >= 5


def test_ngrams_of_two_are_bigrams() -> None:
    text = "가 나다, 라마바 NHK 2025년의 4.2%"
    assert ngrams(text, 2) == bigrams(text)
    assert ngrams(text, 99) == words(text)


def test_word_pieces_are_whole_texts_without_what_is_unknown(tokenizer: Path) -> None:
    analyse = word_pieces(tokenizer)
    assert list(analyse(["국회의원 모름 NHK 국회 국회", "모름"])) == [["1", "2", "3", "1", "1"], []]


def test_tokenizers_go_by_their_folder_or_file(tokenizer: Path, tmp_path: Path) -> None:
    other = tmp_path / "small.json"
    other.write_bytes(tokenizer.read_bytes())
    table = candidates(analyzer(), [tokenizer, other, other])
    assert next(iter(table)) == SERVING
    assert list(table)[-3:] == ["mine", "small", str(other)]
    assert table["mine"].about == f"word pieces of {tokenizer}"


def test_what_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with pytest.raises(FileNotFoundError):
        word_pieces(path)
    path.write_text("{}", "utf-8")
    with pytest.raises(ValueError, match=r"tokenizer.json is no tokenizer.json of the tokenizers library: "):
        word_pieces(path)


def test_a_candidate_is_measured_on_all_questions() -> None:
    corpus = [
        make_document("어제 국회의원이 연설했다.", title="연설"),
        make_document("오늘 비가 왔다."),
        make_document(" ".join(f"{n}번째 문장은 떡국 이야기다." for n in range(200))),  # several passages
    ]
    passages = list(split_documents(corpus))
    assert len(passages) > 3
    texts = ["국회의원", "비가 왔나?", "떡국"]
    questions = [
        Question(text, text, frozenset({str(document.id)}), (), False, {})
        for text, document in zip(texts, corpus, strict=True)
    ]
    benchmark = Benchmark(corpus, questions, [])
    table = candidates(analyzer())
    found: dict[str, Measured] = {
        name: measure(table[name], passages, benchmark, k=2) for name in (SERVING, "words", "bigrams", "morphemes")
    }
    assert set(found[SERVING].scores) == {"hit_rate@1", "hit_rate@2", "mrr@2"}
    assert found["words"].scores["hit_rate@2"] == {"국회의원": 0, "비가 왔나?": 1, "떡국": 1}  # it has 국회의원이
    for name in (SERVING, "bigrams", "morphemes"):
        assert found[name].scores["mrr@2"] == dict.fromkeys(texts, 1)
    both, alone = found[SERVING], [found["bigrams"], found["morphemes"]]
    assert both.units == sum(result.units for result in alone)
    assert both.distinct == sum(result.distinct for result in alone)
    assert found["words"].units == sum(len(words(f"{p.metadata.get('title', '')} {p.page_content}")) for p in passages)
    for result in found.values():
        assert result.index_bytes > 0
        assert result.index_seconds > 0
        assert result.question_seconds > 0
