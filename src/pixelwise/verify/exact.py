"""Straight lines in exact arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from pixelwise.bands import STATUS_BAND, Status
from pixelwise.method import Method

__all__ = ["Oracle", "exact_line"]

#: Sums of up to a thousand deviations in float64 are accurate to 2e-13 of the size of the deviations. So the error of a
#: slope is not relative to the slope, which may be 0, but to the slope if all variance were trend.
DIGITS = 1e-12

#: Squares of deviations are out of float64's range beyond these, where `ols` gives status 6.
SMALLEST_SQUARES, LARGEST_SQUARES = 1e-290, 1e290

#: Takes the method, decimal years, and the series of one pixel with NaN where missing; returns value and slack by band.
Oracle = Callable[[Method, Sequence[float], Sequence[float]], dict[str, tuple[float, float]]]


def exact_line(method: Method, years: Sequence[float], series: Sequence[float]) -> dict[str, tuple[float, float]]:
    """Fit a straight line in exact arithmetic: integers of any length, each result rounded once.

    `scipy.stats.linregress` computes sqrt(1 - r**2), which loses all precision near ``|r| = 1``, and loses digits of r
    at large offsets: neither would be the map's fault.
    """
    pairs = [(x, y) for x, y in zip(years, series, strict=True) if not math.isnan(y)]
    n = len(pairs)
    line = dict.fromkeys(("slope", "intercept", "rvalue", "pvalue", "stderr", "intercept_stderr"), (math.nan, 0.0))
    line["n"] = n, 0.0

    def ended(status: Status) -> dict[str, tuple[float, float]]:
        return {**line, STATUS_BAND.name: (status, 0.0)}

    if n < method.parameters["min_obs"]:
        return ended(Status.TOO_FEW if n else Status.NO_OBSERVATION)
    (*xs, origin), x_unit = _whole([*(x for x, _ in pairs), float(method.parameters["origin"])])
    xs, (ys, y_unit) = [x - origin for x in xs], _whole([y for _, y in pairs])
    if len(set(ys)) == 1:
        line["slope"], line["intercept"] = (0.0, 0.0), (pairs[0][1], 0.0)
        return ended(Status.CONSTANT)
    if len(set(xs)) == 1:
        return ended(Status.DEGENERATE)
    # n times the sums of squares and products about the means.
    sum_x, sum_y, sum_xx = sum(xs), sum(ys), sum(x * x for x in xs)
    sxx = n * sum_xx - sum_x * sum_x
    syy = n * sum(y * y for y in ys) - sum_y * sum_y
    sxy = n * sum(x * y for x, y in zip(xs, ys, strict=True)) - sum_x * sum_y
    # The slope if all variance were trend, and the factor from an error of the slope to one of the intercept.
    steepest = _root(syy * x_unit**2, sxx * y_unit**2)
    lever = _root(sum_xx, n * x_unit**2)
    slack = DIGITS * steepest
    line["slope"] = _ratio(sxy * x_unit, sxx * y_unit), slack
    intercept = _ratio(sum_y * sxx - sxy * sum_x, n * y_unit * sxx)
    line["intercept"] = intercept, DIGITS * abs(_ratio(sum_y, n * y_unit)) + slack * lever
    if not math.isfinite(slack + line["intercept"][1]):  # everything would be within it
        raise OverflowError
    if not SMALLEST_SQUARES < _ratio(syy, n * y_unit**2) < LARGEST_SQUARES:
        return ended(Status.TEST_UNDEFINED)
    # Not with copysign: it converts the integer to float64.
    line["rvalue"] = math.sqrt(_ratio(sxy * sxy, sxx * syy)) * (-1 if sxy < 0 else 1), DIGITS
    unexplained = _ratio(sxx * syy - sxy * sxy, sxx * syy)
    stderr = steepest * math.sqrt(unexplained / (n - 2))
    # The error of a residual is relative to the spread of the values, not to the residual.
    line["stderr"], line["intercept_stderr"] = (stderr, slack), (stderr * lever, slack * lever)
    degrees = n - 2
    pvalue = tail_by_series(unexplained, degrees)
    largest = tail_by_series(min((math.sqrt(unexplained) + DIGITS) ** 2, 1.0), degrees)
    line["pvalue"] = pvalue, largest - pvalue
    return ended(Status.OK)


def tail_by_series(x: float, degrees: int) -> float:
    """Return the p-value of Student's t, ``I_x(degrees / 2, 1 / 2)``, from power series.

    Kernels evaluate a continued fraction (`pixelwise.kernels.tail_tables`): nothing is shared with them. All terms are
    positive, so no digits cancel. Digital Library of Mathematical Functions, 8.17.7 and 8.17.8.

    Parameters
    ----------
    x
        The share of the variance that the line does not explain.
    degrees
        Degrees of freedom.
    """
    a, half = degrees / 2, degrees // 2
    # 1 / B(a, 1/2), from whole numbers.
    odd = degrees % 2 == 1
    scale: float = 4**half / math.comb(2 * half, half) / math.pi if odd else half * math.comb(degrees, half) / 4**half
    if x <= a / (a + 0.5):  # the mean of the distribution
        terms = math.ceil(math.log(1e-17) / math.log(x)) if x > 0 else 0
        k = np.arange(terms)
        factors = np.cumprod(np.concatenate(([1.0], (k + 0.5) / (k + 1) * x)))
        return scale * math.pow(x, a) * float(np.sum(factors / (a + np.arange(terms + 1))))
    # Above it p is at least 0.3, and each term is less than half of the one before.
    k, y = np.arange(60), 1.0 - x
    factors = np.cumprod(np.concatenate(([1.0], (a + 0.5 + k) / (k + 1.5) * y)))
    return 1.0 - scale * 2 * math.sqrt(y) * math.pow(x, a) * float(np.sum(factors))


def _whole(numbers: Sequence[float]) -> tuple[list[int], int]:
    """Return integers and a unit: each number is exactly its integer divided by the unit."""
    ratios = [number.as_integer_ratio() for number in numbers]
    unit = max(denominator for _, denominator in ratios)
    return [numerator * (unit // denominator) for numerator, denominator in ratios], unit


def _ratio(a: int, b: int) -> float:
    """Divide, rounding once; results too large for float64 are infinite."""
    try:
        return a / b
    except OverflowError:
        return math.inf if a > 0 else -math.inf


def _root(a: int, b: int) -> float:
    """Return the square root of a ratio that may itself be outside the range of float64."""
    half = (a.bit_length() - b.bit_length()) // 2
    root = math.sqrt(_ratio(a << max(-2 * half, 0), b << max(2 * half, 0)))
    try:
        return math.ldexp(root, half)
    except OverflowError:
        return math.inf
