"""Who writes the answer: nobody, Ollama, a server that speaks OpenAI's protocol, or a model by name."""

import streamlit as st

from rag_app.page.words import say
from rag_app.settings import Settings


def choose_chat_model(settings: Settings) -> str | None:
    """Return the chat model's name as `rag_app.chat_models.load_chat_model` takes it; None quotes the articles."""
    name = st.text_input(
        say("채팅 모델", "Chat model"),
        settings.chat_model or "",
        placeholder=say("비워 두면 기사 문장을 인용합니다", "Empty: articles are quoted"),
        help=say(
            "예: `openai:gpt-5-mini`, `ollama:exaone3.5`, `http://127.0.0.1:8000/v1#모델`. "
            "키는 여기에 적지 말고 환경 변수(OPENAI_API_KEY 등)에 두세요.",
            "For example `openai:gpt-5-mini`, `ollama:exaone3.5`, `http://127.0.0.1:8000/v1#model`. "
            "Keys belong in the environment (OPENAI_API_KEY and so on), not here.",
        ),
    )
    return name.strip() or None
