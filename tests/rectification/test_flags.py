"""Doubts about lines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pixelwise.rectification.flags import flags_of
from pixelwise.rectification.lines import Lines, irmad_lines

ONE = Lines.identity(np.random.default_rng(0).random((2, 20_000)))
GOOD = replace(ONE, gain_se=np.full(2, 0.001), correlation=np.full(2, 0.99))


@pytest.mark.parametrize(
    ("changed", "flag"),
    [
        ({"n": 9_999}, "few"),
        ({"converged": False}, "not_converged"),
        ({"mean_weight": 0.029}, "little_unchanged"),
        ({"gain_se": np.array([0.051, 0.0])}, "uncertain"),
        ({"gain_se": np.array([np.nan, 0.0])}, "uncertain"),
        ({"correlation": np.array([0.949, 1.0])}, "uncertain"),
        ({"gain": np.array([0.499, 1.0])}, "far"),
        ({"gain": np.array([2.01, 1.0])}, "far"),
        ({"saturated": np.array([True, False])}, "saturated"),
    ],
)
def test_each_limit(changed: dict[str, object], flag: str) -> None:
    assert flags_of(GOOD, 0, "irmad") == ()
    lines = replace(GOOD, **changed)  # type: ignore[arg-type]
    assert flags_of(lines, 0, "irmad") == (flag,)
    whole = {"few", "not_converged", "little_unchanged"}
    assert flags_of(lines, 1, "irmad") == ((flag,) if flag in whole else ())


@pytest.mark.parametrize(
    "near",
    [
        {"n": 10_000}, {"mean_weight": 0.031}, {"gain_se": np.array([0.049, 0.0])},
        {"correlation": np.array([0.951, 1.0])}, {"gain": np.array([0.51, 1.0])}, {"gain": np.array([1.99, 1.0])},
    ],
)  # fmt: skip
def test_just_within_each_limit(near: dict[str, object]) -> None:
    assert flags_of(replace(GOOD, **near), 0, "irmad") == ()  # type: ignore[arg-type]


def test_control_sets_are_small_on_purpose() -> None:
    assert flags_of(replace(GOOD, n=40, mean_weight=0.01), 0, "controls") == ()


def test_noise_over_ground_without_contrast_is_not_taken_for_gain() -> None:
    random = np.random.default_rng(1)
    ground = 0.03 + 0.003 * random.normal(size=(3, 12_000))
    reference, scene = (ground + random.normal(0, noise, ground.shape) for noise in (0.001, 0.006))
    lines = irmad_lines(reference, scene)
    assert (lines.gain < 0.8).all()  # not 1
    assert all("uncertain" in flags_of(lines, band, "irmad") for band in range(3))
