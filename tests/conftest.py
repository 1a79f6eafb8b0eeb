"""Miniature models, built once per run: real files in the formats of the real ones, with random weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

_SENTENCES = (
    "대한민국의 수도는 서울이고 국민은 한국어를 씁니다.",
    "국회는 내년 예산안을 의결했다.",
    "기상청은 주말에 비가 온다고 예보했다.",
    "프로야구 개막전이 잠실에서 열렸다.",
)
_CHARACTERS = sorted({character for sentence in _SENTENCES for character in sentence if character != " "})


@pytest.fixture(scope="session")
def sentences() -> tuple[str, ...]:
    """Four unrelated texts; the miniature models know their characters and no others."""
    return _SENTENCES


@pytest.fixture(scope="session")
def tiny_static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A static model in model2vec's format: one vector of 16 dimensions per character."""
    from model2vec import StaticModel
    from tokenizers import Tokenizer
    from tokenizers.models import Unigram
    from tokenizers.pre_tokenizers import Whitespace

    pieces = [("[UNK]", 0.0), *((character, -float(rank)) for rank, character in enumerate(_CHARACTERS, 1))]
    tokenizer = Tokenizer(Unigram(pieces, unk_id=0))
    tokenizer.pre_tokenizer = Whitespace()
    vectors = np.random.default_rng(1).normal(size=(len(pieces), 16)).astype(np.float32)
    folder = tmp_path_factory.mktemp("static")
    StaticModel(vectors, tokenizer, max_length=8).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature klue/roberta-base: RoBERTa with one token type and 514 positions, and a WordPiece vocabulary."""
    from transformers import RobertaModel

    folder = tmp_path_factory.mktemp("transformer")
    RobertaModel(_roberta_config()).save_pretrained(folder)
    _save_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_sentence_transformer(tiny_transformer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature transformer with mean pooling, as sentence-transformers saves it, and a prompt for questions."""
    from sentence_transformers import SentenceTransformer

    folder = tmp_path_factory.mktemp("sentence-transformer")
    SentenceTransformer(str(tiny_transformer), device="cpu", prompts={"query": "국회 "}).save(str(folder))
    return folder


@pytest.fixture(scope="session")
def tiny_cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature reranker as transformers saves it, with the untrained opinions of its random weights."""
    from transformers import RobertaForSequenceClassification

    model = RobertaForSequenceClassification(_roberta_config(num_labels=1))
    folder = tmp_path_factory.mktemp("cross-encoder")
    model.save_pretrained(folder)
    _save_tokenizer(folder)
    return folder


def _roberta_config(**settings: Any) -> Any:
    import torch
    from transformers import RobertaConfig

    torch.set_num_threads(1)  # miniature products take longer to hand out than to compute
    torch.manual_seed(1)
    return RobertaConfig(
        vocab_size=2 * len(_CHARACTERS) + 5,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=514,
        type_vocab_size=1,
        pad_token_id=1,
        initializer_range=0.5,
        **settings,
    )


def _save_tokenizer(folder: Path) -> None:
    """Save a tokenizer like klue's; config.json names its class, as klue's does."""
    special = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"]
    vocabulary = [*special, *_CHARACTERS, *("##" + character for character in _CHARACTERS)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False, "model_max_length": 1000}))
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "tokenizer_class": "BertTokenizer"}))
