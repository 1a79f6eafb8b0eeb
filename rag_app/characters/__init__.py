"""Characters that look alike, stand for others, or are not seen at all."""
