"""Takes keys and passwords out of what is logged or printed: a second line of defence, for what nobody thought of."""

import json
import os
import re

HIDDEN = "***"
_VARIABLE = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
_SHORTEST = 8  # characters; hiding a shorter value would hide words
_SHAPES = (
    re.compile(r"(?<=://)[^/\s:@\"']+:[^/\s@\"']+(?=@)"),  # user:password@ in an address
    re.compile(r"(?i)(?<=bearer )[\w.~+/-]{8,}=*"),
    re.compile(r"\b(?:sk|gsk|hf|xai|up|pk|rk)[-_][\w-]{12,}"),
    re.compile(r"\bAIza[\w-]{20,}"),
)


def public_environment() -> dict[str, str]:
    """Return this process's variables without keys and passwords, for a child that needs none."""
    return {name: value for name, value in os.environ.items() if not _VARIABLE.search(name)}


def without_secrets(text: str) -> str:
    """Return a text without what looks like a key, and without the values of variables such as ``OPENAI_API_KEY``."""
    secrets = {value for name, value in os.environ.items() if len(value) >= _SHORTEST and _VARIABLE.search(name)}
    for secret in sorted(secrets, key=len, reverse=True):  # one may begin with another
        text = text.replace(secret, HIDDEN).replace(json.dumps(secret, ensure_ascii=False)[1:-1], HIDDEN)
    for shape in _SHAPES:
        text = shape.sub(HIDDEN, text)
    return text
