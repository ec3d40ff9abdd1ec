"""Count the scenes behind the values of composites: with more scenes, maxima grow and minima shrink."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pixelwise.bands import Floats
from pixelwise.maps.map import tag_of
from pixelwise.rasters.urls import Location, Url
from pixelwise.stacks.base import FileStack, Stack
from pixelwise.stacks.composite import CompositeStack
from pixelwise.stacks.raster import RasterStack
from pixelwise.stacks.reductions import REDUCTIONS
from pixelwise.stacks.sampling import read_sample
from pixelwise.words import first_of

__all__ = [
    "clear_counts",
    "clear_scenes",
    "counts_that_matter",
    "made_before",
    "more_scenes",
    "scenes_of",
    "short_periods",
    "trend_pvalue",
]

#: P-value below which a trend in the number of scenes is worth a warning.
SIGNIFICANT = 0.05

#: Number of periods that a warning lists.
MOST_NAMED = 8


def scenes_of(stack: FileStack) -> RasterStack:
    """Return the stack of files behind another one, or itself."""
    scenes = stack.scenes if isinstance(stack, CompositeStack) else stack
    assert isinstance(scenes, RasterStack)  # noqa: S101 - there are no others
    return scenes


@np.errstate(over="ignore", invalid="ignore")
def clear_scenes(stack: FileStack) -> dict[str, float] | None:
    """Return the mean number of observations per sampled pixel, by period or year; None if there is one layer a year.

    Raises
    ------
    InputError
        When a window cannot be read.
    """
    scenes = scenes_of(stack)
    years = scenes.axis.calendar_years
    if not isinstance(stack, CompositeStack) and len(set(years.tolist())) == len(years):
        return None
    valid = (~np.isnan(read_sample(scenes))).mean(axis=1)
    if isinstance(stack, CompositeStack):
        return dict(zip(stack.periods.labels, _per_period(stack, valid).tolist(), strict=True))
    return {str(year): float(valid[years == year].sum()) for year in np.unique(years)}


def _per_period(stack: CompositeStack, valid: Floats) -> Floats:
    return np.array([valid[members].sum() for members in stack.periods.members])


@np.errstate(over="ignore", invalid="ignore")
def clear_counts(stack: Stack) -> list[float] | None:
    """Return the mean number of observations per pixel of one window, by period; None if it does not matter.

    It matters if more scenes change the composite: for maxima, say, but not for medians.

    Raises
    ------
    InputError
        When the window cannot be read.
    """
    if not isinstance(stack, CompositeStack) or not _grows(stack.reducer.how, stack.equal_count):
        return None
    return counts_that_matter(stack, read_sample(stack.scenes, windows=1))


def counts_that_matter(stack: CompositeStack, sample: Floats) -> list[float] | None:
    """Return the mean number of observations per pixel in each period; None if it does not affect the composite."""
    if not _grows(stack.reducer.how, stack.equal_count):
        return None
    return [round(count, 3) for count in _per_period(stack, (~np.isnan(sample)).mean(axis=1)).tolist()]


def _grows(how: str, equal_count: int | None) -> bool:
    """Whether a composite of more scenes is larger, or smaller."""
    extreme = how in ("max", "min", "sum") or (how[0] == "p" and how[1:].isdigit() and not 25 <= int(how[1:]) <= 75)
    return extreme and equal_count is None


def more_scenes(stack: CompositeStack, clear: Sequence[float] | None) -> Iterator[str]:
    """Warn if scenes per period become more or fewer, which changes their maximum or minimum."""
    trend = _trend_of_counts(clear or ())
    if trend:
        yield (
            f"clear scenes per period {trend}: the {stack.reducer.how} of more scenes is different, which "
            "looks like a trend; use the same number with --equal-count, or the median"
        )


def _trend_of_counts(counts: Sequence[float]) -> str:
    """Say how counts change over time; empty if they may as well stay the same."""
    numbers = np.array(counts, dtype=np.float64)
    p = trend_pvalue(numbers)
    if not p < SIGNIFICANT:
        return ""
    third = max(len(numbers) // 3, 1)
    return f"go from {numbers[:third].mean():.1f} to {numbers[-third:].mean():.1f} (Mann-Kendall p = {p:.2g})"


def short_periods(stack: CompositeStack) -> Iterator[str]:
    """Warn of periods that are kept although their layers cover less of them than usual."""
    how, short = stack.reducer.how, stack.periods.short
    if short and how != "count":
        more = f"; and {len(short) - MOST_NAMED} more" if len(short) > MOST_NAMED else ""
        listed = "; ".join(map(str, short[:MOST_NAMED])) + more
        yield f"{listed}: {_may_differ(how)}; --min-count masks pixels with few observations"


def _may_differ(how: str) -> str:
    return f"their {how} may not be comparable with the others"


@dataclass(frozen=True)
class _Made:
    """How composites were made, according to the tag of their file.

    Attributes
    ----------
    how
        Name of the composite, or "" for a function.
    counts
        Number of scenes of each band; None if it does not matter.
    short
        Indices of the bands whose layers cover less of their period than usual.
    """

    how: str
    counts: Floats | None
    short: frozenset[int]


def made_before(stack: FileStack, scenes: RasterStack) -> Iterator[str]:
    """Repeat for files of composites the warnings given when they were made."""
    places: dict[Location, dict[int, int]] = {}
    for index, layer in enumerate(scenes.layers):
        for piece in layer.pieces:
            places.setdefault(piece.path, {}).setdefault(index, piece.band)
    reported: set[str] = set()
    # A file of one or two layers has no trend.
    for path, bands in places.items():
        made = _read_made(path) if path in scenes.written and len(bands) >= 3 else None
        if made is None:
            continue
        if made.counts is not None and "counts" not in reported:
            counts = np.full(len(scenes), np.nan)
            counts[list(bands)] = made.counts[[band - 1 for band in bands.values()]]
            if isinstance(stack, CompositeStack):
                counts = _per_period(stack, counts)
            trend = _trend_of_counts(counts[~np.isnan(counts)])
            if trend:
                reported.add("counts")
                yield (
                    f"{path}: scenes per composite {trend}: the {made.how} of more scenes is different, which "
                    "looks like a trend; make the composites with --equal-count, or use the median"
                )
        short = [scenes.layers[index] for index, band in bands.items() if band - 1 in made.short]
        if short and "short" not in reported:
            reported.add("short")
            names = [layer.iso_date[: 4 if layer.precision == "year" else None] for layer in short]
            listed = first_of(names, MOST_NAMED)
            yield (
                f"{path}: {listed}: the scenes cover less of the period than in others, so {_may_differ(made.how)}; "
                "make the composites with --min-count"
            )


def _read_made(path: Location) -> _Made | None:
    """Return what a file's tag says about composites; None for other files, and for tags that do not fit the file.

    Anyone may have changed a tag, so only numbers and known names are used.
    """
    found = None if isinstance(path, Url) else tag_of(path)
    if found is None:
        return None
    provenance, descriptions = found
    made = provenance.get("input")
    if not isinstance(made, dict):
        return None
    composite = made.get("composite")
    if not isinstance(composite, dict) or provenance.get("bands") != list(descriptions):
        return None
    how, size = composite.get("how"), len(descriptions)
    if not isinstance(how, str) or "parameters" in composite:
        how = ""
    elif how not in REDUCTIONS and not re.fullmatch(r"p\d{1,2}", how, re.ASCII):
        return None
    counts = None
    if how and _grows(how, composite.get("equal_count")):
        # Earlier versions recorded only the number of scenes, not how many of them are clear.
        counts = _numbers(made.get("clear", composite.get("layers")), size)
    periods, short = composite.get("periods"), composite.get("short")
    indices: frozenset[int] = frozenset()
    if isinstance(periods, list) and len(periods) == size and isinstance(short, list) and how != "count":
        labels = {text.partition(": ")[0] for text in short[:size] if isinstance(text, str)}
        indices = frozenset(index for index, label in enumerate(periods) if isinstance(label, str) and label in labels)
    return _Made(how, counts, indices)


def _numbers(values: Any, size: int) -> Floats | None:
    """Return the numbers in a tag; None unless they are `size` plausible counts."""
    if not isinstance(values, list) or len(values) != size:
        return None
    if not all(
        isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e9 for value in values
    ):
        return None
    return np.array(values, dtype=np.float64)


def trend_pvalue(values: Floats) -> float:
    """Return the two-sided p of the Mann-Kendall test by its normal approximation, with ties (Kendall 1975)."""
    n = len(values)
    s = float(np.sign(np.subtract.outer(values, values))[np.tril_indices(n, -1)].sum())
    _, ties = np.unique(values, return_counts=True)
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    if variance <= 0:
        return 1.0
    return math.erfc(max(abs(s) - 1, 0) / math.sqrt(2 * variance))
