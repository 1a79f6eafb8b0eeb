"""Opens the index that a visitor chose, and the view over it."""

import logging
from functools import partial
from pathlib import Path

import streamlit as st

from rag_app.data import sample_documents
from rag_app.generations import MANIFEST
from rag_app.index import build_index
from rag_app.observability.logs import set_up_logging
from rag_app.observability.tracing import capture_content
from rag_app.page.corpus.jobs import jobs
from rag_app.page.corpus.view import show_first_upload
from rag_app.page.frame import show_navigation, show_title
from rag_app.page.home import keep_private
from rag_app.page.kept import NotYetError
from rag_app.page.library import choose_index
from rag_app.page.powers import are_guests, shown_path
from rag_app.page.problems import ERRORS, show_error, show_explained
from rag_app.page.resources import current_index, embedding_model
from rag_app.page.servers import NoIndexError, opening
from rag_app.page.views import View
from rag_app.page.visitor import show_who
from rag_app.page.waiting import show_lost, wait_for
from rag_app.page.words import say
from rag_app.settings import Settings, load_settings
from rag_app.stores.address import Address

_log = logging.getLogger(__name__)


def open_page() -> None:
    """Show the view that was chosen, over the index that was chosen."""
    try:
        settings = load_settings()
    except ValueError as error:
        show_error(say("환경 변수(RAG_...) 설정이 잘못되었습니다.", "A RAG_... variable is wrong."), str(error))
        return
    set_up_logging(settings.log, settings.log_level)
    capture_content(settings.trace_content)
    keep_private(settings)
    show_navigation(settings.lang, partial(_show, settings=settings))


def _show(view: View, settings: Settings) -> None:
    show_title(view)
    with st.sidebar:
        path = choose_index(settings)
        show_who(settings)
    if isinstance(path, Address):
        _show_on_server(view, path, settings)
        return
    if not (path / MANIFEST).is_file():
        _offer_first(path, settings)
        return
    try:
        index = current_index(path, settings.backend)
    except ERRORS as error:
        _explain_index(path, error, settings)
        return
    view.show(index, settings)


def _show_on_server(view: View, address: Address, settings: Settings) -> None:
    try:
        index = current_index(address, settings.backend)
    except NotYetError as waiting:
        _wait(waiting)
        return
    except NoIndexError:
        _offer_first(address, settings)
        return
    except ERRORS as error:
        show_lost(address, error, settings)
        return
    try:
        view.show(index, settings)
    except NotYetError as waiting:
        _wait(waiting)
    except (ConnectionError, TimeoutError, FileNotFoundError) as error:  # lost since, or gone
        opening(address, settings.backend).fail(error)
        st.rerun()  # rather than half a view


def _wait(waiting: NotYetError) -> None:
    wait_for(waiting, say("서버의 답을 기다리는 중입니다…", "Waiting for the server…"))


def _offer_first(path: Path | Address, settings: Settings) -> None:
    _offer_sample(path, settings)
    show_first_upload(path, settings)


def _offer_sample(path: Path | Address, settings: Settings) -> None:
    shown = shown_path(path, settings)
    st.info(
        say(
            f"`{shown}`에 색인이 없습니다. 가진 문서로 색인을 만들거나, 예제 뉴스로 먼저 써 보세요.",
            f"There is no index in `{shown}`. Build one from your documents, or try the sample news first.",
        )
    )
    started = st.button(say("예제 뉴스로 색인 만들기", "Index the sample news"), type="primary")
    if not are_guests(settings):
        with st.expander(say("명령으로 만들기", "By command")):
            folder = say("문서폴더", "FOLDER")
            place = '"$RAG_INDEX"' if isinstance(path, Address) and path.password else path  # which is shown to nobody
            st.code(f"rag-app index {folder} --index {place}\nrag-app index sample --index {place}", "bash")
    if not started:
        return
    try:
        with st.spinner(say("예제 뉴스로 색인을 만드는 중입니다…", "Indexing the sample news…")):
            build_index(path, sample_documents(), embedding_model(settings.model, settings.backend))
            jobs().note_write(path)
    except ERRORS as error:
        show_explained(error)
        return
    st.rerun()


def _explain_index(path: Path, error: Exception, settings: Settings) -> None:
    if are_guests(settings):
        _log.error("The index %s could not be opened: %s", path, error)
        show_error(
            say(
                f"색인(`{path.name}`)을 열지 못했습니다. 관리자에게 알려 주세요.",
                f"The index `{path.name}` could not be opened. Tell the administrator.",
            )
        )
        return
    show_error(
        say(
            f"색인(`{path}`)을 열지 못했습니다. 아래 명령으로 검사하거나 다시 만들 수 있습니다.",
            f"The index `{path}` could not be opened. Check it or build it anew with these commands.",
        ),
        str(error),
    )
    folder = say("문서폴더", "FOLDER")
    st.code(f"rag-app check --index {path}\nrag-app index {folder} --index {path} --replace", "bash")
