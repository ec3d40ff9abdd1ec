"""Which bands of a file are read in one call, and how their stored numbers become values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.rasters.pieces import Line, Piece

__all__ = ["Read", "reads_of"]


@dataclass(frozen=True, eq=False)
class Read:
    """Bands of one file that go into rows of an array in one call.

    Attributes
    ----------
    piece
        One of them; the others are stored alike.
    bands, rows
        Numbers of the bands, and their rows.
    lines
        What makes the values of each band comparable with those of other scenes; empty if nothing does.
    """

    piece: Piece
    bands: tuple[int, ...]
    rows: tuple[int, ...]
    lines: tuple[Line | None, ...] = ()

    @cached_property
    def rows_slice(self) -> slice | None:
        """The rows as a slice, if they are consecutive."""
        first, last = self.rows[0], self.rows[-1]
        return slice(first, last + 1) if self.rows == tuple(range(first, last + 1)) else None

    @cached_property
    def nodata(self) -> NDArray[Any]:
        """(value, 2) bounds of the stored numbers that are missing."""
        return self.piece.nodata_bounds

    def goes_straight(self, dtype: np.dtype[Any]) -> bool:
        """Whether the bands of a window can be read into an array of `dtype` as they are stored."""
        return self.rows_slice is not None and self.piece.dtype == dtype

    def unpack(self, raw: NDArray[Any], out: NDArray[Any], place: int | None = None) -> None:
        """Write values of contiguous `raw` into contiguous `out`, which may be `raw` itself.

        They are those of all bands, (band, ...), or of the one at a `place` among them.
        """
        from pixelwise.kernels.unpack import unpack

        if place is None and self.lines:
            for number, (stored, values) in enumerate(zip(raw, out, strict=True)):
                self.unpack(stored, values, number)
            return
        piece = self.piece
        low, high = piece.valid
        if piece.dtype == "float32" and not piece.scaled:
            # As stored: -0.2 in a float32 file is a little below -0.2 in float64.
            low, high = float(np.float32(low)), float(np.float32(high))
        line = (None if place is None or not self.lines else self.lines[place]) or ()
        unpack(raw.reshape(-1), self.nodata, piece.scale, piece.offset, low, high, out.reshape(-1), *line)


def reads_of(rows: Iterator[tuple[int, Piece]]) -> tuple[Read, ...]:
    """Return the calls that read pieces into rows of an array.

    All bands of a file that are stored alike are read at once: otherwise a pixel-interleaved file of 21 bands is
    decoded 21 times.
    """
    grouped: dict[Piece, list[tuple[int, Piece]]] = {}
    for row, piece in rows:
        # Each band, and each time step of an array, has its own line.
        grouped.setdefault(replace(piece, band=0, line=None), []).append((row, piece))
    found = []
    for items in grouped.values():
        numbers, pieces = zip(*items, strict=True)
        lines = tuple(piece.line for piece in pieces)
        found.append(Read(pieces[0], tuple(piece.band for piece in pieces), numbers, lines if any(lines) else ()))
    return tuple(found)
