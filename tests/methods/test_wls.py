"""Weighted lines against least squares by reflections, and against `ols` where weights say nothing."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pixelwise as pw
from pixelwise.bands import Status
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import ParameterError
from pixelwise.method import build
from pixelwise.methods import ols, wls
from support.oracles import line_oracle
from support.rasters import write_raster

YEARS = np.arange(1995.0, 2016.0)
AXIS = TimeAxis.from_times(YEARS)


def noisy(rng, years, pixels, gaps=0.2, digits=None):
    values = 0.05 * (years - 2005)[:, None] + rng.normal(size=(len(years), pixels))
    if digits is not None:
        values = values.round(digits)
    values[rng.random(values.shape) < gaps] = np.nan
    return values


@pytest.mark.parametrize("weight", [1.0, 7.25, 1e-6, 1e6])
def test_equal_weights_are_ols(weight):
    values = noisy(np.random.default_rng(1), YEARS, 200)
    plain, weighted = ols()(values, YEARS), wls(weights=[weight] * 21)(values, YEARS)
    for band in plain:
        np.testing.assert_allclose(weighted[band], plain[band], rtol=1e-10, atol=1e-13, err_msg=band)


@settings(max_examples=30, deadline=None)
@given(
    layers=st.integers(3, 40),
    gaps=st.sampled_from([0.0, 0.3, 0.7]),
    digits=st.sampled_from([0, 1, 6]),
    spread=st.sampled_from([1.0, 1e2, 1e4]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_series_with_weights_of_values(layers, gaps, digits, spread, seed):
    rng = np.random.default_rng(seed)
    axis = TimeAxis.from_times(np.sort(rng.uniform(1985, 2020, layers)))
    values = noisy(rng, axis.years, 20, gaps, digits)
    weights = spread ** rng.random(values.shape)
    weights[rng.random(values.shape) < 0.1] = 0.0
    fit = wls()(values, axis, weights=weights)
    counts = ~np.isnan(values) & (weights > 0)
    np.testing.assert_array_equal(fit["n"], counts.sum(axis=0))
    for pixel in range(20):
        if fit["status"][pixel] != Status.OK or fit["n"][pixel] == 2:
            continue
        expected = line_oracle(axis.years, values[:, pixel], weights[:, pixel])
        # Of a residual sum near 0, only the part above rounding is known.
        known = 1e-9 + 1e-14 / max(1 - expected["rvalue"] ** 2, 1e-15)
        for band, value in expected.items():
            # At the year 0, slope and its error count 2000 times.
            least = 1e-9 if band.startswith("intercept") else 1e-12
            assert fit[band][pixel] == pytest.approx(value, rel=known, abs=least), band


def test_a_value_without_a_weight_is_missing():
    values = noisy(np.random.default_rng(2), YEARS, 6, gaps=0.0)
    weights = np.ones_like(values)
    weights[3, :5] = [0.0, -1.0, math.nan, math.inf, -math.inf]
    fit = wls()(values, YEARS, weights=weights)
    assert fit["n"].tolist() == [20] * 5 + [21]
    values[3, :5] = np.nan
    for band, wanted in ols()(values, YEARS).items():
        np.testing.assert_allclose(fit[band], wanted, rtol=1e-11, err_msg=band)


def test_weights_of_dates_and_of_values_multiply():
    rng = np.random.default_rng(3)
    values, weights = noisy(rng, YEARS, 30), rng.uniform(0.5, 2, (21, 30))
    dates = rng.uniform(0, 2, 21)
    dates[4] = 0.0
    both = wls(weights=dates)(values, YEARS, weights=weights)
    product = wls()(values, YEARS, weights=weights * dates[:, None])
    for band, wanted in product.items():
        np.testing.assert_allclose(both[band], wanted, rtol=1e-12, err_msg=band)
    assert (both["n"] <= 20).all()


def test_a_stack_of_weights(tmp_path):
    rng = np.random.default_rng(4)
    values, weights = rng.normal(size=(6, 4, 5)), rng.uniform(0.5, 2, (6, 4, 5))
    for k in range(6):
        write_raster(tmp_path / "values" / f"v_{2000 + k}.tif", values[k])
        write_raster(tmp_path / "weights" / f"w_{2000 + k}.tif", weights[k])
    stacks = [pw.open_stack(tmp_path / name) for name in ("values", "weights")]
    trend = pw.apply(stacks[0], wls(), inputs={"weights": stacks[1]}, dtype="float64")
    expected = wls()(values.reshape(6, -1), np.arange(2000, 2006), weights=weights.reshape(6, -1))
    np.testing.assert_array_equal(trend["slope"].ravel(), expected["slope"])


def test_status_codes():
    years = np.repeat(np.arange(2000.0, 2005.0), 2)
    values = np.full((10, 6), np.nan)
    values[:2, 1] = 1.0
    values[:, 2] = 0.1
    values[:, 3] = np.arange(10.0) ** 2
    values[:, 4] = values[:, 3]
    values[:, 5] = values[:, 3]
    values[2, 5] = math.inf
    weights = np.ones((10, 6))
    # All weight but a trace is on one date.
    weights[:2, 3] = 1e15
    fit = wls()(values, years, weights=weights)
    assert fit["status"].tolist() == [1, 2, 3, 4, 0, 6]
    assert (fit["slope"][2], fit["intercept"][2]) == (0.0, 0.1)
    for band in ("rvalue", "pvalue", "stderr", "intercept_stderr"):
        assert np.isnan(fit[band][[0, 1, 2, 3, 5]]).all(), band


def test_predict_is_the_line():
    fit = wls(weights=[1] * 21)(0.5 * YEARS[:, None] + 1.0, YEARS)
    np.testing.assert_allclose(wls().predict(fit, AXIS)[:, 0], 0.5 * YEARS + 1.0, rtol=1e-13)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, -2.0], "number 2 is -2"),
        ([math.nan], "number 1 is nan"),
        ([math.inf], "number 1 is inf"),
        ("1,two", "weights='1,two'.*one number per date"),
        (3, "one number per date"),
    ],
)
def test_weights_are_checked(weights, message):
    with pytest.raises(ParameterError, match=message):
        wls(weights=weights)


def test_weights_must_fit_the_dates():
    with pytest.raises(ParameterError, match="2 numbers for 21 dates"):
        wls(weights=[1, 2]).bind(AXIS, None, {})
    with pytest.raises(ParameterError, match=r"needs weights.*without weights, it is ols"):
        wls().bind(AXIS, None, {})
    with pytest.raises(ParameterError, match="called weights, but got rain"):
        wls().bind(AXIS, None, {"rain": AXIS})
    with pytest.raises(ParameterError, match=r"the 20 dates .1995-01-01..2014-01-01. are not the 21"):
        wls().bind(AXIS, None, {"weights": TimeAxis.from_times(YEARS[:20])})


def test_weights_as_text():
    assert build(wls, {"weights": "1, 2,0.5"}) == wls(weights=(1, 2, 0.5))
    assert build(wls, {"weights": "none"}) == wls()
