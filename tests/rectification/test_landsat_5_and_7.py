"""The step from Landsat 5 to Landsat 7 at Harvard Forest, before and after one line per sensor.

`yatsm_p013r030` has a row of 300 pixels of 423 dates, in surface reflectance with Fmask, without the names of sensors.
They follow from the dates: each Landsat passes every 16 days, Landsat 4 and 7 eight days after Landsat 5, and all dates
lie in two classes modulo 16, whose ordinals leave 5 and 13. The first class begins in 1984 and ends in November 2011,
as Landsat 5 does. The second has five dates until 1990, and then none until July 1999: Landsat 4, and Landsat 7, which
was launched on 15 April 1999.

Rows of 300 pixels are too few for IR-MAD: in all pairs, it ends with the weight of 6 to 8 pixels, which differ least by
chance. So all clear pixels have weight 1, as they have with `method=regression`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pytest

from pixelwise.opening.sensor_pairs import ScenePair, chain_of, pairs_of
from pixelwise.rectification.lines import Lines
from pixelwise.rectification.sensors import chained, pair_lines, pooled_lines
from support.places import SHARED

SERIES = SHARED / "yatsm_p013r030" / "p013r030_row50_plain.npz"
pytestmark = pytest.mark.skipif(not SERIES.exists(), reason=f"{SERIES} is not there")

BANDS = ("blue", "green", "red", "nir", "swir1", "swir2")
#: Fmask's clear land and clear water.
CLEAR = (0, 1)
#: Pairs need so many pixels that are clear in both; half of them have 211 or more.
FEWEST = 100

#: Landsat 7 minus Landsat 5, before and after: the mean difference of pairs with its standard error, after lines from
#: the pairs of all other years; and the step in a model with a line in time and three harmonics, fitted to each pixel
#: from July 1999 to November 2011, after lines from all pairs.
TABLE = """\
| blue | +0.0008 ± 0.0018 | +0.0013 ± 0.0018 | +0.0002 | +0.0007 |
| green | -0.0035 ± 0.0014 | +0.0005 ± 0.0014 | -0.0037 | +0.0003 |
| red | -0.0054 ± 0.0013 | +0.0008 ± 0.0013 | -0.0055 | +0.0006 |
| nir | +0.0117 ± 0.0037 | +0.0029 ± 0.0038 | +0.0133 | +0.0045 |
| swir1 | +0.0010 ± 0.0020 | +0.0001 ± 0.0021 | +0.0024 | +0.0016 |
| swir2 | -0.0021 ± 0.0013 | -0.0002 ± 0.0014 | -0.0010 | +0.0009 |
| NDVI | +0.0388 ± 0.0066 | -0.0058 ± 0.0071 | +0.0422 | -0.0022 |"""


def read() -> tuple[Any, list[str], list[date]]:
    """Return (band, scene, pixel) reflectance of Landsat 5 and 7, NaN where not clear, and sensors and dates."""
    with np.load(SERIES) as file:
        stored, ordinals = file["Y"], file["dates"]
    values = stored[:6] / 1e4
    clear = np.isin(stored[7], CLEAR) & ((values > 0) & (values < 1)).all(axis=0)
    launched = date(1999, 4, 15).toordinal()
    sensors = ["LT05" if day % 16 == 5 else "LE07" if day > launched else "LT04" for day in ordinals]
    kept = [k for k, name in enumerate(sensors) if name != "LT04"]
    dates = [date.fromordinal(int(ordinals[k])) for k in kept]
    return np.where(clear, values, np.nan)[:, kept], [sensors[k] for k in kept], dates


def common(values: Any, pair: ScenePair) -> tuple[Any, Any]:
    """Return the pixels (band, pixel) of reference and scene that are clear in both."""
    clear = np.isfinite(values[0, pair.scene]) & np.isfinite(values[0, pair.reference])
    return values[:, pair.reference, clear], values[:, pair.scene, clear]


def with_ndvi(values: Any) -> Any:
    """Return (band, ...) values, and NDVI after them."""
    return np.concatenate([values, [(values[3] - values[2]) / (values[3] + values[2])]])


def rectified(values: Any, lines: Lines | None) -> Any:
    """Return (band, ...) values after the lines."""
    if lines is None:
        return values
    gain, offset = (one.reshape(-1, *(1,) * (values.ndim - 1)) for one in (lines.gain, lines.offset))
    return gain * values + offset


def pair_steps(values: Any, pairs: list[ScenePair], lines: Sequence[Lines | None]) -> tuple[Any, Any]:
    """Return the mean difference of pairs in each band and NDVI, each after its lines, and the standard error."""
    found = []
    for pair, own in zip(pairs, lines, strict=True):
        reference, scene = common(values, pair)
        found.append((with_ndvi(reference) - with_ndvi(rectified(scene, own))).mean(axis=1))
    return np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / len(found) ** 0.5


def model_steps(values: Any, sensors: list[str], dates: list[date], lines: Lines | None) -> Any:
    """Return the step between the sensors in each band and NDVI: the mean over pixels of ordinary least squares."""
    chosen = [k for k, day in enumerate(dates) if date(1999, 7, 1) <= day <= date(2011, 11, 30)]
    newer = np.array([sensors[k] == "LE07" for k in chosen])
    series = values[:, chosen].copy()
    series[:, ~newer] = rectified(series[:, ~newer], lines)
    years = np.array([dates[k].toordinal() for k in chosen]) / 365.25
    waves = [wave(2 * np.pi * k * years) for k in (1, 2, 3) for wave in (np.cos, np.sin)]
    design = np.stack([np.ones_like(years), years - years.mean(), *waves, newer], axis=1)
    steps = []
    for pixel in np.moveaxis(with_ndvi(series), 2, 0):
        clear = np.isfinite(pixel[0])
        if clear.sum() >= 60:
            steps.append(np.linalg.lstsq(design[clear], pixel[:, clear].T, rcond=None)[0][-1])
    assert len(steps) > 250
    return np.mean(steps, axis=0)


def lines_of(values: Any, sensors: list[str], dates: list[date], pairs: list[ScenePair]) -> Lines:
    """Return the lines of Landsat 5."""
    (link,) = chain_of(sensors, dates, pairs)
    images = [common(values, pair) for pair in link.pairs]
    found = [pair_lines(reference, scene, np.ones(scene.shape[1])) for reference, scene in images]
    newest, older = chained([pooled_lines(link, found)])
    assert (newest.sensor, older.sensor, older.pairs) == ("LE07", "LT05", len(pairs))
    return older.lines


def test_the_step_from_landsat_5_to_7() -> None:
    values, sensors, dates = read()
    assert {name: sensors.count(name) for name in sensors} == {"LT05": 259, "LE07": 159}
    pairs = [pair for pair in pairs_of(sensors, dates) if common(values, pair)[0].shape[1] >= FEWEST]
    assert len(pairs) == 69
    assert len({pair.day for pair in pairs}) == 54
    lines = lines_of(values, sensors, dates, pairs)
    of_others = [
        lines_of(values, sensors, dates, [pair for pair in pairs if dates[pair.scene].year != year])
        for year in (dates[one.scene].year for one in pairs)
    ]
    before, after = pair_steps(values, pairs, [None] * len(pairs)), pair_steps(values, pairs, of_others)
    models = [model_steps(values, sensors, dates, one) for one in (None, lines)]
    rows = zip((*BANDS, "NDVI"), *before, *after, *models, strict=True)
    table = [
        f"| {name} | {one:+.4f} ± {one_se:.4f} | {two:+.4f} ± {two_se:.4f} | {step:+.4f} | {rest:+.4f} |"
        for name, one, one_se, two, two_se, step, rest in rows
    ]
    assert "\n".join(table) == TABLE
    # The step in NDVI is six standard errors before, and none after.
    assert before[0][-1] / before[1][-1] > 5.5
    assert (np.abs(after[0]) < 2 * after[1]).all()
    assert models[0][-1] > 0.04
    assert abs(models[1][-1]) < 0.003


def test_gains_have_standard_errors_that_three_hundred_pixels_allow() -> None:
    values, sensors, dates = read()
    pairs = [pair for pair in pairs_of(sensors, dates) if common(values, pair)[0].shape[1] >= FEWEST]
    lines = lines_of(values, sensors, dates, pairs)
    np.testing.assert_array_equal(np.round(lines.gain, 3), [1.046, 1.004, 1.081, 1.018, 1.067, 1.008])
    np.testing.assert_array_equal(np.round(lines.gain_se, 3), [0.044, 0.041, 0.043, 0.032, 0.045, 0.039])


def test_gaps_of_landsat_7_take_pixels_but_change_no_gain() -> None:
    """Since 31 May 2003, its scan line corrector is off, and a fifth of all pixels of a scene is missing."""
    values, sensors, dates = read()
    off = date(2003, 5, 31)
    with np.load(SERIES) as file:
        missing, ordinals = (file["Y"][7] == 255).mean(axis=1), file["dates"]
    late = (ordinals % 16 == 13) & (ordinals >= off.toordinal())
    assert 0.18 < missing[late].mean() < 0.2
    assert missing[~late].max() == 0
    pairs = [pair for pair in pairs_of(sensors, dates) if common(values, pair)[0].shape[1] >= FEWEST]
    parts = [[pair for pair in pairs if (dates[pair.reference] >= off) == side] for side in (False, True)]
    assert [len(part) for part in parts] == [24, 45]
    first, second = (lines_of(values, sensors, dates, part) for part in parts)
    assert (np.abs(first.gain - second.gain) < 2 * np.hypot(first.gain_se, second.gain_se)).all()
    steps = [pair_steps(values, part, [None] * len(part)) for part in parts]
    assert (np.abs(steps[0][0] - steps[1][0]) < 2 * np.hypot(steps[0][1], steps[1][1])).all()
