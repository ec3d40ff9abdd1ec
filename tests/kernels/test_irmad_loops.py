"""The loops of IR-MAD, against NumPy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from pixelwise import precompile
from pixelwise.kernels import irmad
from pixelwise.rectification.irmad import unchanged
from pixelwise.rectification.lines import irmad_lines
from support.compiled import PLAIN, compiled_only


def packed(images: np.ndarray, groups: int = 1) -> irmad.Chunks:
    """Pack images (2, band, pixel) as they are."""
    rows = 2 * images.shape[1]
    return irmad.pack(*images, np.zeros(rows), np.ones(rows), groups)


@pytest.mark.parametrize("df", range(1, 11))
def test_the_weight_is_the_tail_of_chi_square(df: int) -> None:
    z = np.concatenate([[0.0], np.geomspace(1e-12, 1300, 60 if PLAIN else 2000)])
    images = np.zeros((2, df, len(z)))
    images[0, 0] = np.sqrt(z)
    transform = np.zeros((df, 2 * df))
    transform[-1, 0] = 1.0
    weights = irmad.weights(packed(images), df, transform, np.zeros(df))
    np.testing.assert_allclose(weights, chi2.sf(images[0, 0] ** 2, df), rtol=3e-13)


def test_a_huge_distance_leaves_no_weight() -> None:
    images = np.full((2, 1, 3), [0.0, 1e4, 1e150])
    weights = irmad.weights(packed(images), 1, np.array([[1.0, 0.0]]), np.zeros(1))
    assert weights[0] == 1
    assert (weights[1:] < 1e-300).all()


@pytest.mark.parametrize("bands", range(1, 8))
@pytest.mark.parametrize("pixels", [17, 300] if PLAIN else [17, 255, 256, 257, 5000])
def test_moments_of_groups_are_weighted_sums(bands: int, pixels: int) -> None:
    rng = np.random.default_rng(bands)
    images = rng.normal(size=(2, bands, pixels))
    transforms = rng.normal(size=(2, bands, 2 * bands)) / bands
    shifts = rng.normal(size=(2, bands)) / 10
    found = irmad.moments(packed(images, 3), bands, transforms, shifts, np.array([-1, 1]))
    both = images.reshape(2 * bands, pixels)
    edges = [0, pixels // 3, pixels * 2 // 3, pixels]
    for s, (transform, shift) in enumerate(zip(transforms, shifts, strict=True)):
        weights = chi2.sf(((transform @ both - shift[:, None]) ** 2).sum(axis=0), bands)
        for group in range(3):
            part = slice(edges[group], edges[group + 1])
            w, x = weights[part], both[:, part]
            if (s, group) == (1, 1):  # left out
                w = np.zeros_like(w)
            for got, expected in zip(found, (w.sum(), (w * x).sum(axis=1), (w * x) @ x.T), strict=True):
                np.testing.assert_allclose(got[s, group], expected, rtol=1e-11, atol=1e-11)


def test_without_a_solution_all_weights_are_one() -> None:
    images = np.random.default_rng(0).normal(size=(2, 3, 40))
    none = np.zeros((0, 3, 6)), np.zeros((0, 3))
    weight, total, products = irmad.moments(packed(images), 3, *none, np.array([-1]))
    both = images.reshape(6, 40)
    assert weight[0, 0] == 40
    np.testing.assert_allclose(total[0, 0], both.sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(products[0, 0], both @ both.T, rtol=1e-12)


def test_packing_shifts_and_scales_each_band() -> None:
    images = np.random.default_rng(0).normal(size=(2, 2, 30))
    chunks = irmad.pack(*images, np.array([1.0, 2, 3, 4]), np.array([2.0, 4, 8, 16]), 2)
    assert chunks.counts.tolist() == [15, 15]
    expected = (images.reshape(4, 30) - np.array([1, 2, 3, 4])[:, None]) / np.array([2, 4, 8, 16])[:, None]
    np.testing.assert_allclose(np.hstack([part[:, :15] for part in chunks.values]), expected, rtol=1e-14)
    assert not chunks.values[:, :, 15:].any()


@compiled_only
def test_what_is_compiled_beforehand_is_all_that_is_needed() -> None:
    """Whatever the number of bands, the type of values, and whether they can be written to."""
    loops = (irmad.fill, irmad.add_all, irmad.weigh_all)
    precompile._rectify()
    before = [list(loop.signatures) for loop in loops]
    rng = np.random.default_rng(0)
    for bands, dtype, order in ((1, "float64", "C"), (3, "float32", "C"), (4, "float64", "F"), (2, "int16", "C")):
        images = np.asarray(1000 * rng.normal(size=(2, bands, 200)), dtype=dtype, order=order)  # type: ignore[call-overload]
        images.flags.writeable = False
        irmad_lines(*images)
        unchanged(*images)
    assert [list(loop.signatures) for loop in loops] == before
