"""A whole article, opened at the sentences that an answer rests on."""

from pathlib import Path

import streamlit as st
from langchain_core.documents import Document

from rag_app.index import Index
from rag_app.page.problems import ERRORS, show_explained
from rag_app.page.words import language, say
from rag_app.rendering.sources import best_quote, headline, origin_html, quote_spans
from rag_app.rendering.text import escape_markdown
from rag_app.rendering.text_blocks import marked_blocks
from rag_app.whole_article import in_article, spans_in_article

_reader = st.components.v2.component(
    "article_reader", js=Path(__file__).with_name("article.js").read_text("utf-8"), isolate_styles=False
)


def open_article(source: Document, index: Index | None) -> None:
    """Open the whole article of a source beside the page, at the first sentence quoted from it.

    The article is read from the index now. If it has left the index since, the stored passage is shown, and why.
    Call it once in a run, where a button was pressed.

    Args:
        source: As `rag_app.chain` numbers it, or any passage of an index.
        index: Where it was found; None if that cannot be opened any more.
    """
    title = headline(source, language())
    st.dialog(escape_markdown(title), width="medium", position="right")(_show)(source, index)


def _show(source: Document, index: Index | None) -> None:
    spans = quote_spans(source)
    best = spans[best_quote(source)] if spans else (0, 0)
    try:
        article = _article(source, index)
    except (KeyError, *ERRORS) as error:
        article, stretches, quotes, first = source, [], spans, [best]
        if isinstance(error, ERRORS):
            show_explained(error)
        else:
            st.warning(
                say(
                    "이 기사는 이제 색인에 없습니다. 답할 때 쓴 단락만 남아 있어 그것을 보여 줍니다.",
                    "This article has left the index. What is kept, and shown here, is the passage that was used.",
                )
            )
        length = say(f"단락 {len(article.page_content):,}자", f"passage of {len(article.page_content):,} characters")
    else:
        stretches, quotes, first = (
            spans_in_article(source),
            in_article(source, spans),
            in_article(source, [best]),
        )
        length = say(f"전체 {len(article.page_content):,}자", f"{len(article.page_content):,} characters")
        if sum(end - start for start, end in stretches) >= len(article.page_content):
            stretches = []  # all of it: to mark that says nothing
    origin = origin_html(source.metadata, headline(source, language()), language())
    st.html(f'<div class="meta">{origin}{" · " if origin else ""}{length}</div>')
    _reader(
        key=f"article {source.id}",
        data={
            "article": f"{source.id} {quotes} {language().lang}",
            "blocks": marked_blocks(article.page_content, stretches, quotes),
            "first": quotes.index(first[0]) if first and first[0] in quotes else 0,
            "words": {
                "text": say("기사 전문", "The article"),
                "place": say("표시한 문장 {} / {}", "Marked sentence {} / {}"),
                "before": say("앞 문장으로", "Previous"),
                "after": say("다음 문장으로", "Next"),
            },
        },
    )


def _article(source: Document, index: Index | None) -> Document:
    if index is None:
        raise KeyError("There is no index")
    return index.article(str(source.metadata.get("doc_id")))
