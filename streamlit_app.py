"""The page: a chat in Korean over the articles of an index, with sources one can check.

    RAG_INDEX=.index streamlit run streamlit_app.py

It starts from the same ``RAG_*`` settings as ``rag-app``; see `rag_app.settings`. What a document or a chat model
wrote is shown as text, never as HTML or an image; the only links are addresses that one can read. The views are in
`rag_app.page`.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from rag_app.data import sample_documents
from rag_app.embeddings import load_embeddings
from rag_app.generations import MANIFEST
from rag_app.index import Index, build_index
from rag_app.models import serving_backend
from rag_app.page.benchmark import show_benchmark
from rag_app.page.chat import show_chat
from rag_app.page.compare import show_compare
from rag_app.page.corpus import show_corpus
from rag_app.page.library import choose_index
from rag_app.page.problems import ERRORS, explain, show_error
from rag_app.page.resources import current_index
from rag_app.page.review import show_review
from rag_app.page.style import apply_style
from rag_app.page.words import language_switch, say
from rag_app.settings import Settings, load_settings


class View(NamedTuple):
    """One view of the page.

    Attributes:
        path: Its place in the address; empty for the first.
        korean: Its name.
        english: Its name in English.
        show: Shows it, below the title.
        wide: It needs the width of the window.
    """

    path: str
    korean: str
    english: str
    show: Callable[[Index, Settings], None]
    wide: bool = False


VIEWS = (
    View("", "대화", "Chat", show_chat),
    View("compare", "비교", "Compare", show_compare, wide=True),
    View("corpus", "자료", "Articles", show_corpus, wide=True),
    View("benchmark", "평가", "Benchmark", show_benchmark, wide=True),
    View("feedback", "피드백", "Feedback", show_review, wide=True),
)


def main() -> None:
    """Show the view that was chosen, over the index that was chosen."""
    st.set_page_config(page_title=say("뉴스에 묻기", "Ask the news"), layout="centered")
    apply_style()
    try:
        settings = load_settings()
    except ValueError as error:
        show_error(say("환경 변수(RAG_...) 설정이 잘못되었습니다.", "A RAG_... variable is wrong."), str(error))
        return
    with st.sidebar:
        language_switch(settings.lang)
    # No icons: Streamlit would fetch the favicon that goes with one from another host.
    pages = {
        view: st.Page(
            partial(_show, view, settings),
            title=say(view.korean, view.english),
            url_path=view.path,
            default=not view.path,
        )
        for view in VIEWS
    }
    st.navigation(list(pages.values()), position="top").run()


def _show(view: View, settings: Settings) -> None:
    if view.wide:
        st.set_page_config(layout="wide")
    st.title(say("뉴스에 묻기", "Ask the news") if not view.path else say(view.korean, view.english), anchor=False)
    with st.sidebar:
        path = choose_index(settings)
    if not (path / MANIFEST).is_file():
        _offer_sample(path, settings)
        return
    try:
        index = current_index(path, settings.backend)
    except ERRORS as error:
        _explain_index(path, error)
        return
    view.show(index, settings)


def _offer_sample(path: Path, settings: Settings) -> None:
    st.info(
        say(
            f"`{path}`에 색인이 없습니다. 가진 문서로 색인을 만들거나, 예제 뉴스로 먼저 써 보세요.",
            f"There is no index in `{path}`. Build one from your documents, or try the sample news first.",
        )
    )
    folder = say("문서폴더", "FOLDER")
    st.code(f"rag-app index {folder} --index {path}\nrag-app index sample --index {path}", "bash")
    if not st.button(say("예제 뉴스로 색인 만들기", "Index the sample news"), type="primary"):
        return
    try:
        with st.spinner(say("예제 뉴스로 색인을 만드는 중입니다…", "Indexing the sample news…")):
            backend = serving_backend(settings.model, settings.backend)
            build_index(path, sample_documents(), load_embeddings(settings.model, backend=backend))
    except ERRORS as error:
        show_error(explain(error), str(error))
        return
    st.rerun()


def _explain_index(path: Path, error: Exception) -> None:
    show_error(
        say(
            f"색인(`{path}`)을 열지 못했습니다. 아래 명령으로 검사하거나 다시 만들 수 있습니다.",
            f"The index `{path}` could not be opened. Check it or build it anew with these commands.",
        ),
        str(error),
    )
    folder = say("문서폴더", "FOLDER")
    st.code(f"rag-app check --index {path}\nrag-app index {folder} --index {path} --replace", "bash")


if __name__ == "__main__":
    main()
