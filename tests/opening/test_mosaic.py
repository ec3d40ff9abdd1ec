"""Images in pieces, and grids that do not agree."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint

import pixelwise as pw
from support.images import IMAGE, ORIGIN, YEARS, at, values_of, write_shards
from support.rasters import MakeStack, problem_of, problems_of, write_raster

# --------------------------------------------------------------------------------------- pieces of images


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    for year, image in zip((2001, 2002, 2003), YEARS, strict=True):
        write_shards(tmp_path / "shards", f"ndvi{year}", image)
    return tmp_path / "shards"


@pytest.mark.parametrize(
    "block",
    [pw.Block(0, 0, 6, 7), pw.Block(3, 4, 2, 2), pw.Block(0, 0, 4, 5), pw.Block(5, 2, 1, 5), pw.Block(4, 5, 2, 2)],
)
def test_earth_engine_shards_are_joined(shards: Path, block: pw.Block):
    stack = pw.open_stack(shards)
    assert len(stack) == 3
    assert (stack.grid.height, stack.grid.width, stack.grid.transform) == (6, 7, ORIGIN)
    np.testing.assert_array_equal(stack.read(block), YEARS[:, *block.slices])


def test_shards_and_whole_images_make_one_stack(shards: Path):
    write_raster(shards / "ndvi2004.tif", IMAGE + 300)
    np.testing.assert_array_equal(values_of(shards), np.stack([*YEARS, IMAGE + 300]))


def test_shards_are_cropped(shards: Path):
    left, top = at(3, 4) @ (0, 0)
    stack = pw.open_stack(shards).select(bounds=(left, top - 60, left + 90, top))
    assert stack.grid.transform == at(3, 4)
    np.testing.assert_array_equal(stack.read(stack.grid.block), YEARS[:, 3:5, 4:7])


def test_shards_whose_bands_are_dates(tmp_path: Path):
    write_shards(tmp_path, "stack", YEARS, descriptions=["2001", "2002", "2003"])
    stack = pw.open_stack(tmp_path)
    assert stack.axis.years.tolist() == [2001, 2002, 2003]
    assert len(stack.paths) == 4
    np.testing.assert_array_equal(stack.read(stack.grid.block), YEARS)
    np.testing.assert_array_equal(stack.read(pw.Block(3, 3, 2, 3)), YEARS[:, 3:5, 3:6])


TAKE = "; --extent union uses what there is"


@pytest.mark.parametrize("place", [(0, 5), (4, 0), (4, 5)])
def test_a_missing_shard_is_named(shards: Path, place: tuple[int, int]):
    name = f"ndvi2002-{place[0]:010d}-{place[1]:010d}.tif"
    (shards / name).unlink()
    assert problem_of(shards) == f"{shards / 'ndvi2002'}: a piece is missing: {name} (2002-01-01){TAKE}"


def test_a_missing_row_of_shards_is_named(shards: Path):
    names = [f"ndvi2002-0000000000-{col:010d}.tif" for col in (0, 5)]
    for name in names:
        (shards / name).unlink()
    assert problem_of(shards) == f"{shards / 'ndvi2002'}: a piece is missing: {', '.join(names)} (2002-01-01){TAKE}"


def test_a_missing_shard_of_many_dates_is_named_once(tmp_path: Path):
    write_shards(tmp_path, "stack", YEARS, without=(4, 0), descriptions=["2001", "2002", "2003"])
    assert problem_of(tmp_path) == (
        f"{tmp_path / 'stack'}: a piece is missing: stack-0000000004-0000000000.tif (2001-01-01 and 2 more dates)"
        + TAKE
    )


def test_pieces_with_other_names_are_joined_where_they_lie(tmp_path: Path):
    for year, image in zip((2001, 2002), YEARS, strict=False):
        write_raster(tmp_path / f"east_{year}.tif", image[:, 4:], transform=at(0, 4))
        write_raster(tmp_path / f"west_{year}.tif", image[:, :4])
    np.testing.assert_array_equal(values_of(tmp_path), YEARS[:2])
    (tmp_path / "east_2002.tif").unlink()
    assert problem_of(tmp_path) == (
        f"{tmp_path / 'west_2002.tif'}: its pieces do not cover 7 x 6 pixels (width x height) "
        "(missing: rows 0..5 columns 4..6) (2002-01-01)" + TAKE
    )


def test_pieces_that_overlap_are_refused(tmp_path: Path):
    for year in (2001, 2002):
        write_raster(tmp_path / f"west_{year}.tif", IMAGE[:, :5])
        write_raster(tmp_path / f"east_{year}.tif", IMAGE[:, 4:], transform=at(0, 4))
    problems = problems_of(tmp_path)
    assert problems[:2] == [
        f"{tmp_path / f'east_{year}.tif'} and {tmp_path / f'west_{year}.tif'} overlap and have the same date "
        f"({year}-01-01): choose with --same-date keep|first|mosaic|mean|max, or give each its own date"
        for year in (2001, 2002)
    ]


def test_a_piece_off_the_lattice_is_refused(shards: Path):
    name = shards / "ndvi2002-0000000004-0000000000.tif"
    write_raster(name, IMAGE[4:, :5], transform=at(4.4, 0))
    problem = problem_of(shards)
    assert problem.startswith(
        f"{name}: is a piece of the same image as {shards / 'ndvi2002-0000000000-0000000000.tif'}"
    )
    assert "but their pixels are not aligned" in problem
    assert "(30, 0, 500000, 0, -30, 3399868) instead of (30, 0, 500000, 0, -30, 3400000)" in problem


# --------------------------------------------------------------------------------------------------- grids


def test_the_odd_grid_is_named_even_if_it_comes_first(three: Path):
    write_raster(three / "ndvi_1990.tif", np.zeros((4, 4), np.float32))
    first, second, _ = problems_of(three)
    assert first.startswith(f"the rasters are not on one grid; 1 differs from {three / 'ndvi_2000.tif'}")
    assert second.startswith(f"{three / 'ndvi_1990.tif'}: size 4 x 4 instead of")


def test_all_differences_of_all_grids(make_stack: MakeStack):
    folder = make_stack(YEARS)
    write_raster(folder / "ndvi_2003.tif", IMAGE, crs="EPSG:32618")
    write_raster(folder / "ndvi_2004.tif", IMAGE[:5], crs="EPSG:4326", transform=at(1.5, 0))
    head, third, fourth, advice = problems_of(folder)
    assert head == f"the rasters are not on one grid; 2 differ from {folder / 'ndvi_2000.tif'}:"
    assert third == f"{folder / 'ndvi_2003.tif'}: CRS EPSG:32618 instead of EPSG:32617"
    assert fourth == (
        f"{folder / 'ndvi_2004.tif'}: CRS EPSG:4326 instead of EPSG:32617; "
        "size 7 x 5 instead of 7 x 6 pixels (width x height); "
        "transform (30, 0, 500000, 0, -30, 3399955) instead of (30, 0, 500000, 0, -30, 3400000) (off by 1.5 pixels)"
    )
    assert advice.startswith(
        "align them with --align EPSG:32617,30 (CRS and pixel size) or --align FILE, and --resampling"
    )


def test_grids_that_differ_by_less_than_a_hundredth_of_a_pixel(make_stack: MakeStack):
    folder = make_stack(YEARS)
    write_raster(folder / "ndvi_2003.tif", IMAGE, transform=at(0.009, 0))
    assert pw.open_stack(folder).grid.transform == ORIGIN
    write_raster(folder / "ndvi_2003.tif", IMAGE, transform=at(0.011, 0))
    assert "(off by 0.011 pixels)" in problems_of(folder)[1]


SINUSOIDAL = (
    'PROJCS["Sinusoidal of MODIS",GEOGCS["unknown",DATUM["unknown",SPHEROID["sphere",6371007.181,0]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Sinusoidal"],'
    'PARAMETER["longitude_of_center",0],PARAMETER["false_easting",0],PARAMETER["false_northing",0],UNIT["metre",1]]'
)


def test_a_crs_without_a_code(make_stack: MakeStack, tmp_path: Path):
    stack = pw.open_stack(make_stack(YEARS, crs=SINUSOIDAL))
    assert str(stack).startswith("3 layers, 2000..2002, 7 x 6 pixels (width x height), Sinusoidal of MODIS, ")
    trend = pw.apply(stack, "ols", tmp_path / "map.tif")
    assert trend.grid == stack.grid
    assert trend.grid.crs.to_epsg() is None
    assert pickle.loads(pickle.dumps(stack.grid)) == stack.grid


def test_no_crs(make_stack: MakeStack, tmp_path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        folder = make_stack(YEARS, crs=None, transform=None)
    stack = pw.open_stack(folder)
    assert "7 x 6 pixels (width x height), no CRS" in str(stack)
    trend = pw.apply(stack, "ols", tmp_path / "map.tif")
    np.testing.assert_allclose(trend["slope"], 100)
    assert trend.grid.crs is None
    assert pw.open_map(tmp_path / "map.tif").grid == stack.grid


def test_ground_control_points_only(tmp_path: Path):
    points = [GroundControlPoint(row, col, 5 + col, 50 - row) for row, col in ((0, 0), (0, 7), (6, 0))]
    for year in (2000, 2001):
        profile = {"driver": "GTiff", "width": 7, "height": 6, "count": 1, "dtype": "float32"}
        with rasterio.open(tmp_path / f"x_{year}.tif", "w", gcps=points, crs="EPSG:4326", **profile) as dataset:
            dataset.write(IMAGE, 1)
    first, second = problems_of(tmp_path)
    assert first == (
        f"{tmp_path / 'x_2000.tif'}: is placed by 3 ground control points only; warp it to a grid first (gdalwarp)"
    )
    assert second.startswith(f"{tmp_path / 'x_2001.tif'}: ")


def test_a_grid_whose_pixels_have_no_area(make_stack: MakeStack):
    folder = make_stack(YEARS[:2], transform=Affine(30, 30, 1, 30, 30, 1))
    problem = problems_of(folder)[0]
    assert problem.startswith(f"{folder / 'ndvi_2000.tif'}: the transform (30.0, 30.0, 1.0, 30.0, 30.0, 1.0)")


def test_complex_numbers(make_stack: MakeStack):
    folder = make_stack(YEARS[:2].astype("complex64"))
    assert problems_of(folder)[0] == f"{folder / 'ndvi_2000.tif'}: holds complex64 bands; expected real numbers"


# ---------------------------------------------------------------------------------------------------- VRT


def write_vrt(path: Path, source: str, *, relative: bool = True) -> Path:
    path.write_text(
        f'<VRTDataset rasterXSize="7" rasterYSize="6"><SRS>EPSG:32617</SRS>'
        f"<GeoTransform>500000, 30, 0, 3400000, 0, -30</GeoTransform>"
        f'<VRTRasterBand dataType="Float32" band="1"><NoDataValue>3</NoDataValue><SimpleSource>'
        f'<SourceFilename relativeToVRT="{int(relative)}">{source}</SourceFilename><SourceBand>1</SourceBand>'
        f"</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    return path


def test_vrts_of_local_files(three: Path, tmp_path: Path):
    for year in (2000, 2001):
        write_vrt(tmp_path / f"v_{year}.vrt", f"stack/ndvi_{year}.tif")
    write_vrt(tmp_path / "v_2002.vrt", str(three / "ndvi_2002.tif"), relative=False)
    expected = YEARS.copy()
    expected[0, 0, 3] = np.nan
    np.testing.assert_array_equal(values_of(tmp_path / "*.vrt"), expected)
    write_vrt(three / "outer_2003.vrt", "../v_2000.vrt")
    np.testing.assert_array_equal(values_of(three)[3], expected[0])


@pytest.mark.parametrize("name", ["v_2003.vrt", "v_2003.tif"])
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("/vsicurl/http://127.0.0.1:9/a.tif", "its source '/vsicurl/http://127.0.0.1:9/a.tif' is not a local file"),
        ("gone.tif", "its source 'gone.tif' is not a local file"),
        ("WMS:http://127.0.0.1:9/", "its source 'WMS:http://127.0.0.1:9/' is not a local file"),
        ("service.xml", "a source of this VRT is wrong: {folder}/service.xml: not a raster that can be read"),
        ("{name}", "this VRT is a source of itself"),
        ("deeper/../{name}", "this VRT is a source of itself"),
    ],
)
def test_vrts_that_reach_further_are_refused(three: Path, name: str, source: str, message: str):
    (three / "deeper").mkdir()
    (three / "service.xml").write_text(
        '<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1:9/${z}/${x}/${y}.png</ServerUrl></Service>'
        "<DataWindow><UpperLeftX>0</UpperLeftX><UpperLeftY>1</UpperLeftY><LowerRightX>1</LowerRightX>"
        "<LowerRightY>0</LowerRightY><TileLevel>1</TileLevel></DataWindow><BandsCount>3</BandsCount></GDAL_WMS>"
    )
    path = write_vrt(three / name, source.format(name=name))
    problem = problem_of(three)
    assert problem.startswith(str(three))
    assert path.name in problem
    assert message.format(folder=three) in problem


def test_a_broken_vrt(three: Path):
    (three / "v_2003.vrt").write_text("<VRTDataset>")
    assert problem_of(three).startswith(f"{three / 'v_2003.vrt'}: not a VRT (no element found")


@pytest.mark.parametrize(("again", "added"), [("ndvi_2001 (1)", "(1)"), ("ndvi_2001 - Copy", "- Copy")])
def test_a_second_download_is_named(tmp_path: Path, again: str, added: str):
    for name in ("ndvi_2001", again, "ndvi_2002"):
        write_raster(tmp_path / f"{name}.tif", IMAGE)
    [problem] = problems_of(tmp_path)
    assert f"{again}.tif differs from the other name by '{added}': if it was downloaded or copied twice, " in problem
    assert "remove it; else choose with --same-date keep|" in problem
