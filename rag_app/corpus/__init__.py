"""The articles of indexes: listed and surveyed, and files made articles of in the background."""
