"""What several systems found for one question: ranks, moves and times, and the way to the reasons of each."""

from collections.abc import Mapping, Sequence

import streamlit as st
from langchain_core.documents import Document

from rag_app.explaining.comparison import (
    KINDS,
    RERANKED,
    Answer,
    article_id,
    dropped,
    leading_articles,
    move,
    only_finders,
)
from rag_app.index import Index
from rag_app.page.compare.comparing import SHOWN, Comparison, System
from rag_app.page.compare.ranks_html import (
    dropped_html,
    place_html,
    ranks_table_html,
    slope_html,
    stage_seconds,
    times_html,
    title_of,
)
from rag_app.page.compare.why import show_why
from rag_app.page.words import rank_words, say
from rag_app.rendering.text import escape_markdown
from rag_app.settings import Settings

AGAIN = "compare again"
"""Where the session keeps how often it was measured again; see `rag_app.page.compare.comparing.compare`."""


def measure_again() -> None:
    """Have the same question compared anew."""
    st.session_state[AGAIN] = st.session_state.get(AGAIN, 0) + 1


def show_comparison(
    question: str,
    comparison: Comparison,
    systems: Sequence[tuple[System, Index]],
    names: Sequence[str],
    reranker: str | None,
    settings: Settings,
) -> None:
    """Show what several systems found for a question, and what each of them took.

    Args:
        question: As it was searched for.
        comparison: Of the systems.
        systems: Each with its index.
        names: Theirs, in few words.
        reranker: The name of the reranker.
        settings: Those of the page.
    """
    answers = comparison.answers
    articles = leading_articles(answers, SHOWN)
    if not articles:
        st.info(say("어느 방식도 기사를 찾지 못했습니다.", "No system found an article."))
        return
    only = only_finders(answers, SHOWN)
    st.markdown(_summary(answers, articles, only))
    right = _choose_right(articles)
    if right:
        st.markdown(_places_of(right, names, answers, max(settings.k, SHOWN)))
    st.html(slope_html(names, answers, articles, SHOWN, right))
    st.caption(
        say(
            f"초록 선은 다음 방식에서 오른 기사, 분홍 선은 내린 기사입니다. ＋는 {SHOWN}위 밖입니다.",
            f"Green lines rise from one system to the next, pink ones fall. + is below #{SHOWN}.",
        )
    )
    with st.expander(say("순위표", "Table of ranks")):
        st.html(ranks_table_html(names, answers, articles, right))
    st.caption(_how_measured(answers[0], settings))
    st.button(
        say("시간 다시 재기", "Measure again"), on_click=measure_again, icon=":material/refresh:", type="tertiary"
    )
    longest = max(max(stage_seconds(answer).values()) for answer in answers)
    for number, column in enumerate(st.columns(len(systems))):
        before = answers[number - 1] if number else None
        with column:
            st.subheader(escape_markdown(names[number]), anchor=False)
            st.html(times_html(answers[number], longest))
            _show_ranking(question, comparison, number, systems[number], only, right, reranker, settings)
            if before is not None:
                st.html(dropped_html(dropped(before, answers[number], SHOWN), max(settings.k, SHOWN)) or " ")


def _show_ranking(
    question: str,
    comparison: Comparison,
    number: int,
    asked: tuple[System, Index],
    only: Mapping[str, int],
    right: str,
    reranker: str | None,
    settings: Settings,
) -> None:
    system, index = asked
    before = comparison.answers[number - 1].ranks if number else {}
    for rank, document in enumerate(comparison.answers[number].articles[:SHOWN], 1):
        id_ = article_id(document)
        with st.container(border=True, gap="xsmall"):
            moved = move(before.get(id_), rank) if number else None
            quote = comparison.quotes.get(str(document.id), (0, 0))
            st.html(place_html(document, rank, moved, quote, only=id_ in only, right=id_ == right))
            label = say(f"왜 {rank}위인가요?", f"Why #{rank}?")
            if st.button(label, key=f"why {number} {rank}", type="tertiary", icon=":material/help:"):
                weights = KINDS[system.kind].weights
                name = reranker if system.kind == RERANKED else None
                show_why(document, question, index, settings, reranker=name, weights=weights)


def _choose_right(articles: Mapping[str, Document]) -> str:
    """Let the visitor name the article that was looked for; return its id, empty for none."""
    chosen = st.selectbox(
        say("찾던 기사 (고르면 순위를 강조합니다)", "The article you were looking for (its ranks are marked)"),
        list(articles),
        index=None,
        format_func=lambda id_: f"{title_of(articles[id_])} · {articles[id_].metadata.get('date', '')}".rstrip(" ·"),
        placeholder=say("기사 고르기", "Choose an article"),
    )
    return chosen or ""


def _places_of(right: str, names: Sequence[str], answers: Sequence[Answer], depth: int) -> str:
    places = []
    for name, answer in zip(names, answers, strict=True):
        rank = answer.ranks.get(right)
        place = say(f"{depth}위 밖", f"below #{depth}") if rank is None else rank_words(rank)
        places.append(f"{escape_markdown(name)} **{place}**")
    return say("찾던 기사: ", "The right article: ") + " → ".join(places)


def _summary(answers: Sequence[Answer], articles: Mapping[str, Document], only: Mapping[str, int]) -> str:
    leading = [{article_id(document) for document in answer.articles[:SHOWN]} for answer in answers]
    shared = len(set.intersection(*leading))
    first = len({article_id(answer.articles[0]) for answer in answers if answer.articles})
    same = say("1위는 모두 같습니다.", "All agree on the first.") if first == 1 else ""
    return say(
        f"상위 {SHOWN}건을 합치면 **{len(articles)}건**입니다. 모든 방식이 찾은 기사 **{shared}건**, "
        f"한 방식만 찾은 기사 **{len(only)}건**. {same}",
        f"The top {SHOWN} hold **{len(articles)}** articles in all: **{shared}** found by every system, "
        f"**{len(only)}** by one only. {same}",
    )


def _how_measured(answer: Answer, settings: Settings) -> str:
    k = max(settings.k, SHOWN)
    if not answer.runs:
        return say(
            f"단락 {k}개를 찾아 기사로 묶었습니다. 시간은 한 번 잰 값이고, 모델을 불러온 시간이 들어 있을 수 있습니다.",
            f"{k} passages each, grouped by article. Times are of a single run and may include loading a model.",
        )
    return say(
        f"단락 {k}개를 찾아 기사로 묶었습니다. 시간은 한 번 돌려 준비한 뒤 번갈아 {answer.runs}번 잰 중앙값입니다. "
        "재순위 점수는 매번 새로 계산했습니다.",
        f"{k} passages each, grouped by article. Times are medians of {answer.runs} runs by turns, after one that does "
        "not count; remembered reranking scores are forgotten before each.",
    )
