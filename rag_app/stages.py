"""What each stage of a search thought of a document: rank and score, kept in its metadata."""

from collections.abc import Mapping

from langchain_core.documents import Document


def with_stage(document: Document, stage: str, rank: int, score: float, **details: object) -> Document:
    """Return a copy of a document with one more stage in ``metadata["stages"]`` and its score in ``metadata["score"]``.

    Args:
        document: Left unchanged.
        stage: ``"lexical"``, ``"dense"``, ``"fusion"`` or ``"rerank"``.
        rank: From 1.
        score: On the stage's own scale; higher is better.
        details: More of what the stage measured.
    """
    return with_stages(document, {stage: {"rank": rank, "score": float(score), **details}})


def with_stages(document: Document, stages: Mapping[str, Mapping[str, object]]) -> Document:
    """Return a copy of a document with more stages, as `with_stage`; its score is that of the last one."""
    *_, last = stages.values()
    together = {**document.metadata.get("stages", {}), **stages}
    return document.model_copy(update={"metadata": {**document.metadata, "stages": together, "score": last["score"]}})
