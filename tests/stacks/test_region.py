"""Regions and static masks in jobs: status 9, and nothing read for nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.features import geometry_mask

import pixelwise as pw
from pixelwise import InputError
from support.command_line import run
from support.limits import set_limits
from support.rasters import random_series, read_all, write_raster

SHAPE = (80, 90)
TRIANGLE = {
    "type": "Polygon",
    "coordinates": [[[500310, 3399100], [501500, 3399400], [500700, 3397900], [500310, 3399100]]],
}


@pytest.fixture
def files(make_stack: Any, tmp_path: Path) -> tuple[Path, Path, Any]:
    """Write a stack of small tiles, a triangle in its own CRS, and which centres lie in it by GDAL."""
    values = random_series((6, *SHAPE), seed=2)
    folder = make_stack(values, tiled=True, blockxsize=16, blockysize=16)
    region = tmp_path / "triangle.geojson"
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32617"}}
    feature = {"type": "Feature", "properties": {}, "geometry": TRIANGLE}
    region.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [feature]}))
    with rasterio.open(next(folder.iterdir())) as dataset:
        inside = geometry_mask([TRIANGLE], SHAPE, dataset.transform, invert=True)
    assert 0.05 < inside.mean() < 0.5
    return folder, region, inside


@pytest.mark.parametrize(
    "options",
    [{"executor": "inline"}, {"jobs": 2}, {"jobs": 2, "executor": "processes"}, {"jobs": 2, "memory": "310MiB"}],
)
def test_pixels_outside_have_status_9(files: tuple[Path, Path, Any], options: dict[str, Any]) -> None:
    folder, region, inside = files
    everywhere = pw.apply(pw.open_stack(folder), "ols")
    trend = pw.apply(pw.open_stack(folder, region=region), "ols", **options)
    np.testing.assert_array_equal(trend.status, np.where(inside, everywhere.status, 9))
    for name in ("slope", "pvalue"):
        np.testing.assert_array_equal(trend[name], np.where(inside, everywhere[name], np.nan))
    np.testing.assert_array_equal(trend["n"], np.where(inside, everywhere["n"], 0))


def test_only_touched_blocks_are_read(files: tuple[Path, Path, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from pixelwise.rasters import windows

    folder, region, inside = files
    set_limits(monkeypatch, window_bytes=1024)
    seen = np.zeros(SHAPE, int)
    really = windows.read_window

    def read_window(piece: Any, bands: Any, block: Any, out: Any, table: Any) -> Any:
        if piece.path.name == "ndvi_2000.tif":
            seen[block.slices] += 1
        return really(piece, bands, block, out, table)

    stack = pw.open_stack(folder, region=region)
    monkeypatch.setattr("pixelwise.opening.checks.warnings_of", lambda *_, **__: [])
    monkeypatch.setattr("pixelwise.run.warnings_of", lambda *_, **__: [])
    monkeypatch.setattr(windows, "read_window", read_window)
    pw.apply(stack, "ols", executor="inline", jobs=2)
    assert (seen[inside] == 1).all()
    assert seen.max() == 1
    assert (seen == 0).mean() > 0.4


def test_a_region_of_a_crop_and_of_composites(files: tuple[Path, Path, Any]) -> None:
    folder, region, _inside = files
    bounds = (500000 + 30 * 20, 3400000 - 30 * 60, 500000 + 30 * 70, 3400000 - 30 * 35)
    whole = pw.apply(pw.open_stack(folder, region=region), "ols")
    cropped = pw.open_stack(folder, region=region, bounds=bounds)
    np.testing.assert_array_equal(pw.apply(cropped, "ols").status, whole.status[35:60, 20:70])
    np.testing.assert_array_equal(
        pw.apply(pw.open_stack(folder, region=region).select(bounds=bounds), "ols").status, whole.status[35:60, 20:70]
    )
    composite = pw.open_stack(folder, region=region).composite("max")
    np.testing.assert_array_equal(pw.apply(composite, "ols").status, whole.status)


def test_a_halo_reads_beyond_the_region(files: tuple[Path, Path, Any]) -> None:
    folder, region, inside = files

    @pw.per_block(bands=["mean"])
    def mean(values: Any, times: Any) -> Any:
        return np.nanmean(values, axis=0)[None]

    with np.errstate(all="ignore"):
        trend = pw.apply(pw.open_stack(folder, region=region), mean)
    np.testing.assert_array_equal(trend.status == 9, ~inside)


def test_where_a_raster_has_some_values(files: tuple[Path, Path, Any], tmp_path: Path) -> None:
    folder, region, inside = files
    classes = np.random.default_rng(1).integers(0, 5, SHAPE).astype(np.uint8)
    cover = write_raster(tmp_path / "cover.tif", classes)
    chosen = np.isin(classes, [1, 3])
    trend = pw.apply(pw.open_stack(folder, where=f"{cover}=1,3"), "ols")
    np.testing.assert_array_equal(trend.status == 9, ~chosen)
    both = pw.apply(pw.open_stack(folder, where=f"{cover}=1,3", region=region), "ols", jobs=2, executor="processes")
    np.testing.assert_array_equal(both.status == 9, ~(chosen & inside))


def test_the_command_line(files: tuple[Path, Path, Any], tmp_path: Path) -> None:
    folder, region, inside = files
    cover = write_raster(tmp_path / "cover.tif", np.ones(SHAPE, np.uint8))
    output = tmp_path / "maps" / "trend.tif"
    output.parent.mkdir()
    words = (folder, "--region", region, "--where", f"{cover}=1")
    result = run("apply", "ols", *words, "-o", output, "--quiet")
    assert result.exit_code == 0, result.output
    assert f"{(~inside).sum()} outside" in result.stderr
    area = pw.open_map(output).provenance["input"]["area"]
    assert area["region"]["source"] == "../triangle.geojson"
    assert area["region"]["polygons"] == 1
    assert (area["where"]["raster"], area["where"]["values"]) == ("../cover.tif", "1")
    assert "behind" not in pw.open_map(output).provenance["input"]
    result = run("plan", *words)
    assert result.exit_code == 0, result.output
    assert f"region    1 polygon(s) of {region}" in result.output
    assert f"where     {cover} is 1" in result.output
    bounds = run(
        "apply", "ols", folder, "-o", tmp_path / "b.tif", "--region", "500300,3399400,500600,3399700", "--quiet"
    )
    assert "100 ok" in bounds.stderr or "7100 outside" in bounds.stderr
    layers = tmp_path / "annual.tif"
    assert run("composite", folder, "-o", layers, "--region", region, "--quiet").exit_code == 0
    values = read_all(pw.open_stack(layers))
    np.testing.assert_array_equal(values, np.where(inside, read_all(pw.open_stack(folder)), np.nan))
    refused = run("composite", folder, "-o", cover, "--overwrite", "--where", f"{cover}=1").output
    assert f"{cover}: is not a pixelwise map, and only maps are replaced" in refused


def test_a_changed_raster_stops_the_job_and_another_region_is_another_job(
    files: tuple[Path, Path, Any], tmp_path: Path
) -> None:
    folder, _region, _ = files
    cover = write_raster(tmp_path / "cover.tif", np.ones(SHAPE, np.uint8))
    stack = pw.open_stack(folder, where=f"{cover}=1")
    write_raster(cover, np.ones((SHAPE[0], SHAPE[1]), np.uint8), compress="lzw")
    with pytest.raises(InputError, match=r"cover\.tif: changed since its header was read"):
        pw.apply(stack, "ols")


def test_what_is_behind_a_vrt_is_part_of_the_area(files: tuple[Path, Path, Any], tmp_path: Path) -> None:
    folder, _, _ = files
    cover = write_raster(tmp_path / "cover.tif", np.ones(SHAPE, np.uint8))
    vrt = tmp_path / "cover.vrt"
    vrt.write_text(
        f"""<VRTDataset rasterXSize="{SHAPE[1]}" rasterYSize="{SHAPE[0]}"><SRS>EPSG:32617</SRS>
        <GeoTransform>500000, 30, 0, 3400000, 0, -30</GeoTransform><VRTRasterBand dataType="Byte" band="1">
        <SimpleSource><SourceFilename relativeToVRT="1">cover.tif</SourceFilename><SourceBand>1</SourceBand>
        </SimpleSource></VRTRasterBand></VRTDataset>"""
    )
    before = pw.open_stack(folder, where=f"{vrt}=1").area.describe()
    write_raster(cover, np.zeros(SHAPE, np.uint8), compress="lzw")
    assert pw.open_stack(folder, where=f"{vrt}=1").area.describe() != before


def test_mistakes(files: tuple[Path, Path, Any], tmp_path: Path) -> None:
    folder, _region, _ = files
    far = "0,0,100,100"
    result = run("plan", folder, "--region", far)
    assert result.exit_code == 1
    assert "outside" in result.output
    with pytest.raises(InputError, match="outside"):
        pw.open_stack(folder, region=(0, 0, 100, 100))
    with pytest.raises(InputError, match=r"none\.gpkg"):
        pw.open_stack(folder, region=tmp_path / "none.gpkg")
    with pytest.raises(InputError, match="is outside the bounds"):
        pw.open_stack(folder, region="500300,3399400,500600,3399700", bounds=(501200, 3398000, 501800, 3398600))
    shifted = write_raster(
        tmp_path / "shifted.tif", np.ones(SHAPE, np.uint8), transform=rasterio.Affine(30, 0, 500010, 0, -30, 3400000)
    )
    with pytest.raises(InputError, match=r"shifted\.tif"):
        pw.open_stack(folder, where=f"{shifted}=1")
