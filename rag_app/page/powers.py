"""What visitors may do and see: all that the owner of the machine may, or only what harms nobody."""

import re
from pathlib import Path, PurePath

import streamlit as st

from rag_app.loopback import is_loopback
from rag_app.observability.secret_words import without_secrets
from rag_app.settings import Settings, load_settings
from rag_app.stores.address import Address, index_place

# Not of an address: what stands before a path of the machine is neither a letter nor a colon nor another slash.
_FOLDERS = re.compile(r"(?<![\w:/.~])(?:~|[A-Za-z]:(?=\\))?[/\\](?:[^/\\\n'\"`:;,<>|]+[/\\])+")

_SERVERS = re.compile(r"\b(?!https?:)[a-z][\w+.-]*://[^\s'\"`<>]+")
_NUMBERS = r"\[?(?:\d{1,3}(?:\.\d{1,3}){3}|(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4})\]?(?::\d+)?"  # of a host


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


def shown_path(path: Path | Address, settings: Settings) -> str:
    """Return where something is as visitors may see it: to guests its last part, to nobody a server's password."""
    return path.name if are_guests(settings) else str(path)


def shown_place(place: str, settings: Settings) -> str:
    """Return the place of an index that was noted as text, as visitors may see it; see `shown_path`."""
    try:
        return shown_path(index_place(place), settings)
    except ValueError:  # of another version
        return place.rpartition("/")[2]


def shown_model(name: str, settings: Settings) -> str:
    """Return a model's name as visitors may see it: of a folder, to guests, its last part."""
    is_folder = Path(name).expanduser().is_absolute() or name.startswith((".", "~"))
    return PurePath(name).name if is_folder and are_guests(settings) else name


def without_folders(text: str) -> str:
    """Return what an error says as visitors may see it: without keys, to guests files by their names alone."""
    text = without_secrets(text)
    try:
        guests = are_guests(load_settings())
    except ValueError:
        guests = not _listens_here_alone()
    return _FOLDERS.sub("", _without_servers(text)) if guests else text


def _without_servers(text: str) -> str:
    """Return a text without what it says of servers that indexes live on: addresses, and host, user and port."""
    text = _SERVERS.sub(lambda address: address[0].partition("?")[0].rpartition("/")[2], text)
    try:
        index = load_settings().index
    except ValueError:
        return text
    if not isinstance(index, Address):
        return text
    # Libraries tell the host in words of their own, and what its name was resolved to.
    names = "|".join(re.escape(name) for name in (index.host, index.user) if name)
    return re.sub(rf"(?i){_NUMBERS}|(?<!\w)(?:{names})(?!\w)(?::\d+)?|\bport \d+|:{index.port or 0}\b", "…", text)


def _listens_here_alone() -> bool:
    return is_loopback(str(st.get_option("server.address") or "::"))
