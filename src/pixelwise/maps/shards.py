"""Zarr in pieces: files of chunks, written by whichever worker computed their block, as the format describes them.

numcodecs compresses. What zarr-python would add to each chunk (an event loop, threads of its own, three copies) takes
twice the time of the compression, so that the forty lines of a shard's layout are here; its metadata is zarr-python's
(`pixelwise.maps.zarr_store`), and tests compare what is here with what it writes, byte by byte.
"""

from __future__ import annotations

import itertools
import math
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import OutputError
from pixelwise.grid import Block
from pixelwise.maps.disk import refusal, write
from pixelwise.maps.tiles import TILE, checksum
from pixelwise.rasters.tags import TILE_UNIT
from pixelwise.regular_files import NO_FOLLOW, SAFELY

__all__ = ["Chunking", "ShardEncoder", "StoredArray", "WrittenPieces", "crc32c", "write_file"]

#: Offset and size, in the index of a shard, of a chunk that is not there, and so has nothing but fill values.
ABSENT = 2**64 - 1
#: Decoded bytes of a chunk of many layers.
LARGEST_CHUNK = 8 << 20


@dataclass(frozen=True)
class Chunking:
    """How an array is cut along rows and columns.

    Attributes
    ----------
    piece
        Rows and columns of a file: a shard, or a chunk if chunks have files of their own.
    chunk
        Rows and columns of a chunk.
    """

    piece: tuple[int, int]
    chunk: tuple[int, int]

    @classmethod
    def of(cls, size: tuple[int, int], shard: tuple[int, int], layers: int = 1, *, sharded: bool = True) -> Chunking:
        """Return how to cut an array of (rows, columns), so that a shard is whole files.

        Parameters
        ----------
        size
            Rows and columns of the array.
        shard
            Rows and columns of the blocks of a job, which may be those of the whole array.
        layers
            How many layers a chunk has.
        sharded
            Whether a file holds many chunks.
        """
        edge = TILE
        # Of a thousand layers, chunks are small: whoever reads a pixel decodes one.
        while edge > TILE_UNIT and 8 * layers * edge * edge > LARGEST_CHUNK:
            edge //= 2
        height, width = (_chunk(one, whole, edge) for one, whole in zip(shard, size, strict=True))
        chunk = height, width
        piece = -(-min(shard[0], size[0]) // height) * height, -(-min(shard[1], size[1]) // width) * width
        return cls(piece if sharded else chunk, chunk)


def _chunk(shard: int, size: int, usual: int) -> int:
    """Return an edge of chunks, a multiple of the unit of tiles: it divides that of shards, if there are several."""
    if shard >= size:
        # The last of equal chunks may reach beyond the edge of the raster.
        return math.ceil(size / math.ceil(size / usual) / TILE_UNIT) * TILE_UNIT
    fitting = [edge for edge in range(TILE_UNIT, shard + 1, TILE_UNIT) if shard % edge == 0]
    smaller = max(edge for edge in fitting if edge <= usual)
    # Of a shard of 17 units, chunks of one unit each would be ten times as many as usual.
    larger = [edge for edge in fitting if usual < edge <= 4 * usual]
    return min(larger) if larger and 2 * smaller < min(usual, shard) else smaller


@dataclass(frozen=True)
class StoredArray:
    """One array of a store.

    Attributes
    ----------
    name
        Its name, which is that of its folder.
    dtype
        Data type of its values.
    fill
        What a reader assumes where nothing was written.
    size
        Its rows and columns.
    layers
        How many layers it has; None for an array of (y, x).
    cut
        How it is cut along rows and columns; along time it is not.
    """

    name: str
    dtype: str
    fill: float
    size: tuple[int, int]
    layers: int | None
    cut: Chunking

    @property
    def bands(self) -> int:
        """How many bands of a block it takes."""
        return 1 if self.layers is None else self.layers

    @property
    def pieces(self) -> tuple[int, int]:
        """Rows and columns of files."""
        (height, width), (rows, cols) = self.size, self.cut.piece
        return -(-height // rows), -(-width // cols)


@dataclass(frozen=True)
class WrittenPieces:
    """The files of one block.

    Attributes
    ----------
    counts
        (array, row of files, column of files) bytes of each file.
    checksum
        CRC-32 of all their bytes, one after another.
    """

    counts: NDArray[np.int64]
    checksum: int


@dataclass(frozen=True)
class ShardEncoder:
    """Writes blocks that consist of whole files, into a folder that exists.

    Attributes
    ----------
    folder
        The store's absolute path: a worker may be in another folder.
    beacon
        A file in it: where that is missing, a worker does not see what the others see.
    output
        The path to name in errors.
    arrays
        All with the same files; they take the bands of a block in turn.
    compress
        ``zstd``, ``deflate`` or ``none``.
    zarr_format
        3: files are shards; 2: files are chunks.
    run
        What files have at the end of their names until the parent takes them: a worker of a run that was stopped may
        still write. Nothing if there is no parent.
    """

    folder: str
    beacon: str
    output: str
    arrays: tuple[StoredArray, ...]
    compress: str
    zarr_format: int = 3
    run: str = ""

    def __call__(self, block: Block, layers: NDArray[Any], last: NDArray[Any] | None) -> WrittenPieces:
        """Write (band, y, x) layers of a block and, if given, one more (y, x)."""
        if not os.path.exists(f"{self.folder}/{self.beacon}"):  # noqa: PTH110
            raise OutputError(
                f"{self.output}: a worker does not see {self.folder}; choose an output on a disk that all workers share"
            )
        sizes, total, first = [], 0, 0
        for array in self.arrays:
            own = last[None] if last is not None and first == len(layers) else layers[first : first + array.bands]
            first += array.bands
            for path, part in self.parts(array, block):
                data = self.encode(array, own[:, *part])
                self._write(self.written(path), data)
                sizes.append(len(data))
                total = checksum()(data, total)
        return WrittenPieces(np.array(sizes, dtype=np.int64).reshape(len(self.arrays), *self.shape(block)), total)

    def shape(self, block: Block) -> tuple[int, int]:
        """Return how many rows and columns of files a block has."""
        height, width = self.arrays[0].cut.piece
        return -(-block.height // height), -(-block.width // width)

    def parts(self, array: StoredArray, block: Block) -> Iterator[tuple[Path, tuple[slice, slice]]]:
        """Yield the files of a block, and which of its rows and columns each holds."""
        height, width = array.cut.piece
        for row, col in np.ndindex(self.shape(block)):
            place = [block.row // height + row, block.col // width + col]
            keys = list(map(str, place if array.layers is None else [0, *place]))
            name = "/".join(("c", *keys)) if self.zarr_format == 3 else ".".join(keys)
            inside = slice(row * height, (row + 1) * height), slice(col * width, (col + 1) * width)
            yield Path(self.folder, array.name, name), inside

    def encode(self, array: StoredArray, values: NDArray[Any]) -> bytes:
        """Return the file of (layer, y, x) values."""
        little = np.dtype(array.dtype).newbyteorder("<")
        (rows, cols), (height, width) = array.cut.piece, array.cut.chunk
        found: list[bytes] = []
        index = np.full((rows // height, cols // width, 2), ABSENT, dtype="<u8")
        end = 0
        for row, col in np.ndindex(index.shape[:2]):
            inside = values[:, row * height : (row + 1) * height, col * width : (col + 1) * width]
            if not inside.size:  # beyond the edge of the raster
                continue
            # Chunks have full size, at the edge of the raster too.
            full = np.full((len(values), height, width), array.fill, dtype=little)
            full[:, : inside.shape[1], : inside.shape[2]] = inside
            data = _codec(self.compress)(full)
            index[row, col] = end, len(data)
            end += len(data)
            found.append(data)
        if self.zarr_format == 3:
            found += [index.tobytes(), struct.pack("<I", crc32c(index.tobytes()))]
        return b"".join(found)

    def written(self, path: Path) -> Path:
        """Return the name under which a worker of this run writes a file."""
        return path.with_name(f"{path.name}.{self.run}") if self.run else path

    def _write(self, path: Path, data: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, data)
        except OSError as error:
            raise refusal(f"{self.output}: cannot be written", error) from None


def write_file(path: Path, data: bytes) -> None:
    """Write a whole file; where another worker writes the same bytes again, they are never missing in between.

    Raises
    ------
    OSError
        When it cannot be written, or is a link.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | SAFELY | NO_FOLLOW, 0o666)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        write(file, data)
        file.truncate()


@cache
def _codec(compress: str) -> Callable[[NDArray[Any]], bytes]:
    """Return what compresses a chunk."""
    if compress == "none":
        return lambda chunk: chunk.tobytes()
    # Level 1, as in GeoTIFF: encoding at the usual levels takes as long as decoding all the input.
    if compress == "deflate":
        import deflate

        # numcodecs' gzip holds the time of day, and so gives other bytes each time.
        return lambda chunk: bytes(deflate.gzip_compress(chunk.tobytes(), 1))
    import numcodecs

    codec = numcodecs.Zstd(level=1)
    return lambda chunk: bytes(codec.encode(chunk))


@cache
def _table() -> tuple[int, ...]:
    """Return the remainders of all bytes for CRC-32C (Castagnoli), bits reversed."""
    table = []
    for byte in range(256):
        rest = byte
        for _ in range(8):
            rest = rest >> 1 ^ (0x82F63B78 if rest & 1 else 0)
        table.append(rest)
    return tuple(table)


def crc32c(data: bytes) -> int:
    """Return CRC-32C, by which Zarr protects the index of a shard: a few hundred bytes."""
    table, crc = _table(), 0xFFFFFFFF
    for byte in itertools.chain(data):
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF
