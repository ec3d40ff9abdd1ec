"""Maps summarized by zones: polygons, or classes of a raster."""
