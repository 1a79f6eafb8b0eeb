"""How much of the questions and contexts the models read: their windows and vocabularies.

    findings = [check_window("tuned", embeddings, benchmark), check_tokens("tuned", embeddings, benchmark)]

A model that ends a passage early, or lacks its letters, cannot find what it has not read.
"""

from collections import defaultdict
from collections.abc import Iterable

from langchain_core.documents import Document

from eval.health.questions import TOLERATED, mean, sample, sample_note
from eval.protocols import Benchmark
from eval.results import Finding
from rag_app.compressors import RerankingCompressor
from rag_app.documents import searchable_text
from rag_app.embeddings import ModelEmbeddings
from rag_app.passages import split_documents

TOLERATED_UNKNOWN = 0.05
"""A vocabulary is warned about where it lacks more than this share of the letters and digits."""


def check_window(name: str, embeddings: ModelEmbeddings, benchmark: Benchmark, *, split: bool = True) -> Finding:
    """Return how many contexts, and how many of the passages that are searched, the model does not read to their end.

    Args:
        name: The model's label.
        embeddings: The model.
        benchmark: Its corpus are the contexts.
        split: Whether they are split as by `rag_app.index.build_index`; the tutorial protocol searches them whole.
    """
    window = embeddings.window
    if window is None:
        return Finding("truncation", name, "reads texts of any length to their end", 0.0, warning=False)
    contexts = sample(benchmark.corpus)
    longer = _cut(contexts, embeddings)
    sampled = f"{len(contexts):,} of " if len(contexts) < len(benchmark.corpus) else ""
    said = f"reads {window:,} tokens; {longer:.1%} of {sampled}{len(benchmark.corpus):,} contexts are longer"
    if not split:
        said += ", and their ends are lost, as they are not split"
        return Finding("truncation", name, said, longer, longer > TOLERATED)
    passages = list(split_documents(contexts, fits=embeddings.fits))
    cut = _cut(passages, embeddings)
    said += f"; split into {len(passages):,} passages, {cut:.1%} of them are"
    return Finding("truncation", name, said, cut, cut > TOLERATED)


def check_reranker(
    name: str,
    reranker: RerankingCompressor,
    benchmark: Benchmark,
    *,
    embeddings: ModelEmbeddings | None = None,
    split: bool = True,
) -> Finding:
    """Return how many questions the reranker does not read to the end together with a passage that answers them.

    Args:
        name: The reranker's label.
        reranker: Reads question and passage together.
        benchmark: With the questions.
        embeddings: The model that the passages are searched with, whose window may have made them shorter.
        split: See `check_window`; each passage of a document that is split makes a pair.
    """
    window = reranker.window
    if window is None:
        return Finding("truncation", name, "reads passages of any length to their end", 0.0, warning=False)
    questions = sample(benchmark.questions)
    relevant = benchmark._replace(questions=questions).relevant()
    read: Iterable[Document] = (d for d in benchmark.corpus if d.metadata["doc_id"] in relevant)
    if split:
        read = split_documents(read, fits=None if embeddings is None else embeddings.fits)
    of_document: defaultdict[str, list[str]] = defaultdict(list)
    for passage in read:
        of_document[passage.metadata["doc_id"]].append(searchable_text(passage))
    pairs = [(q.text, passage) for q in questions for doc_id in sorted(q.relevant) for passage in of_document[doc_id]]
    cut = mean(not reranker.fits(*pair) for pair in pairs)
    note = sample_note(len(questions), len(benchmark.questions))
    said = f"reads {window:,} tokens; {cut:.1%} of {len(pairs):,} questions with a passage of theirs are longer{note}"
    return Finding("truncation", name, said, cut, cut > TOLERATED)


def check_tokens(name: str, embeddings: ModelEmbeddings, benchmark: Benchmark) -> Finding:
    """Return how many letters and digits of the questions and contexts the model's vocabulary lacks."""
    questions, contexts = sample(benchmark.questions), sample(benchmark.corpus)
    asked = embeddings.unknown_share([question.text for question in questions])
    read = embeddings.unknown_share([searchable_text(document) for document in contexts])
    if asked is None or read is None:
        return Finding("tokens", name, "its tokenizer does not tell what it does not know", None, warning=False)
    note = sample_note(len(contexts), len(benchmark.corpus))
    said = f"does not know {asked:.2%} of the questions' letters and {read:.2%} of the contexts'{note}"
    return Finding("tokens", name, said, max(asked, read), max(asked, read) > TOLERATED_UNKNOWN)


def _cut(documents: Iterable[Document], embeddings: ModelEmbeddings) -> float:
    return mean(not embeddings.fits(searchable_text(document)) for document in documents)
