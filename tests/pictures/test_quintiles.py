"""Ranges of any values: every pixel lies in the range that its class names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import pixelwise as pw
from pixelwise.choices import BandKind
from pixelwise.pictures.choosing import scheme_of
from pixelwise.pictures.palettes import NEUTRAL_COLOR, shades
from pixelwise.pictures.scheme import MISSING, Scheme
from support.drawn import MINUS, NAN, make_map, row


def classified(values: Any, kind: BandKind | None = "signed", **options: Any) -> tuple[Scheme, Any]:
    """Return the classes of values, and the code of each pixel."""
    map_ = make_map((pw.Band("b", kind=kind or ""),), values)
    scheme = scheme_of(map_, "b", **options)
    return scheme, scheme.codes(map_, map_.grid.block)


def colors(scheme: Scheme) -> tuple[str, ...]:
    return tuple(one.color for one in scheme.classes)


def limits(scheme: Scheme) -> tuple[Any, ...]:
    return tuple(one.limits for one in scheme.classes)


def test_quintiles_of_eleven_values_around_zero() -> None:
    scheme, codes = classified(row(NAN, 5, 4, 3, 2, 1, 0, -1, -2, -3, -4, -5))
    # Sorted values 0, 2, 4, ... are the limits; a limit belongs to the class above it.
    assert limits(scheme) == ((-5, -3), (-3, -1), (-1, 1), (1, 3), (3, 5))
    assert codes.tolist() == [[MISSING, 4, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0]]
    assert codes.dtype == np.uint8
    assert scheme.classes[0].label == f"{MINUS}5 to {MINUS}3"
    assert colors(scheme) == (*shades("greening", -1, 2)[::-1], NEUTRAL_COLOR, *shades("greening", 1, 2))


def test_a_value_that_fills_a_quintile_is_a_class_of_its_own() -> None:
    scheme, codes = classified(row(0, 0, 0, 0, 0, 0, 1, 2, 3, 4))
    # Positions 0, 1.8, 3.6, 5.4, 7.2, 9 of the sorted values: 0, 0, 0, 0.4, 2.2, 4. Nothing lies between 0 and 0.4.
    assert codes.tolist() == [[0, 0, 0, 0, 0, 0, 1, 1, 2, 2]]
    assert np.allclose(limits(scheme), ((0, 0), (0.4, 2.2), (2.2, 4)))
    assert [one.label for one in scheme.classes] == ["0.0", "0.4 to 2.2", "2.2 to 4.0"]
    assert colors(scheme) == (NEUTRAL_COLOR, *shades("greening", 1, 2))


def test_a_tie_in_the_middle_leaves_its_neighbours_their_sign() -> None:
    scheme, codes = classified(row(-3, -2, -1, 0, 0, 0, 0, 0, 1, 2, 3))
    # Positions 0, 2, 4, 6, 8, 10: -3, -1, 0, 0, 1, 3.
    assert limits(scheme) == ((-3, -1), (-1, 0), (0, 0), (1, 3))
    assert codes.tolist() == [[0, 0, 1, 2, 2, 2, 2, 2, 3, 3, 3]]
    assert colors(scheme) == (*shades("greening", -1, 2)[::-1], NEUTRAL_COLOR, *shades("greening", 1, 1))


@pytest.mark.parametrize(("value", "label", "sign"), [(0.0, "0", 0), (-2.5, f"{MINUS}2.5", -1), (1234.5, "1234", 1)])
def test_a_constant_band_is_one_class(value: float, label: str, sign: int) -> None:
    scheme, codes = classified(row(value, value, NAN, value))
    assert codes.tolist() == [[0, 0, MISSING, 0]]
    assert limits(scheme) == ((value, value),)
    assert scheme.classes[0].label == label
    assert colors(scheme) == (shades("greening", sign, 1) if sign else (NEUTRAL_COLOR,))


@pytest.mark.parametrize("sign", [1, -1])
def test_values_of_one_sign_get_shades_of_one_hue(sign: int) -> None:
    scheme, codes = classified(sign * np.arange(1, 26, dtype=np.float32).reshape(5, 5))
    assert colors(scheme) == shades("greening", sign, 5)[::sign]
    assert np.bincount(codes.ravel()).tolist() == [5] * 5


@pytest.mark.parametrize("values", [row(NAN, NAN), np.full((3, 2), NAN, np.float32)])
def test_without_values_there_are_no_classes(values: Any) -> None:
    scheme, codes = classified(values)
    assert (codes == MISSING).all()
    assert scheme.classes == ()


VALUES = arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 12)),
    elements=st.one_of(
        st.sampled_from([NAN, 0.0, -0.0, 1.0, -1.0]), st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False)
    ),
)


@settings(max_examples=100)
@given(VALUES, st.sampled_from(["quintile", "quantile:3", "equal:4", "fisher:3"]))
def test_ranges_of_any_values(values: Any, classes: str) -> None:
    before = values.copy()
    scheme, codes = classified(values, classes=classes)
    assert np.array_equal(values, before, equal_nan=True)
    assert np.array_equal(codes == MISSING, np.isnan(values))
    # Zeros that are a limit have a class of their own.
    assert len({one.label for one in scheme.classes}) == len(scheme.classes) <= 6
    assert limits(scheme) == tuple(sorted(limits(scheme)))
    for code, one in enumerate(scheme.classes):
        members = values[codes == code]
        assert members.size
        assert one.limits is not None
        low, high = one.limits
        assert np.float32(low) <= members.min() <= members.max() <= np.float32(high)
        if one.color == NEUTRAL_COLOR:
            assert low < 0 < high or low == high == 0
        else:
            assert ((-1 if high <= 0 else 1) * members >= 0).all()


@settings(max_examples=100)
@given(VALUES, st.sampled_from(["level", "time", "share", "test", "day of year", "correlation", "change"]))
def test_every_value_has_a_class(values: Any, kind: BandKind) -> None:
    scheme, codes = classified(values, kind)
    assert np.array_equal(codes == MISSING, np.isnan(values))
    assert (codes[~np.isnan(values)] < len(scheme.classes)).all()
    labels = [one.label for one in scheme.classes]
    assert len(set(labels)) == len(labels)
    # Higher values never have a lower class.
    order = np.argsort(values[~np.isnan(values)], kind="stable")
    assert (np.diff(codes[~np.isnan(values)][order].astype(int)) >= 0).all()
