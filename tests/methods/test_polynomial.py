"""Polynomials against least squares by reflections, NIST's certified values and R (test_reference_data.py)."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelwise.bands import Status
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import ParameterError
from pixelwise.methods import polynomial
from pixelwise.methods.polynomial import Polynomial
from support.oracles import polynomial_oracle
from support.places import SHARED

NIST = SHARED / "nist_strd" / "dat"
YEARS = np.arange(1995.0, 2016.0)


def bent(rng, years, pixels, gaps=0.2, digits=None):
    """Return (time, pixel) parabolas with noise and gaps; `digits` rounds, which makes ties."""
    t = (years - 2005)[:, None]
    values = 0.05 * t + rng.normal(0, 0.01, pixels) * t**2 + 0.3 * rng.normal(size=(len(years), pixels))
    if digits is not None:
        values = values.round(digits)
    values[rng.random(values.shape) < gaps] = np.nan
    return values


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("degree", [2, 3, 4, 5])
@pytest.mark.parametrize("gaps", [0.0, 0.3])
def test_equals_least_squares(degree, gaps):
    method = polynomial(degree=degree, origin=2004.5)
    values = bent(np.random.default_rng(degree), YEARS, 40, gaps)
    names = [band.name for band in method.bands]
    table, status = method.bind(TimeAxis.from_times(YEARS), names, {})((values,))
    assert (status == Status.OK).sum() > 35
    for pixel in np.flatnonzero(status == Status.OK):
        expected = polynomial_oracle(YEARS, values[:, pixel], degree, 2004.5)
        assert set(expected) == set(names)
        for name, found in zip(names, table[:, pixel], strict=True):
            least = 1e-300 if name == "pvalue" else 1e-11
            assert found == pytest.approx(expected[name], rel=1e-9, abs=least), name


@settings(max_examples=30, deadline=None)
@given(
    layers=st.integers(6, 40),
    degree=st.integers(2, 4),
    gaps=st.sampled_from([0.0, 0.3, 0.7]),
    digits=st.sampled_from([0, 1, 6]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_series(layers, degree, gaps, digits, seed):
    rng = np.random.default_rng(seed)
    axis = TimeAxis.from_times(np.sort(rng.uniform(1985, 2020, layers)))
    values = bent(rng, axis.years, 20, gaps, digits)
    method = polynomial(degree=degree)
    fit = method(values, axis)
    assert (fit["n"] == (~np.isnan(values)).sum(axis=0)).all()
    fine = fit["status"] == Status.OK
    for band in method.bands:
        if not band.optional:
            assert np.isfinite(fit[band.name][fine]).all(), band.name
    for band in ("pvalue", "pvalue_curvature", "pvalue_model", "r2"):
        assert ((fit[band][fine] >= 0) & (fit[band][fine] <= 1)).all(), band
    residuals = np.nan_to_num(values - method.predict(fit, axis))[:, fine]
    t = (axis.years - 2002.5)[:, None] / 20
    for power in range(degree + 1):
        np.testing.assert_allclose((t**power * residuals).sum(axis=0), 0, atol=1e-6)


def test_the_numbers_mean_what_they_say():
    values = (5.0 - 0.3 * (YEARS - 2000) + 0.02 * (YEARS - 2000) ** 2)[:, None]
    method = polynomial()
    names = [band.name for band in method.bands]
    table, _ = method.bind(TimeAxis.from_times(YEARS), names, {})((values,))
    fit = dict(zip(names, table[:, 0], strict=True))
    expected = {"c0": 5.0, "c1": -0.3, "c2": 0.02, "turning_point": 2007.5, "r2": 1.0}
    # The mean change is the slope halfway, in 2005.
    expected["slope"] = -0.3 + 2 * 0.02 * 5
    for name, value in expected.items():
        assert fit[name] == pytest.approx(value, rel=1e-10), name
    np.testing.assert_allclose(method.predict(fit, TimeAxis.from_times(YEARS)), values, rtol=1e-12)


def test_a_straight_line_has_no_turning_point():
    values = np.zeros((6, 1))
    values[1:] = [[1], [2], [3], [4], [5]]
    axis = TimeAxis.from_times(np.arange(2000, 2006))
    table, status = polynomial().bind(axis, ["turning_point", "c2"], {})((values,))
    assert status[0] == Status.OK
    assert not abs(table[0, 0] - 2000) < 1e6
    assert abs(table[1, 0]) < 1e-15


def certified(name, degree):
    """Return x, y, and certified estimates and residual standard deviation of one set of NIST."""
    path = NIST / f"{name}.dat"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    lines = path.read_text().splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines[30:50] if line.split()}
    estimates = [float(rows[f"B{k}"][0]) for k in range(degree + 1)]
    deviation = next(float(line.split()[-1]) for line in lines[30:50] if line.strip().startswith("Standard Deviation"))
    y, x = np.array([[float(word) for word in line.split()] for line in lines[60:] if line.strip()]).T
    return x, y, estimates, deviation


# Measured: the coefficients about 0 are differences of numbers of up to 3e6, and of residuals up to 1e5 times as large.
@pytest.mark.parametrize(
    ("name", "digits", "digits_of_deviation"),
    [("Wampler1", 1e-9, None), ("Wampler2", 1e-12, None), ("Wampler3", 1e-9, 1e-12), ("Wampler5", 1e-7, 1e-12)],
)
def test_nist_wampler(name, digits, digits_of_deviation):
    x, y, estimates, deviation = certified(name, 5)
    fit = polynomial(degree=5, origin=0.0)(y[:, None], x)
    for k, value in enumerate(estimates):
        assert fit[f"c{k}"][0] == pytest.approx(value, rel=digits), k
    if digits_of_deviation is None:
        assert fit["rmse"][0] < 1e-15 * np.ptp(y)
    else:
        assert fit["rmse"][0] == pytest.approx(deviation, rel=digits_of_deviation)


# ---------------------------------------------------------------- status


def test_status_codes():
    years = np.repeat(np.arange(2000.0, 2005.0), 3)
    values = np.full((15, 6), np.nan)
    values[:5, 1] = 1.0
    values[:, 2] = 0.1
    # Six values of two years: no parabola.
    values[:6, 3] = [1, 2, 3, 5, 4, 6]
    values[:, 4] = np.random.default_rng(0).normal(size=15)
    values[:, 5] = values[:, 4]
    values[2, 5] = math.inf
    fit = polynomial()(values, years)
    assert fit["status"].tolist() == [1, 2, 3, 4, 0, 6]
    assert fit["n"].tolist() == [0, 5, 15, 6, 15, 15]
    assert [fit[name][2] for name in ("slope", "c0", "c1", "c2")] == [0.0, 0.1, 0.0, 0.0]
    for band in ("pvalue", "stderr", "pvalue_curvature", "pvalue_model", "r2", "rmse"):
        assert np.isnan(fit[band][[0, 1, 2, 3, 5]]).all(), band
        assert np.isfinite(fit[band][4]), band


def test_one_date():
    axis = TimeAxis.from_times(np.full(9, 2005.0))
    _, status = polynomial().bind(axis, None, {})((np.random.default_rng(0).normal(size=(9, 2)),))
    assert (status == Status.DEGENERATE).all()


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"degree": 1}, "degree=1.*ols"),
        ({"degree": 2.5}, "degree=2.5"),
        ({"origin": math.inf}, "origin=inf"),
        ({"min_obs": 3}, "min_obs=3"),
    ],
)
def test_parameters_are_checked(parameters, message):
    with pytest.raises(ParameterError, match=message):
        polynomial(**parameters)


def test_a_degree_that_dates_do_not_support_is_refused():
    with pytest.raises(ParameterError, match=r"degree=3.*9 dates, of which 3 differ"):
        polynomial(degree=3)(np.zeros((9, 1)), np.repeat([2000.0, 2001.0, 2002.0], 3))


def test_defaults():
    assert polynomial(degree=4).min_obs == 8
    assert polynomial() == Polynomial(2, 2000.0, 6)
    assert "turning_point" not in [band.name for band in polynomial(degree=3).bands]
    with pytest.raises(ParameterError, match="rain"):
        polynomial().bind(TimeAxis.from_times(YEARS), None, {"rain": TimeAxis.from_times(YEARS)})
