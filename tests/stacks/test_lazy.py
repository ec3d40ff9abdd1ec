"""Stacks of files as lazy arrays."""

from __future__ import annotations

import pickle

import dask
import numpy as np
import pytest
import rioxarray

import pixelwise as pw
from pixelwise.dates.labels import axis_of
from support.images import YEARS
from support.rasters import random_series, read_all, write_raster

assert rioxarray.__version__  # it registers the accessor .rio

#: Where anything that is computed ends.
NOWHERE = {"scheduler": lambda *_, **__: pytest.fail("something was computed")}


@pytest.fixture
def stack(make_stack):
    return pw.open_stack(make_stack(random_series((6, 40, 70)), tiled=True, blockxsize=16, blockysize=16))


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_a_stack_is_a_lazy_array(stack, caplog):
    with dask.config.set(NOWHERE):
        array = stack.to_xarray()
        assert array.sum().shape == ()
    assert array.dims == ("time", "y", "x")
    assert array.dtype == np.float32
    assert array.chunks[0] == (6,)
    assert array.rio.crs == stack.grid.crs
    assert tuple(array.rio.transform()) == tuple(stack.grid.transform)
    np.testing.assert_array_equal(array.values, read_all(stack))
    assert array.sel(time="2001").size == 40 * 70
    axis = axis_of(array["time"].values, "time", array["time"].attrs)
    assert axis.precision == "year"
    assert axis.years.tolist() == stack.axis.years.tolist()


def test_chunks_are_whole_blocks_of_the_files(stack, monkeypatch):
    bytes_per_pixel = 6 * 4
    monkeypatch.setattr("pixelwise.stacks.lazy.CHUNK_BYTES", 16 * 16 * bytes_per_pixel)
    assert stack.to_xarray().chunks[1:] == ((16, 16, 8), (16, 16, 16, 16, 6))
    monkeypatch.setattr("pixelwise.stacks.lazy.CHUNK_BYTES", 16 * 40 * bytes_per_pixel)
    assert stack.to_xarray().chunks[1:] == ((16, 16, 8), (32, 32, 6))
    monkeypatch.setattr("pixelwise.stacks.lazy.CHUNK_BYTES", 33 * 70 * bytes_per_pixel)
    assert stack.to_xarray().chunks[1:] == ((32, 8), (70,))
    np.testing.assert_array_equal(stack.to_xarray().values, read_all(stack))
    monkeypatch.setattr("pixelwise.stacks.lazy.LARGEST_BLOCK", 8 * 16 * bytes_per_pixel)
    monkeypatch.setattr("pixelwise.stacks.lazy.CHUNK_BYTES", 1)
    assert stack.to_xarray().chunks[1:] == ((8,) * 5, (16, 16, 16, 16, 6))


def test_pixels_outside_the_region_are_missing(stack):
    left, bottom, _, top = stack.grid.bounds
    inner = pw.open_stack([*stack.paths], region=(left, bottom, left + 300, top))
    found = inner.to_xarray().values
    np.testing.assert_array_equal(found[..., :10], read_all(stack)[..., :10])
    assert np.isnan(found[..., 10:]).all()


def test_chunks_outside_the_region_are_not_read(stack, monkeypatch):
    monkeypatch.setattr("pixelwise.stacks.lazy.CHUNK_BYTES", 1)
    left, bottom, _, top = stack.grid.bounds
    inner = pw.open_stack([*stack.paths], region=(left, bottom, left + 300, top))
    array = inner.to_xarray()
    for path in stack.paths:
        path.unlink()
    monkeypatch.setattr("pixelwise.stacks.base.FileStack.check_unchanged", lambda self: None)
    assert np.isnan(array[..., 16:].values).all()


def test_what_cannot_be_read_is_missing_and_said(make_stack, caplog):
    folder = make_stack(random_series((6, 40, 70)), compress="deflate", tiled=True, blockxsize=16, blockysize=16)
    whole = read_all(pw.open_stack(folder))
    damaged = folder / "ndvi_2003.tif"
    damaged.write_bytes(damaged.read_bytes()[:-200])
    found = pw.open_stack(folder, on_read_error="missing").to_xarray().compute(scheduler="sync").values
    lost = np.isnan(found) & ~np.isnan(whole)
    assert lost[3].any()
    assert not lost[[0, 1, 2, 4, 5]].any()
    np.testing.assert_array_equal(found[~lost], whole[~lost])
    assert "ndvi_2003.tif" in caplog.text
    assert "it counts as missing" in caplog.text


def test_composites_are_lazy_too(make_stack):
    dates = [f"{year}-{month:02d}-01" for year in (2001, 2002, 2003) for month in range(1, 13)]
    annual = pw.open_stack(make_stack(random_series((36, 8, 9)), dates)).composite("max")
    with dask.config.set(NOWHERE):
        array = annual.to_xarray()
    np.testing.assert_array_equal(array.values, read_all(annual))
    assert array["time"].dt.year.values.tolist() == [2001, 2002, 2003]


def test_units_come_along_and_a_stack_travels(tmp_path):
    for year, image in zip((2001, 2002, 2003), YEARS, strict=True):
        write_raster(tmp_path / f"t_{year}.tif", image, descriptions=["ndvi"])
    array = pw.open_stack(tmp_path).to_xarray()
    assert "units" not in array.attrs
    assert array.name is None
    assert pw.open_stack(tmp_path, band="ndvi").to_xarray().name == "ndvi"
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(array)).values, YEARS)


def test_files_that_change_are_noticed(stack):
    array = stack.to_xarray()
    write_raster(stack.paths[0], np.zeros((40, 70), np.float32))
    with pytest.raises(pw.InputError, match="changed since its header was read"):
        array.compute(scheduler="sync")
