"""Layers of pixels on one grid, read block by block."""
