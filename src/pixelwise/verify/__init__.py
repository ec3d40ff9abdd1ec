"""Pixels of a map computed again by another way than the one that made it."""
