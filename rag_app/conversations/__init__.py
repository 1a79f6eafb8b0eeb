"""Conversations: kept, exported, and how one can begin."""
