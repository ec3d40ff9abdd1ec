"""Check what a user's function returned, and describe its failures."""

from __future__ import annotations

import numbers
import traceback
from collections.abc import Sequence
from typing import Any

import numpy as np

from pixelwise.bands import Band, Floats
from pixelwise.errors import FunctionError

__all__ = [
    "BLOCK_WIDTH",
    "FAILURES",
    "band_table",
    "not_learnt",
    "numbered",
    "row_of",
    "short",
    "stop",
    "user_traceback",
]

# A user's vectorised function always gets this many pixels (padded by repeating some), because NumPy's order of
# summation depends on the shape, and results must not depend on how the image is cut.
BLOCK_WIDTH = 1024

# A function that calls sys.exit() fails at that pixel, and does not end the job as if it had succeeded.
FAILURES = (Exception, SystemExit)


def _expected(name: str, bands: Sequence[str]) -> str:
    return f"{name}: expected {len(bands)} value{'s' * (len(bands) != 1)} ({', '.join(bands)})"


def _as_floats(result: Any) -> Floats | None:
    """Return the result of a function as an array; None if it does not consist of numbers."""
    try:
        if isinstance(result, np.ma.MaskedArray):
            return np.ma.filled(result.astype(np.float64), np.nan)
        array = np.asarray(result)
        if array.dtype == object and all(isinstance(item, numbers.Real) for item in array.ravel()):
            array = array.astype(np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    return array if array.dtype.kind in "fiub" else None


def row_of(result: Any, name: str, bands: Sequence[str] | None) -> Floats:
    """Return the numbers that a function returned for one pixel.

    Raises
    ------
    FunctionError
        When they are not numbers, or not one per band.
    """
    row = _as_floats(result)
    if row is not None and row.ndim == 0:
        row = row[None]
    if row is not None and row.ndim == 1 and row.size and (bands is None or row.size == len(bands)):
        return row
    got = f"{type(result).__name__} {short(result)}"
    if row is not None:
        got = f"{row.size}" if row.ndim == 1 else f"an array of shape {row.shape}"
    raise FunctionError(f"{_expected(name, bands) if bands else f'{name}: expected numbers'}, got {got}")


def short(thing: Any) -> str:
    """Return the repr of an object, in at most 80 characters."""
    text = " ".join(repr(thing).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def numbered(count: int) -> tuple[Band, ...]:
    """Return bands with default names."""
    names = ["value"] if count == 1 else [f"value_{i}" for i in range(1, count + 1)]
    return tuple(map(Band, names))


def user_traceback(error: BaseException) -> str:
    """Format a traceback, starting at the user's first line."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames)).rstrip()


def stop(name: str, error: BaseException, values: Floats) -> FunctionError:
    """Return the error for a function that raised on a pixel, with the pixel's values."""
    shown = ", ".join(f"{value:g}" for value in values[:8])
    more = f", ... ({len(values)} in all)" if len(values) > 8 else ""
    return FunctionError(f"{name} failed on a pixel with the values [{shown}{more}]\n{user_traceback(error)}")


def not_learnt(name: str, tried: int, failure: str) -> FunctionError:
    """Return the error for a function that gave no result on any pixel of the sample."""
    if not tried:
        return FunctionError(
            f"the bands of {name} cannot be determined: no pixel of the sample has enough observations"
        )
    pixels = "the one pixel" if tried == 1 else f"each of the {tried} pixels"
    return FunctionError(f"{name} failed on {pixels} that it was tried on\n{failure}")


def band_table(result: Any, name: str, bands: Sequence[str] | None) -> Floats:
    """Return the (band, pixel) numbers that a vectorised function returned.

    Raises
    ------
    FunctionError
        When they are not numbers, or have the wrong shape.
    """
    table = _as_floats(result)
    if table is not None and table.shape == (BLOCK_WIDTH,):
        table = table[None]
    fits = table is not None and table.ndim == 2 and table.shape[1] == BLOCK_WIDTH and len(table)
    if table is None or not fits or (bands is not None and len(table) != len(bands)):
        wanted = "(band" if bands is None else f"({len(bands)}"
        meaning = "" if bands is None else f" for {', '.join(bands)}"
        got = f"{type(result).__name__} {short(result)}" if table is None else f"{table.shape}"
        raise FunctionError(f"{name}: expected {wanted}, {BLOCK_WIDTH}){meaning}, got {got}")
    return table
