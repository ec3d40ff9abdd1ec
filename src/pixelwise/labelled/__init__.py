"""Arrays with labelled dimensions, those of xarray, through the same methods and the same engine as files."""
