"""Grids that are named by a CRS and a resolution, such as ``EPSG:32633,10``, instead of a raster that has them."""

from __future__ import annotations

import functools
import math
import re
from pathlib import Path
from typing import Final

from affine import Affine

from pixelwise.crs import crs_named
from pixelwise.errors import ParameterError
from pixelwise.grid import Grid
from pixelwise.words import shown

__all__ = ["named_lattice", "names_crs"]

#: An authority and a code; a drive of Windows, which has one letter, is none.
CODE: Final = re.compile(r"[A-Za-z]{2}[A-Za-z0-9]*:[A-Za-z0-9_.]+(?=[,@]|$|(?<=[0-9]):[0-9])")
#: No raster in degrees has larger pixels, and none in metres smaller ones: the unit is mistaken.
MOST_DEGREES: Final = 10.0
LEAST_METRES: Final = 0.01
#: Metres per degree along a meridian.
DEGREE: Final = 111_320.0


def names_crs(text: str) -> bool:
    """Whether a text names a CRS, and not a file; a file of that name exists rather than a CRS."""
    return CODE.match(text) is not None and not Path(text).exists()


@functools.lru_cache(maxsize=16)
def named_lattice(text: str) -> Grid:
    """Return the pixel at the origin of the CRS: those of the grid lie at multiples of the resolution.

    Raises
    ------
    ParameterError
        When the CRS is unknown, or the resolution is none, or not in its units.
    """
    found = CODE.match(text)
    code = text[: found.end()] if found else text
    rest = text[len(code) :]
    crs = crs_named(code, "align")
    try:
        resolution = float(rest.removeprefix(","))
    except ValueError:
        resolution = math.nan
    if not rest.startswith(",") or not math.isfinite(resolution):
        unit = "degrees" if crs.is_geographic else "metres"
        raise ParameterError(
            f"align {shown(text)}: expected CRS,RESOLUTION, such as {code},{'0.01' if crs.is_geographic else '30'} "
            f"({unit})"
        )
    if resolution <= 0:
        raise ParameterError(f"align {shown(text)}: the resolution is {resolution:g}; expected a positive number")
    if crs.is_geographic and resolution >= MOST_DEGREES:
        raise ParameterError(
            f"align {shown(text)}: {code} is in degrees, and a pixel of {resolution:g} degrees is too "
            f"large; {resolution:g} metres are about {resolution / DEGREE:.3g} degrees: "
            f"{code},{resolution / DEGREE:.3g}"
        )
    if crs.is_projected and resolution * crs.linear_units_factor[1] < LEAST_METRES:
        raise ParameterError(
            f"align {shown(text)}: the unit of {code} is the {crs.linear_units_factor[0]}, and a pixel of "
            f"{resolution:g} is too small; {resolution:g} degrees are about {resolution * DEGREE:.3g} m: "
            f"{code},{resolution * DEGREE / crs.linear_units_factor[1]:.3g}"
        )
    return Grid(crs, Affine(resolution, 0, 0, 0, -resolution, 0), 1, 1)
