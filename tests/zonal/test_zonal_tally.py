"""Statistics that arrive block by block, against NumPy on all values at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelwise.zonal import tally
from pixelwise.zonal.cover import Runs
from pixelwise.zonal.tally import Circular, Medians, Moments, Search, search_medians


def one(count: int) -> Runs:
    """Return numbers that are all of one zone."""
    return Runs.of(np.zeros(count, np.int64))


def search(values: Any, weights: Any) -> float:
    """Return the median by bits."""
    found = Search(np.array([weights.sum()]), values.dtype)

    def read(numbers: Sequence[int]) -> Iterator[tuple[int, Any, Any, Runs]]:
        for number in numbers:
            for part in (slice(0, 3), slice(3, None)):
                yield number, values[part], weights[part], one(len(values[part]))

    search_medians([found], read)
    return float(found.values[0])


def kept(values: Any, weights: Any) -> float:
    found = Medians(1, len(values))
    found.add(values[:3], weights[:3], one(len(values[:3])))
    found.add(values[3:], weights[3:], one(len(values[3:])))
    assert not found.full
    return float(found.values[0])


finite = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=True)


@given(st.lists(finite, min_size=1, max_size=40), st.sampled_from(["float32", "float64"]))
def test_with_equal_weights_it_is_the_usual_median(values: list[float], kind: str) -> None:
    array, weights = np.array(values, kind), np.full(len(values), 0.37)
    ordered = np.sort(array).astype(np.float64)
    usual = (ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2
    assert kept(array, weights) == usual
    assert search(array, weights) == usual


@given(st.lists(st.tuples(st.sampled_from([-3.5, -0.0, 0.0, 1.25, 7.0]), st.integers(1, 9)), min_size=1, max_size=30))
def test_weights_are_repetitions(pairs: list[tuple[float, int]]) -> None:
    values = np.array([value for value, _ in pairs], np.float32)
    weights = np.array([float(weight) for _, weight in pairs])
    usual = float(np.median(np.repeat(values, weights.astype(int))))
    assert kept(values, weights) == pytest.approx(usual, abs=0)
    assert search(values, weights) == pytest.approx(usual, abs=0)


@pytest.mark.parametrize(("bins", "passes"), [(1 << 23, 3), (4000, 11)])
def test_zones_share_passes(monkeypatch: pytest.MonkeyPatch, bins: int, passes: int) -> None:
    """150 zones whose values arrive in any order, against NumPy; with little memory a pass decides fewer bits."""
    monkeypatch.setattr(tally, "MOST_BINS", bins)
    random = np.random.default_rng(2)
    zones = np.sort(random.integers(0, 150, (4, 20_000)), axis=1)
    values = (random.normal(0, 1, zones.shape) * 10.0 ** (zones % 7 - 3)).astype(np.float32)
    found = Search(np.bincount(zones.ravel(), minlength=151).astype(float), values.dtype)
    count = 0

    def read(numbers: Sequence[int]) -> Iterator[tuple[int, Any, Any, Runs]]:
        nonlocal count
        count += 1
        for number in numbers:
            for own, values_there in zip(zones, values, strict=True):
                yield number, values_there, np.ones(len(own)), Runs.of(own)

    search_medians([found], read)
    expected = [float(np.median(values[zones == zone])) for zone in range(150)]
    np.testing.assert_allclose(found.values[:150], expected, rtol=1e-7)
    assert np.isnan(found.values[150])
    assert count == passes
    again = Medians(151, values.size)
    for own, values_there in zip(zones, values, strict=True):
        again.add(values_there, np.ones(len(own)), Runs.of(own))
    np.testing.assert_array_equal(again.values, found.values)


def test_moments_of_parts_are_those_of_all() -> None:
    random = np.random.default_rng(4)
    values, weights, zones = random.normal(1e6, 1, 1000), random.uniform(0, 2, 1000), random.integers(1, 4, 1000)
    found = Moments(5)
    for part in np.array_split(np.arange(1000), [0, 1, 17, 500]):
        part = part[np.argsort(zones[part], kind="stable")]
        found.add(values[part], weights[part], Runs.of(zones[part]))
    for zone in (1, 2, 3):
        own, weight = values[zones == zone], weights[zones == zone]
        mean = np.average(own, weights=weight)
        assert found.mean[zone] == pytest.approx(mean, rel=1e-14)
        assert found.sd[zone] == pytest.approx(np.sqrt(np.average((own - mean) ** 2, weights=weight)), rel=1e-9)
    assert np.isnan([found.mean[0], found.sd[0], found.mean[4], found.sd[4]]).all()
    constant = Moments(1)
    for weight in (0.1, 0.7, 3.0):
        constant.add(np.full(3, 0.1), np.full(3, weight), one(3))
    assert (constant.mean[0], constant.sd[0]) == (0.1, 0.0)


def test_squares_that_are_too_large_are_infinite() -> None:
    found = Moments(1)
    found.add(np.array([1e300, -1e300, 1e300]), np.ones(3), one(3))
    assert found.mean[0] == pytest.approx(1e300 / 3)
    assert found.sd[0] == np.inf


def test_days_around_new_year() -> None:
    found = Circular(1)
    found.add(np.array([360.0]), np.array([1.0]), one(1))
    found.add(np.array([4.75]), np.array([1.0]), one(1))
    assert found.mean[0] == pytest.approx(365.0)
    opposite = Circular(1)
    opposite.add(np.array([1.0, 1 + 365.25 / 2]), np.ones(2), one(2))
    assert np.isnan(opposite.mean[0])


def test_equal_days_have_no_deviation() -> None:
    """Not even -0, which tables would show."""
    found = Circular(1)
    found.add(np.array([100.0, 100.0]), np.ones(2), one(2))
    assert str(found.sd[0]) == "0.0"
