"""What a visitor can do about a chat model that does not answer, in both languages."""

from rag_app.chat_models.errors import ChatModelError, ChatModelNameError, NameReason, Reason

REMEDIES: dict[Reason | NameReason, tuple[str, str]] = {
    "unreachable": (
        "채팅 모델의 서버에 연결하지 못했습니다. 서버가 켜져 있는지, 주소와 포트가 맞는지 확인하세요. "
        "채팅 모델 없이 기사 인용으로 답을 받을 수도 있습니다.",
        "The chat model's server cannot be reached. Check that it is running and that address and port are right. "
        "Or go without a chat model and have articles quoted.",
    ),
    "timeout": (
        "채팅 모델이 정해진 시간 안에 답하지 않았습니다. 모델을 불러오는 중이거나 바쁠 수 있으니 다시 해 보세요. "
        "더 작은 모델을 고르거나 RAG_CHAT_TIMEOUT(초)을 늘려도 됩니다.",
        "The chat model was silent for too long. It may still be loading or be busy: try again, choose a smaller "
        "model, or allow it more seconds with RAG_CHAT_TIMEOUT.",
    ),
    "tls": (
        "채팅 모델의 서버와 안전하게 연결하지 못했습니다. 주소가 http인지 https인지, 서버의 인증서가 유효한지 "
        "확인하세요.",
        "No secure connection to the chat model's server. Check whether the address begins with http or https, and "
        "whether the server's certificate is valid.",
    ),
    "refused_key": (
        "채팅 모델의 서버가 키를 받아들이지 않았습니다. 환경 변수나 .streamlit/secrets.toml의 키를 확인하세요. "
        "OpenAI는 OPENAI_API_KEY, 주소로 정한 서버는 RAG_CHAT_API_KEY입니다.",
        "The chat model's server refused the key. Check it in the environment or .streamlit/secrets.toml: "
        "OPENAI_API_KEY for OpenAI, RAG_CHAT_API_KEY for a server named by its address.",
    ),
    "no_right": (
        "이 키로는 이 모델을 쓸 수 없습니다. 다른 모델을 고르거나 다른 키를 쓰세요.",
        "The key has no right to this model. Choose another model or another key.",
    ),
    "wrong_address": (
        "서버는 있지만 이 주소에 채팅 모델이 없습니다. 주소를 확인하세요. 대개 /v1로 끝납니다.",
        "There is a server, but no chat model at this address. Check it: most end in /v1.",
    ),
    "unknown_model": (
        "서버에 그런 이름의 모델이 없습니다. 모델 목록을 불러와 골라 보세요.",
        "The server has no model of this name. List its models and choose one.",
    ),
    "rate_limit": (
        "요청 한도나 잔액이 다 되었거나 서버가 붐빕니다. 잠시 뒤에 다시 하거나 다른 모델을 고르세요.",
        "The limit of requests or the credit is used up, or the server is crowded. Wait, or choose another model.",
    ),
    "too_long": (
        "질문과 기사가 모델이 읽을 수 있는 길이를 넘었습니다. ‘답에 쓸 기사 수’를 줄이거나 서버의 문맥 길이를 "
        "늘리세요.",
        "Question and articles are longer than the model reads. Lower “Articles per answer”, or give its server a "
        "longer context.",
    ),
    "bad_request": (
        "채팅 모델의 서버가 요청을 거절했습니다. 모델 이름을 확인하세요.",
        "The chat model's server refused the request. Check the model's name.",
    ),
    "server_error": (
        "채팅 모델의 서버에서 오류가 났습니다. 다시 해 보고, 계속되면 서버의 로그를 확인하세요.",
        "The chat model's server failed. Try again, and look into its log if it goes on.",
    ),
    "broken_stream": (
        "답변 도중에 연결이 끊겼습니다. 서버가 멈췄거나 메모리가 모자랄 수 있습니다. 서버를 확인하고 다시 물어보세요.",
        "The connection broke in the middle of the answer. The server may have stopped or run out of memory: look "
        "after it and ask again.",
    ),
    "not_openai": (
        "이 주소의 서버는 OpenAI 형식으로 답하지 않습니다. 주소를 확인하세요. 대개 /v1로 끝납니다.",
        "The server at this address does not answer as OpenAI does. Check the address: most end in /v1.",
    ),
    "empty": ("채팅 모델을 적어 주세요.", "Name a chat model."),
    "bad_address": (
        "주소는 http://호스트:포트/v1 꼴로 적습니다. 사용자, 비밀번호, ?로 시작하는 부분은 넣을 수 없습니다.",
        "An address is http://host:port/v1, with neither user nor password nor ?query in it.",
    ),
    "unknown_name": (
        "이 이름으로는 어느 제공자의 모델인지 알 수 없습니다. openai:gpt-5-mini처럼 ‘제공자:모델’로 적어 주세요.",
        "The name does not say whose model it is. Write provider:model, such as openai:gpt-5-mini.",
    ),
    "looks_like_a_key": (
        "키처럼 보입니다. 여기에는 모델 이름만 적고, 키는 환경 변수나 .streamlit/secrets.toml에 두세요.",
        "This looks like a key. Only the model's name belongs here; a key goes into the environment or "
        ".streamlit/secrets.toml.",
    ),
    "no_models": (
        "서버에 모델이 없습니다. 먼저 서버에 모델을 넣으세요.",
        "The server has no model. Give it one first.",
    ),
    "several_models": (
        "서버에 모델이 여럿 있습니다. 하나를 골라 주세요.",
        "The server has several models. Choose one.",
    ),
    "missing_key": (
        "키가 없습니다. 환경 변수나 .streamlit/secrets.toml에 키를 넣고 다시 해 보세요. OpenAI는 OPENAI_API_KEY, "
        "주소로 정한 서버는 RAG_CHAT_API_KEY입니다.",
        "There is no key. Put it into the environment or .streamlit/secrets.toml and try again: OPENAI_API_KEY for "
        "OpenAI, RAG_CHAT_API_KEY for a server named by its address.",
    ),
}


def chat_model_remedy(error: Exception) -> tuple[str, str] | None:
    """Return, in Korean and English, what to do about a chat model's error; None if it is not one."""
    return REMEDIES[error.reason] if isinstance(error, ChatModelError | ChatModelNameError) else None
