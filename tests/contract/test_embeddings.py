"""LangChain's standard suites for embeddings, on miniature models."""

from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from rag_app.embeddings import StaticEmbeddings, TransformerEmbeddings
from rag_app.models import load_sentence_transformer, load_static_model


class Static:
    """Tells the suites how to make static embeddings."""

    @pytest.fixture(autouse=True)
    def _load(self, tiny_static: Path) -> None:
        self.model_loaded = load_static_model(tiny_static)

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return StaticEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": self.model_loaded, "name": "tiny", "fingerprint": "f"}


class Transformer:
    """Tells the suites how to make sentence-transformers embeddings."""

    @pytest.fixture(autouse=True)
    def _load(self, tiny_sentence_transformer: Path) -> None:
        self.model_loaded = load_sentence_transformer(tiny_sentence_transformer, device="cpu")

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return TransformerEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": self.model_loaded, "name": "tiny", "fingerprint": "f", "batch_size": 2}


class TestStaticEmbeddingsUnit(Static, EmbeddingsUnitTests):
    """The standard unit tests."""


class TestStaticEmbeddingsIntegration(Static, EmbeddingsIntegrationTests):
    """The standard integration tests."""


class TestTransformerEmbeddingsUnit(Transformer, EmbeddingsUnitTests):
    """The standard unit tests."""


class TestTransformerEmbeddingsIntegration(Transformer, EmbeddingsIntegrationTests):
    """The standard integration tests."""
