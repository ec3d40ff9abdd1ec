"""DEFLATE streams that GDAL itself reads: checked beforehand, as GDAL does not notice damaged ones."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pixelwise.grid import Block
from pixelwise.rasters.inflate import DROPPED, MOST_INFLATED, DamagedBlockError, inflated_size
from pixelwise.rasters.tags import (
    BITS,
    COMPRESSION,
    DEFLATE,
    FIELD_TYPES,
    HEIGHT,
    LZW,
    MASK,
    ODD_TYPES,
    OVERVIEW,
    PLANAR,
    SAMPLES,
    STRIP_COUNTS,
    STRIP_HEIGHT,
    STRIP_OFFSETS,
    STRUCTURE,
    SUBFILE,
    TILE_COUNTS,
    TILE_HEIGHT,
    TILE_OFFSETS,
    TILE_WIDTH,
    WIDTH,
    Field,
    directories,
    file_size,
    is_tiff,
    read_numbers,
)

__all__ = [
    "MOST_BLOCK",
    "SPLIT_ROWS",
    "BlockTable",
    "Opener",
    "Streams",
    "find_streams",
    "further_block",
    "has_filled_strip",
    "opener_of",
]

#: Opens a file.
Opener = Callable[[], AbstractContextManager[BinaryIO]]

#: Kernels count a block's bytes in 24 bits.
MOST_BLOCK = 1 << 24

#: A file that is a single strip of more rows than this is read by GDAL row by row.
SPLIT_ROWS = 2000


def opener_of(path: Path) -> Opener:
    """Return what opens a local file."""
    return lambda: path.open("rb")


def has_filled_strip(opener: Opener) -> bool:
    """Whether the DEFLATE stream of a last strip, which is lower than the others, extends beyond the strip.

    Some writers do that; GDAL 3.10 then leaves part or all of the strip as it was in memory. Masks count too.
    """
    try:
        with opener() as file:
            for part in _deflated(file):
                raster = part.raster
                if raster.tiled or raster.height % raster.block_height == 0:
                    continue
                down = -(-raster.height // raster.block_height)
                for number in range(down - 1, part.counts.size, down):
                    file.seek(int(part.offsets[number]))
                    data, size = file.read(int(part.counts[number])), part.size_of(number)
                    if inflated_size(data, size) > size:
                        return True
    except (OSError, ValueError, KeyError, IndexError, struct.error, zlib.error):
        # GDAL reports whatever is wrong with it.
        return False
    return False


@dataclass(frozen=True, eq=False)
class _Raster:
    """A directory, whatever its pixels are: bits, complex numbers, masks.

    Attributes
    ----------
    is_first
        Whether it is the first in its file.
    is_mask
        Whether it masks another directory.
    compression
        TIFF 6.0's number of the compression.
    height, width, block_height, block_width
        Sizes of the raster, and of its tiles or strips.
    bits
        Bits per number.
    interleaved, planes
        Numbers per pixel in a block, and number of full sets of blocks: one per band, or one in all.
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
    """Yield the directories whose pixels GDAL reads: the first one and masks, but no overviews.

    Parameters
    ----------
    file
        The open file.
    where
        Tags to find in addition to those of `STRUCTURE`.

    Raises
    ------
    ValueError, KeyError, struct.error
        When a directory cannot be understood.
    OSError
        When the file cannot be read.
    """
    for index, fields in enumerate(directories(file, (*STRUCTURE, SUBFILE, *where), {**FIELD_TYPES, **ODD_TYPES})):
        tags = read_numbers(file, {tag: field for tag, field in fields.items() if tag not in where})

        def one(tag: int, default: int, tags: Mapping[int, NDArray[np.int64]] = tags) -> int:
            return int(tags.get(tag, np.array([default]))[0])

        kind = one(SUBFILE, 0)
        if kind & OVERVIEW or (index and not kind & MASK):
            continue
        height, width, tiled = one(HEIGHT, 0), one(WIDTH, 0), TILE_WIDTH in tags
        if tiled != (TILE_HEIGHT in tags):
            raise ValueError("only one edge of the tiles is given")
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
        The layout of its blocks.
    is_mask
        Whether it masks another directory, even one in another file.
    offsets, counts
        Where each block's bytes begin, and how many there are.
    """

    raster: _Raster
    is_mask: bool
    offsets: NDArray[np.int64]
    counts: NDArray[np.int64]

    def numbers(self, bands: Sequence[int], window: Block) -> list[int]:
        """Return the numbers of the blocks that hold a window of some bands."""
        raster = self.raster
        across, down = -(-raster.width // raster.block_width), -(-raster.height // raster.block_height)
        rows = range(window.row // raster.block_height, -(-(window.row + window.height) // raster.block_height))
        columns = range(window.col // raster.block_width, -(-(window.col + window.width) // raster.block_width))
        planes = [band - 1 for band in bands] if raster.planes > 1 and not self.is_mask else range(raster.planes)
        return [(plane * down + row) * across + column for plane in planes for row in rows for column in columns]

    def size_of(self, number: int) -> int:
        """Return the bytes of a block."""
        raster = self.raster
        row = number // -(-raster.width // raster.block_width) % -(-raster.height // raster.block_height)
        rows = raster.block_height
        if not raster.tiled:
            rows = min(rows, raster.height - row * rows)
        return rows * -(-raster.block_width * raster.bits * raster.interleaved // 8)


def _deflated(file: BinaryIO, *, mask: bool = False, others: bool = False) -> Iterator[_Deflated]:
    """Yield directories of `_rasters`: those of DEFLATE blocks, or `others` too; the first may be that of a `mask`."""
    for raster in _rasters(file, (STRIP_OFFSETS, STRIP_COUNTS, TILE_OFFSETS, TILE_COUNTS)):
        if raster.compression not in DEFLATE and not others:
            continue
        if min(raster.block_height, raster.block_width, raster.interleaved, raster.planes) < 1:
            raise ValueError("no blocks")
        where = (TILE_OFFSETS, TILE_COUNTS) if raster.tiled else (STRIP_OFFSETS, STRIP_COUNTS)
        tables = read_numbers(file, {tag: raster.fields[tag] for tag in where})
        # libtiff pads the shorter table with zeros too.
        most = max(table.size for table in tables.values())
        offsets, counts = (np.pad(tables[tag], (0, most - tables[tag].size)) for tag in where)
        yield _Deflated(raster, mask or raster.is_mask, offsets, counts)


def further_block(opener: Opener, *, behind: bool) -> int:
    """Return the decoded bytes of the largest block of a TIFF that GDAL does not report among its bands' blocks.

    That is: masks in directories of their own; a single compressed strip of more than `SPLIT_ROWS` rows, which GDAL
    reports as single rows but which is decoded whole here; and a source `behind` a VRT, which has its own blocks.

    Parameters
    ----------
    opener
        Opens the file; the result is 0 where it is not a TIFF.
    behind
        Whether the file's own blocks count as well.
    """
    largest = 0
    try:
        with opener() as file:
            if not is_tiff(file.read(4)):
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
        # GDAL reports whatever is wrong with it.
        pass
    return largest


@dataclass(frozen=True, eq=False)
class BlockTable:
    """Where GDAL finds the blocks of a TIFF and its masks, whatever their compression; empty for other files."""

    parts: tuple[_Deflated, ...] = ()

    @classmethod
    def of(cls, file: BinaryIO) -> BlockTable:
        """Return the table of an open file."""
        try:
            file.seek(0)
            return cls(tuple(_deflated(file, others=True)) if is_tiff(file.read(4)) else ())
        except (OSError, ValueError, KeyError, IndexError, struct.error):
            return cls()

    def ranges(
        self, bands: Sequence[int], window: Block, gap: int, *, only_masks: bool = False
    ) -> list[tuple[int, int]]:
        """Return begin and end of the bytes that GDAL reads for a window, across gaps of some bytes."""
        found: list[tuple[int, int]] = []
        for part in self.parts:
            if only_masks and not part.is_mask:
                continue
            numbers = [number for number in part.numbers(bands, window) if number < part.counts.size]
            places = [(int(part.offsets[number]), int(part.counts[number])) for number in numbers]
            for begin, count in sorted(place for place in places if place[1] > 0):
                if found and found[-1][0] <= begin <= found[-1][1] + gap:
                    found[-1] = found[-1][0], max(found[-1][1], begin + count)
                else:
                    found.append((begin, begin + count))
        return found


@dataclass(frozen=True, eq=False)
class Streams:
    """The DEFLATE streams that GDAL reads from a file: its pixels, masks in directories of their own, and a sidecar.

    GDAL does not notice a stream that does not fit its block, so the streams are checked here first.
    """

    parts: tuple[tuple[Opener, _Deflated, NDArray[np.bool_]], ...]

    def check(self, bands: Sequence[int], window: Block, *, pixels: bool, masks: bool) -> None:
        """Check the streams of the blocks that a window needs, unless they were checked before.

        Parameters
        ----------
        bands
            Bands to read, numbered from 1.
        window
            The window of the file.
        pixels, masks
            Whether the file's own bands are read, and whether its masks are.

        Raises
        ------
        DamagedBlockError
            When a stream is broken, or holds more or fewer bytes than its block.
        """
        for opener, part, fine in self.parts:
            if not (masks if part.is_mask else pixels):
                continue
            for number in part.numbers(bands, window):
                if number < fine.size and not fine[number]:
                    self._look(opener, part, number)
                    fine[number] = True

    @staticmethod
    def _look(opener: Opener, part: _Deflated, number: int) -> None:
        begin, count = int(part.offsets[number]), int(part.counts[number])
        if count == 0:
            return
        size = part.size_of(number)
        of_mask = " of its mask" if part.is_mask else ""
        with opener() as file:
            if begin <= 0 or count < 0 or begin + count > file_size(file):
                raise DamagedBlockError(f"a block{of_mask} is outside the file")
            file.seek(begin)
            data = file.read(min(count, MOST_INFLATED * size + DROPPED))
        try:
            held = inflated_size(data, size)
        except zlib.error as error:
            raise DamagedBlockError(f"damaged DEFLATE stream{of_mask}: {error}") from None
        if held > size:
            raise DamagedBlockError(
                f"a DEFLATE stream{of_mask} holds more than its block of {size} bytes; GDAL would read it wrongly"
            )
        if held < size:
            raise DamagedBlockError(f"damaged DEFLATE stream{of_mask}: it has {held} bytes, its block {size}")


def find_streams(name: str, opener: Opener, sidecars: Sequence[Path] = (), *, split: bool = False) -> Streams:
    """Find the DEFLATE streams that GDAL needs from a TIFF and its masks; none if it is not a TIFF.

    Parameters
    ----------
    name
        The name of the file, for messages.
    opener
        Opens it.
    sidecars
        Mask files beside it.
    split
        Whether GDAL reads its pixels row by row: then it uses no more of a stream than it needs.

    Raises
    ------
    DamagedBlockError
        When a directory is so unusual that its streams cannot be found.
    """
    parts = []
    masks = ((mask.name, opener_of(mask)) for mask in sidecars)
    for index, (this, opens) in enumerate(((name, opener), *masks)):
        try:
            with opens() as file:
                if not is_tiff(file.read(4)):
                    continue
                found = [part for part in _deflated(file, mask=index > 0) if part.is_mask or not split]
                parts += [(opens, part, np.zeros(part.counts.size, dtype=bool)) for part in found]
        except OSError:  # GDAL reports it
            continue
        except (ValueError, KeyError, IndexError, struct.error) as error:
            raise DamagedBlockError(f"{this}: a directory of the TIFF cannot be understood: {error}") from None
    return Streams(tuple(parts))
