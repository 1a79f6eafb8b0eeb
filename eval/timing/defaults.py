"""What one gets without naming a model: what its reranker's budget costs in quality, and how quick it is."""

from collections.abc import Sequence

from langchain_core.documents import Document

from eval.asking import ask
from eval.measuring import intervals, score, times
from eval.speed_corpus import source_sentences, speed_corpus
from eval.timing.klue import random_models
from eval.timing.loop import CANDIDATES, TutorialLoop
from eval.timing.rounds import interleave, to_json
from eval.timing.setup import Found, Setup, chunks
from eval.timing.variants import FEWER_PAIRS, TOP_N
from rag_app.compressors import load_reranker
from rag_app.embeddings import load_embeddings
from rag_app.index import build_index
from rag_app.retrieval import build_retriever

FULL = "all 30 in full"
DEFAULT = "default"
FEWER = f"the first {FEWER_PAIRS} in full"
ENCODING = "the loop's encoding alone"


def measure_default_quality(setup: Setup, found: Found) -> None:
    """Ask the hybrid search with its reranker: as served, scoring all 30 in full, and with the pair limit alone."""
    index = build_index(setup.folder / "quality", setup.benchmark.corpus, load_embeddings())
    rerankers = {
        FULL: load_reranker(top_n=TOP_N).model_copy(update={"early_stop": None}),
        DEFAULT: load_reranker(top_n=TOP_N),
        FEWER: load_reranker(top_n=TOP_N, max_pairs=FEWER_PAIRS).model_copy(update={"early_stop": None}),
    }
    for name, reranker in rerankers.items():
        retriever = build_retriever(index, compressor=reranker, k=CANDIDATES)
        reranker.forget()
        answers = ask(retriever, setup.benchmark.questions, name=f"embedded models, {name}")
        scores = score(setup.benchmark, answers, 10)
        found[name] = {measure: one._asdict() for measure, one in intervals(scores).items()}
        found[name]["seconds_per_question"] = times(answers.values()).p50
    found["questions"] = len(setup.benchmark.questions)
    found["documents"] = len(setup.benchmark.corpus)


def measure_default_speed(setup: Setup, found: Found) -> None:
    """Ask many questions of the default and, side by side, let the tutorial's loop only encode them."""
    arguments = setup.arguments
    corpus = _filled(setup.benchmark.corpus, arguments.default_passages)
    index = build_index(setup.folder / "default", corpus, load_embeddings())
    reranker = load_reranker(top_n=TOP_N)
    retriever = build_retriever(index, compressor=reranker, k=CANDIDATES)
    size = arguments.model_sizes[0]
    loop = TutorialLoop(random_models(setup.models / size, size).embedding, None)
    contenders = {
        ENCODING: lambda questions: [loop.encode(question) for question in questions],
        "one at a time": lambda questions: [retriever.invoke(question) for question in questions],
        "batch": lambda questions: retriever.batch(list(questions)),
    }
    texts = [question.text for question in setup.questions(arguments.default_questions)]
    rounds = chunks(texts, max(1, len(texts) // arguments.rounds))[: arguments.rounds]
    seconds: dict[str, list[float]] = {}
    try:
        interleave(contenders, rounds, seconds, name="default", before_each=reranker.forget)
    finally:
        if len(seconds) == len(contenders):
            rows = to_json(seconds, ENCODING)
            for row in rows.values():
                row["seconds_per_1000"] = 1000 * row["seconds_per_question"]["median"]
            found |= {"rows": rows, "questions": sum(map(len, rounds)), "passages": len(index), "model_size": size}


def _filled(corpus: Sequence[Document], count: int) -> list[Document]:
    """Return a corpus with as many documents more as are wanting, made of its own sentences."""
    missing = max(0, count - len(corpus))
    return [*corpus, *speed_corpus(source_sentences(corpus), missing)]
