"""Observations: bands of files, with a date and masks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from pixelwise.dates.axis import Moment
from pixelwise.dates.rules import Reading
from pixelwise.grid import Grid
from pixelwise.rasters.headers import BandHeader, Header
from pixelwise.rasters.pieces import Warp
from pixelwise.rasters.urls import Location
from pixelwise.stacks.file_reader import Derivation

__all__ = ["EVERYTHING", "BandFile", "Entry", "Findings", "Observation"]

Entry = tuple[Location, Moment | None]

EVERYTHING = (-math.inf, math.inf)


@dataclass(frozen=True)
class BandFile:
    """One band of one file, the meaning of its numbers, and their place.

    Attributes
    ----------
    header, band
        Both as in the file.
    scale, offset, nodata, valid
        The value is ``stored * scale + offset``; `nodata` are stored numbers, `valid` a range of values.
    grid, warp
        The grid of its pixels, and how they are warped to it, if they are.
    zoom
        How many rows and columns of the grid one pixel of the file covers.
    name
        What a product calls it, such as ``red``; empty for other files.
    """

    header: Header
    band: BandHeader
    scale: float
    offset: float
    nodata: tuple[float, ...]
    valid: tuple[float, float]
    grid: Grid
    warp: Warp | None = None
    zoom: int = 1
    name: str = ""

    @property
    def label(self) -> str:
        """What tables of gains call it: by its product, its variable, its description, or ``b`` and its number."""
        variable = "" if self.header.array is None else self.header.array.variable
        return self.name or variable or self.band.description or f"b{self.band.index}"


@dataclass(frozen=True)
class Observation:
    """A file, or several bands of one image, with its date.

    Attributes
    ----------
    bands
        Its bands, in the order of the derivation's names.
    masks
        Its masks, in the order of the derivation's rules; None if the image has none and needs none.
    reading
        Its date, and how that was found.
    stem
        The part of the name that the pieces of one image share.
    sensor
        Its code in the product; empty if there is none.
    """

    bands: tuple[BandFile, ...]
    masks: tuple[BandFile | None, ...]
    reading: Reading
    stem: str
    sensor: str = ""

    @property
    def header(self) -> Header:
        """The header of the first band's file."""
        return self.bands[0].header

    @property
    def grid(self) -> Grid:
        """The grid of its first band."""
        return self.bands[0].grid


@dataclass(frozen=True)
class Findings:
    """What was found in files.

    Attributes
    ----------
    observations
        Those that could be read.
    derivation
        How values are computed from stored numbers.
    headers
        Headers of all files that were opened, by path.
    remarks
        What was left out, one line each.
    """

    observations: tuple[Observation, ...]
    derivation: Derivation
    headers: Mapping[Location, Header] = field(repr=False)
    remarks: tuple[str, ...] = ()
