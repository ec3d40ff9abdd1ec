"""Colours of classes: distances in CIELAB, as people with and without colour blindness see them."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest

from pixelwise.bands import Band, Status
from pixelwise.choices import Palette
from pixelwise.errors import ParameterError
from pixelwise.pictures.palettes import (
    CONSTANT_COLOR,
    INFINITE_COLOR,
    MISSING_COLOR,
    MONTH_COLORS,
    NEUTRAL_COLOR,
    NOT_TESTED_COLOR,
    STATUS_COLORS,
    UNKNOWN_COLOR,
    between,
    palette_for,
    sequential,
    shades,
)

#: Machado, Oliveira & Fernandes (2009), severity 1.0, of linear RGB.
EYES = {
    "normal": np.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
#: Linear sRGB to CIE XYZ, for the white of D65.
TO_XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
WHITE = (0.95047, 1.0, 1.08883)


def lab(color: str, eye: str = "normal") -> np.ndarray:
    """Return L*, a*, b* of a colour as an eye sees it."""
    values = np.array([int(color[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(EYES[eye]) @ linear, 0, 1)
    ratios = np.asarray(TO_XYZ) @ seen / WHITE
    x, y, z = np.where(ratios > 216 / 24389, np.cbrt(ratios), (24389 / 27 * ratios + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def nearest(colors: list[str], eye: str) -> float:
    """Return the smallest distance of any two colours; in grey, the difference of lightness."""
    seen = [lab(color)[:1] if eye == "grey" else lab(color, eye) for color in colors]
    return min(float(np.linalg.norm(one - other)) for one, other in combinations(seen, 2))


def test_distances_are_those_of_others() -> None:
    # Lindbloom's calculator: pure red, and the grey #777777.
    assert np.allclose(lab("#ff0000"), [53.24, 80.09, 67.20], atol=0.02)
    assert np.allclose(lab("#777777"), [50.03, 0, 0], atol=0.02)


OTHERS = [NEUTRAL_COLOR, MISSING_COLOR, NOT_TESTED_COLOR, CONSTANT_COLOR]


@pytest.mark.parametrize("eye", [*EYES, "grey"])
@pytest.mark.parametrize("palette", ["greening", "warming"])
def test_classes_of_a_test_are_told_apart(palette: Palette, eye: str) -> None:
    colors = [*shades(palette, -1, 2), *shades(palette, 1, 2), *OTHERS]
    assert nearest(colors, eye) > (6 if eye == "grey" else 10)


@pytest.mark.parametrize("palette", ["greening", "warming"])
def test_what_is_not_significant_is_pale_and_what_is_stands_out(palette: Palette) -> None:
    for sign in (-1, 1):
        weak, strong = (lab(color) for color in shades(palette, sign, 2))
        assert weak[0] > 80
        assert strong[0] < 50


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("palette", ["greening", "warming"])
def test_classes_of_confidence_are_told_apart(palette: Palette, eye: str) -> None:
    assert nearest([*shades(palette, -1, 3), *shades(palette, 1, 3), *OTHERS], eye) > 9


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("count", [1, 3, 4, 5])
@pytest.mark.parametrize("palette", ["greening", "warming"])
def test_shades_are_told_apart_and_from_what_is_missing(palette: Palette, count: int, eye: str) -> None:
    colors = [*shades(palette, -1, count), *shades(palette, 1, count), NEUTRAL_COLOR, MISSING_COLOR]
    assert nearest(colors, eye) > 9


@pytest.mark.parametrize("count", [2, 3, 4, 5, 7])
@pytest.mark.parametrize("palette", ["greening", "warming"])
def test_shades_of_a_sign_darken_outwards(palette: Palette, count: int) -> None:
    for sign in (-1, 1):
        lightness = [float(lab(color)[0]) for color in shades(palette, sign, count)]
        assert all(near - far > 5 for near, far in pairwise(lightness))


@pytest.mark.parametrize("count", [2, 3, 5, 7, 8, 12])
@pytest.mark.parametrize("palette", ["viridis", "cividis"])
def test_scales_lighten_evenly_for_every_eye(palette: Palette, count: int) -> None:
    colors = list(sequential(palette, count))
    for eye in EYES:
        lightness = [float(lab(color, eye)[0]) for color in colors]
        assert lightness == sorted(lightness)
    lightness = [float(lab(color)[0]) for color in colors]
    steps = np.diff(lightness)
    assert steps.min() > 0.5 * steps.mean()
    assert nearest([*colors, MISSING_COLOR], "deuteranopia") > (10 if count < 9 else 5)


@pytest.mark.parametrize("eye", EYES)
def test_months_go_round_and_are_not_missing(eye: str) -> None:
    assert len(set(MONTH_COLORS)) == 12
    assert nearest([*MONTH_COLORS, MISSING_COLOR], eye) > 10
    around = [lab(color, eye) for color in (*MONTH_COLORS, MONTH_COLORS[0])]
    assert max(float(np.linalg.norm(a - b)) for a, b in pairwise(around)) < 36  # no jump, not even at the new year


@pytest.mark.parametrize("eye", ["normal", "deuteranopia", "protanopia"])
def test_statuses_are_told_apart(eye: str) -> None:
    assert set(STATUS_COLORS) == set(Status)
    assert STATUS_COLORS[Status.NO_OBSERVATION] == MISSING_COLOR
    assert STATUS_COLORS[Status.TEST_UNDEFINED] == NOT_TESTED_COLOR
    assert nearest([*STATUS_COLORS.values(), UNKNOWN_COLOR], eye) > 9


def test_infinity_is_no_end_of_a_scale() -> None:
    for palette in ("viridis", "cividis"):
        assert nearest([*sequential(palette, 5), INFINITE_COLOR], "normal") > 15


def test_colours_between_two_are_mixtures() -> None:
    assert between(("#000000", "#ffffff"), 3) == ("#000000", "#808080", "#ffffff")
    assert between(("#000000", "#ffffff"), 0) == ()
    assert between(("#000000", "#ffffff"), 1) == ("#808080",)


@pytest.mark.parametrize(
    ("band", "quantity", "expected"),
    [
        (Band("slope", unit="degC/year", kind="change"), "", "warming"),
        (Band("slope", unit="K/decade", kind="change"), "", "warming"),
        (Band("slope", unit="1/year", kind="change"), "SST", "warming"),
        (Band("slope", unit="kg/year", kind="change"), "NDVI", "greening"),
        (Band("mean", unit="degC", kind="level"), "SST", "viridis"),
        (Band("anything"), "", "greening"),
    ],
)
def test_the_palette_follows_the_unit_or_the_quantity(band: Band, quantity: str, expected: str) -> None:
    assert palette_for(band, None, quantity) == expected


def test_a_palette_must_suit_the_numbers() -> None:
    assert palette_for(Band("slope", kind="change"), "warming") == "warming"
    assert palette_for(Band("anything"), "cividis") == "cividis"
    with pytest.raises(ParameterError, match="band slope has two directions, which palette viridis does not suit"):
        palette_for(Band("slope", kind="change"), "viridis")
    with pytest.raises(ParameterError, match="band n has no direction, which palette warming does not suit: use vi"):
        palette_for(Band("n", kind="count"), "warming")
