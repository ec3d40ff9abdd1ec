"""Maps as `xarray.Dataset`; needs the extra ``xarray``."""

from __future__ import annotations

import numpy as np

from pixelwise.errors import ParameterError
from pixelwise.maps.map import Map

try:
    import xarray
except ImportError as error:  # pragma: no cover - the tests' environment has it
    raise ParameterError('this needs xarray: pip install "pixelwise[xarray]"') from error

__all__ = ["dataset_of"]


def dataset_of(map_: Map) -> xarray.Dataset:
    """Return a map as a dataset: (y, x) variables with coordinates of pixel centres, CRS as WKT.

    A rotated grid gets no coordinates, as it has no one-dimensional ones.
    """
    grid = map_.grid
    transform = grid.transform
    coordinates = {}
    if transform.b == 0 and transform.d == 0:
        coordinates["x"] = transform.c + transform.a * (np.arange(grid.width) + 0.5)
        coordinates["y"] = transform.f + transform.e * (np.arange(grid.height) + 0.5)
    variables = {
        band.name: (("y", "x"), map_[band.name], {"long_name": band.description, "units": band.unit})
        for band in map_.bands
    }
    dataset = xarray.Dataset(variables, coordinates, {"transform": list(transform)[:6]})
    if grid.crs is not None:
        # CF's grid mapping, as rioxarray reads and writes it.
        dataset = dataset.assign_coords(spatial_ref=0)
        dataset["spatial_ref"].attrs["crs_wkt"] = grid.crs.to_wkt()
        for name in map_.names:
            dataset[name].attrs["grid_mapping"] = "spatial_ref"
    return dataset
