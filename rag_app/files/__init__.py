"""Files of all kinds, also of strangers: told apart, unpacked, and read within limits."""
