"""Miniature models, built once per run: real files in the formats of the real ones, with random weights."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.reliability import (  # noqa: F401
    promised,
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_terminal_summary,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_SENTENCES = (
    "대한민국의 수도는 서울이고 국민은 한국어를 씁니다.",
    "국회는 내년 예산안을 의결했다.",
    "기상청은 주말에 비가 온다고 예보했다.",
    "프로야구 개막전이 잠실에서 열렸다.",
)
_CHARACTERS = sorted({character for sentence in _SENTENCES for character in sentence if character != " "})


@pytest.fixture
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command line speak English, with no settings but its defaults."""
    monkeypatch.setenv("LC_ALL", "en_US.UTF-8")
    for name in [name for name in os.environ if name.startswith("RAG_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def main_module() -> Iterator[None]:
    """Put back ``__main__``, which Streamlit's AppTest replaces: processes that are spawned later would run that."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A real browser; tests that need one are skipped where there is none."""
    pytest.importorskip("playwright", reason="playwright is not installed")
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        pytest.skip("there is no Chromium on the PATH")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    arguments += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        browser.close()


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


@pytest.fixture(scope="session")
def tiny_linear_reranker(tiny_static: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear reranker over the miniature static model: the share of bigrams counts, and the first stage twice."""
    from rag_app.models import load_static_model
    from rag_app.reranking.linear import write_linear_reranker
    from rag_app.reranking.matching import FEATURES, count_documents

    folder = tmp_path_factory.mktemp("linear-reranker")
    write_linear_reranker(
        folder,
        weights={**dict.fromkeys(FEATURES, 0.0), "bigrams_sentence": 1.0},
        first_stage=2.0,
        scale=0.5,
        bias=-1.0,
        counts=count_documents(_SENTENCES, load_static_model(tiny_static)),
        provenance={"data": "four sentences"},
        model=tiny_static,
    )
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


@pytest.fixture(scope="session")
def klue_sts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A json file like KLUE-STS's: 80 pairs, rated by whether both are of the same half of the sentences."""
    rows = []
    for number in range(80):
        first, second = number % 4, (number // 4) % 4
        rows.append(
            {
                "guid": f"klue-sts-v1_train_{number:05}",
                "source": "airbnb-rtt",
                "sentence1": _words(_SENTENCES[first], number),
                "sentence2": _words(_SENTENCES[second], number + 1),
                "labels": {"label": 4.2 if first // 2 == second // 2 else 0.5, "real-label": 4.2, "binary-label": 1},
            }
        )
    path = tmp_path_factory.mktemp("klue-sts") / "klue-sts-v1.1_train.json"
    path.write_text(json.dumps(rows, ensure_ascii=False), "utf-8")
    return path


@pytest.fixture(scope="session")
def klue_mrc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A json file like KLUE-MRC's: 24 articles with quotes in their titles and 2 questions each, 4 unanswerable."""
    articles = []
    for number in range(24):
        words = _words(" ".join(_SENTENCES), number, 12).split()
        context = f"{' '.join(words[:6])}. {' '.join(words[6:])}."
        questions = [
            {
                "question": f"{' '.join(words[which : which + 4])}?",
                "answers": [] if impossible else [{"text": words[4], "answer_start": context.index(words[4])}],
                "question_type": 3 if impossible else 1,
                "is_impossible": impossible,
                "guid": f"klue-mrc-v1_train_{number:05}_{which}",
            }
            for which, impossible in enumerate((False, number % 6 == 0))
        ]
        articles.append(
            {
                "title": f"\"서울\" {number}호, '국회' == \\{number}",
                "paragraphs": [{"context": context, "qas": questions}],
                "news_category": "정치",
                "source": "acrofan",
            }
        )
    path = tmp_path_factory.mktemp("klue-mrc") / "klue-mrc-v1.1_train.json"
    path.write_text(json.dumps({"version": "klue-mrc-v1.1", "data": articles}, ensure_ascii=False), "utf-8")
    return path


def _words(text: str, seed: int, count: int = 4) -> str:
    """Return some of the words of a text, in random order."""
    return " ".join(np.random.default_rng(seed).permutation(text.replace(".", "").split())[:count])
