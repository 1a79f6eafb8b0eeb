"""What the search programs train, choose and measure on."""

from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.documents import Document

from finetune.common import data_record, has_validation
from finetune.groups import group_passages
from finetune.pairs import load_training_data
from finetune.splits import hold_out
from rag_app.data.questions import Question, RetrievalData, load_retrieval_data
from rag_app.korean import normalise

_NOTHING = RetrievalData({}, [])


class SearchData(NamedTuple):
    """Questions and passages in three parts; the first two share no title and no text.

    Articles without questions are the exception: they are the corpus that will be searched, so the text of all of them
    is trained on, and only titles are held out.

    Attributes:
        train: To train on.
        held_out: To choose the checkpoint by; without questions where nothing is held out.
        test: To measure on before and after; without questions where there is no validation data.
        groups: By doc_id of all passages, those of one title together; see `finetune.groups.group_passages`.
        repeats: Likewise, but only passages of nearly the same text together.
        unlabelled: The training sources without questions, in whose place titles stand.
        leaked: Share of the test questions whose passage is trained on, or repeats one that is.
    """

    train: RetrievalData
    held_out: RetrievalData
    test: RetrievalData
    groups: Mapping[str, int]
    repeats: Mapping[str, int]
    unlabelled: tuple[str, ...]
    leaked: float

    @property
    def measured(self) -> RetrievalData:
        """What is measured before and after: the test part, or the held-out one where there is none."""
        return self.test if self.test.questions else self.held_out

    @property
    def passages(self) -> dict[str, Document]:
        """All passages; one that is in several parts is as the test part has it, with its title."""
        return {**self.train.passages, **self.held_out.passages, **self.test.passages}

    def record(self) -> dict[str, Any]:
        """Return what ``run.json`` keeps of the data."""
        return {
            name: data_record(_told(question) for question in part.questions)
            | {
                "passages": data_record(
                    [id_, part.passages[id_].metadata.get("title")] for id_ in sorted(part.passages)
                )
            }
            for name, part in (("train", self.train), ("held out", self.held_out), ("test", self.test))
        }


def load_search_data(settings: Namespace) -> SearchData:
    """Return what ``--train`` and ``--validation`` name; without validation data a tenth is held out at least.

    Raises:
        OSError, ValueError, ImportError: See `finetune.pairs.load_training_data`.
    """
    train = load_training_data(settings.train, split="train")
    # Titles and articles have no splits, and neither has a single file.
    sources = settings.validation or [
        source
        for source in settings.train
        if source not in train.unlabelled and has_validation(source, load_retrieval_data)
    ]
    test = load_training_data(sources, split="validation").data if sources else _NOTHING
    passages = {**test.passages, **train.data.passages}
    groups, repeats = group_passages(passages), group_passages(passages, titles=False)
    share = settings.validation_share or (0.0 if test.questions else 0.1)
    kept, held_out = train.data._replace(questions=without_answers(train.data.questions, repeats)), _NOTHING
    if share:
        kept, held_out = hold_out(kept, share, groups=groups, seed=settings.seed)
        if len(train.unlabelled) == len(set(settings.train)):  # the corpus to search: only held-out titles stay unseen
            kept = kept._replace(passages={**kept.passages, **held_out.passages})
    asked = [question for question in test.questions if question.relevant]
    trained = {repeats.get(doc_id) for question in kept.questions for doc_id in question.relevant}
    leaked = sum(any(repeats.get(doc_id) in trained for doc_id in question.relevant) for question in asked)
    return SearchData(kept, held_out, test, groups, repeats, train.unlabelled, leaked / len(asked) if asked else 0.0)


def without_answers(questions: Sequence[Question], repeats: Mapping[str, int]) -> list[Question]:
    """Return the questions without those of their negatives that answer the same question, or repeat what does.

    Args:
        questions: Those of the same text may be in several rows.
        repeats: See `SearchData`; negatives that are not in it are left out too.
    """
    answers: defaultdict[str, set[int]] = defaultdict(set)
    for question in questions:
        answers[question.text] |= {repeats[doc_id] for doc_id in question.relevant & repeats.keys()}
    return [
        question._replace(
            negatives=tuple(
                doc_id
                for doc_id in question.negatives
                if doc_id in repeats and repeats[doc_id] not in answers[question.text]
            )
        )
        for question in questions
    ]


def ask_otherwise(questions: Iterable[Question], columns: Iterable[str]) -> list[Question]:
    """Return the questions as other columns of their rows ask them, where those hold a text."""
    return [
        question._replace(id=f"{question.id} ({column})", text=text)
        for column in columns
        for question in questions
        if (text := normalise(str(question.metadata.get(column) or "")))
    ]


def _told(question: Question) -> list[Any]:
    own = [question.negatives] if question.negatives else []  # of data without any the record stays as it was
    return [question.id, question.text, sorted(question.relevant), question.answers, *own]
