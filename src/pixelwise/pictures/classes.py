"""Classes of a map's values: limits, colours, shares, legends."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import STATUS_WORDS, Status
from pixelwise.errors import ParameterError

__all__ = [
    "MISSING",
    "MISSING_COLOR",
    "Classes",
    "classify_quintiles",
    "classify_status",
    "classify_trend",
    "with_minus",
]

#: The code of missing pixels.
MISSING = 255

# ColorBrewer's BrBG. Brown and teal differ along the blue-yellow axis and in lightness, so the two signs stay distinct
# for every common colour blindness and the steps survive a grey print; and brown for less, teal for more is what
# readers expect of a vegetation map. Keyed by the number of classes that share a sign, from the one next to zero
# outwards.
NEGATIVE_SHADES: dict[int, tuple[str, ...]] = {
    1: ("#bf812d",),
    2: ("#dfc27d", "#a6611a"),
    3: ("#dfc27d", "#bf812d", "#8c510a"),
    4: ("#f1dca7", "#dfc27d", "#bf812d", "#8c510a"),
    5: ("#f1dca7", "#dfc27d", "#bf812d", "#8c510a", "#543005"),
}

POSITIVE_SHADES: dict[int, tuple[str, ...]] = {
    1: ("#35978f",),
    2: ("#80cdc1", "#018571"),
    3: ("#80cdc1", "#35978f", "#01665e"),
    4: ("#b9e3dd", "#80cdc1", "#35978f", "#01665e"),
    5: ("#b9e3dd", "#80cdc1", "#35978f", "#01665e", "#003c30"),
}

# Not BrBG's near-white: next to the grey of missing pixels only a tint distinguishes "zero" from "not known".
NEUTRAL_COLOR = "#fffbe0"

MISSING_COLOR = "#d2d2d2"

# A colour without a direction, neither brown nor teal: its CIELAB distance from every other colour here is at least 24
# under common colour blindness (Machado et al. 2009) and 10 in grey, where the two signs come as close as 2.
NOT_TESTED_COLOR = "#9e86b8"

# Paul Tol's light scheme, distinct for every common colour blindness; a code has the same colour in every map.
STATUS_COLORS = {
    Status.OK: "#44bb99",
    Status.NO_OBSERVATION: MISSING_COLOR,
    Status.TOO_FEW: "#eedd88",
    Status.CONSTANT: "#99ddff",
    Status.DEGENERATE: "#aaaa00",
    Status.FUNCTION_FAILED: "#ee8866",
    Status.TEST_UNDEFINED: NOT_TESTED_COLOR,
    Status.TRUNCATED: "#77aadd",
    Status.DATES_LOST: "#ffaabb",
    Status.OUTSIDE: "#ffffff",
}

UNKNOWN_COLOR = "#000000"


@dataclass(frozen=True, eq=False)
class Classes:
    """The class of every pixel, and what a legend says about the classes.

    Attributes
    ----------
    codes
        (y, x) number of the class from 0; `MISSING` where there is no value.
    labels, colors
        One per class, from low to high, that is from the bottom to the top of a legend; a class that is not on that
        scale comes first.
    shares
        Share of each class among the valid pixels; 0 if no pixel is valid.
    limits
        Lowest and highest value of each class, equal if a single value fills a class; empty if classes are not
        ranges of values. A limit shared by two classes belongs to the higher one.
    """

    codes: NDArray[np.uint8]
    labels: tuple[str, ...]
    colors: tuple[str, ...]
    shares: tuple[float, ...]
    limits: tuple[tuple[float, float], ...] = ()

    @property
    def missing(self) -> float:
        """The share of all pixels without a value."""
        return int(np.count_nonzero(self.codes == MISSING)) / self.codes.size


def classify_quintiles(values: NDArray[Any]) -> Classes:
    """Divide values at their quintiles; colours follow the sign of each class.

    A value that fills a quintile or more (say, many pixels of exactly 0) becomes a class of its own, so there may be
    fewer than five classes, but none is empty. Classes below zero are brown, classes above zero teal, and the class
    around zero is neutral.

    Parameters
    ----------
    values
        (y, x) numbers; those that are not finite are missing.

    Returns
    -------
    Classes
    """
    finite = np.isfinite(values)
    codes = np.full(values.shape, MISSING, np.uint8)
    if not finite.any():
        return Classes(codes, (), (), ())
    ranges = _ranges(_quintile_limits(values[finite]))
    for code, (low, _) in enumerate(ranges):
        # From low to high, each class takes over the values above its lower limit.
        after_tie = code > 0 and ranges[code - 1] == (low, low)
        above = values > low if after_tie else values >= low
        np.copyto(codes, code, where=finite & above)
    ranges = _drop_empty(codes, ranges)
    if np.issubdtype(values.dtype, np.integer):
        # For integers, "18 to 20, 20 to 22" leaves open which class has the 20: give the range that each class holds.
        members = [values[codes == code] for code in range(len(ranges))]
        ranges = [(float(held.min()), float(held.max())) for held in members]
    return Classes(
        codes,
        labels=_range_labels(ranges),
        colors=_signed_colors([_sign(low, high) for low, high in ranges]),
        shares=_shares(codes, len(ranges)),
        limits=tuple(ranges),
    )


def _quintile_limits(values: NDArray[Any]) -> list[float]:
    """Return the six limits, interpolated like `numpy.quantile`; reorders `values`.

    Positions are counted in whole fifths: 0.6 times ten falls just short of six in floating point, and a value that is
    itself a limit would end up in the class below.
    """
    places = [divmod(fifth * (values.size - 1), 5) for fifth in range(6)]
    values.partition(sorted({index for place, _ in places for index in (place, min(place + 1, values.size - 1))}))
    limits = []
    for place, rest in places:
        limit = float(values[place])
        if rest:
            limit += (float(values[place + 1]) - limit) * rest / 5
        # As exact as the values that it is compared with.
        limits.append(float(values.dtype.type(limit)) if values.dtype.kind == "f" else limit)
    return limits


def _ranges(limits: Sequence[float]) -> list[tuple[float, float]]:
    """Turn ascending limits into ranges; equal neighbours become the range of a single value."""
    ranges: list[tuple[float, float]] = []
    for low, high in pairwise(limits):
        if low < high or not ranges or ranges[-1] != (low, high):
            ranges.append((low, high))
    return ranges


def _drop_empty(codes: NDArray[np.uint8], ranges: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Renumber the classes in place so that none is empty; return their ranges."""
    kept: list[tuple[float, float]] = []
    for code, limits in enumerate(ranges):
        members = codes == code
        if members.any():
            codes[members] = len(kept)
            kept.append(limits)
    return kept


def _sign(low: float, high: float) -> int:
    """Return the sign shared by all values of a range; 0 if it holds both signs or only zero."""
    if low >= 0:
        return 1 if high > 0 else 0
    return -1 if high <= 0 else 0


def _signed_colors(signs: Sequence[int]) -> tuple[str, ...]:
    """Choose colours for classes from low to high."""
    below, above = signs.count(-1), signs.count(1)
    negative = NEGATIVE_SHADES[below][::-1] if below else ()
    positive = POSITIVE_SHADES[above] if above else ()
    return (*negative, *(NEUTRAL_COLOR for sign in signs if sign == 0), *positive)


def _shares(codes: NDArray[np.uint8], classes: int) -> tuple[float, ...]:
    counts = [int(np.count_nonzero(codes == code)) for code in range(classes)]
    return tuple(count / max(sum(counts), 1) for count in counts)


def classify_trend(
    slope: NDArray[Any],
    pvalue: NDArray[Any],
    significant: float = 0.05,
    *,
    status: NDArray[Any] | None = None,
    change: bool = True,
) -> Classes:
    """Classify pixels as significant or other decreases and increases, or not tested.

    A pixel without a p-value is neither significant nor not significant: such pixels form the class "not tested". A
    slope of exactly 0 belongs to the class "no change"; so does a constant series, which has no p-value. These two
    classes exist only where they have pixels.

    Parameters
    ----------
    slope
        (y, x) headline value of a test, whose sign is the direction; missing if it is not finite.
    pvalue
        (y, x) two-sided p-values; NaN where there was no test.
    significant
        A p-value below this is significant.
    status
        (y, x) codes of the band ``status``; without them constant series cannot be recognized.
    change
        Whether the headline value is a change over time, which increases or decreases; a correlation is positive or
        negative instead.

    Returns
    -------
    Classes

    Raises
    ------
    ParameterError
        When `significant` is not between 0 and 1.
    """
    if not 0 < significant < 1:
        raise ParameterError(f"significant {significant:g} is not a significance level; expected a number such as 0.05")
    known = np.isfinite(slope)
    untested = known & ~np.isfinite(pvalue)
    if status is not None:
        # Some methods have only NaN there: not for lack of data, which "missing" would imply.
        untested |= (status == Status.TEST_UNDEFINED) & ~np.isfinite(pvalue)
        untested &= status != Status.CONSTANT
    tested = known & ~untested
    passed = pvalue < significant
    falls, rises, level = tested & (slope < 0), tested & (slope > 0), tested & (slope == 0)
    if change:
        low, none, high = ("decrease", "significant decrease"), "no change", ("increase", "significant increase")
    else:
        low, none, high = ("negative", "significantly negative"), "zero", ("positive", "significantly positive")
    below = f"p < {significant:g}"
    classes = [
        ("not tested", untested, NOT_TESTED_COLOR),
        (f"{low[1]}, {below}", falls & passed, NEGATIVE_SHADES[2][1]),
        (f"{low[0]}, not significant", falls & ~passed, NEGATIVE_SHADES[2][0]),
        (none, level, NEUTRAL_COLOR),
        (f"{high[0]}, not significant", rises & ~passed, POSITIVE_SHADES[2][0]),
        (f"{high[1]}, {below}", rises & passed, POSITIVE_SHADES[2][1]),
    ]
    classes = [found for found in classes if found[0] not in ("not tested", none) or found[1].any()]
    codes = np.full(slope.shape, MISSING, np.uint8)
    for code, (_, members, _) in enumerate(classes):
        codes[members] = code
    labels, _, colors = zip(*classes, strict=True)
    return Classes(codes, labels, colors, _shares(codes, len(classes)))


def classify_status(status: NDArray[Any]) -> Classes:
    """Make one class for each code of the band ``status`` that occurs, labelled with its meaning.

    Parameters
    ----------
    status
        (y, x) codes.

    Returns
    -------
    Classes
        The lowest code comes last, which is at the top of a legend.
    """
    found = np.unique(status)[::-1].tolist()
    codes = np.zeros(status.shape, np.uint8)
    for code, number in enumerate(found):
        codes[status == number] = code
    known = dict(STATUS_WORDS)
    colors = dict(STATUS_COLORS)
    return Classes(
        codes,
        labels=tuple(f"{number} {known.get(number, 'unknown')}" for number in found),
        colors=tuple(colors.get(number, UNKNOWN_COLOR) for number in found),
        shares=_shares(codes, len(found)),
    )


def _range_labels(ranges: Sequence[tuple[float, float]]) -> tuple[str, ...]:
    words = _distinct_numbers(limit for limits in ranges for limit in limits)
    return tuple(words[low] if low == high else f"{words[low]} to {words[high]}" for low, high in ranges)


def _distinct_numbers(values: Iterable[float]) -> dict[float, str]:
    """Format numbers with enough digits to distinguish neighbours, all with the same number of decimals."""
    numbers = sorted(set(values))
    if len(numbers) == 1:
        return {numbers[0]: with_minus(f"{numbers[0]:.4g}")}
    gaps = [high - low for low, high in pairwise(numbers)]
    # Two digits of the smallest gap, so that neighbours differ clearly and not just by rounding.
    whole = all(number.is_integer() for number in numbers)
    decimals = 0 if whole else max(0, 1 - math.floor(math.log10(min(gaps))))
    if all(number.is_integer() for number in numbers):
        decimals = 0
    if decimals <= 6 and max(abs(number) for number in numbers) < 1e7:
        texts = [f"{number:.{decimals}f}" for number in numbers]
    else:
        digits = 2
        while len({f"{number:.{digits}g}" for number in numbers}) < len(numbers):
            digits += 1
        texts = [f"{number:#.{digits}g}".rstrip(".") for number in numbers]
    return dict(zip(numbers, map(with_minus, texts), strict=True))


def with_minus(number: str) -> str:
    """Write a true minus sign, but none before zero."""
    plain = number if float(number) else number.lstrip("-")
    return plain.replace("-", "\N{MINUS SIGN}")
