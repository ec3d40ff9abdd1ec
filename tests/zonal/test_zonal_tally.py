"""Statistics that arrive block by block, against NumPy on all values at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelwise.zonal.tally import Circular, Median, Moments, Search, search_medians


def search(values: Any, weights: Any) -> float:
    """Return the median by bits."""
    one = Search(float(weights.sum()), values.dtype)

    def read(numbers: Sequence[int]) -> Iterator[tuple[int, Any, Any]]:
        for number in numbers:
            for part in (slice(0, 3), slice(3, None)):
                yield number, values[part], weights[part]

    search_medians([one], read)
    return one.value


def kept(values: Any, weights: Any) -> float:
    one = Median(len(values))
    one.add(values[:3], weights[:3])
    one.add(values[3:], weights[3:])
    return one.value


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


def test_many_searches_share_passes() -> None:
    random = np.random.default_rng(2)
    tables = [random.normal(0, 10.0 ** random.integers(-3, 4), 501).astype(np.float32) for _ in range(150)]
    searches = [Search(501.0, values.dtype) for values in tables]
    passes = 0

    def read(numbers: Sequence[int]) -> Iterator[tuple[int, Any, Any]]:
        nonlocal passes
        passes += 1
        yield from ((number, tables[number], np.ones(501)) for number in numbers)

    search_medians(searches, read)
    assert [one.value for one in searches] == [float(np.median(values)) for values in tables]
    assert passes == 6  # 64, 64 and 22 of them, 16 bits of 32 in each


def test_moments_of_parts_are_those_of_all() -> None:
    random = np.random.default_rng(4)
    values, weights = random.normal(1e6, 1, 1000), random.uniform(0, 2, 1000)
    found = Moments()
    for part in np.array_split(np.arange(1000), [0, 1, 17, 500]):
        found.add(values[part], weights[part])
    mean = np.average(values, weights=weights)
    assert found.mean == pytest.approx(mean, rel=1e-14)
    assert found.sd == pytest.approx(np.sqrt(np.average((values - mean) ** 2, weights=weights)), rel=1e-9)
    constant = Moments()
    for weight in (0.1, 0.7, 3.0):
        constant.add(np.full(3, 0.1), np.full(3, weight))
    assert (constant.mean, constant.sd) == (0.1, 0.0)


def test_days_around_new_year() -> None:
    found = Circular()
    found.add(np.array([360.0]), np.array([1.0]))
    found.add(np.array([4.75]), np.array([1.0]))
    assert found.mean == pytest.approx(365.0)
    opposite = Circular()
    opposite.add(np.array([1.0, 1 + 365.25 / 2]), np.ones(2))
    assert np.isnan(opposite.mean)
