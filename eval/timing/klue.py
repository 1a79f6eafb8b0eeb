"""Models of the size of klue/roberta with random weights: they take the time of the real ones, and know nothing.

Their tokenizer is a WordPiece one as klue's, trained on the bundled news. It has fewer entries than klue's 32,000: as
many as make about as many tokens of a text (some 0.5 for each character), which is what the time depends on.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import BertWordPieceTokenizer

from rag_app.data.questions import sample_documents
from rag_app.documents import searchable_text

ENTRIES = 4000
"""Of the tokenizer."""
SEED = 1

_SPECIAL = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"]  # in klue's order
_CONFIG: dict[str, Any] = {
    "vocab_size": 32_000,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "pad_token_id": 1,
    "layer_norm_eps": 1e-5,
}
_MODULES = {"": "Transformer", "1_Pooling": "Pooling"}


class Size(NamedTuple):
    """How large a model is."""

    num_hidden_layers: int
    hidden_size: int
    num_attention_heads: int
    intermediate_size: int


SIZES = {
    "base": Size(12, 768, 12, 3072),
    "small": Size(6, 768, 12, 3072),
    "tiny": Size(2, 32, 2, 64),
}
"""Those of klue/roberta-base and klue/roberta-small, and one to try the program with."""

PAIRS = {"klue": ("base", "small"), "base": ("base", "base"), "small": ("small", "small"), "tiny": ("tiny", "tiny")}
"""By name, the sizes of an embedding model and of a cross-encoder; the tutorial's first."""


class Models(NamedTuple):
    """Two models.

    Attributes:
        name: What both are called together.
        embedding: Folder or name of the embedding model.
        reranker: Likewise of the cross-encoder.
        random: Whether their weights are random.
    """

    name: str
    embedding: str | Path
    reranker: str | Path
    random: bool


def random_models(folder: Path, pair: str) -> Models:
    """Return an embedding model (mean pooling) and a cross-encoder, both with random weights.

    Args:
        folder: Where two folders are made, unless they are there already.
        pair: One of `PAIRS`.

    Raises:
        ImportError: PyTorch is not installed.
    """
    sizes = PAIRS[pair]
    name = f"klue/roberta-{' and -'.join(dict.fromkeys(sizes))} size, random weights"
    if not folder.exists():
        _write_models(folder, *(SIZES[size] for size in sizes))
    return Models(name, folder / "embedding", folder / "reranker", True)


def _write_models(folder: Path, embedding: Size, reranker: Size) -> None:
    import torch
    from transformers import RobertaConfig, RobertaForSequenceClassification, RobertaModel

    texts = [searchable_text(article) for article in sample_documents()]
    tokenizer = BertWordPieceTokenizer(lowercase=False, strip_accents=False)
    tokenizer.train_from_iterator(
        texts, vocab_size=ENTRIES, min_frequency=1, special_tokens=_SPECIAL, show_progress=False
    )
    pieces = tokenizer.get_vocab()
    vocabulary = "\n".join(sorted(pieces, key=pieces.__getitem__)) + "\n"
    torch.manual_seed(SEED)
    for path, architecture, size, labels in (
        (folder / "embedding", RobertaModel, embedding, {}),
        (folder / "reranker", RobertaForSequenceClassification, reranker, {"num_labels": 1}),
    ):
        architecture(RobertaConfig(**{**_CONFIG, **size._asdict(), **labels})).save_pretrained(path)
        (path / "vocab.txt").write_text(vocabulary, "utf-8")
        settings = {"do_lower_case": False, "model_max_length": 512, "tokenizer_class": "BertTokenizer"}
        (path / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    pooling = {"word_embedding_dimension": embedding.hidden_size, "pooling_mode_mean_tokens": True}
    (folder / "embedding" / "1_Pooling").mkdir()
    (folder / "embedding" / "1_Pooling" / "config.json").write_text(json.dumps(pooling), "utf-8")
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(_MODULES.items())
    ]
    (folder / "embedding" / "modules.json").write_text(json.dumps(modules), "utf-8")
