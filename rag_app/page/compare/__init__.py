"""The view that compares systems, and why an article stands where it stands."""
