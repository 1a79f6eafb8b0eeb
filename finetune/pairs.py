"""Questions with a passage that answers each, as a model reads them: labelled, from titles, or cut out of passages."""

import json
import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

from langchain_core.documents import Document

from rag_app.data.questions import Question, RetrievalData, load_retrieval_data
from rag_app.data.unlabelled import askable, asks_questions, cut_out, without_title
from rag_app.documents import load_documents, searchable_text
from rag_app.durable_files import write_text
from rag_app.korean import Sentence, analyzer, bigrams, normalise
from rag_app.passages import Fits, split_documents


class Pair(NamedTuple):
    """A question and a passage that answers it.

    Attributes:
        query: The question, or what stands in for one.
        passage: As the model reads it: the title, if there is one, above the text.
        doc_id: The document that the passage is from.
        negatives: Passages that do not answer it, as the model reads them; see `finetune.negatives`.
    """

    query: str
    passage: str
    doc_id: str
    negatives: tuple[str, ...] = ()


class TrainingData(NamedTuple):
    """What was read to train on.

    Attributes:
        data: The passages and questions of all sources.
        unlabelled: Which of the sources ask no questions, so that titles stand in for them.
    """

    data: RetrievalData
    unlabelled: tuple[str, ...]


def load_training_data(sources: Sequence[str | Path], *, split: str = "train") -> TrainingData:
    """Return the passages and questions of several sources as one data set; equal passages count once.

    A source with questions (see `rag_app.data.unlabelled.asks_questions`) is read by
    `rag_app.data.load_retrieval_data`. So a folder of questions without the split asked for is an error, and never read
    as unlabelled text. Anything else that `rag_app.documents.load_documents` reads is articles: each title becomes a
    question, answered by its article *without* the title, lest it be read off the passage. An article without a title
    is a passage that nothing is asked about, and one that a labelled source brought keeps its title and gets no
    such question.

    Args:
        sources: Names, files or folders.
        split: Which part of the labelled sources that have parts.

    Raises:
        FileNotFoundError: There is nothing at a path, or not the split in a folder.
        ValueError: There is no source, or one is broken.
        ImportError: See `load_retrieval_data`, as for ConnectionError.
        ConnectionError: ``"klue"`` without a connection.
    """
    if not sources:
        raise ValueError("There is nothing to train on. Give a file, a folder, 'sample' or 'klue'")
    names = list(dict.fromkeys(map(str, sources)))
    unlabelled = tuple(name for name in names if not asks_questions(name))
    passages: dict[str, Document] = {}
    questions: list[Question] = []
    for name in names:
        if name not in unlabelled:
            labelled = load_retrieval_data(name, split=split)
            passages |= {id_: p for id_, p in labelled.passages.items() if id_ not in passages}
            questions += labelled.questions
    for name in unlabelled:
        for article in load_documents(name):
            passage = without_title(article)
            doc_id = str(passage.id)
            if passages.keys().isdisjoint((str(article.id), doc_id)):
                passages[doc_id] = passage
                questions += [_ask(title, doc_id)] if (title := article.metadata.get("title")) else []
    return TrainingData(RetrievalData(passages, _with_unique_ids(questions)), unlabelled)


def question_pairs(data: RetrievalData, *, fits: Fits | None = None) -> list[Pair]:
    """Return each question that has an answer with each passage that answers it, in the order of the questions.

    Of a passage that is split, the first part that holds an answer is taken, or the first part if none does; of a
    negative that the question's row brings, the part that shares most character bigrams with the question.

    Args:
        data: What to learn from. Passages that it names and does not hold are passed over.
        fits: See `rag_app.passages.split_documents`.
    """
    answered = [(q, doc_id) for q in data.questions for doc_id in sorted(q.relevant & data.passages.keys())]
    wrong = {q.id: [doc_id for doc_id in q.negatives if doc_id in data.passages] for q, _ in answered}
    needed = dict.fromkeys([doc_id for _, doc_id in answered] + [id_ for ids in wrong.values() for id_ in ids])
    windows: defaultdict[str, list[Document]] = defaultdict(list)
    for window in split_documents((data.passages[doc_id] for doc_id in needed), fits=fits):
        windows[window.metadata["doc_id"]].append(window)
    return [
        Pair(
            q.text,
            searchable_text(_answering(windows[doc_id], q.answers)),
            doc_id,
            tuple(searchable_text(_likest(windows[negative], q.text)) for negative in wrong[q.id]),
        )
        for q, doc_id in answered
    ]


def crop_pairs(
    passages: Iterable[Document], *, per_passage: int = 1, seed: int = 0, fits: Fits | None = None
) -> list[Pair]:
    """Return sentences as questions, each with the passage that it was cut out of.

    The inverse cloze task of Lee, Chang and Toutanova, "Latent Retrieval for Weakly Supervised Open Domain Question
    Answering", ACL 2019, with the sentence always left out. A passage keeps its title, if it has one.

    Args:
        passages: Long ones are split first, and each part counts as a passage. Those of fewer than three sentences
            give no pair.
        per_passage: At most this many different sentences of each passage, of 20 to 200 characters; 0 gives no pair.
        seed: Which sentences are drawn also depends on the passage's id, and on nothing else.
        fits: See `rag_app.passages.split_documents`.
    """
    if not per_passage:
        return []
    windows = list(split_documents(passages, fits=fits))
    sentences = analyzer().sentences_batch([window.page_content for window in windows])
    return [
        pair
        for window, found in zip(windows, sentences, strict=True)
        for pair in _crops(window, found, per_passage, seed)
    ]


def truncated(texts: Collection[str], fits: Fits) -> float:
    """Return the share of texts that a model does not read to their end; 0 of no texts."""
    return sum(not fits(text) for text in texts) / max(1, len(texts))


def write_pairs(path: Path, pairs: Iterable[Pair]) -> None:
    """Write pairs as JSON lines, the file complete or not at all."""
    write_text(path, "".join(json.dumps(pair._asdict(), ensure_ascii=False) + "\n" for pair in pairs))


def read_pairs(path: Path) -> list[Pair]:
    """Return what `write_pairs` wrote."""
    records = map(json.loads, path.read_text("utf-8").split("\n")[:-1])
    return [Pair(**{**record, "negatives": tuple(record["negatives"])}) for record in records]


def _ask(title: str, doc_id: str) -> Question:
    return Question(doc_id, title, frozenset({doc_id}), (), impossible=False, metadata={}, context_id=doc_id)


def _with_unique_ids(questions: Iterable[Question]) -> list[Question]:
    """Return the questions with a number behind an id that came up before."""
    unique: dict[str, Question] = {}
    for question in questions:
        ids = chain([question.id], (f"{question.id}#{number}" for number in count(2)))
        name = next(id_ for id_ in ids if id_ not in unique)
        unique[name] = question._replace(id=name)
    return list(unique.values())


def _answering(windows: Sequence[Document], answers: Collection[str]) -> Document:
    return next((w for w in windows if any(answer in w.page_content for answer in answers)), windows[0])


def _likest(windows: Sequence[Document], query: str) -> Document:
    asked = set(bigrams(query))
    return max(windows, key=lambda window: len(asked & set(bigrams(normalise(window.page_content)))))


def _crops(passage: Document, sentences: Sequence[Sentence], most: int, seed: int) -> Iterator[Pair]:
    candidates = askable(sentences)
    chance = random.Random(f"{seed} {passage.id}")  # noqa: S311
    for sentence in chance.sample(candidates, min(most, len(candidates))):
        left = passage.model_copy(update={"page_content": cut_out(passage.page_content, sentence)})
        yield Pair(sentence.text, searchable_text(left), passage.metadata["doc_id"])
