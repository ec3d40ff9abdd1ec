"""`trend` against its formulas in plain NumPy, and what it does to noise."""

from __future__ import annotations

import runpy
from typing import Any

import numpy as np
import pytest
import scipy.stats

import pixelwise as pw
from pixelwise.bands import Status
from pixelwise.dates.axis import TimeAxis
from pixelwise.methods import theil_sen, trend
from pixelwise.methods.autocorrelation import curves_up_to
from support.compiled import PLAIN, compiled_only
from support.oracles import trend_oracle
from support.places import ROOT

BENCHMARKS = ROOT / "benchmarks"
YEARS = TimeAxis.from_times(np.arange(2000.0, 2021.0))
MONTHS = TimeAxis.from_times(np.arange("2000-01", "2004-01", dtype="M8[M]").astype("M8[D]"))


def red_noise(layers: int, pixels: int, phi: float, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(layers, pixels))
    for i in range(1, layers):
        noise[i] = phi * noise[i - 1] + np.sqrt(1 - phi**2) * noise[i]
    return noise


@pytest.mark.parametrize(("axis", "per_year"), [(YEARS, 1), (MONTHS, 12)], ids=["years", "months"])
@pytest.mark.parametrize(("phi", "gaps"), [(0.0, 0.0), (0.5, 0.15), (0.95, 0.0), (-0.5, 0.5)])
def test_the_formulas(axis: TimeAxis, per_year: float, phi: float, gaps: float) -> None:
    values = red_noise(len(axis), 30, phi) + 0.05 * np.arange(len(axis))[:, None]
    values[np.random.default_rng(1).random(values.shape) < gaps] = np.nan
    fit = trend().bind(axis, [band.name for band in trend().bands], {})((values,))
    found = dict(zip((band.name for band in trend().bands), fit[0], strict=True))
    compared = 0
    for p in range(30):
        if np.isfinite(values[:, p]).sum() < 5:
            continue
        compared += 1
        assert fit[1][p] == 0
        for name, value in trend_oracle(axis.years, values[:, p], per_year).items():
            assert found[name][p] == pytest.approx(value, rel=1e-8), name
    assert compared >= 25


@compiled_only
def test_a_step_is_not_taken_for_memory() -> None:
    """Clear-cuts in the 7th, 10th or 13th of 21 years: what is tested is the noise about the step."""
    rng = np.random.default_rng(3)
    for gaps, least in ((0.0, 0.8), (0.3, 0.55), (0.5, 0.4)):
        for year in (7, 10, 13):
            values = rng.normal(0.8, 0.03, (21, 1000))
            values[year:] -= 0.35
            values[rng.random(values.shape) < gaps] = np.nan
            fit = trend()(values, YEARS)
            tested = fit["n"] >= 5
            assert np.isfinite(fit["pvalue"][tested]).all()
            assert (fit["pvalue"][tested] < 0.05).mean() > least
            assert (fit["slope"][fit["pvalue"] < 0.05] < 0).all()


def test_a_step_without_noise_has_no_memory() -> None:
    values = np.where(np.arange(21) < 9, 0.8, 0.45)[:, None]
    fit = trend()(values, YEARS)
    assert fit["r1"][0] == 0
    assert fit["pvalue"][0] == fit["pvalue_ols"][0] < 1e-4
    assert fit["detectable_slope"][0] == np.inf  # to a line the step is noise, and strongly correlated


@compiled_only
@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(1).poisson(0.4, (21, 3000)),
        np.random.default_rng(2).poisson(np.linspace(1, 5, 21)[:, None], (21, 3000)),
        np.round(np.random.default_rng(3).normal(2, 0.5, (21, 3000)) + np.linspace(0, 0.6, 21)[:, None]).clip(1, 3),
    ],
    ids=["fires", "counts", "classes"],
)
def test_no_slope_of_0_where_a_trend_is_found(values: Any) -> None:
    """The median slope of mostly equal values is 0: where a trend is found, it is that of the tested line."""
    bands = ["slope", "low_slope", "high_slope", "ols_slope", "pvalue", "r1", "intercept"]
    (slope, low, high, line, pvalue, r1, intercept), status = trend().bind(YEARS, bands, {})((values.astype(float),))
    ok = status == 0
    significant = ok & (pvalue < 0.05)
    assert significant.mean() > 0.02
    assert not (slope[significant] == 0).any()
    assert (np.sign(slope) == np.sign(line))[significant].all()
    sen = theil_sen()(values.astype(float), YEARS)["slope"]
    replaced = significant & (sen == 0)
    np.testing.assert_array_equal(slope[ok & ~replaced], sen[ok & ~replaced])
    np.testing.assert_array_equal(slope[replaced], line[replaced])
    assert ((low > 0) | (high < 0))[replaced].all()
    for p in np.flatnonzero(replaced)[:50]:
        fit = scipy.stats.linregress(YEARS.years, values[:, p])
        assert (slope[p], intercept[p]) == pytest.approx((fit.slope, fit.intercept), rel=1e-9)
        n_e = max(21 * (1 - max(r1[p], 0)) / (1 + max(r1[p], 0)), 3)
        margin = scipy.stats.t.isf(0.025, n_e - 2) * fit.stderr * np.sqrt(19 / (n_e - 2))
        assert (low[p], high[p]) == pytest.approx((fit.slope - margin, fit.slope + margin), rel=1e-6)


@compiled_only
def test_an_outlier_does_not_turn_the_slope_of_whole_numbers() -> None:
    """Bytes rising by 0.5 a year, in one year a cloud: limits may be 0 by ties, the slope stays the median one."""
    values = np.round(np.random.default_rng(5).normal(120, 3, (21, 2000)) + 0.5 * np.arange(21)[:, None])
    values[18] -= 60
    fit, sen = trend()(values, YEARS), theil_sen()(values, YEARS)
    assert (fit["slope"] > 0).mean() > 0.99
    assert (fit["slope"] == sen["slope"]).mean() > 0.99


def test_bands_do_not_depend_on_which_are_wanted() -> None:
    values = np.random.default_rng(4).poisson(1.0, (21, 20 if PLAIN else 200)).astype(float)
    whole = trend()(values, YEARS)
    for band in whole:
        if band != "status":
            one, _ = trend().bind(YEARS, [band], {})((values,))
            np.testing.assert_array_equal(one[0], whole[band], err_msg=band)


@pytest.mark.parametrize("n", [5, 8, 21, 100])
def test_the_table_of_autocorrelation_is_that_of_simulated_series(n: int) -> None:
    """Of other series than it is made of: 1.25 * sd / sqrt(series) is the error of a median, sd at most 1 / sqrt(n)."""
    script = runpy.run_path(str(BENCHMARKS / "autocorrelation.py"))
    curves, phis = curves_up_to(n)
    assert tuple(phis) == script["PHIS"]
    simulated = script["curves"](n, seed=2, values=100_000)
    np.testing.assert_allclose(curves[n], np.maximum.accumulate(simulated, axis=1), atol=5 * 1.25 / np.sqrt(100_000))
    assert (np.diff(curves, axis=2) >= 0).all()


@compiled_only
def test_false_trends_are_as_rare_as_said() -> None:
    """Rates of `benchmarks/error_rates.py` with 20 000 series; here 4000, whose standard error is 0.4 %."""
    for phi, least, most in ((0.0, 0.03, 0.06), (0.2, 0.03, 0.09), (0.4, 0.03, 0.09)):
        fit = trend()(red_noise(21, 4000, phi, seed=1), YEARS)
        assert least < (fit["pvalue"] < 0.05).mean() < most
    assert (fit["pvalue_ols"] < 0.05).mean() > 0.15


@compiled_only
def test_power_is_little_less_than_that_of_ols() -> None:
    fit = trend()(red_noise(21, 4000, 0.0, seed=2) + 0.09 * np.arange(21)[:, None], YEARS)
    assert (fit["pvalue"] < 0.05).mean() >= 0.85 * (fit["pvalue_ols"] < 0.05).mean()


@compiled_only
def test_limits_cover_the_slope_in_spite_of_memory() -> None:
    for phi, least in ((0.0, 0.94), (0.4, 0.90)):
        fit = trend()(red_noise(21, 4000, phi, seed=1), YEARS)
        assert ((fit["low_slope"] <= 0) & (fit["high_slope"] >= 0)).mean() > least


@compiled_only
@pytest.mark.parametrize(("phi", "least"), [(0.0, 0.87), (0.4, 0.83)])
def test_a_detectable_slope_is_detected_in_nine_of_ten(phi: float, least: float) -> None:
    """Each of other series, of the same noise. Rates of benchmarks/error_rates.py: 91 and 86 %."""
    times = np.arange(1980.0, 2021)
    slopes = trend()(red_noise(41, 4000, phi, seed=3), times)["detectable_slope"]
    told = np.isfinite(slopes)
    assert told.mean() > 0.95
    fit = trend()(red_noise(41, 4000, phi, seed=4)[:, told] + slopes[told] * np.arange(41)[:, None], times)
    assert least < (fit["pvalue"] < 0.05).mean() < 0.93


@compiled_only
def test_years_to_detect() -> None:
    """Of a trend that is found in nine of ten series of 41 years, that is as long as is needed."""
    fit = trend()(red_noise(41, 3000, 0.0, seed=3) + 0.048 * np.arange(41)[:, None], np.arange(1980.0, 2021))
    assert 0.85 < (fit["pvalue"] < 0.05).mean() < 0.93
    assert np.median(fit["years_to_detect"]) == pytest.approx(41, rel=0.1)


def test_status() -> None:
    values = red_noise(21, 8, 0.0)
    values[:, 0] = np.nan
    values[4:, 1] = np.nan
    values[:, 2] = 0.3
    values[2, 3] = np.inf
    values[1::2, 4] = np.nan  # neighbours are two years apart
    values[:, 5] *= 1e200
    values[:, 6] = 2.0 * np.arange(21)
    fit = trend()(values, YEARS)
    assert [Status(code).name for code in fit["status"]] == [
        "NO_OBSERVATION",
        "TOO_FEW",
        "CONSTANT",
        "TEST_UNDEFINED",
        "OK",
        "TEST_UNDEFINED",
        "OK",
        "OK",
    ]
    assert fit["slope"][2] == fit["ols_slope"][2] == 0
    assert np.isfinite([fit["slope"][4], fit["pvalue"][4], fit["slope"][5]]).all()
    # A line without residuals.
    assert (fit["pvalue"][6], fit["detectable_slope"][6], fit["years_to_detect"][6]) == (0, 0, 0)
    assert fit["low_slope"][6] == fit["high_slope"][6] == 2


def test_it_needs_regular_steps() -> None:
    days = np.array(["2000-01-03", "2000-02-09", "2001-04-30", "2002-11-01", "2003-01-02"], "M8[D]")
    with pytest.raises(pw.ParameterError, match="trend needs layers at regular steps"):
        trend()(np.zeros(5), days)
    with pytest.raises(pw.ParameterError, match="min_obs=4: trend needs a whole number, at least 5"):
        trend(min_obs=4)
    with pytest.raises(pw.ParameterError, match="confidence_level=1: trend needs"):
        trend(confidence_level=1)
