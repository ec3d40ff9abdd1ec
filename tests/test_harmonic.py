"""Season and trend against least squares by reflections, and against what the fitted curve must be."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import harmonic_oracle
from pixelwise.errors import ParameterError
from pixelwise.method import Status
from pixelwise.methods import get, harmonic
from pixelwise.methods.harmonic import HarmonicRegression
from pixelwise.times import TimeAxis

DAYS = np.array([np.datetime64(f"{2000 + y}-01-01") + 16 * k for y in range(4) for k in range(23)])
AXIS = TimeAxis.from_times(DAYS)
IRREGULAR = TimeAxis.from_times(np.datetime64("2003-02-01") + np.cumsum([3, 8, 40, 5, 7, 11] * 12))


def seasonal(rng, axis, pixels, gaps=0.2, offset=0.0, digits=None):
    """Return (time, pixel) seasons with trend, noise and gaps; `digits` rounds, which makes ties."""
    phase = rng.random(pixels)
    values = offset + 0.1 * (axis.years - 2000)[:, None] + np.cos(2 * np.pi * (axis.years[:, None] - phase))
    values = values + 0.5 * rng.normal(size=values.shape)
    if digits is not None:
        values = values.round(digits)
    values[rng.random(values.shape) < gaps] = np.nan
    return values


def assert_agrees(method, axis, values, harmonics, rel=1e-9):
    names = [band.name for band in method.bands]
    table, status = method.bind(axis, names, {})((values,))
    plain = np.flatnonzero(status == Status.OK)
    for pixel in plain:
        # MODIS restarts its 16 days each year: they are one step of the calendar, not of the clock.
        index = np.arange(len(AXIS)) if axis is AXIS else None
        expected = harmonic_oracle(axis.years, values[:, pixel], harmonics, index)
        assert list(expected) == names
        for name, found in zip(names, table[:, pixel], strict=True):
            least = 1e-300 if name == "pvalue" else 1e-12
            assert found == pytest.approx(expected[name], rel=rel, abs=least, nan_ok=True), name
    return len(plain)


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("axis", [AXIS, IRREGULAR], ids=["regular", "irregular"])
@pytest.mark.parametrize("harmonics", [1, 2, 3])
@pytest.mark.parametrize("gaps", [0.0, 0.5])
def test_equals_least_squares(axis, harmonics, gaps):
    values = seasonal(np.random.default_rng(harmonics), axis, 40, gaps)
    assert assert_agrees(harmonic(harmonics=harmonics), axis, values, harmonics) == 40


@settings(max_examples=30, deadline=None)
@given(
    layers=st.integers(15, 40),
    step=st.integers(60, 150),
    gaps=st.sampled_from([0.0, 0.2, 0.5]),
    digits=st.sampled_from([0, 1, 6]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_series(layers, step, gaps, digits, seed):
    rng = np.random.default_rng(seed)
    axis = TimeAxis.from_times(np.datetime64("1999-05-01") + np.cumsum(rng.integers(step // 2, step, layers)))
    values = seasonal(rng, axis, 20, gaps, digits=digits)
    fit = harmonic()(values, axis)
    assert (fit["n"] == (~np.isnan(values)).sum(axis=0)).all()
    assert ((fit["status"] == Status.TOO_FEW) == ((fit["n"] < 7) & (fit["n"] > 0))).all()
    fine = fit["status"] == Status.OK
    for band in ("slope", "intercept", "pvalue", "pvalue_ols", "amplitude_1", "peak_1", "pvalue_season", "rmse"):
        assert np.isfinite(fit[band][fine]).all(), band
        assert np.isnan(fit[band][fit["status"] == Status.DEGENERATE]).all(), band
    assert (fit["pvalue"][fine] >= fit["pvalue_ols"][fine] * (1 - 1e-9)).all()
    assert ((fit["peak_1"][fine] >= 1) & (fit["peak_1"][fine] <= 366.25)).all()
    # The fit is the fit: residuals are orthogonal to every column.
    curve = harmonic().predict({name: band[fine] for name, band in fit.items()}, axis)
    residuals = np.nan_to_num(values[:, fine] - curve)
    for column in (1.0, axis.years - 2000, np.cos(2 * np.pi * axis.years), np.sin(2 * np.pi * axis.years)):
        assert np.abs((np.reshape(column, (-1, 1)) * residuals).sum(axis=0)).max(initial=0.0) < 1e-6


def test_the_numbers_mean_what_they_say():
    years = AXIS.years[:, None]
    # Highest on day 100 of the year, which begins as day 1.
    values = 3.0 + 0.25 * years + 2.0 * np.cos(2 * np.pi * (years - 99 / 365.25)) + 0.5 * np.cos(4 * np.pi * years)
    fit = harmonic(harmonics=2)(values, AXIS)
    expected = {"slope": 0.25, "intercept": 3.0, "amplitude_1": 2.0, "peak_1": 100.0, "amplitude_2": 0.5}
    for band, value in expected.items():
        assert fit[band][0] == pytest.approx(value, rel=1e-9), band
    assert min(fit["peak_2"][0] - 1, 1 + 365.25 / 2 - fit["peak_2"][0]) == pytest.approx(0, abs=1e-6)
    assert fit["rmse"][0] < 1e-11
    assert fit["pvalue_season"][0] < 1e-100


@pytest.mark.parametrize("offset", [1e6, 1e9])
def test_offsets_cost_no_digits(offset):
    values = np.round(seasonal(np.random.default_rng(3), AXIS, 20) * 1024) / 1024
    near, far = harmonic()(values, AXIS), harmonic()(values + offset, AXIS)
    for band in ("slope", "amplitude_1", "peak_1", "rmse", "pvalue", "pvalue_season"):
        np.testing.assert_allclose(far[band], near[band], rtol=1e-9, err_msg=band)


def test_period_of_another_length():
    years = AXIS.years[:, None]
    method = harmonic(period=1.5)
    fit = method(5.0 + 2.0 * np.cos(2 * np.pi * (years - 1500 - 0.4) / 1.5), AXIS)
    assert fit["amplitude_1"][0] == pytest.approx(2.0)
    assert fit["peak_1"][0] == pytest.approx(0.4)
    assert {band.unit for band in method.bands if band.name == "peak_1"} == {"year"}


def test_without_trend():
    method = harmonic(trend=False)
    names = ["amplitude_1", "peak_1", "intercept", "pvalue_season", "rmse", "n"]
    assert [band.name for band in method.bands if not band.optional] == names
    values = seasonal(np.random.default_rng(4), AXIS, 5, gaps=0.0)
    fit = method(values, AXIS)
    angle = 2 * np.pi * AXIS.years
    design = np.stack([np.ones(len(AXIS)), np.cos(angle), np.sin(angle)], axis=1)
    b, rss = np.linalg.lstsq(design, values, rcond=None)[:2]
    np.testing.assert_allclose(fit["intercept"], b[0], rtol=1e-9)
    np.testing.assert_allclose(fit["amplitude_1"], np.hypot(b[1], b[2]), rtol=1e-9)
    np.testing.assert_allclose(fit["rmse"], np.sqrt(rss / (len(AXIS) - 3)), rtol=1e-9)
    np.testing.assert_allclose(method.predict(fit, AXIS), design @ b, rtol=1e-9)


def test_correlation_is_that_of_neighbours_on_the_calendar():
    # Every second value is missing: there are no neighbours, so that no correlation can be known.
    values = seasonal(np.random.default_rng(5), AXIS, 3, gaps=0.0)
    values[::2, 1] = np.nan
    values[1::2, 1] += 0.0
    fit = harmonic()(values, AXIS)
    assert fit["status"].tolist() == [0, Status.TEST_UNDEFINED, 0]
    for band in ("r1", "pvalue"):
        assert np.isnan(fit[band][1])
    for band in ("slope", "pvalue_ols", "amplitude_1", "peak_1", "rmse", "stderr", "pvalue_season"):
        assert np.isfinite(fit[band][1])


def test_irregular_dates_have_no_correlation():
    fit = harmonic()(seasonal(np.random.default_rng(6), IRREGULAR, 5), IRREGULAR)
    assert np.isnan(fit["r1"]).all()
    np.testing.assert_array_equal(fit["pvalue"], fit["pvalue_ols"])
    assert (fit["status"] == Status.OK).all()


def test_so_correlated_that_nothing_is_left():
    # A slow wave that neither trend nor season follows.
    values = np.cos(2 * np.pi * (AXIS.years - 2000) / 3.1)[:, None]
    fit = harmonic(harmonics=3)(values, AXIS)
    assert fit["r1"][0] > 0.9
    assert fit["status"][0] == Status.TEST_UNDEFINED
    assert np.isnan(fit["pvalue"][0])
    assert fit["pvalue_ols"][0] < 1


# ---------------------------------------------------------------- status


def test_status_codes():
    values = np.full((len(AXIS), 6), np.nan)
    values[:6, 1] = 1.0
    values[:, 2] = 0.1
    # Seven values within a quarter of a year: season and trend look alike there.
    values[:7, 3] = np.arange(7.0) ** 2
    values[:, 4] = seasonal(np.random.default_rng(7), AXIS, 1, 0.0)[:, 0]
    values[:, 5] = values[:, 4]
    values[3, 5] = math.inf
    fit = harmonic(harmonics=2)(values, AXIS)
    assert fit["status"].tolist() == [1, 2, 3, 2, 0, 6]
    fit = harmonic()(values, AXIS)
    assert fit["status"].tolist() == [1, 2, 3, 0, 0, 6]
    assert fit["slope"][2] == fit["amplitude_1"][2] == 0.0
    assert fit["intercept"][2] == 0.1
    for band in ("pvalue", "pvalue_ols", "peak_1", "pvalue_season", "rmse", "r1", "stderr"):
        assert np.isnan(fit[band][[0, 1, 2, 5]]).all(), band
    np.testing.assert_allclose(harmonic().predict({k: v[[2]] for k, v in fit.items()}, AXIS), 0.1)


def test_gaps_that_leave_no_season():
    # All that is left are two times of the year: two phases for three coefficients.
    axis = TimeAxis.from_times(2000 + np.arange(92) / 23)
    values = np.full((92, 1), np.nan)
    values[::23] = [[1.0], [2.0], [4.0], [3.0]]
    values[1::23] = [[2.0], [2.5], [4.0], [1.0]]
    fit = harmonic()(values, axis)
    assert fit["status"][0] == Status.DEGENERATE
    assert fit["n"][0] == 8
    for band in ("slope", "amplitude_1", "peak_1", "pvalue", "pvalue_season"):
        assert np.isnan(fit[band][0]), band


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_pixel_that_needs_refinement_leaves_its_neighbours_alone(dtype):
    values = seasonal(np.random.default_rng(8), AXIS, 128, 0.0)
    bound = harmonic().bind(AXIS, None, {})
    alone = bound((values,), dtype)[0]
    values[12:, 5] = np.nan
    beside = bound((values,), dtype)[0]
    others = np.arange(128) != 5
    assert alone[:, others].tobytes() == beside[:, others].tobytes()


# ---------------------------------------------------------------- parameters and dates


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"harmonics": 0}, "harmonics=0"),
        ({"harmonics": 1.5}, "harmonics=1.5"),
        ({"period": 0.0}, "period=0"),
        ({"period": math.nan}, "period=nan"),
        ({"min_obs": 4}, "min_obs=4.*one more than the 4 coefficients"),
    ],
)
def test_parameters_are_checked(parameters, message):
    with pytest.raises(ParameterError, match=message):
        harmonic(**parameters)


def test_min_obs_follows_the_number_of_coefficients():
    assert harmonic().min_obs == 7
    assert harmonic(harmonics=3, trend=False).min_obs == 10
    assert harmonic(harmonics=2, min_obs=7) == HarmonicRegression(2, True, 1.0, 7)
    assert get("harmonic") is harmonic
    assert harmonic().season_term


@pytest.mark.parametrize(
    ("dates", "method"),
    [
        (np.arange(1990, 2020), harmonic()),
        (np.arange("1990", "2020", dtype="datetime64[Y]").astype("datetime64[D]") + 200, harmonic()),
        (2000 + np.arange(40) / 4, harmonic(harmonics=2)),
    ],
    ids=["whole years", "one day of the year", "two harmonics of quarters"],
)
def test_dates_that_tell_no_season_are_refused(dates, method):
    axis = TimeAxis.from_times(dates)
    with pytest.raises(ParameterError, match="cannot tell"):
        method(np.zeros((len(axis), 1)), axis)


def test_bound_to_dates_without_a_season_each_pixel_says_so():
    axis = TimeAxis.from_times(np.arange(1990, 2020))
    _, status = harmonic().bind(axis, None, {})((np.random.default_rng(0).normal(size=(30, 3)),))
    assert (status == Status.DEGENERATE).all()


def test_further_inputs_are_refused():
    with pytest.raises(ParameterError, match="rain"):
        harmonic().bind(AXIS, None, {"rain": AXIS})
