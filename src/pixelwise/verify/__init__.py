"""Pixels of a map recomputed in a different way from the one that made it."""
