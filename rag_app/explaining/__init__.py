"""How searches compare, and why a passage stands where it stands."""
