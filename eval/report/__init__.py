"""What was measured, for people: on the screen, as a page, as Markdown and in TREC's format."""
