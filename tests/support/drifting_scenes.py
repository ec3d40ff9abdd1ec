"""Landsat scenes of two sensors that drift and differ, of a landscape of which a part becomes greener."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from support.rasters import write_raster
from support.scene_files import BANDS, CLEAR, CLOUDY, MEANS, NEWER, TOKENS, landscape

__all__ = ["SIZE", "greening", "write_drifting_scenes"]

SIZE = (128, 128)
FIRST_YEAR, YEARS, NEW_SENSOR = 2000, 24, 2013
#: By how much the older sensor's values are to be multiplied, and what is to be added.
OLD_GAIN = np.array([0.97, 0.96, 0.93, 1.04, 1.02, 1.01])
#: Change of these gains in 24 years: the older sensor sees less and less red, the newer one goes on so.
DRIFT = np.array([0.03, 0.03, 0.08, -0.03, 0.0, 0.0])


def greening(share: float) -> NDArray[np.bool_]:
    """Return (y, x) where the landscape becomes greener: a strip on the left."""
    return np.broadcast_to(np.arange(SIZE[1]) < share * SIZE[1], SIZE)


def write_drifting_scenes(folder: Path, share: float = 0.2, seed: int = 5, *, perfect: bool = False) -> None:
    """Write one summer scene a year, all bands in one file, as Earth Engine exports them, with some clouds.

    Parameters
    ----------
    folder
        To be made.
    share
        Of the area that becomes greener: vegetation covers up to a quarter more of it.
    seed
        Of everything.
    perfect
        Whether the sensors neither drift nor differ, and there are no clouds and no noise.
    """
    random = np.random.default_rng(seed)
    before = landscape(SIZE, random)
    forest = MEANS[0][:, None, None]
    rows, cols = np.indices(SIZE)
    for year in range(FIRST_YEAR, FIRST_YEAR + YEARS):
        time = (year - FIRST_YEAR) / (YEARS - 1)
        more = 0.25 * time * greening(share)
        truth = (1 - more) * before + more * forest
        seen = truth + random.normal(0, 0.004, before.shape)
        sensor = "LC08" if year >= NEW_SENSOR else "LE07"
        gain = random.normal(1, 0.02, 6) + DRIFT * (time - 0.5)
        gain = gain * OLD_GAIN if sensor == "LE07" else gain
        offset = random.normal(0, 0.003, 6)
        seen = (seen - offset[:, None, None]) / gain[:, None, None]
        quality = np.full(SIZE, CLEAR, np.uint16)
        for _ in range(4):
            y, x, radius = random.uniform(0, SIZE[0]), random.uniform(0, SIZE[1]), random.uniform(5, 18)
            quality[np.hypot(rows - y, cols - x) < radius] = CLOUDY
        seen = np.where(quality == CLOUDY, 0.5 + random.normal(0, 0.02, seen.shape), seen)
        if perfect:
            seen, quality = truth, np.full(SIZE, CLEAR, np.uint16)
        stored = np.clip(np.rint((seen + 0.2) / 2.75e-5), 1, 65535).astype(np.uint16)
        day = date(year, 6, 10) + timedelta(int(random.integers(0, 70)))
        tokens = TOKENS["LT05"] if sensor == "LE07" else NEWER
        write_raster(
            folder / f"{sensor}_044034_{day:%Y%m%d}.tif", np.concatenate([stored, quality[None]]),
            descriptions=(*tokens, "QA_PIXEL"), nodata=0, tiled=True, blockxsize=64, blockysize=64,
        )  # fmt: skip


assert len(BANDS) == len(DRIFT)
