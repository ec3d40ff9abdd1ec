"""Maps in NetCDF files, read: what they hold, whole bands, and single pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band, Floats
from pixelwise.errors import InputError, ParameterError
from pixelwise.grid import Block, Grid
from pixelwise.maps.cf import COORDINATES, LAYERS, PLACE, described
from pixelwise.rasters.netcdf_lock import NETCDF
from pixelwise.regular_files import check_regular
from pixelwise.words import one_line

__all__ = ["import_netcdf", "read_netcdf", "read_netcdf_array", "read_netcdf_points"]

#: Rows and columns that are read around a pixel: chunks are decoded as a whole anyway.
EDGE = 256


def import_netcdf() -> Any:
    """Return netCDF4.

    Raises
    ------
    ParameterError
        When it is not installed.
    """
    try:
        import netCDF4
    except ImportError as error:  # pragma: no cover - the tests' environment has it
        raise ParameterError('NetCDF files need netCDF4: pip install "pixelwise[netcdf]"') from error
    return netCDF4


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    netcdf = import_netcdf()
    check_regular(path)
    try:
        # An absolute path: names such as http://... would be opened over the network.
        with NETCDF, netcdf.Dataset(path.absolute()) as dataset:
            dataset.set_auto_maskandscale(False)
            yield dataset
    except (OSError, RuntimeError, ValueError, IndexError, KeyError, AttributeError) as error:
        reason = one_line(getattr(error, "strerror", "") or error)
        raise InputError(f"{path}: cannot be read ({reason}); is the file truncated?") from None


def _attributes(variable: Any) -> dict[str, Any]:
    return {name: variable.getncattr(name) for name in variable.ncattrs()}


def _with_bands(dataset: Any) -> list[tuple[str, Any]]:
    """Return the variables that hold bands, in their order; others are coordinates."""
    found = [
        (name, variable)
        for name, variable in dataset.variables.items()
        if variable.ndim in (2, 3) and isinstance(_attributes(variable).get(PLACE), np.integer)
    ]
    return sorted(found, key=lambda item: int(item[1].getncattr(PLACE)))


def read_netcdf(path: Path) -> tuple[Grid, str | None, list[Band]]:
    """Return the grid of a file, its provenance as text (None if it has none), and its bands.

    Raises
    ------
    InputError
        When it cannot be read, or is not laid out like a map.
    """
    with _opened(path) as dataset:
        variables = _with_bands(dataset)
        if not variables:
            raise InputError(f"{path}: has no bands as pixelwise writes them")
        height, width = variables[0][1].shape[-2:]
        known = dataset.variables
        found = {
            name: (np.asarray(known[name][...]), _attributes(known[name])) for name in COORDINATES if name in known
        }
        parts = ((name, _attributes(variable), variable.dtype) for name, variable in variables)
        return described(path, (height, width), found, _attributes(dataset), parts)


def _found(dataset: Any, name: str) -> tuple[Any, tuple[int, ...]]:
    """Return the variable with a band, and the index of its layer if it has several."""
    if name in dataset.variables:
        return dataset.variables[name], ()
    for _, variable in _with_bands(dataset):
        layers = _attributes(variable).get(LAYERS, ())
        layers = [layers] if isinstance(layers, str) else list(layers)
        if name in layers:
            return variable, (layers.index(name),)
    raise InputError(f"it has no band {name}")


def read_netcdf_array(path: Path, name: str, block: Block | None = None) -> NDArray[Any]:
    """Return a band, or a part of it, as (y, x) array.

    Raises
    ------
    InputError
        When it cannot be read.
    """
    with _opened(path) as dataset:
        variable, layer = _found(dataset, name)
        place = (slice(None), slice(None)) if block is None else block.slices
        return np.asarray(variable[(*layer, *place)])


def read_netcdf_points(path: Path, names: Sequence[str], rows: NDArray[np.int64], cols: NDArray[np.int64]) -> Floats:
    """Return (band, pixel) of some pixels; each chunk is decoded once for each band.

    Raises
    ------
    InputError
        When they cannot be read.
    """
    found = np.empty((len(names), len(rows)))
    squares = np.stack([rows // EDGE, cols // EDGE], axis=1)
    with _opened(path) as dataset:
        for row, name in zip(found, names, strict=True):
            variable, layer = _found(dataset, name)
            for square in np.unique(squares, axis=0):
                own = (squares == square).all(axis=1)
                top, left = (square * EDGE).tolist()
                pixels = np.asarray(variable[(*layer, slice(top, top + EDGE), slice(left, left + EDGE))])
                row[own] = pixels[rows[own] - top, cols[own] - left]
    return found
