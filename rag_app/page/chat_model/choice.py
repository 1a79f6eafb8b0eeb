"""Who writes the answer: nobody, Ollama, a server that speaks OpenAI's protocol, or a model by name."""

from typing import NamedTuple
from urllib.parse import quote, unquote

import streamlit as st

from rag_app.chat_models.errors import ChatModelNameError
from rag_app.chat_models.providers import Kind, check_name, kind_of, short_name
from rag_app.page import resources
from rag_app.page.chat_model.check import forget_check, show_check, show_key, start_check
from rag_app.page.chat_model.fields import show_fields
from rag_app.page.powers import are_guests
from rag_app.page.problems import explain
from rag_app.page.words import say
from rag_app.rendering.text import escape_markdown
from rag_app.settings import NONE, Settings, name_or_none

CHOSEN = "chat_model"
"""Where the session keeps the chosen name; empty for none."""
_OPEN = "chat_model_dialog"
_YEAR = 365 * 24 * 60 * 60  # seconds


class _Wording(NamedTuple):
    korean: str
    english: str
    korean_more: str
    english_more: str


_KINDS: dict[Kind, _Wording] = {
    "none": _Wording("없음", "None", "기사 문장을 그대로 인용합니다.", "Sentences of the articles are quoted."),
    "ollama": _Wording("Ollama", "Ollama", "내 컴퓨터에서 도는 모델", "A model on your own computer"),
    "address": _Wording(
        "서버 주소",
        "Server address",
        "OpenAI 형식으로 답하는 서버: vLLM, llama.cpp, LM Studio 등",
        "A server that speaks OpenAI's protocol: vLLM, llama.cpp, LM Studio",
    ),
    "name": _Wording(
        "모델 이름", "Model name", "OpenAI, Anthropic 등 제공자의 모델", "A model of OpenAI, Anthropic and others"
    ),
}


def choose_chat_model(settings: Settings) -> str | None:
    """Return the chat model's name as `rag_app.chat_models.loading.load_chat_model` takes it; None quotes the articles.

    The choice is kept for the session, and in a cookie for the next: not in the address, since a link could then send
    somebody's questions and articles to a server of its author.
    """
    current = current_chat_model(settings)
    named = escape_markdown(_title(current)) if current else say("없음 (기사 인용)", "none (quotes)")
    label = say(f"채팅 모델: {named}", f"Chat model: {named}")
    if _is_fixed(settings):
        st.caption(label)
        return current or None
    if st.button(label, icon=":material/edit_note:", width="stretch", key="chat_model_button"):
        st.session_state[_OPEN] = True
    if st.session_state.get(_OPEN):
        title = say("채팅 모델", "Chat model")
        st.dialog(title, on_dismiss=_close)(_show_dialog)(current, settings)
    _remember(current, settings)
    return current or None


def current_chat_model(settings: Settings) -> str:
    """Return the name that was chosen in this session, else by this browser, else set; empty for none."""
    start = name_or_none(settings.chat_model) or ""
    if _is_fixed(settings):
        return start
    if CHOSEN not in st.session_state:
        kept = _kept()
        st.session_state[CHOSEN] = start if kept is None else _sound(unquote(kept))
    return str(st.session_state[CHOSEN] or "")


def _is_fixed(settings: Settings) -> bool:
    return settings.chat_model_fixed or are_guests(settings)


def _show_dialog(current: str, settings: Settings) -> None:
    kind: Kind = st.radio(
        say("누가 답을 쓸까요?", "Who writes the answer?"),
        list(_KINDS),
        index=list(_KINDS).index(kind_of(current)),
        format_func=lambda kind: say(_KINDS[kind].korean, _KINDS[kind].english),
        captions=[say(wording.korean_more, wording.english_more) for wording in _KINDS.values()],
        key="chat_model_kind",
    )
    name = show_fields(kind, current, settings)
    problem = _problem(name) if kind != "none" and name else ""
    if problem:
        st.error(problem)
    elif name:
        show_key(kind, name, settings)
    usable = kind == "none" or (bool(name) and not problem)
    with st.container(horizontal=True):
        if kind != "none" and st.button(
            say("연결 확인", "Test the connection"), disabled=not usable, icon=":material/network_check:"
        ):
            start_check(name, settings)
        words = (
            say("이 모델로 답하기", "Answer with this model")
            if kind != "none"
            else say("인용으로 답하기", "Answer with quotes")
        )
        if st.button(words, type="primary", disabled=not usable):
            _choose(name)
            st.rerun()
    if usable and name:
        show_check(name)


def _choose(name: str) -> None:
    st.session_state[CHOSEN] = name
    if name:
        resources.chat_model.clear(name)  # its key may have been set since
    _close()


def _close() -> None:
    st.session_state[_OPEN] = False
    forget_check()


def _problem(name: str) -> str:
    """Return what is wrong with a name, empty if it can be tried."""
    try:
        check_name(name)
    except ChatModelNameError as error:
        return explain(error)
    return ""


def _title(name: str) -> str:
    try:
        return short_name(name)
    except ChatModelNameError:
        return name


def _cookie() -> str:
    return f"chat-model-{st.get_option('server.port')}"  # the cookies of a host are those of all its ports


def _kept() -> str | None:
    kept = st.context.cookies.get(_cookie())
    return kept if isinstance(kept, str) else None  # under Streamlit's test harness it is anything


def _sound(name: str) -> str:
    """Return a name that a browser kept; none if it is not one."""
    name = name_or_none(name) or ""
    return "" if name and _problem(name) else name


def _remember(name: str, settings: Settings) -> None:
    """Have the browser keep the choice, unless it is what it would start with anyway."""
    if name == (name_or_none(settings.chat_model) or "") and _kept() is None:
        return
    value = quote(name or NONE, safe="")  # letters, digits and %XX: nothing that could end the string or the cookie
    with st.container(key="chat-model-cookie"):
        st.html(
            f'<script>document.cookie = "{_cookie()}={value}; path=/; max-age={_YEAR}; SameSite=Strict";</script>',
            unsafe_allow_javascript=True,
        )
