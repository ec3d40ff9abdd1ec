"""Arrays in NetCDF and Zarr that tests write and read back."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from rasterio.crs import CRS

from support.dates import MONTH
from support.rasters import PROFILE

WKT = CRS.from_string(PROFILE["crs"]).to_wkt()
#: Monthly, as CF writes it.
UNITS = "days since 2001-01-01"


def month_starts(count: int) -> Any:
    """Return (time,) days from 2001-01-01 to the first of each month."""
    months = (np.datetime64("2001-01") + np.arange(count) * MONTH).astype("datetime64[D]")
    return (months - np.datetime64("2001-01-01")).astype(np.int64)


def centres(size: int, first: float, step: float) -> Any:
    """Return (size,) centres of pixels of which the first begins at `first`."""
    return first + step * (np.arange(size) + 0.5)


def cube(
    values: Any,
    *,
    name: str = "v",
    numbers: Any = None,
    units: str = UNITS,
    attrs: Mapping[str, Any] | None = None,
    calendar: str = "",
    projected: bool = True,
) -> xr.Dataset:
    """Return a dataset of one (time, y, x) variable, not encoded: numbers and attributes as a file holds them.

    Its grid is that of `support.rasters.PROFILE`, or else longitudes and latitudes of one degree.
    """
    steps, height, width = values.shape
    time = month_starts(steps) if numbers is None else np.asarray(numbers)
    words = {"units": units} | ({"calendar": calendar} if calendar else {})
    if projected:
        transform = PROFILE["transform"]
        y = ("y", centres(height, transform.f, transform.e), {})
        x = ("x", centres(width, transform.c, transform.a), {})
        mapping = {"spatial_ref": ((), 0, {"crs_wkt": WKT})}
        more = {"grid_mapping": "spatial_ref"}
    else:
        y = ("y", centres(height, 50.0, -1.0), {"units": "degrees_north"})
        x = ("x", centres(width, 0.0, 1.0), {"units": "degrees_east"})
        mapping, more = {}, {}
    variable = (("time", "y", "x"), values, {**more, **(attrs or {})})
    return xr.Dataset({name: variable, **mapping}, {"time": ("time", time, words), "y": y, "x": x})


def write_netcdf(path: Path, dataset: xr.Dataset, **encoding: Any) -> Path:
    """Write a dataset as it is; `encoding` is that of every variable with three dimensions."""
    dataset.to_netcdf(path, engine="netcdf4", encoding=_encodings(dataset, encoding))
    return path


def write_zarr(path: Path, dataset: xr.Dataset, *, zarr_format: int = 3, **encoding: Any) -> Path:
    """Write a dataset as it is; `encoding` is that of every variable with three dimensions."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata", UserWarning)
        dataset.to_zarr(path, zarr_format=zarr_format, encoding=_encodings(dataset, encoding))
    return path


def _encodings(dataset: xr.Dataset, encoding: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, variable in dataset.variables.items():
        own = dict(encoding) if variable.ndim >= 3 else {}
        # xarray would add NaN.
        if variable.dtype.kind == "f" and "_FillValue" not in variable.attrs:
            own["_FillValue"] = None
        found[str(name)] = own
    return found


def reordered(dataset: xr.Dataset, name: str, dims: Sequence[str]) -> xr.Dataset:
    """Return a dataset with the dimensions of one variable in another order."""
    return dataset.assign({name: dataset[name].transpose(*dims)})
