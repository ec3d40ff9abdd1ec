"""Reductions of the layers of a period, against NumPy, pandas and plain Python."""

from __future__ import annotations

import pickle
from collections import Counter
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import pixelwise
from pixelwise.dates.periods import make_periods
from pixelwise.errors import ParameterError
from pixelwise.kernels import jit
from pixelwise.stacks.reductions import REDUCTIONS, Composite
from support.dates import DAY
from support.rasters import random_series

HOWS = (*REDUCTIONS, "p1", "p10", "p50", "p90", "p99")


def reduce(values, how="max", *, cell=(0, 0, 10**9), ordinal=0, days=None, by=None, **options):
    composite = Composite(how, **options)
    out = np.full(values.shape[1], -999, composite.dtype(values.dtype))
    days = np.arange(len(values)) * 8 + 1 if days is None else days
    composite.reduce(values, out, days=days, cell=cell, ordinal=ordinal, by=by)
    return out


def add_in_order(values):
    total = 0.0
    for value in values:
        total += value
    return total


def earliest_medoid(y):
    low, high = np.sort(y)[[(len(y) - 1) // 2, len(y) // 2]]
    return next(value for value in y if value in (low, high))


ORACLES = {
    "max": lambda y, t: y.max(),
    "min": lambda y, t: y.min(),
    "mean": lambda y, t: add_in_order(y.astype(float)) / len(y),
    "sum": lambda y, t: add_in_order(y.astype(float)),
    "median": lambda y, t: np.median(y.astype(float)),
    "medoid": lambda y, t: earliest_medoid(y),
    "date_of_max": lambda y, t: t[y.argmax()],
    **{how: lambda y, t, q=int(how[1:]) / 100: np.quantile(y.astype(float), q) for how in HOWS if how[0] == "p"},
}


def expected(values, how, min_count=1):
    days = np.arange(len(values)) * 8 + 1
    valid = ~np.isnan(values)
    if how == "count":
        return valid.sum(axis=0)
    return np.array(
        [
            ORACLES[how](y[ok], days[ok]) if ok.sum() >= min_count else np.nan
            for y, ok in zip(values.T, valid.T, strict=True)
        ]
    )


# ------------------------------------------------------------------------------------------ what is computed


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("how", HOWS)
def test_every_reduction_has_the_bits_of_numpy(how, dtype):
    for layers in (1, 2, 3, 4, 5, 8, 13, 16, 33):
        values = random_series((layers, 67), seed=layers, gaps=0.3, dtype=dtype)
        if dtype == "float64":
            values += np.random.default_rng(layers).normal(0, 1e-3, values.shape).round(4)  # all 53 bits, some ties
        values[:, 5] = np.nan
        values[:, 6] = -1.25
        np.testing.assert_array_equal(reduce(values, how), expected(values, how))


@pytest.mark.parametrize("how", HOWS)
def test_many_layers_and_more_pixels_than_a_chunk(how):
    values = random_series((150, 20), seed=1, gaps=0.5)
    np.testing.assert_array_equal(reduce(values, how), expected(values, how))
    values = random_series((3, 1100), seed=2, gaps=0.5)
    np.testing.assert_array_equal(reduce(values, how), expected(values, how))


@pytest.mark.parametrize("how", [how for how in HOWS if how != "count"])
def test_fewer_observations_than_wanted_are_missing(how):
    values = random_series((6, 80), gaps=0.5)
    for min_count in (2, 4, 7):
        result = reduce(values, how, min_count=min_count)
        np.testing.assert_array_equal(result, expected(values, how, min_count))
    assert np.isnan(result).all()


def test_nothing_observed():
    nothing = np.full((4, 3), np.nan, np.float32)
    for how in HOWS:
        result = reduce(nothing, how)
        assert (result == 0).all() if how == "count" else np.isnan(result).all()


def test_first_of_equals_wins():
    values = np.array([[1, 5, 5, 2, 5], [2, 1, 2, 1, 1]], np.float32).T.copy()
    days = np.array([121, 130, 150, 300, 400])
    assert reduce(values, "date_of_max", days=days).tolist() == [130, 121]
    by = np.array([[3, 3, 1, 1, 1], [1, 2, 1, 2, 1]], np.float32).T.copy()
    assert reduce(values, "max", by=by).tolist() == [1, 1]
    assert reduce(values, "min", by=by).tolist() == [5, 2]


def test_medoid_is_an_observation_and_of_two_the_earlier():
    values = np.array([[4.0, 1.0, 3.0, 2.0], [9.0, 2.0, 3.0, 1.0], [0.1, 7.0, 0.2, 0.3]]).T.copy()
    assert reduce(values, "medoid").tolist() == [3.0, 2.0, 0.2]
    values = np.random.default_rng(3).integers(0, 64, (9, 60)) / 4.0
    for layers in (8, 9):
        distance = np.abs(values[:layers] - np.median(values[:layers], axis=0))
        np.testing.assert_array_equal(reduce(values[:layers], "medoid"), values[distance.argmin(axis=0), np.arange(60)])


@pytest.mark.parametrize("how", ["max", "min"])
def test_value_of_the_layer_in_which_another_band_is_extreme(how):
    values, by = random_series((9, 70), seed=5, gaps=0.3), random_series((9, 70), seed=6, gaps=0.3, dtype="float64")
    result = reduce(values, how, by=by, min_count=3)
    assert result.dtype == np.float32
    for pixel in range(70):
        both = ~np.isnan(values[:, pixel]) & ~np.isnan(by[:, pixel])
        keys = by[both, pixel]
        wanted = values[both, pixel][keys.argmax() if how == "max" else keys.argmin()] if both.sum() >= 3 else np.nan
        np.testing.assert_equal(result[pixel], wanted)


def test_sums_do_not_lose_small_terms():
    values = np.array([[1e8], [1.0], [1.0], [-1e8]], np.float32)
    assert reduce(values, "sum") == 2.0  # in float32 it would be 0
    assert reduce(values, "mean") == 0.5


@pytest.mark.parametrize(
    ("how", "stored", "result"),
    [
        *[(how, "float32", "float32") for how in ("max", "min", "medoid", "count", "date_of_max")],
        *[(how, "float32", "float64") for how in ("mean", "sum", "median", "p10")],
        *[(how, "float64", "float64") for how in ("max", "min", "medoid", "median")],
        *[(how, "float64", "float32") for how in ("count", "date_of_max")],
        ("max", "uint8", "float32"),
        ("max", "int32", "float64"),
    ],
)
def test_type_of_the_result(how, stored, result):
    assert Composite(how).dtype(stored) == result


def test_wider_result():
    values = random_series((5, 9))
    out = np.empty(9)
    Composite("max").reduce(values, out)
    np.testing.assert_array_equal(out, np.nanmax(values, axis=0))


def test_values_are_only_lent():
    values, by = random_series((5, 70)), random_series((5, 70), seed=1)
    values.flags.writeable = by.flags.writeable = False
    for options in ({}, {"equal_count": 2}):
        reduce(values, "max", by=by, **options)
        reduce(values, "median", **options)
    spaced = np.repeat(values, 2, axis=1)[:, ::2]
    np.testing.assert_array_equal(reduce(spaced, "median"), reduce(values, "median"))


# ------------------------------------------------------------------------------------------------ same bits


@pytest.mark.parametrize("how", HOWS)
def test_neighbours_and_cuts_do_not_matter(how):
    values = random_series((7, 1100), seed=8, gaps=0.4)
    values[:, 300:400] = np.nan
    values[:, 700:900] = 0.5
    whole = reduce(values, how)
    order = np.random.default_rng(0).permutation(1100)
    np.testing.assert_array_equal(reduce(values[:, order], how), whole[order])
    for cuts in ((0, 1, 64, 129, 1100), (0, 63, 512, 1024, 1100)):
        parts = [reduce(values[:, start:end], how) for start, end in pairwise(cuts)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize(("how", "by"), [("max", False), ("max", True), ("mean", False), ("p90", False)])
def test_draws_do_not_depend_on_blocks(how, by):
    height, width = 60, 50
    values = random_series((9, height, width), seed=9, gaps=0.3)
    others = random_series((9, height, width), seed=10, gaps=0.1)

    def of_block(row, col, end_row, end_col):
        part = np.s_[:, row:end_row, col:end_col]
        shape = values[part].shape
        flat = values[part].reshape(9, -1)
        key = others[part].reshape(9, -1) if by else None
        options = {"equal_count": 4, "seed": 3, "ordinal": 2004}
        return reduce(flat, how, by=key, cell=(row + 7, col - 2, shape[2]), **options).reshape(shape[1:])

    whole = of_block(0, 0, height, width)
    assert 0 < np.isnan(whole).sum() < whole.size / 2
    for row, col, end_row, end_col in ((0, 0, 1, 1), (3, 0, 20, width), (5, 7, 60, 8), (10, 11, 29, 44)):
        np.testing.assert_array_equal(of_block(row, col, end_row, end_col), whole[row:end_row, col:end_col])


# ---------------------------------------------------------------------------------------------------- draws


def drawn(valid, wanted, **options):
    """Return (time, pixel) of what was drawn: sums of powers of 2 tell which."""
    powers = 2.0 ** np.arange(len(valid))
    values = np.where(valid, powers[:, None], np.nan)
    sums = reduce(values, "sum", equal_count=wanted, **options)
    return np.where(np.isnan(sums), 0, sums).astype(np.int64)[None] >> np.arange(len(valid))[:, None] & 1


def test_as_many_are_drawn_as_are_wanted():
    valid = np.random.default_rng(1).random((12, 2100)) < 0.5
    for wanted in (1, 4, 12):
        chosen = drawn(valid, wanted)
        assert (chosen <= valid).all()
        enough = valid.sum(axis=0) >= wanted
        np.testing.assert_array_equal(chosen.sum(axis=0), np.where(enough, wanted, 0))


def test_pixels_with_fewer_are_missing():
    values = random_series((6, 90), gaps=0.5)
    result = reduce(values, "max", equal_count=4)
    np.testing.assert_array_equal(np.isnan(result), (~np.isnan(values)).sum(axis=0) < 4)


def test_with_another_band_observations_of_both_are_drawn():
    values, by = random_series((7, 300), gaps=0.3), random_series((7, 300), seed=1, gaps=0.3)
    both = ~np.isnan(values) & ~np.isnan(by)
    result = reduce(values, "min", by=by, equal_count=3)
    np.testing.assert_array_equal(np.isnan(result), both.sum(axis=0) < 3)
    every = reduce(values, "min", by=by)
    exactly = both.sum(axis=0) == 3
    np.testing.assert_array_equal(result[exactly], every[exactly])
    assert (result != every)[both.sum(axis=0) > 3].any()


def test_all_subsets_are_equally_likely():
    valid = np.ones((9, 6300), dtype=bool)
    valid[[2, 5]] = False  # 35 subsets of 3 of 7
    subsets = Counter(map(tuple, drawn(valid, 3, cell=(0, 0, 90)).T))
    assert len(subsets) == 35
    assert stats.chisquare(list(subsets.values())).pvalue > 1e-3


@pytest.mark.parametrize("other", [{"cell": (0, 1, 70)}, {"cell": (1, 0, 70)}, {"ordinal": 1}, {"seed": 1}])
def test_neighbours_periods_and_seeds_draw_independently(other):
    valid = np.ones((6, 3500), dtype=bool)
    first = drawn(valid, 1, **{"cell": (0, 0, 70), **({"ordinal": 0} if "ordinal" in other else {})}).argmax(axis=0)
    second = drawn(valid, 1, **{"cell": (0, 0, 70), **other}).argmax(axis=0)
    table = np.zeros((6, 6))
    np.add.at(table, (first, second), 1)
    assert stats.chisquare(table.ravel()).pvalue > 1e-3


MASK = (1 << 64) - 1


def split_mix(state):
    """SplitMix64's output for a state, from its publication, in whole numbers."""
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK
    state = (state ^ state >> 27) * 0x94D049BB133111EB & MASK
    return state ^ state >> 31


def test_split_mix_has_the_published_numbers():
    # Of java.util.SplittableRandom and Vigna's splitmix64.c for the seed 1234567.
    states = [(1234567 + i * 0x9E3779B97F4A7C15) & MASK for i in (1, 2)]
    assert [split_mix(state) for state in states] == [6457827717110365317, 3203168211198807973]


def test_draws_are_the_documented_ones():
    golden = 0x9E3779B97F4A7C15
    valid = np.random.default_rng(2).random((11, 40)) < 0.8
    chosen = drawn(valid, 5, seed=77, ordinal=-3, cell=(1000, -4, 7))
    for pixel in range(40):
        state = split_mix(77 + golden & MASK)
        for number in (-3, 1000 + pixel // 7, -4 + pixel % 7):
            state = split_mix(state + golden + number & MASK)
        left, missing = int(valid[:, pixel].sum()), 5
        missing = missing if left >= 5 else 0
        for layer in np.flatnonzero(valid[:, pixel]):
            state = state + golden & MASK
            taken = left * ((split_mix(state) >> 11) * 2.0**-53) < missing
            assert chosen[layer, pixel] == taken
            left, missing = left - 1, missing - taken


# ---------------------------------------------------------------------------------------------- real series

PANDAS = {
    "max": lambda g: g.max(),
    "min": lambda g: g.min(),
    "mean": lambda g: g.mean(),
    "sum": lambda g: g.sum(min_count=1),
    "median": lambda g: g.median(),
    "p10": lambda g: g.quantile(0.1),
    "count": lambda g: g.count(),
}

GROUPS = {
    "years": ({}, "Y-DEC", ["1981"]),
    "July to June": ({"season": "07-01..06-30"}, "Y-JUN", ["2015/16"]),
    "water years": ({"season": "10-01..09-30"}, "Y-SEP", ["1980/81", "2015/16"]),
    "seasons": ({"every": "season"}, "Q-NOV", ["1981-JJA", "2016-DJF"]),
    "months": ({"every": "month"}, "M", []),
    "dekads": ({"every": "dekad"}, "dekad", []),
}


@pytest.fixture(scope="module")
def gimms():
    from support.places import SHARED

    folder = SHARED / "gimms_bale" / "geotiff"
    if not folder.exists():
        pytest.skip("shared data gimms_bale is absent")
    stack = pixelwise.open_stack(folder)
    values = stack.read(stack.grid.block).reshape(len(stack.axis), -1)
    gaps = np.random.default_rng(0).random(values.shape) < 0.2
    return stack.axis, np.where(gaps, np.nan, values).astype(values.dtype)


@pytest.mark.parametrize("name", GROUPS)
def test_pandas_groups_and_reduces_alike(gimms, name):
    axis, values = gimms
    options, frequency, dropped = GROUPS[name]
    periods = make_periods(axis, **options)
    assert len(axis) == 828
    assert [one.label for one in periods.dropped] == dropped
    dates = pd.DatetimeIndex(axis.dates)
    keys = (
        pd.Index([f"{day:%Y-%m}-d{min((day.day - 1) // 10, 2) + 1}" for day in dates])
        if frequency == "dekad"
        else dates.to_period(frequency)
    )
    frame = pd.DataFrame(values.astype(float)).groupby(keys)
    first = [keys[one[0]] for one in periods.members]
    for how, pandas in PANDAS.items():
        table = np.array([reduce(values[one], how) for one in periods.members])
        wanted = pandas(frame).loc[first].to_numpy()
        if how in ("mean", "sum", "p10"):  # pandas compensates as Kahan does, and interpolates from below only
            np.testing.assert_allclose(table, wanted, rtol=1e-12 if how != "p10" else 1e-15)
        else:
            np.testing.assert_array_equal(table, wanted)


def test_day_of_the_maximum_in_seasons_across_the_new_year(gimms):
    axis, values = gimms
    periods = make_periods(axis, season="11-01..02-29")
    assert periods.labels[0] == "1981/82"
    for one, days, start in zip(periods.members, periods.days, periods.starts, strict=True):
        result = reduce(values[one], "date_of_max", days=days)
        assert (np.diff(days) > 0).all()
        best = np.nanargmax(values[one], axis=0)
        new_year = start.astype("M8[Y]").astype("M8[D]")
        np.testing.assert_array_equal(new_year + (result.astype(int) - 1) * DAY, axis.days[one][best])


# ------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"how": "maximum"}, r"composite='maximum' is not one of max, .* p1..p99; did you mean "),
        ({"how": "p0"}, "'p0' is not a percentile"),
        ({"how": "p100"}, "'p100' is not a percentile"),
        ({"how": "p2.5"}, "'p2.5' is not a percentile"),
        ({"how": "p05"}, "'p05' is not a percentile"),
        ({"min_count": 0}, "min_count=0 is not a whole number of at least 1"),
        ({"min_count": 1.5}, "min_count=1.5 is not"),
        ({"min_count": True}, "min_count=True is not"),
        ({"equal_count": 0}, "equal_count=0 is not"),
        ({"seed": -1}, "seed=-1 is not a whole number of at least 0"),
        ({"how": "count", "equal_count": 3}, "equal_count=3 cannot be combined with composite='count'"),
        ({"how": "count", "min_count": 3}, "min_count=3 cannot be combined with composite='count'"),
        ({"min_count": 4, "equal_count": 3}, "min_count=4 is more than equal_count=3"),
    ],
)
def test_impossible_composites(options, words):
    with pytest.raises(ParameterError, match=words) as caught:
        Composite(**options)
    assert "\n" not in str(caught.value)


def test_arrays_that_do_not_fit():
    values, out, days = random_series((4, 6)), np.empty(6, np.float32), np.arange(4)
    for composite, arguments, words in (
        (Composite(), {"values": values[0]}, r"shape \(6,\)"),
        (Composite(), {"values": values[:0]}, r"shape \(0, 6\)"),
        (Composite(), {"values": np.ones((4, 6), np.int64)}, "int64"),
        (Composite(), {"out": out[:5]}, r"shape \(5,\): expected contiguous float32 of shape \(6,\)"),
        (Composite("mean"), {}, "out is float32 .* float64"),
        (Composite(), {"out": np.empty(12, np.float32)[::2]}, "contiguous"),
        (Composite("date_of_max"), {"days": None}, "no days are given"),
        (Composite("date_of_max"), {"days": days[1:]}, "needs the day of each of 4 layers"),
        (Composite(equal_count=2), {}, "needs the cell"),
        (Composite(equal_count=2), {"cell": (0, 0, 0)}, "needs the cell"),
        (Composite("median"), {"by": values, "out": np.empty(6)}, "by works only with"),
        (Composite("max"), {"by": values[:, 1:]}, r"by is float32 of shape \(4, 5\)"),
    ):
        with pytest.raises(ParameterError, match=words):
            composite.reduce(**{"values": values, "out": out, "days": days, **arguments})


def test_composites_are_values():
    composite = Composite("p90", min_count=3)
    assert pickle.loads(pickle.dumps(composite)) == composite
    assert hash(composite) != hash(Composite("p90"))


def test_machine_code_is_kept_with_the_kernels_digest():
    assert "kernels/composites.py" in jit.kernel_sources()
