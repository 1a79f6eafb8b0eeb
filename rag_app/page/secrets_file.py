"""Keys from ``.streamlit/secrets.toml``, which Streamlit copies into the environment when it first reads the file."""

from pathlib import Path

import streamlit as st

from rag_app.page.problems import show_error
from rag_app.page.words import say


def load_secrets() -> bool:
    """Have Streamlit read its secrets; return whether it could.

    A file that it cannot read is explained, without what the file holds: a password may stand in it.
    """
    try:
        found = st.secrets.load_if_toml_exists()
    except (OSError, ValueError):  # no right to read it, not UTF-8
        found = False
    broken = [path for path in st.get_option("secrets.files") if Path(path).exists()]
    if found or not broken:
        return True
    show_error(
        say(
            '키를 둔 파일을 읽지 못했습니다. `이름 = "값"` 꼴의 줄만 있는지, UTF-8인지, 읽을 권한이 있는지 확인하세요.',
            'The file of keys could not be read. Check that its lines are `NAME = "value"`, that it is UTF-8, and that '
            "it may be read.",
        ),
        ", ".join(broken),
    )
    return False
