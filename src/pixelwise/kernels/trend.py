"""Compiled straight lines with the autocorrelation of their noise, and the smallest trend that could be detected."""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from pixelwise.bands import Floats
from pixelwise.kernels.jit import kernel
from pixelwise.kernels.ols import LARGE, SMALL
from pixelwise.kernels.pvalues import student_p_of_many
from pixelwise.kernels.series import gather, series_status
from pixelwise.kernels.status import CONSTANT, OK, TEST_UNDEFINED

OLS_SLOPE, PVALUE, PVALUE_OLS, R1, DETECTABLE, YEARS, LOW, HIGH, INTERCEPT, STRETCH, COUNT = range(11)
BANDS = 11

# Least number of values on either side of a step; the table of benchmarks/autocorrelation.py is made with it.
SIDE = 3
# Residuals below this share of the sum of squares are rounding errors, and say nothing about noise.
ROUNDING = 1e-24
# A t-test needs one degree of freedom.
LEAST_EFFECTIVE = 3.0
# With fewer, `detectable` grows beyond all bounds: 13 standard errors at 4, 140 at 3.
LEAST_TO_DETECT = 4.0
# The 0.9 quantile of the normal distribution.
NINE_OF_TEN = 1.2815515655446004


@kernel(helper=True)
def lag_1(e, n):
    """Return the lag-1 correlation of `n` residuals, whose mean is 0, and their sum of squares."""
    products, squares = 0.0, e[0] * e[0]
    for i in range(1, n):
        products += e[i] * e[i - 1]
        squares += e[i] * e[i]
    return (products / squares if squares > 0.0 else 0.0), squares


@kernel(helper=True)
def take_off_step(t, mean_t, sxx, e, n, left):
    """Fill `left` with the residuals of a line and its best step, fitted together, from the residuals `e` of the line.

    A step after value ``k`` reduces the sum of squares by ``(sum of e up to k)**2 / d``, where ``d`` is the step's own
    sum of squares about a fitted line. Returns False if there is no room for a step.
    """
    sum_e, sum_t = 0.0, 0.0
    most, best, height, best_t = 0.0, 0, 0.0, 0.0
    for k in range(1, n - SIDE + 1):
        sum_e += e[k - 1]
        sum_t += t[k - 1] - mean_t
        if k < SIDE:
            continue
        d = k * (n - k) / n - sum_t * sum_t / sxx
        gain = sum_e * sum_e / d if d > 1e-9 else -1.0
        # The first of equal ones, regardless of rounding.
        if gain > most * (1.0 + 1e-9):
            most, best, height, best_t = gain, k, sum_e / d, sum_t
    if best == 0:
        return False
    for i in range(n):
        step = (1.0 if i < best else 0.0) - best / n - (t[i] - mean_t) * best_t / sxx
        left[i] = e[i] - height * step
    return True


@kernel(helper=True)
def phi_of(r, curve, phis):
    """Return the phi at which residuals have the median lag-1 correlation `r`: `curve` at `phis`, ascending."""
    last = phis.size - 1
    if r <= curve[0]:
        return phis[0]
    for i in range(1, last + 1):
        if r < curve[i]:
            return phis[i - 1] + (phis[i] - phis[i - 1]) * (r - curve[i - 1]) / (curve[i] - curve[i - 1])
    return phis[last]


@kernel(helper=True)
def effective_number(n, phi):
    """Return how many independent values carry as much information as `n` values of AR(1) noise."""
    phi = phi if phi > 0.0 else 0.0
    effective = n * (1.0 - phi) / (1.0 + phi)
    return effective if effective > LEAST_EFFECTIVE else LEAST_EFFECTIVE


@kernel(helper=True)
def t_quantile(df, coefficients):
    """Return a quantile of Student's t from a Chebyshev series of its logarithm in ``1 / df``, by Clenshaw's rule."""
    u = 4.0 / df - 2.0  # twice the position between -1 and 1
    b, b_before = 0.0, 0.0
    for k in range(coefficients.size - 1, 0, -1):
        b, b_before = u * b - b_before + coefficients[k], b
    return math.exp(0.5 * u * b - b_before + coefficients[0])


@kernel(helper=True)
def detectable(df, t):
    """Return the slope, in standard errors, that the test at the quantile `t` finds in nine of ten new series.

    The solution of ``delta = t + z sqrt(1 + (delta**2 + t**2) / (2 df))``, z the 0.9 quantile of the normal
    distribution: the estimated slope varies, and so do the standard errors of this series and of the new one, the
    logarithm of each with the variance ``1 / (2 df)``.
    """
    z2 = NINE_OF_TEN * NINE_OF_TEN
    a = 1.0 - z2 / (2.0 * df)
    return (t + math.sqrt(t * t - a * (t * t - z2 * (1.0 + t * t / (2.0 * df))))) / a


class Tables(NamedTuple):
    """Numbers computed before any pixel is read.

    Attributes
    ----------
    curves, phis
        (time + 1, 2, phi) medians of the lag-1 correlation of residuals by the number of values, for lines, and for
        lines with steps; and (phi,) the phi of each column.
    of_five, of_limits
        Coefficients of `t_quantile` for 5 %, and for the confidence limits.
    """

    curves: Floats
    phis: Floats
    of_five: Floats
    of_limits: Floats


class Scratch(NamedTuple):
    """Memory for a series and for the tests of all; float64.

    Attributes
    ----------
    t, y, residuals, left
        (time,) times and values, residuals of the line, and those of line and step.
    which, x, r, df, df_left, p
        (pixel,) for the slopes that are tested: the pixel, ``1 - r**2``, the correlation with time, degrees of freedom
        for independent values and for the effective number of values, and p-values.
    fraction
        (5, pixel) for `student_p_of_many`.
    """

    t: Floats
    y: Floats
    residuals: Floats
    left: Floats
    which: Floats
    x: Floats
    r: Floats
    df: Floats
    df_left: Floats
    p: Floats
    fraction: Floats


def make_scratch(layers: int, pixels: int) -> Scratch:
    """Return memory for this many dates and pixels."""
    return Scratch._make((*np.empty((4, layers)), *np.empty((6, pixels)), np.empty((5, pixels))))


@kernel(helper=True)
def sum_up(t, y, n):
    """Subtract the first value from each, and return the means of times and of the differences, Sxx, Sxy and Syy."""
    first = y[0]
    mean_t, mean_y = 0.0, 0.0
    for i in range(n):
        y[i] -= first
        mean_t += t[i]
        mean_y += y[i]
    mean_t /= n
    mean_y /= n
    sxx, sxy, syy = 0.0, 0.0, 0.0
    for i in range(n):
        dt, dy = t[i] - mean_t, y[i] - mean_y
        sxx += dt * dt
        sxy += dt * dy
        syy += dy * dy
    return mean_t, mean_y, sxx, sxy, syy


@kernel(helper=True)
def find_phis(n, mean_t, sxx, syy, tables, scratch):
    """Return the smaller and the larger phi implied by the residuals with and without a step, and a sum of squares.

    The sum is that of the residuals of the line without a step.
    """
    curves, phis = tables.curves, tables.phis
    r, rss = lag_1(scratch.residuals, n)
    low = phi_of(r, curves[n, 0], phis) if rss > ROUNDING * syy else 0.0
    high = low
    if take_off_step(scratch.t, mean_t, sxx, scratch.residuals, n, scratch.left):
        r, squares = lag_1(scratch.left, n)
        other = phi_of(r, curves[n, 1], phis) if squares > ROUNDING * syy else 0.0
        low, high = min(low, other), max(low, other)
    return low, high, rss


@kernel(helper=True)
def find_detectable(n, high, rss, sxx, of_five):
    """Return the slope that would be found if neighbours have the correlation `high`; infinite for too few values."""
    df = effective_number(n, high) - 2.0
    if df + 2.0 < LEAST_TO_DETECT:
        return np.inf
    return detectable(df, t_quantile(df, of_five)) * math.sqrt(rss / df / sxx)


@kernel(helper=True)
def find_years(n, high, rss, slope, per_year):
    """Return how many years it takes to find such a slope."""
    phi = high if high > 0.0 else 0.0
    inflation = math.sqrt((1.0 + phi) / (1.0 - phi))
    # 3.3 = 1.96 + 1.28, rounded as in Weatherhead et al.: 90 % power at the 5 % level.
    strength = 3.3 * math.sqrt(rss / (n - 2.0)) * inflation * math.sqrt(12.0 / per_year) / np.float64(abs(slope))
    return strength ** (2.0 / 3.0)


@kernel()
def test_lines(values, times, per_year, min_obs, tables, scratch, bands, status):
    """Fit a straight line to every pixel that has a trend, and test it with the effective sample size.

    Parameters
    ----------
    values, times
        (time, pixel), NaN where missing, and (time,) decimal years.
    per_year
        Number of steps per year.
    min_obs
        Fewest valid values, at least 5.
    tables, scratch
        `Tables`, and `Scratch` to work with.
    bands, status
        (BANDS, pixel) float64 and (pixel,) uint8, to be filled.
    """
    t, y, residuals = scratch.t, scratch.y, scratch.residuals
    which, x_of, r_of, df, df_left, p_of = scratch.which, scratch.x, scratch.r, scratch.df, scratch.df_left, scratch.p
    count = 0
    for p in range(values.shape[1]):
        for band in range(BANDS):
            bands[band, p] = np.nan
        bands[STRETCH, p] = 1.0
        n = gather(values, p, times, t, y)
        bands[COUNT, p] = n
        status[p] = series_status(t, y, n, min_obs)
        if status[p] == CONSTANT:
            bands[OLS_SLOPE, p] = 0.0
        if status[p] != OK:
            continue
        first = y[0]
        mean_t, mean_y, sxx, sxy, syy = sum_up(t, y, n)
        slope = sxy / sxx
        bands[OLS_SLOPE, p] = slope
        bands[INTERCEPT, p] = (first + mean_y) - slope * mean_t
        if not SMALL < syy < LARGE:
            status[p] = TEST_UNDEFINED
            continue
        for i in range(n):
            residuals[i] = (y[i] - mean_y) - slope * (t[i] - mean_t)
        low, high, rss = find_phis(n, mean_t, sxx, syy, tables, scratch)
        effective = effective_number(n, low)
        which[count] = p
        x_of[count], r_of[count] = min(rss / syy, 1.0), min(abs(sxy / math.sqrt(sxx * syy)), 1.0)
        df[count], df_left[count] = n - 2.0, effective - 2.0
        count += 1
        bands[R1, p] = low
        bands[STRETCH, p] = n / effective
        margin = t_quantile(effective - 2.0, tables.of_limits) * math.sqrt(rss / (effective - 2.0) / sxx)
        bands[LOW, p] = slope - margin
        bands[HIGH, p] = slope + margin
        bands[DETECTABLE, p] = find_detectable(n, high, rss, sxx, tables.of_five)
        bands[YEARS, p] = find_years(n, high, rss, slope, per_year)
    # Many at once, because the fraction of a single one waits for each of its divisions.
    student_p_of_many(x_of, r_of, df, count, scratch.fraction, p_of)
    for k in range(count):
        bands[PVALUE_OLS, int(which[k])] = p_of[k]
    student_p_of_many(x_of, r_of, df_left, count, scratch.fraction, p_of)
    for k in range(count):
        bands[PVALUE, int(which[k])] = p_of[k]
