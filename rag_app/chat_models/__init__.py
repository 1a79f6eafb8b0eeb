"""Chat models: named, reached, tried out, and explained where they fail."""
