"""NetCDF and Zarr as input: which array, which dates, which pixels; and what is refused, in which words."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr

import pixelwise as pw
from pixelwise.rasters.conventions import Coordinate, UnevenError, grid_of
from pixelwise.verify import verify
from support.arrays import centres, cube, month_starts, write_netcdf, write_zarr
from support.command_line import run
from support.places import SHARED
from support.rasters import problem_of, problems_of, random_series, read_all, write_raster

YEARS = range(2001, 2007)


@pytest.fixture(scope="module")
def values() -> Any:
    return random_series((12, 10, 14), seed=5)


def annual(values: Any, **options: Any) -> xr.Dataset:
    return cube(values, numbers=2001 + np.arange(len(values)), units="year", **options)


# ------------------------------------------------------------------------------------------- what is read


def test_one_variable_needs_no_name(values: Any, tmp_path: Path) -> None:
    stack = pw.open_stack(write_netcdf(tmp_path / "a.nc", cube(values, attrs={"units": "K"})))
    assert stack.layout.unit == "K"
    assert str(stack).startswith(
        "12 layers, 2001-01-01..2001-12-01, 14 x 10 pixels (width x height), EPSG:32617, float32"
    )
    assert str(stack.axis.step) == "1 month"
    assert stack.layers[3].rule == "time (days since 2001-01-01)"


def test_several_variables_are_listed(values: Any, tmp_path: Path) -> None:
    data = cube(values, attrs={"units": "K", "long_name": "air\ntemperature"}).assign(pr=(["time", "y", "x"], values))
    path = write_netcdf(tmp_path / "a.nc", data)
    assert problem_of(path) == (
        f"{path}: holds 2 variables: choose one with --variable NAME: v (K, air temperature); pr"
    )
    assert problem_of(path, variable="prr") == f"{path}: unknown variable 'prr'; did you mean 'pr'? (known: v, pr)"
    np.testing.assert_array_equal(read_all(pw.open_stack(path, variable="pr")), values)
    done = run("plan", path)
    assert done.exit_code == 1
    assert "choose one with --variable NAME: v (K, air temperature); pr" in done.stdout


def test_groups(values: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.nc"
    cube(values).to_netcdf(path, group="day/high", engine="netcdf4")
    assert problem_of(path).endswith(
        "holds no array of numbers with rows and columns; choose a group with --group day|day/high"
    )
    np.testing.assert_array_equal(read_all(pw.open_stack(path, group="day/high")), values)
    assert problem_of(path, group="night") == f"{path}: has no group 'night'; its groups are day, day/high"
    store = tmp_path / "a.zarr"
    cube(values).to_zarr(store, group="day/high", consolidated=False)
    np.testing.assert_array_equal(read_all(pw.open_stack(store, group="day/high")), values)
    assert problem_of(store, group="night") == f"{store}: has no group 'night'; its groups are day, day/high"


def test_levels(tmp_path: Path) -> None:
    values = random_series((4, 3, 6, 5), seed=1)
    data = cube(values[:, 0])
    data["v"] = (("time", "depth", "y", "x"), values)
    data["depth"] = ("depth", np.array([0.0, 5.0, 10.5]), {"units": "m"})
    path = write_netcdf(tmp_path / "a.nc", data)
    assert problem_of(path) == (
        f"{path}: v: has the dimensions time, depth, y, x: choose one of the 3 values of depth with --select "
        "depth=VALUE (0, 5, 10.5)"
    )
    np.testing.assert_array_equal(read_all(pw.open_stack(path, select="depth=10.5")), values[:, 2])
    np.testing.assert_array_equal(read_all(pw.open_stack(path, select={"depth": 5})), values[:, 1])
    assert problem_of(path, select="depth=7").endswith("v: has no depth 7; expected one of 0, 5, 10.5")
    assert problem_of(path, select="level=0").endswith(
        "v: has no dimension 'level' to select from; its dimensions are time, depth, y, x"
    )
    assert problem_of(path, select=["depth=0", "x=1"]).endswith(
        "'x' is time, rows or columns: choose dates by --start, --end; pixels by --bounds"
    )
    with pytest.raises(pw.ParameterError, match="select 'depth' does not choose a value: expected DIMENSION=VALUE"):
        pw.open_stack(path, select="depth")
    done = run("apply", "ols", path, "--select", "depth=5", "-o", tmp_path / "t.tif")
    assert done.exit_code == 0, done.output


def test_a_dimension_of_one_is_no_choice(tmp_path: Path) -> None:
    values = random_series((4, 1, 6, 5), seed=1)
    data = cube(values[:, 0])
    data["v"] = (("time", "member", "y", "x"), values)
    np.testing.assert_array_equal(read_all(pw.open_stack(write_netcdf(tmp_path / "a.nc", data))), values[:, 0])


def test_what_programs_lose(values: Any, tmp_path: Path) -> None:
    """Units of latitudes and longitudes, and dates that became text or plain numbers."""
    data = annual(values).drop_vars("spatial_ref").rename(y="lat", x="lon")
    data["v"].attrs.clear()
    data["lat"], data["lon"] = ("lat", centres(10, 40.0, -1.0)), ("lon", centres(14, 350.0, 0.5))
    days = [f"2001-{month:02d}-01" for month in range(1, 13)]
    for name, times in (("text", np.array(days)), ("numbers", [int(day.replace("-", "")) for day in days])):
        data["time"] = ("time", times)
        stack = pw.open_stack(write_netcdf(tmp_path / f"{name}.nc", data))
        assert stack.names == tuple(days)
        assert stack.grid.crs is not None
        assert stack.grid.crs.to_epsg() == 4326
    data["lat"] = ("lat", centres(10, 400.0, -1.0))
    assert pw.open_stack(write_netcdf(tmp_path / "metres.nc", data)).grid.crs is None


def test_several_files_along_time(values: Any, tmp_path: Path) -> None:
    whole = cube(values)
    for part in range(3):
        write_netcdf(tmp_path / f"tas_{part}.nc", whole.isel(time=slice(4 * part, 4 * part + 4)))
    stack = pw.open_stack(str(tmp_path / "tas_*.nc"))
    np.testing.assert_array_equal(read_all(stack), values)
    shutil.copy(tmp_path / "tas_1.nc", tmp_path / "tas_9.nc")
    first = problems_of(str(tmp_path / "tas_*.nc"))[0]
    assert "tas_1.nc" in first
    assert "2001-05-01" in first


def test_stores_are_found_by_folders_and_patterns(values: Any, tmp_path: Path) -> None:
    whole = cube(values)
    for part in range(2):
        write_zarr(tmp_path / f"part{part}.zarr", whole.isel(time=slice(6 * part, 6 * part + 6)))
    np.testing.assert_array_equal(read_all(pw.open_stack(str(tmp_path / "*.zarr"))), values)
    np.testing.assert_array_equal(read_all(pw.open_stack(tmp_path)), values)


def test_what_pixelwise_wrote_beside_its_input_is_left_out(
    values: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for part in range(2):
        write_zarr(tmp_path / f"part{part}.zarr", cube(values).isel(time=slice(6 * part, 6 * part + 6)))
    stack = pw.open_stack(tmp_path)
    pw.apply(stack, "ols", tmp_path / "trend.zarr")
    pw.write_layers(stack.composite("max", "season"), tmp_path / "seasons.zarr")
    caplog.clear()
    again = pw.open_stack(tmp_path)
    np.testing.assert_array_equal(read_all(again), values)
    assert f"{tmp_path / 'seasons.zarr'}, {tmp_path / 'trend.zarr'} left out: pixelwise wrote them" in caplog.text


def test_layers_that_pixelwise_wrote_are_read_back(values: Any, tmp_path: Path) -> None:
    for name, composite in (
        ("years", pw.open_stack(write_netcdf(tmp_path / "y.nc", annual(values))).composite("max", "year")),
        ("seasons", pw.open_stack(write_netcdf(tmp_path / "s.nc", cube(values))).composite("mean", "season")),
    ):
        pw.write_layers(composite, tmp_path / f"{name}.zarr", dtype="float64")
        back = pw.open_stack(tmp_path / f"{name}.zarr")
        assert back.names == composite.names
        assert back.axis.precision == composite.axis.precision
        np.testing.assert_array_equal(back.axis.years, composite.axis.years)
        np.testing.assert_array_equal(read_all(back), composite.read(composite.grid.block))


def test_single_images_are_dated_by_their_time_or_name(values: Any, tmp_path: Path) -> None:
    for step in range(3):
        image = cube(values).isel(time=step)
        write_netcdf(tmp_path / f"x{step}.nc", image)
        write_netcdf(tmp_path / f"v_{2001 + step}.nc", image.drop_vars("time"))
    by_time = pw.open_stack(str(tmp_path / "x?.nc"))
    assert by_time.names == ("2001-01-01", "2001-02-01", "2001-03-01")
    by_name = pw.open_stack(str(tmp_path / "v_*.nc"))
    assert by_name.names == ("2001", "2002", "2003")
    np.testing.assert_array_equal(read_all(by_name), values[:3])


def test_a_table_of_dates(values: Any, tmp_path: Path) -> None:
    path = write_netcdf(tmp_path / "a.nc", cube(values[:3]).drop_vars("time"))
    assert problem_of(path) == (
        f"{path}: v has 3 time steps, but no coordinate says when: give a table with one date per line (--times FILE)"
    )
    table = tmp_path / "dates.txt"
    table.write_text("1999\n2003\n2001\n")
    stack = pw.open_stack(path, times=table)
    assert stack.names == ("1999", "2001", "2003")
    np.testing.assert_array_equal(read_all(stack), values[[0, 2, 1]])


def test_months_and_years_by_bounds(values: Any, tmp_path: Path) -> None:
    data = cube(values)
    starts = month_starts(13)
    data["time"].attrs["bounds"] = "edges"
    data["edges"] = (("time", "side"), np.column_stack([starts[:-1], starts[1:]]))
    stack = pw.open_stack(write_netcdf(tmp_path / "a.nc", data), period="end")
    assert stack.axis.precision == "month"
    assert stack.names[1] == "2001-02-28"
    yearly = cube(values[:2], numbers=[180, 545])
    yearly["time"].attrs["bounds"] = "edges"
    yearly["edges"] = (("time", "side"), np.array([[0, 365], [365, 730]]))
    assert pw.open_stack(write_netcdf(tmp_path / "b.nc", yearly)).axis.years.tolist() == [2001.0, 2002.0]


def test_missing_numbers(tmp_path: Path) -> None:
    stored = np.arange(24, dtype="i2").reshape(2, 3, 4)
    attrs = {"_FillValue": np.int16(3), "missing_value": np.array([4, 5], "i2"), "valid_range": np.array([1, 20], "i2")}
    found = read_all(pw.open_stack(write_netcdf(tmp_path / "a.nc", cube(stored, attrs=attrs))))
    expected = stored.astype("f4")
    expected[np.isin(stored, [0, 3, 4, 5, 21, 22, 23])] = np.nan
    np.testing.assert_array_equal(found, expected)
    packed = cube(stored, attrs={"scale_factor": 0.1, "valid_min": np.int16(2), "valid_max": np.int16(20)})
    found = read_all(pw.open_stack(write_netcdf(tmp_path / "b.nc", packed)))
    np.testing.assert_array_equal(np.isnan(found), (stored < 2) | (stored > 20))
    own = read_all(pw.open_stack(tmp_path / "a.nc", nodata=7, valid_range=(6, 30)))
    np.testing.assert_array_equal(np.isnan(own), (stored < 6) | (stored > 20) | (stored == 7))


def test_what_the_library_leaves_where_nothing_was_written(tmp_path: Path) -> None:
    values = np.ones((2, 3, 4), "f4")
    values[0, 1] = np.float32(9.969209968386869e36)
    found = read_all(pw.open_stack(write_netcdf(tmp_path / "a.nc", cube(values))))
    assert np.isnan(found[0, 1]).all()
    assert np.count_nonzero(np.isnan(found)) == 4


# ---------------------------------------------------------------------- everything else works on it as well


def test_formula_and_mask_from_variables(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    red, nir = random.integers(1, 100, (2, 4, 6, 5)).astype("u2")
    classes = random.integers(0, 8, (4, 6, 5)).astype("u1")
    dims = ("time", "y", "x")
    data = cube(red, name="red").assign(nir=(dims, nir), scl=(dims, classes))
    options: dict[str, Any] = {"value": "ndvi", "mask_band": "scl", "mask_keep": (4, 5)}
    found = read_all(pw.open_stack(write_netcdf(tmp_path / "a.nc", data), **options))
    wide = nir.astype(float), red.astype(float)
    expected = np.where(np.isin(classes, (4, 5)), (wide[0] - wide[1]) / (wide[0] + wide[1]), np.nan)
    np.testing.assert_array_equal(found, expected)
    stored = write_zarr(tmp_path / "a.zarr", data, chunks=(2, 4, 4))
    np.testing.assert_array_equal(read_all(pw.open_stack(stored, **options)), expected)


def test_masks_in_rasters_and_covariates_of_another_kind(values: Any, tmp_path: Path) -> None:
    path = write_netcdf(tmp_path / "a.nc", annual(values[:6]))
    for year in YEARS:
        write_raster(tmp_path / "mask" / f"m_{year}.tif", np.full((10, 14), year % 2, "u1"))
        write_raster(tmp_path / "rain" / f"rain_{year}.tif", values[year - 2001 + 6] + 1)
    stack = pw.open_stack(path, mask=f"{tmp_path}/mask", mask_keep=1)
    assert np.isnan(read_all(stack)[1]).all()
    np.testing.assert_array_equal(read_all(stack)[::2], values[:6:2])
    rain = pw.open_stack(tmp_path / "rain")
    both = pw.apply(pw.open_stack(path), "correlation", inputs={"rain": rain})
    assert both["n"].max() == 6


def test_masks_in_a_file_of_their_own(values: Any, tmp_path: Path) -> None:
    clouds = (np.random.default_rng(1).random((12, 10, 14)) < 0.3).astype("u1")
    path = write_netcdf(tmp_path / "a.nc", cube(values))
    # Of the same days, in another order and with a time of day.
    mask = cube(clouds, name="cloud", numbers=month_starts(12) + 0.5).isel(time=slice(None, None, -1))
    masked = pw.open_stack(path, mask=write_zarr(tmp_path / "m.zarr", mask), mask_drop=1)
    np.testing.assert_array_equal(read_all(masked), np.where(clouds == 1, np.nan, values))
    few = write_netcdf(tmp_path / "few.nc", mask.isel(time=slice(1, None)))
    assert problem_of(path, mask=few, mask_drop=1).endswith(
        "a.nc: none of 11 masks has its date 2001-12-01; leave the image out, or add its mask"
    )
    both = write_netcdf(tmp_path / "both.nc", mask.assign(other=mask["cloud"]))
    assert problem_of(path, mask=both, mask_drop=1).startswith(f"mask: {both}: holds 2 variables")
    write_raster(tmp_path / "mask_20010101.tif", clouds[0])
    (tmp_path / "list.txt").write_text("m.zarr\nmask_20010101.tif\n")
    assert "expected one kind of files" in problem_of(path, mask=f"@{tmp_path}/list.txt", mask_drop=1)


def test_variables_of_different_times(values: Any, tmp_path: Path) -> None:
    data = cube(values, name="red").assign(nir=(("later", "y", "x"), values))
    data["later"] = ("later", month_starts(12) + 3, {"units": "days since 2001-01-01"})
    path = write_netcdf(tmp_path / "a.nc", data)
    assert problem_of(path, value="nir - red") == (
        f"{path}: nir has the time dimension 'later' and red 'time': expected the same"
    )


def test_plan_says_which_array_is_read(tmp_path: Path) -> None:
    values = random_series((4, 3, 6, 5), seed=1)
    data = cube(values[:, 0], calendar="360_day")
    data["v"] = (("time", "depth", "y", "x"), values)
    data["depth"] = ("depth", np.array([0.0, 5.0, 10.5]), {"units": "m"})
    data.to_netcdf(tmp_path / "a.nc", group="sea", engine="netcdf4")
    done = run("plan", tmp_path / "a.nc", "--group", "sea", "--select", "depth=5")
    assert "\nvariable  v; depth 5; group sea; calendar 360_day\n" in done.stdout
    assert "(360_day)" in str(pw.open_stack(tmp_path / "a.nc", group="sea", select="depth=5"))


def test_composites_regions_and_recipes(values: Any, tmp_path: Path) -> None:
    months = random_series((48, 10, 14), seed=2)
    path = write_zarr(tmp_path / "a.zarr", cube(months), chunks=(7, 5, 5))
    for step, layer in enumerate(months):
        write_raster(tmp_path / "tif" / f"v_{2001 + step // 12}{step % 12 + 1:02d}01.tif", layer, nodata=np.nan)
    files, arrays = pw.open_stack(tmp_path / "tif"), pw.open_stack(path)
    for how in ("max", "median"):
        one, other = (stack.composite(how, "year", min_count=4) for stack in (files, arrays))
        np.testing.assert_array_equal(one.read(one.grid.block), other.read(other.grid.block))
    bounds = (500060, 3399800, 500300, 3399950)
    region = {"region": bounds}
    np.testing.assert_array_equal(
        pw.apply(pw.open_stack(path, **region), "ols").status,
        pw.apply(pw.open_stack(tmp_path / "tif", **region), "ols").status,
    )
    recipe = tmp_path / "r.toml"
    done = run("plan", path, "--composite", "max", "--write-recipe", recipe)
    assert done.exit_code == 0, done.output
    done = run("apply", "ols", "--recipe", recipe, "-o", tmp_path / "t.tif")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("write", [write_netcdf, write_zarr])
def test_same_bits_as_from_rasters_whatever_the_executor(write: Any, values: Any, tmp_path: Path) -> None:
    path = write(tmp_path / ("a.nc" if write is write_netcdf else "a.zarr"), annual(values))
    for step, layer in enumerate(values):
        write_raster(tmp_path / "tif" / f"v_{2001 + step}.tif", layer, nodata=np.nan)
    expected = pw.apply(pw.open_stack(tmp_path / "tif"), "ols")
    for executor in ("inline", "threads", "processes"):
        found = pw.apply(pw.open_stack(path), "ols", executor=executor, jobs=2)
        for name in expected.names:
            assert found[name].tobytes() == expected[name].tobytes(), name


# ------------------------------------------------------------------------------------------ bad input


def test_rasters_and_arrays_in_one_stack(values: Any, tmp_path: Path) -> None:
    write_netcdf(tmp_path / "a.nc", cube(values))
    write_raster(tmp_path / "b_2001.tif", values[0])
    assert "holds arrays and" in problem_of([tmp_path / "a.nc", tmp_path / "b_2001.tif"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"band": 1}, "band 1 is for rasters, but .*a.nc holds arrays: name one with --variable"),
        ({"product": "s2-l2a", "value": "ndvi"}, "product s2-l2a is for rasters, but"),
        ({"variable": "v", "value": "v + 1"}, "mutually exclusive: a formula names its variables"),
    ],
)
def test_options_of_rasters(options: dict[str, Any], said: str, values: Any, tmp_path: Path) -> None:
    with pytest.raises(pw.ParameterError, match=said):
        pw.open_stack(write_netcdf(tmp_path / "a.nc", cube(values)), **options)


def test_options_of_arrays(values: Any, tmp_path: Path) -> None:
    paths = [write_raster(tmp_path / f"b_{year}.tif", values[0]) for year in (2001, 2002)]
    with pytest.raises(
        pw.ParameterError, match=r"variable is for NetCDF, HDF5 and Zarr, but .*b_2001\.tif is a raster"
    ):
        pw.open_stack(paths, variable="v")


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ([0, 31, 59, 31], "v: .*"),
        ([0, 59, 31, 90], "time goes from 2001-03-01 to 2001-02-01 at step 3: expected dates that only ascend"),
        ([0, 31, 31, 90], "time has the date 2001-02-01 2 times (steps 2, 3): expected each once"),
        ([0.0, 31.0, np.nan, 90.0], "time: 1 of its 4 values are missing; give the dates with --times FILE"),
    ],
)
def test_times_that_are_no_axis(numbers: list[float], said: str, values: Any, tmp_path: Path) -> None:
    problem = problem_of(write_netcdf(tmp_path / "a.nc", cube(values[:4], numbers=numbers)))
    if said != "v: .*":
        assert said in problem


def test_mixed_calendars(values: Any, tmp_path: Path) -> None:
    write_netcdf(tmp_path / "a.nc", cube(values[:6]))
    write_netcdf(tmp_path / "b.nc", cube(values[6:], numbers=1000 + np.arange(6), calendar="noleap"))
    assert "b.nc has the calendar noleap: expected one calendar for all" in problem_of(str(tmp_path / "*.nc"))


def test_stores_that_are_none(values: Any, tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr", cube(values))
    (path / "zarr.json").unlink()
    assert problem_of(path) == (
        f"{path}: is a folder without Zarr metadata (expected zarr.json or .zgroup): copy it again, hidden files too"
    )
    (tmp_path / "b.nc").write_bytes(b"no NetCDF")
    assert problem_of(tmp_path / "b.nc").startswith(f"{tmp_path / 'b.nc'}: cannot be opened as NetCDF (")
    (tmp_path / "c.nc").touch()
    assert problem_of(tmp_path / "c.nc").endswith("c.nc: is empty (0 bytes); copy or export it again")
    assert problem_of(tmp_path / "d.zarr").endswith("d.zarr: no such file or folder")


def test_dimensions_that_cannot_be_told(tmp_path: Path) -> None:
    data = xr.Dataset({"v": (("time", "a", "b", "c"), np.zeros((2, 3, 4, 5)))})
    assert problem_of(write_netcdf(tmp_path / "a.nc", data)) == (
        f"{tmp_path / 'a.nc'}: v: has the dimensions time, a, b, c; which of them are rows and columns is unknown: "
        "expected y and x, lat and lon, or coordinates with units such as degrees_north"
    )


def test_rows_and_columns_without_coordinates(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = xr.Dataset(
        {"v": (("time", "i", "j"), np.zeros((2, 3, 4)))}, {"time": ("time", [2001, 2002], {"units": "year"})}
    )
    with caplog.at_level(logging.WARNING):
        stack = pw.open_stack(write_netcdf(tmp_path / "a.nc", data))
    assert (stack.grid.height, stack.grid.width, stack.grid.crs) == (3, 4, None)
    assert "its dimensions i and j are treated as rows and columns" in caplog.text


def test_text_and_climatologies(tmp_path: Path) -> None:
    data = cube(np.zeros((12, 3, 4)))
    data["time"].attrs["climatology"] = "edges"
    data["edges"] = (("time", "side"), np.zeros((12, 2)))
    assert "its times are climatological (edges)" in problem_of(write_netcdf(tmp_path / "a.nc", data))
    lines = xr.Dataset({"v": (("time",), np.zeros(3))})
    assert problem_of(write_netcdf(tmp_path / "b.nc", lines)).endswith(
        "b.nc: holds no array of numbers with rows and columns"
    )


def test_scale_of_zero(tmp_path: Path) -> None:
    path = write_netcdf(tmp_path / "a.nc", cube(np.ones((2, 3, 4), "i2"), attrs={"scale_factor": 0.0}))
    assert "scale_factor 0 and add_offset 0 yield no usable numbers" in problem_of(path)
    assert read_all(pw.open_stack(path, scale=2.0)).max() == 2.0


def test_grid_mapping_that_is_not_there(values: Any, tmp_path: Path) -> None:
    path = write_netcdf(tmp_path / "a.nc", cube(values, attrs={"grid_mapping": "utm"}))
    assert problem_of(path).endswith("v: names the grid mapping 'utm', which the file does not have")


def test_longitudes_from_0_to_360_stay(values: Any, tmp_path: Path) -> None:
    data = cube(values, projected=False)
    data["x"] = ("x", centres(14, 180.0, 2.0), {"units": "degrees_east"})
    stack = pw.open_stack(write_netcdf(tmp_path / "a.nc", data))
    assert stack.grid.crs is not None
    assert stack.grid.crs.to_epsg() == 4326
    assert stack.grid.bounds == (180.0, 40.0, 208.0, 50.0)


# -------------------------------------------------------------------------------------------- real files


@pytest.mark.skipif(not (SHARED / "netcdf_edge_cases").is_dir(), reason="shared data netcdf_edge_cases is absent")
def test_odd_real_files() -> None:
    folder = SHARED / "netcdf_edge_cases"
    assert "1 date (1999-12-31) in 1 file" in problem_of(folder / "3B42_Daily.19991231.7.test.nc")
    assert "choose one with --variable NAME: pr (mm/m, monthly_sum_pr); tas" in problem_of(folder / "bcsd_obs_1999.nc")
    rain = pw.open_stack(folder / "bcsd_obs_1999.nc", variable="pr")
    assert str(rain.axis.step) == "1 month"
    assert "1 date" in problem_of(folder / "reduced.nc", variable="ice")
    tos = pw.open_stack(folder / "tos_O1_2001-2002.nc")
    assert (tos.axis.calendar, tos.axis.precision, str(tos.axis.step)) == ("360_day", "month", "1 month")
    with xr.open_dataset(folder / "tos_O1_2001-2002.nc", decode_times=False) as data:
        np.testing.assert_array_equal(read_all(tos), data["tos"].values[:, ::-1])


@pytest.mark.skipif(not (SHARED / "ersst_v5_2010_2020").is_dir(), reason="shared data ersst_v5_2010_2020 is absent")
def test_sea_surface_temperature_against_polyfit() -> None:
    path = SHARED / "ersst_v5_2010_2020" / "sst.mnmean.nc"
    found = pw.apply(pw.open_stack(path), "ols", dtype="float64")
    with xr.open_dataset(path) as data:
        days = data["time"].values.astype("datetime64[D]").astype(float)
        sst = data["sst"].astype("f8").assign_coords(time=1970 + days / 365.25)
        expected = sst.polyfit("time", 1)["polyfit_coefficients"].sel(degree=1).values
    whole = found["n"] == 128
    np.testing.assert_allclose(found["slope"][whole], expected[whole], atol=1e-10)
    assert found.bands[0].unit == "degC/year"


@pytest.mark.skipif(shutil.which("cdo") is None, reason="cdo is not installed")
@pytest.mark.skipif(not (SHARED / "ersst_v5_2010_2020").is_dir(), reason="shared data ersst_v5_2010_2020 is absent")
def test_levels_against_cdo(tmp_path: Path) -> None:
    with xr.open_dataset(SHARED / "ersst_v5_2010_2020" / "sst.mnmean.nc") as data:
        sst = data["sst"].drop_attrs(deep=False).drop_encoding()
        levels = xr.concat([sst, 2 * sst + 1], xr.IndexVariable("lev", [0.0, 10.0]))
        levels.transpose("time", "lev", "lat", "lon").to_dataset().to_netcdf(tmp_path / "levels.nc", engine="netcdf4")
    # Unless told otherwise, cdo takes months for equally long.
    command = ["cdo", "-s", "trend,equal=false", "levels.nc", "intercept.nc", "slope.nc"]
    subprocess.run(command, cwd=tmp_path, check=True)
    with xr.open_dataset(tmp_path / "slope.nc") as slopes:
        for level, expected in zip((0, 10), slopes["sst"].values[0], strict=True):
            found = pw.apply(pw.open_stack(tmp_path / "levels.nc", select={"lev": level}), "ols")
            whole = found["n"] == 128
            assert whole.sum() > 10_000
            # Its unit of time is the first step, January of 31 days.
            np.testing.assert_allclose(found["slope"][whole], expected[whole] * 365.25 / 31, rtol=1e-5, atol=2e-6)


@pytest.mark.skipif(
    not (SHARED / "iris_north_america_annual").is_dir(), reason="shared data iris_north_america_annual is absent"
)
def test_a_model_year_of_360_days_against_numpy() -> None:
    path = SHARED / "iris_north_america_annual" / "E1_north_america.nc"
    stack = pw.open_stack(path)
    assert stack.axis.calendar == "360_day"
    with xr.open_dataset(path, decode_times=False) as data:
        years = data["time"].values / 24 / 360
        air = data["air_temperature"].values.astype(float).reshape(240, -1)
    expected = np.polyfit(years - years.mean(), air, 1)[0].reshape(37, 49)[::-1]
    found = pw.apply(stack, "ols", dtype="float64")
    np.testing.assert_allclose(found["slope"], expected, atol=1e-13)


@pytest.mark.skipif(not (SHARED / "nrt_s2_romania").is_dir(), reason="shared data nrt_s2_romania is absent")
def test_scenes_of_sentinel_2_from_one_file() -> None:
    path = SHARED / "nrt_s2_romania" / "sentinel2_cube_subset_romania_20m.nc"
    scenes = pw.open_stack(path, value="(B8A - B4) / (B8A + B4)", mask_band="SCL", mask_keep=(4, 5, 7))
    with xr.open_dataset(path, mask_and_scale=False) as data:
        red, nir = (data[name].values.astype(float) for name in ("B4", "B8A"))
        with np.errstate(all="ignore"):
            expected = (nir - red) / (nir + red)
        expected[~np.isin(data["SCL"].values, (4, 5, 7)) | (red == 0) | (nir == 0)] = np.nan
    np.testing.assert_array_equal(read_all(scenes), expected)
    medians = scenes.composite("median", "year")
    assert medians.names == ("2016", "2017", "2018", "2019", "2020")
    year = scenes.axis.calendar_years == 2018
    found = medians.read(medians.grid.block)[2]
    np.testing.assert_allclose(found, np.nanmedian(expected[year], axis=0), rtol=0, atol=1e-12)
    trend = pw.apply(medians, "trend")
    assert (trend.status == 0).all()


# ------------------------------------------------------------------------- traits that a review found


def test_packed_coordinates(values: Any, tmp_path: Path) -> None:
    data = annual(values, projected=False)
    packed = {"scale_factor": 0.5, "add_offset": 40.0, "units": "degrees_north"}
    data["y"] = ("y", np.arange(20, 0, -2).astype("i2"), packed)
    data["time"] = ("time", np.arange(12, dtype="i2"), {"units": "days since 2000-01-01", "scale_factor": 365.25})
    path = write_netcdf(tmp_path / "a.nc", data)
    stack = pw.open_stack(path)
    assert stack.grid.bounds[1::2] == (40.5, 50.5)
    assert stack.names[:2] == ("2000-01-01T00:00:00", "2000-12-31T06:00:00")
    pw.apply(stack, "ols", tmp_path / "t.tif")
    assert not verify(tmp_path / "t.tif").differences


def test_scanning_angles_of_a_satellite(values: Any, tmp_path: Path) -> None:
    data = annual(values).drop_vars("spatial_ref")
    data["v"].attrs["grid_mapping"] = "goes"
    data["goes"] = ((), 0, {
        "grid_mapping_name": "geostationary", "perspective_point_height": 35786023.0, "semi_major_axis": 6378137.0,
        "semi_minor_axis": 6356752.31414, "longitude_of_projection_origin": -75.0, "sweep_angle_axis": "x",
    })  # fmt: skip
    step = {"scale_factor": 5.6e-05, "units": "rad"}
    data["y"] = ("y", np.arange(10, 0, -1).astype("i2"), {**step, "standard_name": "projection_y_coordinate"})
    data["x"] = ("x", np.arange(14).astype("i2"), {**step, "standard_name": "projection_x_coordinate"})
    stack = pw.open_stack(write_netcdf(tmp_path / "a.nc", data))
    assert stack.grid.transform.a == pytest.approx(5.6e-05 * 35786023)
    pw.apply(stack, "ols", tmp_path / "t.tif")
    assert not verify(tmp_path / "t.tif").differences


@pytest.mark.parametrize("kind", ["i2", "u2", "i4", "u4"])
def test_integers_that_nobody_wrote(kind: str, tmp_path: Path) -> None:
    data = cube(np.ones((2, 3, 4), kind))
    path = write_netcdf(tmp_path / "a.nc", data)
    with netCDF4.Dataset(path, "a") as file:
        file["v"].set_auto_mask(False)
        file["v"][0, 1] = netCDF4.default_fillvals[kind]
    found = read_all(pw.open_stack(path))
    assert np.isnan(found[0, 1]).all()
    assert np.count_nonzero(np.isnan(found)) == 4


def test_limits_of_unsigned_bytes(tmp_path: Path) -> None:
    """As the NetCDF users' guide writes them: valid_range = 0b, -2b."""
    meant = np.array([0, 1, 127, 128, 254, 255], dtype="u1").reshape(3, 1, 2)
    attrs = {"_Unsigned": "true", "valid_range": np.array([0, -2], "i1")}
    data = cube(np.broadcast_to(meant, (3, 2, 2)).copy().view("i1"), attrs=attrs)
    path = write_netcdf(tmp_path / "a.nc", data)
    np.testing.assert_array_equal(np.isnan(read_all(pw.open_stack(path))[:, :1]), meant == 255)
    pw.apply(pw.open_stack(path), "ols", tmp_path / "t.tif")
    assert not verify(tmp_path / "t.tif").differences


@pytest.mark.parametrize("named", [{}, {"y": "j", "x": "i"}])
def test_numbers_of_rows_beside_latitudes_of_each_pixel(values: Any, named: dict[str, str], tmp_path: Path) -> None:
    """As in files of ocean models."""
    data = annual(values, projected=False)
    data["y"], data["x"] = ("y", np.arange(10)), ("x", np.arange(14))
    north, east = np.mgrid[0:10, 0:14] * 1.0
    data["lat"] = (("y", "x"), north + 0.1 * east, {"units": "degrees_north"})
    data["lon"] = (("y", "x"), east, {"units": "degrees_east"})
    data["v"].attrs["coordinates"] = "lat lon"
    stack = pw.open_stack(write_netcdf(tmp_path / "a.nc", data.rename(named)))
    assert stack.grid.places is not None
    np.testing.assert_array_equal(stack.grid.places.y, north + 0.1 * east)
    np.testing.assert_array_equal(read_all(stack), values)


def test_latitudes_are_preferred_to_numbers_of_rows(values: Any, tmp_path: Path) -> None:
    data = annual(values, projected=False).rename(y="j", x="i")
    data["row"] = ("j", np.arange(10) * 7.0)
    data["latitude"] = ("j", centres(10, 50.0, -1.0), {"units": "degrees_north"})
    data["longitude"] = ("i", centres(14, 0.0, 1.0), {"units": "degrees_east"})
    data = data.drop_vars(["j", "i"])
    data["v"].attrs["coordinates"] = "row latitude longitude"
    assert pw.open_stack(write_netcdf(tmp_path / "a.nc", data)).grid.bounds == (0.0, 40.0, 14.0, 50.0)


def test_a_single_time_with_bounds(values: Any, tmp_path: Path) -> None:
    data = cube(values[:3], numbers=[15.5, 45.0, 74.5])
    data["time"].attrs["bounds"] = "edges"
    data["edges"] = (("time", "side"), np.array([[0, 31], [31, 59], [59, 90]]))
    for step in range(3):
        write_netcdf(tmp_path / f"x{step}.nc", data.isel(time=step))
    stack = pw.open_stack(str(tmp_path / "x?.nc"))
    assert (stack.axis.precision, stack.names) == ("month", ("2001-01-01", "2001-02-01", "2001-03-01"))


def test_different_units_are_said(values: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_netcdf(tmp_path / "a.nc", cube(values[:6], attrs={"units": "K"}))
    write_netcdf(tmp_path / "b.nc", cube(values[6:], numbers=1000 + np.arange(6), attrs={"units": "degC"}))
    stack = pw.open_stack(str(tmp_path / "?.nc"))
    said = f"values have different units, which are not converted: K ({tmp_path}/a.nc), degC ({tmp_path}/b.nc)"
    assert said in caplog.text
    assert said in pw.apply(stack, "ols").provenance["warnings"]


@pytest.mark.parametrize(
    ("levels", "wanted", "said"),
    [
        ([np.nan, 10.0, 20.0], "30", "has no depth 30; expected one of nan, 10, 20"),
        ([np.nan, 10.0, 20.0], "nan", "has no depth nan"),
        ([0.0, 10.0, 20.0], "inf", "has no depth inf"),
        ([5.0, 5.0, 20.0], "5", "has 2 values of depth that are 5: expected one"),
        (["B4", "B8", "SCL"], "B2", "has no depth B2; expected one of B4, B8, SCL"),
    ],
)
def test_values_that_cannot_be_selected(levels: Any, wanted: str, said: str, tmp_path: Path) -> None:
    values = random_series((4, 3, 6, 5), seed=1)
    data = cube(values[:, 0])
    data["v"] = (("time", "depth", "y", "x"), values)
    data["depth"] = ("depth", np.array(levels))
    path = write_netcdf(tmp_path / "a.nc", data)
    assert said in problem_of(path, select={"depth": wanted})
    last = "SCL" if "SCL" in levels else 20
    np.testing.assert_array_equal(read_all(pw.open_stack(path, select={"depth": last})), values[:, 2])


def test_coordinates_of_the_group_around(values: Any, tmp_path: Path) -> None:
    data = cube(values)
    for path, options in ((tmp_path / "a.nc", {"engine": "netcdf4"}), (tmp_path / "a.zarr", {"consolidated": False})):
        write = data.drop_vars("v").to_netcdf if path.suffix == ".nc" else data.drop_vars("v").to_zarr
        write(path, **options)
        inner = data[["v"]].drop_vars(["time", "y", "x"])
        (inner.to_netcdf if path.suffix == ".nc" else inner.to_zarr)(path, group="data", mode="a", **options)
        stack = pw.open_stack(path, group="data")
        assert stack.grid.crs is not None
        np.testing.assert_array_equal(read_all(stack), values)


def test_half_precision(values: Any, tmp_path: Path) -> None:
    stack = pw.open_stack(write_zarr(tmp_path / "a.zarr", cube(values.astype("f2"))))
    np.testing.assert_array_equal(read_all(stack), values.astype("f2").astype("f4"))


def test_chunks_that_are_larger_than_the_array_count_as_a_whole(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr", cube(np.ones((3, 6, 6), "f4")), chunks=(1, 2000, 2000))
    stack = pw.open_stack(path)
    assert stack.layout.block_bytes == 16_000_000
    with pytest.raises((pw.ParameterError, pw.InputError), match="memory"):
        pw.apply(stack, "ols", memory="20MB")


def test_a_store_that_would_run_code(values: Any, tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr", cube(values), zarr_format=2)
    for name in ("time/.zarray", ".zmetadata"):
        text = (path / name).read_text()
        (path / name).write_text(text.replace('"filters": null', '"filters": [{"id": "pickle", "protocol": 5}]', 1))
    assert "names the codec pickle, which would run code of the store" in problem_of(path)


# ------------------------------------------------------------------------- pixels that no transform places


def uneven(values: Any) -> xr.Dataset:
    """Return latitudes of rows of equal area, south first."""
    data = annual(values, projected=False)
    data["y"] = ("y", np.degrees(np.arcsin(np.linspace(-0.9, 0.9, 10))), {"units": "degrees_north"})
    return data


def test_an_uneven_grid_is_computed_but_is_no_geotiff(values: Any, tmp_path: Path) -> None:
    path = write_netcdf(tmp_path / "a.nc", uneven(values))
    stack = pw.open_stack(path)
    places = stack.grid.places
    assert places is not None
    assert (np.diff(places.y) < 0).all()
    np.testing.assert_array_equal(read_all(stack), values[:, ::-1])
    with pytest.raises(
        pw.OutputError,
        match=r"t\.tif: a GeoTIFF has evenly spaced pixels, but its latitudes 'y' are not evenly spaced \(a Gaussian "
        r"grid\?\): steps from 11\.\d+ to 19\.\d+; write t\.zarr or t\.nc, which keep the coordinates",
    ):
        pw.apply(stack, "ols", tmp_path / "t.tif")
    found = pw.apply(stack, "ols").to_xarray()
    np.testing.assert_array_equal(found["y"], places.y)
    assert found["y"].attrs["units"] == "degrees_north"
    done = run("plan", path)
    assert done.exit_code == 0
    pw.apply(stack, "ols", tmp_path / "t.zarr")
    again = pw.open_map(tmp_path / "t.zarr")
    assert again.grid == stack.grid
    np.testing.assert_array_equal(again.to_xarray()["y"], places.y)
    for executor in ("threads", "processes"):  # places travel
        assert pw.apply(stack, "ols", executor=executor, jobs=2)["n"].max() == 12


def test_gaussian_latitudes_of_a_coarse_model_are_even_enough() -> None:
    """They are off by less than a hundredth of a pixel, the tolerance for all grids; those of finer models are not."""
    for count, even in ((32, True), (64, False)):
        latitudes = np.degrees(np.arcsin(np.polynomial.legendre.leggauss(count)[0]))
        y = Coordinate("y", count, latitudes, {"units": "degrees_north"})
        x = Coordinate("x", 2, np.array([0.0, 1.0]), {"units": "degrees_east"})
        if even:
            grid_of(y, x)
        else:
            with pytest.raises(UnevenError):
                grid_of(y, x)


def test_areas_of_an_uneven_grid_are_refused(values: Any, tmp_path: Path) -> None:
    path = write_netcdf(tmp_path / "a.nc", uneven(values))
    assert "cannot be found: the pixels form no regular grid, as its latitudes" in problem_of(path, bounds=(0, 0, 5, 5))
    assert problem_of(path, region=(0, 0, 5, 5)).startswith("region: the pixels form no regular grid")


def test_several_files_of_an_uneven_grid(values: Any, tmp_path: Path) -> None:
    whole = uneven(values)
    for part in range(2):
        write_netcdf(tmp_path / f"a{part}.nc", whole.isel(time=slice(6 * part, 6 * part + 6)))
    stack = pw.open_stack(str(tmp_path / "a?.nc"))
    np.testing.assert_array_equal(read_all(stack), values[:, ::-1])
    other = whole.isel(time=slice(6, 12))
    other["y"] = ("y", other["y"].values + 0.1, other["y"].attrs)
    (tmp_path / "a1.nc").unlink()
    write_netcdf(tmp_path / "a1.nc", other)
    assert "pixels have other coordinates" in "\n".join(problems_of(str(tmp_path / "a?.nc")))


def test_longitudes_and_latitudes_of_each_pixel(values: Any, tmp_path: Path) -> None:
    data = annual(values, projected=False).drop_vars(["x", "y"])
    north, east = np.mgrid[0:10, 0:14] * 1.0
    data["lat"] = (("y", "x"), north + 0.1 * east, {"units": "degrees_north"})
    data["lon"] = (("y", "x"), east - 0.1 * north, {"units": "degrees_east"})
    data["v"].attrs["coordinates"] = "lat lon"
    stack = pw.open_stack(write_netcdf(tmp_path / "a.nc", data))
    np.testing.assert_array_equal(read_all(stack), values)
    found = pw.apply(stack, "ols").to_xarray()
    np.testing.assert_array_equal(found["lon"], east - 0.1 * north)
    pw.apply(stack, "ols", tmp_path / "t.zarr")
    assert pw.open_map(tmp_path / "t.zarr").grid == stack.grid
    with xr.open_zarr(tmp_path / "t.zarr") as written:
        np.testing.assert_array_equal(written["lat"], north + 0.1 * east)
    with pytest.raises(pw.OutputError, match="each pixel has a longitude and a latitude of its own"):
        pw.apply(stack, "ols", tmp_path / "t.tif")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="FIFOs of Unix")
def test_a_fifo_in_a_store_keeps_nobody_waiting(values: Any, tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr", annual(values), chunks=(12, 5, 7))
    data = pw.open_stack(path).layers[0].pieces[0]
    assert data.array is not None
    chunk = next(file for file in (path / data.array.variable).rglob("c/*/*/*") if file.is_file())
    chunk.unlink()
    os.mkfifo(chunk)
    with pytest.raises(pw.InputError, match="is a FIFO; expected a file"):
        read_all(pw.open_stack(path))
