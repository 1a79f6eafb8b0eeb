"""Options that name a system: ``[LABEL=]NAME``."""

import re
from collections.abc import Collection, Sequence

from rag_app.stores.address import without_login

_LABEL = re.compile(r"[\w.-]+")
_NO_LABEL = re.compile(r"[/\\:]")  # of a path, or of module:object


def labelled(texts: Sequence[str], default: str, taken: Collection[str] = ()) -> dict[str, str]:
    """Return, by label, what the values of an option ``[LABEL=]NAME`` name, in their order.

    What stands before the first "=" is a label unless it reads like the beginning of a path or of ``module:object``;
    a name with "=" in it that has no label goes with one, or as ``./NAME``.

    Args:
        texts: The values.
        default: The label of the first without one; the next are this with "-2", "-3" and so on behind it.
        taken: Labels that something else has already.

    Raises:
        ValueError: A label cannot be one, or is given twice; or nothing is named.
    """
    pairs = [_split_label(text) for text in texts]
    labels: dict[str, str] = {}
    unlabelled = 0
    for label, name in pairs:
        if label is None:
            unlabelled += 1
            label = default if unlabelled == 1 else f"{default}-{unlabelled}"
        if label in labels or label in taken:
            name = without_login(name)
            raise ValueError(f"There are two systems with the label {label!r}. Give this one another: LABEL={name}")
        labels[label] = name
    return labels


def _split_label(text: str) -> tuple[str | None, str]:
    label, equals, name = text.partition("=")
    if not equals or _NO_LABEL.search(label):
        label, name = "", text
    elif not _LABEL.fullmatch(label):
        raise ValueError(
            f"{label!r} cannot be a label: use letters, digits, '.', '_' and '-', as in my-model={without_login(name)}"
        )
    if not name:
        raise ValueError(f"{text!r} names nothing. Give [LABEL=]NAME")
    return label or None, name
