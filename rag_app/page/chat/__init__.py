"""The view of the conversation."""
