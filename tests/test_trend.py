"""`trend` against its formulas in plain NumPy, and what it does to noise."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import scipy.stats

import pixelwise as pw
from pixelwise.method import Status
from pixelwise.methods import mann_kendall, theil_sen, trend
from pixelwise.times import TimeAxis

#: Plain Python takes minutes for thousands of series.
compiled_only = pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="compiled only: many series")

YEARS = TimeAxis.from_times(np.arange(2000.0, 2021.0))
MONTHS = TimeAxis.from_times(np.arange("2000-01", "2004-01", dtype="M8[M]").astype("M8[D]"))


def red_noise(layers: int, pixels: int, phi: float, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(layers, pixels))
    for i in range(1, layers):
        noise[i] = phi * noise[i - 1] + np.sqrt(1 - phi**2) * noise[i]
    return noise


def in_plain_words(t: Any, y: Any, index: Any, per_year: float) -> dict[str, float]:
    """Fit one series; NaN where missing."""
    valid = ~np.isnan(y)
    n, line = valid.sum(), scipy.stats.linregress(t[valid], y[valid])
    e = np.full(index[-1] + 1, np.nan)
    e[index[valid]] = y[valid] - line.intercept - line.slope * t[valid]
    r = np.nanmean(e[1:] * e[:-1]) * (n - 1) / np.nansum(e**2)
    r1 = r + (1 + 4 * r) / n
    phi = max(r1, 0)
    effective = n * (1 - phi) / (1 + phi)
    sxx, rss = ((t[valid] - t[valid].mean()) ** 2).sum(), np.nansum(e**2)
    sd = np.sqrt(rss / (n - 2))
    inflation = np.sqrt((1 + phi) / (1 - phi)) if phi < 1 else np.inf
    found = {
        "ols_slope": line.slope,
        "pvalue_ols": line.pvalue,
        "r1": r1,
        "detectable_slope": 3.3 * sd * inflation / np.sqrt(sxx),
        "years_to_detect": (3.3 * sd / abs(line.slope) * np.sqrt(12 / per_year) * inflation) ** (2 / 3),
    }
    if effective >= 3:
        stderr = np.sqrt(rss / (effective - 2) / sxx)
        found["pvalue"] = 2 * scipy.stats.t.sf(abs(line.slope) / stderr, effective - 2)
    return found


@pytest.mark.parametrize(("axis", "per_year"), [(YEARS, 1), (MONTHS, 12)], ids=["years", "months"])
@pytest.mark.parametrize(("phi", "gaps"), [(0.0, 0.0), (0.5, 0.15), (0.95, 0.0)])
def test_the_formulas(axis: TimeAxis, per_year: float, phi: float, gaps: float) -> None:
    values = red_noise(len(axis), 60, phi) + 0.05 * np.arange(len(axis))[:, None]
    values[np.random.default_rng(1).random(values.shape) < gaps] = np.nan
    fit = trend()(values, axis)
    assert axis.index is not None
    undefined = 0
    for p in range(60):
        expected = in_plain_words(axis.years, values[:, p], axis.index, per_year)
        assert fit["status"][p] == (0 if "pvalue" in expected else Status.TEST_UNDEFINED)
        if "pvalue" not in expected:
            undefined += 1
            assert np.isnan(fit["pvalue"][p])
        for name, value in expected.items():
            assert fit[name][p] == pytest.approx(value, rel=1e-9), name
    assert undefined > 0 or phi < 0.9 or len(axis) > 21
    pairs, test = theil_sen()(values, axis), mann_kendall(correction="yue_wang", min_obs=5)(values, axis)
    for name in ("slope", "low_slope", "high_slope", "n"):
        np.testing.assert_array_equal(fit[name], pairs[name])
    np.testing.assert_array_equal(fit["pvalue_mk"], test["pvalue"])


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
def test_a_detectable_slope_is_detected_in_nine_of_ten() -> None:
    noise = red_noise(41, 3000, 0.0, seed=3)
    times = np.arange(1980.0, 2021)
    slope = np.median(trend()(noise, times)["detectable_slope"])
    fit = trend()(noise + slope * np.arange(41)[:, None], times)
    assert 0.85 < (fit["pvalue_ols"] < 0.05).mean() < 0.95
    # A series that long is as long as is needed.
    assert np.median(fit["years_to_detect"]) == pytest.approx(41, rel=0.05)


def test_status() -> None:
    values = red_noise(21, 8, 0.0)
    values[:, 0] = np.nan
    values[4:, 1] = np.nan
    values[:, 2] = 0.3
    values[2, 3] = np.inf
    values[1::2, 4] = np.nan  # no neighbours
    values[:, 5] *= 1e200
    values[:, 6] = 2.0 * np.arange(21)
    fit = trend()(values, YEARS)
    assert [Status(code).name for code in fit["status"]] == [
        "NO_OBSERVATION",
        "TOO_FEW",
        "CONSTANT",
        "TEST_UNDEFINED",
        "TEST_UNDEFINED",
        "TEST_UNDEFINED",
        "OK",
        "OK",
    ]
    assert fit["slope"][2] == fit["ols_slope"][2] == 0
    assert np.isfinite([fit["slope"][4], fit["pvalue_ols"][4], fit["slope"][5]]).all()
    # A line without residuals.
    assert (fit["pvalue"][6], fit["detectable_slope"][6], fit["years_to_detect"][6]) == (0, 0, 0)


def test_it_needs_regular_steps() -> None:
    days = np.array(["2000-01-03", "2000-02-09", "2001-04-30", "2002-11-01", "2003-01-02"], "M8[D]")
    with pytest.raises(pw.ParameterError, match="trend needs layers at regular steps"):
        trend()(np.zeros(5), days)
    with pytest.raises(pw.ParameterError, match="min_obs=4: trend needs a whole number, at least 5"):
        trend(min_obs=4)
    with pytest.raises(pw.ParameterError, match="confidence_level=1: trend needs"):
        trend(confidence_level=1)
