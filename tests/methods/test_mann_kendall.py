"""`mann_kendall` against pyMannKendall 1.4.3, scipy and R: scores and variances exactly, ties, gaps, corrections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pymannkendall
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import pixelwise as pw
from pixelwise.bands import Status
from pixelwise.dates.axis import TimeAxis
from pixelwise.methods import correlation, mann_kendall
from pixelwise.methods.mann_kendall import EXACT, exact_pvalues
from support.compiled import PLAIN, compiled_only
from support.dates import DAY
from support.real_stacks import CASES

Shared = Callable[[str], Path]
YEARS = np.arange(1990.0, 2011.0)


def ar1(rng: Any, n: int, pixels: int, phi: float = 0.5, trend: float = 0.05) -> Any:
    """Return (time, pixel) of red noise with a trend, without ties."""
    noise = rng.normal(size=(n, pixels))
    for i in range(1, n):
        noise[i] += phi * noise[i - 1]
    return noise + trend * np.arange(n)[:, None]


def two_sided(z: Any) -> Any:
    return scipy.special.erfc(np.abs(z) / np.sqrt(2))


@pytest.mark.parametrize(
    ("n", "digits", "gaps"), [(4, 1, 0.0), (21, 6, 0.0), (21, 0, 0.2), (40, 1, 0.1), (150, 1, 0.1)]
)
def test_scores_and_variances_are_exact(n: int, digits: int, gaps: float) -> None:
    rng = np.random.default_rng(n)
    values = rng.normal(size=(n, 5 if PLAIN else 300)).round(digits)
    values[rng.random(values.shape) < gaps] = np.nan
    fit = mann_kendall()(values, np.arange(2000.0, 2000 + n))
    for p in np.flatnonzero(fit["status"] == 0)[:60]:
        valid = ~np.isnan(values[:, p])
        expected = pymannkendall.original_test(values[valid, p])
        assert (fit["s"][p], fit["var_s"][p], fit["z"][p]) == (expected.s, expected.var_s, expected.z)
        assert fit["pvalue"][p] == pytest.approx(two_sided(expected.z), rel=1e-14)
        assert fit["slope"][p] == pytest.approx(expected.slope, rel=1e-12) or gaps
        assert fit["tau"][p] == pytest.approx(scipy.stats.kendalltau(np.flatnonzero(valid), values[valid, p])[0])


@compiled_only
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(4, 60),
    levels=st.sampled_from([1, 3, 50]),
    gaps=st.sampled_from([0.0, 0.1, 0.5]),
    span=st.integers(2, 200),
)
def test_equal_dates_and_values_are_ties(seed: int, n: int, levels: int, gaps: float, span: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, levels + 1, (n, 3)).astype(np.float32)
    values[rng.random(values.shape) < gaps] = np.nan
    axis = TimeAxis.from_times(np.datetime64("2000-01-01") + np.sort(rng.integers(0, span, n)) * DAY)
    fit = mann_kendall()(values, axis)
    for p in np.flatnonzero(fit["status"] == 0):
        valid = ~np.isnan(values[:, p])
        expected = scipy.stats.kendalltau(axis.years[valid], values[valid, p], method="asymptotic")
        assert fit["tau"][p] == pytest.approx(expected.statistic, abs=1e-12)
        # Without correction for continuity, which scipy has not.
        assert two_sided(fit["s"][p] / np.sqrt(fit["var_s"][p])) == pytest.approx(expected.pvalue, rel=1e-9)


# --------------------------------------------------------------------------------------------- corrections


@pytest.mark.parametrize("n", [12, 21, 60])
@pytest.mark.parametrize(
    ("options", "oracle"),
    [
        ({"correction": "hamed_rao", "floor": False}, pymannkendall.hamed_rao_modification_test),
        (
            {"correction": "hamed_rao", "floor": False, "lags": 3},
            lambda y: pymannkendall.hamed_rao_modification_test(y, lag=3),
        ),
        ({"correction": "yue_wang", "floor": False}, lambda y: pymannkendall.yue_wang_modification_test(y, lag=1)),
        (
            {"correction": "yue_wang", "floor": False, "lags": 10**6},
            pymannkendall.yue_wang_modification_test,
        ),
        ({"correction": "prewhiten"}, pymannkendall.pre_whitening_modification_test),
    ],
    ids=["hamed_rao", "hamed_rao 3", "yue_wang", "yue_wang all", "prewhiten"],
)
def test_corrections_by_their_published_formula(n: int, options: dict[str, Any], oracle: Any) -> None:
    values = ar1(np.random.default_rng(n), n, 3 if PLAIN else 40)
    fit = mann_kendall(**options)(values, np.arange(1900.0, 1900 + n))
    tested = 0
    for p in range(values.shape[1]):
        with np.errstate(invalid="ignore"):
            expected = oracle(values[:, p])
        if not expected.var_s > 0:
            assert fit["status"][p] == Status.TEST_UNDEFINED
            assert np.isnan([fit["z"][p], fit["pvalue"][p]]).all()
            continue
        tested += 1
        assert fit["status"][p] == 0
        assert fit["s"][p] == expected.s
        assert fit["var_s"][p] == pytest.approx(expected.var_s, rel=1e-9)
        assert fit["z"][p] == pytest.approx(expected.z, rel=1e-9)
        assert fit["slope"][p] == pytest.approx(expected.slope, rel=1e-12)
        assert fit["n"][p] == n
    assert tested >= 0.8 * values.shape[1]


@pytest.mark.parametrize("correction", ["hamed_rao", "yue_wang"])
def test_the_floor(correction: Any) -> None:
    values = ar1(np.random.default_rng(1), 21, 60, phi=-0.5)
    plain, floored = mann_kendall()(values, YEARS), mann_kendall(correction=correction)(values, YEARS)
    free = mann_kendall(correction=correction, floor=False)(values, YEARS)
    usable = free["status"] == 0
    assert (free["var_s"] < plain["var_s"])[usable].mean() > 0.5
    np.testing.assert_array_equal(floored["var_s"][usable], np.maximum(free["var_s"], plain["var_s"])[usable])
    assert (floored["status"] == 0).all()


def correlation_in_plain_words(y: Any, lag: int) -> float:
    """NaN where missing; pairs that are missing count as the mean of those that are there."""
    d = y - np.nanmean(y)
    products = d[lag:] * d[:-lag]
    valid = np.flatnonzero(~np.isnan(y))
    steps = valid[-1] - valid[0] + 1
    if np.isnan(products).all():
        return 0.0
    return float(np.nanmean(products) * (1 - lag / steps) / np.nanmean(d**2))


@pytest.mark.parametrize("lags", [1, 3])
def test_lags_are_steps_of_the_calendar_not_of_the_list(lags: int) -> None:
    rng = np.random.default_rng(2)
    values = ar1(rng, 21, 30)
    values[rng.random(values.shape) < 0.25] = np.nan
    fit = mann_kendall(correction="yue_wang", lags=lags, floor=False)(values, YEARS)
    plain = mann_kendall()(values, YEARS)
    whitened = mann_kendall(correction="prewhiten")(values, YEARS)
    for p in np.flatnonzero(fit["status"] == 0):
        n = plain["n"][p]
        r = [correlation_in_plain_words(values[:, p] - plain["slope"][p] * YEARS, k) for k in range(1, lags + 1)]
        factor = 1 + 2 * sum((1 - (k + 1) / n) * r[k] for k in range(lags))
        assert fit["var_s"][p] == pytest.approx(factor * plain["var_s"][p], rel=1e-9)
        rest = values[1:, p] - correlation_in_plain_words(values[:, p], 1) * values[:-1, p]
        if (~np.isnan(rest)).sum() > 3:
            expected = pymannkendall.original_test(rest[~np.isnan(rest)])
            assert (whitened["s"][p], whitened["var_s"][p]) == (expected.s, expected.var_s)
            assert whitened["n"][p] == n


def test_layers_that_are_missing_altogether_are_gaps() -> None:
    values = ar1(np.random.default_rng(3), 21, 10)
    values[[4, 5, 11]] = np.nan
    kept = np.delete(np.arange(21), [4, 5, 11])
    for correction in ("hamed_rao", "yue_wang", "prewhiten"):
        method = mann_kendall(correction=correction)  # type: ignore[arg-type]
        whole, shorter = method(values, YEARS), method(values[kept], YEARS[kept])
        for name in whole:
            np.testing.assert_array_equal(whole[name], shorter[name])


def test_what_prewhitening_leaves_may_be_too_little() -> None:
    values = np.full((21, 2), np.nan)
    values[::3, 0] = np.arange(7)  # no neighbours at all
    values[:, 1] = np.nan
    fit = mann_kendall(correction="prewhiten")(values, YEARS)
    assert fit["status"].tolist() == [Status.TEST_UNDEFINED, Status.NO_OBSERVATION]
    assert fit["n"].tolist() == [7, 0]
    assert fit["slope"][0] == pytest.approx(1 / 3)
    assert np.isnan([fit[name][0] for name in ("s", "var_s", "z", "pvalue", "tau")]).all()


def test_corrections_need_regular_steps() -> None:
    axis = TimeAxis.from_times(np.array(["2000-01-01", "2000-03-07", "2001-05-05", "2001-11-30"], "datetime64[D]"))
    mann_kendall()(np.arange(4.0), axis)
    with pytest.raises(pw.ParameterError, match=r"mann_kendall needs layers at regular steps.*--composite"):
        mann_kendall(correction="yue_wang")(np.arange(4.0), axis)


# -------------------------------------------------------------------------------------------- exact p-values


@pytest.mark.parametrize("n", [4, 5, 12, 30])
def test_the_exact_distribution(n: int) -> None:
    values = ar1(np.random.default_rng(n), n, 20)
    fit = mann_kendall(exact=True)(values, np.arange(n))
    for p in range(20):
        expected = scipy.stats.kendalltau(np.arange(n), values[:, p], method="exact")
        assert fit["pvalue"][p] == pytest.approx(expected.pvalue, rel=1e-9)
    values[0] = values[1]
    tied = mann_kendall(exact=True)(values, np.arange(n))
    np.testing.assert_array_equal(tied["pvalue"], mann_kendall()(values, np.arange(n))["pvalue"])


def test_series_of_other_lengths_have_other_tables() -> None:
    values = ar1(np.random.default_rng(0), EXACT + 4, 12)
    for p in range(12):
        values[: 5 * p, p] = np.nan
    fit = mann_kendall(exact=True, min_obs=3)(values, np.arange(EXACT + 4.0))
    plain = mann_kendall(min_obs=3)(values, np.arange(EXACT + 4.0))
    for p in np.flatnonzero(fit["status"] == 0):
        valid = ~np.isnan(values[:, p])
        expected = scipy.stats.kendalltau(np.flatnonzero(valid), values[valid, p], method="exact").pvalue
        assert fit["pvalue"][p] == pytest.approx(expected if valid.sum() <= EXACT else plain["pvalue"][p], rel=1e-9)


def test_beyond_the_tables_the_normal_distribution_is_near() -> None:
    n = EXACT
    s = np.arange(n * (n - 1) // 2 + 1)
    s = s[s % 2 == (n * (n - 1) // 2) % 2]
    exact = exact_pvalues(n, n)[s]
    normal = two_sided((s - np.sign(s)) / np.sqrt(n * (n - 1) * (2 * n + 5) / 18))
    near = (exact > 0.03) & (exact < 0.07)
    assert np.abs(exact - normal)[near].max() < 6e-4


# ------------------------------------------------------------------------------------------------ real data


@compiled_only
@pytest.mark.parametrize("name", CASES)
def test_real_stacks(shared: Shared, tmp_path: Path, name: str) -> None:
    """Scores and variances of pyMannKendall, where it was asked; tau, p and Spearman's rho of R's cor.test."""
    ours, theirs = (
        np.genfromtxt(shared(f"reference_answers/{file}"), delimiter=",", names=True, dtype=None, encoding="utf-8")
        for file in ("r_lm_kendall.csv", "pymannkendall.csv")
    )
    stack = CASES[name].open(shared, tmp_path)
    layers = stack.read(stack.grid.block)
    rows = ours[ours["set"] == name]
    fit = mann_kendall()(layers[:, rows["row"], rows["col"]].astype(np.float64), stack.axis)
    np.testing.assert_allclose(fit["tau"], rows["kendall_taub"], rtol=1e-9, atol=1e-15)
    series = layers[:, rows["row"], rows["col"]].astype(np.float64)
    times = np.repeat(stack.axis.years[:, None], series.shape[1], axis=1)
    ranked = correlation(kind="spearman")(series, stack.axis, time=times)
    np.testing.assert_allclose(ranked["rvalue"], rows["spearman_rho"], rtol=1e-9, atol=1e-15)
    # R does not correct for continuity.
    p = two_sided(fit["s"] / np.sqrt(fit["var_s"]))
    np.testing.assert_allclose(p, rows["kendall_p"], rtol=1e-9)
    rows = theirs[theirs["set"] == name]
    if not len(rows):
        return
    fit = mann_kendall()(layers[:, rows["row"], rows["col"]].astype(np.float64), stack.axis)
    np.testing.assert_array_equal(fit["n"], rows["n"])
    np.testing.assert_array_equal(fit["s"], rows["mk_S"])
    np.testing.assert_array_equal(fit["var_s"], rows["mk_varS"])
    np.testing.assert_allclose(fit["z"], rows["mk_z"], rtol=1e-14)
    # Its p-values are 2 (1 - cdf), good to 1e-16 only.
    np.testing.assert_allclose(fit["pvalue"], rows["mk_p"], rtol=1e-9, atol=5e-16)


# ------------------------------------------------------------------------------------------------- mistakes


def test_status() -> None:
    values = np.random.default_rng(0).normal(size=(12, 5))
    values[:, 0] = np.nan
    values[2:, 1] = np.nan
    values[:, 2] = 0.1
    values[3, 3] = np.inf
    values[4:, 4] = np.nan
    times = np.r_[[2000.0] * 4, np.arange(2001, 2009)]
    fit = mann_kendall()(values, times)
    assert [Status(code).name for code in fit["status"]] == [
        "NO_OBSERVATION",
        "TOO_FEW",
        "CONSTANT",
        "TEST_UNDEFINED",
        "DEGENERATE",
    ]
    np.testing.assert_array_equal(fit["slope"], [np.nan, np.nan, 0, np.nan, np.nan])
    np.testing.assert_array_equal(fit["s"], [np.nan, np.nan, 0, np.nan, np.nan])
    for name in ("tau", "z", "pvalue"):
        assert np.isnan(fit[name]).all()
    apart = mann_kendall()(values, np.arange(2000, 2012))
    assert apart["status"].tolist() == [1, 2, 3, 6, 0]
    assert np.isnan([apart["s"][3], apart["pvalue"][3]]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"correction": "hamedrao"}, "'hamedrao'.*did you mean 'hamed_rao'"),
        ({"lags": 3}, "lags=3 is for correction=hamed_rao or yue_wang, not for none"),
        ({"correction": "yue_wang", "lags": 0}, "lags=0: mann_kendall needs a whole number, at least 1"),
        ({"correction": "prewhiten", "floor": False}, "floor=False is for .* not for prewhiten"),
        ({"correction": "yue_wang", "exact": True}, "exact=True cannot be combined with correction=yue_wang"),
        ({"min_obs": 2}, "min_obs=2: mann_kendall needs a whole number, at least 3"),
    ],
)
def test_parameters(options: dict[str, Any], message: str) -> None:
    with pytest.raises(pw.ParameterError, match=message):
        mann_kendall(**options)
