"""Limits between classes, and how numbers are written."""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pixelwise as pw
from pixelwise.grid import Block
from pixelwise.pictures import breaks
from pixelwise.pictures.breaks import equal_limits, fisher_limits, quantile_limits, ranges_of
from pixelwise.pictures.choosing import scheme_of
from pixelwise.pictures.numbers import distinct_numbers, percent, range_label, readable, square_kilometres, with_minus
from support.drawn import MINUS, make_map


@pytest.mark.parametrize("count", [2, 5, 7, 12])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 7, 11, 36, 1000])
def test_limits_are_the_quantiles_of_numpy(size: int, count: int) -> None:
    values = np.random.default_rng(size).normal(size=size)
    expected = np.quantile(values, np.arange(count + 1) / count)
    assert np.allclose(quantile_limits(values.copy(), count), expected, rtol=1e-12)


def test_quantiles_that_are_values_are_exactly_those() -> None:
    # 0.6 * 10 is less than 6 in floating point.
    assert quantile_limits(np.arange(11.0) / 10, 5) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]


def test_equal_limits() -> None:
    assert equal_limits(np.array([3.0, -1.0, 0.0]), 4) == [-1, 0, 1, 2, 3]


def squares_within(values: Any, cuts: tuple[int, ...]) -> float:
    parts = np.split(values, cuts)
    return float(sum(((part - part.mean()) ** 2).sum() for part in parts))


@pytest.mark.parametrize("count", [2, 3, 4])
def test_natural_breaks_are_the_best_of_all(count: int) -> None:
    values = np.sort(np.random.default_rng(count).gamma(1.0, size=14))
    best = min(combinations(range(1, 14), count - 1), key=lambda cuts: squares_within(values, cuts))
    limits = fisher_limits(values[::-1].copy(), count)
    assert (limits[0], limits[-1]) == (values[0], values[-1])
    assert tuple(np.searchsorted(values, limits[1:-1])) == best
    assert not set(limits[1:-1]) & set(values)  # between values, so that none is on a limit


def test_natural_breaks_of_few_values_and_of_many() -> None:
    assert fisher_limits(np.array([2.0, 2.0, 2.0]), 5) == [2, 2]
    assert fisher_limits(np.array([1.0, 9.0, 9.0]), 5) == [1, 5, 9]
    random = np.random.default_rng(1)
    two = np.concatenate([random.normal(0, 1, 30_000), random.normal(20, 1, 30_000)]).astype(np.float32)
    assert 4 < fisher_limits(two, 2)[1] < 16
    assert two.size > breaks.FISHER_VALUES


def test_equal_neighbours_become_a_range_of_one_value() -> None:
    assert ranges_of([0, 0, 0, 1, 2]) == [(0, 0), (0, 1), (1, 2)]
    assert ranges_of([3, 3]) == [(3, 3)]


@pytest.mark.parametrize(
    ("numbers", "texts"),
    [
        ((-0.0312, -0.0005, 0.0021), ["-0.0312", "-0.0005", "0.0021"]),
        ((0.1, 0.2, 0.3), ["0.1", "0.2", "0.3"]),
        ((-1000.0, 2000.0), ["-1000", "2000"]),
        ((1e-9, 2e-9), ["1.0e-09", "2.0e-09"]),
        ((1e9, 1e9 + 7.5), ["1.00000000e+09", "1.00000001e+09"]),
        ((5.0, 5.000001, 5.000002), ["5.000000", "5.000001", "5.000002"]),
        ((-0.0,), ["0"]),
        ((1234.5,), ["1234"]),
    ],
)
def test_limits_have_the_digits_that_tell_them_apart(numbers: tuple[float, ...], texts: list[str]) -> None:
    written = distinct_numbers(numbers)
    assert [written[number] for number in numbers] == [text.replace("-", MINUS) for text in texts]


@given(st.sets(st.floats(-1e12, 1e12), min_size=2, max_size=8))
def test_numbers_that_differ_are_written_differently(numbers: set[float]) -> None:
    written = distinct_numbers(numbers)
    assert len(set(written.values())) == len(numbers)


@given(st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=9))
def test_readable_limits_stay_in_order_and_near(limits: list[float]) -> None:
    limits = sorted(limits)
    rounded = readable(limits)
    assert rounded == sorted(rounded)
    assert (rounded[0], rounded[-1]) == (limits[0], limits[-1])
    for place in range(1, len(limits) - 1):
        room = min(limits[place] - limits[place - 1], limits[place + 1] - limits[place])
        assert abs(rounded[place] - limits[place]) <= room / 4


def test_readable_limits_have_few_digits() -> None:
    assert readable([0.0131, 24.87, 29.94, 38.3, 50.22, 1211481.0])[1:-1] == [25, 30, 40, 50]
    assert readable([0.0, 0.000312, 0.00068, 0.01])[1:-1] == [0.0003, 0.0006]
    assert readable([1.0, 2.0]) == [1, 2]
    assert all(low < high for low, high in pairwise(readable([0.0, 1.0, 1.1, 50.0])))


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"), (1, "100 %"), (0.2, "20.0 %"), (0.0004, "< 0.1 %"), (0.9999, "> 99.9 %"), (0.0005, "0.1 %"),
        (0.99949, "99.9 %"),
    ],
)  # fmt: skip
def test_shares_are_never_rounded_to_nothing_or_all(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("area", "text"),
    [
        (0, "0 km²"), (0.0009, "0.000900 km²"), (12.34, "12.3 km²"), (123.4, "123 km²"),
        (3147330.7, "3\N{NARROW NO-BREAK SPACE}147\N{NARROW NO-BREAK SPACE}331 km²"),
    ],
)  # fmt: skip
def test_areas_have_three_digits_or_more(area: float, text: str) -> None:
    assert square_kilometres(area) == text


def test_a_minus_is_a_minus_and_zero_has_none() -> None:
    assert (with_minus("-0.00"), with_minus("-1e-09"), with_minus("5")) == ("0.00", f"{MINUS}1e{MINUS}09", "5")
    assert (range_label("1", "2"), range_label("1", "1")) == ("1 to 2", "1")


@pytest.mark.parametrize(
    ("kind", "classes"),
    [
        *(("float32", classes) for classes in ("equal:4", "fisher:3", "quintile", "continuous")),
        ("float64", "equal:4"), ("float64", "quintile"),
    ],
)  # fmt: skip
def test_limits_of_the_largest_numbers(kind: str, classes: str) -> None:
    values = np.linspace(-1, 1, 3000).astype(kind).reshape(1, -1) * np.finfo(kind).max
    scheme = scheme_of(make_map((pw.Band("x"),), values), classes=classes)
    codes = scheme.codes(make_map((pw.Band("x"),), values), Block(0, 0, 1, 3000))
    assert codes.max() == len(scheme.classes) - 1
    assert (np.diff(codes[0].astype(int)) >= 0).all()
    if classes == "equal:4":
        assert np.bincount(codes[0]) == pytest.approx([750] * 4, abs=1)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ([1234567], ["below 1234567", "1234567 and above"]),
        ([6.9999999], ["below 6.9999999", "6.9999999 and above"]),
        ([1, 1.0000001], ["below 1", "1 to 1.0000001", "1.0000001 and above"]),
        ([-0.5, 0, 1e-7], [f"below {MINUS}0.5", f"{MINUS}0.5 to 0", f"0 to 1e{MINUS}07", f"1e{MINUS}07 and above"]),
    ],
)
def test_limits_are_written_as_they_were_typed(limits: list[float], expected: list[str]) -> None:
    map_ = make_map((pw.Band("x"),), np.array([[*limits]], np.float64))
    scheme = scheme_of(map_, classes=limits)
    assert [one.label for one in scheme.classes] == expected
    assert scheme.codes(map_, Block(0, 0, 1, len(limits))).tolist() == [list(range(1, len(limits) + 1))]
