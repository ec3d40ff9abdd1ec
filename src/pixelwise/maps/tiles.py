"""GeoTIFF in two parts: tiles, encoded wherever a block was computed, and the head of the file that holds them.

GDAL encodes both. A worker has it write a block as a small file in memory and extracts the tiles; the head is that of
a file of the whole raster without any tiles, whose places are filled in at the end.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from pixelwise.bands import Band
from pixelwise.choices import Compression
from pixelwise.grid import Block, Grid
from pixelwise.rasters.tags import TILE_COUNTS, TILE_OFFSETS, find_tags, read_tags

__all__ = ["TILE", "EncodedTiles", "TileEncoder", "TiledFile", "checksum", "default_compression"]

#: Level 1 of ZSTD or DEFLATE: encoding at the usual levels takes as long as decoding all the input.
OPTIONS: dict[str, dict[str, Any]] = {
    "zstd": {"compress": "zstd", "zstd_level": 1},
    "deflate": {"compress": "deflate", "zlevel": 1},
    "lzw": {"compress": "lzw"},
    "none": {},
}

#: Whatever GDAL's environment says: workers are threads already, and readers here expect little-endian files.
CREATION = {"num_threads": 1, "endianness": "little"}

#: The largest edge of a map's tiles.
TILE = 256

#: rasterio would warn about a file without georeferencing.
ANYWHERE = rasterio.Affine(1, 0, 1, 0, -1, 1)

#: Rasters with more uncompressed bytes are written as BigTIFF: tiles may grow by half when compressed, and a classic
#: TIFF holds 4 GiB.
LARGEST_CLASSIC = 2 << 30


@cache
def default_compression() -> Compression:
    """Return ZSTD if this GDAL can write it, else DEFLATE."""
    try:
        _encode(np.zeros((1, 1, 1), np.uint8), None, (16, 16), "zstd")
    except RasterioError:
        return "deflate"
    return "zstd"


@cache
def checksum() -> Callable[..., int]:
    """Return CRC-32 of bytes, and of those before them if it is given: libdeflate's, six times as fast as zlib's."""
    import deflate

    return deflate.crc32  # type: ignore[no-any-return]


def band_tags(band: Band) -> dict[str, str]:
    """Return what a GeoTIFF says of a band beside its name and unit; `map.open_map` reads it back."""
    said = {"KIND": band.kind, "PVALUE": band.pvalue}
    return {
        "DESCRIPTION": band.description,
        "INTEGER": "YES" if band.integer else "NO",
        **{name: text for name, text in said.items() if text},
    }


@dataclass(frozen=True)
class EncodedTiles:
    """Tiles of one file, one after another: by band, row and column.

    Attributes
    ----------
    data
        The bytes of all tiles.
    counts
        (band, tile row, tile column) bytes of each tile.
    checksum
        CRC-32 of `data`.
    """

    data: bytes
    counts: NDArray[np.int64]
    checksum: int


@dataclass(frozen=True)
class TileEncoder:
    """Encodes blocks that start where a tile starts.

    Attributes
    ----------
    tile
        Rows and columns of a tile.
    compress
        The compression of tiles.
    dtype
        Data type of the file.
    """

    tile: tuple[int, int]
    compress: Compression
    dtype: str

    def __call__(self, block: Block, layers: NDArray[Any], last: NDArray[Any] | None) -> EncodedTiles:
        """Encode (band, y, x) layers and, if given, one more (y, x)."""
        own = layers.astype(self.dtype, copy=False)
        status = None if last is None else last.astype(self.dtype, copy=False)
        return _encode(own, status, self.tile, self.compress)


def _encode(
    layers: NDArray[Any], last: NDArray[Any] | None, tile: tuple[int, int], compress: Compression
) -> EncodedTiles:
    """Encode (band, y, x) layers and, if given, one more (y, x)."""
    count, height, width = len(layers) + (last is not None), *layers.shape[1:]
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", count=count, height=height, width=width, dtype=layers.dtype, tiled=True,
            blockysize=tile[0], blockxsize=tile[1], interleave="band", bigtiff="yes", **CREATION, **OPTIONS[compress],
            transform=ANYWHERE,
        ) as dataset:  # fmt: skip
            if len(layers):
                dataset.write(layers, range(1, len(layers) + 1))
            if last is not None:
                dataset.write(last, count)
        tags = read_tags(memory, (TILE_OFFSETS, TILE_COUNTS))
        offsets, counts = tags[TILE_OFFSETS].tolist(), tags[TILE_COUNTS]
        with memoryview(memory.getbuffer()) as file:
            data = b"".join([file[start : start + size] for start, size in zip(offsets, counts.tolist(), strict=True)])
    return EncodedTiles(data, counts.reshape(count, -(-height // tile[0]), -(-width // tile[1])), checksum()(data))


@dataclass(frozen=True)
class TiledFile:
    """A GeoTIFF to be assembled.

    Attributes
    ----------
    grid, bands, dtype
        The raster, and how its values are stored.
    nodata
        None if no value is missing.
    tile, compress
        As in `TileEncoder`.
    """

    grid: Grid
    bands: tuple[Band, ...]
    dtype: str
    nodata: float | None
    tile: tuple[int, int]
    compress: Compression

    @property
    def tiles(self) -> tuple[int, int, int]:
        """Bands, rows and columns of tiles."""
        return len(self.bands), -(-self.grid.height // self.tile[0]), -(-self.grid.width // self.tile[1])

    def head(self, tags: dict[str, str], offsets: NDArray[np.int64], counts: NDArray[np.int64]) -> bytes:
        """Return the bytes before the tiles.

        Parameters
        ----------
        tags
            Tags of the whole file.
        offsets, counts
            Arrays shaped like `tiles`: where each tile begins in the file, and its size in bytes.
        """
        grid = self.grid
        # Tiles at the edge have full size.
        size = math.prod(self.tiles) * math.prod(self.tile) * np.dtype(self.dtype).itemsize
        with MemoryFile() as memory:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                dataset = memory.open(
                    driver="GTiff", count=len(self.bands), height=grid.height, width=grid.width, dtype=self.dtype,
                    crs=grid.crs, transform=grid.transform, nodata=self.nodata, tiled=True, blockysize=self.tile[0],
                    blockxsize=self.tile[1], interleave="band", sparse_ok=True,
                    bigtiff="yes" if size > LARGEST_CLASSIC else "no", **CREATION, **OPTIONS[self.compress],
                )  # fmt: skip
            with dataset:
                for index, band in enumerate(self.bands, 1):
                    dataset.set_band_description(index, band.name)
                    dataset.set_band_unit(index, band.unit)
                    dataset.update_tags(index, **band_tags(band))
                dataset.update_tags(**tags)
            head = bytearray(memory.read())
        fields = find_tags(io.BytesIO(head), (TILE_OFFSETS, TILE_COUNTS))
        for tag, numbers in ((TILE_OFFSETS, offsets), (TILE_COUNTS, counts)):
            field = fields[tag]
            filled = numbers.reshape(-1).astype(field.dtype)
            if field.count != filled.size or (filled != numbers.reshape(-1)).any():
                raise AssertionError(f"{field} cannot hold the tiles' places")
            head[field.position : field.position + filled.nbytes] = filled.tobytes()
        return bytes(head)
