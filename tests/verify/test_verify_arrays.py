"""Maps of arrays, computed again from pixels that are found by their coordinates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import pixelwise as pw
from pixelwise.verify import verify
from support.arrays import cube, write_netcdf, write_zarr
from support.rasters import random_series


def check(map_path: Path, source: Path | None = None) -> None:
    found = verify(map_path, source)
    assert found.pixels
    assert not found.differences


@pytest.mark.parametrize("turned", [(), ("y",), ("x", "y")])
@pytest.mark.parametrize("write", [write_netcdf, write_zarr])
def test_any_order_of_rows_and_columns(turned: tuple[str, ...], write: Any, tmp_path: Path) -> None:
    values = random_series((9, 7, 8), seed=4)
    data = cube(values).isel({dim: slice(None, None, -1) for dim in turned})
    source = write(tmp_path / ("a.nc" if write is write_netcdf else "a.zarr"), data)
    pw.apply(pw.open_stack(source), "ols", tmp_path / "t.tif")
    check(tmp_path / "t.tif")


def test_packed_levels_in_a_calendar_of_its_own(tmp_path: Path) -> None:
    stored = np.random.default_rng(2).integers(0, 250, (40, 2, 6, 5)).astype("u1")
    attrs = {"scale_factor": 0.5, "add_offset": -3.0, "_FillValue": np.uint8(7), "valid_max": np.uint8(240)}
    data = cube(stored[:, 0], numbers=20 + np.arange(40), calendar="360_day", projected=False)
    data["v"] = (("time", "level", "y", "x"), stored, attrs)
    data["level"] = ("level", np.array([10.0, 20.0]))
    source = write_netcdf(tmp_path / "a.nc", data)
    stack = pw.open_stack(source, select="level=20")
    # 29 and 30 February are there.
    assert [layer.excess for layer in stack.layers].count(2) == 1
    pw.apply(stack, "ols", tmp_path / "t.tif")
    check(tmp_path / "t.tif")
    with rasterio.open(tmp_path / "t.tif", "r+") as dataset:
        slope = dataset.read(1)
        slope[2, 3] *= 1.01
        dataset.write(slope, 1)
    found = verify(tmp_path / "t.tif")
    assert [(one.band, one.row, one.col) for one in found.differences] == [("slope", 2, 3)]


def test_methods_of_regular_steps_refuse_days_that_we_lack(tmp_path: Path) -> None:
    data = cube(random_series((40, 3, 3), seed=4), numbers=20 + np.arange(40), calendar="360_day")
    stack = pw.open_stack(write_netcdf(tmp_path / "a.nc", data))
    with pytest.raises(pw.ParameterError, match="needs layers at regular steps"):
        pw.apply(stack, pw.methods.mann_kendall(correction="hamed_rao"))


def test_a_store_with_a_link_that_nobody_named(tmp_path: Path) -> None:
    source = write_zarr(tmp_path / "a.zarr", cube(random_series((5, 4, 4), seed=4)))
    pw.apply(pw.open_stack(source), "ols", tmp_path / "t.tif")
    (source / "odd").symlink_to("/etc/hostname")
    with pytest.raises(pw.InputError, match=r"contains a link, .*odd; name the store if you mean it"):
        verify(tmp_path / "t.tif")


def test_a_store_that_has_changed(tmp_path: Path) -> None:
    values = random_series((5, 4, 4), seed=4)
    source = write_zarr(tmp_path / "a.zarr", cube(values))
    pw.apply(pw.open_stack(source), "ols", tmp_path / "t.tif")
    (source / "v" / "more").write_bytes(b"x")
    with pytest.raises(pw.InputError, match=r"a\.zarr: changed since the map was made"):
        verify(tmp_path / "t.tif")


def test_curvilinear_maps_are_refused_with_the_reason(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:4, :5]
    places = {
        "lat": (("y", "x"), 40.0 + rows, {"units": "degrees_north"}),
        "lon": (("y", "x"), columns + 0.1 * rows, {"units": "degrees_east"}),
    }
    data = cube(random_series((5, 4, 5), seed=4)).drop_vars(["y", "x"]).assign_coords(places)
    source = write_netcdf(tmp_path / "a.nc", data)
    pw.apply(pw.open_stack(source), "ols", tmp_path / "t.nc")
    with pytest.raises(pw.InputError, match=r"a\.nc: cannot be compared, .*which dimension y does not have"):
        verify(tmp_path / "t.nc")
