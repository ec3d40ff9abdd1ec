"""From windows of files to rows of layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.grid import Block
from pixelwise.reading import HANDLES, Piece, Table, WindowError, read_patiently, read_what_is_whole
from pixelwise.spec import SameDate

__all__ = ["Image", "LayerRead", "Read", "Share", "reads_of"]


@dataclass(frozen=True, slots=True)
class Image:
    """What was observed at once: pieces that do not overlap, and together cover the grid or a part of it.

    Attributes
    ----------
    pieces
        At least one.
    """

    pieces: tuple[Piece, ...]


@dataclass(frozen=True, eq=False)
class Read:
    """Bands of one file that go into rows of an array in one call."""

    piece: Piece
    bands: tuple[int, ...]
    rows: tuple[int, ...]

    @cached_property
    def rows_slice(self) -> slice | None:
        """The rows where they follow each other."""
        first, last = self.rows[0], self.rows[-1]
        return slice(first, last + 1) if self.rows == tuple(range(first, last + 1)) else None

    @cached_property
    def nodata(self) -> NDArray[Any]:
        """Stored numbers that are missing."""
        return self.piece.nodata_stored

    def goes_straight(self, dtype: np.dtype[Any]) -> bool:
        """Whether the bands of a window can be read into an array of `dtype` as they are stored."""
        return self.rows_slice is not None and self.piece.dtype == dtype

    def unpack(self, raw: NDArray[Any], out: NDArray[Any]) -> None:
        """Write values of contiguous `raw` into contiguous `out`, which may be `raw` itself."""
        from pixelwise.unpack import unpack

        low, high = self.piece.valid
        if self.piece.dtype == "float32" and not self.piece.scaled:
            # As stored: -0.2 of a float32 file lies a little below that of a float64.
            low, high = float(np.float32(low)), float(np.float32(high))
        unpack(raw.reshape(-1), self.nodata, self.piece.scale, self.piece.offset, low, high, out.reshape(-1))


def reads_of(rows: Iterator[tuple[int, Piece]]) -> tuple[Read, ...]:
    """Return the calls that read pieces into rows of an array.

    All bands of a file that are stored alike are read at once: a pixel-interleaved file of 21 bands is else decoded
    21 times.
    """
    grouped: dict[Piece, list[tuple[int, Piece]]] = {}
    for row, piece in rows:
        grouped.setdefault(replace(piece, band=0), []).append((row, piece))
    return tuple(
        Read(items[0][1], tuple(piece.band for _, piece in items), tuple(row for row, _ in items))
        for items in grouped.values()
    )


@dataclass(frozen=True, eq=False)
class LayerRead:
    """A layer that several images make together.

    Attributes
    ----------
    row
        Of the layer.
    images
        In the order of their names.
    reduce
        How.
    """

    row: int
    images: tuple[Image, ...]
    reduce: SameDate

    @cached_property
    def reads(self) -> tuple[tuple[Read, ...], ...]:
        """What is read of each image."""
        return tuple(reads_of((0, piece) for piece in image.pieces) for image in self.images)


@dataclass(frozen=True, eq=False)
class Share:
    """Some files of a stack, to be read by one thread at a time.

    Attributes
    ----------
    reads
        What goes into rows of layers as it is.
    layers
        Those that are worked out from several images.
    sparse
        Rows of layers whose pieces do not cover all that can be read.
    forgiving
        Whether what cannot be read counts as missing.
    handles
        Datasets of its own; None for those of the thread.
    """

    reads: tuple[Read, ...]
    layers: tuple[LayerRead, ...]
    sparse: tuple[int, ...]
    forgiving: bool
    handles: Table | None = None

    def read_into(self, block: Block, parts: Sequence[NDArray[Any]]) -> None:
        """Fill the rows of these files in arrays that hold a block's upper, next, ... and lowest rows of pixels.

        Parameters
        ----------
        block
            Inside what can be read.
        parts
            (layer, y, x) contiguous arrays; one of them, or several of which another thread takes each.

        Raises
        ------
        InputError
            When a file cannot be read, naming file, band and window.
        """
        table = HANDLES.open
        if self.handles is not None:
            table = self.handles
            table.turn += 1
        for part in parts:
            for row in self.sparse:
                part[row] = np.nan
        for read in self.reads:
            self._fill(read, block, parts, table)
        for layer in self.layers:
            values = self._worked_out(layer, block, parts[0].dtype, table)
            start = 0
            for part in parts:
                part[layer.row] = values[start : start + part.shape[1]]
                start += part.shape[1]

    def close(self) -> None:
        """Close the datasets of its own."""
        if self.handles is not None:
            self.handles.close()

    def all_reads(self) -> Iterator[Read]:
        """Yield every call by which a file is read."""
        yield from self.reads
        for layer in self.layers:
            for reads in layer.reads:
                yield from reads

    def converted(self, dtype: np.dtype[Any]) -> int:
        """Return bytes per pixel of the largest read that is converted to `dtype` on its way."""
        sizes = [
            len(read.rows) * np.dtype(read.piece.dtype).itemsize
            for read in self.reads
            if len(self.sparse) or not read.goes_straight(dtype)
        ]
        # An image, a sum and a count beside what is read of it.
        sizes += [
            dtype.itemsize
            + 16
            + max(np.dtype(piece.dtype).itemsize for image in layer.images for piece in image.pieces)
            for layer in self.layers
        ]
        return max(sizes, default=0)

    def _worked_out(self, layer: LayerRead, block: Block, dtype: np.dtype[Any], table: Table) -> NDArray[Any]:
        """Return (y, x) of a layer that several images make together."""

        def images() -> Iterator[tuple[Image, NDArray[Any]]]:
            for image, reads in zip(layer.images, layer.reads, strict=True):
                if any(piece.block.intersection(block) for piece in image.pieces):
                    values = np.full((1, block.height, block.width), np.nan, dtype=dtype)
                    for read in reads:
                        self._fill(read, block, (values,), table)
                    yield image, values[0]

        return _combine(images(), layer.reduce, block, dtype)

    def _fill(self, read: Read, block: Block, parts: Sequence[NDArray[Any]], table: Table) -> None:
        piece = read.piece
        shared = block.intersection(piece.block)
        if shared is None:
            return
        window = shared.shift(-piece.block.row, -piece.block.col)
        if shared == block and len(parts) == 1 and read.goes_straight(parts[0].dtype):
            values = parts[0][read.rows_slice]
            masks = self._read_window(read, window, values, table)
            read.unpack(values, values)
            if masks is not None:
                values[masks == 0] = np.nan
            return
        raw = np.empty((len(read.rows), shared.height, shared.width), dtype=piece.dtype)
        masks = self._read_window(read, window, raw, table)
        top, columns = shared.row - block.row, shared.shift(-block.row, -block.col).slices[1]
        start = 0
        for part in parts:
            first, last = max(top, start), min(top + shared.height, start + part.shape[1])
            source = slice(first - top, last - top)
            for index, row in enumerate(read.rows) if first < last else ():
                target = part[row, first - start : last - start, columns]
                # A view of whole rows of pixels is filled in place.
                values = target if target.flags.c_contiguous else np.empty(target.shape, dtype=part.dtype)
                read.unpack(raw[index, source], values)
                if masks is not None:
                    values[masks[index, source] == 0] = np.nan
                if values is not target:
                    target[:] = values
            start += part.shape[1]

    def _read_window(self, read: Read, window: Block, out: NDArray[Any], table: Table) -> NDArray[np.uint8] | None:
        """Read a window of a file into `out` (band, y, x); return masks where something is missing."""
        if not self.forgiving:
            return read_patiently(read.piece, read.bands, window, out, table)
        if read.piece.driver == "GTiff" and read.piece.warp is None:
            try:
                return read_patiently(read.piece, read.bands, window, out, table)
            except WindowError:
                pass
        # Of a VRT a window may be whole though the block around it is not: always by blocks, whatever the window.
        return read_what_is_whole(read.piece, read.bands, window, out, table)


def _combine(
    images: Iterator[tuple[Image, NDArray[Any]]], how: SameDate, block: Block, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Make one (y, x) of several images, NaN where all are missing.

    One after the other: NumPy's sum adds in another order for another shape, and no bit may depend on the block.
    """
    result = np.full((block.height, block.width), np.nan, dtype=dtype)
    if how == "mean":
        total, count = np.zeros(result.shape), np.zeros(result.shape)
        for _, values in images:
            valid = ~np.isnan(values)
            total += np.where(valid, values, 0)
            count += valid
        np.divide(total, count, out=result, where=count > 0, casting="same_kind")
        return result
    open_ = np.ones(result.shape, dtype=bool)
    for image, values in images:
        if how == "max":
            np.fmax(result, values, out=result)
        elif how == "mosaic":
            np.copyto(result, values, where=np.isnan(result))
        else:
            for piece in image.pieces:
                shared = piece.block.intersection(block)
                if shared is not None:
                    inside = shared.shift(-block.row, -block.col).slices
                    np.copyto(result[inside], values[inside], where=open_[inside])
                    open_[inside] = False
    return result
