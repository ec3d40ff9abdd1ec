"""Zones that a map does not cover, or only in part."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.words import SHOWN, shown
from pixelwise.zonal.zones import Zones

__all__ = ["warn_of_outside"]

log = logging.getLogger(__name__)

#: Polygons that were drawn along the edge of a map pass it by a fraction of a pixel.
NEARLY_ALL = 0.995


def warn_of_outside(zones: Zones) -> None:
    """Warn of zones that are outside the map, so that they have no values, and of those that it covers in part.

    Parameters
    ----------
    zones
        The zones. Of a raster that extends beyond the map, nobody knows how much of a class is covered.
    """
    covered = zones.covered
    outside = np.flatnonzero(covered == 0)
    partly = np.flatnonzero((covered > 0) & (covered < NEARLY_ALL))
    partly = partly[np.argsort(covered[partly], kind="stable")]
    said = []
    if outside.size:
        verb = "is" if outside.size == 1 else "are"
        said.append(f"{verb} outside the map and {_have(outside)} no values: {_listed(_names(zones, outside))}")
    if partly.size:
        shares = [f"{_share(covered[zone])}" for zone in partly]
        names = [f"{name} ({share})" for name, share in zip(_names(zones, partly), shares, strict=True)]
        verb = "is" if partly.size == 1 else "are"
        said.append(f"{verb} only partly on the map: {_listed(names)}")
    if said:
        counts = [number for number in (outside.size, partly.size) if number]
        first = f"{counts[0]} of {len(zones)} zone{'s' * (len(zones) != 1)} {said[0]}"
        log.warning("zones %s: %s", zones.name, "; ".join([first, *(f"{counts[1]} {said[1]}" for _ in said[1:])]))


def _have(zones: NDArray[np.int64]) -> str:
    return "has" if zones.size == 1 else "have"


def _share(covered: float) -> str:
    """Return a share in percent, never rounded to none."""
    percent = max(100 * covered, 0.01)
    return f"{percent:.{0 if percent >= 1 else 2}f} %"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _names(zones: Zones, numbers: NDArray[np.int64]) -> list[str]:
    """Return what zones are called: by their attribute ``name``, else by their first text, else by their number."""
    texts = {name: values for name, values in zones.columns.items() if _is_text(values)}
    named = next((name for name in texts if name.lower() == "name"), next(iter(texts), None))
    known = [None if named is None else texts[named][number] for number in numbers.tolist()]
    return [
        shown(text, 40).strip("'\"") if isinstance(text, str) and text else f"feature {number + 1}"
        for text, number in zip(known, numbers.tolist(), strict=True)
    ]


def _is_text(values: NDArray[Any]) -> bool:
    return values.dtype.kind in "UO" and any(isinstance(value, str) for value in values.tolist())
