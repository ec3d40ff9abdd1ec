"""From stored numbers to values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelwise.kernels.unpack import CLEAN, unpack
from pixelwise.rasters.nodata import nodata_bounds

DTYPES = ("uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")


def run(raw: Any, nodata: Any, scale: float, offset: float, low: float, high: float, dtype: str) -> Any:
    out = np.empty(raw.size, dtype)
    unpack(raw, nodata_bounds(nodata, raw.dtype), scale, offset, low, high, out)
    return out


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_pass_and_nodata_is_missing(dtype: str) -> None:
    raw = np.array([0, 1, 7, 100], dtype)
    np.testing.assert_array_equal(run(raw, [7], 1, 0, -np.inf, np.inf, "float64"), [0, 1, np.nan, 100])
    np.testing.assert_array_equal(run(raw, [7, 0], 1, 0, -np.inf, np.inf, "float32"), [np.nan, 1, np.nan, 100])
    np.testing.assert_array_equal(run(raw, [], 1, 0, -np.inf, np.inf, "float32"), raw)


def test_scaling_is_done_in_float64() -> None:
    raw = np.arange(-32768, 32768, dtype=np.int16)
    np.testing.assert_array_equal(
        run(raw, [], 0.0001, -0.2, -np.inf, np.inf, "float64"), raw.astype(np.float64) * 0.0001 - 0.2
    )


def test_infinity_and_what_lies_outside_the_range_are_missing() -> None:
    raw = np.array([-np.inf, -2, -1, 0, 1, 2, np.inf, np.nan], np.float32)
    expected = [np.nan, np.nan, -1, 0, 1, np.nan, np.nan, np.nan]
    np.testing.assert_array_equal(run(raw, [], 1, 0, -1, 1, "float32"), expected)
    unbounded = np.where(np.isinf(raw), np.nan, raw)
    np.testing.assert_array_equal(run(raw, [], 1, 0, -np.inf, np.inf, "float32"), unbounded)
    np.testing.assert_array_equal(run(raw, [np.nan], 1, 0, -np.inf, np.inf, "float64"), unbounded)


def test_every_finite_number_keeps_its_bits() -> None:
    for dtype in ("float32", "float64"):
        limits = np.finfo(dtype)
        raw = np.array([0.0, -0.0, limits.max, limits.min, limits.tiny, limits.smallest_subnormal, -1 / 3], dtype)
        assert run(raw, [-9999], 1, 0, -np.inf, np.inf, dtype).tobytes() == raw.tobytes()


@pytest.mark.parametrize("nodata", [[], [7], [7, 300]])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gains_come_after_scale_and_limits(dtype: str, nodata: list[float]) -> None:
    raw = np.array([0, 1, 7, 30, 99, 100, 101, 200], dtype)
    out = np.empty(raw.size)
    low, high = 1 * 0.3 + 0.1, 100 * 0.3 + 0.1
    unpack(raw, nodata_bounds(nodata, dtype), 0.3, 0.1, low, high, out, 1.7, -0.9)
    values = raw.astype(np.float64) * 0.3 + 0.1
    gone = (values < low) | (values > high) | np.isin(raw, nodata)
    np.testing.assert_array_equal(out, np.where(gone, np.nan, values * 1.7 + -0.9))
    if dtype == "float64":  # in place
        unpack(raw, nodata_bounds(nodata, dtype), 0.3, 0.1, low, high, raw, 1.7, -0.9)
        np.testing.assert_array_equal(raw, out)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gains_alone_are_applied(dtype: str) -> None:
    raw = np.array([0, 1, 7, 30], dtype)
    for gain, shift in ((1.5, 0.0), (1.0, 0.5), (1.0, 0.0)):
        out = np.empty(raw.size)
        unpack(raw, nodata_bounds([], dtype), 1.0, 0.0, -np.inf, np.inf, out, gain, shift)
        np.testing.assert_array_equal(out, raw * gain + shift)


def test_without_gains_a_scaled_zero_keeps_its_sign() -> None:
    assert np.signbit(run(np.array([-0.0]), [], 2.0, -0.0, -1, 1, "float64")).all()


@pytest.mark.parametrize("size", [1, 3, CLEAN - 1, CLEAN, CLEAN + 1, 5 * CLEAN + 7])
@pytest.mark.parametrize("missing", [-9999, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_in_place_a_missing_value_is_found_wherever_it_stands(size: int, missing: float, dtype: str) -> None:
    values = np.arange(1, size + 1, dtype=dtype)
    for place in {0, size // 2, size - 1}:
        raw = values.copy()
        raw[place] = missing
        unpack(raw, nodata_bounds([-9999], dtype), 1.0, 0.0, -np.inf, np.inf, raw)
        expected = values.copy()
        expected[place] = np.nan
        np.testing.assert_array_equal(raw, expected)


@pytest.mark.parametrize("size", [1, CLEAN - 1, CLEAN + 1, 3 * CLEAN + 7])
@pytest.mark.parametrize("nodata", [-999.99, 7.7, 0.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_way_of_unpacking_has_the_same_bounds_of_nodata(size: int, nodata: float, dtype: str) -> None:
    [(low, high)] = bounds = nodata_bounds([nodata], dtype)
    kind = np.dtype(dtype).type
    around = [low, high, np.nextafter(low, kind(-np.inf)), np.nextafter(high, kind(np.inf)), 2 * low, 2 * high]
    raw = np.resize(np.array([*around, -5000.0, 1.0, np.inf, np.nan], dtype), size)
    expected = np.where((low <= raw) & (raw <= high) | np.isinf(raw), np.nan, raw)
    np.testing.assert_array_equal(run(raw, [nodata], 1, 0, -np.inf, np.inf, "float64"), expected)
    np.testing.assert_array_equal(run(raw, [nodata, nodata], 1, 0, -np.inf, np.inf, "float64"), expected)
    np.testing.assert_array_equal(run(raw, [nodata], 1, 0, -1e30, np.inf, "float64"), expected)
    unpack(raw, bounds, 1.0, 0.0, -np.inf, np.inf, raw)
    np.testing.assert_array_equal(raw, expected)


@given(
    st.lists(st.integers(-32768, 32767), min_size=1, max_size=40),
    st.lists(st.integers(-32768, 32767), max_size=3),
    st.sampled_from([1.0, 0.0001, 2.5]),
    st.sampled_from([0.0, -0.2]),
)
def test_against_numpy(stored: list[int], nodata: list[int], scale: float, offset: float) -> None:
    raw = np.array(stored, np.int16)
    values = raw * scale + offset
    low, high = -1000.0, 1000.0
    expected = np.where(np.isin(raw, nodata) | (values < low) | (values > high), np.nan, values)
    np.testing.assert_array_equal(run(raw, nodata, scale, offset, low, high, "float64"), expected)
