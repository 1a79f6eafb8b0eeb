"""The settings that the server was started with, secrets among them."""

from functools import cache

import streamlit as st

from rag_app.settings import Settings, load_settings


def started_settings() -> Settings | None:
    """Return them; None where they are wrong, which the page explains and shows nothing else."""
    try:
        return _loaded()
    except (OSError, ValueError):
        return None


@cache
def _loaded() -> Settings:
    st.secrets.load_if_toml_exists()  # Streamlit copies them into the environment
    return load_settings()
