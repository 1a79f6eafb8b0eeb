"""The vector databases that an index can live in, by the scheme of its address."""

from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

from langchain_core.embeddings import Embeddings

from rag_app.stores.address import Address
from rag_app.stores.cosines import NoEmbeddings
from rag_app.stores.server import ServerStore


class Server(NamedTuple):
    """A row of the table.

    Attributes:
        module: Has a class ``Store``, made with an address and embeddings.
        extra: Of this package, which brings what the module needs.
        needs: What the module imports of it.
    """

    module: str
    extra: str
    needs: tuple[str, ...]


STORES = {
    "milvus": Server("rag_app.stores.milvus", "milvus", ("langchain_milvus", "pymilvus")),
    "postgresql": Server("rag_app.stores.postgres", "postgres", ("langchain_postgres", "psycopg")),
}


def server_store(address: Address, embeddings: Embeddings | None = None) -> ServerStore:
    """Return the store of an address; it connects when it is first used.

    Args:
        address: Where.
        embeddings: Embed texts and questions; not needed to look at what there is.

    Raises:
        ImportError: What it needs is not installed; says how to install it.
    """
    server = STORES[address.scheme]
    if missing := [name for name in server.needs if find_spec(name) is None]:
        raise ImportError(f"{address} needs {' and '.join(missing)}. Install: pip install 'korean-rag[{server.extra}]'")
    store: ServerStore = import_module(server.module).Store(address, embeddings or NoEmbeddings())
    return store
