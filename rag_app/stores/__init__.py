"""Vector stores: one file each."""
