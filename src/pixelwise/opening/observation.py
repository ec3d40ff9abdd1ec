"""Observations: bands of files, with a date and masks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pixelwise.dates.axis import Moment
from pixelwise.dates.rules import Reading
from pixelwise.grid import Grid
from pixelwise.rasters.headers import BandHeader, Header
from pixelwise.rasters.pieces import Warp
from pixelwise.stacks.file_reader import Derivation

__all__ = ["EVERYTHING", "BandFile", "Entry", "Findings", "Observation"]


Entry = tuple[Path, Moment | None]


EVERYTHING = (-math.inf, math.inf)


@dataclass(frozen=True)
class BandFile:
    """One band of one file, what its numbers mean, and where they are put.

    Attributes
    ----------
    header, band
        As the file has them.
    scale, offset, nodata, valid
        The value is ``stored * scale + offset``; `nodata` are stored numbers, `valid` a range of values.
    grid, warp
        Where its pixels come to lie, and how where that is elsewhere.
    zoom
        Rows and columns of the grid that one pixel of the file covers.
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


@dataclass(frozen=True)
class Observation:
    """A file, or several bands of one image, with its date.

    Attributes
    ----------
    bands
        In the order of the names of the derivation.
    masks
        In the order of its rules; None where an image has none and needs none.
    reading
        The date.
    stem
        What the pieces of one image have in common.
    sensor
        As the product calls it; empty where there is none.
    """

    bands: tuple[BandFile, ...]
    masks: tuple[BandFile | None, ...]
    reading: Reading
    stem: str
    sensor: str = ""

    @property
    def header(self) -> Header:
        """That of the first band's file."""
        return self.bands[0].header

    @property
    def grid(self) -> Grid:
        """Where its first band comes to lie."""
        return self.bands[0].grid


@dataclass(frozen=True)
class Findings:
    """What was found in files.

    Attributes
    ----------
    observations
        As far as there are any.
    derivation
        How values are made of what they hold.
    headers
        Of every file that was opened, by path.
    remarks
        What was left out, one line each.
    """

    observations: tuple[Observation, ...]
    derivation: Derivation
    headers: Mapping[Path, Header] = field(repr=False)
    remarks: tuple[str, ...] = ()
