"""What visitors may do and see: all that the owner of the machine may, or only what harms nobody."""

import re
from ipaddress import ip_address
from pathlib import Path, PurePath

import streamlit as st

from rag_app.observability.secret_words import without_secrets
from rag_app.settings import Settings, load_settings

# Not of an address: what stands before a path of the machine is neither a letter nor a colon nor another slash.
_FOLDERS = re.compile(r"(?<![\w:/.~])(?:~|[A-Za-z]:(?=\\))?[/\\](?:[^/\\\n'\"`:;,<>|]+[/\\])+")


def are_guests(settings: Settings) -> bool:
    """Return whether visitors are guests, who name no folder, model or server and see no path of the machine.

    So they are, unless it is set otherwise, where others than the machine's own user may be among them: the page
    listens to other machines, or asks who comes.
    """
    if settings.visitors is not None:
        return settings.visitors == "guests"
    return settings.password is not None or asks_to_log_in() or not _listens_here_alone()


def asks_to_log_in() -> bool:
    """Return whether visitors have to log in at a provider of OpenID Connect, which the secrets name."""
    try:
        return bool(st.secrets.load_if_toml_exists()) and "auth" in st.secrets
    except (OSError, ValueError):  # they cannot be read: perhaps
        return True


def shown_path(path: Path, settings: Settings) -> str:
    """Return a path as visitors may see it: to guests its last part."""
    return path.name if are_guests(settings) else str(path)


def shown_model(name: str, settings: Settings) -> str:
    """Return a model's name as visitors may see it: of a folder, to guests, its last part."""
    is_folder = Path(name).expanduser().is_absolute() or name.startswith((".", "~"))
    return PurePath(name).name if is_folder and are_guests(settings) else name


def without_folders(text: str) -> str:
    """Return what an error says as visitors may see it: without keys, and to guests files by their names alone."""
    text = without_secrets(text)
    try:
        guests = are_guests(load_settings())
    except ValueError:
        guests = not _listens_here_alone()
    return _FOLDERS.sub("", text) if guests else text


def _listens_here_alone() -> bool:
    address = st.get_option("server.address")
    try:
        return address == "localhost" or ip_address(address or "::").is_loopback
    except ValueError:  # another name of a machine
        return False
