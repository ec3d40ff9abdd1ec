"""Bands that GDAL takes for alpha: data where they are dated or named, else what masks the others."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import pixelwise as pw
from pixelwise.rasters.headers import read_header
from pixelwise.verify.compare import verify
from support.command_line import run
from support.rasters import write_raster

SHAPE = (4, 12, 15)


def image(seed: int, zeros: float = 0.2) -> Any:
    """Four bands of bytes, of which the fourth is 0 here and there."""
    random = np.random.default_rng(seed)
    values = random.integers(1, 250, SHAPE).astype("uint8")
    values[3][random.random(SHAPE[1:]) < zeros] = 0
    return values


def scenes(folder: Path, **profile: Any) -> Path:
    for year in range(2001, 2005):
        write_raster(folder / f"x_{year}.tif", image(year), **profile)
    return folder


def read(source: Path, **options: Any) -> Any:
    stack = pw.open_stack(source, **options)
    return stack.read(stack.grid.block)


def alpha_line(*args: Any) -> list[str]:
    return [line for line in run("plan", *args).stdout.splitlines() if line.startswith("alpha")]


def test_gdal_takes_the_fourth_band_of_bytes_for_alpha(tmp_path: Path):
    with rasterio.open(write_raster(tmp_path / "a.tif", image(0))) as dataset:
        assert dataset.colorinterp[3] == rasterio.enums.ColorInterp.alpha


@pytest.mark.parametrize("names", ["y{}", "{}-06-01", "ndvi_{}0101"])
def test_a_band_that_is_dated_like_the_others_is_data(tmp_path: Path, out: Path, names: str):
    values = image(1)
    path = write_raster(tmp_path / "d.tif", values, descriptions=[names.format(year) for year in range(2001, 2005)])
    np.testing.assert_array_equal(read(path), values)
    # Also where it is not among the layers that are used, its zeros mask none of them.
    np.testing.assert_array_equal(read(path, end="2003"), values[:3])
    pw.apply(pw.open_stack(path, end="2003"), "ols", out / "map.tif")
    assert verify(out / "map.tif", path, everything=True).differing == 0
    assert alpha_line(path) == [f"alpha     band 4 of {path} is read as data because it is named or dated"]


def test_a_table_of_as_many_dates_as_bands_dates_alpha_too(tmp_path: Path):
    values = image(2)
    path = write_raster(tmp_path / "d.tif", values)
    table = tmp_path / "dates.txt"
    table.write_text("2001-01-01\n2002-01-01\n2003-01-01\n2004-01-01\n")
    np.testing.assert_array_equal(read(path, times=table), values)
    table.write_text("2001-01-01\n2002-01-01\n2003-01-01\n")
    np.testing.assert_array_equal(read(path, times=table), np.where(values[3] == 0, np.nan, values[:3]))


@pytest.mark.parametrize("last", ["alpha", "", "quality"])
def test_a_band_that_is_not_dated_masks_those_that_are(tmp_path: Path, last: str):
    values = image(3)
    path = write_raster(tmp_path / "d.tif", values, descriptions=["y2001", "y2002", "y2003", last])
    np.testing.assert_array_equal(read(path), np.where(values[3] == 0, np.nan, values[:3]))
    [line] = alpha_line(path)
    assert line.endswith("says which pixels are missing; if it is data, name it (--band 4)")


@pytest.mark.parametrize("band", [4, "4", "nir", "NIR"])
def test_a_band_that_is_named_is_data(tmp_path: Path, out: Path, band: Any):
    folder = scenes(tmp_path / "s", descriptions=["red", "green", "blue", "nir"])
    expected = np.array([image(year)[3] for year in range(2001, 2005)])
    np.testing.assert_array_equal(read(folder, band=band), expected)
    pw.apply(pw.open_stack(folder, band=band), "ols", out / "map.tif")
    assert verify(out / "map.tif", folder, everything=True).differing == 0
    assert alpha_line(folder, "--band", band) == [
        f"alpha     band 4 of {folder / 'x_2001.tif'} and 3 more files is read as data because it is named or dated"
    ]


@pytest.mark.parametrize("formula", ["b4 - b1", "B4 - B1", "nir - red", "ndvi"])
def test_a_band_that_a_formula_names_is_data_and_masks_no_other(tmp_path: Path, formula: str):
    folder = scenes(tmp_path, descriptions=["red", "green", "blue", "nir"])
    red, nir = (np.array([image(year)[i] for year in range(2001, 2005)], dtype=float) for i in (0, 3))
    expected = (nir - red) / (nir + red) if formula == "ndvi" else nir - red
    np.testing.assert_allclose(read(folder, value=formula), expected, rtol=1e-6)


def test_a_mask_that_is_named_masks_by_its_own_rule(tmp_path: Path):
    folder = scenes(tmp_path)
    stored = np.array([image(year) for year in range(2001, 2005)], dtype=float)
    expected = np.where(stored[:, 3] > 200, np.nan, stored[:, 0])
    np.testing.assert_array_equal(
        read(folder, band=1, mask_band=4, mask_drop=tuple(range(201, 256))),
        expected,
    )


def test_true_alpha_masks_the_other_bands_and_verify_agrees(tmp_path: Path, out: Path):
    folder = scenes(tmp_path / "s")
    stored = np.array([image(year) for year in range(2001, 2005)], dtype=float)
    np.testing.assert_array_equal(read(folder, band=1), np.where(stored[:, 3] == 0, np.nan, stored[:, 0]))
    pw.apply(pw.open_stack(folder, band=1), "ols", out / "map.tif")
    assert "alpha_read" not in pw.open_map(out / "map.tif").provenance["input"]
    assert verify(out / "map.tif", folder, everything=True).differing == 0
    report = json.loads(run("plan", folder, "--band", 1, "--json").stdout)
    assert {(one["band"], one["use"]) for one in report["alpha"]} == {(4, "mask")}


def test_alpha_beside_nodata_masks_nothing(tmp_path: Path):
    folder = scenes(tmp_path, nodata=7)
    stored = np.array([image(year)[0] for year in range(2001, 2005)], dtype=float)
    np.testing.assert_array_equal(read(folder, band=1), np.where(stored == 7, np.nan, stored))
    [line] = alpha_line(folder, "--band", 1)
    assert "is not used; if it is data, name it" in line


def test_files_without_alpha_say_nothing_of_it(tmp_path: Path):
    for year in (2001, 2002):
        write_raster(tmp_path / f"x_{year}.tif", image(year)[:3])
    assert alpha_line(tmp_path, "--band", 1) == []


def test_bands_that_are_no_dates_are_named_with_alpha(tmp_path: Path):
    scenes(tmp_path)
    result = run("plan", tmp_path)
    assert result.exit_code == 1
    assert "has 3 bands that are not dates (1, 2, 3)" in result.stdout
    assert "; band 4 is treated as alpha unless it is named" in result.stdout


def test_an_unknown_band_may_be_the_one_that_is_taken_for_alpha(tmp_path: Path):
    folder = scenes(tmp_path)
    with pytest.raises(
        pw.InputError, match=r"unknown band 'nir' \(known: 1, 2, 3\); band 4 is treated as alpha unless"
    ):
        pw.open_stack(folder, band="nir")
    header = read_header(folder / "x_2001.tif")
    assert [band.index for band in header.bands] == [1, 2, 3]
    assert [band.masked for band in header.with_alpha_as_data().bands] == [False] * 4


@pytest.mark.parametrize(("band", "options"), [(1, "-b 1 -mask 4"), (4, "-colorinterp_4 undefined")])
def test_alpha_cannot_be_warped(tmp_path: Path, band: int, options: str):
    folder = scenes(tmp_path / "s")
    transform = rasterio.Affine(30, 0, 500015, 0, -30, 3400015)
    target = write_raster(tmp_path / "target.tif", image(0)[:1], transform=transform)
    with pytest.raises(
        pw.InputError, match=f"treats band 4 as alpha; make a file without it first: gdal_translate {options} IN"
    ):
        pw.open_stack(folder, band=band, align=target)


def test_a_band_that_fits_a_pattern_is_data(tmp_path: Path):
    """The fourth band is one of the variable that is asked for, and masks none of the others."""
    values = image(6)
    names = ["NDVI_2001", "EVI_2001", "EVI_2002", "NDVI_2002"]
    path = write_raster(tmp_path / "d.tif", values, descriptions=names)
    np.testing.assert_array_equal(read(path, band="NDVI*"), values[[0, 3]])
    masked = np.where(values[3] == 0, np.nan, values)
    np.testing.assert_array_equal(read(path, band="EVI*"), masked[[1, 2]])


def masking(source: Path, **options: Any) -> list[str]:
    made = pw.apply(pw.open_stack(source, band=1, **options), "ols")
    return [text for text in made.provenance.get("warnings", ()) if "alpha" in text]


def test_data_that_masks_as_alpha_is_warned_of_and_the_remedy_works(tmp_path: Path):
    folder = scenes(tmp_path, descriptions=["red", "green", "blue", "nir"])
    [warning] = masking(folder)
    first = folder / "x_2001.tif"
    assert warning.startswith(
        f"{first} and 3 more files: band 4 is treated as alpha, so its zeros mask the other bands"
    )
    assert warning in run("plan", folder, "--band", 1).stdout
    assert f"warning: {warning}" in run("apply", "ols", folder, "--band", 1, "-o", tmp_path / "out.tif").stderr
    (tmp_path / "out.tif").unlink()
    command = shlex.split(warning.partition("mark it as such: ")[2])
    for path in folder.glob("*.tif"):
        subprocess.run([Path(sys.executable).parent / "rio", *command[1:-1], path], check=True, capture_output=True)
    assert masking(folder) == []
    np.testing.assert_array_equal(read(folder, band=1), [image(year)[0] for year in range(2001, 2005)])


def test_opacity_is_not_warned_of(tmp_path: Path):
    for year in range(2001, 2005):
        values = image(year)
        values[3] = np.where(values[3] == 0, 0, 255)
        write_raster(tmp_path / f"x_{year}.tif", values)
    assert masking(tmp_path) == []
