"""Rasters that pixelwise did not make, as maps about which little is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band
from pixelwise.errors import InputError
from pixelwise.grid import Block
from pixelwise.maps.map import Map, is_map, open_map, open_quietly, read_block
from pixelwise.maps.stores import NETCDF, STORE
from pixelwise.rasters.datasets import GDAL_ERRORS
from pixelwise.rasters.headers import grid_of
from pixelwise.regular_files import check_encodable
from pixelwise.words import one_line

__all__ = ["Raster", "open_any"]


@dataclass(frozen=True, repr=False, eq=False)
class Raster(Map):
    """A GeoTIFF of anyone's, whose bands have no kind; see `Map`.

    Attributes
    ----------
    nodata
        The number that stands for missing values in each band; None where none does.
    """

    nodata: tuple[float | None, ...] = ()

    def read(self, name: str, block: Block) -> NDArray[Any]:
        """Return a part of a band as (y, x) array, NaN where missing."""
        path, number = self.files[self.band(name).name]
        values: NDArray[Any] = read_block(path, block, number)
        nodata = self.nodata[number - 1]
        if nodata is None:
            return values
        lost = np.isnan(values) if np.isnan(nodata) else values == values.dtype.type(nodata)
        if not lost.any():
            return values
        wide = values.dtype if values.dtype.kind == "f" else np.float64 if values.dtype.itemsize > 2 else np.float32
        return np.where(lost, np.nan, values).astype(wide)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a band as (y, x) array, NaN where missing."""
        return self.read(name, self.grid.block)


def open_any(path: str | Path) -> Map:
    """Open a map, or any other GeoTIFF.

    Parameters
    ----------
    path
        As for `open_map`.

    Raises
    ------
    InputError
        When it cannot be read.
    """
    file = Path(path)
    check_encodable(file)
    if "{band}" in file.name or file.suffix.lower() in (STORE, NETCDF) or not file.exists() or is_map(file):
        return open_map(path)
    try:
        with open_quietly(file) as dataset:
            grid = grid_of(dataset, file)
            columns = list(zip(dataset.indexes, dataset.descriptions, dataset.units, dataset.dtypes, strict=True))
            nodata = tuple(dataset.nodatavals)
    except GDAL_ERRORS as error:
        raise InputError(f"{file}: cannot be read ({one_line(error)})") from None
    if any(kind.startswith("complex") for *_, kind in columns):
        raise InputError(f"{file}: holds complex numbers, which have no order to draw")
    named = [name or f"band {index}" for index, name, *_ in columns]
    names = [name if named.count(name) == 1 else f"band {index}" for index, name in enumerate(named, 1)]
    bands = tuple(Band(name, unit=unit or "") for name, (_, _, unit, _) in zip(names, columns, strict=True))
    files = {name: (file, index) for index, name in enumerate(names, 1)}
    return Raster(grid, bands, files=files, nodata=nodata)
