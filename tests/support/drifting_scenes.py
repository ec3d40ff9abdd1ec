"""Landsat scenes of two sensors that drift and differ, of a landscape of which a part becomes greener."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.rasters import write_raster
from support.scene_files import CLEAR, CLOUDY, MEANS, NEWER, TOKENS, landscape

__all__ = ["greening", "write_drifting_scenes"]

SIZE = (128, 128)
YEARS = range(2000, 2024)
#: The newer sensor begins in the first of these years, and the older one ends with the last.
BOTH = range(2013, 2022)
#: By how much the older sensor's values are to be multiplied.
OLD_GAIN = np.array([0.97, 0.96, 0.93, 1.04, 1.02, 1.01])
#: Change of the gains of both in all these years: they see less and less red.
DRIFT = np.array([0.03, 0.03, 0.08, -0.03, 0.0, 0.0])


def greening(share: float) -> NDArray[np.bool_]:
    """Return (y, x) where the landscape becomes greener: a strip on the left."""
    return np.broadcast_to(np.arange(SIZE[1]) < share * SIZE[1], SIZE)


def write_drifting_scenes(folder: Path, share: float = 0.2, seed: int = 5, *, perfect: bool = False) -> None:
    """Write a summer scene a year of each sensor, with all bands in one file, as Earth Engine exports them.

    Parameters
    ----------
    folder
        To be made.
    share
        Of the area that becomes greener: vegetation covers up to a quarter more of it.
    seed
        Of everything.
    perfect
        Whether sensors neither drift nor differ, and there are no clouds and no noise.
    """
    random = np.random.default_rng(seed)
    before = landscape(SIZE, random)
    forest = MEANS[0][:, None, None]
    for year in YEARS:
        progress = (year - YEARS[0]) / (YEARS[-1] - YEARS[0])
        more = 0.25 * progress * greening(share)
        truth = (1 - more) * before + more * forest
        day = date(year, 6, 20) + timedelta(int(random.integers(0, 60)))
        # As Landsat 7 and 8 do, they follow each other after 8 days.
        sensors = ["LE07"] * (year <= BOTH[-1]) + ["LC08"] * (year >= BOTH[0])
        for number, sensor in enumerate(sensors):
            seen, quality = truth, np.full(SIZE, CLEAR, np.uint16)
            if not perfect:
                gain = random.normal(1, 0.02, 6) + DRIFT * (progress - 0.5)
                seen, quality = _taken(truth, gain * OLD_GAIN if sensor == "LE07" else gain, random)
            stored = np.clip(np.rint((seen + 0.2) / 2.75e-5), 1, 65535).astype(np.uint16)
            name = f"{sensor}_044034_{day + timedelta(8 * number):%Y%m%d}.tif"
            write_raster(
                folder / name, np.concatenate([stored, quality[None]]), nodata=0, tiled=True, blockxsize=64,
                blockysize=64, descriptions=(*(TOKENS["LT05"] if sensor == "LE07" else NEWER), "QA_PIXEL"),
            )  # fmt: skip


def _taken(truth: Any, gain: Any, random: np.random.Generator) -> tuple[Any, Any]:
    """Return what a sensor sees through its gain and the air, under some clouds, and where these are."""
    offset = random.normal(0, 0.003, (6, 1, 1))
    seen = (truth + random.normal(0, 0.004, truth.shape) - offset) / gain[:, None, None]
    rows, cols = np.indices(SIZE)
    clouds = np.zeros(SIZE, bool)
    for _ in range(4):
        row, col, radius = random.uniform(0, SIZE[0]), random.uniform(0, SIZE[1]), random.uniform(5, 18)
        clouds |= np.hypot(rows - row, cols - col) < radius
    seen = np.where(clouds, 0.5 + random.normal(0, 0.02, seen.shape), seen)
    return seen, np.where(clouds, CLOUDY, CLEAR).astype(np.uint16)
