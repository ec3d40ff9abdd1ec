"""--crs: the CRS of files that have none, and of no other file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

import pixelwise as pw
from support.command_line import run
from support.rasters import random_series, read_all, write_raster

CRS = ("--crs", "EPSG:32617")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: the same files with a CRS in with/, and without in bare/; masks and rain without."""
    for index, layer in enumerate(random_series((5, 20, 30), seed=2)):
        name = f"ndvi_{2001 + index}.tif"
        write_raster(tmp_path / "with" / name, layer)
        write_raster(tmp_path / "bare" / name, layer, crs=None)
        write_raster(tmp_path / "masks" / f"mask_{2001 + index}.tif", (layer > 0.2).astype("uint8"), crs=None)
        write_raster(tmp_path / "rain" / f"rain_{2001 + index}.tif", layer * 100, crs=None)
    write_raster(tmp_path / "cover.tif", np.ones((20, 30), "uint8"), crs=None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_files_without_a_crs_are_placed(home: Path) -> None:
    masked = ("--mask", "masks", "--mask-keep", "1", "--where", "cover.tif=1", "--extent", "union")
    plan = run("plan", "bare", *CRS, *masked, "--write-recipe", "job.toml")
    assert plan.exit_code == 0
    assert plan.stdout.startswith("grid      30 x 20 pixels (width x height), EPSG:32617\n")
    assert "\ncrs       EPSG:32617 is that of " in plan.stdout
    assert run("apply", "ols", "--recipe", "job.toml", "-o", "bare.tif").exit_code == 0
    map_ = pw.open_map("bare.tif")
    assert map_.grid.crs_name == "EPSG:32617"
    assert map_.provenance["input"]["spec"]["crs"] == "EPSG:32617"
    spec = {"mask": "masks", "mask_keep": 1, "where": "cover.tif=1", "crs": "EPSG:32617"}
    np.testing.assert_array_equal(pw.apply(pw.open_stack("with", **spec), "ols")["slope"], map_["slope"])


def test_verify_and_series_use_the_given_crs(home: Path) -> None:
    assert run("apply", "ols", "bare", *CRS, "-o", "trend.tif").exit_code == 0
    assert "trend.tif: no difference" in run("verify", "trend.tif").stdout
    at = ("series", "--map", "trend.tif", "--pixel", "3,4", "--json")
    assert json.loads(run(*at).stdout)["pixels"][0]["crs"] == "EPSG:32617"
    write_raster(home / "bare" / "ndvi_2003.tif", np.zeros((20, 30), "float32"), crs="EPSG:32618")
    assert run("verify", "trend.tif").exit_code == 1


def test_files_without_a_crs_can_be_aligned(home: Path) -> None:
    given, own = (
        read_all(pw.open_stack(folder, align="EPSG:4326,0.0003", resampling="bilinear", crs="EPSG:32617"))
        for folder in ("bare", "with")
    )
    np.testing.assert_array_equal(given, own)
    assert np.isfinite(given).any()
    result = run("plan", "bare", "--align", "with/ndvi_2001.tif")
    assert (
        "cannot be aligned: it has no CRS; if its CRS is that of with/ndvi_2001.tif, give it with --crs, or "
        in result.stdout
    )


@pytest.mark.parametrize("rain", ["rain", "rain.toml"])
def test_covariates_without_a_crs(home: Path, rain: str) -> None:
    assert run("plan", "rain", "--write-recipe", "rain.toml").exit_code == 0
    words = ("apply", "correlation", "bare", "--with", f"rain={rain}", *CRS, "-o", "out.tif")
    assert run(*words).exit_code == 0
    assert np.nanmin(pw.open_map("out.tif")["rvalue"]) == pytest.approx(1)


def test_covariates_keep_a_crs_of_their_own(home: Path) -> None:
    words = ("apply", "correlation", "bare", "--with", "rain=with", *CRS, "-o", "out.tif")
    assert run(*words).exit_code == 0
    other = ("apply", "correlation", "bare", "--with", "rain=with", "--crs", "EPSG:32618", "-o", "other.tif")
    assert "CRS EPSG:32617 instead of EPSG:32618" in run(*other).stderr


def test_a_file_with_another_crs_is_refused(home: Path) -> None:
    result = run("apply", "ols", "with", "--crs", "EPSG:32618", "-o", "out.tif")
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "error: with/ndvi_2001.tif: has the CRS EPSG:32617, not EPSG:32618: --crs is for files without one; "
        "--align resamples files to another CRS\n"
    )
    assert "\ncrs       EPSG:32617 is that of 0 of 5 files" in run("plan", "with", *CRS).stdout  # the same CRS


def test_a_crs_alone_does_not_place_a_file(home: Path) -> None:
    for year in (2001, 2002):
        with pytest.warns(match="Affine.identity"):
            write_raster(
                home / "pixels" / f"ndvi_{year}.tif", np.zeros((4, 5), "uint8"), crs=None, transform=Affine.identity()
            )
    result = run("plan", "pixels", *CRS)
    assert (
        "pixels/ndvi_2001.tif: has neither a CRS nor coordinates, so that --crs alone does not place it"
        in result.stdout
    )


@pytest.mark.parametrize("crs", ["EPSG:99999", "/etc/passwd", "https://example.org/crs", "EPSG:5773", "", "x" * 50])
def test_what_is_no_crs(home: Path, crs: str) -> None:
    result = run("plan", "bare", f"--crs={crs}")
    assert result.exit_code == 1
    [line] = result.stderr.splitlines()
    assert line.startswith(f"error: crs {crs!r} is n")


def test_arrays_without_a_crs(home: Path) -> None:
    xarray = pytest.importorskip("xarray")
    values = random_series((3, 4, 5), gaps=0)
    coordinates = {
        "time": np.array(["2001-01-01", "2002-01-01", "2003-01-01"], "datetime64[ns]"),
        "y": np.arange(4, 0, -1) * 30.0 + 3_000_000, "x": np.arange(5) * 30.0 + 500_000,
    }  # fmt: skip
    array = xarray.DataArray(values, coordinates, ("time", "y", "x"), name="ndvi")
    array.to_netcdf(home / "cube.nc", engine="netcdf4")
    assert pw.open_stack("cube.nc").grid.crs is None
    stack = pw.open_stack("cube.nc", crs="EPSG:32617")
    assert stack.grid.crs_name == "EPSG:32617"
    np.testing.assert_array_equal(read_all(stack), values)
    assert run("apply", "ols", "cube.nc", *CRS, "-o", "trend.tif").exit_code == 0
    assert "trend.tif: no difference" in run("verify", "trend.tif").stdout


def test_a_bare_code_is_answered_with_the_code_that_was_meant(home: Path) -> None:
    result = run("plan", "bare", "--crs", "4326")
    assert (result.exit_code, "did you mean EPSG:4326?" in result.stderr) == (1, True)
