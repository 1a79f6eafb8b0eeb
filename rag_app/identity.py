"""Telling whether two embedding models give the same vectors."""

from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings

from rag_app.embeddings import ModelEmbeddings, load_embeddings
from rag_app.models import Backend, serving_backend
from rag_app.stores.address import Address


def describe_model(embeddings: Embeddings) -> dict[str, Any]:
    """Return what identifies a model; of classes other than ours the class, the model's name and the dimension."""
    if isinstance(embeddings, ModelEmbeddings):
        return {
            "name": embeddings.name,
            "fingerprint": embeddings.fingerprint,
            "dimension": embeddings.dimension,
        }
    names = (getattr(embeddings, field, None) for field in ("model_name", "model"))
    model = next((f":{name}" for name in names if isinstance(name, str)), "")
    dimension = len(embeddings.embed_query("차원"))
    return {"name": f"{type(embeddings).__name__}{model}", "fingerprint": None, "dimension": dimension}


def load_described(path: Path | Address, built: dict[str, Any], backend: Backend | None) -> ModelEmbeddings:
    """Return the model that an index was built with, loaded by its name.

    Args:
        path: Where the index is, for the message.
        built: What `describe_model` said when it was built.
        backend: What a transformer runs on; see `rag_app.embeddings.load_embeddings`.

    Raises:
        ValueError: It is of a class that is not ours, so its name is not enough.
    """
    if built["fingerprint"] is None:
        raise ValueError(f"{path} was built with {built['name']}. Pass it: open_index(path, embeddings)")
    return load_embeddings(built["name"], backend=serving_backend(built["name"], backend))


def check_model(path: Path | Address, built: dict[str, Any], given: dict[str, Any]) -> None:
    """Raise ValueError, with the remedy, if an index built with one model is opened with another.

    Args:
        path: Where the index is, for the message.
        built: What `describe_model` said when it was built.
        given: What it says of the model it is opened with.
    """
    identity = ["name", "dimension"] if built["fingerprint"] is None else ["fingerprint", "dimension"]
    if any(built[key] != given[key] for key in identity):
        same_name = ", of the same name but with other weights or prompts" if built["name"] == given["name"] else ""
        raise ValueError(
            f"{path} was built with {built['name']!r} ({built['dimension']} dimensions) but the model given is "
            f"{given['name']!r} ({given['dimension']} dimensions){same_name}. Open it with the model it was built "
            f"with, or build it anew: rag-app index PATH... --index {path} --model {given['name']} --replace"
        )
