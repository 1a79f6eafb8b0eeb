"""Who visits the page: let in or not, and which conversations are theirs."""

from collections.abc import Mapping
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitAuthError

from rag_app.page.powers import asks_to_log_in
from rag_app.page.problems import show_error
from rag_app.page.secrets_file import load_secrets
from rag_app.page.server.password import LEAVE, Password
from rag_app.page.server.uploads import admit
from rag_app.page.words import language_switch, say
from rag_app.rendering.text import escape_markdown
from rag_app.settings import Settings, load_settings


def let_in() -> bool:
    """Return whether the visitor may see the page; show those who may not why, or where to log in."""
    if not load_secrets():
        return False
    try:
        settings = load_settings()
    except ValueError:  # told when the page itself is shown, and nothing else is
        return True
    if settings.password is not None and not Password.stands:
        show_error(
            say(
                "비밀번호를 물을 수 없어 페이지를 열지 않습니다. `streamlit run streamlit_app.py`로 시작하세요.",
                "The page cannot ask for its password, so it stays closed. Start it with `streamlit run "
                "streamlit_app.py`.",
            )
        )
        return False
    if asks_to_log_in() and not _logged_in(settings):
        return False
    admit()
    return True


def owner() -> str:
    """Return whose conversations the visitor sees: of one who logged in their own, of all others those of nobody."""
    if not asks_to_log_in():
        return ""
    claims = st.user.to_dict()
    return f"{claims.get('iss', '')} {claims.get('sub') or claims['email']}"


def is_allowed(claims: Mapping[str, Any], allowed: str) -> bool:
    """Return whether one whom a provider knows may come in.

    Args:
        claims: What the provider says of them.
        allowed: Addresses and ``@domains``, with commas between them; ``*`` for everybody.
    """
    wanted = {_lower(entry.strip()) for entry in allowed.split(",")} - {""}
    if "*" in wanted:
        return True
    name, _, domain = _lower(str(claims.get("email") or "")).rpartition("@")
    if not name or "@" in name or not domain or str(claims.get("email_verified", True)).lower() != "true":
        return False
    return not wanted.isdisjoint((f"{name}@{domain}", f"@{domain}"))


def _lower(address: str) -> str:
    """Return an address in lower case, as far as it is ASCII: the sign of kelvin becomes no k."""
    return address.encode("utf-8", "replace").lower().decode()


def show_who(settings: Settings) -> None:
    """Show who is logged in, and how to leave."""
    if asks_to_log_in():
        st.caption(escape_markdown(str(st.user.get("email") or st.user.get("name") or "")))
        st.button(say("로그아웃", "Log out"), icon=":material/logout:", on_click=st.logout, type="tertiary")
    elif settings.password is not None:
        st.html(f'<a class="leave" href="{LEAVE}" target="_self">{say("나가기", "Leave")}</a>')


def _logged_in(settings: Settings) -> bool:
    if st.user.get("is_logged_in") and is_allowed(st.user.to_dict(), settings.allowed):
        return True
    st.set_page_config(say("뉴스에 묻기", "Ask the news"))
    language_switch(settings.lang)
    st.title(say("뉴스에 묻기", "Ask the news"), anchor=False)
    if not st.user.get("is_logged_in"):
        _offer_to_log_in()
        return False
    email = escape_markdown(str(st.user.get("email") or ""))
    st.error(
        say(
            f"{email} 계정으로는 이 페이지를 볼 수 없습니다. 볼 수 있어야 한다면 관리자에게 알려 주세요.",
            f"{email} may not see this page. If it should, tell the administrator.",
        )
    )
    st.button(say("다른 계정으로 로그인", "Log in with another account"), on_click=st.logout)
    return False


def _offer_to_log_in() -> None:
    st.markdown(say("이 페이지는 로그인해야 볼 수 있습니다.", "This page is for those who log in."))
    section = st.secrets["auth"]
    providers: list[str | None] = [name for name in section if isinstance(section[name], Mapping)]
    for provider in providers or [None]:
        words = say("로그인", "Log in")
        if provider is not None:
            words = say(f"{provider}(으)로 로그인", f"Log in with {provider}")
        if st.button(escape_markdown(words), type="primary", icon=":material/login:", key=f"log in {provider}"):
            try:
                st.login(provider)
            except StreamlitAuthError as error:  # of what is set, or a package is missing: nothing of the visitor's
                show_error(
                    say("로그인 설정이 잘못되었습니다. 관리자에게 알려 주세요.", "The login is set up wrongly."),
                    str(error).partition("\n")[0],
                )
