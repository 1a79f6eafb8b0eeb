"""Thumbs below answers, and the view in which feedback is reviewed."""
