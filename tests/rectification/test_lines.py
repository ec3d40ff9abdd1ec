"""Lines between scenes: against plain implementations, and against what is true in simulations."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student

from pixelwise.dates.axis import TimeAxis
from pixelwise.methods import ols
from pixelwise.rectification.irmad import DegenerateError
from pixelwise.rectification.lines import Lines, invariant_lines, irmad_lines
from support.irmad_plain import plain_irmad, plain_lines
from support.scenes_simulated import NIR, RED, SimulatedSeries, pair, series

# A jackknife of 16 runs has 15 degrees of freedom.
T = student.ppf(0.975, 15)


def without_each(pixels: int) -> list[np.ndarray]:
    """Return which pixels are left by leaving out each of 16 runs."""
    edges = [pixels * k // 16 for k in range(17)]
    return [np.r_[: edges[k], edges[k + 1] : pixels] for k in range(16)]


def jackknife(replicates: np.ndarray) -> np.ndarray:
    return np.sqrt(15 / 16 * ((replicates - replicates.mean(axis=0)) ** 2).sum(axis=0))


# --- what a line is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bands", [1, 2, 5, 6])
def test_lines_are_those_of_a_plain_implementation(bands: int) -> None:
    simulated = pair(1, "random", 0.3, n=6000)
    reference, scene = simulated.reference[:bands], simulated.scene[:bands]
    weights, _, rounds, settled = plain_irmad(reference, scene)
    gain, offset = plain_lines(reference, scene, weights)
    found = irmad_lines(reference, scene)
    np.testing.assert_allclose(found.gain, gain, rtol=1e-10)
    np.testing.assert_allclose(found.offset, offset, atol=1e-11)
    assert (found.n, found.iterations, found.converged) == (6000, rounds, settled)
    assert found.mean_weight == pytest.approx(weights.mean(), rel=1e-9)
    np.testing.assert_allclose(found.level, np.average(reference, axis=1, weights=weights), rtol=1e-10)
    for rmse, line in ((found.rmse_before, scene), (found.rmse_after, gain[:, None] * scene + offset[:, None])):
        expected = np.sqrt(np.average((reference - line) ** 2, axis=1, weights=weights))
        np.testing.assert_allclose(rmse, expected, rtol=1e-8)
    assert not found.saturated.any()


def test_lines_of_invariant_pixels_take_all_pixels_alike() -> None:
    simulated = pair(1, n=5001)
    reference, scene = simulated.reference, simulated.scene
    found = invariant_lines(reference, scene)
    gain, offset = plain_lines(reference, scene, np.ones(5001))
    np.testing.assert_allclose(found.gain, gain, rtol=1e-12)
    np.testing.assert_allclose(found.offset, offset, atol=1e-13)
    assert (found.mean_weight, found.iterations, found.converged) == (1, 0, True)
    replicates = np.array(
        [plain_lines(reference[:, left], scene[:, left], np.ones(len(left))) for left in without_each(5001)]
    )
    np.testing.assert_allclose([found.gain_se, found.offset_se], jackknife(replicates), rtol=1e-8)


def test_standard_errors_are_those_of_sixteen_fits_that_converged() -> None:
    simulated = pair(2, "random", 0.3, n=4000)
    reference, scene = simulated.reference, simulated.scene
    replicates = []
    for left in without_each(4000):
        weights, *_ = plain_irmad(reference[:, left], scene[:, left], tolerance=1e-6, rounds=80)
        replicates.append(plain_lines(reference[:, left], scene[:, left], weights))
    found = irmad_lines(reference, scene)
    # Three rounds and where they lead; one round gives 0.70 of it.
    np.testing.assert_allclose([found.gain_se, found.offset_se], jackknife(np.array(replicates)), rtol=0.06)


def test_lines_follow_the_units_of_scenes() -> None:
    simulated = pair(4, "clearing", 0.3, n=5000)
    found = irmad_lines(simulated.reference, simulated.scene)
    digital = irmad_lines(simulated.reference, 1e4 * simulated.scene + 500)
    np.testing.assert_allclose(digital.gain, found.gain / 1e4, rtol=1e-9)
    np.testing.assert_allclose(digital.offset, found.offset - 500 * digital.gain, atol=1e-9)
    np.testing.assert_allclose(digital.gain_se, found.gain_se / 1e4, rtol=1e-6)


def test_a_scene_is_its_own_reference() -> None:
    scene = pair(0, n=3000).scene
    found = irmad_lines(scene, scene.copy())
    np.testing.assert_allclose(found.gain, 1, rtol=1e-12)
    np.testing.assert_allclose(found.offset, 0, atol=1e-12)
    np.testing.assert_allclose(found.gain_se, 0, atol=1e-12)
    assert found.converged
    assert found.mean_weight == pytest.approx(1)


def test_values_that_end_at_one_number_are_saturated() -> None:
    simulated = pair(0, n=5000)
    scene = simulated.scene.copy()
    scene[1] = np.minimum(scene[1], np.quantile(scene[1], 0.98))
    scene[2] = np.maximum(scene[2], np.quantile(scene[2], 0.02))
    scene[3] = np.minimum(scene[3], np.quantile(scene[3], 0.995))
    for fit in (irmad_lines, invariant_lines):
        assert fit(simulated.reference, scene).saturated.tolist() == [False, True, True, False, False, False]


def test_what_depends_on_one_run_of_pixels_has_no_standard_error() -> None:
    """Nothing varies in a band but within the first run: without it, there is no line."""
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(2, 1600))
    scene = reference + 0.1 * rng.normal(size=(2, 1600))
    scene[1, 100:] = 3.0
    found = invariant_lines(reference, scene)
    assert np.isfinite(found.gain).all()
    assert np.isfinite(found.gain_se).tolist() == [True, False]
    found = irmad_lines(reference, scene)
    assert np.isfinite([found.gain, found.offset]).all()
    assert np.isnan(found.gain_se).all()


def test_a_constant_band_is_refused() -> None:
    images = np.random.default_rng(0).normal(size=(2, 3, 100))
    images[0, 2] = 7
    for fit in (irmad_lines, invariant_lines):
        with pytest.raises(DegenerateError, match="band 3 of the reference has one value in all pixels: 7"):
            fit(*images)
    images[0, 2] = images[0, 0]
    with pytest.raises(DegenerateError, match="band 3 of the reference is a linear combination"):
        irmad_lines(*images)
    assert np.isfinite(invariant_lines(*images).gain).all()


# --- the same bits -------------------------------------------------------------------------------------------------

PROGRAM = """
from pixelwise.rectification.lines import irmad_lines
from support.scenes_simulated import pair
simulated = pair(5, "random", 0.3, n=5000)
found = irmad_lines(simulated.reference, simulated.scene)
print(found.gain.tobytes().hex(), found.offset_se.tobytes().hex())
"""


def run(**settings: str) -> str:
    """Return what another process with these environment variables prints."""
    environment = {**os.environ, **settings, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.long
def test_bits_are_the_same_in_the_process_that_compiles(tmp_path: Path) -> None:
    assert run(NUMBA_CACHE_DIR=str(tmp_path)) == run(NUMBA_CACHE_DIR=str(tmp_path)) == run()


def test_bits_are_the_same_whatever_the_threads() -> None:
    first = run(**dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    simulated = pair(5, "random", 0.3, n=5000)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(irmad_lines, [simulated.reference] * 8, [simulated.scene] * 8):
            assert f"{found.gain.tobytes().hex()} {found.offset_se.tobytes().hex()}\n" == first


# --- pairs of scenes whose gains are known ---------------------------------------------------------------------------

#: Change, share of pixels, and the worst band's largest error in percent: the median of scenes.
CHANGES = [
    ("none", 0.0, 0.6),
    ("random", 0.3, 0.6),
    ("random", 0.5, 0.6),
    ("clearing", 0.3, 0.3),
    ("greening", 0.3, 0.3),
    ("cloud", 0.05, 0.3),
]


def worst(how: Any, share: float, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return errors of the worst band in percent, of lines and of all pixels' spread, and what is covered."""
    errors, ordinary, covered = [], [], []
    for seed in range(count):
        simulated = pair(seed, how, share)
        found = irmad_lines(simulated.reference, simulated.scene)
        assert found.converged
        errors.append(100 * np.abs(found.gain / simulated.gain - 1).max())
        covered.append(
            [
                np.abs(found.gain - simulated.gain) <= T * found.gain_se,
                np.abs(found.offset - simulated.offset) <= T * found.offset_se,
            ]
        )
        spread = simulated.reference.std(axis=1) / simulated.scene.std(axis=1)
        ordinary.append(100 * np.abs(spread / simulated.gain - 1).max())
    return np.array(errors), np.array(ordinary), np.array(covered)


@pytest.mark.parametrize(("how", "share", "most"), CHANGES)
def test_gains_are_found_whatever_changed(how: str, share: float, most: float) -> None:
    errors, ordinary, covered = worst(how, share, 5)
    assert np.median(errors) <= most
    assert errors.max() <= 1
    assert covered.mean() >= 0.8
    if how == "clearing":  # what the mean and standard deviation of all pixels would give
        assert np.median(ordinary) > 30
    if how == "cloud":
        assert np.median(ordinary) > 50


@pytest.mark.long
@pytest.mark.parametrize(("how", "share", "most"), CHANGES)
def test_gains_are_found_and_standard_errors_cover(how: str, share: float, most: float) -> None:
    errors, ordinary, covered = worst(how, share, 100)
    print(
        f"{how} {share:.0%}: worst band {np.median(errors):.2f} % (median), {errors.max():.2f} % (worst of 100); "
        f"mean and sd {np.median(ordinary):.1f} %; covered {covered[:, 0].mean():.1%}, {covered[:, 1].mean():.1%}"
    )
    assert np.median(errors) <= most
    assert errors.max() <= 1.2
    assert 0.90 <= covered[:, 0].mean() <= 0.98
    assert 0.90 <= covered[:, 1].mean() <= 0.98


def test_most_pixels_changed_alike_are_taken_for_unchanged() -> None:
    """No method can know: what most pixels do is what the sensor did."""
    errors, _, _ = worst("greening", 0.6, 2)
    assert errors.min() > 20


# --- series ----------------------------------------------------------------------------------------------------------


def ndvi(scenes: np.ndarray) -> np.ndarray:
    """Return the index (scene, pixel)."""
    return (scenes[:, NIR] - scenes[:, RED]) / (scenes[:, NIR] + scenes[:, RED])


def trend(values: np.ndarray, years: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return slopes and p-values of each pixel."""
    bound = ols().bind(TimeAxis.from_times(years.astype(int)), ("slope", "pvalue"), {})
    (slope, pvalue), _ = bound((values,), "float64")
    return slope, pvalue


def rectified(simulated: SimulatedSeries, lines: list[Lines]) -> np.ndarray:
    """Return the scenes made comparable."""
    return np.stack(
        [line.gain[:, None] * scene + line.offset[:, None] for line, scene in zip(lines, simulated.scenes, strict=True)]
    )


def trends(simulated: SimulatedSeries, scenes: np.ndarray) -> tuple[float, float]:
    """Return percent of false positives on pixels that are stable, and of the true slope found on greening ones."""
    slope, pvalue = trend(ndvi(scenes), simulated.years)
    true, _ = trend(ndvi(simulated.truth), simulated.years)
    greening = simulated.greening
    recovered = 100 * slope[greening].sum() / true[greening].sum() if greening.any() else np.nan
    return 100 * (pvalue[~greening] < 0.05).mean(), recovered


def both(simulated: SimulatedSeries) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return `trends` after rectification by IR-MAD, and by all pixels that are known not to have changed."""
    reference, stable = simulated.reference, ~simulated.greening
    found = [irmad_lines(reference, scene) for scene in simulated.scenes]
    known = [invariant_lines(reference[:, stable], scene[:, stable]) for scene in simulated.scenes]
    return trends(simulated, rectified(simulated, found)), trends(simulated, rectified(simulated, known))


def test_a_drifting_series_has_its_true_trends_after_rectification() -> None:
    simulated = series(0, 0.2, n=10_000)
    raw, _ = trends(simulated, simulated.scenes)
    (false, recovered), (_, known) = both(simulated)
    assert raw > 10
    assert 4 <= false <= 6
    # The unit of the reference is that of the truth to 3 % only: it is that of 25 scenes.
    assert 97 <= 100 * recovered / known <= 103


def test_a_series_of_which_most_became_greener_loses_its_trend() -> None:
    simulated = series(0, 0.6, n=6_000)
    lines = [irmad_lines(simulated.reference, scene) for scene in simulated.scenes]
    false, recovered = trends(simulated, rectified(simulated, lines))
    assert false > 50
    assert recovered < 50


@pytest.mark.long
@pytest.mark.parametrize("share", [0.0, 0.2, 0.3])
def test_drifting_series_have_their_true_trends_after_rectification(share: float) -> None:
    results = np.array([both(series(seed, share)) for seed in range(8)])
    (false, recovered), (_, known) = np.median(results, axis=0)
    print(f"{share:.0%} greener: false {false:.1f} %, slope {recovered:.1f} % (of known pixels {known:.1f} %)")
    assert ((results[:, 0, 0] >= 4) & (results[:, 0, 0] <= 6)).all()
    if share:
        assert 97 <= recovered <= 103
        assert 97 <= np.median(100 * results[:, 0, 1] / results[:, 1, 1]) <= 103
