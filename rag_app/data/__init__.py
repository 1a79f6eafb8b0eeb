"""Data sets with questions, for training and evaluation, and the bundled news sample."""

from rag_app.data.questions import (
    Question,
    RetrievalData,
    load_passages,
    load_retrieval_data,
    sample_documents,
)

__all__ = ["Question", "RetrievalData", "load_passages", "load_retrieval_data", "sample_documents"]
