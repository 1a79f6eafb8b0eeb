"""How an embedding model is measured for search, before, during and after training."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.documents import Document

from finetune.tutorial import random_negative_pairs
from rag_app.data.questions import Question, RetrievalData
from rag_app.passages import Fits, split_documents

if TYPE_CHECKING:
    from sentence_transformers.base.evaluation import BaseEvaluator


class Measure(NamedTuple):
    """What is measured of a model.

    Attributes:
        evaluator: Takes the model and returns all metrics.
        names: The metrics to show, with what they are called.
        main: The one that chooses a checkpoint and is drawn.
        data: What it is measured on.
    """

    evaluator: "BaseEvaluator"
    names: Mapping[str, str]
    main: str
    data: str

    def scores(self, model: Any) -> dict[str, float]:
        """Return the metrics of `names` of a model."""
        scores = self.evaluator(model)
        if not isinstance(scores, dict):
            raise TypeError(f"{type(self.evaluator).__name__} returned {scores!r}, wanted its metrics by name")
        return {key: float(scores[key]) for key in self.names}


def separation_measure(data: RetrievalData, *, seed: int) -> Measure:
    """Return the tutorial's measure: do cosines tell a question's context from a random one?

    See `finetune.tutorial.random_negative_pairs`. It saturates: a perfect separator of as many pairs of both kinds has
    a Spearman correlation of 0.866.
    """
    from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

    pairs = random_negative_pairs(data, seed=seed)
    queries, passages, labels = (list(column) for column in zip(*pairs, strict=True))
    evaluator = EmbeddingSimilarityEvaluator(queries, passages, labels, main_similarity="cosine", write_csv=False)
    names = {"spearman_cosine": "Spearman", "pearson_cosine": "Pearson"}
    return Measure(evaluator, names, "spearman_cosine", f"{len(pairs):,} pairs, half of them random")


def retrieval_measure(
    questions: Sequence[Question], passages: Sequence[Document], *, fits: Fits, what: str = "test"
) -> Measure:
    """Return the measure of search: at what rank is the passage that answers a question, among all of them?

    Long passages are searched by the windows that the model reads whole, the best of which counts, as in serving.

    Args:
        questions: The answerable ones count.
        passages: Whole passages, with ``doc_id``.
        fits: Whether the model reads a text whole; see `rag_app.embeddings.ModelEmbeddings.fits`.
        what: What to call the questions.

    Raises:
        ValueError: None of the questions counts.
    """
    from finetune.search_evaluator import METRICS, SearchEvaluator

    windows = list(split_documents(passages, fits=fits))
    found = {window.metadata["doc_id"] for window in windows}
    asked = [question for question in questions if question.relevant & found]
    if not asked:
        raise ValueError(
            f"None of the {len(questions):,} {what} questions has an answer among the {len(passages):,} passages. Give "
            "other --validation data"
        )
    where = f"{len(asked):,} {what} questions, {len(passages):,} passages"
    return Measure(SearchEvaluator(asked, windows), METRICS, "mrr@10", where)
