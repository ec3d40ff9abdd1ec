"""`theil_sen` and `siegel` against scipy, to the last bit: both ways of computing, ties, same dates, hard numbers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import pixelwise as pw
from pixelwise.bands import Status
from pixelwise.dates.axis import TimeAxis
from pixelwise.kernels.theil_sen import WIDTH
from pixelwise.methods import siegel, theil_sen
from support.compiled import PLAIN, compiled_only
from support.dates import DAY

THEIL_SEN = sys.modules["pixelwise.methods.theil_sen"]
SHORT = THEIL_SEN.SHORT
BANDS = ("slope", "intercept", "low_slope", "high_slope")
#: Plain Python takes a millisecond for what the compiled kernel does in a microsecond.


def days(rng: Any, n: int, span: int) -> TimeAxis:
    """Return `n` days of `span`, some of them equal."""
    return TimeAxis.from_times(np.datetime64("1985-01-03") + np.sort(rng.integers(0, span, n)) * DAY)


def assert_like_scipy(values: Any, axis: TimeAxis, level: float = 0.95, **options: Any) -> None:
    fit = theil_sen(confidence_level=level, **options)(values, axis)
    for p in np.flatnonzero(fit["status"] == 0):
        valid = ~np.isnan(values[:, p])
        y, t = values[valid, p].astype(np.float64), axis.years[valid]
        expected = scipy.stats.theilslopes(y, t, level, method=options.get("intercept", "separate"))
        assert tuple(fit[name][p] for name in BANDS) == tuple(expected)
        assert fit["n"][p] == valid.sum()


@pytest.fixture(params=["short", "long"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fit every series by sorting networks, or every series by merge sorts."""
    monkeypatch.setattr(THEIL_SEN, "SHORT", 1000 if request.param == "short" else 0)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("intercept", ["separate", "joint"])
@pytest.mark.parametrize("n", [3, 4, 5, 10, 21, 34])
def test_series_with_gaps_ties_and_same_dates(n: int, intercept: Any) -> None:
    rng = np.random.default_rng(n)
    for digits, gaps in ((0, 0.0), (1, 0.1), (6, 0.3)):
        values = rng.normal(size=(n, 5 if PLAIN else WIDTH + 7)).round(digits)
        values[rng.random(values.shape) < gaps] = np.nan
        assert_like_scipy(values, days(rng, n, 3 * n), intercept=intercept)
        assert_like_scipy(values.astype(np.float32), TimeAxis.from_times(np.arange(2000, 2000 + n)))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("level", [0.51, 0.9, 0.999999])
def test_any_confidence_level(level: float) -> None:
    # Below 0.5 scipy takes the level for its complement.
    rng = np.random.default_rng(7)
    assert_like_scipy(rng.normal(size=(15, 3 if PLAIN else 20)).round(1), days(rng, 15, 60), level)


SERIES: dict[str, Callable[[Any, int], Any]] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "coarse": lambda rng, n: np.round(2 * rng.normal(size=n)),
    "coarse trend": lambda rng, n: np.round(2 * rng.normal(size=n) + 0.05 * np.arange(n)),
    "large offset": lambda rng, n: 1e9 + 0.01 * rng.normal(size=n),
    "tiny": lambda rng, n: 1e-12 * rng.normal(size=n),
    "huge": lambda rng, n: 1e300 * rng.uniform(-0.4, 0.4, size=n),
    "heavy tails": lambda rng, n: rng.standard_cauchy(n),
    "mostly zero": lambda rng, n: 1.0 * (rng.random(n) < 0.1),
    "a step": lambda rng, n: np.where(np.arange(n) < n // 2, 0.1, 0.7),
    # Rounding decides on which side of a number many slopes lie.
    "nearly a line": lambda rng, n: 1e3 + 0.1 * np.arange(n) + 1e-14 * rng.normal(size=n),
    # Slopes that differ in their last bits only, all between any two numbers: found by counting all of them.
    "a line": lambda rng, n: 3 + 0.1 * np.arange(n),
}


@pytest.mark.parametrize("kind", SERIES)
@pytest.mark.parametrize("n", [30] if PLAIN else [SHORT, SHORT + 1, 300])
def test_long_series(n: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if PLAIN:
        monkeypatch.setattr(THEIL_SEN, "SHORT", 0)
    rng = np.random.default_rng(n)
    values = np.stack([SERIES[kind](rng, n) for _ in range(2 if PLAIN else 6)], axis=1)
    values[rng.random(values.shape) < 0.1] = np.nan
    for axis in (TimeAxis.from_times(np.arange(n) + 1700.0), days(rng, n, 2 * n)):
        assert_like_scipy(values, axis)


@compiled_only
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(3, 400),
    levels=st.sampled_from([1, 5, 50, 10**6]),
    gaps=st.sampled_from([0.0, 0.05, 0.5]),
    span=st.integers(1, 5000),
)
def test_random_series(seed: int, n: int, levels: int, gaps: float, span: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, levels + 1, (n, 2)) / levels + rng.choice([0, 0.01]) * np.arange(n)[:, None]
    values[rng.random(values.shape) < gaps] = np.nan
    assert_like_scipy(values, days(rng, n, span))


@pytest.mark.usefixtures("way")
@pytest.mark.filterwarnings("ignore:invalid value encountered in sqrt:RuntimeWarning")  # scipy's
def test_ties_of_values_and_dates_may_leave_no_limits() -> None:
    axis = TimeAxis.from_times([2000.0, 2000.0, 2000.0, 2000.0, 2001.0, 2002.0])
    values = np.array([[0, 0], [0, 0], [0, 1], [0, 0], [1, 0], [np.nan, 1]], dtype=float)
    fit = theil_sen()(values, axis)
    assert fit["status"].tolist() == [Status.TEST_UNDEFINED, Status.OK]
    for p, n in enumerate((5, 6)):
        expected = scipy.stats.theilslopes(values[:n, p], axis.years[:n])
        np.testing.assert_array_equal([fit[name][p] for name in BANDS], expected)
    assert np.isnan(fit["low_slope"][0])
    few = theil_sen().bind(axis, ["slope"], {})
    (slope,), status = few((values,))
    assert (slope.tolist(), status.tolist()) == (fit["slope"].tolist(), fit["status"].tolist())


@pytest.mark.parametrize("n", [9] if PLAIN else [3, 4, 21, 40, 130])
def test_siegel_is_that_of_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    for digits in (0, 2):
        axis = days(rng, n, 2 * n)
        values = rng.normal(size=(n, 4 if PLAIN else 70)).round(digits)
        values[rng.random(values.shape) < 0.1] = np.nan
        fit = siegel()(values, axis)
        for p in np.flatnonzero(fit["status"] == 0):
            valid = ~np.isnan(values[:, p])
            expected = scipy.stats.siegelslopes(values[valid, p], axis.years[valid])
            assert (fit["slope"][p], fit["intercept"][p]) == tuple(expected)


@pytest.mark.parametrize("method", [theil_sen(), siegel()], ids=str)
@pytest.mark.parametrize("n", [12, SHORT + 5])
def test_status(method: pw.Method, n: int) -> None:
    values = np.random.default_rng(0).normal(size=(n, 5))
    values[:, 0] = np.nan
    values[2:, 1] = np.nan
    values[:, 2] = 0.1
    values[3, 3] = np.inf
    values[3:, 4] = np.nan
    axis = TimeAxis.from_times(np.r_[[2000.0] * 3, np.arange(2001, 1998 + n)])
    fit = method(values, axis)
    found = [Status(code) for code in fit["status"]]
    assert found == [
        Status.NO_OBSERVATION,
        Status.TOO_FEW,
        Status.CONSTANT,
        Status.TEST_UNDEFINED,
        Status.DEGENERATE,
    ]
    np.testing.assert_array_equal(fit["slope"], [np.nan, np.nan, 0, np.nan, np.nan])
    np.testing.assert_array_equal(fit["intercept"], [np.nan, np.nan, 0.1, np.nan, np.nan])
    np.testing.assert_array_equal(fit["n"], [0, 2, n, n, 3])
    if "low_slope" in fit:
        assert np.isnan(fit["low_slope"]).all()


def test_pixels_do_not_see_their_neighbours() -> None:
    rng = np.random.default_rng(3)
    for n in (9, SHORT + 10):
        values = rng.normal(size=(n, 10)).round(1)
        whole = theil_sen()(values, np.arange(n))
        for p in range(10):
            alone = theil_sen()(values[:, p], np.arange(n))
            assert all(alone[name][0] == whole[name][p] for name in BANDS)


def test_the_line_can_be_drawn() -> None:
    values, axis = np.array([[1.0], [3.5], [5], [8], [8.5]]), TimeAxis.from_times(np.arange(2000, 2005))
    for method in (theil_sen(intercept="joint"), siegel()):
        line = method.predict(method(values, axis), axis)
        assert (values > line + 1e-9).sum() == (values < line - 1e-9).sum() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confidence_level": 95}, r"confidence_level=95: theil_sen needs a number between 0 and 1.*0\.95 \(95 %"),
        ({"confidence_level": 0}, "confidence_level=0: theil_sen needs a number between 0 and 1"),
        ({"min_obs": 2}, "min_obs=2: theil_sen needs a whole number, at least 3"),
        ({"intercept": "joined"}, "'joined'.*did you mean 'joint'"),
    ],
)
def test_parameters(options: dict[str, Any], message: str) -> None:
    with pytest.raises(pw.ParameterError, match=message):
        theil_sen(**options)
    with pytest.raises(pw.ParameterError, match="min_obs=1: siegel needs"):
        siegel(min_obs=1)
