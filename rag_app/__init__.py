"""Korean retrieval for LangChain: hybrid search, reranking and cited answers. Importing it loads no model."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rag_app.chain import build_chain
    from rag_app.chat_models.loading import load_chat_model
    from rag_app.check import check_index
    from rag_app.collapsing import CollapseDuplicates
    from rag_app.compressors import CrossEncoderCompressor, LinearCompressor, load_reranker
    from rag_app.documents import load_documents, make_document
    from rag_app.embeddings import StaticEmbeddings, TransformerEmbeddings, load_embeddings
    from rag_app.index import Index, build_index, open_index
    from rag_app.lexical import LexicalIndex, LexicalRetriever
    from rag_app.merging import MergePassages
    from rag_app.news import NewsSense
    from rag_app.onnx.embeddings import OnnxEmbeddings
    from rag_app.passages import split_documents
    from rag_app.retrieval import HybridRetriever, build_retriever
    from rag_app.stores.faiss import FaissStore

_MODULES = {
    "CollapseDuplicates": "collapsing",
    "CrossEncoderCompressor": "compressors",
    "FaissStore": "stores.faiss",
    "HybridRetriever": "retrieval",
    "Index": "index",
    "LexicalIndex": "lexical",
    "LexicalRetriever": "lexical",
    "LinearCompressor": "compressors",
    "MergePassages": "merging",
    "NewsSense": "news",
    "OnnxEmbeddings": "onnx.embeddings",
    "StaticEmbeddings": "embeddings",
    "TransformerEmbeddings": "embeddings",
    "build_chain": "chain",
    "build_index": "index",
    "build_retriever": "retrieval",
    "check_index": "check",
    "load_chat_model": "chat_models.loading",
    "load_documents": "documents",
    "load_embeddings": "embeddings",
    "load_reranker": "compressors",
    "make_document": "documents",
    "open_index": "index",
    "split_documents": "passages",
}

__all__ = [
    "CollapseDuplicates",
    "CrossEncoderCompressor",
    "FaissStore",
    "HybridRetriever",
    "Index",
    "LexicalIndex",
    "LexicalRetriever",
    "LinearCompressor",
    "MergePassages",
    "NewsSense",
    "OnnxEmbeddings",
    "StaticEmbeddings",
    "TransformerEmbeddings",
    "build_chain",
    "build_index",
    "build_retriever",
    "check_index",
    "load_chat_model",
    "load_documents",
    "load_embeddings",
    "load_reranker",
    "make_document",
    "open_index",
    "split_documents",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
