"""From windows of files to rows of layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.grid import Block
from pixelwise.reading import HANDLES, Piece, Table, WindowError, read_patiently, read_what_is_whole
from pixelwise.spec import Duplicates

__all__ = ["Read", "Share"]


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

    def unpack(self, raw: NDArray[Any], valid: tuple[float, float], out: NDArray[Any]) -> None:
        """Write values of contiguous `raw` into contiguous `out`, which may be `raw` itself."""
        from pixelwise.unpack import unpack

        low, high = valid
        if self.piece.dtype == "float32" and not self.piece.scaled:
            # As stored: -0.2 of a float32 file lies a little below that of a float64.
            low, high = float(np.float32(low)), float(np.float32(high))
        unpack(raw.reshape(-1), self.nodata, self.piece.scale, self.piece.offset, low, high, out.reshape(-1))


@dataclass(frozen=True, eq=False)
class Share:
    """Some files of a stack, to be read by one thread at a time.

    Attributes
    ----------
    reads
        What is read, and into which rows.
    reductions
        Where several rows become one: the row of the layer, those of its members, and how.
    rows
        How many rows the members need before they are reduced.
    valid
        Smallest and largest value that is not missing.
    mosaic
        Whether files may cover a block in part.
    forgiving
        Whether what cannot be read counts as missing.
    handles
        Datasets of its own; None for those of the thread.
    """

    reads: tuple[Read, ...]
    reductions: tuple[tuple[int, tuple[int, ...], Duplicates | None], ...]
    rows: int
    valid: tuple[float, float]
    mosaic: bool
    forgiving: bool
    handles: Table | None = None

    def read_into(self, block: Block, parts: Sequence[NDArray[Any]]) -> None:
        """Fill the rows of these files in arrays that hold a block's upper, next, ... and lowest rows of pixels.

        Parameters
        ----------
        block
            Inside the grid.
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
        targets = parts
        if self.reductions:
            # Members need rows of their own before they are reduced.
            targets = [np.empty((self.rows, *part.shape[1:]), dtype=part.dtype) for part in parts]
        for read in self.reads:
            self._fill(read, block, targets, table)
        for part, members in zip(parts, targets, strict=True):
            for row, rows, how in self.reductions:
                part[row] = _reduce(members[rows[0] : rows[-1] + 1], how)

    def close(self) -> None:
        """Close the datasets of its own."""
        if self.handles is not None:
            self.handles.close()

    def converted(self, dtype: np.dtype[Any]) -> int:
        """Return bytes per pixel of the largest read that is converted to `dtype` on its way."""
        sizes = [
            len(read.rows) * np.dtype(read.piece.dtype).itemsize
            for read in self.reads
            if self.mosaic or not read.goes_straight(dtype)
        ]
        return max(sizes, default=0)

    def _fill(self, read: Read, block: Block, parts: Sequence[NDArray[Any]], table: Table) -> None:
        piece = read.piece
        shared = block.intersection(piece.block)
        whole = shared == block
        if not whole and not self.mosaic:
            raise ValueError(f"{block} lies outside {piece.block}, {piece.path}")
        if shared is None:
            return
        window = shared.shift(-piece.block.row, -piece.block.col)
        if whole and len(parts) == 1 and read.goes_straight(parts[0].dtype):
            values = parts[0][read.rows_slice]
            masks = self._read_window(read, window, values, table)
            read.unpack(values, self.valid, values)
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
                read.unpack(raw[index, source], self.valid, values)
                if masks is not None:
                    values[masks[index, source] == 0] = np.nan
                if values is not target:
                    target[:] = values
            start += part.shape[1]

    def _read_window(self, read: Read, window: Block, out: NDArray[Any], table: Table) -> NDArray[np.uint8] | None:
        """Read a window of a file into `out` (band, y, x); return masks where something is missing."""
        if not self.forgiving:
            return read_patiently(read.piece, read.bands, window, out, table)
        if read.piece.driver == "GTiff":
            try:
                return read_patiently(read.piece, read.bands, window, out, table)
            except WindowError:
                pass
        # Of a VRT a window may be whole though the block around it is not: always by blocks, whatever the window.
        return read_what_is_whole(read.piece, read.bands, window, out, table)


def _reduce(members: NDArray[Any], how: Duplicates | None) -> NDArray[Any]:
    """Reduce (member, y, x) to (y, x), missing only where all members are."""
    if how == "max":
        largest: NDArray[Any] = np.fmax.reduce(members, axis=0)
        return largest
    if how is None:
        return members[0]  # type: ignore[no-any-return]
    # One by one: NumPy's sum adds in another order for another shape, and no bit may depend on the block.
    total, count = np.zeros(members.shape[1:]), np.zeros(members.shape[1:])
    for member in members:
        valid = ~np.isnan(member)
        total += np.where(valid, member, 0)
        count += valid
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
