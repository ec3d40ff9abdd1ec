"""Local raster files: headers, windows of pixels, and which pixels to use."""
