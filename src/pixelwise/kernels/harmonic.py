"""Compiled bands of a season and a trend."""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

import math

import numpy as np

from pixelwise.kernels.jit import kernel
from pixelwise.kernels.linear import (
    CHUNK,
    CONSTANT,
    COUNT,
    FIRST,
    OK,
    PIVOTS,
    RSS,
    SPREAD,
    TEST_UNDEFINED,
    combine,
    find_lever,
    find_status,
    load,
    solve_chunk,
    solve_upper,
    store,
    sum_squares,
)
from pixelwise.kernels.pvalues import f_p, student_p_of_many, table_p

# Rows of the results; then four for each harmonic (methods/harmonic.py has the same order).
SLOPE, INTERCEPT, PVALUE, PVALUE_OLS, STDERR, PVALUE_SEASON, RMSE, R1, N = range(9)
FIXED = 9
AMPLITUDE, PEAK, AMPLITUDE_STDERR, PEAK_STDERR = range(4)
EACH = 4


@kernel(helper=True)
def lag_one(residuals, weights, steps, n, rss, products, pairs, r1):
    """Write the lag-1 correlation of residuals from the pairs of dates exactly one step apart, less its bias.

    A mean product per pair over the mean square, with the ``n - 1`` of a series without gaps, for which it is the
    usual estimate; the bias is Kendall's (1954), ``-(1 + 4 r1) / n``. NaN where there is no pair.
    """
    for p in range(CHUNK):
        products[p] = 0.0
        pairs[p] = 0.0
    for i in range(steps.size):
        if steps[i]:
            e0, e1, w0, w1 = residuals[i], residuals[i + 1], weights[i], weights[i + 1]
            for p in range(CHUNK):
                both = w0[p] * w1[p]
                products[p] += both * (e0[p] * e1[p])
                pairs[p] += both
    for p in range(CHUNK):
        r = (products[p] / pairs[p]) * (n[p] - 1.0) / rss[p]
        r1[p] = r + (1.0 + 4.0 * r) / n[p]


@kernel(helper=True)
def alikeness(residuals, weights, near, n, rss, near_sum, near_count, products, pairs, alike):
    """Write how alike residuals are that lie near each other: their mean product over the mean square.

    Pairs count by a kernel that fades with their distance, by ``near`` from date to date; so each date needs only the
    sums up to the one before.
    """
    for p in range(CHUNK):
        near_sum[p] = 0.0
        near_count[p] = 0.0
        products[p] = 0.0
        pairs[p] = 0.0
    for i in range(near.size):
        e, w, fade = residuals[i], weights[i], near[i]
        for p in range(CHUNK):
            own = w[p] * e[p]
            products[p] += own * (fade * near_sum[p])
            pairs[p] += w[p] * (fade * near_count[p])
            near_sum[p] = fade * near_sum[p] + own
            near_count[p] = fade * near_count[p] + w[p]
    for p in range(CHUNK):
        alike[p] = products[p] / pairs[p] * n[p] / rss[p]


@kernel(helper=True)
def find_memory(alike, n, expected, place, share):
    """Write between which two lengths of memory a pixel's lies, and which share of the way.

    It is the one whose expected `alike` is the pixel's; 0 where that is less than expected of none. Beyond the longest
    the share is NaN.
    """
    last = expected.shape[1] - 1
    for p in range(CHUNK):
        curve = expected[int(n[p])]
        low, high = 0, last
        place[p] = 0
        share[p] = 0.0
        if alike[p] > curve[0]:
            while high - low > 1:
                middle = (low + high) // 2
                if alike[p] < curve[middle]:
                    high = middle
                else:
                    low = middle
            place[p] = low
            share[p] = (alike[p] - curve[low]) / (curve[high] - curve[low]) if alike[p] < curve[high] else np.nan


@kernel(helper=True)
def inflation(basis, weights, direction, lever, fades, place, share, shorter, longer, near_short, near_long, result):
    """Write how many times the variance of independent noise noise with the pixel's memory gives to the slope.

    The slope is ``sum(q y)`` with ``sum(q**2)`` the lever; its variance ``sum(q[i] q[j] correlation[i, j])``, for both
    lengths of memory that the pixel's lies between. `direction` is the inverse of the Gram matrix times the slope's
    row of the transform.
    """
    for p in range(CHUNK):
        shorter[p] = 0.0
        longer[p] = 0.0
        near_short[p] = 0.0
        near_long[p] = 0.0
    for i in range(fades.shape[0]):
        w, fade = weights[i], fades[i]
        for p in range(CHUNK):
            result[p] = basis[i, 0] * direction[0, p]
        for j in range(1, direction.shape[0]):
            a, d = basis[i, j], direction[j]
            for p in range(CHUNK):
                result[p] += a * d[p]
        for p in range(CHUNK):
            q = w[p] * result[p]
            k = place[p]
            before, further = fade[k] * near_short[p], fade[k + 1] * near_long[p]
            shorter[p] += q * before
            longer[p] += q * further
            near_short[p] = before + q
            near_long[p] = further + q
    for p in range(CHUNK):
        factor = 1.0 + 2.0 * (shorter[p] + share[p] * (longer[p] - shorter[p])) / lever[p]
        # NaN stays NaN.
        result[p] = 1.0 if factor < 1.0 else factor


@kernel()
def fit(
    values,
    basis,
    products,
    transform,
    trend,
    reference,
    date_weights,
    value_weights,
    steps,
    memories,
    usual,
    near,
    fades,
    expected,
    period,
    min_obs,
    wanted,
    rows,
    coefficients,
    series,
    factor,
    orthogonal,
    solution,
    sums,
    result,
    table,
    status,
):
    """Fit a trend and harmonics to every pixel.

    Parameters
    ----------
    values
        (time, pixel), NaN where missing.
    basis, products, transform
        Of the `Design`: the time less `reference` (where `trend`), then cosine and sine of each harmonic.
    trend, reference
        Whether there is a slope; what was subtracted from the decimal years.
    date_weights, value_weights
        (time,) ones, (0, 0).
    steps
        (time - 1,) bool: whether a date and the next are exactly one step apart; empty on an irregular axis.
    memories, usual, near, fades, expected
        Of the `MemoryTable` of an irregular axis; else empty.
    period
        In years.
    min_obs
        Fewest values of a series.
    wanted, rows
        (result,) bool and (band,) int64: which results are wanted, and which are the rows of the table.
    coefficients
        Of a `TailTable` from ``min_obs - terms`` degrees of freedom, flat; empty without trend.
    series, factor, orthogonal, solution, sums, result
        To work with; see `solve_chunk`.
    table, status
        (band, pixel) and (pixel,) uint8, to be filled.
    """
    pixels = values.shape[1]
    terms = basis.shape[1]
    harmonics = (terms - (2 if trend else 1)) // 2
    season = terms - 2 * harmonics
    n, first, rss = sums[COUNT], sums[FIRST], sums[RSS]
    syy, lever, one, other = np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK)
    x, r, shifted, trend_p = np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK)
    which, fraction, df_left = np.empty(CHUNK, np.int64), np.empty((5, CHUNK)), np.empty(CHUNK)
    x_left, r_left, p_left = np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK)
    effective, share, place = np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK, np.int64)
    correction, cosine, sine = np.empty((terms, CHUNK)), np.empty((terms, CHUNK)), np.empty((terms, CHUNK))
    for start in range(0, pixels, CHUNK):
        width = pixels - start if pixels - start < CHUNK else CHUNK
        load(values, date_weights, value_weights, start, width, series, sums)
        solve_chunk(basis, products, series, factor, orthogonal, solution, correction, sums)
        sum_squares(orthogonal, 1, terms, syy)
        combine(transform[0], solution, one)
        for p in range(CHUNK):
            syy[p] += rss[p]
            result[INTERCEPT, p] = first[p] + one[p]
            result[SLOPE, p] = np.nan
            result[N, p] = n[p]
            df = n[p] - terms
            result[RMSE, p] = math.sqrt(rss[p] / (df if df > 0.0 else np.nan))
        if trend:
            combine(transform[1], solution, result[SLOPE])
            find_lever(transform[1], factor, correction, lever)
            if memories.size > 0:
                alikeness(series[2], series[1], near, n, rss, x, r, one, other, shifted)
                find_memory(shifted, n, expected, place, share)
                solve_upper(factor, correction)
                inflation(basis, series[1], correction, lever, fades, place, share, x, r, one, other, effective)
                for p in range(CHUNK):
                    effective[p] = n[p] / effective[p]
                    part = share[p] if share[p] == share[p] else 1.0
                    k = place[p]
                    result[R1, p] = math.exp(-usual / (memories[k] + part * (memories[k + 1] - memories[k])))
            else:
                lag_one(series[2], series[1], steps, n, rss, one, other, result[R1])
                for p in range(CHUNK):
                    r1 = result[R1, p]
                    # Where there is no pair, not any number of values.
                    effective[p] = n[p] * (1.0 - r1) / (1.0 + r1) if not r1 <= 0.0 else n[p]
            for p in range(CHUNK):
                b = result[SLOPE, p]
                result[INTERCEPT, p] -= b * reference
                result[STDERR, p] = result[RMSE, p] * math.sqrt(lever[p])
                # With explained = b**2 / lever: x = rss / (rss + explained) is free of cancellation.
                noise = rss[p] * lever[p]
                total = noise + b * b
                x[p] = noise / total
                r[p] = b / math.sqrt(total)
                shifted[p] = n[p] - terms + 2.0
            table_p(x, r, shifted, min_obs - terms + 2, coefficients, one, other, trend_p)
        if wanted[PVALUE_SEASON]:
            sum_squares(orthogonal, season, terms, one)
        correlated = 0
        for p in range(width):
            state = find_status(n[p], min_obs, sums[SPREAD, p], sums[PIVOTS, p], syy[p])
            if state == OK:
                if trend:
                    result[PVALUE_OLS, p] = trend_p[p]
                    result[PVALUE, p] = trend_p[p]
                    if steps.size > 0 or memories.size > 0:
                        if not effective[p] >= terms + 1.0:
                            state = TEST_UNDEFINED
                            result[PVALUE, p] = np.nan
                        elif wanted[PVALUE] and effective[p] < n[p]:
                            which[correlated] = p
                            df_left[correlated] = effective[p] - terms
                            x_left[correlated] = x[p]
                            r_left[correlated] = r[p]
                            correlated += 1
                if wanted[PVALUE_SEASON]:
                    result[PVALUE_SEASON, p] = f_p(one[p], rss[p], 2 * harmonics, n[p] - terms, np.nan)
            else:
                for band in range(FIXED):
                    if band != N and (band > INTERCEPT or (state != TEST_UNDEFINED and state != CONSTANT)):
                        result[band, p] = np.nan
                if state == CONSTANT:
                    result[SLOPE, p] = 0.0
                    result[INTERCEPT, p] = first[p]
            status[start + p] = state
        if correlated > 0:
            student_p_of_many(x_left, r_left, df_left, correlated, fraction, p_left)
            for k in range(correlated):
                result[PVALUE, which[k]] = p_left[k]
        for k in range(harmonics):
            base = FIXED + EACH * k
            size, peak = result[base + AMPLITUDE], result[base + PEAK]
            size_error, peak_error = result[base + AMPLITUDE_STDERR], result[base + PEAK_STDERR]
            row = season + 2 * k
            combine(transform[row], solution, one)
            combine(transform[row + 1], solution, other)
            # An angle as time; as days of the year where the period is one.
            cycle = period / (k + 1)
            unit = 365.25 if period == 1.0 else 1.0
            origin = 1.0 if period == 1.0 else 0.0
            for p in range(CHUNK):
                size[p] = math.sqrt(one[p] * one[p] + other[p] * other[p])
            if wanted[base + PEAK]:
                for p in range(width):
                    angle = math.atan2(other[p], one[p]) / (2.0 * math.pi)
                    angle += 1.0 if angle < 0.0 else 0.0
                    peak[p] = origin + unit * cycle * angle
            if wanted[base + AMPLITUDE_STDERR] or wanted[base + PEAK_STDERR]:
                find_lever(transform[row], factor, cosine, lever)
                find_lever(transform[row + 1], factor, sine, lever)
                for p in range(width):
                    along, across = 0.0, 0.0
                    for j in range(terms):
                        a = one[p] * cosine[j, p] + other[p] * sine[j, p]
                        b = one[p] * sine[j, p] - other[p] * cosine[j, p]
                        along += a * a
                        across += b * b
                    size_error[p] = result[RMSE, p] * math.sqrt(along) / size[p]
                    turn = result[RMSE, p] * math.sqrt(across) / (size[p] * size[p])
                    peak_error[p] = unit * cycle / (2.0 * math.pi) * turn
            for p in range(width):
                state = status[start + p]
                # Without a residual variance of its own there is no amplitude that could be judged; the pixels whose
                # test alone is undefined have one.
                if state != OK and not result[RMSE, p] >= 0.0:
                    for band in range(base, base + EACH):
                        if band != base + AMPLITUDE or state != TEST_UNDEFINED:
                            result[band, p] = np.nan
                    if state == CONSTANT:
                        size[p] = 0.0
        store(result, rows, start, width, table)
