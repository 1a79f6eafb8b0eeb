"""The fields that name a chat model, one set for each kind."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import NamedTuple

import streamlit as st

from rag_app.chat_models.errors import ChatModelNameError
from rag_app.chat_models.providers import Kind, check_name, kind_of, provider_of
from rag_app.chat_models.servers import OLLAMA, Address, list_models, list_ollama_models, parse_address
from rag_app.page.problems import ERRORS, detail_of, explain, show_error
from rag_app.page.words import say
from rag_app.settings import Settings

EXAMPLES = ("openai:gpt-5-mini", "anthropic:claude-haiku-4-5", "google_genai:gemini-2.5-flash", "upstage:solar-pro2")
_LISTED = "chat_models_listed"


class Listed(NamedTuple):
    """What a server said of its models.

    Attributes:
        base: The server's address.
        models: Their names.
        sizes: Bytes of each on the disk, where known.
        error: Why it said nothing.
    """

    base: str
    models: Sequence[str] = ()
    sizes: Sequence[int] = ()
    error: Exception | None = None


def show_fields(kind: Kind, current: str, settings: Settings) -> str:
    """Show the fields of a kind; return the name that they make, empty while something is missing."""
    try:
        check_name(current)
    except ChatModelNameError:
        current = ""
    return _FIELDS[kind](current if kind_of(current) == kind else "", settings)


def _none(current: str, settings: Settings) -> str:
    return ""


def _ollama(current: str, settings: Settings) -> str:
    known = parse_address(current) if current else Address(OLLAMA)
    typed = st.text_input(say("Ollama 주소", "Ollama's address"), known.base.removesuffix("/v1"), key="chat_ollama")
    root = _address(typed)
    if root is None:
        return ""
    root = root._replace(base=root.base.removesuffix("/v1"))
    server = Address(f"{root.base}/v1")
    if st.button(say("설치된 모델 불러오기", "List the installed models"), icon=":material/list:"):
        _list(server, lambda: _listed_by_ollama(server, root))
    listed = _listed(server)
    if listed and getattr(listed.error, "reason", "") == "unreachable":
        st.error(
            say("Ollama가 켜져 있지 않습니다. 아래 명령으로 켜세요.", "Ollama is not running. Start it like this.")
        )
        st.code("ollama serve", "bash")
    elif listed:
        _show_problem(listed)
    if listed and not listed.error and not listed.models:
        st.info(
            say("Ollama에 설치된 모델이 없습니다. 먼저 하나 받으세요.", "Ollama has no model yet. Fetch one first.")
        )
        st.code("ollama pull exaone3.5", "bash")
    model = _model("ollama", known.model, listed, "exaone3.5:7.8b")
    st.caption(
        say(
            "Ollama는 처음에 짧은 글만 읽습니다. 기사 여러 건을 읽게 하려면 "
            "`OLLAMA_CONTEXT_LENGTH=16384 ollama serve`로 켜세요.",
            "Ollama reads only short texts at first. To have it read several articles, start it with "
            "`OLLAMA_CONTEXT_LENGTH=16384 ollama serve`.",
        )
    )
    return str(server._replace(model=model)) if model else ""


def _server(current: str, settings: Settings) -> str:
    known = parse_address(current) if current else Address("")
    typed = st.text_input(
        say("주소", "Address"), known.base, placeholder="http://127.0.0.1:8000/v1", key="chat_address"
    )
    server = _address(typed) if typed.strip() else None
    if server is None:
        return ""
    if st.button(say("모델 목록 불러오기", "List its models"), icon=":material/list:"):
        options = settings.chat_options(str(server), by_visitor=True)
        _list(server, lambda: Listed(server.base, list_models(server, **_key_of(options))))
    listed = _listed(server)
    if listed:
        _show_problem(listed)
    alone = say("하나뿐이면 비워 두세요", "Empty if it has only one")
    model = _model("address", known.model or server.model, listed, alone)
    return str(server._replace(model=model))


def _named(current: str, settings: Settings) -> str:
    name = st.text_input(say("이름", "Name"), current, placeholder=EXAMPLES[0], key="chat_name").strip()
    st.caption(say("예: ", "For example ") + ", ".join(f"`{example}`" for example in EXAMPLES))
    provider = provider_of(name)
    if provider and find_spec(provider.package.replace("-", "_")) is None:
        st.warning(say("패키지가 더 필요합니다. 설치한 뒤 다시 시작하세요.", "Install one more package and restart."))
        st.code(f"pip install {provider.package}", "bash")
    return name


_FIELDS: dict[Kind, Callable[[str, Settings], str]] = {
    "none": _none,
    "ollama": _ollama,
    "address": _server,
    "name": _named,
}


def _address(typed: str) -> Address | None:
    """Return a typed address; None, and say why, if it is none."""
    try:
        return parse_address(typed)
    except ChatModelNameError as error:
        st.error(explain(error))
        return None


def _key_of(options: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in options.items() if name == "api_key"}


def _listed_by_ollama(server: Address, root: Address) -> Listed:
    models = list_ollama_models(root.base)
    return Listed(server.base, [model.name for model in models], [model.size for model in models])


def _list(server: Address, ask: Callable[[], Listed]) -> None:
    """Ask a server for its models and keep what it says, also that it says nothing."""
    with st.spinner(say("서버에 묻는 중입니다…", "Asking the server…")):
        try:
            st.session_state[_LISTED] = ask()
        except ERRORS as error:
            st.session_state[_LISTED] = Listed(server.base, error=error)


def _listed(server: Address) -> Listed | None:
    """Return what this server said of its models; None if it was not asked."""
    listed: Listed | None = st.session_state.get(_LISTED)
    return listed if listed and listed.base == server.base else None


def _show_problem(listed: Listed) -> None:
    if listed.error:
        show_error(explain(listed.error), detail_of(listed.error))


def _model(kind: Kind, current: str, listed: Listed | None, placeholder: str) -> str:
    """Ask for the model: from those that the server has, or typed."""
    label = say("모델", "Model")
    if not listed or not listed.models:
        return st.text_input(label, current, placeholder=placeholder, key=f"chat_model_typed_{kind}").strip()
    sizes = dict(zip(listed.models, listed.sizes, strict=False))
    models = list(listed.models)
    chosen = st.selectbox(
        label,
        models,
        index=models.index(current) if current in models else 0,
        format_func=lambda model: f"{model} · {sizes[model] / 1e9:.1f} GB" if sizes.get(model) else model,
        key=f"chat_model_listed_{kind}",
    )
    return str(chosen or "")
