"""Control sets: lines by hand, chosen pixels by hand, polygons as rasterio burns them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.features import rasterize
from rasterio.warp import transform_geom

from pixelwise.errors import InputError, ParameterError
from pixelwise.grid import Block, Grid
from pixelwise.rectification.controls import ControlPolygons, ControlsError, control_lines, control_sets
from pixelwise.rectification.lines import irmad_lines
from support.places import SHARED
from support.rasters import PROFILE

pyogrio = pytest.importorskip("pyogrio")
shapely = pytest.importorskip("shapely")

NAMES = ("red", "nir", "swir1")
GAIN, OFFSET = np.array([1.1, 0.9, 0.97]), np.array([0.01, -0.02, 0.005])
#: Reflectances of soil, water and forest.
SOIL, WATER, FOREST = np.array([[0.25, 0.3, 0.4], [0.05, 0.03, 0.02], [0.03, 0.35, 0.15]])


def images(random: np.random.Generator, noise: float = 0.004, each: int = 400) -> tuple[Any, Any, Any, Any]:
    """Return two images that GAIN and OFFSET make alike, and which pixels are soil, and water."""
    kinds = np.repeat([0, 1, 2], [each, each, 8 * each])
    truth = np.stack([SOIL, WATER, FOREST])[kinds].T * random.normal(1, 0.15, kinds.size)
    reference = truth + random.normal(0, noise, truth.shape)
    scene = (truth - OFFSET[:, None]) / GAIN[:, None] + random.normal(0, noise, truth.shape)
    return reference, scene, kinds == 0, kinds == 1


# ------------------------------------------------------------------------------------------------------------- lines


def test_lines_pass_through_the_means_of_both_sets() -> None:
    reference, scene, bright, dark = images(np.random.default_rng(1))
    reference[1, :50] = np.nan
    scene[2, 400:420] = np.nan
    lines = control_lines(reference, scene, NAMES, bright, dark)
    b, d = slice(50, 400), slice(420, 800)
    for band in range(3):
        x, y = [scene[band, part].mean() for part in (d, b)], [reference[band, part].mean() for part in (d, b)]
        gain, offset = np.polyfit(x, y, 1)
        np.testing.assert_allclose([lines.gain[band], lines.offset[band]], [gain, offset], rtol=1e-12)
        r, s = (np.concatenate([image[band, b], image[band, d]]) for image in (reference, scene))
        np.testing.assert_allclose(lines.rmse_before[band], np.sqrt(np.mean((r - s) ** 2)), rtol=1e-12)
        np.testing.assert_allclose(lines.rmse_after[band], np.sqrt(np.mean((r - gain * s - offset) ** 2)), rtol=1e-12)
        np.testing.assert_allclose(lines.level[band], r.mean(), rtol=1e-12)
    assert (lines.n, lines.mean_weight, lines.iterations, lines.converged) == (350 + 380, 1.0, 0, True)
    assert not lines.saturated.any()


def test_a_scene_of_the_reference_itself_needs_no_line() -> None:
    reference, _, bright, dark = images(np.random.default_rng(2))
    lines = control_lines(reference, reference, NAMES, bright, dark)
    np.testing.assert_allclose(lines.gain, 1, rtol=1e-14)
    np.testing.assert_allclose(lines.offset, 0, atol=1e-15)
    np.testing.assert_allclose([lines.gain_se, lines.offset_se], 0, atol=1e-15)


def test_standard_errors_cover_the_truth() -> None:
    """Errors that ignored that both images show the same pixels would be several times larger, and cover always."""
    random = np.random.default_rng(3)
    found = []
    for _ in range(300):
        lines = control_lines(*(parts := images(random, each=60))[:2], NAMES, *parts[2:])
        found.append(np.abs([(lines.gain - GAIN) / lines.gain_se, (lines.offset - OFFSET) / lines.offset_se]) < 1.96)
    covered = 100 * np.mean(found, axis=0)
    assert ((covered >= 90) & (covered <= 98)).all(), covered


@pytest.mark.parametrize(
    ("few", "expected"),
    [
        ("bright", "19 pixels of the bright set have values, at least 20 are needed"),
        ("dark", "0 pixels of the dark set have values, at least 20 are needed"),
    ],
)
def test_sets_of_few_pixels_are_refused(few: str, expected: str) -> None:
    reference, scene, bright, dark = images(np.random.default_rng(4))
    if few == "bright":
        scene[0, 19:400] = np.nan
    else:
        dark = np.zeros_like(dark)
    with pytest.raises(ControlsError, match=expected):
        control_lines(reference, scene, NAMES, bright, dark)


def test_sets_without_contrast_are_refused() -> None:
    reference, scene, bright, dark = images(np.random.default_rng(5))
    scene[1] = 0.2
    with pytest.raises(ControlsError, match="in band nir of the scene, the bright set is no brighter than the dark"):
        control_lines(reference, scene, NAMES, bright, dark)
    with pytest.raises(ControlsError, match="of the reference, the bright set is no brighter than the dark"):
        control_lines(reference, reference, NAMES, dark, bright)


# -------------------------------------------------------------------------------------------------------------- sets


def test_sets_are_the_ends_of_brightness_without_vegetation() -> None:
    reference, scene, soil, water = images(np.random.default_rng(6))
    bright, dark = control_sets(reference, scene, NAMES)
    expected = np.ones((2, soil.size), bool)
    for image in (reference, scene):
        mean, ndvi = image.mean(axis=0), (image[1] - image[0]) / (image[1] + image[0])
        bare = ndvi <= np.median(ndvi)
        expected[0] &= bare & (mean >= np.percentile(mean[bare], 99))
        expected[1] &= bare & (mean <= np.percentile(mean[bare], 1))
    np.testing.assert_array_equal([bright, dark], expected)
    assert bright.sum() >= 15
    assert dark.sum() >= 10
    assert not (bright & ~soil).any()
    assert not (dark & ~water).any()


def test_sets_leave_out_what_changed_and_what_is_missing() -> None:
    random = np.random.default_rng(7)
    reference, scene, soil, _ = images(random, each=2000)
    changed = np.flatnonzero(soil)[::2]
    scene[:, changed] = FOREST[:, None]
    reference[1, ::7] = np.nan
    bright, dark = control_sets(reference, scene, NAMES)
    assert bright.sum() > 20
    assert not bright[changed].any()
    assert not (bright | dark)[::7].any()
    lines = control_lines(reference, scene, NAMES, bright, dark)
    np.testing.assert_allclose(lines.gain, GAIN, rtol=0.02)


def test_sets_by_color_need_red_and_near_infrared() -> None:
    values = np.ones((2, 5))
    with pytest.raises(ParameterError, match=r"bands red and nir, but nir is not among blue, red; .*--controls FILE"):
        control_sets(values, values, ("blue", "red"))
    with pytest.raises(ControlsError, match="no pixel has values in both"):
        control_sets(values, values * np.nan, ("nir", "red"))


ARRNORM = SHARED / "arrnorm_pair"


@pytest.mark.skipif(not ARRNORM.exists(), reason=f"{ARRNORM} is not there")
def test_a_real_pair_has_lines_near_those_of_unchanged_pixels() -> None:
    """Near, not equal: standard errors, of 2 %, know nothing of change, which both means contain."""
    images = []
    for name in ("ref_adjusted2target.tif", "target.tif"):
        with rasterio.open(ARRNORM / name) as file:
            images.append(file.read().reshape(4, -1).astype(float))
    there = (np.array(images) > 0).all(axis=(0, 1))
    reference, scene = (image[:, there] for image in images)
    names = ("red", "nir", "swir1", "swir2")
    sets = control_sets(reference, scene, names)
    assert [int(one.sum()) for one in sets] == [398, 464]
    found, unchanged = control_lines(reference, scene, names, *sets), irmad_lines(reference, scene)
    assert (np.abs(found.gain / unchanged.gain - 1) < 0.2).all()
    assert (found.gain_se < 0.02 * found.gain).all()
    assert (found.rmse_after < 0.1 * found.rmse_before).all()


# ---------------------------------------------------------------------------------------------------------- polygons

UTM = CRS.from_epsg(32617)
GRID = Grid(UTM, PROFILE["transform"], 150, 170)


def box(top: int, left: int, bottom: int, right: int) -> Any:
    """Return a trapezium in coordinates of the grid."""
    corners = [(left, top), (right, top), (right, bottom), (left + 2.7, bottom)]
    return shapely.Polygon([GRID.transform @ corner for corner in corners])


BRIGHT = [box(10, 20, 30, 45), box(60, 100, 75, 140)]
DARK = [box(40, 20, 55, 33), box(120, 5, 140, 60)]


def write(path: Path, shapes: list[Any], crs: str = "EPSG:32617", layer: str | None = None, **columns: Any) -> Path:
    wkb = shapely.to_wkb(np.array(shapes, object))
    data, names = [np.array(values, object) for values in columns.values()], list(columns)
    more = {"layer": layer, "append": path.exists()} if layer else {}
    pyogrio.raw.write(path, wkb, data, names, geometry_type="Polygon", crs=crs, **more)
    return path


def burned(shapes: list[Any]) -> Any:
    found = rasterize([shape.__geo_interface__ for shape in shapes], (150, 170), transform=GRID.transform)
    return found.astype(bool)


def whole(polygons: ControlPolygons) -> Any:
    return polygons.masks(Block(0, 0, 150, 170))


@pytest.mark.parametrize("column", ["set", "Class", "NAME"])
def test_an_attribute_says_which_set(tmp_path: Path, column: str) -> None:
    sets = ["bright", "Dark ", "BRIGHT", "dark"]
    shapes = [BRIGHT[0], DARK[0], BRIGHT[1], DARK[1]]
    path = write(tmp_path / "sets.gpkg", shapes, id=["a", "b", "c", "d"], **{column: sets})
    found = ControlPolygons.load(path, GRID)
    np.testing.assert_array_equal(whole(found)[0], burned(BRIGHT))
    np.testing.assert_array_equal(whole(found)[1], burned(DARK))
    assert [found.describe()[kind]["polygons"] for kind in ("bright", "dark")] == [2, 2]


def test_layers_say_which_set(tmp_path: Path) -> None:
    path = write(tmp_path / "sets.gpkg", BRIGHT, layer="Bright")
    write(path, DARK, layer="dark")
    write(path, [box(0, 0, 9, 9)], layer="roads")
    found = ControlPolygons.load(path, GRID)
    np.testing.assert_array_equal(whole(found)[0], burned(BRIGHT))
    np.testing.assert_array_equal(whole(found)[1], burned(DARK))


def test_polygons_of_another_system_lie_where_they_belong(tmp_path: Path) -> None:
    around = [shapely.geometry.shape(transform_geom("EPSG:32617", "EPSG:4326", one)) for one in [*BRIGHT, *DARK]]
    path = write(tmp_path / "sets.geojson", around, "EPSG:4326", set=["bright", "bright", "dark", "dark"])
    found = ControlPolygons.load(path, GRID)
    for mask, shapes in zip(whole(found), (BRIGHT, DARK), strict=True):
        assert (mask != burned(shapes)).sum() <= 2  # pixels whose centre an edge passes


def test_blocks_are_those_with_control_pixels(tmp_path: Path) -> None:
    path = write(tmp_path / "sets.gpkg", [*BRIGHT, *DARK], set=["bright", "bright", "dark", "dark"])
    found = ControlPolygons.load(path, GRID)
    blocks = found.blocks(GRID, 32, 64)
    either = burned(BRIGHT) | burned(DARK)
    expected = [
        Block(row, col, min(32, 150 - row), min(64, 170 - col))
        for row in range(0, 150, 32)
        for col in range(0, 170, 64)
        if either[row : row + 32, col : col + 64].any()
    ]
    assert list(blocks) == expected
    assert 1 < len(expected) < 15
    assert sum((bright | dark).sum() for bright, dark in map(found.masks, blocks)) == either.sum()


def refused(source: Any, kind: Any = InputError) -> str:
    with pytest.raises(kind) as error:
        ControlPolygons.load(source, GRID)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_bad_polygons_are_refused_in_one_line(tmp_path: Path) -> None:
    assert "controls" in refused(tmp_path / "none.gpkg")
    shapes = [BRIGHT[0], DARK[0]]
    path = write(tmp_path / "unnamed.gpkg", shapes, id=["a", "b"])
    assert "no attribute says which set a polygon belongs to (it has id); add a column set with the" in refused(path)
    path = write(tmp_path / "other.gpkg", shapes, set=["bright", "water"])
    assert "set of a polygon is 'water'; expected bright or dark in each polygon" in refused(path)
    path = write(tmp_path / "missing.gpkg", shapes, set=["bright", None])
    assert "set of a polygon is None; expected bright or dark in each polygon" in refused(path)
    path = write(tmp_path / "one.gpkg", shapes, set=["bright", "bright"])
    assert "set of no polygon is dark; expected some of both sets" in refused(path)
    path = write(tmp_path / "both.gpkg", [BRIGHT[0], box(29, 40, 60, 60)], set=["bright", "dark"])
    assert "is in a bright and in a dark polygon; keep them apart" in refused(path)
    path = write(tmp_path / "far.gpkg", [BRIGHT[0], box(1000, 40, 1060, 60)], set=["bright", "dark"])
    assert "far.gpkg (dark): lies outside the rasters" in refused(path)
    path = write(tmp_path / "layers.gpkg", BRIGHT, layer="soil")
    write(path, DARK, layer="lakes")
    assert "has 2 layers" in refused(path)


def test_the_first_attribute_with_the_words_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "sets.gpkg", [BRIGHT[0], DARK[0]], name=["quarry", "lake"], **{"class": ["bright", "dark"]})
    assert whole(ControlPolygons.load(path, GRID))[1].sum() == burned(DARK[:1]).sum()
