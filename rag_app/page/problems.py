"""What went wrong, told with what to do about it."""

from typing import NamedTuple

import streamlit as st

from rag_app.chat_models.errors import ChatModelError
from rag_app.language import Say
from rag_app.page.chat_model.remedies import chat_model_remedy
from rag_app.page.limits import LimitError
from rag_app.page.powers import without_folders
from rag_app.page.words import language
from rag_app.rendering.text import escape_markdown
from rag_app.settings import load_settings
from rag_app.stores.address import Address

ERRORS = (OSError, ValueError, ImportError)
"""What a visitor can do something about. Any other exception is a bug and looks like one."""


class Remedy(NamedTuple):
    """What to do about an error, in both languages."""

    korean: str
    english: str


# By the error's type; the first that fits counts.
REMEDIES: tuple[tuple[type[Exception], Remedy], ...] = (
    (
        ImportError,
        Remedy(
            "필요한 패키지가 설치되어 있지 않습니다. 아래 명령으로 설치하세요.",
            "A package is missing. Install it with the command below.",
        ),
    ),
    (
        BlockingIOError,
        Remedy(
            "다른 곳에서 이 색인을 쓰고 있습니다. 끝난 뒤 다시 해 보세요.",
            "Something else is changing this index. Try again when it has finished.",
        ),
    ),
    (
        ConnectionError,
        Remedy(
            "연결하지 못했습니다. 이름이 맞는지, 네트워크가 되는지 확인하세요.",
            "No connection. Check the name and the network.",
        ),
    ),
    (
        TimeoutError,
        Remedy(
            "제때 답이 오지 않았습니다. 잠시 뒤 다시 해 보세요.", "There was no answer in time. Try again in a moment."
        ),
    ),
    (
        FileNotFoundError,
        Remedy(
            "파일이나 폴더를 찾지 못했습니다. 이름을 확인하세요.", "There is no such file or folder. Check its name."
        ),
    ),
    (
        OSError,
        Remedy(
            "파일을 읽거나 쓰지 못했습니다. 권한과 남은 공간을 확인하세요.",
            "A file could not be read or written. Check permissions and free space.",
        ),
    ),
    (
        ValueError,
        Remedy(
            "설정이나 입력에 맞지 않는 것이 있습니다. 아래 설명을 보고 고쳐 주세요.",
            "A setting or an input does not fit. The message below says what.",
        ),
    ),
)

# Likewise, of an index on a server, whose name they take.
SERVER_REMEDIES: tuple[tuple[type[Exception], Remedy], ...] = (
    (
        ConnectionError,
        Remedy(
            "색인 ‘{}’의 서버에 연결하지 못했습니다. 서버가 켜져 있는지, 네트워크가 되는지 확인하세요.",
            "There is no connection to the server of the index “{}”. Check that it runs, and the network.",
        ),
    ),
    (
        TimeoutError,
        Remedy(
            "색인 ‘{}’의 서버가 제때 답하지 않았습니다. 잠시 뒤 다시 해 보세요.",
            "The server of the index “{}” did not answer in time. Try again in a moment.",
        ),
    ),
    (
        PermissionError,
        Remedy(
            "색인 ‘{}’의 서버가 요청을 거절했습니다. 주소의 사용자와 비밀번호, 그 사용자의 권한을 확인하세요.",
            "The server of the index “{}” refused. Check the user and password of its address, and the user's rights.",
        ),
    ),
    (
        FileNotFoundError,
        Remedy(
            "서버에서 색인 ‘{}’을(를) 찾지 못했습니다. 다시 해 보세요.",
            "The index “{}” is not on its server any more. Try again.",
        ),
    ),
    (
        OSError,
        Remedy(
            "색인 ‘{}’의 서버가 요청을 처리하지 못했습니다. 서버의 상태와 로그를 확인하세요.",
            "The server of the index “{}” could not do what it was asked. Check the server and its log.",
        ),
    ),
)


def explain(error: Exception, words: Say | None = None) -> str:
    """Return what to do about one of `ERRORS`, in the visitor's language; in ``words`` outside of a script run."""
    words = words or language()
    if isinstance(error, LimitError):
        return error.told(words)
    if remedy := chat_model_remedy(error):
        return words(*remedy)
    return _explain_index(error, words) or words(*next(known for kind, known in REMEDIES if isinstance(error, kind)))


def explain_server(address: Address, error: Exception, words: Say) -> str:
    """Return what to do about an error of the server that an index is on; empty if it is no server that fails so."""
    remedy = next((known for kind, known in SERVER_REMEDIES if isinstance(error, kind)), None)
    return words(*remedy).format(escape_markdown(address.name)) if remedy else ""


def _explain_index(error: Exception, words: Say) -> str:
    """Likewise, if it is the index that is set: what its store raises names its address."""
    try:
        index = load_settings().index
    except ValueError:
        return ""
    return explain_server(index, error, words) if isinstance(index, Address) and str(index) in str(error) else ""


def detail_of(error: Exception) -> str:
    """Return what an error says beside what `explain` says of it."""
    if isinstance(error, LimitError):
        return ""
    return error.what if isinstance(error, ChatModelError) else str(error)


def show_explained(error: Exception) -> None:
    """Show one of `ERRORS` with what to do about it."""
    show_error(explain(error), detail_of(error))


def show_error(problem: str, detail: str = "") -> None:
    """Show what went wrong; the detail, an error's own message, as text."""
    st.error(f"{problem}\n\n{escape_markdown(without_folders(detail))}")
