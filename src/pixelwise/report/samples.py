"""Pixels of a map whose series a report shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats
from pixelwise.maps.info import headline_of
from pixelwise.maps.map import Map
from pixelwise.pictures.choosing import bands_for, scheme_of
from pixelwise.pictures.scheme import OUTSIDE
from pixelwise.pictures.thinned import spread, thinned
from pixelwise.stacks.fits import Fit

__all__ = ["Sample", "chosen_pixels", "sample_of", "sample_pixels"]

#: Pixels of each class, and in all.
OF_EACH, IN_ALL = 5, 40


@dataclass(frozen=True, eq=False)
class Sample:
    """One pixel.

    Attributes
    ----------
    row, col
        Where it is in the map.
    x, y
        Its centre.
    words
        What the method says of it, in one line.
    years, values
        (time,) decimal years and observations, NaN where missing.
    curve_years, curve
        (point,) the fitted curve; empty without one.
    low, high
        (point,) its limits; empty without them.
    label
        The class it is in.
    """

    row: int
    col: int
    x: float
    y: float
    words: str
    years: Floats
    values: NDArray[Any]
    curve_years: Floats = field(default_factory=lambda: np.empty(0))
    curve: Floats = field(default_factory=lambda: np.empty(0))
    low: Floats = field(default_factory=lambda: np.empty(0))
    high: Floats = field(default_factory=lambda: np.empty(0))
    label: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it ready for JSON: columns of the sources of the chart, and texts."""
        valid = ~np.isnan(self.values)
        limited = len(self.low) > 0
        return {
            "title": f"row {self.row}, column {self.col} ({self.x:.8g}, {self.y:.8g}): {self.label}",
            "words": self.words,
            "observed": {"x": self.years[valid].tolist(), "y": self.values[valid].astype(np.float64).tolist()},
            "curve": {"x": self.curve_years.tolist(), "y": self.curve.tolist()},
            "band": {
                "x": self.curve_years.tolist() if limited else [],
                "low": self.low.tolist(),
                "high": self.high.tolist(),
            },
        }


def chosen_pixels(codes: NDArray[np.uint8], classes: int) -> list[tuple[int, int]]:
    """Return rows and columns of some pixels of each class, drawn at random, but always the same.

    Parameters
    ----------
    codes
        (y, x) numbers of classes.
    classes
        How many there are.
    """
    flat = codes.ravel()
    found: list[int] = []
    for code in range(min(classes, OUTSIDE)):
        members = np.flatnonzero(flat == code)
        if members.size:
            # The same pixels of the same map, but no pattern of rows.
            random = np.random.default_rng(code)
            found += sorted(random.choice(members, min(OF_EACH, members.size), replace=False).tolist())
    if len(found) > IN_ALL:
        found = [found[place] for place in np.linspace(0, len(found) - 1, IN_ALL).astype(int)]
    return [(place // codes.shape[1], place % codes.shape[1]) for place in found]


def sample_pixels(map_: Map) -> list[tuple[int, int, str]]:
    """Return rows, columns and classes of pixels whose series are worth a look.

    Parameters
    ----------
    map_
        The map; the classes are those of its first band.
    """
    name = headline_of(map_).name
    source = thinned(map_, bands_for(map_, name))
    scheme = scheme_of(source, name)
    codes = np.empty((source.grid.height, source.grid.width), np.uint8)
    for block in source.blocks():
        codes[block.slices] = scheme.codes(source, block)
    rows, cols = np.arange(map_.grid.height), np.arange(map_.grid.width)
    if source.grid != map_.grid:
        rows, cols = spread(map_.grid.height), spread(map_.grid.width)
    return [
        (int(rows[row]), int(cols[col]), scheme.classes[codes[row, col]].label)
        for row, col in chosen_pixels(codes, len(scheme.classes))
    ]


def sample_of(fit: Fit, label: str) -> Sample:
    """Return a pixel with what a method says of it."""
    series, curve = fit.series, fit.curve
    given = {} if curve is None else {"curve_years": curve.years, "curve": curve.values}
    if curve is not None and curve.low is not None and curve.high is not None:
        given |= {"low": curve.low, "high": curve.high}
    limits = f"; shaded: {fit.limits_name}" if "low" in given else ""
    words = fit.words + limits
    return Sample(series.row, series.col, series.x, series.y, words, series.years, series.values, label=label, **given)
