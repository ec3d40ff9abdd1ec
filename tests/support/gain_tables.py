"""Tables of gains of made-up scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pixelwise.stacks.gains import Gain, GainFlag, Gains

BANDS = ("blue", "green", "red", "nir", "swir1", "swir2")
#: What the reference is like, where nothing changed.
LEVELS = dict(zip(BANDS, (0.05, 0.08, 0.07, 0.28, 0.18, 0.10), strict=True))


def scene(year: int, gain: Any, offset: Any, bands: Sequence[str] = BANDS, **changes: Any) -> list[Gain]:
    """Return the rows of a scene of 15 July, with a gain and offset for each band."""
    usual: dict[str, Any] = {
        "sensor": "LT05", "gain_se": 0.004, "offset_se": 0.0005, "n": 48_000, "mean_weight": 0.1, "iterations": 9,
        "rmse_before": 0.02, "rmse_after": 0.006, "reference": "median of all scenes", "method": "irmad",
    }  # fmt: skip
    gains, offsets = np.broadcast_to(gain, len(bands)).tolist(), np.broadcast_to(offset, len(bands)).tolist()
    return [
        Gain(f"{band}_{year}.tif", f"{year}-07-15", band=band, gain=own, offset=shift,
             **{**usual, "level": LEVELS[band], **changes})
        for band, own, shift in zip(bands, gains, offsets, strict=True)
    ]  # fmt: skip


def table(
    years: Sequence[int], gains: Any, offsets: Any = 0.0, bands: Sequence[str] = BANDS, sensors: Sequence[str] = ()
) -> Gains:
    """Return a table of a scene each year, from arrays (scene, band)."""
    shape = len(years), len(bands)
    all_gains, all_offsets = np.broadcast_to(gains, shape), np.broadcast_to(offsets, shape)
    codes = list(sensors) or ["LT05"] * len(years)
    scenes = [scene(*one, bands, sensor=code) for *one, code in zip(years, all_gains, all_offsets, codes, strict=True)]
    return Gains(tuple(row for rows in scenes for row in rows))


def noisy(seed: int, scenes: int = 25, bands: Sequence[str] = BANDS, drift: float = 0.0) -> Gains:
    """Return gains and offsets of scenes that differ at random; the gain of red drifts by so much in all."""
    random = np.random.default_rng(seed)
    gains = 1 + random.normal(0, 0.06, (scenes, len(bands)))
    gains[:, bands.index("red")] += drift * np.linspace(-0.5, 0.5, scenes)
    return table(range(2000, 2000 + scenes), gains, random.normal(0, 0.008, (scenes, len(bands))), bands)


def flagged(gains: Gains, number: int, *flags: GainFlag) -> Gains:
    """Return the table with flags on all rows of the scene of this number."""
    dates = sorted({row.date for row in gains.rows})
    return Gains(tuple(replace(row, flags=flags) if row.date == dates[number] else row for row in gains.rows))
