"""Compiled straight lines with the serial correlation of their residuals, and what trend could be detected."""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

import math

import numpy as np

from pixelwise.jit import kernel
from pixelwise.methods._ols_kernels import LARGE, SMALL
from pixelwise.methods._pvalue_kernels import student_p_of_many
from pixelwise.methods._series_kernels import CONSTANT, OK, TEST_UNDEFINED, gather

OLS_SLOPE, PVALUE, PVALUE_OLS, R1, DETECTABLE, YEARS = range(6)
BANDS = 6


@kernel()
def test_lines(values, times, places, per_year, status, series, tests, bands):
    """Fit a straight line to every pixel that has a trend, and test it with the effective sample size.

    Parameters
    ----------
    values, times, places
        (time, pixel), NaN where missing, (time,) decimal years and (time,) steps of the axis.
    per_year
        Steps of a year.
    status
        (pixel,) of the series; others than 0 are left NaN. Becomes `TEST_UNDEFINED` where there is no test.
    series, tests
        (4, time) and (11, pixel) float64 scratch.
    bands
        (BANDS, pixel) float64, to be filled.
    """
    t, y, steps, residuals = series[0], series[1], series[2], series[3]
    which, x_of, r_of, df, df_left, p_of = tests[0], tests[1], tests[2], tests[3], tests[4], tests[5]
    count = 0
    for p in range(values.shape[1]):
        for band in range(BANDS):
            bands[band, p] = np.nan
        if status[p] == CONSTANT:
            bands[OLS_SLOPE, p] = 0.0
        if status[p] != OK:
            continue
        n = gather(values, p, times, t, y)
        gather(values, p, places, steps, y)
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
        slope = sxy / sxx
        bands[OLS_SLOPE, p] = slope
        if not SMALL < syy < LARGE:
            status[p] = TEST_UNDEFINED
            continue
        rss, products, pairs = 0.0, 0.0, 0
        for i in range(n):
            residuals[i] = (y[i] - mean_y) - slope * (t[i] - mean_t)
            rss += residuals[i] * residuals[i]
            if i > 0 and steps[i] == steps[i - 1] + 1.0:
                products += residuals[i] * residuals[i - 1]
                pairs += 1
        which[count] = p
        x_of[count], r_of[count] = min(rss / syy, 1.0), min(abs(sxy / math.sqrt(sxx * syy)), 1.0)
        df[count], df_left[count] = n - 2.0, n - 2.0
        count += 1
        if pairs == 0:
            status[p] = TEST_UNDEFINED
            continue
        r1 = 0.0 if rss == 0.0 else products / pairs * (n - 1.0) / rss
        r1 += (1.0 + 4.0 * r1) / n
        bands[R1, p] = r1
        phi = r1 if r1 > 0.0 else 0.0
        effective = n * (1.0 - phi) / (1.0 + phi)
        inflation = math.sqrt((1.0 + phi) / (1.0 - phi)) if phi < 1.0 else np.inf
        noise = math.sqrt(rss / (n - 2.0))
        # 3.3 = 1.96 + 1.28, rounded as by Weatherhead et al.: 90 % power at the level of 5 %.
        bands[DETECTABLE, p] = 3.3 * noise * inflation / math.sqrt(sxx)
        strength = 3.3 * noise * inflation * math.sqrt(12.0 / per_year) / np.float64(abs(slope))
        bands[YEARS, p] = strength ** (2.0 / 3.0)
        if effective < 3.0:
            status[p] = TEST_UNDEFINED
        else:
            df_left[count - 1] = effective - 2.0
    # Many at once, as the fraction of one waits for each of its divisions.
    student_p_of_many(x_of, r_of, df, count, tests[6:], p_of)
    for k in range(count):
        bands[PVALUE_OLS, int(which[k])] = p_of[k]
    student_p_of_many(x_of, r_of, df_left, count, tests[6:], p_of)
    for k in range(count):
        if status[int(which[k])] == OK:
            bands[PVALUE, int(which[k])] = p_of[k]
