"""How a password is sent."""

import unicodedata

from pydantic import SecretStr


def bearer(password: SecretStr) -> bytes:
    """Return the value of the header ``Authorization``, whichever way a keyboard composed the password's letters."""
    return b"Bearer " + unicodedata.normalize("NFC", password.get_secret_value()).encode()
