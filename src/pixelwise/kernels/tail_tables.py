"""p-values of Student's t without scipy: a continued fraction, and tables for the degrees of freedom in use.

A correlation ``r`` of a straight line with ``df`` degrees of freedom has the two-sided p-value
``I_x(df/2, 1/2)``, the regularised incomplete beta function at ``x = 1 - r**2 = RSS / Syy``. It spans 300
decades, but ``tail = p / x**(df/2)`` only two, so the tail is tabulated. Both ``x`` and ``|r|`` are passed, because
each has the digits that the other has lost: ``x`` near ``|r| = 1``, ``r`` near 0.

``scipy.special.stdtr`` takes 200 ns per value and 0.2 s to import, ``scipy.stats`` 0.75 s (performance notes, 2c
and 2e); the table takes about 5 ns per value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from pixelwise.bands import Floats
from pixelwise.kernels.jit import readonly

__all__ = [
    "FRACTION_TERMS",
    "TailTable",
    "beta_fraction",
    "quantile_series",
    "student_quantiles",
    "student_tail",
    "tail_table",
    "tails_of",
]

# 40 pairs of terms give 4e-13 for df <= 100 and 1e-11 for df = 2000, against mpmath (tests/kernels/test_pvalues.py).
FRACTION_TERMS = 40
# Polynomials of degree 5 on 16 equal cells of a stretched |r|: 1e-11 for df <= 100, 3e-11 for df = 1000.
CELLS = 16
DEGREE = 5
# The tail changes on the scale 1/sqrt(df), as Mills' ratio does: r = 3/sqrt(df) falls in the middle of the cells.
STRETCH = 3.0
# Terms of the series of a quantile: 1e-11 at levels from 0.5 to 0.9999, against scipy (tests/kernels/test_pvalues.py).
QUANTILE_TERMS = 40


def beta_fraction(x: Any, a: Any, b: Any) -> Any:
    """Return the continued fraction of the incomplete beta function, for ``x < (a + 1) / (a + b + 2)``.

    ``I_x(a, b) = x**a * (1-x)**b / (a * B(a, b)) * fraction`` (Abramowitz & Stegun 26.5.8), evaluated from the
    far end with a fixed number of terms: no test for convergence, so that it works on arrays as well as on numbers.
    """
    fraction = 1.0 + 0.0 * x
    for m in range(FRACTION_TERMS, 0, -1):
        even = m * (b - m) * x / ((a + (2 * m - 1)) * (a + 2 * m))
        odd = -(a + (m - 1)) * (a + b + (m - 1)) * x / ((a + (2 * m - 2)) * (a + (2 * m - 1)))
        fraction = 1.0 + odd / (1.0 + even / fraction)
    return 1.0 / fraction


@dataclass(frozen=True, eq=False)
class TailTable:
    """The tail of Student's t for consecutive degrees of freedom.

    Attributes
    ----------
    first_df
        Degrees of freedom of the first row.
    coefficients
        (df, cell, power) of the polynomials in the position within a cell, 0 to 1. The cells divide
        ``r * (root + 3) / (r * root + 3)`` with ``root = sqrt(df)``, which runs from 0 to 1 as `r` does.
    """

    first_df: int
    coefficients: Floats


def tail_table(first_df: int, last_df: int) -> TailTable:
    """Tabulate the tail for each whole number of degrees of freedom from `first_df` to `last_df`."""
    df = np.arange(first_df, last_df + 1, dtype=np.float64)
    root = np.sqrt(df)[:, None]
    # Chebyshev points of a cell: interpolating at them is within a factor of 4 of the best polynomial.
    nodes = 0.5 - 0.5 * np.cos(np.pi * (np.arange(DEGREE + 1) + 0.5) / (DEGREE + 1))
    position = ((np.arange(CELLS)[:, None] + nodes) / CELLS).ravel()
    r = position * STRETCH / (root + STRETCH - position * root)
    values = student_tail(r, df[:, None]).reshape(len(df), CELLS, DEGREE + 1)
    coefficients = values @ np.linalg.inv(np.vander(nodes, increasing=True)).T
    return TailTable(first_df, np.ascontiguousarray(coefficients))


def student_tail(r: Floats, df: Floats) -> Floats:
    """Return ``p / x**(df/2)`` with ``x = 1 - r**2``, for ``0 <= r < 1``."""
    a = df / 2
    x = (1.0 - r) * (1.0 + r)
    # 1 / (a * B(a, 1/2))
    scale = np.array([math.exp(log_scale(value)) for value in a.ravel()]).reshape(a.shape)
    # The fraction converges fast only below this x; above it, 1 - I_{1-x}(1/2, a) is used: the difference loses few
    # digits, because p > 0.1 there.
    near = x > (a + 1.0) / (a + 2.5)
    far_tail = scale * r * beta_fraction(np.where(near, 0.0, x), a, 0.5)
    inner_r = np.where(near, r, 0.0)
    inner_x = np.where(near, x, 1.0)
    inner = 2.0 * a * scale * inner_r * beta_fraction(inner_r * inner_r, 0.5, a)
    tail: Floats = np.where(near, inner_x**-a - inner, far_tail)
    return tail


@cache
def quantile_series(confidence_level: float) -> Floats:
    """Return what kernels need to find a quantile of Student's t for any degrees of freedom from 1 up.

    Parameters
    ----------
    confidence_level
        The share of the distribution that lies between the quantile and its negative.

    Returns
    -------
    (term,) float64
        Chebyshev coefficients of the quantile's logarithm, in ``2 / df - 1``: good to 1e-11 at levels from 0.5 to
        0.9999.
    """
    nodes = np.cos(np.pi * (np.arange(QUANTILE_TERMS) + 0.5) / QUANTILE_TERMS)
    logarithms = log_quantiles(2.0 / (nodes + 1.0), confidence_level)
    angles = np.outer(np.arange(QUANTILE_TERMS), np.pi * (np.arange(QUANTILE_TERMS) + 0.5) / QUANTILE_TERMS)
    coefficients: Floats = 2.0 / QUANTILE_TERMS * np.cos(angles) @ logarithms
    coefficients[0] /= 2.0
    return readonly(coefficients)


def student_quantiles(df: Floats, confidence_level: float) -> Floats:
    """Return quantiles of Student's t, good to 1e-11 up to 1000 degrees of freedom.

    Parameters
    ----------
    df
        (n,) degrees of freedom.
    confidence_level
        The share of the distribution that lies between a quantile and its negative.
    """
    quantiles: Floats = np.exp(log_quantiles(df, confidence_level))
    return quantiles


def log_quantiles(df: Floats, confidence_level: float) -> Floats:
    """Return the logarithms of `student_quantiles`."""
    # Halved until their last bits: p falls as t grows.
    low, high = np.full(len(df), -30.0), np.full(len(df), 700.0)
    for _ in range(70):
        middle = 0.5 * (low + high)
        r = 1.0 / np.sqrt(1.0 + df * np.exp(-2.0 * middle))
        x = 1.0 / (1.0 + np.exp(2.0 * middle) / df)
        p = np.where(r < 1.0, student_tail(np.minimum(r, 1.0 - 1e-16), df), np.exp([log_scale(a) for a in df / 2]))
        above = p * x ** (df / 2) > 1.0 - confidence_level
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    logarithms: Floats = 0.5 * (low + high)
    return logarithms


def log_scale(a: float) -> float:
    """Return ``-log(a * B(a, 1/2))``."""
    return math.lgamma(a + 0.5) - math.lgamma(a + 1.0) - 0.5 * math.log(math.pi)


def tails_of(table: TailTable | None) -> Floats:
    """Return the coefficients of a table as kernels take them: flat, and empty if no p-values are needed."""
    return readonly(np.empty(0) if table is None else table.coefficients.ravel())
