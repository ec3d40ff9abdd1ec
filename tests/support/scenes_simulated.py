"""Simulated scenes of a landscape of several classes, as sensors of unknown gain and offset see them.

Six bands of surface reflectance (blue, green, red, near infrared, two of short-wave infrared), pixels in the order of a
curve through the landscape, so that neighbours are alike. What is simulated knows nothing of the method that is tested.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pixelwise.rectification.scenes import middle

Floats = NDArray[np.float64]
Change = Literal["none", "random", "clearing", "greening", "cloud"]

BANDS = ("blue", "green", "red", "nir", "swir1", "swir2")
RED, NIR = 2, 3

#: Mean reflectance of each class, and its share of the landscape: a frontier of clearing, most of it forest.
CLASSES = {
    "water": (0.04, (0.045, 0.045, 0.030, 0.020, 0.012, 0.009)),
    "dense forest": (0.42, (0.022, 0.042, 0.026, 0.270, 0.125, 0.055)),
    "open forest": (0.24, (0.034, 0.060, 0.050, 0.260, 0.190, 0.100)),
    "crops": (0.16, (0.040, 0.080, 0.052, 0.390, 0.210, 0.105)),
    "dry grass": (0.07, (0.070, 0.102, 0.130, 0.250, 0.300, 0.200)),
    "bare soil": (0.04, (0.100, 0.142, 0.190, 0.270, 0.350, 0.290)),
    "built up": (0.03, (0.120, 0.140, 0.160, 0.220, 0.240, 0.210)),
}
NAMES = tuple(CLASSES)
SHARES = np.array([share for share, _ in CLASSES.values()])
MEANS = np.array([mean for _, mean in CLASSES.values()])

#: Pixels of a patch of one class, on average; relative spread of brightness among patches, and of each band alone among
#: patches and among pixels.
PATCH, PATCH_BRIGHTNESS, PATCH_BAND, PIXEL_BAND = 30, 0.12, 0.06, 0.05

#: Dense vegetation in full growth, of which greening pixels get a larger share, and clouds.
LUSH = np.array([0.020, 0.050, 0.022, 0.450, 0.190, 0.080])
CLOUD = np.array([0.62, 0.60, 0.60, 0.62, 0.45, 0.35])
#: Of a greening pixel, so much is covered in addition.
COVER = 0.4


def landscape(rng: np.random.Generator, n: int) -> tuple[NDArray[np.int64], Floats]:
    """Return the class (pixel,) and the reflectance (band, pixel) of a landscape."""
    starts = rng.random(n) < 1 / PATCH
    starts[0] = True
    patch = np.cumsum(starts) - 1
    count = patch[-1] + 1
    of_patch = rng.choice(len(NAMES), size=count, p=SHARES)
    brightness = np.exp(rng.normal(0, PATCH_BRIGHTNESS, count))
    of_band = np.exp(rng.normal(0, PATCH_BAND, (6, count)))
    kind = of_patch[patch]
    reflectance = MEANS[kind].T * (brightness * of_band)[:, patch] * np.exp(rng.normal(0, PIXEL_BAND, (6, n)))
    return kind, reflectance


def change(
    rng: np.random.Generator, kind: NDArray[np.int64], reflectance: Floats, how: Change, share: float
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the reflectance after a change, and which pixels changed.

    Parameters
    ----------
    rng
    kind, reflectance
        From `landscape`.
    how
        ``random``: pixels become as others of the landscape are. ``clearing``: those of the densest forest (the least
        red) become bare soil. ``greening``: all changed ones alike lose a quarter of their red and gain a fifth of
        their near infrared, less of other bands. ``cloud``: an opaque to thin cloud lies before patches.
    share
        Of all pixels.
    """
    n = len(kind)
    after = reflectance.copy()
    if how == "none":
        return after, np.zeros(n, dtype=bool)
    if how == "clearing":
        order = np.argsort(np.where(kind == NAMES.index("dense forest"), 0, 1) + reflectance[RED])
        changed = np.zeros(n, dtype=bool)
        changed[order[: round(share * n)]] = True
        count = changed.sum()
        soil = MEANS[NAMES.index("bare soil")][:, None] * np.exp(rng.normal(0, PATCH_BRIGHTNESS, count))
        after[:, changed] = soil * np.exp(rng.normal(0, PIXEL_BAND, (6, count)))
        return after, changed
    if how == "cloud":
        block = np.arange(n) // 100
        changed = np.isin(block, rng.permutation(block[-1] + 1)[: round(share * (block[-1] + 1))])
        opacity = rng.uniform(0.05, 1, block[-1] + 1)[block][changed]
        after[:, changed] = (1 - opacity) * after[:, changed] + opacity * CLOUD[:, None]
        return after, changed
    changed = np.zeros(n, dtype=bool)
    changed[rng.permutation(n)[: round(share * n)]] = True
    if how == "random":
        after[:, changed] = reflectance[:, rng.integers(0, n, changed.sum())]
    else:
        after[:, changed] += COVER * (LUSH[:, None] - after[:, changed])
    return after, changed


@dataclass(frozen=True, eq=False)
class SimulatedPair:
    """A reference and a scene, both (band, pixel), with what is true: ``gain * scene + offset`` has the reference's
    unit."""

    reference: Floats
    scene: Floats
    gain: Floats
    offset: Floats
    changed: NDArray[np.bool_]


def pair(
    seed: int, how: Change = "none", share: float = 0.0, *, n: int = 60_000, noise: float = 0.004
) -> SimulatedPair:
    """Simulate a pair: both with noise, the scene with gains of .85 to 1.2 and offsets of -.02 to .02."""
    rng = np.random.default_rng(seed)
    kind, before = landscape(rng, n)
    after, changed = change(rng, kind, before, how, share)
    gain, offset = rng.uniform(0.85, 1.2, 6), rng.uniform(-0.02, 0.02, 6)
    reference = before + rng.normal(0, noise, before.shape)
    scene = (after + rng.normal(0, noise, before.shape) - offset[:, None]) / gain[:, None]
    return SimulatedPair(reference, scene, gain, offset, changed)


@dataclass(frozen=True, eq=False)
class SimulatedSeries:
    """Scenes of many years.

    Attributes
    ----------
    scenes
        (scene, band, pixel) as their sensors see them.
    years
        (scene,)
    truth
        (scene, band, pixel) reflectance without noise.
    gain, offset
        (scene, band) true lines: ``gain * scene + offset`` is `truth` with noise.
    greening
        (pixel,) which pixels become greener.
    """

    scenes: Floats
    years: Floats
    truth: Floats
    gain: Floats
    offset: Floats
    greening: NDArray[np.bool_]

    @property
    def reference(self) -> Floats:
        """(band, pixel) what `rectify` compares them with."""
        return np.stack([middle(self.scenes[:, band]) for band in range(self.scenes.shape[1])])


def series(
    seed: int, share: float, *, n: int = 20_000, count: int = 25, noise: float = 0.004, cover: float = COVER
) -> SimulatedSeries:
    """Simulate a scene a year, a share of whose pixels becomes greener from the first to the last.

    Sensors have gains with a standard deviation of 6 %, offsets with one of .008, and drift: by 16 % in red, as much to
    the other side in near infrared, and less in other bands. Their medians over all scenes are 1 and 0, so that the
    median scene has the unit of the truth.
    """
    rng = np.random.default_rng(seed)
    _, base = landscape(rng, n)
    greening = np.zeros(n, dtype=bool)
    greening[rng.permutation(n)[: round(share * n)]] = True
    progress = np.linspace(0, 1, count)
    truth = base + cover * progress[:, None, None] * (LUSH[:, None] - base) * greening
    drift = np.array([0.06, 0.04, -0.08, 0.08, 0.04, -0.04]) * (2 * progress[:, None] - 1)
    gain = np.exp(rng.normal(0, 0.06, (count, 6)) + drift)
    offset = rng.normal(0, 0.008, (count, 6))
    gain, offset = gain / np.median(gain, axis=0), offset - np.median(offset, axis=0)
    seen = truth + rng.normal(0, noise, truth.shape)
    scenes = (seen - offset[..., None]) / gain[..., None]
    return SimulatedSeries(scenes, 2000.0 + np.arange(count), truth, gain, offset, greening)
