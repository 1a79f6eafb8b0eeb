"""Where an index lives in a vector database: ``milvus://HOST:PORT/COLLECTION``."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

EXAMPLES = {
    "milvus": "milvus://HOST:19530/COLLECTION",
    "postgresql": "postgresql://USER@HOST:5432/DATABASE/NAME",
}
_NAME = 63  # characters, the most of PostgreSQL


@dataclass(frozen=True)
class Address:
    """``SCHEME://[USER[:PASSWORD]@]HOST[:PORT]/[DATABASE/]NAME[?OPTION=VALUE]``; as text it lacks the password.

    Attributes:
        scheme: A key of `rag_app.stores.servers.STORES`.
        host: Where the server is.
        port: Its port, None for the usual one.
        database: Of the server; empty for the usual one.
        name: Of the collection or schema: letters, digits and underscores, beginning with a letter.
        user: Empty for none.
        password: Likewise.
        options: What the store's module documents.
    """

    scheme: str
    host: str
    port: int | None
    database: str
    name: str
    user: str = ""
    password: str = field(default="", repr=False)
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address.

        Raises:
            ValueError: It is none; names no password.
        """
        scheme = text.partition(":")[0]
        if scheme not in EXAMPLES:
            examples = " or ".join(EXAMPLES.values())
            raise ValueError(f"There is no store for {scheme}://. Give a folder, or an address such as {examples}")
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise _bad(scheme) from None
        *databases, name = [unquote(part) for part in parts.path.split("/")[1:]] or [""]
        if not parts.hostname or len(databases) > 1 or not _is_name(name):
            raise _bad(scheme)
        return cls(
            scheme,
            parts.hostname,
            port,
            databases[0] if databases else "",
            name,
            unquote(parts.username or ""),
            unquote(parts.password or ""),
            tuple(parse_qsl(parts.query, keep_blank_values=True)),
        )

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        path = "/".join(filter(None, (self.database, self.name)))
        return f"{self.scheme}://{user}{host}{port}/{path}"


def index_place(place: str | Path | Address) -> Path | Address:
    """Return where an index is to be: an address if there is ``://`` in it, else a folder.

    Raises:
        ValueError: It is an address, but of none that exists.
    """
    if isinstance(place, str) and ("://" in place or place.partition(":")[0] in EXAMPLES):  # with a slash too few
        return Address.parse(place)
    return Path(place) if isinstance(place, str) else place


def without_login(text: str) -> str:
    """Return a text, in which there may be an address, without user, password and options."""
    scheme = rf"(?:\b(?:{'|'.join(EXAMPLES)}):|:/)/*"  # see `index_place`
    return re.sub(rf"({scheme})(?:[^\n]*@)?([^\s?]*)(?:\?\S*)?", r"\1\2", text)  # a password can hold spaces


def _is_name(name: str) -> bool:
    return name.isascii() and name.isidentifier() and len(name) <= _NAME


def _bad(scheme: str) -> ValueError:
    return ValueError(
        f"That is no address of an index on a {scheme} server. Give {EXAMPLES[scheme]}, the last part of ASCII "
        f"letters, digits and underscores, at most {_NAME}"
    )
