"""Rasters that pixelwise did not make, as maps about which little is known."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from pixelwise.bands import STATUS_BAND, Band
from pixelwise.errors import InputError, ParameterError
from pixelwise.grid import Block
from pixelwise.maps.map import Map, is_map, open_map, open_quietly
from pixelwise.maps.stores import NETCDF, STORE
from pixelwise.rasters.datasets import GDAL_ERRORS
from pixelwise.rasters.headers import grid_of
from pixelwise.rasters.nodata import is_among, nodata_bounds
from pixelwise.regular_files import check_encodable
from pixelwise.words import one_line

__all__ = ["Raster", "open_any"]


@dataclass(frozen=True)
class _Stored:
    """How a file of anyone's holds a band.

    Attributes
    ----------
    nodata
        The number that stands for missing values beside a mask; None where GDAL's mask says it all.
    masked
        Whether anything says that values are missing: nodata, a mask in the file or beside it, or an alpha band.
    scale, offset
        What makes values of stored numbers.
    """

    nodata: float | None
    masked: bool
    scale: float
    offset: float

    def read(self, path: Path, number: int, block: Block) -> NDArray[Any]:
        """Return the (y, x) values of a block, NaN where missing; whole numbers where none is, unless scaled."""
        window = Window(block.col, block.row, block.width, block.height)
        try:
            with open_quietly(path) as dataset:
                values: NDArray[Any] = dataset.read(number, window=window)
                lost = dataset.read_masks(number, window=window) == 0 if self.masked else np.zeros(values.shape, bool)
        except GDAL_ERRORS as error:
            raise InputError(f"{path}: cannot be read ({one_line(error.__cause__ or error)})") from None
        if self.nodata is not None:
            lost |= is_among(values, nodata_bounds([self.nodata], values.dtype))
        scaled = (self.scale, self.offset) != (1, 0)
        if not scaled and not lost.any():
            return values
        exact = values.dtype.kind == "f" or values.dtype.itemsize <= 2
        kind = values.dtype if values.dtype.kind == "f" else np.dtype(np.float32 if exact else np.float64)
        if scaled:
            values = values * np.float64(self.scale) + self.offset
        return np.where(lost, np.nan, values).astype(kind)


@dataclass(frozen=True, repr=False, eq=False)
class Raster(Map):
    """A GeoTIFF of anyone's, whose bands have no kind; see `Map`.

    Attributes
    ----------
    stored
        How the file holds each band, by its name.
    """

    stored: Mapping[str, _Stored] = field(default_factory=dict)

    def read(self, name: str, block: Block) -> NDArray[Any]:
        """Return a part of a band as (y, x) array, NaN where missing."""
        return self.stored[self.band(name).name].read(*self.files[name], block)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a band as (y, x) array, NaN where missing."""
        return self.read(name, self.grid.block)


def open_any(path: Any) -> Map:
    """Open a map, or any other GeoTIFF.

    Parameters
    ----------
    path
        A path, as for `open_map`.

    Raises
    ------
    InputError
        When it cannot be read.
    ParameterError
        When it is no path, such as a `Dataset`.
    """
    if not isinstance(path, (str, Path)):
        remedy = "; write it with pw.apply(array, ..., 'map.zarr'), which computes lazy arrays, or give fdr= to apply"
        raise ParameterError(
            f"expected a Map or its file, not {type(path).__name__}{remedy if hasattr(path, 'data_vars') else ''}"
        )
    file = Path(path)
    check_encodable(file)
    if "{band}" in file.name or file.suffix.lower() in (STORE, NETCDF) or not file.exists() or is_map(file):
        return open_map(path)
    try:
        with open_quietly(file) as dataset:
            grid = grid_of(dataset, file)
            columns = list(zip(
                dataset.descriptions, dataset.units, dataset.dtypes, dataset.nodatavals, dataset.scales,
                dataset.offsets, dataset.mask_flag_enums, dataset.colorinterp, strict=True,
            ))  # fmt: skip
    except GDAL_ERRORS as error:
        raise InputError(f"{file}: cannot be read ({one_line(error)})") from None
    if any(one[2].startswith("complex") for one in columns):
        raise InputError(f"{file}: holds complex numbers, which have no order to draw")
    names = _names([one[0] or "" for one in columns])
    bands, files, stored = [], {}, {}
    # What somebody described is data, as in stacks.
    alpha = [color == ColorInterp.alpha and not one for one, *_, color in columns]
    for index, (name, (_, unit, _, nodata, scale, offset, flags, _)) in enumerate(zip(names, columns, strict=True), 1):
        if alpha[index - 1] and not all(alpha):
            continue
        bands.append(Band(name, unit=unit or ""))
        files[name] = (file, index)
        masked = MaskFlags.all_valid not in flags and (MaskFlags.alpha not in flags or any(alpha))
        stored[name] = _Stored(None if MaskFlags.nodata in flags else nodata, masked, scale, offset)
    return Raster(grid, tuple(bands), files=files, stored=stored)


def _names(described: Sequence[str]) -> list[str]:
    """Return a name for each band: its description, if no other band has it and it means nothing here."""
    names: list[str] = []
    for index, description in enumerate(described, 1):
        own = f"band {index}"
        name = description if description and described.count(description) == 1 else own
        # Not the codes of pixelwise; not another band.
        if name == STATUS_BAND.name or (re.fullmatch(r"band \d+", name) and name != own):
            name = f"{name} ({own})"
        names.append(name if name not in names else f"{name} ({own})")
    return names
