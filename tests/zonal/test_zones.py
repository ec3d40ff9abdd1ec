"""`zones` against exactextract called directly, shapely, pyproj.Geod, pandas and NumPy by hand."""

from __future__ import annotations

import csv
import json
import logging
import sqlite3
import tracemalloc
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import exactextract
import numpy as np
import pandas as pd
import pyogrio
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from click.testing import CliRunner
from exactextract.raster import NumPyRasterSource
from rasterio.crs import CRS
from scipy import stats

import pixelwise as pw
from pixelwise.bands import STATUS_BAND, Band, Floats, Status
from pixelwise.cli import main
from pixelwise.grid import Grid
from pixelwise.maps.classified import classify
from pixelwise.rasters.cell_areas import CellAreas
from pixelwise.zonal import classes as zonal_classes
from pixelwise.zonal import summary
from pixelwise.zonal.shapes import load_shapes
from support.places import SHARED
from support.rasters import write_raster

ALASKA = SHARED / "remoteparts_ak_ndvi" / "geotiff"

UTM = Affine(30, 0, 500_000, 0, -30, 3_400_000)
BANDS = (
    Band("slope", "Slope", "1/year", kind="change", pvalue="pvalue"),
    Band("pvalue", "p", kind="test"),
    Band("peak", "Peak", "day of year", kind="day of year"),
    Band("n", "Number", integer=True, kind="count"),
    STATUS_BAND,
)


def map_of(height: int = 60, width: int = 80, crs: str | None = "EPSG:32617", transform: Affine = UTM) -> pw.Map:
    """Return a map in memory with gaps, untested pixels and pixels outside a region."""
    random = np.random.default_rng(3)
    shape = (height, width)
    slope = random.normal(0, 1, shape).round(1).astype(np.float32)
    pvalue = random.uniform(0, 0.2, shape).astype(np.float32)
    status = np.zeros(shape, np.uint8)
    status[random.random(shape) < 0.1] = 1
    status[random.random(shape) < 0.1] = 6
    status[:5] = 9
    n = random.integers(5, 30, shape).astype(np.int32)
    peak = random.normal(364, 10, shape).astype(np.float32) % 365.25
    for values in (slope, peak):
        values[np.isin(status, (1, 9))] = np.nan
    pvalue[status > 0] = np.nan
    n[np.isin(status, (1, 9))] = 0
    grid = Grid(None if crs is None else CRS.from_string(crs), transform, height, width)
    arrays = {"slope": slope, "pvalue": pvalue, "peak": peak, "n": n, "status": status}
    return pw.Map(grid, BANDS, arrays=arrays)


def write(path: Path, shapes: Any, crs: str | None = "EPSG:32617", layer: str = "zones", **columns: Any) -> Path:
    """Write shapes with attributes."""
    columns = columns or {"id": np.arange(len(shapes))}
    driver = {".gpkg": "GPKG", ".shp": "ESRI Shapefile", ".fgb": "FlatGeobuf"}[path.suffix]
    warnings.filterwarnings("ignore", "'crs' was not provided")
    pyogrio.raw.write(
        str(path), shapely.to_wkb(np.array(shapes)), [np.array(values) for values in columns.values()],
        list(columns), layer=layer, driver=driver, geometry_type="Unknown", crs=crs,
    )  # fmt: skip
    return path


def places(map_: pw.Map, corners: Any) -> shapely.Polygon:
    """Return a polygon from (column, row) corners."""
    return shapely.Polygon([map_.grid.transform @ corner for corner in corners])


def star(column: float, row: float, radius: float, map_: pw.Map) -> shapely.Polygon:
    angles = np.linspace(0, 2 * np.pi, 15)[:-1]
    radii = np.where(np.arange(14) % 2, radius, radius / 2.5)
    return places(map_, zip(column + radii * np.cos(angles), row + radii * np.sin(angles), strict=True))


def areas_of(map_: pw.Map) -> Floats:
    return CellAreas(map_.grid).of(map_.grid.block)


def fractions_by_shapely(shape: shapely.Polygon, map_: pw.Map) -> Floats:
    """Return (y, x) covered fractions, one intersection at a time."""
    pixels = [
        places(map_, [(col, row), (col + 1, row), (col + 1, row + 1), (col, row + 1)])
        for row in range(map_.grid.height)
        for col in range(map_.grid.width)
    ]
    found = shapely.area(shapely.intersection(shape, np.array(pixels))) / shapely.area(pixels[0])
    return found.reshape(map_.grid.height, map_.grid.width)


def median_by_hand(values: Floats, weights: Floats) -> float:
    order = np.argsort(values, kind="stable")
    cumulated = np.cumsum(weights[order])
    return float(values[order][np.flatnonzero(cumulated >= cumulated[-1] / 2)[0]])


# ------------------------------------------------------------------------------------------------ polygons


def test_fractions_areas_and_statistics_by_hand(tmp_path: Path) -> None:
    map_ = map_of()
    shapes = [star(40, 30, 22, map_), star(13.3, 14.7, 12, map_), places(map_, [(5.2, 5.4), (5.6, 5.5), (5.3, 5.9)])]
    table = pw.zones(map_, write(tmp_path / "z.gpkg", shapes))
    areas = areas_of(map_)
    slope, pvalue, n, status = (map_[name] for name in ("slope", "pvalue", "n", "status"))
    for zone, shape in enumerate(shapes):
        weights = fractions_by_shapely(shape, map_) * areas
        assert table["zone_km2"][zone] == pytest.approx(weights.sum(), rel=1e-6)
        valid = np.isfinite(slope)
        assert table["valid_km2"][zone] == pytest.approx(weights[valid].sum(), rel=1e-6, abs=1e-12)
        tested = valid & np.isfinite(pvalue)
        assert table["tested_km2"][zone] == pytest.approx(weights[tested].sum(), rel=1e-6)
        assert table["tested_pixels"][zone] == pytest.approx((weights / areas)[tested].sum(), rel=1e-6)
        rises = tested & (slope > 0) & (pvalue < 0.05)
        assert table["significant_increase_km2"][zone] == pytest.approx(weights[rises].sum(), rel=1e-6, abs=1e-12)
        assert table["not_tested_km2"][zone] == pytest.approx(weights[valid & ~tested].sum(), rel=1e-6, abs=1e-12)
        mean = np.average(slope[valid], weights=weights[valid])
        assert table["slope_mean"][zone] == pytest.approx(mean, rel=1e-5)
        spread = np.sqrt(np.average((slope[valid] - mean) ** 2, weights=weights[valid]))
        assert table["slope_sd"][zone] == pytest.approx(spread, rel=1e-5, abs=1e-7)
        assert table["slope_median"][zone] == pytest.approx(median_by_hand(slope[valid], weights[valid]), rel=1e-6)
        # Pixels without an observation have n = 0, which is no number of observations of anything.
        counted = ~np.isin(status, (1, 9))
        assert table["n_mean"][zone] == pytest.approx(np.average(n[counted], weights=weights[counted]), rel=1e-6)
    assert "status_mean" not in table
    assert "peak_median" not in table
    assert list(table["covered"]) == [1, 1, 1]


def test_the_same_as_exactextract(tmp_path: Path) -> None:
    """Its own weighted mean and standard deviation, with a raster of areas as weights."""
    map_ = map_of(transform=Affine(1 / 12, 0, -150, 0, -1 / 12, 65), crs="EPSG:4326")
    shapes = [star(40, 30, 22, map_), star(20, 20, 19, map_), star(70, 50, 8, map_)]
    path = write(tmp_path / "z.gpkg", shapes, "EPSG:4326")
    table = pw.zones(map_, path, bands=["slope", "pvalue"])
    features = [{"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(one)} for one in shapes]
    left, bottom, right, top = map_.grid.bounds
    values = NumPyRasterSource(map_["slope"].astype(float), left, bottom, right, top, nodata=np.nan, name="slope")
    weights = NumPyRasterSource(areas_of(map_), left, bottom, right, top, name="areas")
    found = exactextract.exact_extract(
        values, features, ["weighted_mean", "weighted_stdev"], weights=weights, output="pandas"
    )
    np.testing.assert_allclose(table["slope_mean"], found["weighted_mean"], rtol=1e-6)
    np.testing.assert_allclose(table["slope_sd"], found["weighted_stdev"], rtol=1e-6)
    sums = exactextract.exact_extract(weights, features, ["sum"], output="pandas")
    np.testing.assert_allclose(table["zone_km2"], sums["sum"], rtol=1e-9)


@pytest.mark.parametrize("crs", ["EPSG:32617", "EPSG:4326"])
def test_touching_polygons_add_up_to_the_whole(tmp_path: Path, crs: str) -> None:
    """Triangles that cover the map entirely: every sum is that of the map."""
    map_ = map_of()
    left, bottom, right, top = map_.grid.bounds
    random = np.random.default_rng(8)
    inner = random.uniform((left, bottom), (right, top), (40, 2))
    around = [
        (left - 900, bottom - 900),
        (right + 900, bottom - 900),
        (left - 900, top + 900),
        (right + 900, top + 900),
    ]
    triangles = shapely.get_parts(shapely.delaunay_triangles(shapely.MultiPoint([*inner, *around])))
    if crs == "EPSG:4326":
        to_degrees = pyproj.Transformer.from_crs("EPSG:32617", crs, always_xy=True)
        triangles = shapely.transform(triangles, lambda p: np.stack(to_degrees.transform(*p.T), axis=1))
    table = pw.zones(map_, write(tmp_path / "z.gpkg", triangles, crs))
    whole = pw.zones(map_, write(tmp_path / "w.gpkg", [shapely.box(left, bottom, right, top)]))
    sums = [name for name in table if name.endswith(("_km2", "_pixels"))]
    assert len(sums) == 11
    for name in sums:
        # Fractions are float32: a class of a few pixels is right to 6e-8 of it, and to less than 1e-9 of the map.
        largest = whole["tested_pixels" if name == "tested_pixels" else "zone_km2"][0]
        assert table[name].sum() == pytest.approx(whole[name][0], abs=1e-9 * largest), name
    assert whole["zone_km2"][0] == pytest.approx(areas_of(map_).sum(), rel=1e-12)
    total = np.nansum(table["slope_mean"] * table["valid_km2"])
    # Slopes have a spread of 1 about nearly 0.
    assert total == pytest.approx(whole["slope_mean"][0] * whole["valid_km2"][0], abs=1e-9 * whole["valid_km2"][0])


def test_areas_are_those_on_the_ellipsoid(tmp_path: Path) -> None:
    """Polygons in degrees on a UTM map, against the geodesic area of the polygon itself."""
    map_ = map_of(400, 400)
    to_degrees = pyproj.Transformer.from_crs("EPSG:32617", "EPSG:4326", always_xy=True)
    shapes = [star(200, 200, 150, map_), places(map_, [(20, 30), (380, 40), (370, 350), (30, 390)])]
    degrees = [shapely.transform(one, lambda p: np.stack(to_degrees.transform(*p.T), axis=1)) for one in shapes]
    table = pw.zones(map_, write(tmp_path / "z.gpkg", degrees, "EPSG:4326"), bands=["slope"])
    geod = pyproj.Geod(ellps="WGS84")
    for zone, shape in enumerate(degrees):
        # Edges are straight in degrees, which geodesics follow if they are short.
        area = abs(geod.geometry_area_perimeter(shapely.segmentize(shape, 1e-4))[0]) / 1e6
        assert table["zone_km2"][zone] == pytest.approx(area, rel=1e-6)


def test_edges_follow_their_curve_in_the_crs_of_the_map(tmp_path: Path) -> None:
    """A box of 20 degrees on a polar map: its edges along parallels are arcs there."""
    transform = Affine(20_000, 0, -3e6, 0, -20_000, 3e6)
    map_ = map_of(300, 300, "EPSG:3413", transform)
    box = shapely.box(-40, 70, 20, 80)
    table = pw.zones(map_, write(tmp_path / "z.gpkg", [box], "EPSG:4326"), bands=["slope"])
    geod = pyproj.Geod(ellps="WGS84")
    area = abs(geod.geometry_area_perimeter(shapely.segmentize(box, 1e-3))[0]) / 1e6
    assert table["zone_km2"][0] == pytest.approx(area, rel=1e-4)


def test_a_rotated_map(tmp_path: Path) -> None:
    map_ = map_of(transform=UTM @ Affine.rotation(25))
    shape = star(40, 30, 22, map_)
    table = pw.zones(map_, write(tmp_path / "z.gpkg", [shape]), bands=["slope"])
    weights = fractions_by_shapely(shape, map_) * areas_of(map_)
    assert table["zone_km2"][0] == pytest.approx(weights.sum(), rel=1e-6)
    valid = np.isfinite(map_["slope"])
    assert table["slope_mean"][0] == pytest.approx(np.average(map_["slope"][valid], weights=weights[valid]), rel=1e-5)


def test_blocks_and_strips_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    map_ = map_of(300, 200)
    round_one = shapely.Point(map_.grid.transform @ (100, 150)).buffer(2500, quad_segs=400)
    path = write(tmp_path / "z.gpkg", [round_one, star(50, 60, 45, map_), round_one.buffer(-2000)])
    once = pw.zones(map_, path)
    monkeypatch.setattr(summary, "EDGE", 64)
    monkeypatch.setattr(summary, "MOST_KEPT", 50)
    again = pw.zones(map_, path)
    for name in once:
        np.testing.assert_allclose(again[name], once[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_holes_and_several_parts(tmp_path: Path) -> None:
    map_ = map_of()
    ring = places(map_, [(10, 10), (50, 10), (50, 50), (10, 50)]).difference(star(30, 30, 15, map_))
    both = shapely.union(ring, places(map_, [(60, 5), (75, 6), (70, 20)]))
    assert both.geom_type == "MultiPolygon"
    table = pw.zones(map_, write(tmp_path / "z.gpkg", [both]), bands=["slope"])
    assert table["zone_km2"][0] == pytest.approx((fractions_by_shapely(both, map_) * areas_of(map_)).sum(), rel=1e-6)


def test_a_zone_may_lie_partly_outside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    map_ = map_of()
    inside = places(map_, [(10, 10), (30, 10), (30, 30), (10, 30)])
    half = places(map_, [(70, 10), (90, 10), (90, 30), (70, 30)])
    beyond = places(map_, [(100, 10), (120, 10), (120, 30), (100, 30)])
    path = write(tmp_path / "z.gpkg", [inside, half, beyond], name=["Inside", "Half", "Beyond"])
    table = pw.zones(map_, path, bands=["slope"])
    [said] = caplog.messages
    outside = "1 of 3 zones is outside the map and has no values: Beyond"
    assert said == f"zones {path}: {outside}; 1 is only partly on the map: Half (50 %)"
    np.testing.assert_allclose(table["covered"], [1, 0.5, 0], rtol=1e-12)
    assert table["zone_km2"][2] == 0
    assert np.isnan(table["slope_mean"][2])
    assert np.isnan(table["slope_median"][2])
    # It is known that the map has nothing of it; what happened there is not.
    for name in ("valid_km2", "tested_km2", "tested_pixels", "significant_increase_km2", "significant_increase_share"):
        assert np.isnan(table[name]).tolist() == [False, False, True], name


def test_shares_are_those_of_the_tested_area(tmp_path: Path) -> None:
    map_ = map_of()
    shapes = [star(30, 30, 20, map_), places(map_, [(0, 0), (80, 0), (80, 5), (0, 5)])]
    path = write(tmp_path / "z.gpkg", shapes)
    table = pw.zones(map_, path, bands=["slope"])
    shares = [name for name in table if name.endswith("_share")]
    assert "not_tested_share" not in shares
    assert sum(table[name][0] for name in shares) == pytest.approx(1)
    expected = table["significant_decrease_km2"][0] / table["tested_km2"][0]
    assert table["significant_decrease_share"][0] == pytest.approx(expected)
    # On the map, but outside its region: nothing is tested there.
    assert table["tested_km2"][1] == 0
    assert np.isnan(table["significant_decrease_share"][1])
    ranges = pw.zones(map_, path, bands=["n"], classes=[10, 20])
    parts = ("below_10_share", "10_to_20_share", "20_and_above_share")
    assert sum(ranges[name][0] for name in parts) == pytest.approx(1)


def test_longitudes_may_be_counted_from_0(tmp_path: Path) -> None:
    """Also a polygon across 180 degrees east, of which a map from -180 on has one half at each end."""
    map_ = map_of(60, 144, "EPSG:4326", Affine(2.5, 0, -180, 0, -2.5, 75))
    shapes = [shapely.box(200, 10, 220, 30), shapely.box(-160, 10, -140, 30), shapely.box(170, 10, 190, 30)]
    table = pw.zones(map_, write(tmp_path / "z.gpkg", shapes, "EPSG:4326"))
    assert table["slope_mean"][0] == table["slope_mean"][1]
    assert table["zone_km2"][2] == pytest.approx(table["zone_km2"][0], rel=1e-9)
    assert list(table["covered"]) == [1, 1, 1]


def test_days_of_the_year_are_circular(tmp_path: Path) -> None:
    map_ = map_of()
    whole = shapely.box(*map_.grid.bounds)
    table = pw.zones(map_, write(tmp_path / "z.gpkg", [whole]), bands=["peak"])
    peak = map_["peak"]
    angles = (peak[np.isfinite(peak)] - 1) / 365.25 * 2 * np.pi
    assert table["peak_mean"][0] == pytest.approx(stats.circmean(angles) / (2 * np.pi) * 365.25 + 1, abs=1e-3)
    assert table["peak_sd"][0] == pytest.approx(stats.circstd(angles) / (2 * np.pi) * 365.25, rel=1e-3)
    assert 100 < np.nanmean(peak) < 300  # in summer, where no peak is


def test_without_a_crs_pixels_are_counted(tmp_path: Path) -> None:
    map_ = map_of(crs=None, transform=Affine.identity())
    map_ = pw.Map(Grid(None, Affine(1, 0, 0, 0, -1, 60), 60, 80), BANDS, arrays=map_.arrays)
    table = pw.zones(map_, write(tmp_path / "z.gpkg", [shapely.box(10, 10, 20.5, 20)], None))
    assert table["zone_pixels"][0] == pytest.approx(105)
    assert not [name for name in table if name.endswith("km2")]
    assert {"tested_pixels", "significant_increase_pixels", "covered"} <= set(table)


# -------------------------------------------------------------------------------------- classes of a raster


def test_classes_of_a_raster(tmp_path: Path) -> None:
    map_ = map_of()
    random = np.random.default_rng(1)
    classes = random.integers(1, 5, (60, 80)).astype(np.uint8)
    classes[20:25] = 255
    path = write_raster(tmp_path / "landcover.tif", classes, nodata=255)
    table = pw.zones(map_, path)
    frame = pd.DataFrame({name: map_[name].ravel() for name in map_} | {"class": classes.ravel()})
    frame["km2"] = areas_of(map_).ravel()
    frame = frame[frame["class"] != 255]
    assert list(table["class"]) == [1, 2, 3, 4]
    np.testing.assert_allclose(table["zone_km2"], frame.groupby("class")["km2"].sum(), rtol=1e-12)
    valid = frame.dropna(subset="slope")
    means = valid.groupby("class")[["slope", "km2"]].apply(lambda one: np.average(one["slope"], weights=one["km2"]))
    np.testing.assert_allclose(table["slope_mean"], means, rtol=1e-6)
    medians = valid.groupby("class")[["slope", "km2"]].apply(
        lambda one: median_by_hand(one["slope"].to_numpy(), one["km2"].to_numpy())
    )
    np.testing.assert_allclose(table["slope_median"], medians, rtol=1e-6)
    tested = valid.dropna(subset="pvalue").groupby("class").size()
    np.testing.assert_allclose(table["tested_pixels"], tested)


def test_many_classes_are_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    map_ = map_of()
    classes = np.random.default_rng(1).integers(0, 100, (60, 80)).astype(np.int16)
    path = write_raster(tmp_path / "c.tif", classes)
    once = pw.zones(map_, path, bands=["slope", "n"])
    monkeypatch.setattr(summary, "MOST_KEPT", 1)
    again = pw.zones(map_, path, bands=["slope", "n"])
    np.testing.assert_array_equal(again["slope_median"], once["slope_median"])
    np.testing.assert_array_equal(again["n_median"], once["n_median"])


def test_the_map_is_not_read_more_often_for_more_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Medians of 300 classes and two bands are searched together: once to count, and three times for 32 bits."""
    map_ = map_of()
    path = write_raster(tmp_path / "c.tif", np.random.default_rng(1).integers(0, 300, (60, 80)).astype(np.int16))
    read, pixels = pw.Map.read, {"slope": 0, "pvalue": 0}

    def counted(self: pw.Map, name: str, block: Any) -> Any:
        if name in pixels and block.pixels > 1:
            pixels[name] += block.pixels
        return read(self, name, block)

    monkeypatch.setattr(pw.Map, "read", counted)
    monkeypatch.setattr(summary, "EDGE", 16)
    monkeypatch.setattr(summary, "MOST_KEPT", 1)
    pw.zones(map_, path, bands=["pvalue", "slope"])
    assert pixels == {"slope": 4 * 4800, "pvalue": 4 * 4800}


def test_classes_beyond_the_map(tmp_path: Path) -> None:
    map_ = map_of()
    classes = np.ones((60, 160), np.uint8)
    classes[:, 120:] = 2
    classes[:, 60:80] = 3
    table = pw.zones(map_, write_raster(tmp_path / "wide.tif", classes), bands=["slope"])
    assert list(table["class"]) == [1, 3]
    assert np.isnan(table["covered"]).all()
    np.testing.assert_allclose(table["zone_km2"].sum(), areas_of(map_).sum())
    within = pw.zones(map_, write_raster(tmp_path / "within.tif", classes[:, :80]), bands=["slope"])
    assert list(within["covered"]) == [1, 1]
    np.testing.assert_array_equal(within["zone_km2"], table["zone_km2"])


def test_of_a_large_raster_only_the_map_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    map_ = map_of()
    classes = np.ones((600, 2000), np.uint8)
    path = write_raster(tmp_path / "large.tif", classes, transform=UTM @ Affine.translation(-900, -300))
    read, pixels = zonal_classes.read_piece, 0

    def counted(piece: Any, block: Any) -> Any:
        nonlocal pixels
        pixels += block.pixels
        return read(piece, block)

    monkeypatch.setattr(zonal_classes, "read_piece", counted)
    pw.zones(map_, path, bands=["slope"])
    assert pixels == 2 * 60 * 80


# ----------------------------------------------------------------------------------------------- the table


def test_attributes_are_kept_and_columns_win(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    map_ = map_of()
    names = ["Ål", 'a "b", c']
    days = np.array(["2020-01-02", "2021-03-04"], "datetime64[ms]")
    path = write(
        tmp_path / "z.gpkg", [star(40, 30, 22, map_), star(20, 20, 9, map_)], name=np.array(names, object),
        day=days, Zone_km2=[1.5, 2.5], rank=[7, 8],
    )  # fmt: skip
    with caplog.at_level(logging.WARNING):
        table = pw.zones(map_, path, bands=["slope"])
    assert (
        "its attribute Zone_km2 is called zones_Zone_km2 in the table, which already has a column of that name\n"
        in caplog.text
    )
    assert list(table)[:4] == ["name", "day", "zones_Zone_km2", "rank"]
    with table.save(tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == names
    assert rows[0]["day"].startswith("2020-01-02")
    assert float(rows[1]["slope_mean"]) == pytest.approx(table["slope_mean"][1], rel=1e-9)
    meta, _, wkb, values = pyogrio.raw.read(str(table.save(tmp_path / "t.gpkg")))
    assert list(meta["fields"]) == list(table)
    assert meta["crs"] == "EPSG:32617"
    found = dict(zip(meta["fields"], values, strict=True))
    assert list(found["name"]) == names
    np.testing.assert_array_equal(found["slope_mean"], table["slope_mean"])
    _, _, before, _ = pyogrio.raw.read(str(path))
    assert shapely.equals(shapely.from_wkb(wkb), shapely.from_wkb(before)).all()
    assert [one.name for one in tmp_path.iterdir() if "partial" in one.name] == []
    assert pd.DataFrame(dict(table)).shape == (2, len(table))


def test_geojson_keeps_its_properties(tmp_path: Path) -> None:
    map_ = map_of()
    to_degrees = pyproj.Transformer.from_crs("EPSG:32617", "EPSG:4326", always_xy=True)
    shape = shapely.transform(star(40, 30, 22, map_), lambda p: np.stack(to_degrees.transform(*p.T), axis=1))
    properties = [{"name": "a", "n": 1, "fid": "x", "tags": [1, 2]}, {"name": None, "share": 0.5}]
    features = [
        {"type": "Feature", "properties": one, "geometry": shapely.geometry.mapping(shape)} for one in properties
    ]
    (tmp_path / "z.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    table = pw.zones(map_, tmp_path / "z.geojson", bands=["slope"])
    assert list(table["name"]) == ["a", None]
    assert list(table["zones_fid"]) == ["x", None]
    assert list(table["tags"]) == ["[1, 2]", None]
    np.testing.assert_array_equal(table["n"], [1, np.nan])
    np.testing.assert_array_equal(table["share"], [np.nan, 0.5])
    assert table["slope_mean"][0] == table["slope_mean"][1]
    table.save(tmp_path / "t.gpkg")
    assert table.save(tmp_path / "t.csv").read_text().splitlines()[2].startswith(",,,,0.5,")


def test_a_band_without_a_test_has_no_tested_columns(tmp_path: Path) -> None:
    map_ = map_of()
    path = write(tmp_path / "z.gpkg", [star(40, 30, 22, map_)])
    assert list(pw.zones(map_, path, bands=["n"])) == [
        "id", "zone_km2", "covered", "valid_km2", "n_mean", "n_median", "n_sd"
    ]  # fmt: skip
    table = pw.zones(map_, path, bands=["n"], classes="10,20")
    assert {"below_10_km2", "10_to_20_km2", "20_and_above_km2"} <= set(table)
    assert sum(table[name][0] for name in ("below_10_km2", "10_to_20_km2", "20_and_above_km2")) > 0
    table = pw.zones(map_, path, bands=["slope"], classes="confidence")
    assert "increase_at_99_km2" in table


# ------------------------------------------------------------------------------------------------ bad input


def refused(map_: pw.Map, source: Any, kind: type[pw.errors.PixelwiseError] = pw.InputError, **options: Any) -> str:
    with pytest.raises(kind) as error:
        pw.zones(map_, source, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_zones_that_cannot_be_used(tmp_path: Path) -> None:
    map_ = map_of()
    good = star(40, 30, 22, map_)
    assert "holds no polygons" in refused(map_, write(tmp_path / "none.gpkg", [], id=[]))
    assert "has no CRS, the map has EPSG:32617; say which it is: ogr2ogr -a_srs" in refused(
        map_, write(tmp_path / "bare.gpkg", [good], None)
    )
    # As files of older programs say that they have none: the specification of GeoPackage has these two numbers for it.
    for number in (0, -1):
        undefined = write(tmp_path / f"undefined{number}.gpkg", [good])
        with closing(sqlite3.connect(undefined)) as database, database:
            for table in ("gpkg_contents", "gpkg_geometry_columns"):
                database.execute(f"UPDATE {table} SET srs_id = ?", (number,))
        assert "has no CRS, the map has EPSG:32617; say which it is: ogr2ogr -a_srs" in refused(map_, undefined)
    assert "feature 2 is a Point, which has no area" in refused(
        map_, write(tmp_path / "p.gpkg", [good, shapely.Point(1, 2)])
    )
    assert "is a LineString" in refused(map_, write(tmp_path / "l.gpkg", [shapely.LineString([(0, 0), (1, 1)])]))
    far = refused(map_, write(tmp_path / "far.gpkg", [shapely.box(0, 0, 10, 10)]))
    assert "all lie outside the map: they cover (0, 0, 10, 10), the map (500000, " in far
    assert "No such file" in refused(map_, tmp_path / "no.gpkg")
    nowhere = pw.Map(Grid(None, UTM, 60, 80), BANDS, arrays=map_.arrays)
    assert "has EPSG:32617, but the map has no CRS" in refused(nowhere, tmp_path / "p.gpkg")
    two = write(tmp_path / "two.gpkg", [good], layer="a")
    pyogrio.raw.write(str(two), shapely.to_wkb([good]), [], [], layer="b", driver="GPKG", geometry_type="Polygon",
                      crs="EPSG:32617", append=True)  # fmt: skip
    assert "has 2 layers (a, b); name one" in refused(map_, two)
    assert pw.zones(map_, f"{two}:a", bands=["slope"]).rows == 1


def test_rasters_that_cannot_be_used(tmp_path: Path) -> None:
    map_ = map_of()
    ones = np.ones((60, 80), np.uint8)
    shifted = write_raster(tmp_path / "shifted.tif", ones, transform=UTM @ Affine.translation(0.5, 0))
    text = refused(map_, shifted)
    assert "its pixels are not aligned with those of the rasters" in text
    assert "gdalwarp -r near" in text
    assert "its pixels are not aligned" in refused(map_, write_raster(tmp_path / "crs.tif", ones, crs="EPSG:32618"))
    floats = write_raster(tmp_path / "f.tif", ones.astype(np.float32))
    assert "holds float32 numbers; expected classes" in refused(map_, floats)
    assert "has 2 bands" in refused(map_, write_raster(tmp_path / "b.tif", [ones, ones]))
    assert "only nodata" in refused(map_, write_raster(tmp_path / "n.tif", ones, nodata=1))
    many = np.arange(300 * 300, dtype=np.int32).reshape(300, 300)
    assert "more than 65536 different numbers" in refused(map_of(300, 300), write_raster(tmp_path / "m.tif", many))
    away = write_raster(tmp_path / "away.tif", ones, transform=UTM @ Affine.translation(900, 0))
    assert "lies outside the rasters" in refused(map_, away)
    (tmp_path / "a.txt").write_text("no raster")
    assert "a.txt: not a raster that can be read" in refused(map_, tmp_path / "a.txt")
    assert "polygons are read from GeoJSON, GeoPackage" in refused(map_, tmp_path / "a.txt")


def test_bands_and_classes_that_cannot_be(tmp_path: Path) -> None:
    map_ = map_of()
    path = write(tmp_path / "z.gpkg", [star(40, 30, 22, map_)])
    assert "unknown band 'slop'" in refused(map_, path, pw.ParameterError, bands=["slop"])
    assert "status holds codes, which have no mean" in refused(map_, path, pw.ParameterError, bands=["status"])
    assert "is one string" in refused(map_, path, pw.ParameterError, bands="slope")
    assert "n has no p-value" in refused(map_, path, pw.ParameterError, bands=["n"], classes="trend")
    assert "have no areas" in refused(map_, path, pw.ParameterError, bands=["n"], classes="continuous")
    assert "map in memory" in refused(map_, path, series=True)


def test_polygons_that_cross_themselves_are_mended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    map_ = map_of()
    bow = places(map_, [(10, 10), (30, 30), (30, 10), (10, 30)])
    table = pw.zones(map_, write(tmp_path / "z.gpkg", [bow]), bands=["slope"])
    assert "1 of 1 polygons cross themselves" in caplog.text
    assert table["zone_km2"][0] == pytest.approx(200 * 9e-4, rel=1e-3)


# -------------------------------------------------------------------------------------------------- series


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Return a folder with ten layers, a map of them with a region, and zones."""
    random = np.random.default_rng(5)
    for year in range(2000, 2010):
        values = random.normal(year - 2000, 1, (30, 40)).astype(np.float32)
        values[random.random(values.shape) < 0.2] = np.nan
        write_raster(tmp_path / "s" / f"ndvi_{year}.tif", values, nodata=np.nan)
    bounds = (500_000, 3_400_000 - 900, 500_000 + 900, 3_400_000)
    pw.apply(pw.open_stack(tmp_path / "s", region=bounds), "ols", tmp_path / "map.tif", per="decade")
    map_ = pw.open_map(tmp_path / "map.tif")
    write(tmp_path / "z.gpkg", [star(15, 15, 14, map_), star(32, 20, 8, map_)], name=np.array(["a", "b"], object))
    return tmp_path


def run(*args: Any) -> Any:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def test_the_mean_series_and_its_trend(made: Path) -> None:
    result = run(
        "zones", made / "map.tif", made / "z.gpkg", "-o", made / "t.csv", "--series-csv", made / "s.csv", "--series"
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [str(made / "t.csv"), str(made / "s.csv")]
    series = pd.read_csv(made / "s.csv")
    table = pd.read_csv(made / "t.csv")
    assert list(series.columns) == ["zone", "name", "date", "mean", "share"]
    assert len(series) == 20
    map_ = pw.open_map(made / "map.tif")
    values = np.stack([rasterio.open(path).read(1) for path in sorted((made / "s").glob("*.tif"))])
    for zone, shape in enumerate([star(15, 15, 14, map_), star(32, 20, 8, map_)]):
        weights = fractions_by_shapely(shape, map_) * areas_of(map_)
        weights[map_["status"] == 9] = 0
        own = series[series["zone"] == zone + 1]
        known = np.isfinite(values)
        sums = np.where(known, values * weights, 0).sum(axis=(1, 2))
        np.testing.assert_allclose(own["mean"], sums / (known * weights).sum(axis=(1, 2)), rtol=1e-5)
        np.testing.assert_allclose(own["share"], (known * weights).sum(axis=(1, 2)) / weights.sum(), rtol=1e-5)
        line = stats.linregress(np.arange(10), own["mean"])
        assert table["series_slope"][zone] == pytest.approx(10 * line.slope, rel=1e-6)
        assert table["series_pvalue"][zone] == pytest.approx(line.pvalue, rel=1e-5)
        assert table["series_n"][zone] == 10


def test_series_of_files_that_must_be_named(made: Path) -> None:
    (made / "out").mkdir()
    pw.apply(pw.open_stack(made / "s"), "ols", made / "out" / "map.tif")
    args = ["zones", made / "out" / "map.tif", made / "z.gpkg", "-o", made / "t.csv"]
    result = run(*args, "--series")
    assert result.exit_code == 1
    assert "is outside its folder and is opened only if you name it" in result.stderr
    assert f"-o {made / 't.csv'} --series {made / 'out' / 'map.tif'}" not in result.stderr
    assert f"{made / 't.csv'} --series {made / 's'}" in result.stderr
    assert run(*args, "--series", made / "s").exit_code == 0
    assert "series_slope" in (made / "t.csv").read_text()
    assert run(*args, "--series-csv", made / "s.csv").exit_code == 2


def test_inputs_and_other_outputs_are_never_replaced(made: Path) -> None:
    """Whether they are the zones, a file that the map was limited by, a link, or the other table."""
    (made / "link").symlink_to(made, target_is_directory=True)
    (made / "times.csv").write_text("".join(f"ndvi_{year}.tif,{year}\n" for year in range(2000, 2010)))
    stack = pw.open_stack(made / "s", times=made / "times.csv", region=made / "z.gpkg")
    pw.apply(stack, "ols", made / "limited.tif")
    before = {path: path.read_bytes() for path in (made / "z.gpkg", made / "times.csv")}
    raster = write_raster(made / "c.tif", np.ones((30, 40), np.uint8))
    t, z, times = made / "t.csv", made / "z.gpkg", made / "times.csv"
    for map_path, zones, outputs, said in (
        ("map.tif", z, ["-o", z], "z.gpkg: is one of the inputs"),
        ("map.tif", f"{z}:zones", ["-o", z], "z.gpkg: is one of the inputs"),
        ("map.tif", z, ["-o", made / "link" / "z.gpkg"], "z.gpkg: is one of the inputs"),
        ("limited.tif", raster, ["-o", times], "times.csv: is one of the inputs"),
        ("limited.tif", raster, ["-o", t, "--series", "--series-csv", times], "times.csv: is one of the inputs"),
        ("map.tif", z, ["-o", t, "--series", "--series-csv", t], "t.csv: is the name of two outputs"),
    ):
        result = run("zones", made / map_path, zones, *outputs, "--overwrite")
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1), result.output
        assert said in result.stderr
    table = pw.zones(made / "limited.tif", z, bands=["slope"])
    with pytest.raises(pw.errors.OutputError, match="is one of the inputs"):
        table.save(z, overwrite=True)
    with pytest.raises(pw.errors.OutputError, match="is one of the inputs"):
        table.save(times, overwrite=True)
    assert before == {path: path.read_bytes() for path in before}
    assert not t.exists()


def test_a_constant_zone_has_no_trend_out_of_rounding(tmp_path: Path) -> None:
    """Also where gaps differ from date to date, and where the pixels of a zone differ from each other."""
    random = np.random.default_rng(1)
    for year in range(1990, 2020):
        values = np.full((40, 40), 0.3, np.float32)
        values[random.random(values.shape) < 0.4] = np.nan
        values[:, 20:] = np.random.default_rng(2).normal(0.3, 0.1, (40, 20))
        write_raster(tmp_path / "s" / f"c_{year}.tif", values, nodata=np.nan)
    map_ = pw.apply(pw.open_stack(tmp_path / "s"), "ols", tmp_path / "m.tif")
    shapes = [star(10, 20, 9.3, map_), star(30, 20, 9.3, map_)]
    table = pw.zones(tmp_path / "m.tif", write(tmp_path / "z.gpkg", shapes), bands=["slope"], series=True)
    assert table.series is not None
    assert (table.series.means[:, 0] == np.float32(0.3)).all()
    assert (table.series.means[:, 1] == table.series.means[0, 1]).all()
    assert list(table["series_slope"]) == [0, 0]
    assert np.isnan(table["series_pvalue"]).all()
    assert list(table["series_status"]) == [Status.CONSTANT, Status.CONSTANT]


def test_a_mean_series_needs_what_the_map_asked_of_pixels(tmp_path: Path) -> None:
    """A zone with values in three of ten years has no trend where the map needs half of them."""
    random = np.random.default_rng(1)
    for year in range(2000, 2010):
        values = random.normal(year - 2000, 1, (30, 40)).astype(np.float32)
        if year % 4:
            values[:, :20] = np.nan
        write_raster(tmp_path / "s" / f"ndvi_{year}.tif", values, nodata=np.nan)
    options: dict[str, Any] = {"bands": ["slope", "pvalue", "n"]}
    pw.apply(pw.open_stack(tmp_path / "s"), "ols", tmp_path / "any.tif", **options)
    map_ = pw.apply(pw.open_stack(tmp_path / "s"), "ols", tmp_path / "half.tif", min_valid=0.5, **options)
    path = write(tmp_path / "z.gpkg", [star(9, 15, 8, map_), star(30, 15, 8, map_), star(-40, 9, 3, map_)])
    found = pw.zones(tmp_path / "half.tif", path, series=True)
    assert list(found["series_status"]) == [Status.TOO_FEW, Status.OK, Status.NO_OBSERVATION]
    assert list(np.isfinite(found["series_slope"])) == [False, True, False]
    assert list(found["series_n"]) == [3, 10, 0]
    assert [name for name in found if name.startswith("series_")] == [
        "series_slope", "series_pvalue", "series_n", "series_status", "series_share"
    ]  # fmt: skip
    assert list(pw.zones(tmp_path / "any.tif", path, series=True)["series_status"]) == [
        Status.OK, Status.OK, Status.NO_OBSERVATION
    ]  # fmt: skip


def test_bands_that_are_not_there_by_default_have_a_series_too(made: Path) -> None:
    names = ["slope", "low_slope", "high_slope"]
    pw.apply(pw.open_stack(made / "s"), "ols", made / "limits.tif", bands=names)
    table = pw.zones(made / "limits.tif", made / "z.gpkg", series=True)
    low, slope, high = (table[f"series_{name}"] for name in ("low_slope", "slope", "high_slope"))
    assert (low < slope).all()
    assert (slope < high).all()


def test_classes_are_those_of_classify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a map so large that its limits come from some of its pixels, of which it never holds all."""
    monkeypatch.setattr("pixelwise.pictures.thinned.MOST_PIXELS", 1000)
    monkeypatch.setattr("pixelwise.pictures.thinned.spread", lambda size, most=0: np.arange(2, size, 5))
    map_ = map_of()
    tally = classify(map_, tmp_path / "c.tif", "pvalue", classes="quintile", table=tmp_path / "c.csv")
    whole = shapely.box(*map_.grid.bounds)
    table = pw.zones(map_, write(tmp_path / "z.gpkg", [whole]), bands=["pvalue"], classes="quintile")
    assert tally.km2 is not None
    own = [name for name in table if name.endswith("_km2") and name not in ("zone_km2", "valid_km2")]
    np.testing.assert_allclose([table[name][0] for name in own], tally.km2, rtol=1e-9)


def test_in_python_the_table_has_the_series(made: Path) -> None:
    table = pw.zones(made / "map.tif", made / "z.gpkg", series=True)
    assert table.series is not None
    assert table.series.means.shape == (10, 2)
    assert list(table.series.attributes["name"]) == ["a", "b"]
    assert "series_slope" in table


def test_uneven_shares_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One pixel of a zone, at one date, makes a mean of that date."""
    random = np.random.default_rng(1)
    for year in range(2000, 2010):
        values = random.normal(0, 1, (30, 40)).astype(np.float32)
        if year == 2009:
            values[:, :20] = np.nan
            values[15, 10] = 50
        write_raster(tmp_path / "s" / f"ndvi_{year}.tif", values, nodata=np.nan)
    map_ = pw.apply(pw.open_stack(tmp_path / "s"), "ols", tmp_path / "m.tif")
    shapes = [places(map_, [(5, 10), (15, 10), (15, 20), (5, 20)]), star(30, 15, 8, map_)]
    path = write(tmp_path / "z.gpkg", shapes)
    with caplog.at_level(logging.WARNING):
        caplog.clear()
        table = pw.zones(tmp_path / "m.tif", path, series=True)
    [said] = caplog.messages
    assert said.startswith("series: in 1 of 2 zones, the part with values changes by more than a factor of 2")
    assert "(zone 1: from 0.01 to 1 of it)" in said
    np.testing.assert_allclose(table["series_share"], [1, 1])


def test_a_table_of_zones_can_be_zones_again(made: Path, caplog: pytest.LogCaptureFixture) -> None:
    """All its columns are attributes then: they get other names, which one line says for each table."""
    once = pw.zones(made / "map.tif", made / "z.gpkg", series=True)
    once.save(made / "once.gpkg")
    with caplog.at_level(logging.WARNING):
        caplog.clear()
        table = pw.zones(made / "map.tif", made / "once.gpkg", series=True)
    [said] = caplog.messages
    assert (
        "its attribute zone_km2 is called zones_zone_km2 in the table, which already has a column of that name, and"
        in said
    )
    assert said.endswith(f" {len(once) - 2} more")  # all but this one and the name
    np.testing.assert_array_equal(table["zones_series_slope"], table["series_slope"])
    assert len(table) == 2 * len(once) - 1
    assert table.series is not None
    path = write(made / "date.gpkg", [star(15, 15, 14, pw.open_map(made / "map.tif"))], date=["x"], mean=[1.5])
    series = pw.zones(made / "map.tif", path, bands=["slope"], series=True).series
    assert series is not None
    header = series.save(made / "d.csv").read_text().splitlines()[0]
    assert header == "zone,zones_date,zones_mean,date,mean,share"


def test_a_function_must_be_named_again(made: Path) -> None:
    (made / "own.py").write_text("import numpy as np\n\ndef rise(x, t):\n    return x[-1] - x[0]\n")
    own = f"{made / 'own.py'}:rise"
    pw.apply(pw.open_stack(made / "s"), own, made / "own.tif")
    assert "function" in refused(pw.open_map(made / "own.tif"), made / "z.gpkg", pw.ParameterError, series=True)
    table = pw.zones(made / "own.tif", made / "z.gpkg", series=True, method=own)
    assert table.series is not None
    np.testing.assert_allclose(table["series_value"], table.series.means[-1] - table.series.means[0])
    assert "method is for series=True" in refused(
        pw.open_map(made / "own.tif"), made / "z.gpkg", pw.ParameterError, method=own
    )


def test_a_method_that_needs_neighbours_has_no_trend_of_means(made: Path) -> None:
    pw.apply(pw.open_stack(made / "s"), "contextual_mann_kendall", made / "c.tif")
    text = refused(pw.open_map(made / "c.tif"), made / "z.gpkg", pw.ParameterError, series=True)
    assert "uses neighbouring pixels" in text


def test_the_command_line_refuses_what_cannot_be_written(made: Path) -> None:
    raster = write_raster(made / "c.tif", np.ones((30, 40), np.uint8))
    for output, zones, said in (
        (made / "t.txt", made / "z.gpkg", "must end in .csv or .gpkg"),
        (made / "t.gpkg", raster, "have no shapes"),
        (made / "z.gpkg", made / "z.gpkg", "already exists"),
        (made / "none" / "t.csv", made / "z.gpkg", "none"),
    ):
        result = run("zones", made / "map.tif", zones, "-o", output)
        assert result.exit_code == 1
        assert said in result.stderr
    result = run("zones", made / "map.tif", raster, "-o", made / "t.csv", "--bands", "slope,n")
    assert result.exit_code == 0, result.stderr
    assert (made / "t.csv").read_text().startswith("class,zone_km2,covered,valid_km2,p_below,tested_km2,tested_pixels,")


def test_a_raster_of_anyone(tmp_path: Path) -> None:
    """A GeoTIFF that pixelwise did not make has bands without a kind."""
    values = np.arange(4800, dtype=np.int16).reshape(60, 80)
    path = write_raster(tmp_path / "dem.tif", values, nodata=4799, descriptions=["height"])
    map_ = map_of()
    table = pw.zones(path, write(tmp_path / "z.gpkg", [shapely.box(*map_.grid.bounds)]))
    [name] = [name for name in table if name.endswith("_mean")]
    assert table[name][0] == pytest.approx(np.average(values.ravel()[:-1], weights=areas_of(map_).ravel()[:-1]))


# -------------------------------------------------------------------------------------------- real data, size


@pytest.mark.skipif(not ALASKA.exists(), reason="remoteparts_ak_ndvi is absent")
def test_alaska(tmp_path: Path) -> None:
    """Tiles in an Albers projection, also beyond 180 degrees: their areas add up."""
    map_ = pw.apply(pw.open_stack(ALASKA), "mann_kendall", tmp_path / "mk.tif")
    edges = np.arange(-2_500_000, 2_000_001, 250_000)
    corners = [(x, y) for x in edges[:-1] for y in edges[:-1] + 2_500_000]
    tiles = [shapely.box(x, y, x + 250_000, y + 250_000) for x, y in corners]
    table = pw.zones(map_, write(tmp_path / "z.gpkg", tiles, "EPSG:3338"))
    inside = table["covered"] == 1
    assert inside.sum() > 40
    # Pixels of 9 km differ in area from north to south: a fraction of one is not exactly that of its area.
    np.testing.assert_allclose(table["zone_km2"][inside], 62_500, rtol=5e-5)
    areas = areas_of(map_)
    pvalue, slope = map_["pvalue"], map_["slope"]
    greening = areas[(pvalue < 0.05) & (slope > 0)].sum()
    assert np.nansum(table["significant_increase_km2"]) == pytest.approx(greening, rel=1e-6)
    assert np.nansum(table["tested_km2"]) == pytest.approx(areas[np.isfinite(pvalue)].sum(), rel=1e-6)


@pytest.mark.long
def test_memory_does_not_grow_with_the_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One polygon over 4 million pixels, in blocks of 128 x 128: far less than a band of 16 MB is held."""
    size = 2000
    row = np.random.default_rng(0).normal(0, 1, (1, size)).astype(np.float32)
    numbers = {"slope": row, "pvalue": np.abs(row), "n": np.int32(20), "status": np.uint8(0)}
    arrays = {name: np.broadcast_to(values, (size, size)) for name, values in numbers.items()}
    bands = tuple(band for band in BANDS if band.name in arrays)
    map_ = pw.Map(Grid(CRS.from_epsg(32617), UTM, size, size), bands, arrays=arrays)
    left, bottom, right, top = map_.grid.bounds
    path = write(tmp_path / "z.gpkg", [shapely.box(left - 5, bottom, right, top)])
    monkeypatch.setattr(summary, "EDGE", 128)
    monkeypatch.setattr(summary, "MOST_KEPT", 1000)
    tracemalloc.start()
    table = pw.zones(map_, path, bands=["slope", "n"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6
    assert table["slope_median"][0] == pytest.approx(np.median(row), abs=1e-6)
    assert (table["n_median"][0], table["n_sd"][0]) == (20, 0)


def test_fractions_need_their_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    map_ = map_of()
    path = write(tmp_path / "z.gpkg", [star(40, 30, 22, map_)])
    monkeypatch.setitem(__import__("sys").modules, "exactextract", None)
    with pytest.raises(pw.ParameterError, match=r"zones need exactextract: pip install 'pixelwise\[zones\]'"):
        load_shapes(str(path), map_.grid)


def test_zones_before_the_map_are_put_right() -> None:
    result = run("zones", "d.geojson", "trend.tif", "-o", "t.csv")
    assert result.exit_code == 2
    assert "MAP comes before ZONES: pixelwise zones trend.tif d.geojson -o t.csv" in " ".join(result.stderr.split())
