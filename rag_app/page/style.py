"""How the page looks beyond Streamlit's theme."""

from pathlib import Path

import streamlit as st

_STYLE = Path(__file__).with_name("page.css")


def apply_style() -> None:
    """Add the page's style sheet."""
    st.html(_STYLE)
