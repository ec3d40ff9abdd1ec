"""--align CRS,RESOLUTION: pixels at multiples of the resolution, where gdalwarp -tap puts them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.warp import Resampling, reproject, transform_bounds

import pixelwise as pw
from support.command_line import run
from support.rasters import random_series, read_all, write_raster

ZONES = {"32632": Affine(30, 0, 721_155, 0, -30, 5_338_815), "32633": Affine(30, 0, 275_010, 0, -30, 5_339_010)}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: scenes/, of two UTM zones, of about the same place."""
    for index, layer in enumerate(random_series((4, 50, 60), gaps=0, seed=1)):
        zone = ("32632", "32633")[index % 2]
        path = tmp_path / "scenes" / f"ndvi_{2001 + index}.tif"
        write_raster(path, layer, crs=f"EPSG:{zone}", transform=ZONES[zone], nodata=-9999)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tapped(paths: list[Path], crs: str, size: float) -> tuple[float, float, float, float]:
    """Return the bounds of files in a CRS, widened to multiples of a resolution: gdalwarp -tap."""
    boxes = []
    for path in paths:
        with rasterio.open(path) as dataset:
            boxes.append(transform_bounds(dataset.crs, crs, *dataset.bounds, densify_pts=21))
    low, high = np.min(boxes, axis=0)[:2], np.max(boxes, axis=0)[2:]
    left, bottom = np.floor(low / size + 1e-3) * size
    right, top = np.ceil(high / size - 1e-3) * size
    return left, bottom, right, top


@pytest.mark.parametrize(("crs", "size"), [("EPSG:32633", 25), ("EPSG:32632", 30), ("EPSG:4326", 0.0005)])
def test_pixels_lie_at_multiples_of_the_resolution_and_cover_all_files(home: Path, crs: str, size: float) -> None:
    stack = pw.open_stack("scenes", align=f"{crs},{size}")
    paths = sorted((home / "scenes").iterdir())
    assert stack.grid.crs_name == crs
    assert (stack.grid.transform.a, stack.grid.transform.e) == (size, -size)
    np.testing.assert_allclose(stack.grid.bounds, tapped(paths, crs, size), rtol=1e-12)


def test_values_are_those_of_gdal(home: Path) -> None:
    stack = pw.open_stack("scenes", align="EPSG:32633,25", resampling="nearest")
    values = read_all(stack)
    for layer, path in zip(values, sorted((home / "scenes").iterdir()), strict=True):
        expected = np.full(layer.shape, np.nan, "float32")
        with rasterio.open(path) as dataset:
            reproject(
                dataset.read(1), expected, src_crs=dataset.crs, src_transform=dataset.transform, src_nodata=-9999,
                dst_crs="EPSG:32633", dst_transform=stack.grid.transform, dst_nodata=np.nan,
                resampling=Resampling.nearest, tolerance=0,
            )  # fmt: skip
        assert np.isfinite(layer).sum() > 2000
        same = (layer == expected) | (np.isnan(layer) & np.isnan(expected))
        assert same.mean() > 0.999  # a pixel centre between two pixels of the file may go to either


def test_an_extent_is_in_units_of_the_named_crs(home: Path) -> None:
    extent = (275_010, 5_337_500, 276_000, 5_338_980)
    stack = pw.open_stack("scenes", align="EPSG:32633,30", extent=extent)
    assert stack.grid.bounds == (275_010, 5_337_480, 276_000, 5_338_980)
    first, both = (pw.open_stack("scenes", align="EPSG:32633,30", extent=how) for how in ("first", "intersection"))
    assert first.grid.block.pixels > both.grid.block.pixels > 0


def test_the_same_text_serves_every_command(home: Path) -> None:
    words = ("--align", "EPSG:32633,30", "--resampling", "bilinear")
    plan = run("plan", "scenes", *words, "--write-recipe", "job.toml")
    assert "\naligned   2 of 4 files to EPSG:32633,30, bilinear\n" in plan.stdout
    assert 'align = "EPSG:32633,30"' in Path("job.toml").read_text()
    assert run("apply", "ols", "--recipe", "job.toml", "-o", "trend.tif").exit_code == 0
    assert run("apply", "ols", "scenes", *words, "-o", "other.tif").exit_code == 0
    trend, other = pw.open_map("trend.tif"), pw.open_map("other.tif")
    np.testing.assert_array_equal(trend["slope"], other["slope"])
    assert trend.provenance["input"]["spec"]["align"] == "EPSG:32633,30"
    series = run("series", "--map", "trend.tif", "--pixel", "20,30", "--json")  # names no file: nothing to repeat
    assert series.exit_code == 0
    assert json.loads(series.stdout)["pixels"][0]["crs"] == "EPSG:32633"
    assert "the effect of --align is not recomputed" in run("verify", "trend.tif").stderr


@pytest.mark.parametrize(
    ("align", "told"),
    [
        ("EPSG:4326,30", "of 30 degrees is too large; 30 metres are about 0.000269 degrees: EPSG:4326,0.000269"),
        ("EPSG:32633,0.00027", "is too small; 0.00027 degrees are about 30.1 m: EPSG:32633,30.1"),
        ("EPSG:32633,0", "the resolution is 0; expected a positive number"),
        ("EPSG:32633,-10", "the resolution is -10; expected a positive number"),
        ("EPSG:32633", "expected CRS,RESOLUTION, such as EPSG:32633,30 (metres)"),
        ("EPSG:32633,nan", "expected CRS,RESOLUTION, such as EPSG:32633,30 (metres)"),
        ("EPSG:32633@10", "expected CRS,RESOLUTION, such as EPSG:32633,30 (metres)"),
        ("EPSG:4326,10m", "expected CRS,RESOLUTION, such as EPSG:4326,0.01 (degrees)"),
        ("EPSG:99999,10", "align 'EPSG:99999' is no known CRS: PROJ has no such code"),
        ("EPSG:5773,10", "align 'EPSG:5773' is neither geographic nor projected: rasters cannot have it"),
        ("32633,30", "'32633,30' is no file; did you mean EPSG:32633,30?"),
        ("WGS84,0.1", "'WGS84,0.1' is no file; did you mean EPSG:4326,0.1?"),
        ("nothing.tif", "align: nothing.tif: No such file or directory"),
    ],
)  # fmt: skip
def test_nonsense(home: Path, align: str, told: str) -> None:
    result = run("apply", "ols", "scenes", "--align", align, "-o", "out.tif")
    assert result.exit_code == 1
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1
    with pytest.raises((pw.ParameterError, pw.InputError)) as error:
        pw.open_stack("scenes", align=align)
    assert f"error: {error.value}\n" == result.stderr


def test_a_file_with_a_colon_is_a_file(home: Path, make_stack: Any) -> None:
    like = write_raster(home / "a:b,10.tif", np.zeros((5, 6), "float32"), crs="EPSG:32633", transform=ZONES["32633"])
    assert pw.open_stack("scenes", align=like).grid.width == 6


def test_a_resolution_unlike_that_of_the_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """30 m pixels: in other units it is refused, and a factor of more than 20 is warned of."""
    for year in (2001, 2002):
        write_raster(tmp_path / f"n_{year}.tif", np.ones((20, 30), "float32"))
    for align, own in (("EPSG:32617,0.02", "30 units of EPSG:32617"), ("EPSG:4326,5", "degrees of EPSG:4326")):
        with pytest.raises(pw.InputError, match=rf"its pixels are about .*{own}, and --align {align} makes pixels of"):
            pw.open_stack(tmp_path, align=align)
    pw.open_stack(tmp_path, align="EPSG:32617,60")
    assert "makes pixels of" not in caplog.text
    pw.open_stack(tmp_path, align="EPSG:32617,900")
    assert "makes pixels of 900; a resolution near theirs is EPSG:32617,30" in caplog.text
