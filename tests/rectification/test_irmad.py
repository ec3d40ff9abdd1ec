"""IR-MAD against a plain implementation, and against what ArrNorm made of a real pair of scenes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import rasterio

from pixelwise.rectification.irmad import DegenerateError, unchanged
from support.irmad_plain import plain_irmad
from support.places import SHARED
from support.scenes_simulated import pair

PAIR = SHARED / "arrnorm_pair"
needs_pair = pytest.mark.skipif(not PAIR.is_dir(), reason="shared data arrnorm_pair is absent")


@pytest.mark.parametrize("bands", range(1, 8))
def test_weights_are_those_of_a_plain_implementation(bands: int) -> None:
    rng = np.random.default_rng(bands)
    reference = rng.normal(size=(bands, bands)) @ rng.normal(size=(bands, 3000))
    scene = 1.3 * reference + 0.2 + 0.1 * rng.normal(size=reference.shape)
    scene[:, :900] = rng.normal(size=(bands, 900))
    weights, rho, rounds, settled = plain_irmad(reference, scene)
    found = unchanged(reference, scene)
    assert (found.iterations, found.converged) == (rounds, settled)
    np.testing.assert_allclose(found.correlations, rho[::-1], atol=1e-11)
    np.testing.assert_allclose(found.weights, weights, atol=1e-9)
    assert found.weights[:900].mean() < 0.2 * found.weights[900:].mean()


def test_weights_do_not_depend_on_units() -> None:
    simulated = pair(3, "random", 0.3, n=5000)
    found = unchanged(simulated.reference, simulated.scene)
    digital = unchanged(simulated.reference * 1e4 + 7, simulated.scene * 2.75e-5 - 0.2)
    assert found.iterations == digital.iterations
    np.testing.assert_allclose(digital.weights, found.weights, atol=1e-9)


def test_rounds_end_at_the_last_that_is_allowed() -> None:
    simulated = pair(3, "random", 0.3, n=5000)
    for rounds in (1, 2, 3):
        found = unchanged(simulated.reference, simulated.scene, rounds=rounds)
        weights, rho, *_ = plain_irmad(simulated.reference, simulated.scene, rounds=rounds)
        assert (found.iterations, found.converged) == (rounds, False)
        np.testing.assert_allclose(found.correlations, rho[::-1], atol=1e-11)
        np.testing.assert_allclose(found.weights, weights, atol=1e-8)


def test_an_image_that_differs_by_gain_and_offset_alone_is_unchanged() -> None:
    reference = np.random.default_rng(0).normal(size=(4, 500))
    found = unchanged(reference, reference * [[0.5], [2], [3], [4]] + 1)
    assert found.converged
    np.testing.assert_allclose(found.weights, 1, atol=1e-6)
    np.testing.assert_allclose(found.correlations, 1, atol=1e-12)


def test_a_band_that_says_nothing_is_named() -> None:
    rng = np.random.default_rng(0)
    reference, scene = rng.normal(size=(2, 3, 100))
    flat = scene.copy()
    flat[1] = 0.1
    with pytest.raises(DegenerateError, match=r"^band 2 of the scene has one value in all pixels: 0\.1$") as caught:
        unchanged(reference, flat)
    assert (caught.value.image, caught.value.band) == ("scene", 1)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.image, again.band) == (str(caught.value), "scene", 1)
    twice = reference.copy()
    twice[2] = 3 * twice[0] - twice[1] + 8
    with pytest.raises(DegenerateError, match="band 3 of the reference is a linear combination of the bands before it"):
        unchanged(twice, scene)


def test_what_cannot_be_compared_is_refused() -> None:
    images = np.random.default_rng(0).normal(size=(2, 3, 100))
    with pytest.raises(ValueError, match=r"reference \(3, 100\), scene \(2, 100\): expected one shape"):
        unchanged(images[0], images[1, :2])
    with pytest.raises(ValueError, match="6 pixels of 3 bands: expected more than 6"):
        unchanged(images[0, :, :6], images[1, :, :6])
    for value in (np.nan, np.inf):
        images[1, 2, 50] = value
        with pytest.raises(ValueError, match="band 3 of the scene has values that are not finite"):
            unchanged(*images)


def test_pixels_that_are_all_equal_in_the_end_do_not_converge() -> None:
    """Weights gather on pixels of one value, as where a sensor is saturated; there is no solution beyond."""
    rng = np.random.default_rng(0)
    reference, scene = rng.normal(size=(2, 2, 1000))
    reference[:, :700], scene[:, :700] = 4, 5
    found = unchanged(reference, scene)
    assert not found.converged
    assert np.isfinite(found.weights).all()
    assert found.weights.sum() > 0


# --- ArrNorm's pair ------------------------------------------------------------------------------------------------


def read(name: str) -> np.ndarray:
    with rasterio.open(PAIR / name) as dataset:
        return dataset.read().astype(np.float64)


def orthogonal(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return slope and intercept of the first principal axis."""
    axis = np.linalg.eigh(np.cov(x, y))[1][:, 1]
    return axis[1] / axis[0], y.mean() - axis[1] / axis[0] * x.mean()


@needs_pair
@pytest.mark.parametrize(
    ("name", "tolerance", "threshold", "equal"),
    [
        ("prealigned", 0.01, 0.95, 1.0),
        ("full_ref", 0.01, 0.95, 1.0),
        ("masked", 0.01, 0.95, 1.0),
        ("conv095", 0.05, 0.95, 1.0),
        ("t090", 0.01, 0.90, 0.98),
        ("conv0999", 0.001, 0.95, 0.95),
    ],
)
def test_arrnorm_finds_the_same_pixels(name: str, tolerance: float, threshold: float, equal: float) -> None:
    reference, target, expected = (
        read(part) for part in ("ref_adjusted2target.tif", "target.tif", f"expected/target_norm_{name}.tif")
    )
    valid = (target != 0).all(axis=0)
    np.testing.assert_array_equal(valid, read("expected/target_mask.tif")[0] == 1)
    found = unchanged(reference[:, valid], target[:, valid], tolerance=tolerance)
    assert found.converged
    chosen = found.weights > threshold
    for band in range(4):
        slope, intercept = orthogonal(target[band][valid][chosen], reference[band][valid][chosen])
        answer = np.where(valid, np.rint(slope * target[band] + intercept), 0)
        implied = np.polyfit(target[band][valid], expected[band][valid], 1)[0]
        assert slope == pytest.approx(implied, rel=2e-4)
        assert (answer == expected[band]).mean() >= equal
        assert np.abs(answer - expected[band]).max() <= (equal < 1)
