"""What the manifest of an index must say, however it came about: a stranger's may have been written by hand."""

from pathlib import Path
from typing import Any

from rag_app.disk.damage import REMEDY


def check_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Check that a manifest tells what an index is opened by, each in its own type.

    Args:
        folder: The index, for the message.
        manifest: What `rag_app.generations.read_manifest` returned.

    Raises:
        ValueError: It does not.
    """
    model = manifest.get("model")
    sound = (
        isinstance(model, dict)
        and isinstance(model.get("name"), str)
        and isinstance(model.get("fingerprint", 0), str | None)
        and _is_count(model.get("dimension"))
        and all(_is_count(manifest.get(name)) for name in ("passage_chars", "documents", "passages"))
        and isinstance(manifest.get("analysis"), dict)
        and _is_form(manifest.get("vectors", {"asked": "", "form": ""}))
    )
    if not sound:
        raise ValueError(f"The manifest of {folder} does not tell what the index holds. {REMEDY}")


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_form(vectors: object) -> bool:
    return isinstance(vectors, dict) and all(isinstance(vectors.get(name), str) for name in ("asked", "form"))
