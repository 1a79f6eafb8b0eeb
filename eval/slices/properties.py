"""What sets questions apart: their type, what they ask for, how much of their wording the passage has."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from math import inf

import numpy as np
from langchain_core.documents import Document

from eval.protocols import Benchmark
from eval.slices.asked_for import asked_for
from rag_app.data.questions import Question
from rag_app.documents import searchable_text
from rag_app.extractive import QUESTION_WORDS
from rag_app.files.tables import USUAL_NAMES
from rag_app.korean import analyzer, normalise

FEWEST = 10
"""Of fewer questions than this a score says nothing."""

QUESTION_TYPES = {"1": "paraphrased", "2": "several sentences", "3": "no answer"}
"""What KLUE-MRC's ``question_type`` means (Park et al., "KLUE: Korean Language Understanding Evaluation", 2021)."""

_SHARES = {"under half": 0.5, "half to four fifths": 0.8, "four fifths or more": inf}  # each below this end

Groups = dict[str, list[str]]
"""By name, the ids of the questions that go by it."""


def slice_questions(benchmark: Benchmark) -> list[tuple[str, str, list[str]]]:
    """Return kind, name and question ids of each slice of the answerable questions.

    A slice of fewer than `FEWEST` questions is left out, and so is a kind of which then fewer than two slices are
    left. What concerns the passage is taken from the first by doc_id that answers the question.
    """
    passages = _relevant_passages(benchmark)
    found = []
    for kind, divide in _KINDS.items():
        groups = {name: ids for name, ids in divide(benchmark.questions, passages).items() if len(ids) >= FEWEST}
        if len(groups) > 1:
            found += [(kind, name, ids) for name, ids in groups.items()]
    return found


def _relevant_passages(benchmark: Benchmark) -> dict[str, Document]:
    """Return by question id a passage that answers; none where the corpus lacks it."""
    corpus = {document.metadata["doc_id"]: document for document in benchmark.corpus}
    found = {question.id: sorted(question.relevant & corpus.keys()) for question in benchmark.questions}
    return {id_: corpus[doc_ids[0]] for id_, doc_ids in found.items() if doc_ids}


def _by_name(names: Iterable[tuple[str, str]]) -> Groups:
    """Group pairs of question id and name, the largest group first; an empty name is none."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for id_, name in names:
        if name:
            groups[name].append(id_)
    return dict(sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])))


def _by_question_type(questions: Sequence[Question], passages: Mapping[str, Document]) -> Groups:
    types = ((question.id, str(question.metadata.get("question_type") or "")) for question in questions)
    return _by_name((id_, QUESTION_TYPES.get(type_, type_)) for id_, type_ in types)


def _by_style(questions: Sequence[Question], passages: Mapping[str, Document]) -> Groups:
    return _by_name((question.id, str(question.metadata.get("style") or "")) for question in questions)


def _by_section(questions: Sequence[Question], passages: Mapping[str, Document]) -> Groups:
    return _by_name((question.id, _section(question, passages.get(question.id))) for question in questions)


def _section(question: Question, passage: Document | None) -> str:
    columns = {name.lower(): value for name, value in question.metadata.items()}
    found = (columns[name] for name in USUAL_NAMES["section"] if columns.get(name))
    return str(next(found, passage.metadata.get("section") if passage else None) or "")


def _by_what_is_asked(questions: Sequence[Question], passages: Mapping[str, Document]) -> Groups:
    return _by_name((question.id, asked_for(question.text)) for question in questions)


def _by_question_length(questions: Sequence[Question], passages: Mapping[str, Document]) -> Groups:
    return _quarters({question.id: len(question.text) for question in questions})


def _by_passage_length(questions: Sequence[Question], passages: Mapping[str, Document]) -> Groups:
    return _quarters({id_: len(passage.page_content) for id_, passage in passages.items()})


def _by_shared_words(questions: Sequence[Question], passages: Mapping[str, Document]) -> Groups:
    """Group by the share of a question's content morphemes that stand in the passage or its title."""
    unique = {passage.metadata["doc_id"]: normalise(searchable_text(passage)) for passage in passages.values()}
    words = dict(zip(unique, map(set, analyzer().morphemes_batch(list(unique.values()))), strict=True))
    groups: Groups = {name: [] for name in _SHARES}
    asked = analyzer().morphemes_batch([question.text for question in questions])
    for question, morphemes in zip(questions, asked, strict=True):
        if (wanted := set(morphemes) - QUESTION_WORDS) and question.id in passages:
            share = len(wanted & words[passages[question.id].metadata["doc_id"]]) / len(wanted)
            groups[next(name for name, end in _SHARES.items() if share < end)].append(question.id)
    return groups


_KINDS: dict[str, Callable[[Sequence[Question], Mapping[str, Document]], Groups]] = {
    "question type": _by_question_type,
    "style": _by_style,
    "section": _by_section,
    "asked for": _by_what_is_asked,
    "words shared with the passage": _by_shared_words,
    "passage length": _by_passage_length,
    "question length": _by_question_length,
}


def _quarters(lengths: Mapping[str, int]) -> Groups:
    """Group question ids by quartiles, named by the lengths between which they lie."""
    if not lengths:
        return {}
    quartiles = np.percentile(list(lengths.values()), (25, 50, 75), method="lower")
    bounds = sorted({int(bound) for bound in quartiles})
    names = [
        f"up to {bounds[0]:,} characters",
        *(f"{low + 1:,} to {high:,} characters" for low, high in pairwise(bounds)),
        f"over {bounds[-1]:,} characters",
    ]
    groups: Groups = {name: [] for name in names}
    for id_, length in lengths.items():
        groups[names[bisect_left(bounds, length)]].append(id_)
    return groups
