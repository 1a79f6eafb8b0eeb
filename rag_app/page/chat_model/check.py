"""The connection test: does the chat model answer, how fast, and if not, why."""

import os
from functools import partial

import streamlit as st

from rag_app.chat_models.connection_check import ConnectionCheck
from rag_app.chat_models.errors import ChatModelError
from rag_app.chat_models.loading import load_chat_model
from rag_app.chat_models.providers import Kind, key_variable, kind_of, short_name
from rag_app.chat_models.servers import is_address, same_server
from rag_app.page import resources
from rag_app.page.problems import ERRORS, show_error, show_explained
from rag_app.page.words import say
from rag_app.rendering.text import escape_markdown
from rag_app.settings import Settings

_CHECK = "chat_model_check"
_LOOK = 0.25  # seconds between two looks at a check that goes on


def start_check(name: str, settings: Settings) -> None:
    """Ask a chat model for one word, in the background; one asked before is left."""
    forget_check()
    resources.chat_model.clear(name)  # its key may have been set since
    load = partial(load_chat_model, name, **settings.chat_options(name, by_visitor=True), **_at_once(name))
    st.session_state[_CHECK] = (name, ConnectionCheck(load, limit=settings.chat_timeout))


def forget_check() -> None:
    """End the check that goes on, if any."""
    if kept := st.session_state.pop(_CHECK, None):
        kept[1].stop()


def show_check(name: str) -> None:
    """Show how the check of a chat model goes, again and again until it has ended; nothing if it was not asked."""
    kept: tuple[str, ConnectionCheck] | None = st.session_state.get(_CHECK)
    if kept is None or kept[0] != name:
        return
    looking = kept[1].state == "running"
    st.fragment(run_every=_LOOK if looking else None)(_look)(name, kept[1], looking)


def _look(name: str, check: ConnectionCheck, looking: bool) -> None:
    if check.state != "running" and looking:
        st.rerun()  # everything, once: a fragment by itself would look on and on
    elif check.state == "running":
        st.caption(_progress(check))
        st.button(say("중지", "Stop"), on_click=check.stop, icon=":material/stop:", key="chat_check_stop")
    else:
        _show_end(name, check)


def show_key(kind: Kind, name: str, settings: Settings) -> None:
    """Say which key a chat model is sent, if any, and where to put one; never the key."""
    variable = key_variable(name)
    if not variable:
        return
    if variable == "RAG_CHAT_API_KEY":
        found = settings.chat_api_key is not None and same_server(name, settings.chat_model)
    else:
        found = bool(os.environ.get(variable))
    if found:
        st.caption(say(f"키: `{variable}`의 키를 보냅니다.", f"Key: the one in `{variable}` is sent."))
    elif variable != "RAG_CHAT_API_KEY":
        st.warning(
            say(
                f"`{variable}`에 키가 없습니다. 환경 변수나 `.streamlit/secrets.toml`에 넣어 주세요.",
                f"There is no key in `{variable}`. Put it into the environment or `.streamlit/secrets.toml`.",
            )
        )
    elif kind != "ollama":
        st.caption(
            say(
                "이 주소에는 키를 보내지 않습니다. 키가 필요한 서버라면 `RAG_CHAT_MODEL`에 이 주소를, "
                "`RAG_CHAT_API_KEY`에 키를 정해 두세요.",
                "This address is sent no key. If it wants one, set `RAG_CHAT_MODEL` to this address and "
                "`RAG_CHAT_API_KEY` to the key.",
            )
        )


def _at_once(name: str) -> dict[str, int]:
    """Return the option that keeps a provider from trying again: the check is to tell the first failure."""
    return {} if is_address(name) else {"max_retries": 0}


def _progress(check: ConnectionCheck) -> str:
    if check.first_seconds is None:
        return say(f"답을 기다리는 중입니다… {check.seconds:.0f}초", f"Waiting for the answer… {check.seconds:.0f} s")
    return say(f"답을 받는 중입니다… {check.seconds:.0f}초", f"Receiving the answer… {check.seconds:.0f} s")


def _show_end(name: str, check: ConnectionCheck) -> None:
    if check.state == "stopped":
        st.info(say("연결 확인을 멈췄습니다.", "The connection test was stopped."))
    elif check.state == "answered":
        _show_answered(name, check)
    elif check.error is not None:
        _show_failed(name, check.error)


def _show_answered(name: str, check: ConnectionCheck) -> None:
    model = escape_markdown(check.model or short_name(name))
    if check.first_seconds is None:
        st.warning(
            say(
                f"연결은 되었지만 {model} 모델이 빈 답을 보냈습니다.",
                f"There is a connection, but {model} answered with nothing.",
            )
        )
        return
    said = " ".join(check.text.split())
    first, total = check.first_seconds, check.seconds
    st.success(
        say(
            f"연결되었습니다. **{model}** · 첫 글자까지 {first:.1f}초 · 모두 {total:.1f}초",
            f"Connected. **{model}** · first word after {first:.1f} s · all in {total:.1f} s",
        )
        + f"\n\n“{escape_markdown(said[:80])}”"
    )


def _show_failed(name: str, error: Exception) -> None:
    if not isinstance(error, ERRORS):  # a provider's own kind of error, whose words may repeat a key
        show_error(
            say("채팅 모델에서 알 수 없는 오류가 났습니다.", "The chat model failed in an unknown way."),
            type(error).__name__,
        )
        return
    show_explained(error)
    if isinstance(error, ChatModelError) and error.reason == "unreachable" and kind_of(name) == "ollama":
        st.caption(say("Ollama는 이렇게 켭니다.", "This starts Ollama."))
        st.code("ollama serve", "bash")
