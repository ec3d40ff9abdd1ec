"""Maps in formats with variables, read through the package that each needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band, Floats
from pixelwise.errors import InputError
from pixelwise.grid import Block, Grid
from pixelwise.maps import netcdf_reader, store_reader
from pixelwise.maps.stores import STORE

__all__ = ["is_netcdf_map", "read_array", "read_head", "read_points", "read_window"]


def _is_store(path: Path) -> bool:
    return path.suffix.lower() == STORE


def read_head(path: Path) -> tuple[Grid, str | None, list[Band]]:
    """Return the grid, the provenance as text (None if there is none), and the bands; InputError if that fails."""
    return store_reader.read_store(path) if _is_store(path) else netcdf_reader.read_netcdf(path)


def read_array(path: Path, name: str) -> NDArray[Any]:
    """Return a band as (y, x) array; InputError if that fails."""
    return store_reader.read_array(path, name) if _is_store(path) else netcdf_reader.read_netcdf_array(path, name)


def read_window(path: Path, name: str, block: Block) -> NDArray[Any]:
    """Return a part of a band as (y, x) array; InputError if that fails."""
    read = store_reader.read_array if _is_store(path) else netcdf_reader.read_netcdf_array
    return read(path, name, block)


def read_points(path: Path, names: Sequence[str], rows: NDArray[np.int64], cols: NDArray[np.int64]) -> Floats:
    """Return (band, pixel) of some pixels; InputError if that fails."""
    read = store_reader.read_points if _is_store(path) else netcdf_reader.read_netcdf_points
    return read(path, names, rows, cols)


def is_netcdf_map(path: Path) -> bool:
    """Whether a NetCDF file was written by pixelwise."""
    try:
        return netcdf_reader.read_netcdf(path)[1] is not None
    except InputError:
        return False
