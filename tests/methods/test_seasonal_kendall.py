"""`seasonal_kendall` against scipy, and series without their seasons against pandas."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pymannkendall
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import pixelwise as pw
from pixelwise.bands import Status
from pixelwise.dates.axis import TimeAxis
from pixelwise.dates.slots import seasons_of
from pixelwise.kernels.pvalues import chi_square_tail
from pixelwise.methods import mann_kendall, seasonal_kendall, theil_sen
from support.compiled import PLAIN, compiled_only
from support.dates import DAY, MONTH
from support.rasters import MakeStack

MONTHS = TimeAxis.from_times(np.arange("2000-01", "2012-01", dtype="datetime64[M]").astype("datetime64[D]"))


def seasonal_noise(seed: int, pixels: int = 30, digits: int = 2, gaps: float = 0.1, axis: TimeAxis = MONTHS) -> Any:
    """Return (time, pixel): a cycle, a trend, noise that lasts for months, ties and gaps."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(len(axis), pixels))
    for i in range(1, len(axis)):
        noise[i] += 0.5 * noise[i - 1]
    years = axis.years[:, None]
    values = (noise + 5 * np.sin(2 * np.pi * years) + 0.05 * (years - 2000)).round(digits)
    values[rng.random(values.shape) < gaps] = np.nan
    return values


def by_year(series: Any, seasons: Any, axis: TimeAxis = MONTHS) -> Any:
    """Return (year, season) of a series, as scipy wants it."""
    table = pd.Series(series, index=pd.MultiIndex.from_arrays([axis.calendar_years, seasons])).unstack()
    return np.ma.masked_invalid(table.loc[:, table.count() > 0].to_numpy())


@pytest.mark.parametrize(("digits", "gaps"), [(6, 0.0), (2, 0.1), (0, 0.3)])
def test_p_values_are_those_of_scipy(digits: int, gaps: float) -> None:
    values = seasonal_noise(1, 6 if PLAIN else 15, digits, gaps)
    fit = seasonal_kendall()(values, MONTHS)
    assert (fit["status"] == 0).all()
    months = np.arange(len(MONTHS)) % 12
    for p in range(values.shape[1]):
        table = by_year(values[:, p], months)
        expected = scipy.stats.mstats.kendalltau_seasonal(table)
        assert fit["pvalue"][p] == pytest.approx(float(expected["global p-value (dep)"]), rel=1e-9)
        assert fit["pvalue_independent"][p] == pytest.approx(float(expected["global p-value (indep)"]), rel=1e-9)
        assert fit["tau"][p] == pytest.approx(float(expected["global tau (alt)"]), rel=1e-9)


def months_of(years: int) -> TimeAxis:
    return TimeAxis.from_times(
        np.arange("2000-01", f"{2000 + years}-01", dtype="datetime64[M]").astype("datetime64[D]")
    )


@compiled_only
@pytest.mark.parametrize(
    ("years", "least", "rising"), [(2, 0.3, 0.3593), (3, 0.08, 0.1277), (4, 0.02, 0.04445), (5, 0.0, 0.01514)]
)
def test_what_few_years_can_show(years: int, least: float, rising: float) -> None:
    """The numbers of the docstring and the warning: of seasons that all rise, of noise, of what is in between."""
    rng = np.random.default_rng(years)
    axis, pixels = months_of(years), 3000
    values = rng.normal(size=(len(axis), pixels)) + axis.years[:, None] * rng.uniform(0, 3, pixels)
    values[:, 0] = axis.calendar_years
    fit = seasonal_kendall(min_obs=3)(values, axis)
    assert np.nanmin(fit["pvalue"]) > least
    assert fit["pvalue"][0] == pytest.approx(rising, abs=5e-4)
    noise = seasonal_kendall(min_obs=3)(rng.normal(size=(len(axis), pixels)), axis)["pvalue"]
    assert (noise < 0.05).mean() == pytest.approx({4: 0.0015, 5: 0.01}.get(years, 0), abs=0.005)
    if years == 2:
        assert fit["pvalue_independent"][0] == pytest.approx(0.0015, abs=5e-5)


def test_a_few_years_are_warned_of(make_stack: MakeStack) -> None:
    def told(axis: TimeAxis, **options: Any) -> tuple[str, ...]:
        return seasonal_kendall(**options).cautions(axis)

    [text] = told(months_of(4))
    assert text.startswith(
        "seasonal_kendall detects almost nothing below 5 years: with 4 years of a season, pvalue is a"
    )
    assert "with 3 years of a season, pvalue is never below 0.08" in told(months_of(3))[0]
    assert "with 1 year of a season" in told(months_of(1))[0]
    assert told(months_of(5)) == told(MONTHS) == ()
    # From July to June: five calendar years, but four of each month.
    middle = TimeAxis.from_times(MONTHS.days[6:54])
    assert len(set(middle.calendar_years.tolist())) == 5
    assert "with 4 years" in told(middle)[0]
    quarters = TimeAxis.from_times(MONTHS.days[:60:3])
    assert told(quarters, season="quarter") == ()
    assert len(told(TimeAxis.from_times(MONTHS.days[:48:3]), season="quarter")) == 1
    # In the tags of a map.
    for years in (4, 5):
        dates = [str(day)[:7] for day in months_of(years).days]
        values = np.random.default_rng(0).random((len(dates), 3, 4)).astype(np.float32)
        made = pw.apply(pw.open_stack(make_stack(values, dates, folder=f"of_{years}")), "seasonal_kendall")
        found = [line for line in made.provenance.get("warnings", ()) if "detects almost nothing" in line]
        assert found == ([text] if years == 4 else [])


@pytest.mark.parametrize(
    ("season", "every"), [("month", "month"), ("quarter", "season"), (12, "month"), (36, "dekad"), (24, None)]
)
def test_the_advice_for_several_layers_of_a_season_works(make_stack: MakeStack, season: Any, every: str | None) -> None:
    days = np.arange("2000-01-03", "2001-12-31", 6, dtype="datetime64[D]")
    values = np.random.default_rng(0).random((len(days), 2, 2)).astype(np.float32)
    stack = pw.open_stack(make_stack(values, [f"{day}" for day in days]))
    with pytest.raises(pw.ParameterError, match="expected one layer: ") as caught:
        pw.apply(stack, seasonal_kendall(season=season))
    if every is None:
        assert "--composite" not in str(caught.value)
        return
    assert f"combine them (--composite HOW --every {every}), or give" in str(caught.value)
    made = pw.apply(stack.composite("max", every=every), seasonal_kendall(season=season))  # type: ignore[arg-type]
    assert (made.status == 0).all()
    assert made["n"].max() > 5


def halves(years: Any) -> Any:
    return np.array([f"{year}-{day}" for year in years for day in ("01-01", "07-01")], "M8[D]")


def test_slopes_are_those_of_scipy_where_years_are_whole() -> None:
    # sen_seasonal_slopes counts in rows; so do years where each season has the same day.
    axis = TimeAxis.from_times(
        np.array([f"{year}-{day}" for year in range(1990, 2010) for day in ("01-01", "07-01")], "M8[D]")
    )
    values = seasonal_noise(2, axis=axis, gaps=0.0)
    fit = seasonal_kendall(season=2)(values, axis)
    for p in range(values.shape[1]):
        expected = scipy.stats.mstats.sen_seasonal_slopes(np.ma.array(values[:, p].reshape(-1, 2)))
        # Years of 365 and 366 days: the median moves by as much.
        assert fit["slope"][p] == pytest.approx(float(np.ma.getdata(expected[1])), rel=3e-3)


def test_scores_are_those_of_pymannkendall() -> None:
    values = seasonal_noise(3, gaps=0.0)
    fit = seasonal_kendall()(values, MONTHS)
    everything = [band.name for band in seasonal_kendall().bands]
    table, _ = seasonal_kendall().bind(MONTHS, everything, {})((values,))
    more = dict(zip(everything, table, strict=True))
    for p in range(values.shape[1]):
        independent = pymannkendall.seasonal_test(values[:, p], period=12)
        dependent = pymannkendall.correlated_seasonal_test(values[:, p], period=12)
        assert (fit["s"][p], more["var_s_independent"][p]) == (independent.s, independent.var_s)
        assert (fit["s"][p], fit["var_s"][p]) == (dependent.s, pytest.approx(dependent.var_s, rel=1e-9))


def test_homogeneity() -> None:
    years = MONTHS.years - 2000
    noise = np.random.default_rng(0).normal(size=(len(MONTHS), 2))
    noise[:, 1] += 0.8 * years * np.where(np.arange(len(MONTHS)) % 12 < 6, 1, -1)
    fit = seasonal_kendall()(noise, MONTHS)
    same, opposite = fit["pvalue_homogeneity"]
    assert same > 0.05
    assert opposite < 1e-6
    assert fit["pvalue"][1] > 0.05  # hidden by each other


@pytest.mark.parametrize("season", [2, 4])
def test_homogeneity_by_the_formula(season: int) -> None:
    axis = TimeAxis.from_times(np.arange("2000-01", "2020-01", 12 // season, dtype="M8[M]").astype("M8[D]"))
    values = seasonal_noise(7, axis=axis, gaps=0.0)
    fit = seasonal_kendall(season=season)(values, axis)
    for p in range(values.shape[1]):
        tests = [pymannkendall.original_test(values[g::season, p]) for g in range(season)]
        z = np.array([test.s / np.sqrt(test.var_s) for test in tests])
        expected = scipy.stats.chi2.sf((z**2).sum() - season * z.mean() ** 2, season - 1)
        assert fit["pvalue_homogeneity"][p] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("df", [1, 2, 3, 4, 7, 11, 12, 45, 364])
def test_chi_square(df: int) -> None:
    for x in (1e-8, 0.1, 1.0, df * 0.5, df, df * 2.0, 300.0):
        assert chi_square_tail(x, df) == pytest.approx(scipy.stats.chi2.sf(x, df), rel=1e-10, abs=1e-300)


DATES = {
    "month": (np.arange("2000-01", "2002-01", dtype="M8[M]").astype("M8[D]") + 14 * DAY, 12),
    "quarter": (np.array([f"{y}-{m:02}-15" for y in (2000, 2001) for m in (2, 5, 8, 11)], "M8[D]"), 4),
    24: (np.array([f"{y}-{m:02}-{d:02}" for y in (2000, 2001) for m in range(1, 13) for d in (1, 16)], "M8[D]"), 24),
    36: (
        np.array([f"{y}-{m:02}-{d}" for y in (2000, 2001) for m in range(1, 13) for d in ("01", "11", "21")], "M8[D]"),
        36,
    ),
    23: (np.array([np.datetime64(f"{y}-01-01") + 16 * k * DAY for y in (2000, 2001) for k in range(23)]), 23),
    46: (np.array([np.datetime64(f"{y}-01-01") + 8 * k * DAY for y in (2000, 2001) for k in range(46)]), 46),
    2: (halves((2000, 2001)), 2),
}


@pytest.mark.parametrize("season", DATES)
def test_each_step_of_a_product_is_a_season_of_its_own(season: Any) -> None:
    dates, count = DATES[season]
    found = seasons_of(TimeAxis.from_times(dates), season)
    assert found.tolist() == list(range(count)) * 2
    seasonal_kendall(season=season).bind(TimeAxis.from_times(dates), None, {})


@settings(max_examples=50 if PLAIN else 100)
@given(seed=st.integers(0, 2**32 - 1), gaps=st.sampled_from([0.0, 0.2, 0.8]), digits=st.integers(-1, 3))
def test_random_series(seed: int, gaps: float, digits: int) -> None:
    axis = TimeAxis.from_times(MONTHS.dates[:40])
    values = seasonal_noise(seed, pixels=2, gaps=gaps, digits=digits, axis=axis)
    fit = seasonal_kendall()(values, axis)
    for p in np.flatnonzero(fit["status"] == 0):
        expected = scipy.stats.mstats.kendalltau_seasonal(by_year(values[:, p], np.arange(40) % 12, axis))
        assert fit["pvalue_independent"][p] == pytest.approx(float(expected["global p-value (indep)"]), rel=1e-9)
        assert np.isfinite([fit[name][p] for name in ("slope", "tau", "s", "var_s", "z", "pvalue")]).all()


# ------------------------------------------------------------------------------------- without the seasons


def without_levels(y: Any, t: Any, labels: Any, years: Any) -> tuple[Any, Any, float]:
    """Return what is left of one series, where, and what multiplies the variance: by the formulas of `theil_sen`."""
    frame = pd.DataFrame({"y": y, "t": t - t[0], "season": labels, "year": years}).dropna()
    frame = frame[frame.groupby("season")["year"].transform("nunique") > 1]
    slopes = []
    for _, group in frame.groupby("season"):
        for one, other in itertools.combinations(group.itertuples(), 2):
            if other.year > one.year:
                slopes.append((other.y - one.y) / (other.t - one.t))
    rest = frame["y"] - np.median(slopes) * frame["t"]
    by_season = rest.groupby(frame["season"])
    deviations = rest - by_season.transform("median")
    far = 5 * 1.4826 * np.median(deviations[deviations != 0].abs())
    level = by_season.transform("median") + deviations.clip(-far, far).groupby(frame["season"]).transform("mean")
    # A slope beside dummies of seasons, against a slope alone: variances by their designs and degrees of freedom.
    dummies = pd.get_dummies(frame["season"]).to_numpy(dtype=float)
    n, joint = len(frame), np.column_stack([frame["t"], dummies])
    alone = np.column_stack([frame["t"], np.ones(n)])
    variances = [np.linalg.inv(design.T @ design)[0, 0] for design in (joint, alone)]
    factor = variances[0] / variances[1] * (n - 1) / (n - joint.shape[1])
    return (frame["y"] - level + np.median(rest)).to_numpy(), frame.index.to_numpy(), factor


@pytest.mark.parametrize("season", ["month", "quarter"])
@pytest.mark.parametrize("gaps", [0.0, 0.6])
def test_levels_of_seasons_are_taken_off(season: Any, gaps: float) -> None:
    values = seasonal_noise(4, pixels=5, digits=9, gaps=gaps)
    values[5, 0] = 40.0
    lines = theil_sen(deseasonalise=season)(values, MONTHS)
    tests = {
        correction: mann_kendall(deseasonalise=season, correction=correction)(values, MONTHS)
        for correction in ("none", "yue_wang")
    }
    for p in range(values.shape[1]):
        y, where, factor = without_levels(values[:, p], MONTHS.years, seasons_of(MONTHS, season), MONTHS.calendar_years)
        t, n = MONTHS.years[where], len(y)
        slopes = np.sort([(y[j] - y[i]) / (t[j] - t[i]) for i in range(n) for j in range(i + 1, n)])
        variance = n * (n - 1) * (2 * n + 5) / 18 * factor
        reach = scipy.stats.norm.ppf(0.975) * math.sqrt(variance)
        expected = {
            "slope": np.median(slopes),
            "intercept": np.median(y) - np.median(slopes) * np.median(t),
            "low_slope": slopes[round((len(slopes) - reach) / 2) - 1],
            "high_slope": slopes[round((len(slopes) + reach) / 2)],
            "n": n,
        }
        for name, value in expected.items():
            assert lines[name][p] == pytest.approx(value, rel=1e-9, abs=1e-12), name
        score = np.sign(slopes).sum()
        test = tests["none"]
        assert test["s"][p] == score
        assert test["var_s"][p] == pytest.approx(variance, rel=1e-9)
        z = (score - np.sign(score)) / math.sqrt(variance)
        assert test["pvalue"][p] == pytest.approx(2 * scipy.stats.norm.sf(abs(z)), rel=1e-9)
        left = np.full((len(MONTHS), 1), np.nan)
        left[where, 0] = y
        plain = mann_kendall(correction="yue_wang")(left, MONTHS)
        assert tests["yue_wang"]["var_s"][p] == pytest.approx(plain["var_s"][0] * factor, rel=1e-9)


@compiled_only
@pytest.mark.parametrize(("years", "gaps"), [(3, 0.0), (3, 0.5), (5, 0.7), (10, 0.3), (10, 0.85)])
def test_seasons_take_nothing_of_the_trend(years: int, gaps: float) -> None:
    axis = TimeAxis.from_times((np.datetime64("2001-01") + np.arange(12 * years) * MONTH).astype("datetime64[D]"))
    rng = np.random.default_rng(years)
    noise = rng.normal(size=(len(axis), 3000)) + 3 * np.cos(2 * np.pi * axis.years)[:, None]
    noise[rng.random(noise.shape) < gaps] = np.nan
    slopes = theil_sen(deseasonalise="month")(noise[:, :1000] + 2 * axis.years[:, None], axis)["slope"]
    assert np.nanmean(slopes) / 2 == pytest.approx(1.0, abs=4 * np.nanstd(slopes) / 2 / math.sqrt(1000))
    pvalue = mann_kendall(deseasonalise="month")(noise, axis)["pvalue"]
    assert np.mean(pvalue < 0.05) < 0.065


def test_outliers_among_seasons_leave_the_slope_alone() -> None:
    rng = np.random.default_rng(8)
    years = MONTHS.years[:, None]
    values = (
        0.3 * (years - 2000) + np.cos(2 * np.pi * years) + 0.1 * rng.normal(size=(len(MONTHS), 40 if PLAIN else 200))
    )
    clean = theil_sen(deseasonalise="month")(values, MONTHS)
    # One in twelve, at the end of the series and all in one direction: a trend to who takes means.
    values[-36::3] = 1000.0
    values[rng.random(values.shape) < 0.3] = np.nan
    spoilt = theil_sen(deseasonalise="month")(values, MONTHS)
    assert clean["slope"].mean() == pytest.approx(0.3, abs=0.002)
    assert spoilt["slope"].mean() == pytest.approx(0.3, abs=0.02)
    line = spoilt["slope"] * 2005 + spoilt["intercept"]
    assert line.mean() == pytest.approx(np.mean(clean["slope"] * 2005 + clean["intercept"]), abs=0.2)


def test_seasons_of_one_year_do_not_count() -> None:
    rng = np.random.default_rng(9)
    months = np.arange(len(MONTHS))
    values = rng.normal(size=(len(MONTHS), 4))
    values[(months % 12 == 3) & (months > 12), 0] = np.nan
    # April is in one year only, or not at all; each month is in one year only; no value.
    values[:, 1] = values[:, 0]
    values[3, 1] = np.nan
    values[12:, 2] = np.nan
    values[:, 3] = np.nan
    for method in (theil_sen(deseasonalise="month"), mann_kendall(deseasonalise="month")):
        fit = method(values, MONTHS)
        assert fit["status"].tolist() == [0, 0, Status.TOO_FEW, Status.NO_OBSERVATION]
        assert fit["n"].tolist() == [len(MONTHS) * 11 // 12] * 2 + [0, 0]
        for name, band in fit.items():
            assert band[0] == band[1], name


def test_values_of_a_few_seasons_are_enough() -> None:
    values = np.full((len(MONTHS), 3), np.nan)
    values[[0, 12, 1, 13], 0] = [1.0, 2.0, 5.0, 3.5]
    values[[0, 12], 1] = [1.0, 2.0]
    values[[0, 12, 24, 36], 2] = [1.0, 4.0, 2.0, 3.0]
    fit = mann_kendall(deseasonalise="month")(values, MONTHS)
    assert fit["status"].tolist() == [0, Status.TOO_FEW, 0]
    # Of one season, nothing but a level is taken off.
    plain = mann_kendall()(values[:, [2]], MONTHS)
    for name in ("s", "var_s", "n"):
        assert fit[name][2] == pytest.approx(plain[name][0] * (3 / 2 if name == "var_s" else 1)), name


def test_infinite_values_have_no_seasons() -> None:
    values = seasonal_noise(11, gaps=0.0)
    values[7, 0], values[8, 1] = np.inf, -np.inf
    for method in (theil_sen(deseasonalise="month"), mann_kendall(deseasonalise="month")):
        fit = method(values, MONTHS)
        assert (fit["status"][:2] == Status.TEST_UNDEFINED).all()
        assert np.isnan(fit["slope"][:2]).all()
        assert (fit["status"][2:] == Status.OK).all()


def test_slopes_that_overflow_are_not_tested() -> None:
    axis = TimeAxis.from_times(MONTHS.dates[::12])
    values = np.repeat([-1.5e308, 1.5e308], 6)[:, None]
    for method, band in ((theil_sen(deseasonalise="month"), "low_slope"), (mann_kendall(deseasonalise="month"), "z")):
        fit = method(values, axis)
        assert fit["status"][0] == Status.TEST_UNDEFINED
        assert np.isnan(fit[band][0])


def test_a_trend_behind_a_cycle_is_found() -> None:
    years = MONTHS.years
    values = (0.02 * (years - 2000) + np.sin(2 * np.pi * (np.arange(len(MONTHS)) % 12) / 12))[:, None]
    plain, without = mann_kendall()(values, MONTHS), mann_kendall(deseasonalise="month")(values, MONTHS)
    assert plain["pvalue"][0] > 0.03
    assert without["pvalue"][0] < 1e-9
    assert theil_sen(deseasonalise="month")(values, MONTHS)["slope"][0] == pytest.approx(0.02, rel=0.05)


def test_what_varies_by_season_only_is_constant() -> None:
    values = np.stack([0.1 * (np.arange(144) % 12), np.full(144, 0.1)], axis=1)
    for method in (theil_sen(deseasonalise="month"), mann_kendall(deseasonalise="month"), seasonal_kendall()):
        fit = method(values, MONTHS)
        assert (fit["status"] == Status.CONSTANT).all()
        assert (fit["slope"] == 0).all()


def test_the_input_is_left_alone() -> None:
    values = seasonal_noise(5)
    before = values.copy()
    theil_sen(deseasonalise="month")(values, MONTHS)
    np.testing.assert_array_equal(values, before)


# ------------------------------------------------------------------------------------------------ mistakes


def test_a_season_of_one_value_adds_nothing() -> None:
    values = seasonal_noise(6, pixels=1, gaps=0.0)
    alone = values.copy()
    alone[12::12] = np.nan  # one January is left
    none = alone.copy()
    none[0] = np.nan
    one, other = seasonal_kendall()(alone, MONTHS), seasonal_kendall()(none, MONTHS)
    for name in ("slope", "tau", "s", "var_s", "pvalue", "pvalue_homogeneity"):
        assert one[name] == other[name]
    single = np.full((144, 1), np.nan)
    single[[0, 13, 26, 39]] = [[1.0], [2], [3], [4]]  # four seasons of one value
    fit = seasonal_kendall()(single, MONTHS)
    assert fit["status"][0] == Status.DEGENERATE
    assert np.isnan(fit["slope"][0])


def test_two_layers_of_one_season_are_refused() -> None:
    axis = TimeAxis.from_times(np.array(["2000-01-03", "2000-02-01", "2000-02-20", "2001-01-01"], "M8[D]"))
    with pytest.raises(pw.ParameterError, match=r"2000-02-01 and 2000-02-20 fall in the same season.*--composite"):
        seasonal_kendall()(np.arange(4.0), axis)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (seasonal_kendall, {"season": "mounth"}, "'mounth'.*did you mean 'month'"),
        (seasonal_kendall, {"season": 1}, "season=1: seasonal_kendall needs month, quarter, or 2 to 366"),
        (theil_sen, {"deseasonalise": 500}, "season=500: theil_sen needs month"),
        (mann_kendall, {"deseasonalise": "year"}, "season='year' is not one of month, quarter"),
        (mann_kendall, {"deseasonalise": "month", "exact": True}, "exact=True cannot be combined with"),
        (seasonal_kendall, {"min_obs": 1}, "min_obs=1: seasonal_kendall needs a whole number"),
    ],
)
def test_parameters(method: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(pw.ParameterError, match=message):
        method(**options)
