"""Landsat scenes as files, of an invented landscape that sensors see through gains and offsets of their own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.rasters import write_raster

__all__ = ["BANDS", "SceneFiles", "landscape", "write_scenes"]

BANDS = ("blue", "green", "red", "nir", "swir1", "swir2")
#: What the bands are called in files of the older sensors, and of the newer ones.
TOKENS = {"LT05": ("SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B7")}
NEWER = ("SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B6", "SR_B7")
#: Forest, crops, bare soil, water, town.
MEANS = np.array(
    [
        [0.03, 0.05, 0.04, 0.30, 0.15, 0.07],
        [0.05, 0.08, 0.09, 0.25, 0.28, 0.18],
        [0.08, 0.11, 0.14, 0.22, 0.30, 0.25],
        [0.06, 0.05, 0.04, 0.03, 0.02, 0.02],
        [0.12, 0.15, 0.18, 0.24, 0.26, 0.24],
    ]
)
CLEAR, CLOUDY = 5440, 5896


@dataclass(frozen=True)
class SceneFiles:
    """Files, and what sensors did.

    Attributes
    ----------
    paths
        In the order of their dates.
    gains, offsets
        (scene, band) ``reflectance = gain * seen + offset``.
    truth
        (band, y, x) the reflectance that all of them see.
    """

    paths: tuple[Path, ...]
    gains: NDArray[np.float64]
    offsets: NDArray[np.float64]
    truth: NDArray[np.float64]


def landscape(size: tuple[int, int], random: np.random.Generator) -> NDArray[np.float64]:
    """Return (band, y, x) reflectances of fields of 8 x 8 pixels."""
    height, width = size
    classes = random.integers(0, len(MEANS), (height // 8 + 1, width // 8 + 1)).repeat(8, 0).repeat(8, 1)
    means = MEANS[classes[:height, :width]].transpose(2, 0, 1)
    return np.maximum(means * random.normal(1, 0.12, means.shape) + random.normal(0, 0.01, means.shape), 0.012)


def write_scenes(
    folder: Path,
    count: int = 6,
    size: tuple[int, int] = (80, 100),
    *,
    years: int = 1,
    sensor: str = "LT05",
    cloudy: float = 0.0,
    seed: int = 0,
    **profile: Any,
) -> SceneFiles:
    """Write scenes of one sensor in July, each with its own gains and offsets and some clouds."""
    random = np.random.default_rng(seed)
    truth = landscape(size, random)
    gains, offsets = random.normal(1, 0.06, (count, 6)), random.normal(0, 0.008, (count, 6))
    paths = []
    for index in range(count):
        noisy = truth + random.normal(0, 0.004, truth.shape)
        seen = (noisy - offsets[index, :, None, None]) / gains[index, :, None, None]
        stored = np.clip(np.rint((seen + 0.2) / 2.75e-5), 1, 65535).astype(np.uint16)
        quality = np.where(random.random(size) < cloudy, CLOUDY, CLEAR).astype(np.uint16)
        day = 1 + index * 3 % 28
        path = folder / f"{sensor}_044034_{1990 + index * years}07{day:02d}.tif"
        described = (*TOKENS.get(sensor, NEWER), "QA_PIXEL")
        paths.append(
            write_raster(path, np.concatenate([stored, quality[None]]), descriptions=described, nodata=0, **profile)
        )
    return SceneFiles(tuple(paths), gains, offsets, truth)
