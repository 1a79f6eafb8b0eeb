"""What each stage of a search thought of a document: rank and score, kept in its metadata."""

from langchain_core.documents import Document


def with_stage(document: Document, stage: str, rank: int, score: float, **details: float) -> Document:
    """Return a copy of a document with one more stage in ``metadata["stages"]`` and its score in ``metadata["score"]``.

    Args:
        document: Left unchanged.
        stage: ``"lexical"``, ``"dense"``, ``"fusion"`` or ``"rerank"``.
        rank: From 1.
        score: On the stage's own scale; higher is better.
        details: More of what the stage measured.
    """
    stages = {**document.metadata.get("stages", {}), stage: {"rank": rank, "score": float(score), **details}}
    return document.model_copy(update={"metadata": {**document.metadata, "stages": stages, "score": float(score)}})
