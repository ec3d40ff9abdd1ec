"""`seasonal_kendall` against scipy, and series without their seasons against pandas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pymannkendall
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import pixelwise as pw
from conftest import MakeStack
from pixelwise.method import Status
from pixelwise.methods import mann_kendall, seasonal_kendall, theil_sen
from pixelwise.methods._pvalue_kernels import chi_square_tail
from pixelwise.methods.seasons import seasons_of
from pixelwise.times import TimeAxis

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
    values = seasonal_noise(1, digits=digits, gaps=gaps)
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
        "seasonal_kendall finds next to nothing below 5 years: with 4 years of a season its pvalue is a"
    )
    assert "with 3 years of a season its pvalue is never below 0.08" in told(months_of(3))[0]
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
        found = [line for line in made.provenance.get("warnings", ()) if "finds next to nothing" in line]
        assert found == ([text] if years == 4 else [])


@pytest.mark.parametrize(
    ("season", "every"), [("month", "month"), ("quarter", "season"), (12, "month"), (36, "dekad"), (24, None)]
)
def test_the_advice_for_several_layers_of_a_season_works(make_stack: MakeStack, season: Any, every: str | None) -> None:
    days = np.arange("2000-01-03", "2001-12-31", 6, dtype="datetime64[D]")
    values = np.random.default_rng(0).random((len(days), 2, 2)).astype(np.float32)
    stack = pw.open_stack(make_stack(values, [f"{day}" for day in days]))
    with pytest.raises(pw.ParameterError, match="one layer is wanted: ") as caught:
        pw.apply(stack, seasonal_kendall(season=season))
    if every is None:
        assert "--composite" not in str(caught.value)
        return
    assert f"make one of them (--composite HOW --every {every}), or name" in str(caught.value)
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
    "month": (np.arange("2000-01", "2002-01", dtype="M8[M]").astype("M8[D]") + 14, 12),
    "quarter": (np.array([f"{y}-{m:02}-15" for y in (2000, 2001) for m in (2, 5, 8, 11)], "M8[D]"), 4),
    24: (np.array([f"{y}-{m:02}-{d:02}" for y in (2000, 2001) for m in range(1, 13) for d in (1, 16)], "M8[D]"), 24),
    36: (
        np.array([f"{y}-{m:02}-{d}" for y in (2000, 2001) for m in range(1, 13) for d in ("01", "11", "21")], "M8[D]"),
        36,
    ),
    23: (np.array([np.datetime64(f"{y}-01-01") + 16 * k for y in (2000, 2001) for k in range(23)]), 23),
    46: (np.array([np.datetime64(f"{y}-01-01") + 8 * k for y in (2000, 2001) for k in range(46)]), 46),
    2: (halves((2000, 2001)), 2),
}


@pytest.mark.parametrize("season", DATES)
def test_each_step_of_a_product_is_a_season_of_its_own(season: Any) -> None:
    dates, count = DATES[season]
    found = seasons_of(TimeAxis.from_times(dates), season)
    assert found.tolist() == list(range(count)) * 2
    seasonal_kendall(season=season).bind(TimeAxis.from_times(dates), None, {})


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


@pytest.mark.parametrize("season", ["month", "quarter"])
def test_means_of_seasons_are_taken_off(season: Any) -> None:
    values = seasonal_noise(4)
    labels = seasons_of(MONTHS, season)
    table = pd.DataFrame(values)
    anomalies = (table - table.groupby(labels).transform("mean") + table.mean()).to_numpy()
    found, expected = theil_sen(deseasonalise=season)(values, MONTHS), theil_sen()(anomalies, MONTHS)
    for name in ("slope", "intercept", "low_slope", "high_slope"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9)
    found, expected = (
        mann_kendall(deseasonalise=season, correction="yue_wang")(values, MONTHS),
        mann_kendall(correction="yue_wang")(anomalies, MONTHS),
    )
    np.testing.assert_array_equal(found["n"], expected["n"])
    np.testing.assert_allclose(found["slope"], expected["slope"], rtol=1e-9)


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
    with pytest.raises(pw.ParameterError, match=r"2000-02-01 and 2000-02-20 are of one season of 2000.*--composite"):
        seasonal_kendall()(np.arange(4.0), axis)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (seasonal_kendall, {"season": "mounth"}, "'mounth'.*did you mean 'month'"),
        (seasonal_kendall, {"season": 1}, "season=1: seasonal_kendall needs month, quarter, or 2 to 366"),
        (theil_sen, {"deseasonalise": 500}, "season=500: theil_sen needs month"),
        (mann_kendall, {"deseasonalise": "year"}, "'year'.*known"),
        (seasonal_kendall, {"min_obs": 1}, "min_obs=1: seasonal_kendall needs a whole number"),
    ],
)
def test_parameters(method: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(pw.ParameterError, match=message):
        method(**options)
