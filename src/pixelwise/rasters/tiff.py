"""GeoTIFF files whose blocks are decoded here instead of by GDAL, which takes up to twice as long.

Only the common variants are decoded here: what Earth Engine, GDAL and R write by default. Everything else, and every
LZW block that cannot be decoded, is left to GDAL, which also reports what is wrong with it.

DEFLATE blocks are never left to GDAL. GDAL 3.10 accepts a stream longer than its block, as in padded last strips and
in one damaged stream out of five, and leaves the last bytes of the block as they were in memory; and with a predictor
it returns numbers for streams that end early. Streams of masks, and of number types that GDAL must decode, are checked
before GDAL reads them.
"""

from __future__ import annotations

import struct
import sys
from bisect import bisect_right
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from pixelwise.grid import Block
from pixelwise.rasters.buffers import buffers
from pixelwise.rasters.byte_sources import ByteSource, LocalBytes
from pixelwise.rasters.inflate import DROPPED, MOST_EXPANSION, MOST_INFLATED, DamagedBlockError, Inflate, inflater
from pixelwise.rasters.remote import RemoteFile
from pixelwise.rasters.streams import MOST_BLOCK, SPLIT_ROWS
from pixelwise.rasters.tags import (
    AS_STORED,
    BITS,
    COMPRESSION,
    DEFLATE,
    FILL_ORDER,
    HEIGHT,
    KINDS,
    LZW,
    PHOTOMETRIC,
    PLANAR,
    PREDICTOR,
    SAMPLE_FORMAT,
    SAMPLES,
    STRIP_COUNTS,
    STRIP_HEIGHT,
    STRIP_OFFSETS,
    STRUCTURE,
    TILE_COUNTS,
    TILE_HEIGHT,
    TILE_OFFSETS,
    TILE_WIDTH,
    WIDTH,
    file_size,
    order_of,
    read_tags,
)

__all__ = ["TiffFile", "open_remote_tiff", "open_tiff"]

#: Small blocks are numerous, so they are put into place together once this many bytes have been inflated.
BATCH = 128 << 10
#: No block is this large: GDAL refuses it too.
MOST_DEFLATE = 1 << 40


@dataclass(frozen=True, eq=False)
class TiffFile:
    """An open file and where its blocks are; for one thread at a time.

    Attributes
    ----------
    source
        The bytes of the file.
    height, width, samples
        Size of the raster.
    block_height, block_width
        Size of its tiles or strips.
    itemsize
        Bytes per number.
    planar
        Whether each band has its own blocks.
    inflate
        The function that decompresses a block; None for LZW.
    predictor
        1 for none, 2 for differences, 3 for floating-point differences.
    offsets, counts
        Where each block's bytes begin, and how many there are.
    tiled
        Whether the last row of blocks has as many rows as the others.
    swapped
        Whether numbers are stored highest byte first; predictor 3 has its own byte order and ignores this.
    size
        Size of the file in bytes.
    whole
        Which blocks are known to be intact.
    fills
        For a DEFLATE file, the value of absent blocks of each band; set by whoever opens the file.
    """

    source: ByteSource
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
        """Rows and columns of each band's blocks, as in rasterio."""
        return [(self.block_height, self.block_width)] * self.samples

    def close(self) -> None:
        """Close the file."""
        self.source.close()

    def __del__(self) -> None:
        # A thread that ends drops its open files, rasterio's included; Python would warn about this one.
        self.source.close()

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
            False where the window or a band is not in the file, or an LZW block is absent or cannot be decoded; then
            `out` is undefined.

        Raises
        ------
        DamagedBlockError
            When a DEFLATE block cannot be read in full.
        """
        if not self._holds(bands, window):
            return False
        target = out.view(f"u{self.itemsize}")
        rows, columns, numbers = self._blocks_of(window)
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
        first = np.zeros(1, dtype=np.int64)
        return all(
            self._decode(
                numbers + (band - 1) * self._plane, blocks, first, self.fills[band - 1 : band], target[i : i + 1]
            )
            for i, band in enumerate(bands)
        )

    def _holds(self, bands: tuple[int, ...], window: Block) -> bool:
        return (
            1 <= min(bands) <= max(bands) <= self.samples
            and 0 <= window.row <= self.height - window.height
            and 0 <= window.col <= self.width - window.width
        )

    def ranges(self, bands: tuple[int, ...], window: Block) -> list[tuple[int, int]]:
        """Return what `read` will read of the file for a window: begin and end of each range."""
        if not self._holds(bands, window):
            return []
        rows, columns = self._covers(window)
        across = -(-self.width // self.block_width)
        found = []
        for plane in [(band - 1) * self._plane for band in bands] if self.planar else [0]:
            firsts = [plane + row * across + columns.start for row in rows]
            offsets = [one for first in firsts for one in self.offsets[first : first + len(columns)].tolist()]
            counts = [one for first in firsts for one in self.counts[first : first + len(columns)].tolist()]
            if self.inflate is not None:
                there = [place for place, count in enumerate(counts) if count > 0]
                offsets, counts = [offsets[place] for place in there], [counts[place] for place in there]
                counts = [min(count, self._most_needed) for count in counts]
            if offsets and min(*offsets, *counts) > 0:
                found += self._runs(offsets, counts)
        return found

    def _covers(self, window: Block) -> tuple[range, range]:
        """Return rows and columns of blocks that a window needs."""
        return (
            range(window.row // self.block_height, -(-(window.row + window.height) // self.block_height)),
            range(window.col // self.block_width, -(-(window.col + window.width) // self.block_width)),
        )

    def _blocks_of(self, window: Block) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return rows and columns of blocks that a window needs, and the numbers of these blocks in a plane."""
        rows, columns = map(np.array, self._covers(window))
        return rows, columns, (rows[:, None] * -(-self.width // self.block_width) + columns).ravel()

    @property
    def _plane(self) -> int:
        """Number of blocks of a band, if each band has its own."""
        return -(-self.width // self.block_width) * -(-self.height // self.block_height)

    def find_absent(self, band: int) -> tuple[int, int] | None:
        """Return row and column of a pixel whose block is absent; None if the band has no such block."""
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
        """Decode some blocks into a window; where their bytes begin is filled into `blocks`."""
        if self.inflate is not None:
            self._inflate(numbers, blocks, picked, fills, out)
            return True
        offsets, counts = self.offsets[numbers], self.counts[numbers]
        # No valid block of this size needs more bytes.
        most = 2 * int(blocks[:, 4].sum()) * self._row_size
        if counts.min() <= 0 or offsets.min() <= 0 or counts.sum() > most:
            return False
        try:
            data = self._fetch(offsets, counts, blocks)
        except (OSError, ValueError):  # a disk error, or a file closed meanwhile
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
        from pixelwise.kernels.tiff import Buffers, Layout, Row, place_lzw

        memory = buffers()
        layout = Layout(self.block_width, 1 if self.planar else self.samples, self.predictor)
        line, octets = memory.rows(self._row_size)
        decoded = memory.decoded(self.block_height * self._row_size)
        lent = Buffers(memory.strings, decoded, decoded.view(out.dtype), Row(line.view(out.dtype), octets))
        done = place_lzw(data, blocks, whole, layout, picked, lent, out)
        return done == len(blocks)

    def _inflate(
        self,
        numbers: NDArray[np.int64],
        blocks: NDArray[np.int64],
        picked: NDArray[np.int64],
        fills: NDArray[Any],
        out: NDArray[Any],
    ) -> None:
        """Inflate DEFLATE blocks and put their pixels into a window, several blocks at a time."""
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
        counts = self._needed(counts)
        if offsets.min() <= 0 or counts.min() < 0 or (offsets > self.size - counts).any():
            raise DamagedBlockError("a block is outside the file")
        try:
            streams = self._streams(offsets, counts, blocks)
        except (OSError, ValueError) as error:
            raise DamagedBlockError(str(error)) from None
        if streams is None:
            raise DamagedBlockError("the file ends within a block")
        parts: list[bytes | bytearray] = []
        first = held = 0
        for index, (stream, rows) in enumerate(zip(streams, blocks[:, 4].tolist(), strict=True)):
            size = rows * self._row_size
            if size > MOST_EXPANSION * stream.size:
                raise DamagedBlockError(f"damaged DEFLATE stream: {stream.size} bytes cannot hold a block of {size}")
            parts.append(self.inflate(stream, size, full))
            held += size
            if held >= BATCH or index == len(blocks) - 1:
                self._place_plain(parts, blocks[first : index + 1], picked, out)
                parts, first, held = [], index + 1, 0

    def _needed(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many bytes of each stream are read: a longer one cannot belong to its block."""
        return np.minimum(counts, self._most_needed)

    @property
    def _most_needed(self) -> int:
        return MOST_INFLATED * self.block_height * self._row_size + DROPPED

    def _place_plain(
        self, parts: list[bytes | bytearray], blocks: NDArray[np.int64], picked: NDArray[np.int64], out: NDArray[Any]
    ) -> None:
        """Put the pixels of inflated blocks into a window."""
        from pixelwise.kernels.jit import readonly
        from pixelwise.kernels.tiff import Layout, Row, place_plain

        layout = Layout(self.block_width, 1 if self.planar else self.samples, self.predictor)
        line, octets = buffers().rows(self._row_size)
        joined = parts[0] if len(parts) == 1 else b"".join(parts)
        decoded = np.frombuffer(joined, dtype=np.uint8)
        if self.swapped:
            decoded = decoded.view(out.dtype).byteswap().view(np.uint8)
        decoded = readonly(decoded)
        row = Row(line.view(out.dtype), octets)
        place_plain(decoded, decoded.view(out.dtype), blocks, layout, picked, row, out)

    def _fetch(
        self, offsets: NDArray[np.int64], counts: NDArray[np.int64], blocks: NDArray[np.int64]
    ) -> NDArray[np.uint8] | None:
        """Read the bytes of some blocks in few reads; None where the file ends within them."""
        from pixelwise.kernels.tiff import SLACK

        ranges = self._runs(offsets.tolist(), counts.tolist())
        begins, stops = np.array(ranges).T
        run = np.searchsorted(begins, offsets, side="right") - 1
        places = np.append(0, np.cumsum(stops - begins))
        data = buffers().data(int(places[-1]) + SLACK)
        if not self.source.read_ranges(ranges, data):
            return None
        blocks[:, 0] = offsets - begins[run] + places[run]
        blocks[:, 1] = counts
        return data

    def _streams(
        self, offsets: NDArray[np.int64], counts: NDArray[np.int64], blocks: NDArray[np.int64]
    ) -> list[NDArray[np.uint8]] | None:
        """Return the bytes of each block, those from a server where its answer is; None where the file ends before."""
        if not isinstance(self.source, RemoteFile):
            data = self._fetch(offsets, counts, blocks)
            return None if data is None else [data[start : start + size] for start, size in blocks[:, :2].tolist()]
        ranges = self._runs(offsets.tolist(), counts.tolist())
        answers = self.source.answers(ranges)
        if answers is None:
            return None
        begins = [begin for begin, _ in ranges]
        streams = []
        for offset, count in zip(offsets.tolist(), counts.tolist(), strict=True):
            run = bisect_right(begins, offset) - 1
            streams.append(answers[run][offset - begins[run] : offset - begins[run] + count])
        return streams

    def _runs(self, offsets: list[int], counts: list[int]) -> list[tuple[int, int]]:
        """Return the ranges that hold some blocks; in plain Python, since blocks of a window are few."""
        runs: list[tuple[int, int]] = []
        begin, end, most = -1, -1, -1
        for offset, count in sorted(zip(offsets, counts, strict=True), key=itemgetter(0)):
            # Read across the gap between two blocks where it is no larger than the block before: at most twice the
            # bytes needed are read.
            if offset - end > most:
                if end >= 0:
                    runs.append((begin, end))
                begin, end = offset, offset + count
            else:
                end = max(end, offset + count)
            most = max(count, self.source.gap)
        return [*runs, (begin, end)]


def open_tiff(path: Path, height: int, width: int, dtype: str) -> TiffFile | None:
    """Open a GeoTIFF to decode its blocks here; None where GDAL must read it.

    Parameters
    ----------
    path
        A local file that GDAL's GTiff driver has opened before.
    height, width, dtype
        What GDAL reports.
    """
    if sys.byteorder != "little":
        return None
    try:
        # Unbuffered: every read is one system call for whole blocks.
        file = path.open("rb", buffering=0)
    except OSError:
        return None
    tiff = None
    try:
        tiff = _from_tags(file, LocalBytes(file), height, width, dtype)
    except (OSError, ValueError, KeyError, struct.error):
        pass
    finally:
        if tiff is None:
            file.close()
    return tiff


def open_remote_tiff(file: RemoteFile, height: int, width: int, dtype: str) -> TiffFile | None:
    """Return a GeoTIFF on a server to decode its blocks here; None where GDAL must read it; see `open_tiff`.

    Raises
    ------
    RemoteError, OSError
        When its directory cannot be read.
    """
    if sys.byteorder != "little":
        return None
    try:
        return _from_tags(cast(BinaryIO, file), file, height, width, dtype)
    except (ValueError, KeyError, struct.error):
        return None


def _from_tags(file: BinaryIO, source: ByteSource, height: int, width: int, dtype: str) -> TiffFile | None:
    """Return the file if its blocks can be decoded here, else None."""
    tags = read_tags(file, STRUCTURE)

    def one(tag: int, default: int) -> int:
        """Return the number of a tag, which must be the same for every sample."""
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
    swapped = order_of(file.read(2)) == ">"
    if (
        f"{KINDS.get(one(SAMPLE_FORMAT, 1))}{bits}" != dtype
        or (one(WIDTH, 0), one(HEIGHT, 0), one(FILL_ORDER, 1)) != (width, height, 1)
        or one(PHOTOMETRIC, 1) not in AS_STORED
        or compression not in (LZW, *DEFLATE)
        or (swapped and compression == LZW)
        or predictor not in (1, 2, 3)
        or (predictor == 3 and not dtype.startswith("float"))
        # libtiff accepts a file that gives only one edge of its tiles.
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
    size = file_size(file)
    if compression == LZW and max(offsets.max(), counts.max()) > size:
        return None
    return TiffFile(
        source=source, height=height, width=width, samples=samples, block_height=block_height, block_width=block_width,
        itemsize=bits // 8, planar=planar, inflate=None if compression == LZW else inflater(), predictor=predictor,
        offsets=offsets, counts=counts, tiled=tiled,
        swapped=swapped and predictor != 3 and bits > 8, size=size, whole=np.zeros(blocks, dtype=bool),
        fills=np.zeros(samples, dtype=dtype),
    )  # fmt: skip
