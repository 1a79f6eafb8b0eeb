"""What Milvus keeps of a passage, and how a file is laid out from which it imports passages."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document

from rag_app.lexical import FIELDS
from rag_app.stores.server import Row

if TYPE_CHECKING:
    from pyarrow import Schema, Table

BYTES = 65_535
"""The most that Milvus keeps of a text, and of an object of metadata."""
ID_BYTES = 512
"""The most that an id has, and a ``doc_id``."""
NO_START = -1
"""Stands in the column ``start`` where the metadata has none; likewise an empty text in ``doc_id``."""

_WORD = re.compile(r"[^\w ]")


def record(row: Row, fields: Sequence[str]) -> dict[str, Any]:
    """Return a row as Milvus keeps it.

    Args:
        row: What to write.
        fields: The analyses whose units it keeps.

    Raises:
        ValueError: There is more of it than Milvus keeps.
    """
    passage = row.passage
    units = {field: spelt(row.units[field]) for field in fields}
    kept = _json(passage.metadata)
    sizes = {"text": passage.page_content, "metadata": kept, **units}
    if too_long := [name for name, text in sizes.items() if len(text.encode()) > BYTES]:
        raise ValueError(
            f"Passage {passage.id} is too long for Milvus: {', '.join(too_long)} of more than {BYTES} bytes. Split "
            "documents into shorter passages, such as passage_chars=1200, and leave long values out of the metadata."
        )
    columns = _columns(passage.metadata)
    for id_ in (str(passage.id), columns["doc_id"]):
        if len(id_.encode()) > ID_BYTES:
            raise ValueError(f"The id {id_[:40]}... has more than {ID_BYTES} bytes. Give a shorter one.")
    return {
        "id": passage.id,
        **columns,
        "text": passage.page_content,
        "metadata": passage.metadata,
        "vector": row.vector.tolist(),
        **units,
    }


def metadata_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata in a row that Milvus gave."""
    kept = row["metadata"]
    return dict(json.loads(kept) if isinstance(kept, str | bytes) else kept)


def document_of(row: Mapping[str, Any]) -> Document:
    """Return the passage in a row that Milvus gave."""
    return Document(id=row["id"], page_content=row["text"], metadata=metadata_of(row))


def spelt(units: str) -> str:
    """Return joined units, each one word to a tokenizer that looks for letters and digits."""
    return _WORD.sub(lambda found: f"_{ord(found[0]):x}_", units.replace("^", "ˆ"))


def import_schema() -> "Schema":
    """Return the columns of a parquet file that Milvus imports: all fields but those that it makes of others."""
    from pyarrow import float32, int64, list_, schema, string

    texts = [(name, string()) for name in ("id", "doc_id", "text", "metadata", *FIELDS)]  # JSON is imported from text
    return schema([*texts, ("start", int64()), ("vector", list_(float32()))])


def import_table(rows: Iterable[Row]) -> "Table":
    """Return rows as Milvus imports them; see `record` for what is raised."""
    from pyarrow import Table

    records = [record(row, list(FIELDS)) for row in rows]
    columns = [{**one, "metadata": _json(one["metadata"])} for one in records]
    return Table.from_pylist(columns, schema=import_schema())


def _columns(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what has columns of its own beside the metadata: by it articles are found, counted and deleted."""
    doc_id, start = metadata.get("doc_id"), metadata.get("start")
    counts = isinstance(start, int | float) and 0 <= start < 2**63 and start % 1 == 0
    return {
        "doc_id": doc_id if isinstance(doc_id, str) else "",
        "start": int(start) if start is not None and counts else NO_START,
    }


def _json(metadata: Mapping[str, Any]) -> str:
    return json.dumps(metadata, ensure_ascii=False, allow_nan=False)
