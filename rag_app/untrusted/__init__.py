"""What documents and chat models wrote, made harmless: text for a prompt, and text out of a model."""
