"""Why this article: what each stage of the search saw in a passage, in a dialog."""

from collections.abc import Mapping
from typing import Literal

import streamlit as st
from langchain_core.documents import Document

from rag_app.compressors import load_reranker
from rag_app.explaining.explanation import Explanation, FusionMatch, RerankMatch, explain_match
from rag_app.explaining.word_matches import find_spans
from rag_app.filters import Filter
from rag_app.fusion import PIVOT
from rag_app.index import Index
from rag_app.models import serving_backend
from rag_app.page.compare.ranks_html import details_of, title_of
from rag_app.page.compare.why_html import (
    fusion_html,
    marked_html,
    ranks_html,
    rerank_html,
    sentences_html,
    words_html,
)
from rag_app.page.problems import ERRORS, show_explained
from rag_app.page.words import say
from rag_app.rendering.text import escape_markdown
from rag_app.retrieval import WEIGHTS
from rag_app.settings import Settings

AS_SET = "as set"
"""Instead of a reranker's name: that of the settings."""


def show_why(
    document: Document,
    question: str,
    index: Index,
    settings: Settings,
    *,
    reranker: str | Literal["as set"] | None = AS_SET,
    weights: Mapping[str, float] = WEIGHTS,
    filter: Filter | None = None,
) -> None:
    """Open the dialog that explains why a passage was found; see `rag_app.explaining.explanation.explain_match`.

    Call it once in a run, where a button was pressed.

    Args:
        document: As it was found, or merged.
        question: As it was searched for.
        index: Where it was found.
        settings: Those of the page.
        reranker: The name of the one that was used; None for none.
        weights: Those of the search.
        filter: Which passages were searched.
    """
    name = settings.reranker if reranker == AS_SET else reranker

    @st.dialog(say("왜 이 기사인가", "Why this article"), width="large")
    def dialog() -> None:
        try:
            model = None
            if name is not None and "rerank" in document.metadata.get("stages", {}):
                model = load_reranker(
                    name, top_n=None, backend=serving_backend(name, settings.backend, role="reranker")
                )
            explanation = explain_match(question, document, index, reranker=model, weights=weights, filter=filter)
        except ERRORS as error:
            show_explained(error)
            return
        _show(question, document, explanation, index)

    dialog()


def _show(question: str, document: Document, explanation: Explanation, index: Index) -> None:
    st.caption(f"{say('질문', 'Question')}: {escape_markdown(question)}")
    st.markdown(f"**{escape_markdown(title_of(document))}**  \n{escape_markdown(details_of(document))}")
    st.html(ranks_html(explanation) or " ")
    _show_words(explanation, index)
    if explanation.dense.sentences:
        text = explanation.passage.page_content
        near = [((one.start, one.end), one.cosine) for one in explanation.dense.sentences]
        _section(say("뜻이 가까운 문장", "Sentences nearest in meaning"), sentences_html(text, near))
        st.caption(_dense_words(explanation))
    if explanation.fusion is not None:
        title = say("합산: 낱말과 뜻을 더하기", "Fusion: words and meaning together")
        _section(title, fusion_html(explanation.fusion))
        st.caption(_fusion_words(explanation.fusion))
    if explanation.rerank is not None:
        _show_rerank(explanation.rerank, document)
    elif "rerank" in explanation.ranks:
        st.caption(say("재순위 모델은 이 단락까지 읽지 않았습니다.", "The reranker stopped before this passage."))


def _section(title: str, html: str) -> None:
    st.html(f'<h3 class="part">{title}</h3>{html}')


def _show_words(explanation: Explanation, index: Index) -> None:
    lexical, passage = explanation.lexical, explanation.passage
    title = say("질문의 말이 기사에 있는가", "Words of the question in the article")
    _section(title, words_html(lexical.words, explanation.dense.words))
    if lexical.coverage is None:
        st.caption(
            say(
                "이 방식은 낱말을 보지 않습니다. 낱말로 찾았다면 이만큼입니다.",
                "This system does not look at words. This is what they would have counted.",
            )
            if lexical.score
            else say("질문의 낱말이 하나도 없습니다.", "It has no word of the question.")
        )
    else:
        st.caption(
            say(
                f"BM25 {lexical.score:.1f}점은 이 질문이 받을 수 있는 최고점의 {lexical.coverage:.0%}입니다. "
                "드문 말일수록 점수가 큽니다.",
                f"BM25 {lexical.score:.1f} is {lexical.coverage:.0%} of the most this question can reach. "
                "Rare words count more.",
            )
        )
    morphemes = index.snapshot.lexical.analyses["morphemes"]
    texts = (title_of(passage), passage.page_content)
    title, text = (marked_html(text, find_spans(text, lexical.matched, morphemes)) for text in texts)
    st.html(f'<div class="passage why" lang="ko"><div class="heading">{title}</div>{text}</div>')
    st.html(
        f'<div class="meta"><mark>{say("형태소", "morpheme")}</mark> '
        f"{say('질문과 같은 형태소', 'the same morpheme')} · <u>{say('글자쌍', 'letters')}</u> "
        f"{say('두 글자씩만 같은 곳', 'only pairs of letters are the same')}</div>"
    )


def _dense_words(explanation: Explanation) -> str:
    dense = explanation.dense
    if dense.cosine is None:
        return say("이 방식은 뜻(벡터)을 보지 않습니다.", "This system does not look at the meaning.")
    return say(
        f"질문과 단락 전체의 코사인은 {dense.cosine:.3f}입니다. 위는 문장마다 따로 잰 값입니다.",
        f"The cosine of question and whole passage is {dense.cosine:.3f}. Those above are of each sentence alone.",
    )


def _fusion_words(fusion: FusionMatch) -> str:
    told = []
    if len(fusion.parts) == 1:
        [part] = fusion.parts
        only = say("낱말", "words") if part.name == "lexical" else say("뜻", "meaning")
        told.append(say(f"이 검색에는 {only} 점수만 쓰였습니다.", f"Only {only} counted in this search."))
    elif fusion.derived:
        told.append(
            say(
                "찾은 범위나 색인이 지금과 달라, 비중은 점수에서 거꾸로 구했습니다.",
                "The search had another scope or version of the index: the shares are computed back from the score.",
            )
        )
    elif fusion.best_coverage is not None and fusion.best_coverage < PIVOT:
        told.append(
            say(
                f"가장 잘 맞는 기사도 낱말이 {fusion.best_coverage:.0%}만 맞아, 뜻의 비중을 높였습니다.",
                f"Even the best match reaches only {fusion.best_coverage:.0%} of the words, so meaning counts more.",
            )
        )
    else:
        words, meaning = (f"{part.weight:.0%}" for part in fusion.parts)
        told.append(
            say(
                f"낱말이 충분히 맞아 정해진 비중(낱말 {words}, 뜻 {meaning})을 그대로 썼습니다.",
                f"Words match well enough, so the usual shares hold: words {words}, meaning {meaning}.",
            )
        )
    if fusion.timely:
        days = escape_markdown(", ".join(fusion.dates))
        told.append(
            say(
                f"질문의 때({days})에 나온 기사라 점수를 더했습니다.",
                f"It appeared at the time asked for ({days}), which adds to the score.",
            )
        )
    return " ".join(told)


def _show_rerank(rerank: RerankMatch, document: Document) -> None:
    title = say("재순위: 질문과 단락을 함께 읽기", "Reranking: question and passage read together")
    if rerank.parts:
        _section(title, rerank_html(rerank))
        st.caption(
            say(
                f"재순위 점수 {rerank.score:.3f} = sigmoid({rerank.scale:.3f} × {rerank.logit:.2f} − "
                f"{-rerank.bias:.2f}). 막대가 오른쪽이면 점수를 올리고 왼쪽이면 내립니다. 비슷한 것을 재는 항목들은 "
                "서로 겹치는 만큼을 덜어 내므로, 말이 맞는데도 왼쪽일 수 있습니다.",
                f"The score {rerank.score:.3f} = sigmoid({rerank.scale:.3f} × {rerank.logit:.2f} − "
                f"{-rerank.bias:.2f}). Bars to the right lift it, to the left lower it. Where parts measure much the "
                "same, one takes back what the others count twice, so even a match can point to the left.",
            )
        )
        return
    _section(title, "")
    read = say("단락을 끝까지 읽었습니다.", "It has read the whole passage.")
    if rerank.windows is not None:
        read = say("단락이 길어 아래 부분만 읽었습니다.", "The passage is long: it has read only these parts.")
    st.markdown(
        say(
            f"점수 **{rerank.score:.3f}** (로짓 {rerank.logit:.2f}). 신경망이라 항목별로 나눌 수 없습니다. {read}",
            f"Score **{rerank.score:.3f}** (logit {rerank.logit:.2f}). A neural network, which cannot be taken apart. "
            + read,
        )
    )
    if rerank.windows is not None:
        parts = " … ".join(document.page_content[start:end] for start, end in rerank.windows)
        st.markdown(escape_markdown(parts))
