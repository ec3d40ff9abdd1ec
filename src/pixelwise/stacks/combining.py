"""Several images of one date, combined into one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pixelwise.choices import SameDate
from pixelwise.grid import Block
from pixelwise.rasters.pieces import Piece

__all__ = ["combined", "nothing"]


class HasPieces(Protocol):
    """An image."""

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """The pieces that say what it covers."""


def nothing(block: Block, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return (y, x) without any value."""
    return np.full((block.height, block.width), np.nan, dtype=dtype)


def combined(
    images: Iterator[tuple[HasPieces, NDArray[Any]]], how: SameDate, block: Block, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Combine several images into one (y, x), NaN where all are missing.

    One after the other: the order of NumPy's sum depends on the shape, but no bit may depend on the block.
    """
    result = nothing(block, dtype)
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
