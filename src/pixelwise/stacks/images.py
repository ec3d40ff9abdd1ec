"""Images: bands and masks observed at once, as pieces of files on the grid; and the calls that read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.choices import SameDate
from pixelwise.grid import Block
from pixelwise.rasters.pieces import Piece

__all__ = ["Image", "LayerRead", "Read", "reads_of"]


@dataclass(frozen=True, slots=True)
class Image:
    """What was observed at once: pieces that do not overlap, and together cover all or part of the grid.

    Attributes
    ----------
    bands
        The pieces of each band, in the order of the derivation's names; one band without a formula.
    masks
        The pieces of each quality band.
    clear
        Where the image has no such band, and needs none.
    sensor
        The sensor's name in the product.
    names
        What tables of gains call each band.
    """

    bands: tuple[tuple[Piece, ...], ...]
    masks: tuple[tuple[Piece, ...], ...] = ()
    clear: tuple[tuple[Block, ...], ...] = ()
    sensor: str = ""
    names: tuple[str, ...] = ()

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Pieces of the first band, which say what the image covers."""
        return self.bands[0]

    def shift(self, rows: int, cols: int) -> Image:
        """Return the image on a grid whose origin lies elsewhere."""

        def moved(groups: tuple[tuple[Piece, ...], ...]) -> tuple[tuple[Piece, ...], ...]:
            return tuple(tuple(piece.shift(rows, cols) for piece in group) for group in groups)

        clear = tuple(tuple(block.shift(rows, cols) for block in group) for group in self.clear)
        return replace(self, bands=moved(self.bands), masks=moved(self.masks), clear=clear)


@dataclass(frozen=True, eq=False)
class Read:
    """Bands of one file that go into rows of an array in one call."""

    piece: Piece
    bands: tuple[int, ...]
    rows: tuple[int, ...]

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

    def unpack(self, raw: NDArray[Any], out: NDArray[Any]) -> None:
        """Write values of contiguous `raw` into contiguous `out`, which may be `raw` itself."""
        from pixelwise.kernels.unpack import unpack

        low, high = self.piece.valid
        if self.piece.dtype == "float32" and not self.piece.scaled:
            # As stored: -0.2 in a float32 file is a little below -0.2 in float64.
            low, high = float(np.float32(low)), float(np.float32(high))
        unpack(raw.reshape(-1), self.nodata, self.piece.scale, self.piece.offset, low, high, out.reshape(-1))


def reads_of(rows: Iterator[tuple[int, Piece]]) -> tuple[Read, ...]:
    """Return the calls that read pieces into rows of an array.

    All bands of a file that are stored alike are read at once: otherwise a pixel-interleaved file of 21 bands is
    decoded 21 times.
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
    """A layer that is computed: from several images, by a formula, or with masks.

    Attributes
    ----------
    row
        Row of the layer.
    images
        In the order of their names.
    reduce
        How several are combined into one.
    """

    row: int
    images: tuple[Image, ...]
    reduce: SameDate | None

    @cached_property
    def reads(self) -> tuple[tuple[Read, ...], ...]:
        """The reads of each image, into one row for each band."""
        return tuple(
            reads_of((row, piece) for row, pieces in enumerate(image.bands) for piece in pieces)
            for image in self.images
        )
