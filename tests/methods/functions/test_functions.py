"""Users' own functions: marking, calling, bands, failures, compilation, loading from files, pickling."""

from __future__ import annotations

import functools
import logging
import math
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Literal

import cloudpickle
import numba
import numpy as np
import pytest

from pixelwise.bands import Band
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import FunctionError, InputError, ParameterError
from pixelwise.method import BoundMethod, Method
from pixelwise.methods.functions import pixel
from pixelwise.methods.functions.block import BlockFunction
from pixelwise.methods.functions.compiled import CompiledLoop
from pixelwise.methods.functions.loading import load_function
from pixelwise.methods.functions.marks import BlockOptions, PixelOptions, per_block, per_pixel
from pixelwise.methods.functions.pixel import PixelFunction
from pixelwise.methods.lookup import as_method

nan = np.nan
YEARS = np.arange(2000.0, 2004.0)
# Complete; one gap; one value; nothing.
SERIES = np.array([[1.0, 2.0, 4.0, 8.0], [nan, 3.0, 1.0, 2.0], [nan, nan, 5.0, nan], [nan] * 4]).T
DATES = np.array(["2001-01-01", "2001-06-15", "2002-03-01", "2004-12-31"], dtype="datetime64[D]")


def random_series(pixels: int = 400, times: int = 21, gaps: float = 0.2) -> np.ndarray:
    rng = np.random.default_rng(7)
    values = rng.random((times, pixels))
    values[rng.random(values.shape) < gaps] = nan
    return values


def plain(function, **options) -> Method:
    return as_method(function, jit=False, **options)


def rehearsed(method: Method, values: np.ndarray, times=None) -> Method:
    axis = TimeAxis.from_times(np.arange(2000.0, 2000.0 + len(values)) if times is None else times)
    return method.rehearse(axis, lambda: values.astype(np.float64))


def names_of(method: Method) -> tuple[str, ...]:
    """Return the names of what a function returns, without n."""
    return tuple(band.name for band in method.bands[:-1])


def bound_on(method: Method, values: np.ndarray, bands=None):
    axis = TimeAxis.from_times(np.arange(2000.0, 2000.0 + len(values)))
    return method.rehearse(axis, lambda: values.astype(np.float64)).bind(axis, bands, {})


def spread(values, times):
    """Range and last value."""
    return values.max() - values.min(), values[-1]


# --- marking -----------------------------------------------------------------------------------------------


def test_a_marked_function_stays_a_plain_function():
    marked = per_pixel(bands=["range", "last"])(spread)
    assert marked(np.array([3.0, 1.0]), YEARS[:2]) == (2.0, 1.0)
    assert (marked.__name__, marked.__doc__) == ("spread", "Range and last value.")
    assert marked.__pixelwise__ == PixelOptions(spread, (Band("range"), Band("last")))
    assert not hasattr(spread, "__pixelwise__")


def test_marking_works_without_parentheses_and_inline():
    assert per_pixel(spread).__pixelwise__ == PixelOptions(spread)
    assert per_block(np.nanmean).__pixelwise__ == BlockOptions(np.nanmean)
    assert per_pixel(bands="mean")(np.mean).__pixelwise__.bands == (Band("mean"),)


def test_two_marks_on_one_function_do_not_meet():
    first = per_pixel(spread, bands=["a", "b"], gaps=True)
    second = per_pixel(first, bands=["c", "d"], min_obs=3)
    assert second.__pixelwise__ == PixelOptions(spread, (Band("c"), Band("d")), min_obs=3)
    assert first.__pixelwise__ == PixelOptions(spread, (Band("a"), Band("b")), gaps=True)


def test_a_wrapper_around_a_marked_function_is_what_runs():
    marked = per_pixel(bands=["last"])(lambda values: values[-1])

    @functools.wraps(marked)
    def doubled(values):
        return 2 * marked(values)

    assert plain(doubled)(SERIES, YEARS)["last"].tolist()[:3] == [16.0, 4.0, 10.0]


def test_a_function_may_say_what_its_numbers_are():
    slope = Band("rise", "Rise of the line", "{value}/year", kind="change", pvalue="p")
    method = plain(per_pixel(bands=[slope, "p"])(lambda values: (values[-1], 0.5)))
    with pytest.raises(ParameterError, match="rise names the p-value p, which is none of its bands"):
        per_pixel(bands=[slope])
    assert method.bands[0] == slope
    assert [(band.name, band.kind) for band in method.bands] == [("rise", "change"), ("p", ""), ("n", "count")]
    with pytest.raises(ParameterError, match="kind='changes' is not one of"):
        Band("rise", kind="changes")
    with pytest.raises(ParameterError, match="only bands of kind change, signed, correlation, test have one"):
        Band("rise", kind="level", pvalue="p")
    with pytest.raises(ParameterError, match="integer and optional do not apply"):
        per_pixel(bands=[Band("count", integer=True)])


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        (["a", "a"], "given twice"),
        (["n"], "reserved"),
        (["status"], "reserved"),
        ([], "needs a name"),
        ([" "], "needs a name"),
        ([1], "needs a name"),
    ],
)
def test_impossible_names_of_bands(bands, message):
    with pytest.raises(ParameterError, match=message):
        per_pixel(spread, bands=bands)
    with pytest.raises(ParameterError, match=message):
        as_method(spread, bands=bands)


def test_min_obs_is_at_least_1():
    with pytest.raises(ParameterError, match="min_obs=0"):
        per_pixel(spread, min_obs=0)


# --- values, bands, status ---------------------------------------------------------------------------------


def test_values_n_and_status_of_each_pixel():
    result = plain(per_pixel(spread, bands=["range", "last"]))(SERIES, YEARS)
    assert list(result) == ["range", "last", "n", "status"]
    np.testing.assert_array_equal(result["range"], [7, 2, 0, nan])
    np.testing.assert_array_equal(result["last"], [8, 2, 5, nan])
    assert result["n"].tolist() == [4, 3, 1, 0]
    assert result["status"].tolist() == [0, 0, 0, 1]


def test_min_obs_leaves_short_series_out():
    calls = []
    function = per_pixel(lambda values: calls.append(len(values)) or 1.0, bands=["one"], min_obs=3, gaps=True)
    bound = bound_on(plain(function), SERIES)
    calls.clear()
    values, status = bound((SERIES,))
    assert status.tolist() == [0, 0, 2, 1]
    np.testing.assert_array_equal(values[0], [1, 1, nan, nan])
    assert calls == [4, 4]


def closure(factor):
    def scaled(values, times):
        return factor * values.mean()

    return scaled


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda y, t: y.mean(), [3.75, 2.0, 5.0]),
        (lambda y: y.mean(), [3.75, 2.0, 5.0]),
        (lambda *arrays: arrays[1][0], [2000, 2001, 2002]),
        (lambda y, *, times: times[-1], [2003, 2003, 2002]),
        (closure(2.0), [7.5, 4.0, 10.0]),
        (functools.partial(lambda y, t, q: q * y[0], q=3), [3.0, 9.0, 15.0]),
        (functools.partial(lambda q, y, t: q + t[0], 1), [2001, 2002, 2003]),
        (np.mean, [3.75, 2.0, 5.0]),
        (functools.partial(np.percentile, q=100), [8.0, 3.0, 5.0]),
        (max, [8.0, 3.0, 5.0]),
        (len, [4, 3, 1]),
    ],
)
def test_any_callable(function, expected):
    result = plain(per_pixel(function, bands=["x"]))(SERIES, YEARS)
    np.testing.assert_array_equal(result["x"], [*expected, nan])


@pytest.mark.parametrize("wrap", [per_pixel, lambda function: function])
def test_dates_year_and_doy_of_the_valid_layers(wrap):
    def when(values, times, dates, scale=10, year=None, *, doy):
        assert dates.dtype == "datetime64[D]"
        assert len(dates) == len(values) == len(times)
        return year[0], doy[-1], scale, (dates[-1] - dates[0]).astype(int), times[0]

    result = plain(wrap(when))(SERIES[:, :2], DATES)
    table = np.array(list(result.values()))[:5]
    days = [(DATES[-1] - DATES[0]).astype(int), (DATES[-1] - DATES[1]).astype(int)]
    years = TimeAxis.from_times(DATES).years[:2]
    np.testing.assert_array_equal(table, [[2001, 2001], [366, 366], [10, 10], days, years])


def test_gaps_are_kept_on_request():
    def first_gap(values, times):
        return np.isnan(values).sum(), times.size

    result = plain(per_pixel(first_gap, gaps=True))(SERIES, YEARS)
    np.testing.assert_array_equal(result["value_1"], [0, 1, 3, nan])
    np.testing.assert_array_equal(result["value_2"], [4, 4, 4, nan])


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_function_may_change_what_it_gets(gaps, dtype):
    def destructive(values, times):
        times -= 2000
        values += times
        return values[-1]

    block = SERIES.astype(dtype)
    before = block.copy()
    result = plain(per_pixel(destructive, gaps=gaps))(block, YEARS)
    np.testing.assert_array_equal(block, before)
    np.testing.assert_array_equal(result["value"], [11, 5, nan if gaps else 7, nan])


def test_names_are_learnt_on_one_pixel():
    assert [b.name for b in rehearsed(plain(np.mean), SERIES).bands] == ["value", "n"]
    assert [b.name for b in rehearsed(plain(spread), SERIES).bands] == ["value_1", "value_2", "n"]
    assert [b.name for b in as_method(spread, bands=["a", "b"]).bands] == ["a", "b", "n"]
    with pytest.raises(FunctionError, match="unknown until it has been tried"):
        as_method(spread).bands  # noqa: B018


def test_learning_skips_pixels_that_fail_and_needs_one_that_does_not():
    def picky(values):
        return values[2], 1

    assert names_of(rehearsed(plain(picky), SERIES[:, ::-1])) == ("value_1", "value_2")
    with pytest.raises(FunctionError, match=r"(?s)failed on the one pixel that.*values\[2\], 1.*IndexError"):
        rehearsed(plain(picky), SERIES[:, 2:])
    with pytest.raises(FunctionError, match="no pixel of the sample has enough"):
        rehearsed(plain(picky), SERIES[:, 3:])


def test_bands_of_a_marked_function_are_chosen_not_renamed():
    marked = per_pixel(spread, bands=["range", "last"])
    method = plain(marked, bands=["last"])
    values, _ = bound_on(method, SERIES, ["n", "last"])((SERIES,))
    np.testing.assert_array_equal(values, [[4, 3, 1, 0], [8, 2, 5, nan]])
    with pytest.raises(ParameterError, match="did you mean 'last'"):
        as_method(marked, bands=["lost"])


@pytest.mark.parametrize(
    ("returned", "got"),
    [
        ((1.0, 2.0, 3.0), "got 3"),
        (1.0, "got 1"),
        (np.zeros((2, 2)), r"got an array of shape \(2, 2\)"),
        (None, "got NoneType None"),
        ((1.0, "a"), "got tuple"),
        ((1.0, None), "got tuple"),
        ({"a": 1}, "got dict"),
        ((1.0, 2j), "got tuple"),
        ((1.0, [1.0, 2.0]), "got tuple"),
    ],
)
def test_wrong_results_stop_the_job(returned, got):
    method = plain(per_pixel(lambda values: returned, bands=["range", "last"]))
    with pytest.raises(FunctionError, match=rf"expected 2 values \(range, last\), {got}"):
        method(SERIES, YEARS)


def test_results_that_count_as_numbers():
    class Half:
        def __array__(self, dtype=None, copy=None):
            return np.array([0.5, 1.5])

    for returned in [(True, 2), [1, np.float32(2)], np.array([1, 2], np.uint8), Half(), (10**30, 1)]:
        assert plain(lambda values, r=returned: r)(SERIES, YEARS)["value_2"][0] in (1, 1.5, 2)
    masked = np.ma.masked_array([1.0, 2.0], [False, True])
    np.testing.assert_array_equal(plain(lambda values: masked)(SERIES[:, :1], YEARS)["value_2"], [nan])


def test_a_function_of_one_stack_takes_no_other():
    method = rehearsed(plain(np.mean), SERIES)
    axis = TimeAxis.from_times(YEARS)
    with pytest.raises(ParameterError, match="cannot take rain"):
        method.bind(axis, None, {"rain": axis})


def test_bound_functions_keep_the_contract():
    for function in (per_pixel(np.mean), per_block(lambda v: v[0])):
        bound = bound_on(as_method(function) if function.__name__ != "mean" else plain(function), SERIES)
        assert isinstance(bound, BoundMethod)
        assert bound.halo == 0
        values, status = bound((SERIES.astype(np.float32),))
        assert (values.dtype, status.dtype) == (np.float64, np.uint8)
        assert values.shape == (len(bound.bands), 4)
    assert bound.releases_gil
    assert not bound_on(plain(np.mean), SERIES).releases_gil


# --- parameters --------------------------------------------------------------------------------------------


def tuned(
    values,
    times,
    low=0.5,
    count=2,
    strict=False,
    kind="a",
    share: float = 1,
    limit: float | None = None,
    mode: Literal["up", "down"] = "up",
    table=(),
):
    return low, count, strict, len(kind), share, -1 if limit is None else limit, mode == "up"


def test_parameters_as_text_and_as_values():
    texts = {
        "low": "0.25",
        "count": "3",
        "strict": "yes",
        "kind": "abc",
        "share": "0.5",
        "limit": "7",
        "mode": "down",
    }
    for given in (
        texts,
        {**texts, "low": 0.25, "count": 3, "strict": True, "limit": 7.0},
    ):
        result = plain(tuned, parameters=given)(SERIES[:, :1], YEARS)
        assert [row[0] for row in result.values()] == [0.25, 3, 1, 3, 0.5, 7, 0, 4, 0]
    assert [row[0] for row in plain(tuned)(SERIES[:, :1], YEARS).values()] == [0.5, 2, 0, 1, 1, -1, 1, 4, 0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lo": "1"}, "unknown parameter of tuned 'lo'; did you mean 'low'"),
        ({"times": "1"}, "unknown parameter of tuned 'times'"),
        ({"count": "2.5"}, "count='2.5' is not int"),
        ({"strict": "maybe"}, "strict='maybe' is not bool"),
        ({"table": "1"}, "cannot be set as text"),
        ({"mode": "sideways"}, "mode='sideways' is not one of up, down"),
    ],
)
def test_impossible_parameters(given, message):
    with pytest.raises(ParameterError, match=message):
        as_method(tuned, parameters=given)


def test_parameters_where_there_are_none():
    for function in (max, spread):
        with pytest.raises(ParameterError, match="has none that can be set"):
            as_method(function, parameters={"key": "1"})


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: 1, "takes no values"),
        (lambda *, k=1: 1, "takes no values"),
        (lambda times: 1, "first parameter gets the values, not times"),
        (lambda values, times, extra: 1, "parameter extra needs a default"),
        (lambda values, extra, times: 1, "parameter extra needs a default"),
        (lambda extra, values, times: 1, "first parameter gets the values, not extra"),
    ],
)
def test_functions_that_cannot_be_called(function, message):
    with pytest.raises(FunctionError, match=message):
        as_method(function)


def kendall(t, y):
    return 0.0


class Slope:
    def __call__(self, years, ndvi):
        return 0.0


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: 1,
        lambda X, Y: 1,
        lambda x, ndvi, q=1: 1,
        lambda x, y=None: 1,
        lambda t, y: 1,
        lambda t, x: 1,
        lambda t1, v1: 1,
        lambda d, y: 1,
        lambda years, ndvi: 1,
        lambda year, v: 1,
        lambda time, values: 1,
        lambda timeAxis, z: 1,
        lambda dates, z: 1,
        lambda decimal_years, z: 1,
        lambda timestamps, signal: 1,
        lambda s, ndvi: 1,
        functools.partial(lambda q, t, y: 1, 3),
        kendall,
        Slope(),
        per_block(lambda t, y: 1),
        per_pixel(kendall),
        functools.partial(per_pixel(kendall)),
    ],
)
def test_times_before_values_are_refused(function):
    """Both orders run: the slope of time by value instead of that of value by time."""
    with pytest.raises(FunctionError, match="pixelwise passes values first, then times") as caught:
        as_method(function)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "function",
    [
        lambda y, x: 1,
        lambda x, t: 1,
        lambda x, times: 1,
        lambda x, dates: 1,
        lambda x, year, doy: 1,
        lambda d, t: 1,
        lambda x: 1,
        lambda t: 1,
        lambda t, q=2: 1,
        lambda x, _: 1,
        lambda _, t: 1,
        lambda time_series, t: 1,
        lambda day_lst, t: 1,
        lambda temperature, t: 1,
        lambda y, time_values: 1,
        lambda data, years: 1,
        lambda data, decimal_year: 1,
        lambda data, obsTimes: 1,
        lambda data, _month: 1,
        lambda a, b: 1,
        lambda *both: 1,
        per_block(lambda v, t: 1),
        np.mean,
        np.cov,
        max,
    ],
)
def test_values_before_times_are_not_refused(function):
    as_method(function)


@pytest.mark.parametrize(
    "name",
    [
        "month", "months", "day", "days", "dayofyear", "day_of_year", "date", "season", "hour", "week", "timestamps",
        "time_index", "julian_day", "yr", "weights", "lat", "series",
    ],
)  # fmt: skip
@pytest.mark.parametrize("mark", [lambda f: f, per_block, per_pixel(gaps=True)])
def test_a_second_parameter_that_means_something_else_than_decimal_years_is_refused(name, mark):
    """`values[month == 1].mean()` ran, and was NaN at every pixel: `month` had got decimal years."""
    scope = {}
    exec(f"def mon(values, {name}):\n    return values.mean()", scope)
    with pytest.raises(FunctionError, match=rf"^mon: nothing is called '{name}': use dates .*name it times") as caught:
        as_method(mark(scope["mon"]))
    assert "\n" not in str(caught.value)


def test_the_month_that_the_refusal_shows_is_that_of_the_dates():
    with pytest.raises(FunctionError) as caught:
        as_method(lambda values, times, month: 1)
    shown = str(caught.value).partition("month is ")[2]
    dates = np.array(["2010-01-15", "2010-12-31", "1969-02-01"], dtype="datetime64[D]")
    assert eval(shown, {"dates": dates}).tolist() == [1, 12, 2]


def test_regressions_of_scipy_and_numpy_in_their_order_are_refused_with_the_right_form():
    pytest.importorskip("scipy.stats")
    import scipy

    values = np.array([[0.31, 0.35, 0.33, 0.38, 0.4]]).T
    times = np.array([2000.0, 2001, 2002, 2004, 2007])
    centred = times - times.mean()
    slope = centred @ values[:, 0] / (centred @ centred)
    correlation = slope * times.std() / values.std()
    for function, expected in [
        (scipy.stats.linregress, slope),
        (functools.partial(scipy.stats.linregress, alternative="less"), slope),
        (np.polyfit, slope),
        (np.corrcoef, correlation),
    ]:
        with pytest.raises(FunctionError, match="pixelwise passes values first") as caught:
            as_method(function)
        # What is advised works as it stands.
        advised = eval(str(caught.value).partition("wrap it: ")[2], {"scipy": scipy, "numpy": np})
        assert plain(advised)(values, times)["value"][0] == pytest.approx(expected, rel=1e-9)
    with pytest.raises(FunctionError, match=r"kendall\(t, y\): .*wrap it: lambda y, t: kendall\(t, y\)"):
        as_method(kendall)
    # The order does not matter, or it is this one.
    assert plain(scipy.stats.kendalltau)(values, times)["value_1"][0] == pytest.approx(0.8)
    for function in (scipy.stats.theilslopes, scipy.stats.siegelslopes):
        assert plain(function)(values, times)["value_1"][0] == function(values[:, 0], times).slope
    assert plain(np.trapezoid)(values, times)["value"][0] == pytest.approx(0.33 + 0.34 + 0.71 + 1.17)


def test_methods_and_other_things():
    method = as_method(spread)
    assert as_method(method) is method
    with pytest.raises(ParameterError, match="cannot be given again"):
        as_method(method, parameters={"a": 1})
    with pytest.raises(ParameterError, match="expected a method or a function, not int"):
        as_method(3)
    with pytest.raises(ParameterError, match="never compiled"):
        as_method(per_block(spread), jit=True)


def test_provenance_names_function_file_source_and_parameters():
    method = plain(per_pixel(closure(2.0)), parameters={})
    assert method.parameters["function"].endswith("scaled")
    assert method.parameters["file"] == "test_functions.py"
    assert method.parameters["source"].startswith("def scaled(values, times):\n    return factor")
    described = rehearsed(plain(tuned, parameters={"low": "2"}), SERIES).parameters
    assert described["parameters"] == {
        "low": 2.0,
        "count": 2,
        "strict": False,
        "kind": "a",
        "share": 1,
        "mode": "up",
    }
    assert described["decision"] == "plain Python: jit=False"
    assert plain(np.mean).name == "mean"
    assert plain(max).parameters["source"] is None


# --- failures ----------------------------------------------------------------------------------------------


def needs_three(values):
    if len(values) < 3:
        raise ValueError(f"only {len(values)}")  # user's line
    return values[2]


def test_a_raising_function_costs_its_own_pixels_only():
    result = plain(needs_three)(SERIES, YEARS)
    assert result["status"].tolist() == [0, 0, 5, 1]
    np.testing.assert_array_equal(result["value"], [4, 2, nan, nan])
    assert result["n"].tolist() == [4, 3, 1, 0]


def test_traceback_of_a_pixel_is_the_users_own():
    bound = bound_on(plain(needs_three), SERIES)
    text = bound.traceback_of(SERIES[:, 2].astype(np.float32))
    assert text.startswith("Traceback (most recent call last):")
    assert "user's line" in text
    assert text.endswith("ValueError: only 1")
    assert "functions.py" not in text.replace("test_functions.py", "")
    assert bound.traceback_of(SERIES[:, 0]) is None
    assert bound.traceback_of(SERIES[:, 3]) is None


def test_strict_stops_with_the_traceback_and_the_values():
    method = rehearsed(plain(needs_three), SERIES)
    bound = replace(method, strict=True).bind(TimeAxis.from_times(YEARS), None, {})
    with pytest.raises(FunctionError, match=r"(?s)needs_three failed.*\[nan, nan, 5, nan\].*user's line.*only 1") as e:
        bound((SERIES,))
    assert str(pickle.loads(pickle.dumps(e.value))) == str(e.value)


def test_floating_point_warnings_of_users_are_silent():
    result = plain(lambda values: np.log(values - values[0])[0])(SERIES, YEARS)
    np.testing.assert_array_equal(result["value"], [-np.inf, -np.inf, -np.inf, nan])
    assert result["status"].tolist() == [0, 0, 0, 1]


# --- compiled ----------------------------------------------------------------------------------------------


def test_compiled_and_plain_agree_with_raising_pixels_too(caplog, capfd):
    def everything(values, times, low=0.1, *, doy, dates, year=None, scale=2):
        if values[0] < low:
            raise ValueError("low")  # user's line
        values *= scale
        times -= year[0]
        return values[0] + values[-1], times[-1], doy[0], dates.size, values[0] > 1

    values = random_series().astype(np.float32)
    caplog.set_level(logging.INFO, "pixelwise")
    marked = per_pixel(everything, min_obs=14, bands=list("abcde"))
    compiled = bound_on(as_method(marked, parameters={"scale": "4"}, jit=True), values)
    assert "everything: compiled" in caplog.messages
    assert capfd.readouterr() == ("", "")
    assert compiled.releases_gil
    before = values.copy()
    table, status = compiled((values,))
    expected, expected_status = bound_on(plain(marked, parameters={"scale": 4}), values)((values,))
    np.testing.assert_array_equal(table, expected)
    np.testing.assert_array_equal(status, expected_status)
    np.testing.assert_array_equal(values, before)
    assert set(status.tolist()) == {0, 2, 5}
    failing = int(np.flatnonzero(status == 5)[0])
    assert "user's line" in compiled.traceback_of(values[:, failing])
    with pytest.raises(FunctionError, match="user's line"):
        replace(compiled, strict=True)((values,))
    # Any cut and any order gives the same bits.
    order = np.random.default_rng(1).permutation(values.shape[1])
    np.testing.assert_array_equal(compiled((values[:, order],))[0], table[:, order])
    parts = [compiled((values[:, i : i + 127],))[0] for i in range(0, values.shape[1], 127)]
    np.testing.assert_array_equal(np.hstack(parts), table)


def test_sequences_of_varying_length_are_found_in_compiled_code():
    def last_two(values):
        return values[-2:]

    sample = random_series()
    bound = bound_on(as_method(per_pixel(last_two, bands=["a", "b"]), jit=True), sample)
    np.testing.assert_array_equal(bound((sample[:, :1],))[0][:2, 0], sample[~np.isnan(sample[:, 0]), 0][-2:])
    sample[:-1, 0] = nan
    sample[-1, 0] = 1
    with pytest.raises(FunctionError, match=r"last_two: expected 2 values \(a, b\), got 1"):
        bound((sample,))


def test_what_compiled_math_does_not_raise_is_done_again_in_python():
    def root(values):
        return math.sqrt(values[0])

    sample = random_series(gaps=0.0)
    bound = bound_on(as_method(root, jit=True), sample)
    values, status = bound((np.hstack([sample[:, :1], -sample[:, :1]]),))
    assert status.tolist() == [0, 5]
    np.testing.assert_array_equal(values[0], [math.sqrt(sample[0, 0]), nan])


def test_gaps_in_compiled_code():
    def gaps_and_sum(values, times):
        values += times
        return [float(np.isnan(values).sum()), float(times.size), np.nansum(values)]

    sample = random_series(50)
    before = sample.copy()
    marked = per_pixel(gaps_and_sum, gaps=True)
    result = bound_on(as_method(marked, jit=True), sample)((sample,))[0]
    np.testing.assert_array_equal(sample, before)
    np.testing.assert_allclose(result, bound_on(plain(marked), sample)((sample,))[0], rtol=1e-13)


def test_functions_that_numba_refuses_run_in_plain_python():
    stats = pytest.importorskip("scipy.stats")

    def regress(values, times):
        return stats.linregress(times, values)

    method = rehearsed(as_method(regress), SERIES[:, :2])
    assert method.decision.startswith("plain Python: ")
    assert "/" not in method.decision
    assert len(names_of(method)) == 5
    with pytest.raises(FunctionError, match="regress cannot run compiled"):
        rehearsed(as_method(regress, jit=True), SERIES[:, :2])


def test_functions_that_compile_to_other_numbers_run_in_plain_python():
    def residue(values):
        # NumPy adds up pairwise, numba in order: the last bit of the mean is all that is left here.
        return np.mean(values + 1e6) - 1e6 - 0.5

    def ratio(values):
        # Division of Python's int by NumPy's zero: inf, but ZeroDivisionError when compiled.
        return 1 / np.floor(values[0] * 2)

    sample = random_series()
    assert "gives different numbers" in rehearsed(as_method(residue), sample).decision
    assert rehearsed(as_method(ratio), sample).decision == "plain Python: compiled, it fails on other pixels"


def test_a_function_of_random_numbers_is_called_that():
    def draws(values):
        return values.mean() + np.random.default_rng().normal()

    def seeded(values):
        return values.mean() + np.random.default_rng(1).normal()

    sample = random_series(30)
    for function in (draws, lambda v: v[0] + np.random.normal()):  # noqa: NPY002
        method = rehearsed(as_method(function), sample)
        assert method.decision == "plain Python: it returns different values on each call"
        assert len(method.warnings("float32")) == len(method.warnings("float64")) == 1
        assert "returns different values on each call for the same pixel" in method.warnings("float32")[0]
    with pytest.raises(FunctionError, match="cannot run compiled: it returns different values on each call"):
        rehearsed(as_method(draws, jit=True), sample)
    block = rehearsed(as_method(per_block(lambda v: v[0] + np.random.default_rng().normal(size=v.shape[1]))), sample)
    assert "returns different values" in block.warnings("float32")[0]
    for function in (seeded, spread, per_pixel(seeded, jit=False), per_block(lambda v: v[0])):
        assert rehearsed(as_method(function), sample).warnings("float32") == []


@pytest.mark.parametrize("function", [spread, lambda values: math.sqrt(values[0])])
def test_small_jobs_are_not_compiled(function):
    """For a few pixels compiling takes longer than all calls; nothing but the size of the whole job decides."""
    values = random_series(60)
    axis = TimeAxis.from_times(np.arange(2000.0, 2021.0))

    def decide(method, pixels):
        return method.rehearse(axis, lambda: values, pixels).decision

    most = pixel.SMALL_JOB // 21
    for pixels in (36, most):
        expected = f"plain Python: compiling would take longer than {pixels} pixels"
        assert decide(as_method(function), pixels) == expected
    assert decide(as_method(function), most + 1) == decide(as_method(function), None) == "compiled"
    assert decide(as_method(function, jit=True), 36) == "compiled"
    assert decide(as_method(function, jit=False), most + 1) == "plain Python: jit=False"
    # A method applied to arrays knows their size.
    np.testing.assert_allclose(as_method(function)(values, axis)["status"], 0)


def test_no_trial_without_need():
    def refuse(*args):
        raise AssertionError

    method = as_method(spread, jit=False)
    assert rehearsed(method, SERIES).decision == "plain Python: jit=False"
    named = as_method(spread, bands=["a", "b"])
    assert rehearsed(named, SERIES[:, 3:]).decision == "plain Python: there was no pixel to try it on"
    decided = rehearsed(method, SERIES)
    assert decided.rehearse(TimeAxis.from_times(YEARS), refuse) is decided


def test_a_compiled_loop_is_built_once_in_each_process(monkeypatch):
    loop = pickle.loads(cloudpickle.dumps(CompiledLoop(lambda v: v[0], (), (), (), 1, False)))
    built = []
    compile_loop = CompiledLoop._compile
    monkeypatch.setattr(CompiledLoop, "_compile", lambda self: built.append(1) or compile_loop(self))
    barrier = threading.Barrier(2)

    def use(_):
        barrier.wait()
        out, failed = np.zeros((1, 4)), np.zeros(4, bool)
        loop(SERIES.T.copy(), np.array([4, 3, 1, 0]), 1, (), out, failed)
        return out.tolist()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(use, range(2))) == [[[1.0, 3.0, 5.0, 0.0]]] * 2
    assert built == [1]
    again = pickle.loads(cloudpickle.dumps(loop))
    assert again._loop is None


SCALE = 2.0


def scaled(values, factor=1.0):
    return values[0] * SCALE * factor


def decided(monkeypatch, function):
    """Return what a function gives, and how often it was compiled for that."""
    built = []
    compile_loop = CompiledLoop._compile
    with monkeypatch.context() as patch:
        patch.setattr(CompiledLoop, "_compile", lambda self: built.append(1) or compile_loop(self))
        method = as_method(per_pixel(function, jit=True))
        return method(SERIES, YEARS), len(built)


def test_a_function_is_compiled_once_for_all_jobs(monkeypatch):
    """Each loop takes half a second, and 4 MB that numba never gives back."""

    def first(function):
        found, built = decided(monkeypatch, function)
        return float(found["value"][0]), built

    before = first(scaled)
    assert before[0] == 2 * SERIES[0, 0]
    assert first(scaled) == (before[0], 0)
    # What the function was compiled with is part of it.
    monkeypatch.setitem(scaled.__globals__, "SCALE", 3.0)
    assert first(scaled) == (3 * SERIES[0, 0], 1)
    monkeypatch.setattr(scaled, "__defaults__", (5.0,))
    assert first(scaled) == (15 * SERIES[0, 0], 1)
    low, high = lambda v: v.min(), lambda v: v.max()  # fmt: skip
    assert first(low)[1] == first(high)[1] == 1
    assert first(low)[1] == first(high)[1] == 0


def test_a_loop_that_fell_behind_is_compiled_again(monkeypatch, tmp_path):
    """The values in a module of the user's own may change, which no fingerprint tells."""
    (tmp_path / "settings_of_mine.py").write_text("scale = 2.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    import settings_of_mine

    monkeypatch.setitem(globals(), "settings_of_mine", settings_of_mine)
    assert decided(monkeypatch, behind)[0]["value"][0] == 2 * SERIES[0, 0]
    settings_of_mine.scale = 7.0
    found, built = decided(monkeypatch, behind)
    assert (found["value"][0], built) == (7 * SERIES[0, 0], 1)


def behind(values):
    return values[0] * settings_of_mine.scale  # noqa: F821  (the test puts it there)


def test_functions_that_are_compiled_already():
    marked = per_pixel(numba.njit(lambda values: values[0]), bands=["first"])
    bound = bound_on(as_method(marked, jit=True), SERIES)
    np.testing.assert_array_equal(bound((SERIES,))[0][0], [1, 3, 5, nan])


def test_partials_and_numpy_functions_are_compiled_too():
    def weighted(weight, values, times, offset=1.0):
        return weight * values[0] + offset

    marked = per_pixel(weighted, bands=["w"])
    method = as_method(functools.partial(weighted, 2, offset=3.0), jit=True, parameters={"offset": "0.5"})
    np.testing.assert_array_equal(bound_on(method, SERIES)((SERIES,))[0][0], [2.5, 6.5, 10.5, nan])
    inherited = plain(functools.partial(marked.__wrapped__, 2))
    assert names_of(rehearsed(inherited, SERIES)) == ("value",)
    assert names_of(plain(functools.partial(per_pixel(np.mean, bands=["m"])))) == ("m",)
    assert rehearsed(as_method(np.max), SERIES).decision == "compiled"


def test_results_that_only_python_reads_as_numbers_run_in_plain_python():
    method = rehearsed(as_method(lambda values: range(3)), SERIES)
    assert names_of(method) == ("value_1", "value_2", "value_3")
    assert method.decision.startswith("plain Python: compiled, it returns range")


# --- blocks of pixels --------------------------------------------------------------------------------------


@per_block(bands=["mean", "first"])
def block_mean(values, times, year, scale=1):
    assert values.shape[0] == len(times) == len(year)
    return np.array([scale * np.nanmean(values, axis=0), np.broadcast_to(year[0], values.shape[1])])


def test_a_block_function_never_sees_an_empty_series():
    result = as_method(block_mean, parameters={"scale": "2"})(SERIES, YEARS)
    np.testing.assert_array_equal(result["mean"], [7.5, 4, 10, nan])
    np.testing.assert_array_equal(result["first"], [2000, 2000, 2000, nan])
    assert result["n"].tolist() == [4, 3, 1, 0]
    assert result["status"].tolist() == [0, 0, 0, 1]
    short = as_method(per_block(lambda v: np.nanmax(v, axis=0), min_obs=2))(SERIES, YEARS)
    assert short["status"].tolist() == [0, 0, 2, 1]
    np.testing.assert_array_equal(short["value"], [8, 3, nan, nan])


def test_block_names_are_learnt():
    assert names_of(rehearsed(as_method(per_block(lambda v: np.array([v[0], v[1], v[2]]))), SERIES)) == (
        "value_1",
        "value_2",
        "value_3",
    )

    def fails(values):
        raise KeyError("x")

    with pytest.raises(FunctionError, match="failed on each of the 3 pixels"):
        rehearsed(as_method(per_block(fails)), SERIES)
    with pytest.raises(FunctionError, match=r"expected \(band, 1024\), got \(3,\)"):
        rehearsed(as_method(per_block(lambda v: v[0][:3])), SERIES)


@pytest.mark.parametrize("width", [1, 127, 128, 129])
def test_block_results_do_not_depend_on_the_cut(width):
    values = random_series(1300)
    bound = bound_on(as_method(block_mean), values)
    whole, status = bound((values,))
    parts = [bound((values[:, i : i + width],)) for i in range(0, 300, width)]
    got = np.hstack([part[0] for part in parts])
    np.testing.assert_array_equal(got, whole[:, : got.shape[1]])
    np.testing.assert_array_equal(np.hstack([part[1] for part in parts]), status[: got.shape[1]])


def test_only_failing_pixels_of_a_block_are_lost():
    def picky(values, times):
        if (np.nanmax(values, axis=0) > 0.9995).any():
            raise ValueError("too high")  # user's line
        values += 1
        return values[0] * 0 + np.nanmean(values, axis=0)

    values = random_series(3000, gaps=0.0)
    before = values.copy()
    high = values.max(axis=0) > 0.9995
    assert 5 < high.sum() < 100
    method = rehearsed(as_method(per_block(picky, bands=["mean"])), values)
    bound = bound_on(method, values)
    table, status = bound((values,))
    np.testing.assert_array_equal(values, before)
    np.testing.assert_array_equal(status == 5, high)
    np.testing.assert_array_equal(np.isnan(table[0]), high)
    # The others have the bits that they have without any failing neighbour.
    np.testing.assert_array_equal(bound((values[:, ~high],))[0], table[:, ~high])
    failing = values[:, np.flatnonzero(high)[0]]
    assert "user's line" in bound.traceback_of(failing)
    assert bound.traceback_of(values[:, np.flatnonzero(~high)[0]]) is None
    with pytest.raises(FunctionError, match="user's line"):
        replace(bound, strict=True)((values,))


@pytest.mark.parametrize(
    ("function", "got"),
    [
        (lambda v: v, r"\(4, 1024\)"),
        (lambda v: v[:2, :7], r"\(2, 7\)"),
        (lambda v: v[0], r"\(1, 1024\)"),
        (lambda v: "no", "str 'no'"),
        (lambda v: 1.0, r"\(\)"),
    ],
)
def test_wrong_shapes_of_a_block_function(function, got):
    with pytest.raises(FunctionError, match=rf"expected \(2, 1024\) for a, b, got {got}"):
        as_method(per_block(function, bands=["a", "b"]))(SERIES, YEARS)


# --- files and pickles -------------------------------------------------------------------------------------

FILE = """\
from helper import twice

OFFSET = 1

def shifted(values, times, by=0.5):
    return twice(values[0]) + OFFSET + by

class Tool:
    pass

number = 3
"""


@pytest.fixture
def user_file(tmp_path):
    (tmp_path / "helper.py").write_text("def twice(x):\n    return 2 * x\n")
    path = tmp_path / "my tools.py"
    path.write_text(FILE)
    return path


def test_a_function_from_a_file_leaves_no_trace(user_file):
    modules, paths = set(sys.modules), list(sys.path)
    function = load_function(f"{user_file}:shifted")
    assert function(np.array([2.0]), None) == 5.5
    assert sys.path == paths
    assert set(sys.modules) - modules == {function.__module__}
    assert not (user_file.parent / "__pycache__").joinpath("my tools.pyc").exists()
    method = as_method(f"{user_file}:shifted", bands=["first"], parameters={"by": "0.25"}, jit=False)
    np.testing.assert_array_equal(method(SERIES, YEARS)["first"], [3.25, 7.25, 11.25, nan])
    assert method.parameters["file"] == "my tools.py"
    assert "def shifted" in method.parameters["source"]


def test_an_edited_file_is_read_again(user_file):
    load_function(f"{user_file}:shifted")
    user_file.write_text(FILE.replace("OFFSET = 1", "OFFSET = 2"))
    assert load_function(f"{user_file}:shifted")(np.array([2.0]), None) == 6.5


def test_errors_of_loading(user_file, tmp_path):
    def load(text):
        return load_function(text)

    with pytest.raises(InputError, match=r"nowhere\.py: No such file or directory"):
        load(f"{tmp_path}/nowhere.py:f")
    with pytest.raises(ParameterError, match=r"is not file\.py:function"):
        load("spread")
    with pytest.raises(ParameterError, match=r"unknown function in my tools\.py 'shift'; did you mean 'shifted'"):
        load(f"{user_file}:shift")
    with pytest.raises(ParameterError, match=r"number in my tools\.py is int, not a function"):
        load(f"{user_file}:number")
    for text, message in [
        ("x = 1\nimport nothing_like_it\n", r"No module named 'nothing_like_it' \(line 2\)"),
        ("def f(:\n", "SyntaxError: invalid syntax"),
        ("raise SystemExit(3)", r"SystemExit: 3 \(line 1\)"),
    ]:
        user_file.write_text(text)
        modules, paths = set(sys.modules), list(sys.path)
        with pytest.raises(FunctionError, match=rf"my tools\.py cannot be imported: .*{message}") as caught:
            load(f"{user_file}:f")
        assert "\n" not in str(caught.value)
        assert (set(sys.modules), sys.path) == (modules, paths)


def run_elsewhere(bound, values, tmp_path):
    """Run a bound method in a fresh interpreter that knows neither this module nor the user's file."""
    (tmp_path / "job.pickle").write_bytes(cloudpickle.dumps((bound, values)))
    script = (
        "import pickle, sys, pathlib\n"
        "source, target = map(pathlib.Path, sys.argv[1:])\n"
        "bound, values = pickle.loads(source.read_bytes())\n"
        "target.write_bytes(pickle.dumps(bound((values,))))\n"
    )
    paths = [path for path in sys.path if path and "tests" not in path]
    command = [sys.executable, "-c", script, str(tmp_path / "job.pickle"), str(tmp_path / "result.pickle")]
    subprocess.run(command, check=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
    return pickle.loads((tmp_path / "result.pickle").read_bytes())


def test_a_function_from_a_file_travels_by_value(user_file, tmp_path):
    bound = bound_on(as_method(f"{user_file}:shifted", jit=False), SERIES)
    payload_place = tmp_path / "elsewhere"
    payload_place.mkdir()
    values, status = run_elsewhere(bound, SERIES, payload_place)
    np.testing.assert_array_equal(values[0], [3.5, 7.5, 11.5, nan])
    assert status.tolist() == [0, 0, 0, 1]


def test_a_compiled_lambda_travels_and_gives_the_same_bits(tmp_path):
    factor = 1 / 3
    values = random_series()
    bound = bound_on(as_method(lambda y, t: factor * y.mean() + t[0], jit=True), values)
    there = run_elsewhere(bound, values, tmp_path)
    here = bound((values,))
    np.testing.assert_array_equal(there[0], here[0])
    np.testing.assert_array_equal(there[1], here[1])


def test_block_functions_and_methods_are_picklable():
    for method in (as_method(block_mean), plain(closure(3.0))):
        assert isinstance(method, (BlockFunction, PixelFunction))
        bound = bound_on(method, SERIES)
        again = pickle.loads(cloudpickle.dumps(bound))
        np.testing.assert_array_equal(again((SERIES,))[0], bound((SERIES,))[0])
        again = pickle.loads(cloudpickle.dumps(rehearsed(method, SERIES)))
        assert names_of(again) == names_of(rehearsed(method, SERIES))
