"""Which pixels are asked for, against independent answers."""

from __future__ import annotations

import hashlib
import json
import pickle
import sqlite3
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.features import rasterize
from rasterio.warp import transform

from pixelwise.errors import InputError, ParameterError
from pixelwise.grid import Block, Grid
from pixelwise.rasters import polygons as vectors
from pixelwise.rasters import scanlines
from pixelwise.rasters.area import Area, load_area
from pixelwise.rasters.handles import HANDLES
from pixelwise.rasters.region import CURVE_TOLERANCE, Region, edges_in_pixels, load_region
from pixelwise.rasters.stamps import FileStamp
from pixelwise.rasters.where import RasterWhere, load_where
from support.rasters import PROFILE, write_raster

pyogrio = pytest.importorskip("pyogrio")
shapely = pytest.importorskip("shapely")

UTM = CRS.from_epsg(32617)
GRID = Grid(UTM, PROFILE["transform"], 150, 170)


def at(rows: Any, cols: Any, grid: Grid = GRID) -> Any:
    """Return (point, 2) coordinates of places counted in pixels."""
    x, y = grid.transform @ (np.asarray(cols, float), np.asarray(rows, float))
    return np.stack([x, y], axis=1)


def star(random: Any, row: float, col: float, size: float, corners: int = 40) -> Any:
    """Return a ring that goes around a place, nearer and farther: (corner, 2) rows and columns."""
    angles = np.sort(random.random(corners)) * 2 * np.pi
    radius = size * random.uniform(0.3, 1, corners)
    ring = np.stack([row + radius * np.sin(angles), col + radius * np.cos(angles)], axis=1)
    return np.concatenate([ring, ring[:1]])


def stars(seed: int, count: int = 6) -> list[Any]:
    """Return polygons of which every second has a hole, some beyond the grid, some upon each other."""
    random = np.random.default_rng(seed)
    found = []
    for index in range(count):
        row, col = random.uniform(-10, 160), random.uniform(-10, 180)
        size = random.uniform(15, 50)
        holes = [at(*star(random, row, col, 0.25 * size).T)] if index % 2 else []
        polygon = shapely.Polygon(at(*star(random, row, col, size).T), holes)
        found.append(polygon if not holes else polygon.difference(shapely.Polygon(holes[0]).buffer(0)))
    return [part for polygon in found for part in shapely.get_parts([polygon])]


def write(path: Path, geometries: Any, crs: Any = UTM, layer: str | None = None, **options: Any) -> Path:
    """Write geometries in the format that the suffix says."""
    geometries = np.array(geometries, object)
    crs = None if crs is None else CRS.from_user_input(crs).to_wkt()
    kinds = set(shapely.get_type_id(geometries))
    kind = shapely.from_wkb(shapely.to_wkb(geometries[0])).geom_type if len(kinds) == 1 else "Unknown"
    if path.suffix == ".fgb":
        options["SPATIAL_INDEX"] = "NO"  # keeps the order
    pyogrio.raw.write(
        path, shapely.to_wkb(geometries), [], [], geometry_type=kind, crs=crs, layer=layer, encoding="UTF-8", **options
    )
    return path


def windings(rings: list[Any], rows: Any, cols: Any) -> Any:
    """Return whether places are inside rings by the angles under which they see them: no crossing is counted."""
    total = np.zeros(rows.shape)
    for ring in rings:
        around = (ring[:, 0] - rows[..., None]) + 1j * (ring[:, 1] - cols[..., None])
        total += np.abs(np.round(np.angle(around[..., 1:] / around[..., :-1]).sum(axis=-1) / (2 * np.pi)))
    return total % 2 == 1


def centres(grid: Grid) -> Any:
    return np.meshgrid(np.arange(grid.height) + 0.5, np.arange(grid.width) + 0.5, indexing="ij")


def whole(part: Region | RasterWhere | Area, grid: Grid = GRID) -> Any:
    inside = part.inside(grid.block)
    return np.ones((grid.height, grid.width), bool) if inside is None else inside


def refused(source: Any, grid: Grid = GRID, kind: Any = InputError) -> str:
    with pytest.raises(kind) as error:
        load_region(source, grid)
    assert "\n" not in str(error.value)
    return str(error.value)


# ------------------------------------------------------------------------------------------- polygons, same CRS


@pytest.mark.parametrize("seed", range(4))
def test_stars_with_holes_as_gdal_burns_them(tmp_path: Path, seed: int) -> None:
    polygons = stars(seed)
    region = load_region(write(tmp_path / "stars.gpkg", polygons), GRID)
    expected = rasterize(polygons, (150, 170), transform=GRID.transform).astype(bool)
    assert 0.05 < expected.mean() < 0.9
    np.testing.assert_array_equal(whole(region), expected)
    assert region.pixels == expected.sum()
    assert region.polygons == len(polygons)
    rows, cols = np.nonzero(expected)
    block = Block(rows.min(), cols.min(), int(np.ptp(rows)) + 1, int(np.ptp(cols)) + 1)
    assert region.block == block


def test_a_star_as_angles_say() -> None:
    random = np.random.default_rng(7)
    rings = [star(random, 70, 80, 75), star(random, 70, 80, 20)]
    edges = np.concatenate([np.hstack([ring[:-1, ::-1], ring[1:, ::-1]]) for ring in rings])
    found = scanlines.rectangles_inside(edges, np.zeros(len(edges), np.int64), 150, 170)
    region = Region("", None, "", 1, "", found)
    np.testing.assert_array_equal(whole(region), windings(rings, *centres(GRID)))


@pytest.mark.parametrize("size", [1, 7, 127, 128, 129])
def test_no_bit_depends_on_the_block(tmp_path: Path, size: int) -> None:
    grid = Grid(UTM, GRID.transform, 150, 170) if size > 1 else Grid(UTM, GRID.transform, 40, 60)
    region = load_region(write(tmp_path / "stars.gpkg", stars(1)), grid)
    expected, found = whole(region, grid), np.zeros((grid.height, grid.width), bool)
    assert 0 < expected.mean() < 1
    for block in grid.blocks(size, size):
        inside = region.inside(block)
        assert (inside is None) == expected[block.slices].all()
        assert region.touches(block) == expected[block.slices].any()
        found[block.slices] = True if inside is None else inside
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("crossings", [1, 500])
def test_nor_on_how_many_rows_are_done_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crossings: int) -> None:
    path = write(tmp_path / "stars.gpkg", stars(2))
    expected = load_region(path, GRID).rectangles
    monkeypatch.setattr(scanlines, "CROSSINGS", crossings)
    np.testing.assert_array_equal(load_region(path, GRID).rectangles, expected)


def test_polygons_that_share_an_edge_share_no_pixel_and_leave_none_out(tmp_path: Path) -> None:
    """Edges through centres of pixels, level, upright and aslant, and corners on centres."""
    random = np.random.default_rng(3)
    rows, cols = np.meshgrid([-20.0, 40.5, 90.5, 170.0], [-20.0, 33.5, 100.5, 190.0], indexing="ij")
    rows[1:-1, 1:-1] += random.integers(-9, 9, (2, 2))
    cols[1:-1, 1:-1] += random.integers(-9, 9, (2, 2))
    count = np.zeros((150, 170), int)
    for i in range(3):
        for j in range(3):
            around = ([i, i, i + 1, i + 1], [j, j + 1, j + 1, j])
            path = write(tmp_path / f"{i}{j}.gpkg", [shapely.Polygon(at(rows[around], cols[around]))])
            count += whole(load_region(path, GRID))
    np.testing.assert_array_equal(count, 1)


def test_a_centre_on_an_edge_is_right_of_it_or_below_it() -> None:
    (left, top), (right, bottom) = at([2.5, 4.5], [3.5, 9.5])
    assert load_region((left, bottom, right, top), GRID).block == Block(2, 3, 2, 6)


def test_rounding_of_coordinates_moves_no_pixel() -> None:
    """Pixels of 0.07 about 1/3: bounds through centres, at every column, lie 1e-13 pixels beside them."""
    grid = Grid(None, Affine(0.07, 0, 1 / 3, 0, -0.07, 1 / 7), 20, 400)
    for col in range(398):
        left, right = 1 / 3 + (col + 0.5) * 0.07, 1 / 3 + (col + 1.5) * 0.07
        bottom, top = 1 / 7 - 10.5 * 0.07, 1 / 7 - 0.5 * 0.07
        assert load_region((left, bottom, right, top), grid).block == Block(0, col, 10, 1)


def test_what_lies_upon_each_other_is_inside_once(tmp_path: Path) -> None:
    boxes = [shapely.box(*at([40], [10])[0], *at([10], [60])[0]), shapely.box(*at([70], [30])[0], *at([20], [90])[0])]
    expected = np.zeros((150, 170), bool)
    expected[10:40, 10:60] = expected[20:70, 30:90] = True
    np.testing.assert_array_equal(whole(load_region(write(tmp_path / "a.gpkg", boxes), GRID)), expected)
    both = shapely.MultiPolygon(boxes)
    assert not both.is_valid
    np.testing.assert_array_equal(whole(load_region(write(tmp_path / "b.gpkg", [both]), GRID)), expected)


def test_a_polygon_that_crosses_itself_is_made_valid(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bowtie = shapely.Polygon(at([10, 70, 10, 70], [10, 10, 70, 70]))
    ring = np.array([(10, 10), (70, 10), (10, 70), (70, 70), (10, 10)], float)
    region = load_region(write(tmp_path / "bowtie.gpkg", [bowtie]), GRID)
    found, expected = whole(region), windings([ring], *centres(GRID))
    diagonal = [abs(np.subtract(*centres(GRID))) < 1e-9, abs(np.add(*centres(GRID)) - 80) < 1e-9]
    clear = ~(diagonal[0] | diagonal[1])
    np.testing.assert_array_equal(found[clear], expected[clear])
    assert 1000 < found.sum() < 3600
    assert "1 of 1 polygons cross themselves and were made valid" in caplog.text


@pytest.mark.parametrize("angle", [0.0, 30.0])
def test_bounds_on_any_grid(angle: float) -> None:
    grid = Grid(None, Affine.translation(5, 9) @ Affine.rotation(angle) @ Affine.scale(2, -3), 60, 70)
    rows, cols = centres(grid)
    x, y = grid.transform @ (cols, rows)
    region = load_region("30.1,-70.2, 71.3,-20.4", grid)
    np.testing.assert_array_equal(whole(region, grid), (x > 30.1) & (x < 71.3) & (y > -70.2) & (y < -20.4))
    assert region.describe()["source"] == "30.1,-70.2,71.3,-20.4"


def test_small_and_pickled(tmp_path: Path) -> None:
    region = load_region((500000, 3399000, 504000, 3400000), GRID)
    assert len(pickle.dumps(region)) < 1000
    region = load_region(write(tmp_path / "stars.gpkg", stars(1)), GRID)
    again = pickle.loads(pickle.dumps(region))
    np.testing.assert_array_equal(whole(again), whole(region))
    assert again.describe() == region.describe()


def test_a_cropped_region(tmp_path: Path) -> None:
    region = load_region(write(tmp_path / "stars.gpkg", stars(1)), GRID)
    block = Block(33, 41, 70, 80)
    inner = Grid(UTM, GRID.transform, 70, 80)
    cropped = region.crop(block)
    np.testing.assert_array_equal(whole(cropped, inner), whole(region)[block.slices])
    np.testing.assert_array_equal(cropped.rectangles, load_region(tmp_path / "stars.gpkg", GRID.crop(block)).rectangles)
    moved = region.shift(5, -7)
    np.testing.assert_array_equal(moved.inside(Block(5, -7, 150, 170)), whole(region))
    empty = np.argwhere(~whole(region))[0]
    nothing = region.crop(Block(*map(int, empty), 1, 1))
    assert nothing.block is None
    assert not nothing.touches(Block(0, 0, 1, 1))
    assert not nothing.inside(Block(0, 0, 1, 1)).any()


def test_the_digest_is_that_of_the_coordinates(tmp_path: Path) -> None:
    polygons = stars(1)
    first = load_region(write(tmp_path / "a.gpkg", polygons), GRID).describe()
    second = load_region(write(tmp_path / "b.fgb", polygons), GRID).describe()
    other = load_region(write(tmp_path / "c.gpkg", polygons[1:]), GRID).describe()
    assert first["sha256"] == second["sha256"] != other["sha256"]
    assert len(first["sha256"]) == len(hashlib.sha256().hexdigest())
    assert json.loads(json.dumps(first)) == first


# ------------------------------------------------------------------------------------------------ another CRS


def dense(ring: Any, source: Any, grid: Grid, parts: int = 4000) -> Any:
    """Return a ring, its edges cut finely, in rows and columns of a grid in another CRS."""
    steps = np.linspace(0, 1, parts, endpoint=False)[:, None]
    points = np.concatenate([a + steps * (b - a) for a, b in pairwise(ring)])
    points = np.concatenate([points, points[:1]])
    x, y = transform(CRS.from_user_input(source), grid.crs, *points.T)
    cols, rows = ~grid.transform @ (np.array(x), np.array(y))
    return np.stack([rows, cols], axis=1)


@pytest.mark.parametrize("name", ["r.geojson", "r.gpkg", "r.shp", "r.fgb"])
def test_long_edges_follow_their_curve(tmp_path: Path, name: str) -> None:
    """A quadrangle of degrees, 900 km long, of which a straight line would miss 18 km."""
    grid = Grid(UTM, Affine(10000, 0, 80000, 0, -10000, 6.9e6), 60, 90)
    ring = np.array([(-86.3, 57.1), (-74.9, 57.3), (-74.2, 61.2), (-87.1, 61.4), (-86.3, 57.1)])
    region = load_region(write(tmp_path / name, [shapely.Polygon(ring)], crs="OGC:CRS84"), grid)
    curve = dense(ring, "OGC:CRS84", grid, 300)
    expected = windings([curve], *centres(grid))
    straight = windings([dense(ring, "OGC:CRS84", grid, 1)], *centres(grid))
    assert (straight != expected).sum() > 50
    np.testing.assert_array_equal(whole(region, grid), expected)
    assert region.crs in ("OGC:CRS84", "EPSG:4326", "WGS 84 (CRS84)")


def test_the_curve_is_followed_within_a_thousandth_of_a_pixel(tmp_path: Path) -> None:
    """The middles of the parts of one edge, 530 km long, against 20000 points of its curve."""
    grid = Grid(UTM, Affine(30, 0, 200000, 0, -30, 6.8e6), 20000, 20000)
    ring = np.array([(-85.0, 58.0), (-76.0, 58.3), (-77.0, 60.3), (-84.0, 60.1), (-85.0, 58.0)])
    polygons = vectors.read_polygons(write(tmp_path / "r.gpkg", [shapely.Polygon(ring)], "EPSG:4326"))
    edges, _ = edges_in_pixels(polygons, grid)
    curve = dense(ring, "EPSG:4326", grid, 20000)[:20000]

    def off(cols: Any, rows: Any) -> Any:
        return np.abs(np.interp(cols, curve[:, 1], curve[:, 0]) - rows)

    on_it = (off(*edges[:, :2].T) < 0.1) & (off(*edges[:, 2:].T) < 0.1)
    assert 500 < on_it.sum() < 2000
    assert off(*((edges[on_it, :2] + edges[on_it, 2:]) / 2).T).max() < CURVE_TOLERANCE


def test_adjacent_polygons_of_another_crs(tmp_path: Path) -> None:
    """Cut by meridians and parallels, and cut off around the grid: each pixel is in one of them."""
    lon, lat = np.meshgrid([-99.0, -80.971, -80.957, -60.0], [10.0, 30.70, 30.715, 60.0])
    count = np.zeros((150, 170), int)
    for i in range(3):
        for j in range(3):
            around = ([i, i, i + 1, i + 1], [j, j + 1, j + 1, j])
            cell = shapely.Polygon(np.stack([lon[around], lat[around]], axis=1))
            path = write(tmp_path / f"{i}{j}.geojson", [cell], crs="OGC:CRS84")
            count += whole(load_region(path, GRID))
    np.testing.assert_array_equal(count, 1)


@pytest.mark.parametrize("lefts", [(170.0, -180.0), (170.0, 180.0), (-190.0, -180.0)])
def test_across_the_antimeridian(tmp_path: Path, lefts: tuple[float, float]) -> None:
    """Cut there as RFC 7946 wants it, or longitudes counted on; a world beyond does not disturb."""
    grid = Grid(CRS.from_epsg(32601), Affine(2000, 0, 100000, 0, -2000, 6.5e6), 150, 160)
    boxes = [shapely.box(left, 55, left + 10, 57.3) for left in lefts]
    boxes.append(shapely.box(-60, -90, 60, 90))
    region = load_region(write(tmp_path / "r.geojson", boxes, crs="OGC:CRS84"), grid)
    rows, cols = centres(grid)
    x, y = grid.transform @ (cols, rows)
    _, lat = transform(grid.crs, CRS.from_string("OGC:CRS84"), x.ravel(), y.ravel())
    expected = (np.array(lat) > 55) & (np.array(lat) < 57.3)
    np.testing.assert_array_equal(whole(region, grid), expected.reshape(x.shape))


def test_around_the_pole(tmp_path: Path) -> None:
    grid = Grid(CRS.from_epsg(3413), Affine(25000, 0, -2e6, 0, -25000, 2e6), 160, 160)
    region = load_region(write(tmp_path / "r.geojson", [shapely.box(-180, 75, 180, 90)], crs="OGC:CRS84"), grid)
    rows, cols = centres(grid)
    x, y = grid.transform @ (cols, rows)
    _, lat = transform(grid.crs, CRS.from_string("OGC:CRS84"), x.ravel(), y.ravel())
    np.testing.assert_array_equal(whole(region, grid), np.array(lat).reshape(x.shape) > 75)


def test_a_region_may_reach_where_the_rasters_crs_does_not(tmp_path: Path) -> None:
    world = write(tmp_path / "world.geojson", [shapely.box(-180, -90, 180, 90)], crs="OGC:CRS84")
    assert load_region(world, GRID).inside(GRID.block) is None


def test_both_polygons_have_the_same_parts_of_a_shared_edge() -> None:
    ring = np.array([(-89.1, 30.71), (-70.3, 30.694), (-80.98, 30.6), (-89.1, 30.71)])
    edges = np.hstack([ring[:-1], ring[1:]])
    owners = np.zeros(3, np.int64)
    crs = CRS.from_string("OGC:CRS84")
    found = [
        edges_in_pixels(vectors.Polygons("", None, crs, way, owners), GRID)[0]
        for way in (edges, edges[:, [2, 3, 0, 1]])
    ]
    assert len(found[0]) > 10
    np.testing.assert_array_equal(*found)


def test_longitudes_of_the_rasters_may_be_counted_from_0(tmp_path: Path) -> None:
    grid = Grid(CRS.from_epsg(4326), Affine(1, 0, 0, 0, -1, 90), 180, 360)
    region = load_region(write(tmp_path / "r.gpkg", [shapely.box(-30, 10, 40, 20)], crs="EPSG:4326"), grid)
    expected = np.zeros((180, 360), bool)
    expected[70:80, :40] = expected[70:80, 330:] = True
    np.testing.assert_array_equal(whole(region, grid), expected)


def test_the_crs_of_an_old_geojson(tmp_path: Path) -> None:
    ring = [*at([10, 10, 30, 30, 10], [20, 50, 50, 20, 20]).tolist()]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    content = {
        "type": "FeatureCollection",
        "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32617"}},
        "features": [
            {"type": "Feature", "properties": {}, "geometry": geometry} for geometry in (polygon, None, polygon)
        ],
    }
    path = tmp_path / "old.json"
    path.write_text(json.dumps(content))
    assert load_region(path, GRID).block == Block(10, 20, 20, 30)
    path.write_text(json.dumps({**content, "crs": {"type": "name"}}))
    assert "its crs is {'type': 'name'}" in refused(path)


def test_what_proj_cannot_transform_is_one_line() -> None:
    """GDAL's own errors are no errors of rasterio."""
    beyond = Grid(CRS.from_epsg(4326), Affine(1, 0, 0, 0, -1, 95), 10, 10)
    with pytest.raises(InputError, match=r"^EPSG:4326 cannot be transformed to EPSG:32617 there \(.*\)$"):
        GRID.footprint(beyond)


# ------------------------------------------------------------------------------------------- what cannot be


def test_several_layers(tmp_path: Path) -> None:
    path = tmp_path / "two.gpkg"
    for layer, row in (("fields", 10), ("woods", 50)):
        box = shapely.box(*at([row + 5], [10])[0], *at([row], [60])[0])
        write(path, [box], layer=layer, append=layer != "fields")
    assert refused(path).endswith(f"has 2 layers (fields, woods); name one: {path}:fields")
    region = load_region(f"{path}:woods", GRID)
    assert region.block == Block(50, 10, 5, 50)
    assert (region.source, region.path) == (f"{path}:woods", path)
    assert "has no layer 'roads' (it has: fields, woods)" in refused(f"{path}:roads")


def test_regions_outside_name_both_extents(tmp_path: Path) -> None:
    path = write(tmp_path / "far.gpkg", [shapely.box(0, 0, 30, 30)])
    expected = "it covers (0, 0, 30, 30), the rasters (500000, 3395500, 505100, 3400000) in EPSG:32617"
    assert expected in refused(path)
    assert "lies outside the rasters: it covers (0, 0, 30, 30)" in refused((0, 0, 30, 30))
    path = write(tmp_path / "far.geojson", [shapely.box(10, 50, 11, 51)], crs="OGC:CRS84")
    text = refused(path)
    assert "it covers (10, 50, 11, 51), the rasters (-81, 30.69" in text
    assert "in OGC:CRS84" in text


def test_regions_smaller_than_a_pixel(tmp_path: Path) -> None:
    (left, top), (right, bottom) = at([2.6, 4.4], [3.6, 3.9])
    assert "contains no pixel centre" in refused((left, bottom, right, top))
    assert "0.3 x 1.8 pixels (width x height)" in refused((left, bottom, right, top))


def test_points_and_lines_are_no_region(tmp_path: Path) -> None:
    points = write(tmp_path / "p.gpkg", [shapely.Point(500100, 3399900)])
    assert "expected polygons, but it holds Point" in refused(points)
    box = shapely.box(500100, 3399100, 500400, 3399900)
    collection = shapely.GeometryCollection([shapely.Point(0, 0), shapely.GeometryCollection([box])])
    assert load_region(write(tmp_path / "c.gpkg", [collection]), GRID).polygons == 1
    (tmp_path / "none.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    assert "expected polygons, but it holds nothing" in refused(tmp_path / "none.geojson")


def test_a_crs_is_needed_where_the_rasters_have_one(tmp_path: Path) -> None:
    box = [shapely.box(500100, 3399100, 500400, 3399900)]
    with pytest.warns(UserWarning, match="crs"):
        bare = write(tmp_path / "bare.shp", box, crs=None)
    assert "has no CRS, the rasters have EPSG:32617; say which it is: ogr2ogr -a_srs EPSG:NUMBER" in refused(bare)
    plain = Grid(None, GRID.transform, 150, 170)
    assert load_region(bare, plain).block == load_region(box[0].bounds, plain).block
    known = write(tmp_path / "known.gpkg", box)
    assert "has EPSG:32617, but the rasters have no CRS; give bounds instead" in refused(known, plain)


def test_only_local_files_of_known_formats_are_opened(tmp_path: Path) -> None:
    service = (
        "<OGRVRTDataSource><OGRVRTLayer name='a'><SrcDataSource>https://a.org/a.json</SrcDataSource></OGRVRTLayer>"
    )
    for name in ("a.gpkg", "a.shp", "a.fgb", "a.vrt", "a.gml"):
        (tmp_path / name).write_text(service)
        assert "not a vector file that is read (GeoJSON, GeoPackage" in refused(tmp_path / name)
    sqlite3.connect(tmp_path / "plain.gpkg").executescript("create table t (a)").connection.close()
    assert "not a vector file that is read" in refused(tmp_path / "plain.gpkg")
    (tmp_path / "a.geojson").write_text(service)
    assert "not GeoJSON (Expecting value" in refused(tmp_path / "a.geojson")
    (tmp_path / "a.json").write_text('{"type": "gdal_streamed_alg", "command_line": "gdal vector pipeline"}')
    assert "not GeoJSON of polygons (its type is 'gdal_streamed_alg')" in refused(tmp_path / "a.json")
    for name in ("https://a.org/a.gpkg", "/vsicurl/https://a.org/a.gpkg"):
        assert "only local files are read; download it first" in refused(name)
    assert "is a folder" in refused(tmp_path)
    assert f"region {tmp_path / 'none.gpkg'}: No such file or directory" in refused(tmp_path / "none.gpkg")
    whole_file = write(tmp_path / "whole.gpkg", stars(1)).read_bytes()
    (tmp_path / "half.gpkg").write_bytes(whole_file[:3000])
    assert "half.gpkg: cannot be read (" in refused(tmp_path / "half.gpkg")


@pytest.mark.parametrize("bounds", [(1, 2, 3), (3, 1, 2, 4), (1, 1, 2, float("nan")), ("a", 1, 2, 3), "5,1,2,7"])
def test_bounds_that_cannot_be(bounds: Any) -> None:
    assert "left, bottom, right, top" in refused(bounds, kind=ParameterError)


def test_what_is_absent_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "stars.gpkg", stars(1))
    monkeypatch.setitem(__import__("sys").modules, "pyogrio", None)
    text = refused(path, kind=ParameterError)
    assert text == "polygons of a file need pyogrio: pip install 'pixelwise[region]'"
    assert load_region((500000, 3399000, 504000, 3400000), GRID).pixels  # bounds need nothing


# ------------------------------------------------------------------------------------------ a static raster


@pytest.fixture
def cover() -> Any:
    """Return classes 0 to 9 of 150 x 170 pixels."""
    return np.random.default_rng(5).integers(0, 10, (150, 170)).astype(np.uint8)


TILED = {"tiled": True, "blockxsize": 32, "blockysize": 32, "compress": "deflate"}


@pytest.mark.parametrize(
    ("text", "values"),
    [("1,2", {1, 2}), ("3..5", {3, 4, 5}), ("8..", {8, 9}), ("..1, 7", {0, 1, 7}), ("2.0", {2}), ("2.5..3.5", {3})],
)
def test_pixels_with_some_values(tmp_path: Path, cover: Any, text: str, values: set[int]) -> None:
    path = write_raster(tmp_path / "a=b" / "cover.tif", cover, scales=[0.5], **TILED)
    where = load_where(f"{path}={text}", GRID)
    np.testing.assert_array_equal(whole(where), np.isin(cover, list(values)))
    assert load_where(f"{path}={where.describe()['values']}", GRID).values == where.values
    again = pickle.loads(pickle.dumps(where))
    for block in GRID.blocks(41, 129):
        np.testing.assert_array_equal(again.inside(block), np.isin(cover[block.slices], list(values)))
    assert not HANDLES.open_files  # nothing stays open without a job


def test_nodata_counts_only_where_it_is_named(tmp_path: Path, cover: Any) -> None:
    path = write_raster(tmp_path / "cover.tif", cover, nodata=4)
    np.testing.assert_array_equal(whole(load_where(f"{path}=3..5", GRID)), np.isin(cover, [3, 5]))
    np.testing.assert_array_equal(whole(load_where(f"{path}=3..5,4", GRID)), np.isin(cover, [3, 4, 5]))
    masked = write_raster(tmp_path / "masked.tif", cover, mask=np.where(cover == 3, 0, 255).astype(np.uint8))
    np.testing.assert_array_equal(whole(load_where(f"{masked}=3..5,3", GRID)), np.isin(cover, [4, 5]))


def test_values_of_float32_are_compared_as_stored(tmp_path: Path) -> None:
    image = np.array([[0.1, 0.2], [0.3, np.nan]], np.float32)
    grid = Grid(UTM, GRID.transform, 2, 2)
    path = write_raster(tmp_path / "f.tif", image)
    for text, expected in (("0.1", [1, 0, 0, 0]), ("0.1..0.2", [1, 1, 0, 0]), ("0.3..", [0, 0, 1, 0])):
        np.testing.assert_array_equal(whole(load_where(f"{path}={text}", grid), grid).ravel(), expected)


def test_where_the_raster_ends_nothing_is_used(tmp_path: Path, cover: Any) -> None:
    place = GRID.transform @ Affine.translation(100, -20)
    path = write_raster(tmp_path / "part.tif", np.ones((60, 200), np.uint8), transform=place)
    where = load_where(f"{path}=1", GRID)
    expected = np.zeros((150, 170), bool)
    expected[:40, 100:] = True
    np.testing.assert_array_equal(whole(where), expected)
    assert where.inside(Block(3, 120, 20, 20)) is None
    assert where.touches(Block(39, 99, 9, 9))
    assert not where.touches(Block(40, 0, 110, 170))
    np.testing.assert_array_equal(
        where.crop(Block(10, 90, 50, 50)).inside(Block(0, 0, 50, 50)), expected[10:60, 90:140]
    )


def test_rasters_that_cannot_be(tmp_path: Path, cover: Any) -> None:
    def text(where: str, kind: Any = InputError) -> str:
        with pytest.raises(kind) as error:
            load_where(where, GRID)
        return str(error.value)

    off = write_raster(tmp_path / "off.tif", cover, transform=GRID.transform @ Affine.translation(0.5, 0))
    found = text(f"{off}=1")
    assert "(30, 0, 500015, 0, -30, 3400000) EPSG:32617 and (30, 0, 500000, 0, -30, 3400000) EPSG:32617" in found
    assert "gdalwarp -r near -t_srs 'EPSG:32617' -te 500000.0 3395500.0 505100.0 3400000.0 -ts 170 150" in found
    assert f"--align {off}" in found
    far = write_raster(tmp_path / "far.tif", cover, transform=GRID.transform @ Affine.translation(900, 0))
    assert "lies outside the rasters: it covers (527000" in text(f"{far}=1")
    two = write_raster(tmp_path / "two.tif", np.stack([cover, cover]))
    assert "has 2 bands, but only one is used" in text(f"{two}=1")
    assert "No such file or directory" in text(f"{tmp_path / 'none.tif'}=1")
    assert "add --allow-scheme https" in text("https://a.org/a.tif=1")
    path = write_raster(tmp_path / "cover.tif", cover)
    for wrong in (
        "",
        "=1",
        f"{path}",
        f"{path}=",
        f"{path}=a",
        f"{path}=1,",
        f"{path}=5..1",
        f"{path}=nan",
        f"{path}=..",
    ):
        assert "expected RASTER=1,2 or RASTER=10..20" in text(wrong, ParameterError)
    for value in ("300", "-1", "1.5", "1.2..1.8"):
        assert f"it is uint8, which cannot hold {value}" in text(f"{path}={value}", ParameterError)
    real = write_raster(tmp_path / "real.tif", cover.astype(np.float32))
    assert "it is float32, which cannot hold 1" in text(f"{real}=1e40", ParameterError)


# ----------------------------------------------------------------------------------------------------- both


def test_both(tmp_path: Path, cover: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_raster(tmp_path / "cover.tif", cover, **TILED)
    vector = write(tmp_path / "stars.gpkg", stars(1))
    area = load_area(vector, f"{path}=1..3", GRID)
    expected = whole(load_region(vector, GRID)) & np.isin(cover, [1, 2, 3])
    np.testing.assert_array_equal(whole(area), expected)
    assert area.paths == (vector, path)
    assert area.stamps == {path: FileStamp.of(path)}
    described = json.loads(json.dumps(area.describe()))
    assert described["where"]["values"] == "1..3"
    assert described["region"]["source"] == str(vector)
    area.warm_up()
    HANDLES.open_files.close()
    block = Block(20, 30, 90, 100)
    np.testing.assert_array_equal(area.crop(block).inside(Block(0, 0, 90, 100)), expected[block.slices])
    np.testing.assert_array_equal(area.shift(1, 1).inside(Block(1, 1, 150, 170)), expected)
    assert not Area()
    assert area
    assert Area().inside(GRID.block) is None
    assert Area().touches(GRID.block)
    # Outside the region the raster is not read.
    outside = next(b for b in GRID.blocks(8, 8) if not area.region.touches(b))
    monkeypatch.setattr(RasterWhere, "_read", None)
    assert not area.inside(outside).any()
    assert not area.touches(outside)


def test_a_raster_that_breaks_is_named(tmp_path: Path, cover: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.rasters.windows.RETRY_SECONDS", ())
    path = write_raster(tmp_path / "cover.tif", cover, **TILED)
    where = load_where(f"{path}=1", GRID)
    with rasterio.open(path) as dataset:
        offset = int(dataset.tags(1, ns="TIFF").get("BLOCK_OFFSET_2_2") or 0) or path.stat().st_size // 2
    data = bytearray(path.read_bytes())
    data[offset:] = bytes(len(data) - offset)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"cover\.tif: (band 1 cannot be read|cannot be opened)"):
        where.inside(GRID.block)
