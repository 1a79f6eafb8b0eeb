from pathlib import Path

import pytest

from eval.health import questions as health
from eval.health.windows import check_reranker, check_tokens, check_window
from eval.protocols import Benchmark
from rag_app.compressors import load_reranker
from rag_app.data.questions import Question
from rag_app.documents import make_document
from rag_app.embeddings import ModelEmbeddings, StaticEmbeddings, TransformerEmbeddings, load_embeddings
from rag_app.models import load_sentence_transformer, load_static_model

# Each of the miniature models' tokens is a character; two more begin and end the text.
LONG = "서울은 수도이고 국민은 한국어를 씁니다. " * 10  # 180 characters that count, in ten sentences
SHORT = "국회는 예산안을 의결했다."  # 12


@pytest.fixture
def narrow(tiny_sentence_transformer: Path) -> TransformerEmbeddings:
    model = load_sentence_transformer(tiny_sentence_transformer, device="cpu", max_length=100)
    return TransformerEmbeddings(model, name="tiny", fingerprint="f")


@pytest.fixture
def static(tiny_static: Path) -> StaticEmbeddings:
    return StaticEmbeddings(load_static_model(tiny_static), name="tiny", fingerprint="f")


def benchmark(*texts: str, asks: str = "수도는 서울") -> Benchmark:
    corpus = [make_document(content) for content in texts]
    questions = [
        Question(f"q{number}", asks, frozenset({str(passage.id)}), (), impossible=False, metadata={})
        for number, passage in enumerate(corpus)
    ]
    return Benchmark(corpus, questions, [])


def test_long_contexts_are_told_and_no_warning_is_given_where_they_are_split(narrow: ModelEmbeddings) -> None:
    finding = check_window("tuned", narrow, benchmark(LONG, SHORT, "국회", "서울"))
    assert finding.text.startswith("reads 100 tokens; 25.0% of 4 contexts are longer; split into ")
    assert finding.text.endswith(" passages, 0.0% of them are")
    assert (finding.check, finding.subject, finding.share, finding.warning) == ("truncation", "tuned", 0.0, False)


def test_what_is_not_split_is_lost(narrow: ModelEmbeddings) -> None:
    finding = check_window("tuned", narrow, benchmark(LONG, SHORT, "국회", "서울"), split=False)
    assert (finding.share, finding.warning) == (0.25, True)
    assert "their ends are lost" in finding.text
    assert not check_window("tuned", narrow, benchmark(SHORT, "국회"), split=False).warning


def test_passages_that_splitting_does_not_make_short_enough_are_warned_about(tiny_sentence_transformer: Path) -> None:
    model = load_sentence_transformer(tiny_sentence_transformer, device="cpu", max_length=20)
    eyelet = TransformerEmbeddings(model, name="tiny", fingerprint="f")
    finding = check_window("tuned", eyelet, benchmark(LONG))  # nothing is split below 100 characters
    assert (finding.share, finding.warning) == (1.0, True)


def test_a_static_model_and_a_linear_reranker_have_no_window(
    static: ModelEmbeddings, tiny_linear_reranker: Path
) -> None:
    assert static.window is None
    asked = benchmark(LONG)
    for finding in (
        check_window("base", static, asked, split=False),
        check_reranker("reranker", load_reranker(tiny_linear_reranker), asked, split=False),
    ):
        assert (finding.share, finding.warning) == (0.0, False)
        assert "any length" in finding.text


def test_a_sample_is_looked_at_and_the_finding_says_so(
    narrow: ModelEmbeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "SAMPLE", 3)
    asked = benchmark(*(f"국회 {'서울' * number}" for number in range(10)))
    assert "of 3 of 10 contexts" in check_window("tuned", narrow, asked).text
    assert check_tokens("tuned", narrow, asked).text.endswith("(a sample of 3)")


def test_pairs_longer_than_the_rerankers_window_are_counted(tiny_cross_encoder: Path, narrow: ModelEmbeddings) -> None:
    reranker = load_reranker(tiny_cross_encoder, device="cpu")
    assert reranker.window == 512
    # Question and passage together have three special tokens, and the question five characters.
    assert reranker.fits("수도는서울", "국 " * 504)
    assert not reranker.fits("수도는서울", "국 " * 505)
    asked = benchmark("국 " * 504, "국 " * 505, SHORT, "서울")
    finding = check_reranker("reranker", reranker, asked, split=False)
    assert finding.text == "reads 512 tokens; 25.0% of 4 questions with a passage of theirs are longer"
    assert (finding.share, finding.warning) == (0.25, True)
    # Of the long ones the first model's window makes passages of 100 characters at most.
    assert check_reranker("reranker", reranker, benchmark("국 " * 600), split=False).share == 1.0
    assert check_reranker("reranker", reranker, benchmark("국 " * 600), embeddings=narrow).share == 0.0


def test_a_rerankers_fits_leaves_truncation_as_it_was(tiny_cross_encoder: Path) -> None:
    reranker = load_reranker(tiny_cross_encoder, device="cpu")
    long = [("수도는 서울", "국회 " * 900)]
    before = reranker.score_pairs(long)
    assert not reranker.fits(*long[0])
    assert reranker.score_pairs(long) == pytest.approx(before)


@pytest.mark.parametrize("kind", ["tiny_static", "tiny_sentence_transformer"])
def test_letters_that_the_model_does_not_know_are_counted(kind: str, request: pytest.FixtureRequest) -> None:
    embeddings = load_embeddings(request.getfixturevalue(kind))
    assert embeddings.unknown_share(["국회 서울"]) == 0.0
    assert embeddings.unknown_share([]) == 0.0
    assert embeddings.unknown_share(["국회 #!"]) == 0.0  # no letters
    assert embeddings.unknown_share(["국회 뷁 뷁 서울"]) == pytest.approx(2 / 6)
    finding = check_tokens("tuned", embeddings, benchmark("국회 뷁 뷁 서울", asks="국회"))
    assert finding.text == "does not know 0.00% of the questions' letters and 33.33% of the contexts'"
    assert (finding.check, finding.warning) == ("tokens", True)
    assert finding.share == pytest.approx(1 / 3)
    assert not check_tokens("tuned", embeddings, benchmark("국회")).warning
