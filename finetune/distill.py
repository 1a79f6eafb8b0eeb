"""Build the embedded base model: static Korean vectors from Kiwi's morphemes, in model2vec format.

    python -m finetune.distill --output rag_app/data/embedded --train train_*.jsonl --validation validation.jsonl

`finetune.morpheme_space` recovers the vectors, `finetune.morpheme_tokens` makes the tokenizer; this writes both, int8
under one scale, with a card. Each choice was measured: LOG.md. Nothing here needs torch or a network.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from model2vec import StaticModel
from safetensors.numpy import save
from tqdm import tqdm

from finetune.card import markdown_table
from finetune.morpheme_space import DIMENSIONS, Floats, embed, find_space, load_kiwi, read_morphemes
from finetune.morpheme_tokens import PLAIN, PLAIN_WEIGHT, SIF, Token, build_tokenizer, spellings, to_tokens
from finetune.processes import refuse_processes
from rag_app.korean import normalise

Scores = dict[str, dict[str, float]]

PACKAGES = ("kiwipiepy", "kiwipiepy_model", "model2vec", "numpy", "tokenizers")

CARD = """---
language: ko
license: apache-2.0
library_name: model2vec
tags: [embeddings, static-embeddings, sentence-transformers, korean]
---

# Embedded Korean base model

Static Korean sentence embeddings in [model2vec](https://github.com/MinishLab/model2vec) format: 256 dimensions, int8,
no training. It runs with numpy and tokenizers alone, and is a base to train:
`sentence_transformers` loads it with `StaticEmbedding.from_model2vec(folder)`.

Built by `python -m finetune.distill`. Running it again with these arguments and versions on the same machine gives the
same bytes; across machines a value may round differently by one step of the int8 scale.

{origin}

## How it scores

The share of questions whose own passage comes first, or among the first ten, by cosine, over all distinct contexts of
the files above; ties count as misses. "titled" passages carry their article's title, `rtt_question` is a paraphrase.

{scores}

Choices were made on the training questions (`finetune/LOG.md`), which so flatter the model; the validation questions
only confirm them.

## Limits

It is a bag of morphemes: word order and negation are lost, and names that Kiwi does not know fall apart into syllables.
Latin letters and digits have random vectors; Hanja, Kana and other scripts are ignored.

## Notice

The vectors and the vocabulary are derived from Kiwi's language model, distributed as `kiwipiepy_model`, licensed under
the Apache License, Version 2.0 (https://www.apache.org/licenses/LICENSE-2.0). Changes: vectors recovered from
similarities, centred, whitened, normalised and quantised; spellings weighted and assembled into a tokenizer.

> Kiwi — Korean Intelligent Word Identifier. Copyright 2017-2026 Minchul Lee and the Kiwi contributors.
> This product includes software developed by Minchul Lee (bab2min@gmail.com) and the Kiwi contributors, licensed under
> the Apache License, Version 2.0. Its models were trained on the Sejong Corpus (21세기 세종계획 말뭉치) and the NIKL
> Corpora (모두의 말뭉치) of the National Institute of Korean Language (국립국어원); they do not contain, and cannot be
> used to reconstruct, the text of these corpora.
"""


def to_tensors(tokens: Sequence[Token], vectors: Floats) -> dict[str, npt.NDArray[Any]]:
    """Return model2vec's tensors: int8 ``embeddings`` under one scale, ``mapping`` and ``weights`` by token.

    Digits and Latin letters, of which Kiwi has no vectors, get random ones with a fixed seed.
    """
    rows = sorted({token.row for token in tokens})
    random = np.random.default_rng(0).standard_normal((len(PLAIN), DIMENSIONS))
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    table = np.vstack([vectors[rows], random])
    scale = np.abs(table).max() / 127
    place = {row: index for index, row in enumerate(rows)}
    mapping = [place[token.row] for token in tokens] + list(range(len(rows), len(table)))
    weights = np.array([token.weight for token in tokens] + [PLAIN_WEIGHT] * len(PLAIN))
    return {
        "embeddings": np.rint(table / scale).astype(np.int8),
        "mapping": np.array(mapping, dtype=np.int32),
        "weights": (weights * scale).astype(np.float32),
    }


def read_records(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the records of JSON lines files with ``title``, ``context`` and ``question``."""
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def evaluate(model: StaticModel, questions: Sequence[dict[str, Any]], passages: Sequence[dict[str, Any]]) -> Scores:
    """Return hit@1 and hit@10 of each kind of question over the distinct contexts; a tie counts as a miss."""
    titles = {normalise(record["context"]): normalise(record["title"]) for record in [*questions, *passages]}
    place = {context: index for index, context in enumerate(titles)}
    scores: Scores = {}
    for name, texts in {"": list(titles), " titled": [f"{title}\n{text}" for text, title in titles.items()]}.items():
        vectors = model.encode(texts)
        for field in ("question", "rtt_question"):
            asked = [record for record in questions if record.get(field)]
            if asked:
                found = model.encode([normalise(record[field]) for record in asked]) @ vectors.T
                gold = [place[normalise(record["context"])] for record in asked]
                rank = (found >= found[np.arange(len(gold)), gold][:, None]).sum(axis=1)
                scores[field + name] = {f"hit@{k}": round(float((rank <= k).mean()), 4) for k in (1, 10)}
    return scores


def write_model(folder: Path, tokens: Sequence[Token], vectors: Floats, provenance: dict[str, Any]) -> None:
    """Write ``model.safetensors``, ``tokenizer.json`` and ``config.json`` into an existing folder."""
    (folder / "model.safetensors").write_bytes(save(to_tensors(tokens, vectors)))  # save_file makes it private (0600)
    build_tokenizer(tokens).save(str(folder / "tokenizer.json"), pretty=False)
    write_config(folder, provenance)


def write_config(folder: Path, provenance: dict[str, Any]) -> None:
    """Write the model2vec configuration, with how the model came about beside it."""
    config = {
        "model_type": "model2vec",
        "architectures": ["StaticModel"],
        "hidden_dim": DIMENSIONS,
        "normalize": True,
        "max_length": None,  # model2vec's default would cut passages at 512 tokens
        "embedding_dtype": "int8",
        "sif_coefficient": SIF,
        "provenance": provenance,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def replace_folder(new: Path, output: Path) -> None:
    """Put a finished folder, made readable, in the place of ``output``; what stood there returns if that fails."""
    new.chmod(0o755)
    for file in new.iterdir():
        file.chmod(0o644)
    old = new.with_name(new.name + ".old")
    try:
        if output.exists():
            output.rename(old)
        new.rename(output)
    except BaseException:
        if old.exists() and not output.exists():
            old.rename(output)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_card(folder: Path, provenance: dict[str, Any]) -> None:
    """Write the model card, with the notice that Kiwi's licence asks to carry along."""
    origin = [("`--" + name + "`", value) for name, value in provenance["arguments"].items()]
    scores = [
        (split, kind, f"{score['hit@1']:.4f}", f"{score['hit@10']:.4f}")
        for split, kinds in provenance["scores"].items()
        for kind, score in kinds.items()
    ]
    card = CARD.format(
        origin=markdown_table(["argument or package", "value"], [*origin, *provenance["versions"].items()]),
        scores=markdown_table(["split", "questions", "hit@1", "hit@10"], scores) if scores else "Not measured.",
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    """Build the model and put it in the place of ``--output`` when it is complete."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--output", type=Path, required=True, help="folder to write; replaced when the model is complete"
    )
    parser.add_argument("--landmarks", type=int, default=320, help="morphemes to measure all others against (over 256)")
    parser.add_argument("--sample", type=int, default=16_384, help="morphemes that mean and covariance are taken from")
    records = "JSON lines with question, title and context; the model is not trained, only measured on them"
    parser.add_argument("--train", type=Path, nargs="+", default=[], help=records)
    parser.add_argument("--validation", type=Path, nargs="+", default=[], help="likewise; all contexts are searched")
    args = parser.parse_args(argv)
    refuse_processes(parser, "The embedded model is built")

    # 1. Kiwi's morphemes and the space of their vectors
    kiwi = load_kiwi()
    morphemes = read_morphemes(kiwi)
    space = find_space(kiwi, len(morphemes), args.landmarks, args.sample)

    # 2. Vocabulary and vectors
    tokens = to_tokens(spellings(kiwi, morphemes))
    vectors = embed(kiwi, tqdm(range(len(morphemes)), desc="morphemes", unit=""), space)

    args.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.output.parent, prefix=".distill-") as aside:
        # 3. Files, written aside
        folder = Path(aside) / args.output.name
        folder.mkdir()
        files = {"train": args.train, "validation": args.validation}
        provenance: dict[str, Any] = {
            "arguments": {"landmarks": args.landmarks, "sample": args.sample}
            | {split: " ".join(path.name for path in paths) for split, paths in files.items()},
            "versions": {name: version(name) for name in PACKAGES},
            "scores": {},
        }
        write_model(folder, tokens, vectors, provenance)

        # 4. Evaluation, of the files as they are
        splits = {split: read_records(paths) for split, paths in files.items() if paths}
        model = StaticModel.from_pretrained(folder)
        everything = [record for split in splits.values() for record in split]
        provenance["scores"] = {split: evaluate(model, asked, everything) for split, asked in splits.items()}
        write_config(folder, provenance)
        write_card(folder, provenance)

        # 5. Into place
        replace_folder(folder, args.output)
    print(json.dumps(provenance["scores"], indent=2))


if __name__ == "__main__":
    main()
