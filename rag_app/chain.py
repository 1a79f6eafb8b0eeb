"""A question and the conversation before it -> an answer with numbered sources, streamed."""

import re
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import convert_to_messages
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.runnables.utils import AddableDict

from rag_app.characters.visible import VisibleCharacters
from rag_app.citations import CitationFilter, Sources, best_quotes, mark_cited, number_sources
from rag_app.evidence import MIN_EVIDENCE, evidence_score
from rag_app.extractive import Extract, rank_sentences, select_sentences
from rag_app.history import asks_nothing, rewriter, standalone_by_rule
from rag_app.korean import normalise, normalise_question
from rag_app.merging import merge_passages
from rag_app.observability.traced_runnable import with_span
from rag_app.observability.tracing import span
from rag_app.prompts import REFUSAL, WORDINGS, answer_messages, is_refusal
from rag_app.stepwise import Assign, MessageText, State, Stepwise
from rag_app.untrusted.sinks import SinkFilter, addresses

__all__ = ["MIN_EVIDENCE", "REFUSAL", "Sources", "build_chain", "evidence_score"]


class Plan(NamedTuple):
    """What is decided before the first word of an answer.

    Attributes:
        sources: The documents in citation order.
        extracts: Sentences to quote, their ``document`` counting in ``sources``; None if a model writes the answer.
        refused: The evidence is too weak to answer.
        evidence: How likely the documents answer, by `evidence_score`.
    """

    sources: Sources
    extracts: list[Extract] | None
    refused: bool
    evidence: float = 0.0


def build_chain(
    retriever: BaseRetriever,
    *,
    embeddings: Embeddings,
    chat_model: BaseChatModel | None = None,
    max_sources: int = 5,
    min_evidence: float = MIN_EVIDENCE,
    lang: str = "ko",
) -> Runnable[State, State]:
    """Return the chain from ``{"question": str, "history": messages}`` to an answer with its sources.

    ``history`` may be left out; of a question the first `rag_app.korean.QUESTION_CHARS` characters are read. The output
    has ``question``, ``standalone_question``, ``documents``, ``evidence``, ``answer`` and ``refused``. Streamed, it
    comes as dictionaries that add up with ``+``: the standalone question, the documents together with the evidence, the
    answer in pieces, ``refused``. ``evidence`` is what `evidence_score` says of all that was found, 0 to 1; ``refused``
    is true where that is below ``min_evidence``, and where a chat model refuses. ``documents`` may come a second time,
    after the answer of a chat model, and then replaces the first: only then is it known what was cited. Each document
    is an article, its passages merged by `rag_app.merging.merge_passages`, with ``citation`` (the number in its markers
    ``[1]``), ``cited``, ``quote``, the ``start`` and ``end`` in its ``page_content`` of the best sentence, and
    ``quotes``, those of all sentences to highlight, in its metadata.

    What a chat model writes comes without links, images, HTML and calls of tools, and without addresses that are in
    none of the documents; see `rag_app.untrusted.sinks.without_sinks`. A quoted answer has the documents' own words:
    show it as text, as `rag_app.rendering.text.escape_markdown` does, wherever Markdown is rendered.

    Args:
        retriever: From `rag_app.retrieval.build_retriever`, or any other.
        embeddings: Chooses the sentences of an extractive answer.
        chat_model: Writes the answer and rewrites questions; None answers with quoted sentences.
        max_sources: The answer rests on at most this many articles.
        min_evidence: Refuse where `evidence_score` is below this; 0 never refuses when anything is found. Small talk
            has no evidence.
        lang: Language of the refusal and of the instructions to a chat model, ``"ko"`` or ``"en"``.

    Raises:
        ValueError: ``lang`` or ``max_sources`` is out of range; when run, the question is empty.
    """
    if lang not in WORDINGS:
        raise ValueError(f"lang is {lang!r}; there are {', '.join(WORDINGS)}")
    if max_sources < 1:
        raise ValueError(f"max_sources is {max_sources}; an answer needs at least 1")

    def plan(state: State) -> Plan:
        question, retrieved = state["standalone_question"], state["retrieved"]
        evidence = 0.0 if asks_nothing(question) else evidence_score(question, retrieved)
        refused = not retrieved or evidence < min_evidence
        documents = merge_passages(retrieved)[:max_sources]
        if chat_model is None and not refused:
            quoting = _extractive_plan(normalise_question(state["question"]), question, documents, embeddings)
            return quoting._replace(evidence=evidence)
        quotes = best_quotes(rank_sentences(question, documents))
        return Plan(number_sources(documents, quotes, cited=[]), None, refused, evidence)

    def noted(state: State) -> Plan:
        with span("plan") as traced:
            decided = plan(state)
            traced.note(sources=len(decided.sources), evidence=decided.evidence, refused=decided.refused)
        return decided

    def respond(state: State) -> Any:
        decided: Plan = state["plan"]
        if decided.refused:
            return WORDINGS[lang].refusal
        if chat_model is None:
            return RunnableLambda(itemgetter("plan")) | Stepwise(_Quotation)
        written: Runnable[Any, str] = (
            RunnableLambda(
                lambda _: answer_messages(
                    normalise_question(state["question"]), decided.sources, lang, searched=state["standalone_question"]
                )
            )
            | chat_model.with_config(tags=["answer"])
            | Stepwise(MessageText)
        )
        return (
            with_span(written, "generate", model=getattr(chat_model, "model_name", None))
            | Stepwise(VisibleCharacters)
            | Stepwise(lambda: CitationFilter(len(decided.sources)))
            | Stepwise(lambda: SinkFilter(addresses(_readable(state["question"], decided.sources)), lang))
        )

    by_rule = RunnableLambda[State, str](lambda state: standalone_by_rule(state["question"], state["history"]))
    standalone = by_rule if chat_model is None else rewriter(chat_model, lang)
    chain: Runnable[State, State] = (
        RunnableLambda(_checked)
        | Assign("standalone_question", standalone)
        | Assign("retrieved", RunnableLambda(itemgetter("standalone_question")) | retriever)
        | Assign("plan", RunnableLambda(noted))
        | Assign("answer", RunnableLambda(respond))
        | Stepwise(lambda: _Output(lang))
    )
    return with_span(chain.with_config(run_name="rag_answer"), "answer")


def _checked(state: State) -> State:
    if not isinstance(state, dict) or not normalise(str(state.get("question") or "")):
        raise ValueError(
            'The question is empty. Give {"question": "누리호는 언제 발사됐나요?"}, and "history" in a conversation'
        )
    return {"question": state["question"], "history": convert_to_messages(state.get("history") or [])}


def _readable(question: str, documents: Sequence[Document]) -> Iterator[str]:
    """Yield what may be repeated letter by letter in an answer, addresses as well."""
    yield question
    for document in documents:
        yield from (document.page_content, str(document.metadata.get("title") or ""))


def _extractive_plan(question: str, standalone: str, documents: Sequence[Document], embeddings: Embeddings) -> Plan:
    """Choose sentences, then number the documents in the order in which the sentences cite them."""
    ranked = rank_sentences(question, documents, embeddings, context="" if standalone == question else standalone)
    chosen = select_sentences(ranked)
    cited = list(dict.fromkeys(extract.document for extract in chosen))
    order = [*cited, *(place for place in range(len(documents)) if place not in cited)]
    moved = {place: new for new, place in enumerate(order)}
    quotes = best_quotes(rank_sentences(standalone, documents))
    quotes |= {place: [extract for extract in chosen if extract.document == place] for place in cited}
    quoted = {moved[place]: quote for place, quote in quotes.items()}
    sources = number_sources([documents[place] for place in order], quoted, cited=range(len(cited)))
    extracts = [extract._replace(document=moved[extract.document]) for extract in chosen]
    return Plan(sources, extracts, refused=not extracts)


class _Quotation:
    """Spells out a plan's sentences word by word, each quoted as it stands and cited."""

    def feed(self, plan: Plan) -> Iterator[str]:
        quoted = (f"“{extract.text}” [{extract.document + 1}]" for extract in plan.extracts or [])
        yield from re.findall(r"\s*\S+", "\n\n".join(quoted))

    def close(self) -> Iterable[str]:
        return ()


class _Output:
    """Lets through what belongs to the output, and adds what is known at the end."""

    def __init__(self, lang: str) -> None:
        self._lang = lang
        self._answer = ""
        self._plan: Plan | None = None

    def feed(self, chunk: State) -> Iterator[State]:
        for key in ("question", "standalone_question"):
            if key in chunk:
                yield AddableDict({key: chunk[key]})
        if "plan" in chunk:
            self._plan = chunk["plan"]
            yield AddableDict(documents=chunk["plan"].sources, evidence=chunk["plan"].evidence)
        if "answer" in chunk:
            self._answer += chunk["answer"]
            yield AddableDict(answer=chunk["answer"])

    def close(self) -> Iterator[State]:
        if self._plan is None:  # the stream failed before; its exception is on its way
            return
        written = self._plan.extracts is None and not self._plan.refused
        refused = self._plan.refused or (written and is_refusal(self._answer, self._lang))
        if written:
            yield AddableDict(documents=mark_cited(self._plan.sources, "" if refused else self._answer))
        yield AddableDict(refused=refused)
