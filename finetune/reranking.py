"""What a reranker is trained on and measured by: what the search returns beside the right passage."""

import json
from argparse import Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from langchain_core.retrievers import BaseRetriever
from tqdm import tqdm

from finetune.gate import Verdict, judge
from finetune.measures import Measure
from finetune.negatives import mine_negatives
from finetune.pairs import Pair, question_pairs, read_pairs, write_pairs
from finetune.run import Run
from finetune.search_data import SearchData
from finetune.splits import draw
from finetune.tutorial import random_negative_pairs
from rag_app.compressors import load_reranker
from rag_app.data.questions import Question, RetrievalData
from rag_app.documents import searchable_text
from rag_app.embeddings import ModelEmbeddings, load_embeddings
from rag_app.index import build_index
from rag_app.models import resolve_model
from rag_app.retrieval import HybridRetriever, build_retriever

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

CHOOSING = 500
"""Held-out questions whose candidates one evaluation during training ranks at most."""
_BATCH = 256  # texts in one call of a tokenizer
_FOUND = "candidates.json"


class Candidates(NamedTuple):
    """What a search returned for a question.

    Attributes:
        query: The question.
        passages: As the model reads them, best first.
        relevant: Those of them that answer it.
    """

    query: str
    passages: list[str]
    relevant: list[str]


def find_candidates(retriever: BaseRetriever, questions: Sequence[Question]) -> list[Candidates]:
    """Return what a retriever, whose passages tell their ``doc_id``, returns for each question."""
    found = []
    for question in tqdm(questions, desc="search", unit="question"):
        passages = retriever.invoke(question.text)
        relevant = [passage for passage in passages if passage.metadata["doc_id"] in question.relevant]
        texts, right = ([searchable_text(passage) for passage in part] for part in (passages, relevant))
        found.append(Candidates(question.text, texts, right))
    return found


def separation_measure(data: RetrievalData, *, seed: int) -> Measure:
    """Return the tutorial's measure: do scores tell a question's context from a random one?

    See `finetune.tutorial.random_negative_pairs`. It says little about ranking, where the wrong passages are alike.
    """
    from sentence_transformers.cross_encoder.evaluation import CrossEncoderCorrelationEvaluator

    rows = random_negative_pairs(data, seed=seed)
    pairs, labels = [[row.query, row.passage] for row in rows], [row.label for row in rows]
    evaluator = CrossEncoderCorrelationEvaluator(pairs, labels, write_csv=False)
    names = {"pearson": "Pearson", "spearman": "Spearman"}
    return Measure(evaluator, names, "pearson", f"{len(rows):,} pairs, half of them random")


def ranking_measure(found: Sequence[Candidates]) -> Measure:
    """Return the measure of a reranker in training; see `finetune.ranking_evaluator`."""
    from finetune.ranking_evaluator import METRIC, RankingEvaluator

    return Measure(RankingEvaluator(found), {METRIC: "MRR@10"}, METRIC, f"{len(found):,} held-out questions")


def cut_share(model: "CrossEncoder", pairs: Sequence[Pair]) -> float:
    """Return the share of the questions that the model does not read to the end together with their right passage."""
    limit = model.max_seq_length
    if limit is None:
        return 0.0
    cut = 0
    for start in range(0, len(pairs), _BATCH):
        batch = pairs[start : start + _BATCH]
        queries, passages = [pair.query for pair in batch], [pair.passage for pair in batch]
        tokens = model.tokenizer(queries, passages, truncation=False, verbose=False)["input_ids"]
        cut += sum(len(ids) > limit for ids in tokens)
    return cut / max(1, len(pairs))


def tutorial_material(settings: Namespace, data: SearchData) -> tuple[list[Pair], Measure]:
    """Return each question with its context and a random one for its negative, and the tutorial's measure.

    Raises:
        ValueError: See `finetune.tutorial.random_negative_pairs`.
    """
    rows = random_negative_pairs(data.train, seed=settings.seed)
    pairs = [
        Pair(own.query, own.passage, "", (other.passage,)) for own, other in zip(rows[::2], rows[1::2], strict=True)
    ]
    return draw(pairs, settings.limit, seed=settings.seed), separation_measure(data.measured, seed=settings.seed)


def search_material(run: Run, data: SearchData) -> tuple[list[Pair], Measure]:
    """Return questions with the hard negatives that the search finds, and the measure over held-out questions.

    Both are searched for once, and read from the run's folder when it is resumed.

    Raises:
        OSError, ValueError, ImportError: The retriever cannot be loaded, or there is nothing to learn from.
    """
    settings = run.settings
    if not gate_questions(settings, data):
        raise ValueError("No question that is measured has an answer. Give other --validation data, or more --train")
    mined_path, found_path = run.checkpoints / "pairs.jsonl", run.checkpoints / _FOUND
    if not mined_path.exists():
        embeddings = load_retriever(settings)
        pairs = draw(question_pairs(data.train, fits=embeddings.fits), settings.limit, seed=settings.seed)
        held_out = draw(_answerable(data.held_out.questions, data), CHOOSING, seed=settings.seed)
        with TemporaryDirectory() as place:
            index = build_index(Path(place) / "index", data.train.passages.values(), embeddings, progress=True)
            retriever = HybridRetriever(index=index, k=settings.candidates)
            mined = mine_negatives(
                pairs, retriever, groups=data.groups, count=settings.negatives, margin=settings.margin
            )
            index.add(data.held_out.passages.values())
            found = find_candidates(retriever, held_out)
        if not found or not any(pair.negatives for pair in mined.pairs):
            raise ValueError(
                f"{', '.join(settings.train)}: of {len(pairs)} questions none has a wrong passage to learn from, or no "
                "question with an answer is held out. Give more data, or a smaller --margin"
            )
        run.note(mined=mined.shares())
        found_path.write_text(json.dumps(found, ensure_ascii=False), "utf-8")
        write_pairs(mined_path, mined.pairs)
    return read_pairs(mined_path), ranking_measure(held_out_candidates(run))


def held_out_candidates(run: Run) -> list[Candidates]:
    """Return what the search found for the held-out questions, once `search_material` has searched."""
    return [Candidates(*entry) for entry in json.loads((run.checkpoints / _FOUND).read_text("utf-8"))]


def load_retriever(settings: Namespace) -> ModelEmbeddings:
    """Load the embedding model of the search whose results are reranked.

    Raises:
        ImportError, OSError, ValueError: See `rag_app.embeddings.load_embeddings`.
    """
    static = resolve_model(settings.retriever).kind == "static"
    return load_embeddings(settings.retriever, device=None if static else settings.device)


def judge_reranker(settings: Namespace, data: SearchData, folder: Path) -> Verdict:
    """Search for the measured questions among all passages, as served, with and without the reranker in a folder."""
    questions = gate_questions(settings, data)
    with TemporaryDirectory() as place:
        index = build_index(Path(place) / "index", data.passages.values(), load_retriever(settings), progress=True)
        reranker = load_reranker(folder, top_n=None, device=settings.device)
        return judge(
            build_retriever(index, top_n=settings.candidates),
            build_retriever(index, compressor=reranker, k=settings.candidates),
            questions,
        )


def gate_questions(settings: Namespace, data: SearchData) -> list[Question]:
    """Return the questions that the gate asks: the measured ones with an answer, or a random part of them."""
    return draw(_answerable(data.measured.questions, data), settings.gate_questions, seed=settings.seed)


def _answerable(questions: Iterable[Question], data: SearchData) -> list[Question]:
    return [question for question in questions if question.relevant & data.passages.keys()]
