"""GeoTIFFs that pixelwise did not make: drawn and classified with what they say."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import pixelwise as pw
from pixelwise.grid import Block
from pixelwise.maps.foreign import open_any
from pixelwise.pictures.picture import plot_map
from support.drawn import NAN, UTM, entries, headings, key_title, labels, shares
from support.rasters import write_raster


@pytest.mark.parametrize(
    ("dtype", "nodata", "expected"),
    [
        ("int16", -9999, "float32"), ("uint8", 255, "float32"), ("int32", -9999, "float64"),
        ("float32", -9999, "float32"),
        ("float32", NAN, "float32"), ("float64", -1e300, "float64"),
    ],
)  # fmt: skip
def test_nodata_is_missing(tmp_path: Path, dtype: str, nodata: float, expected: str) -> None:
    values = np.array([[1, 2, 3, nodata]]).astype(dtype)
    map_ = open_any(write_raster(tmp_path / "a.tif", values, nodata=nodata))
    assert np.array_equal(map_["band 1"], [[1, 2, 3, NAN]], equal_nan=True)
    assert map_["band 1"].dtype == expected
    assert "missing" in labels(plot_map(map_))


def test_large_integers_keep_their_value(tmp_path: Path) -> None:
    values = np.array([[16_777_217, -9999]], np.int32)
    assert open_any(write_raster(tmp_path / "a.tif", values, nodata=-9999))["band 1"][0, 0] == 16_777_217


def test_integers_without_nodata_stay_integers(tmp_path: Path) -> None:
    map_ = open_any(write_raster(tmp_path / "a.tif", np.array([[0, 200]], np.uint8)))
    assert map_["band 1"].dtype == np.uint8
    assert shares(plot_map(map_)) == {"200": 50, "0": 50}


def test_bands_have_the_names_and_units_of_the_file(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.ones((3, 2, 2), np.float32), descriptions=("red", "", "red"))
    with rasterio.open(path, "r+") as dataset:
        dataset.units = ("m", "", "")
    map_ = open_any(path)
    # A name that occurs twice names nothing.
    assert map_.names == ("band 1", "band 2", "band 3")
    path = write_raster(tmp_path / "b.tif", np.ones((2, 2, 2), np.float32), descriptions=("red", "nir"))
    with rasterio.open(path, "r+") as dataset:
        dataset.units = ("m", "")
    assert [(band.name, band.unit, band.kind) for band in open_any(path).bands] == [("red", "m", ""), ("nir", "", "")]
    figure = plot_map(open_any(path))
    assert headings(figure) == ["Red"]
    assert key_title(figure) == "red (m)\nshare of the area"


def test_names_are_those_of_one_band_and_mean_nothing_here(tmp_path: Path) -> None:
    names = ("band 2", "x", "x", "status")
    values = np.array([[[1, 2]], [[3, 4]], [[5, 6]], [[0, 9]]], np.float32)
    map_ = open_any(write_raster(tmp_path / "a.tif", values, descriptions=names))
    assert map_.names == ("band 2 (band 1)", "band 2", "band 3", "status (band 4)")
    assert [map_[name].tolist() for name in map_.names] == values.tolist()
    # A 9 of theirs is not our "outside the area".
    assert "missing" not in labels(plot_map(map_))
    assert sum(shares(plot_map(map_)).values()) == 100


@pytest.mark.parametrize("where", ["inside", "beside", "alpha"])
def test_masks_are_those_of_gdal(tmp_path: Path, where: str) -> None:
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    valid = np.ones((3, 4), bool)
    valid[1, 2] = valid[0, 0] = False
    profile = {"driver": "GTiff", "height": 3, "width": 4, "dtype": "uint8", "crs": "EPSG:32617", "transform": UTM}
    count, options = (4, {"photometric": "RGB", "alpha": "YES"}) if where == "alpha" else (1, {})
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=where == "inside"),
        rasterio.open(tmp_path / "a.tif", "w", count=count, **profile, **options) as dataset,
    ):
        dataset.write(values, 1)
        if where == "alpha":
            dataset.write(np.where(valid, 255, 0).astype(np.uint8), 4)
        else:
            dataset.write_mask(valid)
    assert (tmp_path / "a.tif.msk").exists() == (where == "beside")
    map_ = open_any(tmp_path / "a.tif")
    assert map_.names == ("band 1", "band 2", "band 3")[: max(count - 1, 1)]
    assert np.array_equal(map_["band 1"], np.where(valid, values, NAN), equal_nan=True)


def test_stored_numbers_are_scaled(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "ndvi_2001.tif", np.array([[0, 5000, 10000, -3000]], np.int16), nodata=-3000)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.0001,), (-0.25,)
    values = open_any(path)["band 1"]
    assert values.dtype == np.float32
    # As inputs are read.
    shutil.copy(path, tmp_path / "ndvi_2002.tif")
    stack = pw.open_stack(tmp_path)
    assert np.array_equal(values, stack.read(stack.grid.block)[0], equal_nan=True)
    assert np.allclose(values, [[-0.25, 0.25, 0.75, NAN]], equal_nan=True)


def test_nodata_of_large_integers_is_exact(tmp_path: Path) -> None:
    nodata = 2**53 + 1
    path = tmp_path / "a.tif"
    write_raster(path, np.array([[nodata, nodata - 1, nodata + 1]], np.int64), nodata=nodata - 1)
    # rasterio writes it as float64, which has no such number; GDAL reads it as int64.
    path.write_bytes(path.read_bytes().replace(str(nodata - 1).encode(), str(nodata).encode()))
    assert np.isnan(open_any(path)["band 1"]).tolist() == [[True, False, False]]


def test_no_band_is_taken_for_a_test(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.ones((2, 2, 2), np.float32), descriptions=("slope", "pvalue"))
    assert len(entries(plot_map(open_any(path)))) == 1
    with pytest.raises(pw.ParameterError, match="band slope has no p-value"):
        plot_map(open_any(path), classes="trend")


def test_without_crs_shares_are_those_of_pixels(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.array([[1, 1, 1, 2]], np.uint8), crs=None)
    figure = plot_map(open_any(path))
    assert entries(figure) == ["2 (25.0 %)", "1 (75.0 %)"]
    assert key_title(figure).endswith("share of the pixels")


def test_parts_are_read_as_the_whole(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 3, (40, 50)).astype(np.int16)
    map_ = open_any(write_raster(tmp_path / "a.tif", values, nodata=0))
    block = Block(3, 7, 11, 13)
    assert np.array_equal(map_.read("band 1", block), map_["band 1"][block.slices], equal_nan=True)


def test_maps_of_pixelwise_are_opened_as_such(tmp_path: Path, make_stack: Any) -> None:
    stack = pw.open_stack(make_stack(np.random.default_rng(0).random((4, 5, 6)).astype("float32")))
    pw.apply(stack, "ols", tmp_path / "trend.tif", executor="inline")
    assert open_any(tmp_path / "trend.tif").provenance["method"] == "ols"
    assert type(open_any(tmp_path / "trend.tif")) is pw.Map


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("no raster")
    (tmp_path / "b.nc").write_text("no raster")
    complex_ = write_raster(tmp_path / "c.tif", np.ones((2, 2), np.complex64))
    for path, message in (
        (tmp_path / "a.tif", r"a\.tif: "),
        (tmp_path / "b.nc", r"b\.nc: "),
        (tmp_path / "none.tif", r"none\.tif: No such file"),
        (complex_, r"c\.tif: holds complex numbers, which have no order to draw"),
    ):
        with pytest.raises(pw.InputError, match=message) as error:
            open_any(path)
        assert "\n" not in str(error.value)


def test_hostile_names_of_bands_are_drawn(tmp_path: Path) -> None:
    names = ("$\\frac{", "\x1b[31m\N{RIGHT-TO-LEFT OVERRIDE}")
    path = write_raster(tmp_path / "a.tif", np.ones((2, 2, 2), np.float32), descriptions=names)
    for name in open_any(path).names:
        figure = plot_map(open_any(path), name)
        figure.canvas.draw()
        assert all(text.isprintable() for text in headings(figure))
