"""Embedding models in training: loaded so that they can be tuned, saved so that search can load them."""

import json
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import save

from rag_app.embeddings import ModelEmbeddings, TransformerEmbeddings
from rag_app.models import load_sentence_transformer

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

EMBEDDING_USE = """from rag_app import build_index, build_retriever, load_documents, load_embeddings

embeddings = load_embeddings("{folder}")
retriever = build_retriever(build_index("index", load_documents("articles"), embeddings))"""


def load_trainable(name: str | Path, settings: Namespace) -> "SentenceTransformer":
    """Load an embedding model to tune or measure it, on the device and with the length limit of a run.

    Raises:
        ImportError, OSError, ValueError: See `rag_app.models.load_sentence_transformer`.
    """
    model = load_sentence_transformer(name, device=settings.device, max_length=settings.max_length)
    model.model_card_data.widget = [{}]  # else trainers look for examples, which finetune.card does not show
    return model


def widen(model: "SentenceTransformer", dimensions: int, seed: int) -> None:
    """Give every token of a static model that many further dimensions, random and of the same length as it has.

    They set words apart that the model takes for alike, as words do in lexical search (random indexing: Sahlgren,
    "An introduction to random indexing", 2005), and they are where training can put what sentences do not share.

    Raises:
        ValueError: The model is not static.
    """
    import torch
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    module = model[0]
    if not isinstance(module, StaticEmbedding):
        raise ValueError("--widen is for static models: the dimensions of a transformer are those it was made with")
    table = module.embedding.weight.detach()
    random = torch.randn(len(table), dimensions, generator=torch.Generator().manual_seed(seed))
    random *= table.norm(dim=1, keepdim=True).cpu() / dimensions**0.5
    wide = torch.cat([table, random.to(table.device)], dim=1)
    unknown = module.embedding.padding_idx
    module.embedding = torch.nn.EmbeddingBag.from_pretrained(wide, freeze=False, padding_idx=unknown)
    module.embedding_dim = wide.shape[1]


def embeddings_in_training(model: "SentenceTransformer") -> ModelEmbeddings:
    """Return a model as LangChain's embeddings, to search with while it is trained; it follows the model."""
    return TransformerEmbeddings(model, name="(in training)", fingerprint="in training")


def save_trained(model: "SentenceTransformer", folder: Path) -> None:
    """Write a model as it is, with all its precision, for `load_trainable` to go on with."""
    model.save_pretrained(str(folder), create_model_card=False)


def save_embedding(model: "SentenceTransformer", folder: Path) -> None:
    """Write a model into an existing folder; a static one with int8 vectors, in the format of Model2Vec."""
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    if isinstance(model[0], StaticEmbedding):
        _save_static(model[0], folder)
    else:
        save_trained(model, folder)


def _save_static(module: "StaticEmbedding", folder: Path) -> None:
    table = module.embedding.weight.detach().cpu().numpy()
    scale = np.abs(table).max(axis=1) / 127  # one a token: what the weights of a vocabulary-quantised model are for
    scale[scale == 0] = 1
    tensors = {
        "embeddings": np.rint(table / scale[:, None]).astype(np.int8),
        "mapping": np.arange(len(table), dtype=np.int32),
        "weights": scale.astype(np.float32),
    }
    (folder / "model.safetensors").write_bytes(save(tensors))  # save_file makes it private (0600)
    module.tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    config = {
        "model_type": "model2vec",
        "architectures": ["StaticModel"],
        "hidden_dim": table.shape[1],
        "normalize": True,
        "max_length": None,
        "embedding_dtype": "int8",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
