"""Compiled loops over pixels, and the tables that they read."""
