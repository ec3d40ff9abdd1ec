"""Stacks of files as lazy `xarray.DataArray`; needs the extras ``xarray`` and ``dask``."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.dates.labels import labels_of
from pixelwise.errors import ParameterError
from pixelwise.grid import Block
from pixelwise.rasters.conventions import SPATIAL_REF, coordinates_of, dimensions_of, mapping_of
from pixelwise.rasters.handles import reading, take_losses
from pixelwise.stacks.base import FileStack, value_name

try:
    import dask.array
    import xarray
    from dask.delayed import delayed
except ImportError as error:  # pragma: no cover - the tests' environment has both
    raise ParameterError('this needs xarray and dask: pip install "pixelwise[xarray,dask]"') from error

__all__ = ["array_of"]

log = logging.getLogger(__name__)

#: Bytes of a chunk to aim at, and the most that one block of the files may take before it is cut: dask recommends 10
#: to 100 MB, and each block that is cut is decoded several times.
CHUNK_BYTES, LARGEST_BLOCK = 32 << 20, 512 << 20


def array_of(stack: FileStack) -> xarray.DataArray:
    """Return the layers of a stack as a lazy (time, y, x) array, NaN where missing; nothing is read.

    Its chunks are whole blocks of the files and hold all layers, so that each block is decoded once. The time
    coordinate is datetime64, or dates of cftime in another calendar.
    """
    dates, about = labels_of(stack.axis)
    coordinates: dict[str, Any] = {"time": ("time", dates, about)}
    coordinates |= {name: (dimensions_of(name, found[0]), *found) for name, found in coordinates_of(stack.grid).items()}
    coordinates[SPATIAL_REF] = ((), 0, mapping_of(stack.grid))
    attributes = {"units": stack.layout.unit} if stack.layout.unit else {}
    attributes["grid_mapping"] = SPATIAL_REF
    array = xarray.DataArray(_read_lazily(stack), coordinates, ("time", "y", "x"), attrs=attributes)
    # Without this, it has the name of dask's task.
    array.name = value_name(stack)
    return array


def _read_lazily(stack: FileStack) -> Any:
    height, width = _chunk_shape(stack)
    chunks = (
        (len(stack),),
        dask.array.core.normalize_chunks(height, (stack.grid.height,))[0],
        dask.array.core.normalize_chunks(width, (stack.grid.width,))[0],
    )
    # A task of its own, which each worker gets once: a stack of a thousand layers takes a megabyte.
    held = delayed(stack, traverse=False)
    return dask.array.map_blocks(
        _read_chunk, stack=held, chunks=chunks, dtype=stack.dtype, meta=np.empty((0, 0, 0), stack.dtype)
    )


def _read_chunk(stack: FileStack, block_info: Any = None) -> NDArray[Any]:
    """Read one chunk; pixels that are not asked for are missing."""
    _, (top, bottom), (left, right) = block_info[None]["array-location"]
    block = Block(top, left, bottom - top, right - left)
    stack.check_unchanged()
    take_losses()  # discards those of earlier reads in this thread
    with reading():
        inside = stack.area.inside(block)
        if inside is not None and not inside.any():
            return np.full((len(stack), block.height, block.width), np.nan, stack.dtype)
        values = stack.read(block)
    for loss in take_losses():
        log.warning("%s; it counts as missing", loss.reason)
    if inside is not None:
        values[:, ~inside] = np.nan
    return values


def _chunk_shape(stack: FileStack) -> tuple[int, int]:
    """Return the rows and columns of chunks: whole blocks of the files, side by side, then below each other."""
    grid, layout = stack.grid, stack.layout
    most = max(CHUNK_BYTES // (len(stack) * stack.dtype.itemsize), 1)
    height, width = min(layout.block_height, grid.height), min(layout.block_width, grid.width)
    largest = LARGEST_BLOCK // (len(stack) * stack.dtype.itemsize)
    while height * width > largest and height > 1:
        height = -(-height // 2)
    if height * width < most:
        width = min(width * max(most // (height * width), 1), grid.width)
    if width == grid.width and height * width < most:
        height = min(height * max(most // (height * width), 1), grid.height)
    return height, width
