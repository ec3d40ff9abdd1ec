"""`rectify(per="sensor")` and control sets, from files to the table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import pixelwise as pw
from support.limits import set_limits
from support.rasters import PROFILE, write_raster
from support.scene_files import BANDS, CLEAR, NEWER, TOKENS, landscape
from support.stopping import Stop, hidden, stopped_after

PRODUCT = {"product": "landsat-c2-l2"}
#: (sensor, band) of what sensors see; reflectance = gain * seen + offset.
GAINS = {
    "LT05": np.array([0.95, 0.97, 0.93, 1.05, 1.02, 1.04]),
    "LE07": np.array([1.03, 1.02, 0.98, 0.97, 1.01, 0.99]),
    "LC08": np.ones(6),
}
OFFSETS = {"LT05": 0.004, "LE07": -0.003, "LC08": 0.0}
#: Landsat 5 and 7 overlap, and so do 7 and 8; 5 and 8 do not.
DATES = {
    "LT05": [f"{year}07{day:02d}" for year in (2008, 2009, 2010) for day in (2, 18)],
    "LE07": [f"{year}07{day:02d}" for year in (2008, 2009, 2010, 2014, 2015) for day in (10, 26)],
    "LC08": [f"{year}07{day:02d}" for year in (2014, 2015, 2016) for day in (2, 18)],
}


def write_sensors(folder: Path, sensors: tuple[str, ...] = ("LT05", "LE07", "LC08")) -> list[Path]:
    """Write scenes of several sensors at 80 x 100 pixels, each under air of its own."""
    random = np.random.default_rng(3)
    truth = landscape((80, 100), random)
    paths = []
    for sensor in sensors:
        for day in DATES[sensor]:
            seen = (truth - OFFSETS[sensor]) / GAINS[sensor][:, None, None]
            air = random.normal(1, 0.005, 6)[:, None, None]
            stored = np.rint((seen * air + random.normal(0, 0.004, truth.shape) + 0.2) / 2.75e-5)
            bands = np.concatenate(
                [np.clip(stored, 1, 65535), np.full((1, 80, 100), CLEAR if sensor != "LC08" else 21824)]
            )
            described = (*TOKENS["LT05"], "QA_PIXEL") if sensor != "LC08" else (*NEWER, "QA_PIXEL")
            path = folder / f"{sensor}_044034_{day}.tif"
            paths.append(write_raster(path, bands.astype(np.uint16), descriptions=described, nodata=0))
    return paths


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_sensors(tmp_path_factory.mktemp("sensors"))


def test_sensors_are_led_to_the_newest(paths: list[Path]) -> None:
    found = pw.rectify(paths, per="sensor", **PRODUCT)
    assert len(found.rows) == len(paths) * 6
    for band, name in enumerate(BANDS):
        by_sensor = {row.sensor: row for row in found.of_band(name)}
        lines = {(row.sensor, row.gain, row.offset) for row in found.of_band(name)}
        assert len(lines) == 3, "one line per sensor"
        assert (by_sensor["LC08"].gain, by_sensor["LC08"].offset, by_sensor["LC08"].flags) == (1.0, 0.0, ())
        for sensor in ("LT05", "LE07"):
            row = by_sensor[sensor]
            assert abs(row.gain - GAINS[sensor][band]) < max(4 * row.gain_se, 0.01), (sensor, name)
            assert 0 < row.gain_se < 0.05
        assert by_sensor["LT05"].reference == "LC08 through LE07, 9 pairs"
        assert by_sensor["LE07"].reference.startswith("LC08, ")
    assert all(row.method.endswith("per sensor") for row in found.rows)


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_the_same_table_stopped_or_not(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: str
) -> None:
    set_limits(monkeypatch, journal_seconds=0.0)
    output = tmp_path / "gains.csv"
    whole = pw.rectify(paths, tmp_path / "whole.csv", per="sensor", executor="inline", **PRODUCT)
    with pytest.raises(Stop):
        pw.rectify(paths, output, per="sensor", executor="inline", progress=stopped_after(7), **PRODUCT)
    assert hidden(tmp_path) == [".gains.csv.journal"]
    resumed = pw.rectify(paths[::-1], output, per="sensor", executor=executor, jobs=2, **PRODUCT)
    assert resumed.as_csv() == whole.as_csv()
    assert output.read_text() == (tmp_path / "whole.csv").read_text()


def test_sensors_that_never_meet_are_refused(tmp_path: Path) -> None:
    paths = write_sensors(tmp_path, ("LT05", "LC08"))
    with pytest.raises(pw.InputError, match=r"LT05 2008-2010 with LC08 2014-2016"):
        pw.rectify(paths, per="sensor", **PRODUCT)
    with pytest.raises(pw.InputError, match="all scenes are from LT05"):
        pw.rectify(paths[:6], per="sensor", **PRODUCT)


def test_files_without_sensors_are_refused(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for year in (2000, 2001):
        write_raster(
            tmp_path / f"s_{year}-07-01.tif", random.random((2, 50, 50)).astype("float32"), descriptions=("r", "n")
        )
    with pytest.raises(pw.InputError, match="its sensor is unknown; gains per sensor need a --product"):
        pw.rectify(str(tmp_path / "*.tif"), per="sensor", bands=["r", "n"])


# ------------------------------------------------------------------------------------------------ control sets


def polygons(path: Path, sets: dict[str, tuple[int, int, int, int]]) -> Path:
    """Write rectangles of (first row, last row, first column, last column) pixels as GeoJSON."""
    left, top = PROFILE["transform"].c, PROFILE["transform"].f
    features = []
    for name, (first, last, start, end) in sets.items():
        x, y = [left + 30 * start, left + 30 * (end + 1)], [top - 30 * (last + 1), top - 30 * first]
        ring = [[x[0], y[0]], [x[1], y[0]], [x[1], y[1]], [x[0], y[1]], [x[0], y[0]]]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        features.append({"type": "Feature", "properties": {"set": name}, "geometry": geometry})
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32617"}}
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    return path


def test_control_sets_in_polygons(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    truth = np.stack([random.normal(0.2, 0.05, (90, 90)) for _ in range(3)])
    truth[:, :10, :10] = random.normal(0.5, 0.01, (3, 10, 10))
    truth[:, 50:60, 70:85] = random.normal(0.02, 0.003, (3, 10, 15))
    gains, offsets = [1.0, 1.25, 0.8], [0.0, 0.01, -0.02]
    for year, gain, offset in zip((2000, 2001, 2002), gains, offsets, strict=True):
        changed = truth.copy()
        changed[:, 12:45] += 0.1 * (year - 2000)  # most of the area changes in the same way
        noisy = (changed + random.normal(0, 0.002, truth.shape) - offset) / gain
        write_raster(tmp_path / f"s_{year}-07-01.tif", noisy.astype("float32"), descriptions=("g", "r", "n"))
    sets = polygons(tmp_path / "sets.geojson", {"bright": (0, 9, 0, 9), "dark": (50, 59, 70, 84)})
    options = {"bands": ["g", "r", "n"], "reference": "2000-07-01", "method": "controls"}
    found = pw.rectify(str(tmp_path / "s_*.tif"), controls=sets, **options)
    for band in found.bands:
        rows = found.of_band(band)
        np.testing.assert_allclose([row.gain for row in rows], gains, rtol=0.01)
        np.testing.assert_allclose([row.offset for row in rows], offsets, atol=0.003)
        assert {row.n for row in rows[1:]} == {250}
        assert not any("few" in row.flags for row in rows)
    with pytest.raises(pw.InputError, match="dark"):
        pw.rectify(
            str(tmp_path / "s_*.tif"), controls=polygons(tmp_path / "one.geojson", {"bright": (0, 9, 0, 9)}), **options
        )
    with pytest.raises(pw.InputError, match=r"nothing\.gpkg"):
        pw.rectify(str(tmp_path / "s_*.tif"), controls=tmp_path / "nothing.gpkg", **options)


def test_control_sets_found_in_each_scene(paths: list[Path]) -> None:
    found = pw.rectify(paths[:6], method="controls", **PRODUCT)
    assert len(found.rows) == 36
    assert all(row.n >= 40 for row in found.rows)
    np.testing.assert_allclose([row.gain for row in found.rows], 1.0, atol=0.1)
