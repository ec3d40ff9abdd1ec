"""Season and trend against least squares by reflections, and against what the fitted curve must be."""

import math
import pickle
from datetime import datetime

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelwise.bands import Status
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import ParameterError
from pixelwise.methods import get, harmonic
from pixelwise.methods.harmonic import HarmonicRegression
from support.compiled import compiled_only
from support.dates import DAY
from support.oracles import BY_SIMULATION, harmonic_oracle

DAYS = np.array([np.datetime64(f"{2000 + y}-01-01") + 16 * k * DAY for y in range(4) for k in range(23)])
AXIS = TimeAxis.from_times(DAYS)
IRREGULAR = TimeAxis.from_times(np.datetime64("2003-02-01") + np.cumsum([3, 8, 40, 5, 7, 11] * 12) * DAY)


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
        assert set(names) - set(expected) == (BY_SIMULATION["harmonic"] if axis.index is None else set())
        for name, found in zip(names, table[:, pixel], strict=True):
            if name not in expected:
                continue
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
    axis = TimeAxis.from_times(np.datetime64("1999-05-01") + np.cumsum(rng.integers(step // 2, step, layers)) * DAY)
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


def test_so_correlated_that_nothing_is_left():
    # A slow wave that neither trend nor season follows.
    values = np.cos(2 * np.pi * (AXIS.years - 2000) / 3.1)[:, None]
    fit = harmonic(harmonics=3)(values, AXIS)
    assert fit["r1"][0] > 0.9
    assert fit["status"][0] == Status.TEST_UNDEFINED
    assert np.isnan(fit["pvalue"][0])
    assert fit["pvalue_ols"][0] < 1


# ---------------------------------------------------------------- irregular dates


def fading_noise(rng, axis, memory, pixels):
    """Return (time, pixel) noise of correlation exp(-d / memory), by a Cholesky factor of all its correlations."""
    days = 365.25 * axis.years
    correlation = np.exp(-np.abs(np.subtract.outer(days, days)) / memory) if memory else np.eye(len(days))
    return np.linalg.cholesky(correlation) @ rng.normal(size=(len(days), pixels))


def landsat(seed, years, lost=0.6):
    days = np.arange(0, 365.25 * years, 16).astype(int)
    rng = np.random.default_rng(seed)
    return TimeAxis.from_times(np.datetime64("2000-01-05") + days[rng.random(len(days)) >= lost] * DAY)


def season_and_line(axis):
    angle = 2 * np.pi * axis.years
    return np.stack([np.ones(len(axis)), axis.years - 2005, np.cos(angle), np.sin(angle)], axis=1)


LANDSAT = landsat(3, 10)


@pytest.mark.parametrize("memory", [8, 30])
def test_the_inflation_is_that_of_generalised_least_squares(memory):
    assert LANDSAT.index is None
    rng = np.random.default_rng(memory)
    values = fading_noise(rng, LANDSAT, memory, 60)
    values[rng.random(values.shape) < 0.3] = np.nan
    fit = harmonic()(values, LANDSAT)
    usual = np.median(np.diff(LANDSAT.years))
    tested = 0
    for pixel in np.flatnonzero(fit["r1"] > 0):
        valid = ~np.isnan(values[:, pixel])
        design, t, n = season_and_line(LANDSAT)[valid], LANDSAT.years[valid], valid.sum()
        rows = np.linalg.pinv(design)
        residuals = values[valid, pixel] - design @ (rows @ values[valid, pixel])
        correlation = np.exp(-np.abs(np.subtract.outer(t, t)) * -np.log(fit["r1"][pixel]) / usual)
        lever = rows[1] @ rows[1]
        effective = n * lever / (rows[1] @ correlation @ rows[1])
        stderr = np.sqrt(lever * (residuals @ residuals) / (effective - 4))
        expected = 2 * scipy.stats.t.sf(abs(fit["slope"][pixel]) / stderr, effective - 4)
        # Between two tabulated lengths of memory the inflation is taken as a straight line.
        assert fit["pvalue"][pixel] == pytest.approx(expected, rel=0.05)
        tested += 1
    assert tested > 30


def test_the_memory_is_the_one_whose_noise_is_as_alike():
    rng = np.random.default_rng(5)
    values = fading_noise(rng, LANDSAT, 40, 12)
    values[rng.random(values.shape) < 0.3] = np.nan
    r1 = harmonic()(values, LANDSAT)["r1"]
    usual = np.median(np.diff(LANDSAT.years))
    away = []
    for pixel in np.flatnonzero(r1 > 0):
        valid = ~np.isnan(values[:, pixel])
        design, t = season_and_line(LANDSAT)[valid], LANDSAT.years[valid]
        apart = np.abs(np.subtract.outer(t, t))
        near = np.exp(-apart / (4 * usual)) - np.eye(len(t))
        off = np.eye(len(t)) - design @ np.linalg.pinv(design)
        noise = np.linalg.cholesky(np.exp(apart * np.log(r1[pixel]) / usual)) @ rng.normal(size=(len(t), 2000))

        def alike(e, near=near):
            return (e * (near @ e)).sum(axis=0) / near.sum() * len(e) / (e**2).sum(axis=0)

        simulated = alike(off @ noise)
        observed = alike(off @ values[valid][:, [pixel]])[0]
        away.append((observed - np.median(simulated)) / np.std(simulated))
    assert len(away) > 8
    # The table is for dates lost at random, not just for these, and is the median of 128 series: 0.11.
    assert np.abs(away).max() < 0.35
    assert abs(np.mean(away)) < 0.15


@compiled_only
@pytest.mark.parametrize(
    ("axis", "memory", "least_of_ols"),
    [(landsat(1, 10), 16, 8), (landsat(1, 20), 30, 13), (IRREGULAR, 8, 8)],
    ids=["10 years", "20 years", "close and far"],
)
def test_memory_is_no_trend(axis, memory, least_of_ols):
    values = fading_noise(np.random.default_rng(8), axis, memory, 3000) + np.cos(2 * np.pi * axis.years)[:, None]
    fit = harmonic()(values, axis)
    found, independent = (100 * np.mean(fit[band] < 0.05) for band in ("pvalue", "pvalue_ols"))
    # 1.2 is three standard errors of a share of 5 % of 3000.
    assert found < 8
    assert independent > least_of_ols
    usual = 365.25 * np.median(np.diff(axis.years))
    assert np.median(fit["r1"]) == pytest.approx(np.exp(-usual / memory), abs=0.05)


def test_sparse_layers_on_the_calendar_are_judged_by_distance():
    """Of 23 layers a year a fifth is there: the axis is regular, but few neighbours are one step apart."""
    days = np.array([np.datetime64(f"{2000 + y}-01-01") + 16 * k * DAY for y in range(20) for k in range(23)])
    axis = TimeAxis.from_times(days[np.random.default_rng(4).random(len(days)) < 0.2])
    assert axis.index is not None
    assert harmonic().bind(axis, None, {}).memory is not None
    assert harmonic().bind(AXIS, None, {}).memory is None
    values = fading_noise(np.random.default_rng(8), axis, 30, 2000)
    fit = harmonic()(values, axis)
    assert 0.03 < (fit["pvalue"] < 0.05).mean() < 0.08 < (fit["pvalue_ols"] < 0.05).mean()


@compiled_only
def test_independent_noise_has_no_memory():
    values = fading_noise(np.random.default_rng(9), LANDSAT, 0, 3000)
    fit = harmonic()(values, LANDSAT)
    assert (fit["r1"] == 0).mean() > 0.4
    assert 3 < 100 * np.mean(fit["pvalue"] < 0.05) < 6.2
    none = fit["r1"] == 0
    # exp(-D / memory) is 0 of a memory shorter than 1 / 750 of D, too.
    np.testing.assert_allclose(fit["pvalue"][none], fit["pvalue_ols"][none], rtol=2e-3)


def test_so_slow_that_nothing_can_be_tested_at_irregular_dates():
    values = np.cos(2 * np.pi * (LANDSAT.years - 2000) / 7)[:, None] + 0.1 * seasonal(
        np.random.default_rng(1), LANDSAT, 1, 0.0
    )
    fit = harmonic()(values, LANDSAT)
    assert fit["status"][0] == Status.TEST_UNDEFINED
    assert np.isnan(fit["pvalue"][0])
    assert fit["r1"][0] > 0.8
    assert np.isfinite([fit[band][0] for band in ("slope", "pvalue_ols", "amplitude_1", "stderr")]).all()


def test_every_job_finds_the_same_memory():
    values = seasonal(np.random.default_rng(2), LANDSAT, 300)
    first = harmonic().bind(LANDSAT, None, {})
    second = pickle.loads(pickle.dumps(harmonic().bind(LANDSAT, ["r1", "pvalue"], {})))
    table, status = first((values,))
    again, status_again = second((np.ascontiguousarray(values[:, 7:]),))
    names = [band.name for band in first.bands]
    assert table[[names.index("r1"), names.index("pvalue")]][:, 7:].tobytes() == again.tobytes()
    assert status[7:].tobytes() == status_again.tobytes()


def test_dates_that_occur_twice():
    dates = np.sort(np.concatenate([LANDSAT.dates, LANDSAT.dates[::3]]))
    axis = TimeAxis.from_times(dates)
    fit = harmonic()(np.random.default_rng(3).normal(size=(len(axis), 50)), axis)
    assert (fit["status"] == Status.OK).all()
    assert (fit["pvalue"] >= fit["pvalue_ols"] * (1 - 1e-9)).all()


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
        (np.arange("1990", "2020", dtype="datetime64[Y]").astype("datetime64[D]") + 200 * DAY, harmonic()),
        (2000 + np.arange(40) / 4, harmonic(harmonics=2)),
    ],
    ids=["whole years", "one day of the year", "two harmonics of quarters"],
)
def test_dates_that_tell_no_season_are_refused(dates, method):
    axis = TimeAxis.from_times(dates)
    with pytest.raises(ParameterError, match="cannot separate"):
        method(np.zeros((len(axis), 1)), axis)


def test_bound_to_dates_without_a_season_each_pixel_says_so():
    axis = TimeAxis.from_times(np.arange(1990, 2020))
    _, status = harmonic().bind(axis, None, {})((np.random.default_rng(0).normal(size=(30, 3)),))
    assert (status == Status.DEGENERATE).all()


def test_further_inputs_are_refused():
    with pytest.raises(ParameterError, match="rain"):
        harmonic().bind(AXIS, None, {"rain": AXIS})


@pytest.mark.parametrize(("calendar", "days"), [("360_day", 360), ("noleap", 365), ("all_leap", 366)])
@pytest.mark.parametrize("peak", [1, 91, 271, 351])
def test_peaks_are_days_of_the_calendar(calendar, days, peak):
    """They were scaled to 365.25 days: 356.1 instead of 351."""
    dates = [datetime(year, month, 15) for year in range(2000, 2006) for month in range(1, 13)]
    axis = TimeAxis.from_dates(dates, ["day"] * len(dates), calendar)
    values = np.cos(2 * np.pi * (axis.years - (peak - 1) / days))[:, None]
    method = harmonic()
    bound = method.bind(axis, None, {})
    table, _ = bound((values,), "float64")
    found = {band.name: table[number] for number, band in enumerate(bound.bands)}
    off = (found["peak_1"][0] - peak + days / 2) % days - days / 2
    assert abs(off) < 1e-6
    np.testing.assert_allclose(method.predict(found, axis), values, atol=1e-9)


@pytest.mark.parametrize(
    ("months", "words"),
    [(12, "1.0 years: slope and season cannot be told apart"), (24, "2.0 years: a single unusual"), (60, None)],
)
def test_a_slope_from_few_years_is_warned_of(months, words):
    dates = [datetime(2000 + month // 12, month % 12 + 1, 1) for month in range(months)]
    axis = TimeAxis.from_dates(dates, ["day"] * months)
    found = harmonic().cautions(axis)
    assert found == () if words is None else found[0].startswith(words)
    assert harmonic(trend=False).cautions(axis) == ()
