"""GeoTIFF files whose blocks are decoded here instead of by GDAL, which takes up to twice as long.

What such a file may be is narrow: what Earth Engine, GDAL and R write by default. Everything else, and every
block that cannot be decoded, is left to GDAL, which also knows how to say what is wrong with it.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pixelwise.grid import Block

__all__ = [
    "TILE_COUNTS",
    "TILE_OFFSETS",
    "DamagedBlockError",
    "TiffFile",
    "find_tags",
    "open_tiff",
    "read_tags",
    "release_buffers",
]

#: From the bytes of a block and its size to the bytes that it holds, nothing of a damaged one.
Inflate = Callable[[NDArray[np.uint8], int], bytes | bytearray]

#: Tags of TIFF 6.0 that are read: what the file is, then where its blocks are.
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
SAMPLES, STRIP_HEIGHT, PLANAR, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, SAMPLE_FORMAT = 277, 278, 284, 317, 322, 323, 339
STRIP_OFFSETS, STRIP_COUNTS, TILE_OFFSETS, TILE_COUNTS = 273, 279, 324, 325
STRUCTURE = (
    WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, SAMPLES, STRIP_HEIGHT, PLANAR, PREDICTOR, TILE_WIDTH,
    TILE_HEIGHT, SAMPLE_FORMAT,
)  # fmt: skip

#: Types of field that writers use for these tags; libtiff knows more, which are left to it.
FIELD_TYPES = {3: "<u2", 4: "<u4", 16: "<u8"}
KINDS = {1: "uint", 2: "int", 3: "float"}
LZW, DEFLATE = 5, (8, 32946)
#: Min-is-white, min-is-black, RGB, palette: of these GDAL gives the numbers that are stored.
AS_STORED = (0, 1, 2, 3)

#: Smaller blocks are many, and inflating each is a call from Python: GDAL was 1.4 times as fast with strips of one
#: row. LZW blocks are decoded in one call however many they are.
LEAST_DEFLATE = 64 << 10
#: Kernels count a block's bytes in 24 bits.
MOST_BLOCK = 1 << 24
#: A file of more directory entries than this is none that a raster program wrote.
MOST_TAGS = 1000


@dataclass(frozen=True, eq=False)
class TiffFile:
    """One open file and where its blocks are; for one thread at a time.

    Attributes
    ----------
    file
        Open and unbuffered.
    height, width, samples
        Of the raster.
    block_height, block_width
        Of its tiles or strips.
    itemsize
        Bytes of a number.
    planar
        Whether each band has blocks of its own.
    inflate
        What decompresses a block; None where its codes are LZW.
    predictor
        1 for none, 2 for differences, 3 for those of floating point numbers.
    offsets, counts
        Where each block's bytes begin, and how many they are.
    tiled
        Whether the last row of blocks has as many rows as the others.
    """

    file: BinaryIO
    height: int
    width: int
    samples: int
    block_height: int
    block_width: int
    itemsize: int
    planar: bool
    inflate: Inflate | None
    predictor: int
    offsets: NDArray[np.int64]
    counts: NDArray[np.int64]
    tiled: bool

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def __del__(self) -> None:
        # A thread that ends drops its open files, as rasterio's are dropped; Python would warn of this one.
        self.file.close()

    def warm_up(self) -> None:
        """Compile what `read` needs."""
        nothing = np.empty((1, 0, 0), dtype=f"u{self.itemsize}")
        self._place(np.empty(0, dtype=np.uint8), np.zeros((1, 5), dtype=np.int64), np.zeros(1, dtype=np.int64), nothing)

    def read(self, bands: tuple[int, ...], window: Block, out: NDArray[Any]) -> bool:
        """Read a window of some bands, numbered from 1, into contiguous (band, y, x) of the file's type.

        Returns
        -------
        bool
            False where the window or a band is not in the file, or a block is absent or cannot be decoded; `out`
            then holds anything.

        Raises
        ------
        DamagedBlockError
            When a DEFLATE stream is broken.
        """
        if not (
            1 <= min(bands) <= max(bands) <= self.samples
            and 0 <= window.row <= self.height - window.height
            and 0 <= window.col <= self.width - window.width
        ):
            return False
        target = out.view(f"u{self.itemsize}")
        rows = np.arange(window.row // self.block_height, -(-(window.row + window.height) // self.block_height))
        columns = np.arange(window.col // self.block_width, -(-(window.col + window.width) // self.block_width))
        across = -(-self.width // self.block_width)
        numbers = (rows[:, None] * across + columns).ravel()
        blocks = np.empty((numbers.size, 5), dtype=np.int64)
        blocks[:, 2] = np.repeat(rows * self.block_height - window.row, columns.size)
        blocks[:, 3] = np.tile(columns * self.block_width - window.col, rows.size)
        blocks[:, 4] = self.block_height
        if not self.tiled:
            blocks[:, 4] = np.minimum(self.block_height, self.height - window.row - blocks[:, 2])
        if not self.planar:
            return self._decode(numbers, blocks, np.array(bands, dtype=np.int64) - 1, target)
        plane = across * -(-self.height // self.block_height)
        first = np.zeros(1, dtype=np.int64)
        return all(
            self._decode(numbers + (band - 1) * plane, blocks, first, target[index : index + 1])
            for index, band in enumerate(bands)
        )

    def _decode(
        self, numbers: NDArray[np.int64], blocks: NDArray[np.int64], picked: NDArray[np.int64], out: NDArray[Any]
    ) -> bool:
        """Decode some blocks into a window; whence their bytes come is filled in."""
        try:
            data = self._fetch(numbers, blocks, 2 * int(blocks[:, 4].sum()) * self._row_size)
        except (OSError, ValueError):  # of the disk, or of a file that was closed
            return False
        return data is not None and self._place(data, blocks, picked, out)

    @property
    def _row_size(self) -> int:
        """Bytes of a row of pixels in a block."""
        return self.block_width * self.itemsize * (1 if self.planar else self.samples)

    def _place(
        self, data: NDArray[np.uint8], blocks: NDArray[np.int64], picked: NDArray[np.int64], out: NDArray[Any]
    ) -> bool:
        from pixelwise.decode import place, place_lzw

        buffers = _buffers()
        shape = self.block_width, 1 if self.planar else self.samples, self.predictor
        line, octets = buffers.rows(self._row_size)
        line = line.view(out.dtype)
        if self.inflate is None:
            decoded = buffers.decoded(self.block_height * self._row_size)
            stored = decoded.view(out.dtype)
            strings = buffers.strings
            done = place_lzw(data, blocks, shape, picked, strings, decoded, stored, line, octets, out)
            return done == len(blocks)
        for block in blocks:
            start, count, _, _, rows = block.tolist()
            inflated = self.inflate(data[start : start + count], rows * self._row_size)
            if len(inflated) != rows * self._row_size:
                if is_damaged(data[start : start + count]):
                    raise DamagedBlockError(f"block at byte {int(block[0])} is no whole DEFLATE stream")
                return False
            decoded = np.frombuffer(inflated, dtype=np.uint8)
            place(decoded, decoded.view(out.dtype), 0, block, shape, picked, line, octets, out)
        return True

    def _fetch(self, numbers: NDArray[np.int64], blocks: NDArray[np.int64], most: int) -> NDArray[np.uint8] | None:
        """Read the bytes of some blocks, in few runs; None where they are absent, or more than `most`."""
        from pixelwise.decode import SLACK

        offsets, counts = self.offsets[numbers], self.counts[numbers]
        if counts.min() <= 0 or offsets.min() <= 0 or counts.sum() > most:
            return None
        order = np.argsort(offsets, kind="stable")
        ends = np.maximum.accumulate((offsets + counts)[order])
        # Blocks with a gap between them are read at once where it is no larger than the one before: at most twice
        # what is wanted.
        heads = np.flatnonzero(np.append(True, offsets[order][1:] - ends[:-1] > counts[order][:-1]))
        begins, stops = offsets[order][heads], ends[np.append(heads[1:], len(order)) - 1]
        places = np.append(0, np.cumsum(stops - begins))
        data = _buffers().data(int(places[-1]) + SLACK)
        for begin, start, stop in zip(begins.tolist(), places[:-1].tolist(), places[1:].tolist(), strict=True):
            self.file.seek(begin)
            if self.file.readinto(data[start:stop].data) != stop - start:  # type: ignore[attr-defined]
                return None
        run = np.searchsorted(begins, offsets, side="right") - 1
        blocks[:, 0] = offsets - begins[run] + places[run]
        blocks[:, 1] = counts
        return data


class _Buffers:
    """Memory that a thread uses again for each window."""

    def __init__(self) -> None:
        from pixelwise.decode import lzw_strings

        self.strings = lzw_strings()
        self._data = np.empty(0, dtype=np.uint8)
        self._decoded = np.empty(0, dtype=np.uint8)
        self._rows = np.empty((2, 0), dtype=np.uint8)

    def data(self, size: int) -> NDArray[np.uint8]:
        """Return memory for at least so many bytes of files."""
        if self._data.size < size:
            self._data = np.empty(size, dtype=np.uint8)
        return self._data

    def decoded(self, size: int) -> NDArray[np.uint8]:
        """Return memory for a decoded block of so many bytes, behind the literals."""
        from pixelwise.decode import LITERALS, SLACK

        if self._decoded.size < LITERALS + size + SLACK:
            self._decoded = np.empty(-(-(LITERALS + size + SLACK) // 8) * 8, dtype=np.uint8)
            self._decoded[:LITERALS] = np.arange(LITERALS)
        return self._decoded

    def rows(self, size: int) -> NDArray[np.uint8]:
        """Return memory for two rows of exactly so many bytes."""
        if self._rows.shape[1] != size:
            self._rows = np.empty((2, size), dtype=np.uint8)
        return self._rows


_THREAD = threading.local()


def _buffers() -> _Buffers:
    """Return those of this thread."""
    try:
        buffers: _Buffers = _THREAD.buffers
    except AttributeError:
        buffers = _THREAD.buffers = _Buffers()
    return buffers


def release_buffers() -> None:
    """Give back this thread's memory."""
    _THREAD.__dict__.clear()


class DamagedBlockError(Exception):
    """A block whose bytes are not what was written: GDAL 3.10 gives numbers for it where there is a predictor."""


def is_damaged(data: NDArray[np.uint8]) -> bool:
    """Whether a zlib stream is broken or ends early, rather than only longer or shorter than expected."""
    stream = zlib.decompressobj()
    try:
        stream.decompress(data.data)
    except zlib.error:
        return True
    return not stream.eof


@cache
def inflater() -> Inflate | None:
    """Return what decompresses zlib streams of known size; None where it is not installed."""
    try:
        import deflate
    except ImportError:
        return None

    def inflate(data: NDArray[np.uint8], size: int) -> bytes | bytearray:
        try:
            return deflate.zlib_decompress(data, size)  # type: ignore[no-any-return]
        except deflate.DeflateError:
            return b""

    return inflate


def open_tiff(path: Path, height: int, width: int, dtype: str) -> TiffFile | None:
    """Open a GeoTIFF to decode its blocks here, or return None where GDAL must read it.

    Parameters
    ----------
    path
        A local file that GDAL's GTiff driver opened before.
    height, width, dtype
        What GDAL said of it.
    """
    if sys.byteorder != "little":
        return None
    try:
        # Unbuffered: each read is one of the operating system, of whole blocks.
        file = path.open("rb", buffering=0)
    except OSError:
        return None
    tiff = None
    try:
        tiff = _from_tags(file, height, width, dtype)
    except (OSError, ValueError, KeyError, struct.error):
        pass
    finally:
        if tiff is None:
            file.close()
    return tiff


@dataclass(frozen=True, slots=True)
class Field:
    """Where the numbers of a tag are in a file, and of which type."""

    dtype: np.dtype[Any]
    count: int
    position: int


def find_tags(file: BinaryIO, wanted: Collection[int], *, kinds: Mapping[int, str] = FIELD_TYPES) -> dict[int, Field]:
    """Find some tags of the first directory of a little-endian TIFF or BigTIFF; of whole numbers, or other `kinds`.

    Raises
    ------
    ValueError, struct.error
        When it is no such file, ends early, or has a tag twice or of an unusual type.
    OSError
        When it cannot be read.
    """
    size = _size_of(file)
    file.seek(0)
    head = file.read(16)
    big = head[:4] == b"II\x2b\0"
    if not big and head[:4] != b"II\x2a\0":
        raise ValueError("no little-endian TIFF")
    # Formats of the number of entries, of one entry's count, and of an offset.
    count_format, word = ("<Q", "Q") if big else ("<H", "I")
    directory = struct.unpack_from(f"<{word}", head, 8 if big else 4)[0]
    _seek(file, directory, size)
    (entries,) = struct.unpack(count_format, file.read(struct.calcsize(count_format)))
    if entries > MOST_TAGS:
        raise ValueError("no directory")
    entry = struct.Struct(f"<HH{word}{struct.calcsize(word)}s")
    tags: dict[int, Field] = {}
    for index, (tag, kind, count, inside) in enumerate(entry.iter_unpack(file.read(entries * entry.size))):
        if tag not in wanted:
            continue
        if kind not in kinds or tag in tags:
            raise ValueError(f"tag {tag} is unusual")
        dtype = np.dtype(kinds[kind])
        position = directory + struct.calcsize(count_format) + (index + 1) * entry.size - len(inside)
        if count * dtype.itemsize > len(inside):
            (position,) = struct.unpack(f"<{word}", inside)
        tags[tag] = Field(dtype, count, position)
    return tags


def read_tags(file: BinaryIO, wanted: Collection[int]) -> dict[int, NDArray[np.int64]]:
    """Read the numbers of some tags, as `find_tags` finds them."""
    size, found = _size_of(file), {}
    for tag, field in find_tags(file, wanted).items():
        length = field.count * field.dtype.itemsize
        _seek(file, field.position, size - length)
        found[tag] = np.frombuffer(file.read(length), field.dtype, field.count).astype(np.int64)
    return found


def _size_of(file: BinaryIO) -> int:
    # Not what `seek` returns: that of rasterio's files in memory is 0.
    file.seek(0, os.SEEK_END)
    return file.tell()


def _seek(file: BinaryIO, place: int, last: int) -> None:
    if place > last:
        raise ValueError("a tag lies behind the end of the file")
    file.seek(place)


def _from_tags(file: BinaryIO, height: int, width: int, dtype: str) -> TiffFile | None:
    """Return the file where its blocks can be decoded here."""
    tags = read_tags(file, STRUCTURE)

    def one(tag: int, default: int) -> int:
        """Return the number of a tag, that of every sample."""
        values = set(tags.get(tag, np.array([default])).tolist())
        return values.pop() if len(values) == 1 else -1

    tiled = TILE_WIDTH in tags
    samples, bits = one(SAMPLES, 1), one(BITS, 1)
    block_width = one(TILE_WIDTH, 0) if tiled else width
    block_height = one(TILE_HEIGHT, 0) if tiled else min(one(STRIP_HEIGHT, height), height)
    compression, predictor = one(COMPRESSION, 1), one(PREDICTOR, 1)
    planar = one(PLANAR, 1) == 2 or samples == 1
    block_size = block_width * block_height * bits // 8 * (1 if planar else samples)
    if (
        f"{KINDS.get(one(SAMPLE_FORMAT, 1))}{bits}" != dtype
        or (one(WIDTH, 0), one(HEIGHT, 0), one(FILL_ORDER, 1)) != (width, height, 1)
        or one(PHOTOMETRIC, 1) not in AS_STORED
        or compression not in (LZW, *DEFLATE)
        or predictor not in (1, 2, 3)
        or (predictor == 3 and not dtype.startswith("float"))
        or not 0 < block_size < MOST_BLOCK
        or min(samples, block_width, block_height) < 1
    ):
        return None
    inflate = None if compression == LZW else inflater()
    if compression != LZW and (block_size < LEAST_DEFLATE or inflate is None):
        return None
    where = (TILE_OFFSETS, TILE_COUNTS) if tiled else (STRIP_OFFSETS, STRIP_COUNTS)
    tables = read_tags(file, where)
    offsets, counts = (tables[tag] for tag in where)
    blocks = -(-height // block_height) * -(-width // block_width) * (samples if planar else 1)
    if not offsets.size == counts.size == blocks:
        return None
    if max(offsets.max(), counts.max()) > os.fstat(file.fileno()).st_size:
        return None
    return TiffFile(
        file=file, height=height, width=width, samples=samples, block_height=block_height, block_width=block_width,
        itemsize=bits // 8, planar=planar, inflate=inflate, predictor=predictor, offsets=offsets, counts=counts,
        tiled=tiled,
    )  # fmt: skip
