"""GeoTIFF files whose blocks are decoded here instead of by GDAL, which takes up to twice as long.

What such a file may be is narrow: what Earth Engine, GDAL and R write by default. Everything else, and every
LZW block that cannot be decoded, is left to GDAL, which also knows how to say what is wrong with it.

DEFLATE blocks are never left to it: GDAL 3.10 takes a stream that is longer than its block, as in last strips that
are filled up and in one damaged stream of five, and leaves the last bytes of the block as they were in memory; and with
a predictor it gives numbers for streams that end early. Those of masks, and of numbers that are left to GDAL, are
looked at before it reads them.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from pixelwise.grid import Block

__all__ = [
    "SPLIT_ROWS",
    "TILE_COUNTS",
    "TILE_OFFSETS",
    "TILE_UNIT",
    "DamagedBlockError",
    "Streams",
    "TiffFile",
    "find_streams",
    "find_tags",
    "further_block",
    "has_filled_strip",
    "open_tiff",
    "read_tags",
    "release_buffers",
]

#: From a stream, the size of its block, and the most that it may hold, to the bytes of the block.
Inflate = Callable[[NDArray[np.uint8], int, int], bytes | bytearray]

#: Tags of TIFF 6.0 that are read: what the file is, then where its blocks are.
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
SAMPLES, STRIP_HEIGHT, PLANAR, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, SAMPLE_FORMAT = 277, 278, 284, 317, 322, 323, 339
SUBFILE = 254
STRIP_OFFSETS, STRIP_COUNTS, TILE_OFFSETS, TILE_COUNTS = 273, 279, 324, 325
STRUCTURE = (
    WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, SAMPLES, STRIP_HEIGHT, PLANAR, PREDICTOR, TILE_WIDTH,
    TILE_HEIGHT, SAMPLE_FORMAT,
)  # fmt: skip

#: Tiles have edges of multiples of this.
TILE_UNIT = 16

#: Types of field that writers use for these tags; libtiff knows more, which are left to it.
FIELD_TYPES = {3: "u2", 4: "u4", 16: "u8"}
#: Those that libtiff takes besides.
ODD_TYPES = {1: "u1", 6: "i1", 8: "i2", 9: "i4", 13: "u4", 17: "i8", 18: "u8"}
KINDS = {1: "uint", 2: "int", 3: "float"}
LZW, DEFLATE = 5, (8, 32946)
#: Min-is-white, min-is-black, RGB, palette: of these GDAL gives the numbers that are stored.
AS_STORED = (0, 1, 2, 3)

#: Small blocks are many, and so many bytes of inflated ones are put into place at once.
BATCH = 128 << 10
#: Kernels count a block's bytes in 24 bits.
MOST_BLOCK = 1 << 24
#: GDAL reads a file that is one larger strip of more rows than this row by row.
SPLIT_ROWS = 2000
#: A stream is inflated to its end, where its checksum is: up to so many times a block, as its size comes from a file.
MOST_INFLATED = 2
#: A byte of a DEFLATE stream becomes no more than this (zlib's technical details), whatever its block should hold.
MOST_EXPANSION = 1032
#: No block is so large: GDAL refuses it too.
MOST_DEFLATE = 1 << 40
#: Bytes that are inflated at once: zlib puts a longer result together of pieces, which takes twice its memory.
AT_ONCE = 4 << 20
#: Bytes that are inflated and dropped at once.
DROPPED = 64 << 10
#: A file of more directory entries than this is none that a raster program wrote, nor one of more directories.
MOST_TAGS = 1000
#: Bits of the tag of a directory's kind: an overview, a mask.
OVERVIEW, MASK = 1, 4


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
    swapped
        Whether numbers have their highest bytes first; but for predictor 3, which says itself in which order they are.
    size
        Bytes of the file.
    whole
        Which blocks are known to be so.
    fills
        What a DEFLATE file has of each band where a block is absent; who opens it says that.
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
    swapped: bool
    size: int
    whole: NDArray[np.bool_]
    fills: NDArray[Any]

    @property
    def block_shapes(self) -> list[tuple[int, int]]:
        """Rows and columns of each band's blocks, as rasterio has them."""
        return [(self.block_height, self.block_width)] * self.samples

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def __del__(self) -> None:
        # A thread that ends drops its open files, as rasterio's are dropped; Python would warn of this one.
        self.file.close()

    def warm_up(self) -> None:
        """Compile what `read` needs."""
        nothing = np.empty((1, 0, 0), dtype=f"u{self.itemsize}")
        blocks, picked = np.zeros((1, 5), dtype=np.int64), np.zeros(1, dtype=np.int64)
        if self.inflate is None:
            self._place_lzw(np.empty(0, dtype=np.uint8), np.zeros(1, dtype=bool), blocks, picked, nothing)
        else:
            self._place_plain([bytes(self.itemsize)], blocks, picked, nothing)

    def read(self, bands: tuple[int, ...], window: Block, out: NDArray[Any]) -> bool:
        """Read a window of some bands, numbered from 1, into contiguous (band, y, x) of the file's type.

        Returns
        -------
        bool
            False where the window or a band is not in the file, or an LZW block is absent or cannot be decoded; `out`
            then holds anything.

        Raises
        ------
        DamagedBlockError
            When a DEFLATE block cannot be read whole.
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
            return self._decode(
                numbers, blocks, np.array(bands, dtype=np.int64) - 1, self.fills[np.array(bands) - 1], target
            )
        plane = across * -(-self.height // self.block_height)
        first = np.zeros(1, dtype=np.int64)
        return all(
            self._decode(
                numbers + (band - 1) * plane, blocks, first, self.fills[band - 1 : band], target[index : index + 1]
            )
            for index, band in enumerate(bands)
        )

    def find_absent(self, band: int) -> tuple[int, int] | None:
        """Return row and column of a pixel whose block is absent, None where a band has none such."""
        across, down = -(-self.width // self.block_width), -(-self.height // self.block_height)
        first = (band - 1) * across * down if self.planar else 0
        absent = np.flatnonzero(self.counts[first : first + across * down] == 0)
        if not absent.size:
            return None
        return int(absent[0]) // across * self.block_height, int(absent[0]) % across * self.block_width

    def _decode(
        self,
        numbers: NDArray[np.int64],
        blocks: NDArray[np.int64],
        picked: NDArray[np.int64],
        fills: NDArray[Any],
        out: NDArray[Any],
    ) -> bool:
        """Decode some blocks into a window; whence their bytes come is filled in."""
        if self.inflate is not None:
            self._inflate(numbers, blocks, picked, fills, out)
            return True
        offsets, counts = self.offsets[numbers], self.counts[numbers]
        # More is not needed for so many bytes, whoever wrote them.
        most = 2 * int(blocks[:, 4].sum()) * self._row_size
        if counts.min() <= 0 or offsets.min() <= 0 or counts.sum() > most:
            return False
        try:
            data = self._fetch(offsets, counts, blocks)
        except (OSError, ValueError):  # of the disk, or of a file that was closed
            return False
        if data is None:
            return False
        whole = self.whole[numbers]
        done = self._place_lzw(data, whole, blocks, picked, out)
        self.whole[numbers] = whole
        return done

    @property
    def _row_size(self) -> int:
        """Bytes of a row of pixels in a block."""
        return self.block_width * self.itemsize * (1 if self.planar else self.samples)

    def _place_lzw(
        self,
        data: NDArray[np.uint8],
        whole: NDArray[np.bool_],
        blocks: NDArray[np.int64],
        picked: NDArray[np.int64],
        out: NDArray[Any],
    ) -> bool:
        """Decode LZW blocks and put their pixels into a window."""
        from pixelwise.decode import place_lzw

        buffers = _buffers()
        shape = self.block_width, 1 if self.planar else self.samples, self.predictor
        line, octets = buffers.rows(self._row_size)
        line = line.view(out.dtype)
        decoded = buffers.decoded(self.block_height * self._row_size)
        stored = decoded.view(out.dtype)
        done = place_lzw(data, blocks, whole, shape, picked, buffers.strings, decoded, stored, line, octets, out)
        return done == len(blocks)

    def _inflate(
        self,
        numbers: NDArray[np.int64],
        blocks: NDArray[np.int64],
        picked: NDArray[np.int64],
        fills: NDArray[Any],
        out: NDArray[Any],
    ) -> None:
        """Inflate DEFLATE blocks and put their pixels into a window, some of them at once."""
        if self.inflate is None:
            raise AssertionError
        offsets, counts = self.offsets[numbers], self.counts[numbers]
        there = counts != 0
        if not there.all():
            for row, column, rows in blocks[~there, 2:].tolist():
                part = np.s_[max(row, 0) : row + rows, max(column, 0) : column + self.block_width]
                out[:, *part] = fills.view(out.dtype)[:, None, None]
            offsets, counts, blocks = offsets[there], counts[there], blocks[there]
            if not len(blocks):
                return
        full = self.block_height * self._row_size
        # A stream that is longer than so is none of its block, and memory is not for it.
        counts = np.minimum(counts, MOST_INFLATED * full + DROPPED)
        if offsets.min() <= 0 or counts.min() < 0 or (offsets > self.size - counts).any():
            raise DamagedBlockError("a block does not lie within the file")
        try:
            data = self._fetch(offsets, counts, blocks)
        except (OSError, ValueError) as error:
            raise DamagedBlockError(str(error)) from None
        if data is None:
            raise DamagedBlockError("the file ends within a block")
        parts: list[bytes | bytearray] = []
        first = held = 0
        for index, (start, count, _, _, rows) in enumerate(blocks.tolist()):
            size = rows * self._row_size
            if size > MOST_EXPANSION * count:
                raise DamagedBlockError(f"no whole DEFLATE stream: {count} bytes cannot hold a block of {size}")
            parts.append(self.inflate(data[start : start + count], size, full))
            held += size
            if held >= BATCH or index == len(blocks) - 1:
                self._place_plain(parts, blocks[first : index + 1], picked, out)
                parts, first, held = [], index + 1, 0

    def _place_plain(
        self, parts: list[bytes | bytearray], blocks: NDArray[np.int64], picked: NDArray[np.int64], out: NDArray[Any]
    ) -> None:
        """Put the pixels of blocks that are inflated into a window."""
        from pixelwise.decode import place_plain
        from pixelwise.jit import readonly

        shape = self.block_width, 1 if self.planar else self.samples, self.predictor
        line, octets = _buffers().rows(self._row_size)
        joined = parts[0] if len(parts) == 1 else b"".join(parts)
        decoded = np.frombuffer(joined, dtype=np.uint8)
        if self.swapped:
            decoded = decoded.view(out.dtype).byteswap().view(np.uint8)
        decoded = readonly(decoded)
        place_plain(decoded, decoded.view(out.dtype), blocks, shape, picked, line.view(out.dtype), octets, out)

    def _fetch(
        self, offsets: NDArray[np.int64], counts: NDArray[np.int64], blocks: NDArray[np.int64]
    ) -> NDArray[np.uint8] | None:
        """Read the bytes of some blocks, in few runs; None where the file ends within them."""
        from pixelwise.decode import SLACK

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
    """A block whose bytes are not what was written."""


def inflate_slowly(data: NDArray[np.uint8], size: int, most: int) -> bytes | bytearray:
    """Return the first bytes of a zlib stream, by Python's own zlib.

    Parameters
    ----------
    data
        (byte,) the stream.
    size
        So many bytes its block has. Some writers fill up the last strip: then the stream is longer.
    most
        So many a whole one may have; the stream may be `MOST_INFLATED` times as long.

    Raises
    ------
    DamagedBlockError
        When the stream is broken, ends early, or is longer. Its checksum is at its end.
    """
    stream = zlib.decompressobj()
    try:
        first: bytes | bytearray = stream.decompress(data.data, min(size, AT_ONCE))
        if size > AT_ONCE:
            first = bytearray(first)
            while len(first) < size and (
                more := stream.decompress(stream.unconsumed_tail, min(size - len(first), AT_ONCE))
            ):
                first += more
        room = MOST_INFLATED * most - len(first)
        while not stream.eof and room >= 0:
            more = stream.decompress(stream.unconsumed_tail, min(room + 1, DROPPED))
            if not more and not stream.eof:
                raise DamagedBlockError("no whole DEFLATE stream: it ends early")
            room -= len(more)
    except zlib.error as error:
        raise DamagedBlockError(f"no whole DEFLATE stream: {error}") from None
    if room < 0:
        raise DamagedBlockError(f"no whole DEFLATE stream: it has more than {MOST_INFLATED} times a block's bytes")
    if len(first) < size:
        raise DamagedBlockError(f"no whole DEFLATE stream: it has {len(first)} bytes, its block {size}")
    return first


@cache
def inflater() -> Inflate:
    """Return what decompresses zlib streams: libdeflate, 2.4 times as fast as Python's zlib."""
    import deflate

    def inflate(data: NDArray[np.uint8], size: int, most: int) -> bytes | bytearray:
        try:
            inflated = deflate.zlib_decompress(data, size)
        except deflate.DeflateError:
            # Longer streams among them.
            return inflate_slowly(data, size, most)
        return inflated if len(inflated) == size else inflate_slowly(data, size, most)

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


def has_filled_strip(path: Path) -> bool:
    """Whether the DEFLATE stream of a last strip, which is lower than the others, goes on behind it.

    So some writers have it; GDAL 3.10 leaves part of such a strip, or all of it, as it was in memory. Masks count too.
    """
    try:
        with path.open("rb") as file:
            for part in _deflated(file):
                raster = part.raster
                if raster.tiled or raster.height % raster.block_height == 0:
                    continue
                down = -(-raster.height // raster.block_height)
                for number in range(down - 1, part.counts.size, down):
                    file.seek(int(part.offsets[number]))
                    data, size = file.read(int(part.counts[number])), part.size_of(number)
                    if _inflated_size(data, size) > size:
                        return True
    except (OSError, ValueError, KeyError, IndexError, struct.error, zlib.error):
        # What is wrong with it GDAL says.
        return False
    return False


def _inflated_size(data: bytes, most: int) -> int:
    """Return how many bytes a zlib stream holds, more than `most` where it holds more.

    Raises
    ------
    zlib.error
        When it is broken before.
    """
    stream, size = zlib.decompressobj(), 0
    while size <= most and (more := stream.decompress(data, min(most + 1 - size, AT_ONCE))):
        size, data = size + len(more), stream.unconsumed_tail
    return size


@dataclass(frozen=True, eq=False)
class _Raster:
    """A directory, whatever its pixels are: bits, complex numbers, masks.

    Attributes
    ----------
    is_first
        Whether it is the first one of its file.
    is_mask
        Whether it masks another one.
    compression
        As TIFF 6.0 numbers it.
    height, width, block_height, block_width
        Of the raster, and of its tiles or strips.
    bits
        Of a number.
    interleaved, planes
        How many numbers a pixel has in a block, and how often there are all blocks: once per band, or once.
    tiled
        Whether the last row of blocks has as many rows as the others.
    fields
        Where its numbers are.
    """

    is_first: bool
    is_mask: bool
    compression: int
    height: int
    width: int
    block_height: int
    block_width: int
    bits: int
    interleaved: int
    planes: int
    tiled: bool
    fields: Mapping[int, Field]


def _rasters(file: BinaryIO, where: Collection[int] = ()) -> Iterator[_Raster]:
    """Yield the directories that GDAL reads pixels of: the first one and masks, but no overviews.

    Parameters
    ----------
    file
        Open.
    where
        Tags that its fields have besides those of `STRUCTURE`.

    Raises
    ------
    ValueError, KeyError, struct.error
        When a directory cannot be understood.
    OSError
        When the file cannot be read.
    """
    for index, fields in enumerate(_directories(file, (*STRUCTURE, SUBFILE, *where), {**FIELD_TYPES, **ODD_TYPES})):
        tags = _numbers(file, {tag: field for tag, field in fields.items() if tag not in where})

        def one(tag: int, default: int, tags: Mapping[int, NDArray[np.int64]] = tags) -> int:
            return int(tags.get(tag, np.array([default]))[0])

        kind = one(SUBFILE, 0)
        if kind & OVERVIEW or (index and not kind & MASK):
            continue
        height, width, tiled = one(HEIGHT, 0), one(WIDTH, 0), TILE_WIDTH in tags
        if tiled != (TILE_HEIGHT in tags):
            raise ValueError("tiles of one edge")
        planar, samples = one(PLANAR, 1) == 2, one(SAMPLES, 1)
        yield _Raster(
            is_first=index == 0, is_mask=bool(kind & MASK), compression=one(COMPRESSION, 1), height=height, width=width,
            block_height=one(TILE_HEIGHT, 0) if tiled else min(one(STRIP_HEIGHT, height), height),
            block_width=one(TILE_WIDTH, 0) if tiled else width, bits=one(BITS, 1),
            interleaved=1 if planar else samples, planes=samples if planar else 1, tiled=tiled, fields=fields,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Deflated:
    """A directory of DEFLATE blocks.

    Attributes
    ----------
    raster
        How its blocks are.
    is_mask
        Whether it masks another one, also one of another file.
    offsets, counts
        Where each block's bytes begin, and how many they are.
    """

    raster: _Raster
    is_mask: bool
    offsets: NDArray[np.int64]
    counts: NDArray[np.int64]

    def size_of(self, number: int) -> int:
        """Return the bytes that a block has."""
        raster = self.raster
        row = number // -(-raster.width // raster.block_width) % -(-raster.height // raster.block_height)
        rows = raster.block_height
        if not raster.tiled:
            rows = min(rows, raster.height - row * rows)
        return rows * -(-raster.block_width * raster.bits * raster.interleaved // 8)


def _deflated(file: BinaryIO, *, mask: bool = False) -> Iterator[_Deflated]:
    """Yield the directories of DEFLATE blocks, as `_rasters` yields all; the first one may be that of a `mask`."""
    for raster in _rasters(file, (STRIP_OFFSETS, STRIP_COUNTS, TILE_OFFSETS, TILE_COUNTS)):
        if raster.compression not in DEFLATE:
            continue
        if min(raster.block_height, raster.block_width, raster.interleaved, raster.planes) < 1:
            raise ValueError("no blocks")
        where = (TILE_OFFSETS, TILE_COUNTS) if raster.tiled else (STRIP_OFFSETS, STRIP_COUNTS)
        tables = _numbers(file, {tag: raster.fields[tag] for tag in where})
        # libtiff fills up the shorter table with zeros too.
        most = max(table.size for table in tables.values())
        offsets, counts = (np.pad(tables[tag], (0, most - tables[tag].size)) for tag in where)
        yield _Deflated(raster, mask or raster.is_mask, offsets, counts)


def further_block(path: Path, *, behind: bool) -> int:
    """Return bytes of the largest block of a TIFF that GDAL does not show in its bands' blocks, as decoded.

    Of masks in directories of their own; of one compressed strip of more than `SPLIT_ROWS` rows, which GDAL shows as
    single rows and which is decoded whole here; and of a source `behind` a VRT, which has blocks of its own.

    Parameters
    ----------
    path
        The file; 0 is returned where it is no TIFF.
    behind
        Whether its own blocks count as well.
    """
    largest = 0
    try:
        with path.open("rb") as file:
            if not _is_tiff(file.read(4)):
                return 0
            for raster in _rasters(file):
                rows = raster.block_height
                # Bits become bytes.
                size = rows * raster.block_width * raster.interleaved * max(raster.bits, 8) // 8
                if raster.is_first and not raster.tiled and rows == raster.height > SPLIT_ROWS:
                    here = size < MOST_BLOCK and raster.compression in (LZW, *DEFLATE)
                    size = size if here else 0
                elif raster.is_first and not behind:
                    size = 0
                largest = max(largest, size)
    except (OSError, ValueError, KeyError, IndexError, struct.error):
        # What is wrong with it GDAL says.
        pass
    return largest


@dataclass(frozen=True, eq=False)
class Streams:
    """The DEFLATE streams of what GDAL reads of a file: its pixels, masks in directories of their own, a sidecar.

    GDAL does not notice where one is not as its block must be, so it is asked here before.
    """

    parts: tuple[tuple[Path, _Deflated, NDArray[np.bool_]], ...]

    def check(self, bands: Sequence[int], window: Block, *, pixels: bool, masks: bool) -> None:
        """Look at the streams of those blocks that a window needs and that nobody looked at before.

        Parameters
        ----------
        bands
            That are read, numbered from 1.
        window
            Of the file.
        pixels, masks
            Whether those of the file's own bands are read, and those of its masks.

        Raises
        ------
        DamagedBlockError
            When a stream is broken, or holds another number of bytes than its block.
        """
        for path, part, fine in self.parts:
            if not (masks if part.is_mask else pixels):
                continue
            raster = part.raster
            across, down = -(-raster.width // raster.block_width), -(-raster.height // raster.block_height)
            rows = range(window.row // raster.block_height, -(-(window.row + window.height) // raster.block_height))
            columns = range(window.col // raster.block_width, -(-(window.col + window.width) // raster.block_width))
            planes = [band - 1 for band in bands] if raster.planes > 1 and not part.is_mask else range(raster.planes)
            numbers = [(plane * down + row) * across + column for plane in planes for row in rows for column in columns]
            for number in numbers:
                if number < fine.size and not fine[number]:
                    self._look(path, part, number)
                    fine[number] = True

    @staticmethod
    def _look(path: Path, part: _Deflated, number: int) -> None:
        begin, count = int(part.offsets[number]), int(part.counts[number])
        if count == 0:
            return
        size = part.size_of(number)
        of_mask = " of its mask" if part.is_mask else ""
        with path.open("rb") as file:
            if begin <= 0 or count < 0 or begin + count > _size_of(file):
                raise DamagedBlockError(f"a block{of_mask} does not lie within the file")
            file.seek(begin)
            data = file.read(min(count, MOST_INFLATED * size + DROPPED))
        try:
            held = _inflated_size(data, size)
        except zlib.error as error:
            raise DamagedBlockError(f"no whole DEFLATE stream{of_mask}: {error}") from None
        if held > size:
            raise DamagedBlockError(
                f"a DEFLATE stream{of_mask} holds more than its block of {size} bytes, which GDAL reads wrongly"
            )
        if held < size:
            raise DamagedBlockError(f"no whole DEFLATE stream{of_mask}: it has {held} bytes, its block {size}")


def find_streams(path: Path, sidecars: Sequence[Path] = (), *, split: bool = False) -> Streams:
    """Find what DEFLATE streams GDAL needs of a TIFF and its masks; none where it is no TIFF.

    Parameters
    ----------
    path
        The file.
    sidecars
        Files of masks beside it.
    split
        Whether GDAL reads its pixels row by row: it takes no more of a stream then than it needs.

    Raises
    ------
    DamagedBlockError
        When a directory is so unusual that nobody knows.
    """
    parts = []
    for name in (path, *sidecars):
        try:
            with name.open("rb") as file:
                if not _is_tiff(file.read(4)):
                    continue
                found = [part for part in _deflated(file, mask=name != path) if part.is_mask or not split]
                parts += [(name, part, np.zeros(part.counts.size, dtype=bool)) for part in found]
        except OSError:  # GDAL says so
            continue
        except (ValueError, KeyError, IndexError, struct.error) as error:
            raise DamagedBlockError(f"{name.name}: a directory of the TIFF cannot be understood: {error}") from None
    return Streams(tuple(parts))


@dataclass(frozen=True, slots=True)
class Field:
    """Where the numbers of a tag are in a file, and of which type."""

    dtype: np.dtype[Any]
    count: int
    position: int


def find_tags(file: BinaryIO, wanted: Collection[int], *, kinds: Mapping[int, str] = FIELD_TYPES) -> dict[int, Field]:
    """Find some tags of the first directory of a TIFF or BigTIFF; of whole numbers, or other `kinds`.

    Raises
    ------
    ValueError, struct.error
        When it is no such file, ends early, or has a tag twice or of an unusual type.
    OSError
        When it cannot be read.
    """
    return next(_directories(file, wanted, kinds))


def _directories(file: BinaryIO, wanted: Collection[int], kinds: Mapping[int, str]) -> Iterator[dict[int, Field]]:
    """Yield some tags of each directory, as `find_tags` finds those of the first one."""
    size = _size_of(file)
    file.seek(0)
    head = file.read(16)
    if not _is_tiff(head):
        raise ValueError("no TIFF")
    order = _order_of(head)
    big = head[2:4] in (b"\x2b\0", b"\0\x2b")
    # Formats of the number of entries, of one entry's count, and of an offset.
    count_format, word = (f"{order}Q", "Q") if big else (f"{order}H", "I")
    (directory,) = struct.unpack_from(f"{order}{word}", head, 8 if big else 4)
    entry = struct.Struct(f"{order}HH{word}{struct.calcsize(order + word)}s")
    seen: set[int] = set()
    while True:
        _seek(file, directory, size)
        seen.add(directory)
        (entries,) = struct.unpack(count_format, file.read(struct.calcsize(count_format)))
        if entries > MOST_TAGS or len(seen) > MOST_TAGS:
            raise ValueError("no directory")
        tags: dict[int, Field] = {}
        for index, (tag, kind, count, inside) in enumerate(entry.iter_unpack(file.read(entries * entry.size))):
            if tag not in wanted:
                continue
            if kind not in kinds or tag in tags:
                raise ValueError(f"tag {tag} is unusual")
            dtype = np.dtype(kinds[kind]).newbyteorder(order)
            position = directory + struct.calcsize(count_format) + (index + 1) * entry.size - len(inside)
            if count * dtype.itemsize > len(inside):
                (position,) = struct.unpack(f"{order}{word}", inside)
            tags[tag] = Field(dtype, count, position)
        yield tags
        file.seek(directory + struct.calcsize(count_format) + entries * entry.size)
        (directory,) = struct.unpack(f"{order}{word}", file.read(struct.calcsize(order + word)))
        # libtiff stops too where directories lead back.
        if directory == 0 or directory in seen:
            return


def _is_tiff(head: bytes) -> bool:
    return head[:4] in (b"II\x2a\0", b"II\x2b\0", b"MM\0\x2a", b"MM\0\x2b")


def _order_of(head: bytes) -> Literal["<", ">"]:
    """Return the order of a file's bytes as `struct` has it."""
    return "<" if head[:2] == b"II" else ">"


def read_tags(file: BinaryIO, wanted: Collection[int]) -> dict[int, NDArray[np.int64]]:
    """Read the numbers of some tags, as `find_tags` finds them."""
    return _numbers(file, find_tags(file, wanted))


def _numbers(file: BinaryIO, fields: Mapping[int, Field]) -> dict[int, NDArray[np.int64]]:
    """Read the numbers of tags that were found."""
    size, found = _size_of(file), {}
    for tag, field in fields.items():
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
    file.seek(0)
    swapped = _order_of(file.read(2)) == ">"
    if (
        f"{KINDS.get(one(SAMPLE_FORMAT, 1))}{bits}" != dtype
        or (one(WIDTH, 0), one(HEIGHT, 0), one(FILL_ORDER, 1)) != (width, height, 1)
        or one(PHOTOMETRIC, 1) not in AS_STORED
        or compression not in (LZW, *DEFLATE)
        or (swapped and compression == LZW)
        or predictor not in (1, 2, 3)
        or (predictor == 3 and not dtype.startswith("float"))
        # libtiff takes one of them for a tile's edge.
        or tiled != (TILE_HEIGHT in tags)
        or not 0 < block_size < MOST_DEFLATE
        or min(samples, block_width, block_height) < 1
    ):
        return None
    if block_size >= MOST_BLOCK and (
        compression == LZW or (not tiled and block_height == height and height > SPLIT_ROWS)
    ):
        return None
    where = (TILE_OFFSETS, TILE_COUNTS) if tiled else (STRIP_OFFSETS, STRIP_COUNTS)
    tables = read_tags(file, where)
    offsets, counts = (tables[tag] for tag in where)
    blocks = -(-height // block_height) * -(-width // block_width) * (samples if planar else 1)
    if not offsets.size == counts.size == blocks:
        return None
    size = _size_of(file)
    if compression == LZW and max(offsets.max(), counts.max()) > size:
        return None
    return TiffFile(
        file=file, height=height, width=width, samples=samples, block_height=block_height, block_width=block_width,
        itemsize=bits // 8, planar=planar, inflate=None if compression == LZW else inflater(), predictor=predictor,
        offsets=offsets, counts=counts, tiled=tiled,
        swapped=swapped and predictor != 3 and bits > 8, size=size, whole=np.zeros(blocks, dtype=bool),
        fills=np.zeros(samples, dtype=dtype),
    )  # fmt: skip
