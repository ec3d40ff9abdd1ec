"""Maps in Zarr stores, read: what they hold, whole bands, and single pixels."""

from __future__ import annotations

import warnings
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
from pixelwise.maps.stores import attributes_in
from pixelwise.words import one_line

__all__ = ["import_zarr", "read_array", "read_points", "read_store"]


def import_zarr() -> Any:
    """Return zarr-python.

    Raises
    ------
    ParameterError
        When it is not installed.
    """
    try:
        import zarr
    except ImportError as error:  # pragma: no cover - the tests' environment has it
        raise ParameterError('Zarr stores need zarr: pip install "pixelwise[zarr]"') from error
    return zarr


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open the group of a store by its consolidated metadata alone, and name the store where reading fails."""
    zarr = import_zarr()
    if attributes_in(path) is None:
        raise InputError(f"{path}: is not a complete Zarr store (it has no consolidated metadata)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixelwise.rasters.zarr_files import RegularFiles

            yield zarr.open_group(RegularFiles(path), mode="r", use_consolidated=True)
    # What zarr-python and its codecs raise for damaged stores is anything.
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, IndexError, AttributeError) as error:
        raise InputError(f"{path}: cannot be read ({one_line(error)}); is a chunk damaged?") from None


def read_store(path: Path) -> tuple[Grid, str | None, list[Band]]:
    """Return the grid of a store, its provenance as text (None if it has none), and its bands.

    Raises
    ------
    InputError
        When it cannot be read, or is not laid out like a map.
    """
    with _opened(path) as group:
        arrays = dict(sorted(_with_bands(group), key=lambda item: int(item[1].attrs[PLACE])))
        if not arrays:
            raise InputError(f"{path}: has no bands as pixelwise writes them")
        shapes = {array.shape[-2:] for array in arrays.values()}
        if len(shapes) > 1:
            raise InputError(f"{path}: its arrays have different sizes: {sorted(shapes)[0]} and {sorted(shapes)[1]}")
        found = {name: (group[name][...], dict(group[name].attrs)) for name in COORDINATES if name in group}
        parts = ((name, dict(array.attrs), array.dtype) for name, array in arrays.items())
        return described(path, shapes.pop(), found, dict(group.attrs), parts)


def _with_bands(group: Any) -> Iterator[tuple[str, Any]]:
    """Yield the arrays that hold bands; others are coordinates."""
    for name, array in group.arrays():
        if array.ndim in (2, 3) and isinstance(array.attrs.get(PLACE), int):
            yield name, array


def _found(group: Any, name: str) -> tuple[Any, tuple[int, ...]]:
    """Return the array with a band, and the index of its layer if it has several."""
    if name in group:
        return group[name], ()
    for _, array in _with_bands(group):
        layers = array.attrs.get(LAYERS, ())
        if name in layers:
            return array, (layers.index(name),)
    raise InputError(f"it has no band {name}")


def read_array(path: Path, name: str, block: Block | None = None) -> NDArray[Any]:
    """Return a band, or a part of it, as (y, x) array.

    Raises
    ------
    InputError
        When it cannot be read.
    """
    with _opened(path) as group:
        array, layer = _found(group, name)
        place = (slice(None), slice(None)) if block is None else block.slices
        found: NDArray[Any] = array[(*layer, *place)]
    return found


def read_points(path: Path, names: Sequence[str], rows: NDArray[np.int64], cols: NDArray[np.int64]) -> Floats:
    """Return (band, pixel) of some pixels; each chunk is decoded once for each band.

    Raises
    ------
    InputError
        When they cannot be read.
    """
    found = np.empty((len(names), len(rows)))
    with _opened(path) as group:
        for row, name in zip(found, names, strict=True):
            array, layer = _found(group, name)
            row[:] = array.vindex[(*(np.full_like(rows, one) for one in layer), rows, cols)]
    return found
