"""Numbers as people read them: limits of classes, shares, areas."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

__all__ = [
    "THIN",
    "distinct_numbers",
    "percent",
    "range_label",
    "readable",
    "shortest",
    "square_kilometres",
    "with_minus",
]

#: Between groups of three digits: narrow, and no line breaks there.
THIN = "\N{NARROW NO-BREAK SPACE}"


def distinct_numbers(values: Iterable[float]) -> dict[float, str]:
    """Format numbers with enough digits to distinguish neighbours, all with the same number of decimals."""
    numbers = sorted(set(values))
    if len(numbers) == 1:
        return {numbers[0]: with_minus(f"{numbers[0]:.4g}")}
    gaps = [high - low for low, high in pairwise(numbers)]
    # Two digits of the smallest gap, so that neighbours differ clearly and not just by rounding.
    decimals = max(0, 1 - math.floor(math.log10(min(gaps))))
    decimals = next((fewer for fewer in range(decimals) if all(round(n, fewer) == n for n in numbers)), decimals)
    if decimals <= 6 and max(abs(number) for number in numbers) < 1e7:
        texts = [f"{number:.{decimals}f}" for number in numbers]
    else:
        digits = 2
        while len({f"{number:.{digits}g}" for number in numbers}) < len(numbers):
            digits += 1
        texts = [f"{number:#.{digits}g}".rstrip(".") for number in numbers]
    return dict(zip(numbers, map(with_minus, texts), strict=True))


def shortest(number: float) -> str:
    """Write a number with the fewest digits that are exactly it."""
    text = f"{number:g}"
    return with_minus(text if float(text) == number else repr(float(number)).removesuffix(".0"))


def range_label(low: str, high: str) -> str:
    """Name a range of values by its limits."""
    return low if low == high else f"{low} to {high}"


def with_minus(number: str) -> str:
    """Write a true minus sign, but none before zero."""
    plain = number if float(number) else number.lstrip("-")
    return plain.replace("-", "\N{MINUS SIGN}")


def percent(share: float) -> str:
    """Write a share, but never one of something as nothing, nor one of nearly all as all."""
    if 0 < share < 0.0005:
        return "< 0.1 %"
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %" if 0 < share < 1 else f"{100 * share:.0f} %"


def square_kilometres(area: float) -> str:
    """Write an area with three digits or more."""
    if not area:
        return "0 km²"
    decimals = max(0, 2 - math.floor(math.log10(area)))
    return f"{area:,.{decimals}f} km²".replace(",", THIN)


def readable(limits: list[float]) -> list[float]:
    """Round limits between classes to as few digits as keep them apart and near where they were.

    A limit moves by less than a quarter of the narrower class beside it.
    """
    if len(limits) < 3:
        return limits
    gaps = [high - low for low, high in pairwise(limits)]
    inner = [
        _rounded(limit, min(before, after) / 4)
        for limit, before, after in zip(limits[1:-1], gaps, gaps[1:], strict=False)
    ]
    return [limits[0], *inner, limits[-1]]


def _rounded(number: float, tolerance: float) -> float:
    """Return the number with the fewest digits within the tolerance; steps of 1, 2 and 5."""
    if not number or not tolerance > 0 or not math.isfinite(tolerance):
        return number
    for exponent in range(math.floor(math.log10(abs(number))) + 1, -300, -1):
        for step in (5, 2, 1):
            # Powers of ten below 1 are not exact: dividing by their inverse is.
            unit = step * 10.0**exponent if exponent >= 0 else step / 10.0**-exponent
            rounded = (
                round(number / unit) * step * 10.0**exponent
                if exponent >= 0
                else (round(number / unit) * step / 10.0**-exponent)
            )
            if abs(rounded - number) <= tolerance:
                return float(rounded)
    return number
