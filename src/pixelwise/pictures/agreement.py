"""Where a slope, its limits and the p-value beside it disagree, because the p-value tests another line."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import DIRECTED, Band
from pixelwise.grid import Block
from pixelwise.pictures.numbers import percent
from pixelwise.pictures.source import Source
from pixelwise.pictures.thinned import thinned

__all__ = ["disagreements", "tested_by", "untested_sign"]

#: Bands that are what their p-value tests; others with the same p-value may have another sign.
TESTED = ("ols_slope", "z")

#: The level at which disagreements are counted: that of classes unless another is chosen.
LEVEL = 0.05
#: Where noise is as assumed, the limits of 4 to 9 % of the significant pixels include 0.
MANY = 0.1


def tested_by(source: Source, band: Band, pvalue: str | None) -> str:
    """Return the band that a band's p-value tests; empty if it is the band itself, or unknown."""
    if band.name in TESTED:
        return ""
    tested = (other for other in source.bands if other.name in TESTED and other.kind in DIRECTED)
    return next((other.name for other in tested if other.pvalue == pvalue), "")


def opposed(values: NDArray[np.floating], tested: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return where two numbers have opposite signs."""
    with np.errstate(invalid="ignore"):
        return ((values < 0) & (tested > 0)) | ((values > 0) & (tested < 0))


def untested_sign(method: str, names: list[str]) -> str:
    """Return a warning if a map of `trend` has a slope and a p-value, but not the line that this tests."""
    if method != "trend" or not {"slope", "pvalue"} <= set(names) or "ols_slope" in names:
        return ""
    return (
        "pvalue tests the least-squares line, and without the band ols_slope nothing shows where that has another sign "
        "than slope: add ols_slope to the bands"
    )


def disagreements(source: Source) -> list[str]:
    """Return warnings about the significant pixels of the first band: opposite signs, and limits that include 0.

    Shares of large maps come from evenly spread pixels.
    """
    band = source.bands[0]
    if band.kind not in DIRECTED or band.pvalue not in source:
        return []
    tested = tested_by(source, band, band.pvalue)
    level = source.provenance.get("parameters", {}).get("confidence_level")
    limits = ["low_slope", "high_slope"] if source.provenance.get("method") == "trend" and level == 1 - LEVEL else []
    if not all(name in source for name in limits):
        limits = []
    if not tested and not limits:
        return []
    some = thinned(source, [band.name, band.pvalue, *filter(None, [tested]), *limits])
    significant, contrary, around = 0, 0, 0
    for block in some.blocks():
        counts = _counts(some, band, tested, limits, block)
        significant, contrary, around = (a + b for a, b in zip((significant, contrary, around), counts, strict=True))
    exact, those = some is source, f"pixels with {band.pvalue} < {LEVEL:g}"
    found = []
    if contrary:
        many = f"{contrary} of {significant}" if exact else f"{percent(contrary / significant)} of the"
        found.append(
            f"in {many} {those}, {band.name} has the opposite sign to {tested}, which {band.pvalue} tests: "
            "classes count them as not significant"
        )
    if significant and around / significant > MANY:
        found.append(
            f"{percent(around / significant)} of the {those} have limits of the slope that include 0: a few years "
            "decide there; compare pvalue_mk"
        )
    return found


def _counts(source: Source, band: Band, tested: str, limits: list[str], block: Block) -> tuple[int, int, int]:
    """Count significant pixels, those of the opposite sign to the line tested, and those with limits around 0."""
    pvalues = source.read(band.pvalue, block)
    with np.errstate(invalid="ignore"):
        significant = pvalues < pvalues.dtype.type(LEVEL)
    contrary = around = 0
    if tested:
        signs = opposed(source.read(band.name, block), source.read(tested, block))
        contrary = int(np.count_nonzero(significant & signs))
    if limits:
        low, high = (source.read(name, block) for name in limits)
        with np.errstate(invalid="ignore"):
            around = int(np.count_nonzero(significant & (low <= 0) & (high >= 0)))
    return int(np.count_nonzero(significant)), contrary, around
