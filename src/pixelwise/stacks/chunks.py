"""What is read together, what the chunks of arrays cost, and how to rewrite arrays in others."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable

from pixelwise.rasters.pieces import Piece

__all__ = ["grouped", "line_that_rewrites", "small_chunks"]

#: xarray's names of what reads arrays.
ENGINES = {"NetCDF": "netcdf4", "Zarr": "zarr"}
#: Bytes of a chunk that zarr decodes in the time that it takes to find it: half a millisecond.
SMALL_CHUNK = 128 << 10
#: The chunks to aim at: a megabyte of 64 dates.
EDGE, DATES = 64, 64


def small_chunks(piece: Piece, layers: int, chunk_bytes: int) -> int:
    """Return the number of chunks of an array, if they are so small that finding each takes longer than decoding it.

    Parameters
    ----------
    piece
        One of its layers; the result is 0 for a raster.
    layers
        Number of layers.
    chunk_bytes
        Bytes of a decoded chunk.
    """
    if piece.array is None or chunk_bytes >= SMALL_CHUNK:
        return 0
    (height, width), size = piece.array.chunk, piece.size
    of_all = math.ceil(layers / piece.array.time_chunk)
    return of_all * math.ceil(size.height / height) * math.ceil(size.width / width)


def line_that_rewrites(piece: Piece, layers: int) -> str:
    """Return the line of Python that writes an array in chunks of many dates and few pixels; empty for a raster."""
    place = piece.array
    if place is None or not place.time:
        return ""
    group = f", group={place.group!r}" if place.group else ""
    # As it is stored, but not in the chunks that it has.
    options = f"engine={ENGINES[piece.driver]!r}{group}, chunks={{}}, mask_and_scale=False, decode_times=False"
    opened = f"xarray.open_dataset({str(piece.path)!r}, {options}).drop_encoding()"
    sizes = {place.time: min(layers, DATES), place.y: EDGE, place.x: EDGE}
    return f"{opened}.chunk({sizes}).to_zarr({f'{piece.path.stem}_chunked.zarr'!r})"


def grouped(keys: Iterable[Hashable]) -> list[list[int]]:
    """Return the numbers of equal keys together, in the order of their first."""
    found: dict[Hashable, list[int]] = {}
    for number, key in enumerate(keys):
        found.setdefault(key, []).append(number)
    return list(found.values())
