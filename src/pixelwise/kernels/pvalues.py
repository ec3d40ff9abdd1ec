"""Compiled p-values: Student's and Fisher's for any degrees of freedom, `table_p` of many pixels from a `TailTable`."""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

import math

import numpy as np

from pixelwise.kernels import tail_tables
from pixelwise.kernels.jit import kernel

CELLS = tail_tables.CELLS
COEFFICIENTS = tail_tables.DEGREE + 1
STRETCH = tail_tables.STRETCH

FRACTION_TERMS = tail_tables.FRACTION_TERMS

beta_fraction = kernel()(tail_tables.beta_fraction)
log_scale = kernel()(tail_tables.log_scale)


@kernel()
def student_p(x, r, df):
    """Return the two-sided p-value of Student's t for a real number of degrees of freedom.

    Parameters
    ----------
    x
        ``1 - r**2`` without cancellation: ``RSS / Syy``, or ``df / (df + t**2)``.
    r
        Correlation, or ``t / sqrt(df + t**2)``.
    df
        Degrees of freedom, at least 0.1.
    """
    if not (x >= 0.0 and df > 0.0):
        return np.nan
    if x == 0.0:
        return 0.0
    a = 0.5 * df
    r = abs(r)
    # x**a as a power of e: log and exp lose at most 708 * 2.2e-16 = 2e-13 before p underflows.
    product = math.exp(log_scale(a) + a * math.log(x)) * r
    if x > (a + 1.0) / (a + 2.5):
        return max(0.0, 1.0 - 2.0 * a * product * beta_fraction(r * r, 0.5, a))
    return product * beta_fraction(x, a, 0.5)


@kernel()
def chi_square_tail(x, df):
    """Return ``P(X > x)`` for `df` degrees of freedom, a whole number.

    Abramowitz & Stegun 6.5.29 for the other tail where that is the smaller, else 26.4.4 and 26.4.5, added up from
    the largest term.
    """
    if not x > 0.0:
        return 1.0 if x == 0.0 else np.nan
    half, order = 0.5 * x, 0.5 * df
    if x < df:
        term = math.exp(order * math.log(half) - half - math.lgamma(order + 1.0))
        total = 0.0
        while term > 1e-17 * total:
            total += term
            order += 1.0
            term *= half / order
        return 1.0 - total
    total = math.erfc(math.sqrt(half)) if df % 2 == 1 else 0.0
    order -= 1.0
    term = math.exp(order * math.log(half) - half - math.lgamma(order + 1.0))
    while order > -0.25:
        total += term
        term *= order / half
        order -= 1.0
    return total


@kernel(helper=True)
def student_p_of_many(x, r, df, count, scratch, p):
    """Write what `student_p` returns for the first `count` pixels, in a third of the time.

    The fraction is evaluated from its far end as numerator and denominator, with one division a term that does not wait
    for the one before, so that the loop over pixels becomes vector instructions.

    Parameters
    ----------
    x, r, df
        (pixel,) as for `student_p`; `x` and `r` numbers between 0 and 1, but for the sign.
    count
        How many pixels.
    scratch
        (5, pixel) float64.
    p
        (pixel,) float64, to be filled.
    """
    argument, one, other, top, bottom = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4]
    for i in range(count):
        a = 0.5 * df[i]
        near = x[i] > (a + 1.0) / (a + 2.5)
        argument[i] = r[i] * r[i] if near else x[i]
        one[i] = 0.5 if near else a
        other[i] = a if near else 0.5
        top[i] = 1.0
        bottom[i] = 1.0
    for m in range(FRACTION_TERMS, 0, -1):
        first, second = float(m - 1), float(2 * m)
        for i in range(count):
            a, b = one[i], other[i]
            low, high = a + (second - 2.0), a + second
            share = argument[i] / (low * ((a + (second - 1.0)) * high))
            below = top[i] + (m * (b - m) * low * share) * bottom[i]
            top[i] = below - ((a + first) * (a + b + first) * high * share) * top[i]
            bottom[i] = below
    for i in range(count):
        a = 0.5 * df[i]
        product = 0.0
        if x[i] > 0.0:
            product = math.exp(log_scale(a) + a * math.log(x[i])) * abs(r[i]) * (bottom[i] / top[i])
        p[i] = max(0.0, 1.0 - 2.0 * a * product) if x[i] > (a + 1.0) / (a + 2.5) else product


@kernel(helper=True)
def table_p(x, r, n, min_obs, coefficients, place, entry, p):
    """Write p-values of many pixels, from a `TailTable` that starts at ``min_obs - 2`` degrees of freedom.

    Parameters
    ----------
    x, r
        (pixel,) ``RSS / Syy`` and correlation.
    n
        (pixel,) counts; where they are below `min_obs`, or `x` is NaN, `p` is arbitrary.
    min_obs
        Fewest values of a series.
    coefficients
        Coefficients of the table, flat.
    place, entry
        (pixel,) float64, scratch.
    p
        (pixel,) float64, to be filled.
    """
    power_of_x(x, n, place, p)
    # Two loops, because the first is vectorised and the second, a gather, is not: 5 ns per pixel, not 8.
    for i in range(p.size):
        # None of these numbers leads out of the table, even if a pixel has no observation.
        # (Conditions, because min() and max() take 20 ms each to compile.)
        row = int(n[i]) - min_obs
        row = row if row > 0 else 0
        df = n[i] - 2.0
        root = math.sqrt(df if df > 1.0 else 1.0)
        size = abs(r[i])
        size = size if size <= 1.0 else 0.0
        position = size * (root + STRETCH) / (size * root + STRETCH) * CELLS
        cell = int(position)
        cell = cell if cell < CELLS else CELLS - 1
        place[i] = position - cell
        entry[i] = float((row * CELLS + cell) * COEFFICIENTS)
    for i in range(p.size):
        u = place[i]
        k = int(entry[i])
        tail = coefficients[k + 4] + u * coefficients[k + 5]
        tail = coefficients[k + 2] + u * (coefficients[k + 3] + u * tail)
        tail = coefficients[k] + u * (coefficients[k + 1] + u * tail)
        tail *= p[i]
        p[i] = 1.0 if tail > 1.0 else tail


@kernel(helper=True)
def power_of_x(x, n, power, result):
    """Write ``x**((n - 2) / 2)`` by squaring, in a tenth of the time of exp and log, as it is vectorised."""
    most = 0
    for i in range(x.size):
        count = int(n[i])
        most = count if count > most else most
        power[i] = x[i]
        result[i] = math.sqrt(x[i]) if count & 1 else 1.0
    # Four bits of the exponent at a time. The longest series decides how often, but where an exponent has no
    # more bits, the factor is exactly 1, so that a pixel's result does not depend on its neighbours.
    shift = 1
    while (most - 2) >> shift > 0:
        for i in range(x.size):
            bits = (int(n[i]) - 2) >> shift
            x1 = power[i]
            x2 = x1 * x1
            x4 = x2 * x2
            x8 = x4 * x4
            low = (x1 if bits & 1 else 1.0) * (x2 if bits & 2 else 1.0)
            high = (x4 if bits & 4 else 1.0) * (x8 if bits & 8 else 1.0)
            result[i] *= low * high
            power[i] = x8 * x8
        shift += 4


@kernel()
def f_p(explained, rss, df1, df2, student):
    """Return the upper tail of F from sums of squares: ``F = (explained / df1) / (rss / df2)``.

    It is ``I_x(df2/2, df1/2)`` with ``x = rss / (explained + rss)``, which grows with the second argument by
    ``x**b * (1-x)**a * Gamma(a+b) / (Gamma(a+1) * Gamma(b))`` (Abramowitz & Stegun 26.5.16): all terms are positive, so
    no digits are lost however small the result.

    Parameters
    ----------
    explained, rss
        Sums of squares.
    df1
        Degrees of freedom of `explained`, a whole number from 1.
    df2
        Degrees of freedom of `rss`, any number from 0.1.
    student
        The p-value for one degree of freedom, if `df1` is odd: that of Student's t from the same sums.
    """
    total = explained + rss
    if not (total > 0.0 and df2 > 0.0):
        return np.nan
    x, y = rss / total, explained / total
    if x == 0.0:
        return 0.0
    b = 0.5 * df2
    power = math.exp(b * math.log(x))
    if df1 % 2 == 0:
        a, p = 1.0, power
        term = power * y * b
    else:
        a, p = 0.5, student
        # Gamma(b + 1/2) / (Gamma(3/2) * Gamma(b)) is 2 b times 1 / (b * B(b, 1/2)).
        term = power * math.sqrt(y) * (2.0 * b * math.exp(log_scale(b)))
    for _ in range((df1 - 1) // 2):
        p += term
        a += 1.0
        term *= y * (a - 1.0 + b) / a
    return min(p, 1.0)
