"""Pieces, lattices, extents: what lies where, and what is put elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from rasterio.enums import Resampling
from rasterio.warp import reproject

import pixelwise as pw
from pixelwise import ParameterError
from pixelwise.cli import main
from pixelwise.jobs.limits import Limits
from pixelwise.jobs.plan import Demand, OutputDemand, Workers, make_plan
from pixelwise.stacks.raster import layout_of
from support.rasters import PROFILE, random_series, read_all, refusal_of, write_raster

ORIGIN = PROFILE["transform"]
Shared = Callable[[str], Path]

#: Where each scene lies on the mosaic: row, column, height, width. Together they cover it, none does alone.
PLACES = [(0, 0, 40, 50), (7, 3, 53, 40), (20, 11, 40, 59), (0, 33, 60, 37), (13, 0, 47, 61)]


def at(row: int, col: int) -> Affine:
    return ORIGIN @ Affine.translation(col, row)


@pytest.fixture
def mosaic() -> Any:
    """Return (time, y, x) values of 60 x 70 pixels at five dates, with gaps."""
    return random_series((5, 60, 70), seed=11)


@pytest.fixture
def scenes(tmp_path: Path, mosaic: Any) -> Path:
    """Cut a scene of each date from the mosaic, each at another place."""
    tile = {"tiled": True, "blockxsize": 16, "blockysize": 16}
    for year, image, (row, col, height, width) in zip(range(2001, 2006), mosaic, PLACES, strict=True):
        part = image[row : row + height, col : col + width]
        write_raster(tmp_path / "scenes" / f"ndvi_{year}.tif", part, transform=at(row, col), nodata=np.nan, **tile)
    return tmp_path / "scenes"


def seen(mosaic: Any) -> Any:
    """Return the mosaic where a scene shows it, else NaN."""
    out = np.full_like(mosaic, np.nan)
    for index, (row, col, height, width) in enumerate(PLACES):
        inside = (index, slice(row, row + height), slice(col, col + width))
        out[inside] = mosaic[inside]
    return out


# ---------------------------------------------------------------------------------------------- extents


def test_scenes_of_one_mosaic_give_it_back(scenes: Path, mosaic: Any) -> None:
    stack = pw.open_stack(scenes, extent="union")
    assert stack.grid.transform == ORIGIN
    np.testing.assert_array_equal(read_all(stack), seen(mosaic))
    assert stack.dtype == np.float32


def test_overlapping_scenes_of_one_date_give_the_mosaic_back(tmp_path: Path, mosaic: Any) -> None:
    for index, (row, col, height, width) in enumerate(PLACES):
        for image, year in zip(mosaic, range(2001, 2006), strict=True):
            part = image[row : row + height, col : col + width]
            write_raster(tmp_path / f"row{index}_{year}.tif", part, transform=at(row, col), nodata=np.nan)
    for how in ("first", "mosaic", "max"):
        np.testing.assert_array_equal(read_all(pw.open_stack(tmp_path, extent="union", same_date=how)), mosaic)
    assert "overlap and have the same date (2001-01-01): choose with --same-date keep|first|mosaic|mean|max" in (
        refusal_of(tmp_path, extent="union")
    )


@pytest.mark.parametrize(
    ("extent", "rows", "columns"),
    [
        ("first", (0, 40), (0, 50)),
        ("intersection", (20, 40), (33, 43)),
        # Bounds touch the pixels in which they end; they may reach beyond all scenes.
        ((500000 + 30 * 5 + 1, 3400000 - 30 * 45, 500000 + 30 * 80, 3400000 - 30 * 10 - 1), (10, 45), (5, 80)),
        ((500000 - 300, 3400000 - 30 * 20, 500000 + 30 * 20, 3400000), (0, 20), (-10, 20)),
    ],
)
def test_extents(scenes: Path, mosaic: Any, extent: Any, rows: Any, columns: Any) -> None:
    stack = pw.open_stack(scenes, extent=extent)
    assert stack.grid.transform == at(rows[0], columns[0])
    expected = np.pad(seen(mosaic), ((0, 0), (0, 0), (10, 10)), constant_values=np.nan)
    expected = expected[:, slice(*rows), columns[0] + 10 : columns[1] + 10]
    # Dates that lie outside are left out.
    inside = [row < rows[1] and col < columns[1] for row, col, _, _ in PLACES]
    expected = expected[inside]
    np.testing.assert_array_equal(read_all(stack), expected)


def test_the_extent_of_a_raster(scenes: Path, mosaic: Any, tmp_path: Path) -> None:
    like = write_raster(tmp_path / "like.tif", np.zeros((20, 30), np.uint8), transform=at(5, 6))
    stack = pw.open_stack(scenes, extent=like)
    with rasterio.open(like) as dataset:
        assert (stack.grid.transform, stack.grid.height, stack.grid.width) == (dataset.transform, 20, 30)
    np.testing.assert_array_equal(read_all(stack), seen(mosaic)[:, 5:25, 6:36])
    off = write_raster(tmp_path / "off.tif", np.zeros((20, 30), np.uint8), transform=at(5, 6) @ Affine.scale(2))
    assert f"extent: the pixels of {off} are not aligned with those of {scenes / 'ndvi_2001.tif'}" in refusal_of(
        scenes, extent=off
    )
    assert f"extent: {tmp_path / 'none.tif'}: No such file" in refusal_of(scenes, extent=tmp_path / "none.tif")


def test_dates_outside_the_extent_are_left_out(scenes: Path, caplog: pytest.LogCaptureFixture) -> None:
    # Only the scenes of 2001, 2004 and 2005 reach into these rows or columns.
    caplog.set_level("INFO", "pixelwise")
    bounds = (500000 + 30 * 40, 3400000 - 30 * 7, 500000 + 30 * 50, 3400000)
    assert pw.open_stack(scenes, extent=bounds).axis.years.tolist() == [2001, 2004]
    assert "3 of 5 dates lie outside the extent and are left out" in caplog.text
    assert "0 dates in 5 files" in refusal_of(scenes, extent=(0, 0, 30, 30))


def test_what_does_not_share_a_lattice_is_named(scenes: Path) -> None:
    odd = write_raster(scenes / "ndvi_2006.tif", np.zeros((9, 9), np.float32), transform=at(0, 0) @ Affine.scale(1.01))
    text = refusal_of(scenes, extent="union")
    assert f"the rasters have pixels that are not aligned; 1 differs from {scenes / 'ndvi_2001.tif'}:" in text
    assert f"{odd}: " in text
    assert "--align EPSG:32617,30 (CRS and pixel size) or --align FILE, and --resampling" in text
    odd.unlink()
    assert "their pixels are aligned: choose the area to cover with --extent union|" in refusal_of(scenes)


def test_an_intersection_may_be_empty(scenes: Path) -> None:
    far = write_raster(scenes / "ndvi_2006.tif", np.zeros((9, 9), np.float32), transform=at(300, 0))
    assert f"extent intersection is empty: {far} shares no pixel" in refusal_of(scenes, extent="intersection")


@pytest.mark.parametrize("shift", [0.0005, 0.002])
def test_origins_may_be_off_by_a_thousandth_of_a_pixel(scenes: Path, mosaic: Any, shift: float) -> None:
    write_raster(scenes / "ndvi_2001.tif", mosaic[0], transform=ORIGIN @ Affine.translation(shift, 0))
    if shift < 1e-3:
        np.testing.assert_array_equal(read_all(pw.open_stack(scenes, extent="union"))[0], mosaic[0])
    else:
        assert "have pixels that are not aligned" in refusal_of(scenes, extent="union")


def test_pieces_that_are_missing_are_missing(tmp_path: Path, mosaic: Any) -> None:
    for index, (row, col, height, width) in enumerate([(0, 0, 30, 70), (30, 0, 30, 70)]):
        for year, image in zip((2001, 2002), mosaic, strict=False):
            if (index, year) != (1, 2002):
                part = image[row : row + height, col : col + width]
                write_raster(tmp_path / f"row{index}_{year}.tif", part, transform=at(row, col))
    assert "its pieces do not cover 70 x 60 pixels" in refusal_of(tmp_path)
    values = read_all(pw.open_stack(tmp_path, extent="union"))
    np.testing.assert_array_equal(values[0], mosaic[0])
    np.testing.assert_array_equal(values[1, :30], mosaic[1, :30])
    assert np.isnan(values[1, 30:]).all()


@pytest.mark.parametrize("how", ["first", "mosaic", "mean", "max"])
def test_images_of_one_date(tmp_path: Path, how: str) -> None:
    """Three images that lie partly upon each other, with gaps, against NumPy."""
    images = random_series((3, 60, 70), seed=5, gaps=0.4)
    layers = np.full((3, 60, 70), np.nan, np.float64)
    covered = np.zeros((3, 60, 70), bool)
    for index, (row, col, height, width) in enumerate(PLACES[:3]):
        inside = (index, slice(row, row + height), slice(col, col + width))
        layers[inside], covered[inside] = images[inside], True
        write_raster(tmp_path / f"{'abc'[index]}_20010305.tif", images[inside], transform=at(row, col))
    write_raster(tmp_path / "d_20010306.tif", images[0])
    first = np.full((60, 70), np.nan)
    for image, own in zip(layers[::-1], covered[::-1], strict=True):
        first[own if how == "first" else ~np.isnan(image)] = image[own if how == "first" else ~np.isnan(image)]
    count = (~np.isnan(layers)).sum(axis=0)
    total = np.where(count, np.nansum(layers, axis=0) / np.maximum(count, 1), np.nan)
    expected = {"first": first, "mosaic": first, "mean": total, "max": np.fmax.reduce(layers, axis=0)}[how]

    stack = pw.open_stack(tmp_path, extent="union", same_date=how)
    assert len(stack) == 2
    np.testing.assert_array_equal(read_all(stack)[0], expected)
    parts = np.empty((2, 60, 70), stack.dtype)
    for block in stack.grid.blocks(13, 29):
        parts[(slice(None), *block.slices)] = stack.read(block)
    np.testing.assert_array_equal(parts[0], expected)
    # A team divides rows of pixels among arrays.
    share = stack.readers(1, handles=4)[0]
    halves = [np.empty((2, rows, 70), stack.dtype) for rows in (25, 35)]
    share.read_into(stack.grid.block, halves)
    share.close()
    np.testing.assert_array_equal(np.concatenate(halves, axis=1)[0], expected)


def test_a_map_of_shifted_scenes(scenes: Path, mosaic: Any, tmp_path: Path) -> None:
    """The same map whatever the blocks, the workers and the executor: that of the mosaic itself."""
    for year, image in zip(range(2001, 2006), seen(mosaic), strict=True):
        write_raster(tmp_path / "whole" / f"ndvi_{year}.tif", image, nodata=np.nan)
    expected = pw.apply(pw.open_stack(tmp_path / "whole"), "ols", executor="inline")
    stack = pw.open_stack(scenes, extent="union")
    for options in ({"executor": "inline"}, {"jobs": 2}, {"jobs": 2, "executor": "processes"}):
        trend = pw.apply(stack, "ols", **options)
        for name in expected.names:
            np.testing.assert_array_equal(trend[name], expected[name])


def test_a_halo_sees_what_lies_beyond_the_crop(scenes: Path, mosaic: Any) -> None:
    stack = pw.open_stack(scenes, extent="union").crop(pw.Block(10, 10, 20, 20))
    np.testing.assert_array_equal(stack.read(pw.Block(-2, -2, 24, 24)), seen(mosaic)[:, 8:32, 8:32])
    with pytest.raises(ValueError, match="lies outside"):
        stack.read(pw.Block(-11, 0, 5, 5))


def test_the_plan_of_shifted_scenes_cuts_few_blocks(scenes: Path) -> None:
    layout = layout_of(pw.open_stack(scenes, extent="union"))
    assert layout.shifted
    grid = pw.Grid(None, Affine.identity(), 4000, 4000)
    shifted = make_plan(grid, [Demand(300, layout)], OutputDemand(3), Workers(1, 2, teamwork=True), Limits())
    assert 1 < shifted.redecode < 2
    half = pw.open_stack([scenes / "ndvi_2001.tif", scenes / "ndvi_2004.tif"], extent="union")
    assert not layout_of(half).shifted  # that of 2001 begins where the grid does


# ------------------------------------------------------------------------------------------------ warping


@pytest.mark.parametrize("how", ["nearest", "bilinear", "average"])
def test_scenes_of_other_lattices_are_aligned(shared: Shared, how: str) -> None:
    """Landsat scenes, each with its own grid, as rasterio warps them to that of one."""
    files = sorted(shared("gdalcubes_L8NY18").glob("**/*_B5.TIF"))
    stack = pw.open_stack(files, align=files[2], resampling=how, nodata=0, same_date="keep")
    values = read_all(stack)
    with rasterio.open(files[2]) as target:
        assert stack.grid.transform == target.transform
        assert (stack.grid.height, stack.grid.width) == target.shape
        place = {"dst_transform": target.transform, "dst_crs": target.crs}
    for layer, found in zip(stack.layers, values, strict=True):
        with rasterio.open(layer.pieces[0].path) as dataset:
            expected = np.zeros(found.shape, dataset.dtypes[0])
            reproject(
                dataset.read(1), expected, src_transform=dataset.transform, src_crs=dataset.crs, src_nodata=0,
                dst_nodata=0, resampling=Resampling[how], tolerance=0.0, **place,
            )  # fmt: skip
        np.testing.assert_array_equal(found, np.where(expected == 0, np.nan, expected))
    assert sum(piece.warp is None for layer in stack.layers for piece in layer.pieces) == 1
    assert not layout_of(stack).shifted


def warped_scenes(folder: Path, seed: int = 2, **profile: Any) -> Path:
    """Write four scenes in geographic coordinates, some with a mask."""
    values = random_series((4, 300, 310), seed=seed, gaps=0.1)
    for year, image in zip(range(2001, 2005), values, strict=True):
        place = Affine(0.0004, 0, -81.0 + year * 1e-3 - 2.001, 0, -0.0003, 30.73)
        mask = None if year % 2 else np.where(np.isnan(image), 0, 255).astype(np.uint8)
        nodata = None if mask is not None else np.nan
        image = np.nan_to_num(image, nan=9) if mask is not None else image
        write_raster(
            folder / f"ndvi_{year}.tif", image, crs="EPSG:4326", transform=place, nodata=nodata, mask=mask, **profile
        )
    return folder


@pytest.mark.parametrize("how", ["nearest", "bilinear", "cubic", "average", "mode", "max"])
def test_no_bit_of_a_warped_file_depends_on_the_block(tmp_path: Path, how: str) -> None:
    like = write_raster(tmp_path / "like.tif", np.zeros((320, 500), np.uint8), transform=at(0, 0) @ Affine.scale(2.1))
    options = {"align": like, "resampling": how}
    stack = pw.open_stack(warped_scenes(tmp_path / "scenes"), **options)
    whole = read_all(stack)
    assert 0.02 < np.isnan(whole).mean() < 0.9
    assert np.nanmax(np.abs(whole)) < 3  # 9 lies behind a mask
    parts = np.empty_like(whole)
    for block in stack.grid.blocks(127, 129):
        parts[(slice(None), *block.slices)] = stack.read(block)
    np.testing.assert_array_equal(parts, whole)
    cropped = stack.crop(pw.Block(33, 57, 200, 300))
    np.testing.assert_array_equal(read_all(cropped), whole[:, 33:233, 57:357])


def test_warping_to_another_extent(tmp_path: Path) -> None:
    like = write_raster(tmp_path / "like.tif", np.zeros((100, 100), np.uint8))
    folder = warped_scenes(tmp_path / "scenes")
    whole = pw.open_stack(folder, align=like, extent="union")
    part = pw.open_stack(folder, align=like)
    assert (part.grid.height, part.grid.width, part.grid.transform) == (100, 100, ORIGIN)
    place = whole.grid.place_of(part.grid)
    shared = place.intersection(whole.grid.block)
    assert shared is not None
    expected = part.read(shared.shift(-place.row, -place.col))
    assert np.isfinite(expected).mean() > 0.5
    np.testing.assert_array_equal(whole.read(shared), expected)
    # A cropped stack warps by the same tiles.
    np.testing.assert_array_equal(read_all(whole.crop(shared)), expected)


def test_warped_images_of_one_date(tmp_path: Path) -> None:
    """Two zones that meet: their frames overlap where neither has a value, so that only mosaic can be asked for."""
    like = write_raster(tmp_path / "like.tif", np.zeros((60, 120), np.uint8))
    for year in (2001, 2002):
        for name, west in (("a", -81.0015), ("b", -80.984)):
            place = Affine(0.0003, 0, west, 0, -0.0003, 30.74)
            image = np.full((90, 60), 1 + (name == "b"), np.float32)
            write_raster(tmp_path / "s" / f"{name}_{year}.tif", image, crs="EPSG:4326", transform=place, nodata=-1)
    options = {"align": like, "same_date": "mosaic"}
    values = read_all(pw.open_stack(tmp_path / "s", **options))
    assert {1.0, 2.0} <= set(np.unique(values[~np.isnan(values)]))
    text = refusal_of(tmp_path / "s", align=like, same_date="first")
    assert "which pixels it covers is unknown" in text
    assert "use --same-date mosaic instead of first" in text


def test_shards_are_aligned(tmp_path: Path) -> None:
    """The pieces of one export, whose warped frames reach into each other, give what the whole export gives."""
    values = random_series((2, 60, 80), seed=3, gaps=0.0)
    like = write_raster(tmp_path / "like.tif", np.zeros((70, 90), np.uint8), transform=at(-2, -2))
    there = Affine(0.0003, 0, -81.0, 0, -0.0003, 30.7325)
    for year, image in zip((2001, 2002), values, strict=True):
        write_raster(tmp_path / "whole" / f"x{year}.tif", image, crs="EPSG:4326", transform=there, nodata=-9)
        for row, col in ((0, 0), (0, 40), (30, 0), (30, 40)):
            name = f"x{year}-{row:010}-{col:010}.tif"
            part = image[row : row + 30, col : col + 40]
            transform = there @ Affine.translation(col, row)
            write_raster(tmp_path / "s" / name, part, crs="EPSG:4326", transform=transform, nodata=-9)
    whole, pieces = (read_all(pw.open_stack(tmp_path / name, align=like)) for name in ("whole", "s"))
    assert np.isfinite(whole).mean() > 0.3
    np.testing.assert_array_equal(pieces, whole)


def test_a_broken_block_behind_a_warp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pixelwise.rasters import windows
    from pixelwise.rasters.tags import TILE_COUNTS, TILE_OFFSETS, read_tags

    monkeypatch.setattr(windows, "RETRY_SECONDS", ())
    like = write_raster(tmp_path / "like.tif", np.zeros((600, 700), np.uint8))
    folder = warped_scenes(tmp_path / "s", tiled=True, blockxsize=64, blockysize=64, compress="deflate")
    path = folder / "ndvi_2001.tif"
    with path.open("r+b") as file:
        tags = read_tags(file, (TILE_OFFSETS, TILE_COUNTS))
        file.seek(int(tags[TILE_OFFSETS][0]))
        file.write(b"\x00" * int(tags[TILE_COUNTS][0]))
    stack = pw.open_stack(folder, align=like, extent="union", on_read_error="missing")
    maps = [pw.apply(stack, "ols", executor="inline", memory=memory) for memory in (None, "305MiB")]
    for name in maps[0].names:
        np.testing.assert_array_equal(maps[0][name], maps[1][name])
    lost = maps[0].status == 8
    assert 0 < lost.sum() <= 4 * 128 * 512


def test_what_was_warped_is_in_the_tags(tmp_path: Path) -> None:
    like = write_raster(tmp_path / "like.tif", np.zeros((40, 40), np.uint8))
    trend = pw.apply(
        pw.open_stack(warped_scenes(tmp_path / "scenes"), align=like, resampling="bilinear"), "ols", tmp_path / "t.tif"
    )
    spec = trend.provenance["input"]["spec"]
    assert (spec["align"], spec["resampling"]) == (str(like), "bilinear")


def test_alignments_that_cannot_be(tmp_path: Path, scenes: Path) -> None:
    plain = write_raster(tmp_path / "plain" / "ndvi_2001.tif", np.zeros((5, 5)), crs=None, transform=Affine.scale(2))
    write_raster(tmp_path / "plain" / "ndvi_2002.tif", np.zeros((5, 5)), crs=None, transform=Affine.scale(2))
    like = write_raster(tmp_path / "like.tif", np.zeros((40, 40), np.uint8))
    assert f"{plain}: cannot be aligned: it has no CRS" in refusal_of(tmp_path / "plain", align=like)
    assert f"align: {tmp_path / 'none.tif'}: No such file" in refusal_of(scenes, align=tmp_path / "none.tif")
    with pytest.raises(ParameterError, match="resampling cubic has no effect without align: give align=RASTER"):
        pw.open_stack(scenes, resampling="cubic")
    with pytest.raises(ParameterError, match=r"resampling='bilinaer' is not one of .*; did you mean 'bilinear'"):
        pw.open_stack(scenes, align=like, resampling="bilinaer")
    with pytest.raises(ParameterError, match=r"extent .* are not four numbers"):
        pw.open_stack(scenes, extent=(1, 2, 3))


# ---------------------------------------------------------------------------------------- the command line


def test_the_command_line(scenes: Path, mosaic: Any, tmp_path: Path) -> None:
    output = tmp_path / "n.tif"
    words = ["apply", "ols", str(scenes), "-o", str(output), "--extent", "union", "--bands", "n", "--quiet"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    with rasterio.open(output) as dataset:
        np.testing.assert_array_equal(dataset.read(1), (~np.isnan(seen(mosaic))).sum(axis=0))
    result = CliRunner().invoke(main, ["plan", str(scenes), "--extent", "500000,3399100,500600,3400000", "--json"])
    assert result.exit_code == 0, result.output
    assert '"height": 30' in result.output
    assert '"width": 20' in result.output
