"""Answers, sources and texts as HTML and Markdown for a page."""
