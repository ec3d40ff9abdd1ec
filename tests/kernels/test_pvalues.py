"""Student's t without scipy, against 40-digit arithmetic."""

import math
import subprocess
import sys

import mpmath
import numpy as np
import pytest
import scipy.stats

from pixelwise.kernels.jit import kernel
from pixelwise.kernels.pvalues import f_p, student_p
from pixelwise.kernels.pvalues import student_p_of_many as many_called_by_kernels
from pixelwise.kernels.pvalues import table_p as called_by_kernels
from pixelwise.kernels.tail_tables import quantile_series, student_quantiles, student_tail, tail_table
from pixelwise.kernels.trend import t_quantile


@kernel()
def table_p(x, r, n, min_obs, coefficients, place, entry, p):
    """Call what has no door to Python of its own."""
    called_by_kernels(x, r, n, min_obs, coefficients, place, entry, p)


@kernel()
def student_p_of_many(x, r, df, count, scratch, p):
    """The same."""
    many_called_by_kernels(x, r, df, count, scratch, p)


def exact_p(x, r, df):
    """The regularised incomplete beta function, from whichever of `x` and `r` has the digits."""
    with mpmath.workdps(40):
        argument = 1 - mpmath.mpf(r) ** 2 if r < 0.5 else mpmath.mpf(x)
        return mpmath.betainc(mpmath.mpf(df) / 2, mpmath.mpf(1) / 2, 0, argument, regularized=True)


def correlations(df):
    """(x, r) over the whole range, to where p leaves float64: near r = 0, over the bulk, near and far in the tail."""
    smallest_x = 2.3e-308 ** (2 / df)
    by_r = [0.0, 1e-12, 1e-6, 1e-3, 0.01, *(u / math.sqrt(df + u * u) for u in (0.1, 0.5, 0.9, 1.3, 2, 3, 5, 9, 30))]
    by_x = [smallest_x * 1.01, *np.geomspace(max(smallest_x, 1e-300) * 1.01, 0.7, 6)]
    points = [((1.0 - r) * (1.0 + r), r) for r in by_r]
    points += [(x, math.sqrt(1.0 - x)) for x in by_x if x < 1.0]
    return points


def by_table(points, df, first_df=1):
    """Apply the compiled table to points of one number of degrees of freedom."""
    x, r = (np.array(column) for column in zip(*points, strict=True))
    p = np.empty_like(x)
    table = tail_table(first_df, max(df, first_df))
    n = np.full(len(x), df + 2.0)
    table_p(x, r, n, first_df + 2, table.coefficients.ravel(), np.empty_like(x), np.empty(len(x)), p)
    return p


def worst(found, points, df):
    """Largest relative error where p is a normal number."""
    errors = [0.0]
    for p, (x, r) in zip(found, points, strict=True):
        expected = exact_p(x, r, df)
        if expected >= 2.2250738585072014e-308:
            errors.append(abs(float(p / expected - 1)))
    return max(errors)


def limit(df):
    return 1e-9 if df <= 100 else 1e-8


@pytest.mark.parametrize("df", [*range(1, 101, 3), 2, 3, 99, 100, 200, 500, 1000, 2000])
def test_table_against_mpmath(df):
    points = correlations(df)
    assert worst(by_table(points, df, first_df=df), points, df) <= limit(df)


def test_table_of_21_layers_is_good_to_twelve_digits():
    for df in range(1, 20):
        points = correlations(df)
        assert worst(by_table(points, df), points, df) <= 1e-12


@pytest.mark.parametrize("df", [1, 2, 7, 19, 64, 100, 333, 1000])
def test_table_between_its_nodes(df):
    # A dense grid, against the fraction that the table is built from (itself checked against mpmath below).
    r = np.concatenate([np.linspace(0, 1, 2001)[:-1], np.geomspace(1e-9, 1, 500)[:-1], 1 - np.geomspace(1e-9, 1, 500)])
    x = (1 - r) * (1 + r)
    tail = student_tail(r, np.full(1, float(df)))
    found = by_table(list(zip(x, r, strict=True)), df, first_df=df)
    expected = tail * x ** (df / 2)
    normal = expected > 2.3e-308
    np.testing.assert_allclose(found[normal], expected[normal], rtol=1e-10)


@pytest.mark.parametrize("df", [0.1, 0.5, 1, 1.5, 2, 3.7, 13.25, 19, 57.9, 100, 333.3, 1000, 1999.5])
def test_fraction_for_any_df(df):
    points = correlations(df)
    found = [student_p(x, r, df) for x, r in points]
    assert worst(found, points, df) <= min(limit(df), 1e-10)


@pytest.mark.parametrize("df", [0.1, 1, 2, 3.7, 13.25, 19, 57.9, 100, 333.3, 1999.5])
def test_many_at_a_time(df):
    points = [(x, r) for x, r in correlations(df) if x > 0]
    x, r = (np.array(column) for column in zip(*points, strict=True))
    p = np.empty(len(x))
    student_p_of_many(x, -r, np.full(len(x), float(df)), len(x), np.empty((5, len(x))), p)
    assert worst(p, points, df) <= min(limit(df), 1e-10)
    # A pixel's bits are its own.
    alone = np.empty(1)
    for i in range(len(x)):
        student_p_of_many(x[i:], r[i:], np.full(1, float(df)), 1, np.empty((5, 1)), alone)
        assert alone[0] == p[i]


@pytest.mark.parametrize("df1", [1, 2, 3, 4, 5, 6, 9])
@pytest.mark.parametrize("df2", [0.5, 3, 7.25, 19, 200])
def test_f_against_mpmath(df1, df2):
    for f in (0.0, 1e-12, 1e-3, 0.3, 1.0, 4.0, 1e2, 1e8, 1e20):
        explained = f * df1 / df2
        with mpmath.workdps(40):
            x = 1 / (1 + mpmath.mpf(explained))
            expected = mpmath.betainc(mpmath.mpf(df2) / 2, mpmath.mpf(df1) / 2, 0, x, regularized=True)
        root = math.sqrt(explained / (1.0 + explained))
        found = f_p(explained, 1.0, df1, df2, student_p(1.0 / (1.0 + explained), root, df2))
        if expected > 1e-300:
            assert found == pytest.approx(float(expected), rel=1e-11)


def test_ends_of_f():
    assert f_p(1.0, 0.0, 2, 5.0, math.nan) == 0.0
    assert f_p(0.0, 1.0, 2, 5.0, math.nan) == 1.0
    assert math.isnan(f_p(0.0, 0.0, 2, 5.0, math.nan))
    assert math.isnan(f_p(math.nan, 1.0, 2, 5.0, math.nan))


@pytest.mark.parametrize("df", [0.7, 5, 31.5])
def test_fraction_from_t(df):
    for t in (0.0, 1e-9, 0.3, 2.0, -4.5, 1e6):
        found = student_p(df / (df + t * t), t / math.sqrt(df + t * t), df)
        assert found == pytest.approx(2 * scipy.stats.t.sf(abs(t), df), rel=1e-11)


@pytest.mark.parametrize("level", [0.01, 0.5, 0.95, 0.999999])
def test_quantiles_against_mpmath(level):
    df = [1, 2, 19, 100, 1000]
    for n, t in zip(df, student_quantiles(np.array(df, dtype=np.float64), level), strict=True):
        x = n / (n + t * t)
        assert exact_p(x, t / math.sqrt(n + t * t), n) == pytest.approx(1 - level, rel=1e-9)


def test_ends():
    assert student_p(0.0, 1.0, 5.0) == 0.0
    assert student_p(1.0, 0.0, 5.0) == 1.0
    assert math.isnan(student_p(math.nan, 0.5, 5.0))
    assert math.isnan(student_p(0.5, 0.5, 0.0))
    perfect, level = by_table([(0.0, 1.0), (math.nextafter(1.0, 2.0), 0.0)], 7)
    assert perfect == 0.0
    assert 1.0 - 1e-13 < level <= 1.0


def test_p_beyond_float64_is_0():
    assert by_table([(1e-200, 1.0)], 19)[0] == 0.0
    assert student_p(1e-200, 1.0, 19.0) == 0.0


def test_counts_that_the_table_does_not_have_read_nothing_outside_it():
    coefficients = tail_table(3, 8).coefficients.ravel()
    x, r = np.array([0.5, math.nan, 0.5]), np.array([0.7, math.nan, math.sqrt(0.5)])
    n = np.array([0.0, 4.0, 10.0])
    p = np.empty(3)
    table_p(x, r, n, 5, coefficients, np.empty(3), np.empty(3), p)
    assert math.isnan(p[1])
    assert p[2] == pytest.approx(student_p(0.5, math.sqrt(0.5), 8.0), rel=1e-11)


def test_bits_do_not_depend_on_the_longest_series_of_the_chunk():
    coefficients = tail_table(1, 300).coefficients.ravel()
    x, r = np.full(2, 0.37), np.full(2, math.sqrt(0.63))
    alone, together = np.empty(2), np.empty(2)
    for n, p in (([12.0, 12.0], alone), ([12.0, 302.0], together)):
        table_p(x, r, np.array(n), 3, coefficients, np.empty(2), np.empty(2), p)
    assert alone[0] == together[0]
    assert together[1] < alone[1]


def test_table_for_21_layers_is_small():
    # It travels with every job.
    assert tail_table(1, 19).coefficients.nbytes < 20_000


def test_building_a_table_imports_no_numba_and_no_scipy():
    code = (
        "import sys; from pixelwise.kernels.tail_tables import tail_table; tail_table(1, 19); "
        "print([m for m in ('numba', 'scipy', 'rasterio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@kernel()
def quantiles(df, coefficients, found):
    """Call what has no door to Python of its own."""
    for i in range(df.size):
        found[i] = t_quantile(df[i], coefficients)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 0.9999])
def test_quantiles_of_any_number_of_degrees_of_freedom(level):
    df = np.array([1, 1.0001, 1.3, 2, 3.7, 10, 19, 57.3, 500, 5000, 1e6])
    found = np.empty(len(df))
    quantiles(df, quantile_series(level), found)
    np.testing.assert_allclose(found, scipy.stats.t.isf((1 - level) / 2, df), rtol=1e-11)
