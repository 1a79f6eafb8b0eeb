"""What a reader thought of an answer, and what a reviewer made of it.

Nothing here is training data before it is reviewed. A thumb says what a reader thought; which article is right is only
proposed by it, and only where that is plain: by a thumbs-up on an answer that cites exactly one article. A thumbs-up on
an answer out of several articles does not say which of them would have done, and one on a refusal names none. What is
shown besides is a candidate for a hard negative; see `rag_app.feedback.export`.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal, NamedTuple, get_args

from langchain_core.documents import Document

from rag_app.conversations.turn import Turn
from rag_app.extractive import rank_sentences
from rag_app.korean import normalise

Thumb = Literal["up", "down"]
Reason = Literal["", "articles", "answer", "incomplete", "other"]
State = Literal["new", "accepted", "rejected"]
STATES: tuple[State, ...] = get_args(State)


class Shown(NamedTuple):
    """A source as it was shown below an answer.

    Attributes:
        doc_id: Its article.
        rank: From 1.
        passage: The part of the article that was found.
        cited: The answer cites it.
    """

    doc_id: str
    rank: int
    passage: str
    cited: bool


@dataclass(frozen=True)
class Entry:
    """What somebody thought of one answer, and what a reviewer made of it.

    Attributes:
        turn: The id of the question and its answer.
        conversation: That they are of; empty if it is not known.
        question: As asked.
        searched: As searched for: a question that can be understood alone.
        thumb: ``up`` or ``down``.
        shown: The sources, best first.
        index: The folder of the index.
        models: Names by role: ``embeddings``, ``reranker``, ``chat``.
        created: When the thumb was given, ISO 8601 in UTC.
        reason: What was wrong.
        note: The same in the reader's own words.
        right: The doc_id of the article that answers the question; empty while nobody has said.
        answer: The sentence of that article that answers it; empty while nobody has said.
        wording: The question as the reviewer has put it; empty for the one that was searched for.
        negatives: The doc_ids that the reviewer says do not answer it; None while nobody has looked.
        state: ``new``, ``accepted`` or ``rejected``.
        reviewed: When, ISO 8601 in UTC; empty while it is new.
    """

    turn: str
    conversation: str
    question: str
    searched: str
    thumb: Thumb
    shown: tuple[Shown, ...]
    index: str
    models: dict[str, str]
    created: str
    reason: Reason = ""
    note: str = ""
    right: str = ""
    answer: str = ""
    wording: str = ""
    negatives: tuple[str, ...] | None = None
    state: State = "new"
    reviewed: str = ""

    @property
    def asks(self) -> str:
        """The question to train on, normalised."""
        return normalise(self.wording) or normalise(self.searched) or normalise(self.question)

    @property
    def doc_ids(self) -> tuple[str, ...]:
        """All articles it speaks of, each once."""
        wrong = self.negatives or ()
        return tuple(dict.fromkeys(id_ for id_ in (self.right, *(s.doc_id for s in self.shown), *wrong) if id_))


def rate(turn: Turn, thumb: Thumb, *, conversation: str = "", models: dict[str, str] | None = None) -> Entry:
    """Return what a thumb says of an answer.

    Args:
        turn: Its documents say which article they are of (``doc_id``) and whether they are cited (``cited``).
        thumb: ``up`` proposes the article that the answer cites, if it cites exactly one and is no refusal.
        conversation: The id of the turn's conversation.
        models: See `Entry`.
    """
    shown = tuple(
        Shown(str(d.metadata.get("doc_id", d.id)), rank, d.page_content, bool(d.metadata.get("cited")))
        for rank, d in enumerate(turn.documents, start=1)
    )
    cited = {source.doc_id for source in shown if source.cited}
    (right,) = cited if thumb == "up" and len(cited) == 1 and not turn.refused else [""]
    return Entry(
        turn=turn.id,
        conversation=conversation,
        question=turn.question,
        searched=turn.searched or turn.question,
        thumb=thumb,
        shown=shown,
        index=turn.index,
        models=dict(models or {}),
        created=_now(),
        right=right,
        answer=next((quoted_sentence(d) for d in turn.documents if d.metadata.get("doc_id") == right), ""),
    )


def choose_right(entry: Entry, doc_id: str, answer: str = "") -> Entry:
    """Return an entry with another right article; what a reviewer said of the one before no longer counts.

    Args:
        entry: Left as it is. One that has been accepted is new again.
        doc_id: Empty to take the choice back.
        answer: The sentence that answers the question.
    """
    if doc_id == entry.right:
        return entry
    return replace(entry, right=doc_id, answer=answer, negatives=None, state="new", reviewed="")


def decide(entry: Entry, state: State) -> Entry:
    """Return an entry with the reviewer's decision; ``new`` takes it back.

    Raises:
        ValueError: It is to be accepted, and lacks its question or the right article.
    """
    if state == "accepted" and not (entry.right and entry.asks):
        raise ValueError("Only a question with its right article can be accepted. Choose the article first.")
    return replace(entry, state=state, reviewed="" if state == "new" else _now())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def quoted_sentence(document: Document) -> str:
    """Return the sentence that an answer quotes of a document; empty if it quotes none."""
    quote = document.metadata.get("quote") or {"start": 0, "end": 0}
    return document.page_content[quote["start"] : quote["end"]].strip()


def answering_sentence(question: str, article: Document) -> str:
    """Return the sentence of an article that fits a question best, as a proposal; empty if none does."""
    best = rank_sentences(question, [article])[:1]
    return next((article.page_content[found.start : found.end].strip() for found in best), "")
