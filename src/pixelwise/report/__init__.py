"""A map as one page for a browser: picture, areas, series, and how it was made."""
