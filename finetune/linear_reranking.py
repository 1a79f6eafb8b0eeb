"""The linear reranker of `finetune.cross_encoder --model embedded`: no steps, no checkpoints, about a minute.

It adds up what `rag_app.reranking.matching` measures of a question and a passage and what the search thought of the
passage. The weights are fitted by `finetune.linear_fit` on what the search finds for the training questions. Besides
the gate there is cross-validation: for each fold of the questions, weights are fitted on the others. It shows what
validation data, often few, cannot, and what the scores have to be for the probability that a passage answers.
"""

import argparse
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from finetune.card import Score, markdown_table
from finetune.common import preparing, publish
from finetune.early_stop import learn_early_stop
from finetune.gate import Ranking, Verdict, hits, judge, reciprocal_ranks
from finetune.linear_candidates import QUESTIONS, Found, find_candidates, group_folds, question_weights
from finetune.linear_fit import Floats, cross_validate, fit_probability, fit_weights, pad_lists
from finetune.reranking import gate_questions, load_retriever
from finetune.run import REJECTED, Run
from finetune.search_data import SearchData, ask_otherwise, load_search_data
from rag_app.compressors import load_reranker
from rag_app.data.questions import Question
from rag_app.documents import searchable_text
from rag_app.embeddings import StaticEmbeddings, load_embeddings
from rag_app.index import build_index
from rag_app.passages import split_documents
from rag_app.reranking.early_stop import EarlyStop, write_early_stop
from rag_app.reranking.linear import write_linear_reranker
from rag_app.reranking.matching import FEATURES, Counts, Matcher, count_documents
from rag_app.retrieval import build_retriever
from rag_app.significance import compare

FIRST_STAGE = "first_stage"
"""What the weight of the search's score is called."""


class Fitted(NamedTuple):
    """A linear reranker, and how it does on questions that its weights were not fitted on.

    Attributes:
        weights: Of each feature and, last, of the score of the search, ``(len(FEATURES) + 1,)``.
        scale: What the weighted sum is multiplied with to be the log odds that a passage answers.
        bias: What is added to that.
        early_stop: The bound, of cross-validation; None if it would save little.
        verdicts: By source and column, of cross-validation.
    """

    weights: Floats
    scale: float
    bias: float
    early_stop: EarlyStop | None
    verdicts: dict[tuple[str, str], Verdict]


def fit_reranker(run: Run, parser: argparse.ArgumentParser, *, use: str) -> bool:
    """Fit, judge, and publish or reject; return whether it was published. An interruption leaves nothing behind.

    Args:
        run: Just begun.
        parser: Says what is wrong with model or data.
        use: The code of the card, with ``{folder}``.

    Raises:
        SystemExit: Model or data are wrong, or the run was interrupted.
    """
    settings, start = run.settings, perf_counter()
    with preparing(run, parser):
        # 1. Model and data
        embeddings = load_embeddings(settings.model)
        if not isinstance(embeddings, StaticEmbeddings):
            raise TypeError(f"{settings.model!r} is {type(embeddings).__name__}, wanted a static model")
        data = load_search_data(settings)
        run.check_data(data.record())
        asked = gate_sets(settings, data)

        # 2. What the search finds for the training questions
        windows = split_documents(data.train.passages.values())
        counts = count_documents(map(searchable_text, windows), embeddings.token_vectors)
        found = find_candidates(settings, data, Matcher(embeddings.token_vectors, counts))

        # 3. Fit
        fitted = fit(settings, data, found)
        run.note(seconds=perf_counter() - start, questions=len(found), leaked=data.leaked, **_numbers(fitted))

        # 4. Save, judge what was saved
        saved = run.save(lambda folder: _save(folder, run, fitted, counts))
        verdicts = judge_sets(settings, data, asked, saved)
        accepted = all(verdict.accepted for verdict in verdicts.values())
        run.note(gate={"accepted": accepted, **{what: verdict.record() for what, verdict in verdicts.items()}})
        run.note(scores=[score._asdict() for score in _scores(data, asked, verdicts, fitted)])
        run.note(card=_card(run, data, found, verdicts, fitted, use))

    # 5. Publish or reject
    published = accepted or bool(settings.no_gate)
    publish(run, subfolder="" if published else REJECTED)
    return published


def gate_sets(settings: Namespace, data: SearchData) -> dict[str, list[Question]]:
    """Return what the gate asks: the measured questions, and again as each column of --also-ask words them.

    Raises:
        ValueError: No question that is measured has an answer.
    """
    questions = gate_questions(settings, data)
    if not questions:
        raise ValueError("No question that is measured has an answer. Give other --validation data, or more --train")
    otherwise = {column: ask_otherwise(questions, [column]) for column in settings.also_ask or ()}
    return {QUESTIONS: questions, **{column: asked for column, asked in otherwise.items() if asked}}


def fit(settings: Namespace, data: SearchData, found: Sequence[Found]) -> Fitted:
    """Fit the weights to all questions, and by cross-validation measure them and fit the probability.

    Raises:
        ValueError: There is too little to learn from.
    """
    lists = pad_lists(
        [one.features for one in found],
        [one.relevant for one in found],
        question_weights([one.source for one in found], settings.balance),
    )
    folds = group_folds([one.question for one in found], data.groups, settings.folds, seed=settings.seed)
    unseen = cross_validate(lists, folds, ridge=settings.ridge)
    scale, bias = fit_probability(unseen, lists)
    logits = [scale * scores[: len(one.doc_ids)] + bias for one, scores in zip(found, unseen, strict=True)]
    weights, bound = fit_weights(lists, ridge=settings.ridge), learn_early_stop(logits)
    return Fitted(weights, scale, bias, bound, _compare_kinds(found, unseen))


def judge_sets(
    settings: Namespace, data: SearchData, asked: Mapping[str, Sequence[Question]], folder: Path
) -> dict[str, Verdict]:
    """Search for each set of questions among all passages, as served, with and without the reranker in a folder."""
    with TemporaryDirectory() as place:
        index = build_index(Path(place) / "index", data.passages.values(), load_retriever(settings))
        before = build_retriever(index, top_n=settings.candidates)
        after = build_retriever(index, compressor=load_reranker(folder, top_n=None), k=settings.candidates)
        return {what: judge(before, after, questions) for what, questions in asked.items()}


def _compare_kinds(found: Sequence[Found], scores: Floats) -> dict[tuple[str, str], Verdict]:
    """Return, by source and column, how these scores rank the candidates of its questions against the search."""
    verdicts = {}
    for kind in dict.fromkeys((one.source, one.column) for one in found):
        own = [
            (one, rank_candidates(one.doc_ids, one.features[:, -1]), rank_candidates(one.doc_ids, scores[place]))
            for place, one in enumerate(found)
            if (one.source, one.column) == kind and not one.question.impossible
        ]
        if own:
            right = [one.question.relevant for one, *_ in own]
            before, after = [ranking for _, ranking, _ in own], [ranking for _, _, ranking in own]
            verdicts[kind] = Verdict(
                compare(hits(before, right), hits(after, right)),
                compare(reciprocal_ranks(before, right), reciprocal_ranks(after, right)),
            )
    return verdicts


def rank_candidates(doc_ids: Sequence[str], scores: Floats) -> Ranking:
    """Return documents by their best passage, equal scores in the order of the candidates.

    Args:
        doc_ids: The document of each candidate.
        scores: Theirs, and whatever stands behind them.
    """
    order = np.argsort(-scores[: len(doc_ids)], kind="stable")
    return list(dict.fromkeys(doc_ids[place] for place in order))


def _save(folder: Path, run: Run, fitted: Fitted, counts: Counts) -> None:
    arguments = run.record["arguments"]
    write_linear_reranker(
        folder,
        weights=dict(zip(FEATURES, fitted.weights[:-1].tolist(), strict=True)),
        first_stage=float(fitted.weights[-1]),
        scale=fitted.scale,
        bias=fitted.bias,
        counts=counts,
        provenance={"program": run.record["program"], "train": arguments["train"], "record": "run.json"},
        model=arguments["model"],
    )
    if fitted.early_stop is not None:
        write_early_stop(folder, fitted.early_stop, program=run.record["program"], record="run.json")


def _numbers(fitted: Fitted) -> dict[str, Any]:
    return {
        "weights": dict(zip((*FEATURES, FIRST_STAGE), fitted.weights.tolist(), strict=True)),
        "scale": fitted.scale,
        "bias": fitted.bias,
        "early_stop": None if fitted.early_stop is None else fitted.early_stop._asdict(),
        "cross_validated": {_called(*kind): verdict.record() for kind, verdict in fitted.verdicts.items()},
    }


def _scores(
    data: SearchData, asked: Mapping[str, Sequence[Question]], verdicts: Mapping[str, Verdict], fitted: Fitted
) -> Iterator[Score]:
    for what, verdict in verdicts.items():
        yield from _rows(f"{len(asked[what]):,} {what}, {len(data.passages):,} passages", verdict)
    for (source, column), verdict in fitted.verdicts.items():
        count = verdict.hits.wins + verdict.hits.losses + verdict.hits.ties
        yield from _rows(f"cross-validation: {count:,} {_called(source, column)}", verdict)


def _rows(what: str, verdict: Verdict) -> Iterator[Score]:
    for name, comparison in verdict.names.items():
        yield Score(what, f"{name} (before: not reranked)", comparison.before, comparison.after)


def _card(
    run: Run,
    data: SearchData,
    found: Sequence[Found],
    verdicts: Mapping[str, Verdict],
    fitted: Fitted,
    use: str,
) -> dict[str, Any]:
    settings = run.settings
    return {
        "title": f"{run.output.name}: a Korean reranker",
        "library": "korean-rag",
        "front": ["pipeline_tag: text-ranking", "tags: [reranker, korean]"],
        "summary": "A weighted sum of how a passage matches a Korean question in bigrams, names and token vectors, and "
        "of what the hybrid search thought of it. It runs without PyTorch.",
        "notes": [*_explain(verdicts), _weight_table(fitted)],
        "data": [
            f"Training: {len(found):,} questions of {', '.join(settings.train)}"
            f"{_in_columns(settings.also_ask)} with the {settings.candidates} passages that the hybrid search with "
            f"{settings.retriever} found in the same source",
            *(f"{source} has no questions: its words were counted" for source in data.unlabelled),
            f"A source of n questions counts for n ** {1 - settings.balance:g}; ridge {settings.ridge:g}; "
            f"{settings.folds} folds of passages with the same title or text",
            f"Test: {', '.join(settings.validation or settings.train)}, {data.leaked:.1%} of the questions about "
            "passages that were trained on",
        ],
        "use": use.format(folder=run.output),
    }


def _explain(verdicts: Mapping[str, Verdict]) -> list[str]:
    lines = [
        f"{name} of {what}, not reranked and reranked: {comparison}"
        for what, verdict in verdicts.items()
        for name, comparison in verdict.names.items()
    ]
    refused = {what: verdict for what, verdict in verdicts.items() if not verdict.accepted}
    reasons = "; ".join(
        f"{what}: {'the order is not significantly better' if verdict.unharmed else 'the search alone ranks better'}"
        for what, verdict in refused.items()
    )
    return [*lines, f"Rejected by the gate. {reasons}." if refused else "Passed the gate."]


def _weight_table(fitted: Fitted) -> str:
    weights = zip((*FEATURES, FIRST_STAGE), fitted.weights.tolist(), strict=True)
    rows = [(f"`{name}`", f"{weight:.3f}") for name, weight in weights]
    return markdown_table(["feature", "weight"], rows, numbers=1)


def _in_columns(columns: Sequence[str] | None) -> str:
    return f", also as {', '.join(columns)} words them," if columns else ""


def _called(source: str, column: str) -> str:
    return f"{column} of {Path(source).name}"
