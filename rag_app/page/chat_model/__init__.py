"""The choice of a chat model."""
