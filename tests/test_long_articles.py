"""Nothing of a long article is lost: its last sentence is found, reranked and cited, however little the models read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eval.health.windows import check_reranker
from eval.protocols import Benchmark
from rag_app.chain import build_chain
from rag_app.compressors import CrossEncoderCompressor
from rag_app.data.questions import Question
from rag_app.documents import make_document
from rag_app.embeddings import ModelEmbeddings, StaticEmbeddings, TransformerEmbeddings
from rag_app.index import build_index
from rag_app.korean import bigrams
from rag_app.models import load_cross_encoder, load_sentence_transformer, load_static_model
from rag_app.passages import split_documents
from rag_app.retrieval import build_retriever

# The miniature models know the characters of these sentences; each is a token.
FILLING = "국회는 내년 예산안을 의결했다. 기상청은 주말에 비가 온다고 예보했다. 국민은 한국어를 씁니다. "
LAST = "프로야구 개막전이 잠실에서 열렸다."
QUESTION = "프로야구 개막전은 어디에서 열렸나요?"
ARTICLE = make_document(FILLING * (20_000 // len(FILLING)) + LAST, title="서울")
OTHERS = [make_document(f"{'프로야구 ' * number}비가 온다.", title="비") for number in range(1, 6)]


class ShortSighted:
    """A cross-encoder that reads 64 tokens, and whose logit is the share of the question's bigrams among them."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = load_cross_encoder(folder, device="cpu").tokenizer
        self.max_seq_length = 64
        self.read: list[str] = []

    def predict(self, pairs: Sequence[tuple[str, str]], **_: Any) -> NDArray[np.float32]:
        texts = [self._cut(question, passage) for question, passage in pairs]
        self.read += texts
        asked = [set(bigrams(question)) for question, _ in pairs]
        return np.array([len(a & set(bigrams(t))) / len(a) for a, t in zip(asked, texts, strict=True)], np.float32)

    def _cut(self, question: str, passage: str) -> str:
        """Return what a model with this window gets to see of the passage."""
        tokens = self.tokenizer(
            question, passage, truncation="only_second", max_length=self.max_seq_length, return_offsets_mapping=True
        )
        read = [
            end for (_, end), part in zip(tokens["offset_mapping"], tokens.sequence_ids(), strict=True) if part == 1
        ]
        return passage[: max(read)]


@pytest.fixture(params=["reads all", "reads 100 tokens"])
def embeddings(request: pytest.FixtureRequest, tiny_static: Path, tiny_sentence_transformer: Path) -> ModelEmbeddings:
    if request.param == "reads all":
        return StaticEmbeddings(load_static_model(tiny_static), name="tiny", fingerprint="f")
    model = load_sentence_transformer(tiny_sentence_transformer, device="cpu", max_length=100)
    return TransformerEmbeddings(model, name="tiny", fingerprint="f")


def test_the_last_sentence_is_found_reranked_and_cited(
    embeddings: ModelEmbeddings, tiny_cross_encoder: Path, tmp_path: Path
) -> None:
    assert len(ARTICLE.page_content) > 19_000
    index = build_index(tmp_path / "index", [ARTICLE, *OTHERS], embeddings)
    passages = index.snapshot.store.documents.values()
    assert all(embeddings.fits(f"서울\n{passage.page_content}") for passage in passages)
    model = ShortSighted(tiny_cross_encoder)
    reranker = CrossEncoderCompressor(model=model, name="tiny", top_n=10)

    retriever = build_retriever(index, compressor=reranker)
    best = retriever.invoke(QUESTION)[0]

    assert best.page_content.endswith(LAST)
    assert any(LAST in text for text in model.read)
    assert all(reranker.fits(QUESTION, text) for text in model.read)
    assert best.metadata["end"] == len(ARTICLE.page_content)

    result = build_chain(retriever, embeddings=embeddings, min_evidence=0).invoke({"question": QUESTION})
    source = result["documents"][0]
    assert result["answer"].startswith(f"“{LAST}” [1]")
    assert source.metadata["doc_id"] == ARTICLE.id
    assert [d.metadata["doc_id"] for d in result["documents"]].count(ARTICLE.id) == 1
    quote = source.metadata["quote"]
    assert source.page_content[quote["start"] : quote["end"]] == LAST
    shown = source.metadata["spans"][-1]
    assert ARTICLE.page_content[shown["start"] : shown["end"]].endswith(LAST)


def test_the_health_check_counts_the_pairs_that_the_reranker_reads_through_windows(
    tiny_cross_encoder: Path, tiny_static: Path
) -> None:
    static = StaticEmbeddings(load_static_model(tiny_static), name="tiny", fingerprint="f")
    reranker = CrossEncoderCompressor(model=ShortSighted(tiny_cross_encoder), name="tiny", top_n=None)
    corpus = [ARTICLE, *OTHERS]
    asked = Question("q", QUESTION, frozenset(str(d.id) for d in corpus), (), impossible=False, metadata={})
    finding = check_reranker("tiny", reranker, Benchmark(corpus, [asked], []), embeddings=static)
    passages = list(split_documents(corpus))
    reranked = reranker.compress_documents(passages, QUESTION)
    through = ["windows" in document.metadata["stages"]["rerank"] for document in reranked]
    assert finding.share == pytest.approx(sum(through) / len(passages))
    assert 0 < sum(through) < len(passages)
    assert finding.warning
