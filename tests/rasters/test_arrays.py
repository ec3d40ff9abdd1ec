"""Windows of arrays: the same numbers as NumPy slices, whatever order, chunks and types the file has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st

import pixelwise as pw
from pixelwise.rasters import arrays
from pixelwise.rasters.arrays import _calls, array_driver, open_dataset
from pixelwise.rasters.stamps import FileStamp
from support.arrays import cube, reordered, write_netcdf, write_zarr
from support.rasters import random_series, read_all, write_raster

STEPS, HEIGHT, WIDTH = 8, 21, 34


@pytest.fixture(scope="module")
def values() -> Any:
    return random_series((STEPS, HEIGHT, WIDTH), seed=3)


@pytest.fixture(scope="module")
def reference(values: Any, tmp_path_factory: pytest.TempPathFactory) -> pw.RasterStack:
    """The same pixels as GeoTIFFs."""
    folder = tmp_path_factory.mktemp("rasters")
    for step, layer in enumerate(values):
        write_raster(folder / f"v_2001{step + 1:02d}01.tif", layer, nodata=np.nan)
    return pw.open_stack(folder)


STORED: dict[str, Any] = {
    "netcdf": lambda path, data: write_netcdf(path / "a.nc", data),
    "netcdf chunks": lambda path, data: write_netcdf(path / "a.nc", data, zlib=True, chunksizes=(3, 8, 16)),
    "netcdf classic": lambda path, data: _classic(path / "a.nc", data),
    "zarr": lambda path, data: write_zarr(path / "a.zarr", data, chunks=(3, 8, 16)),
    "zarr by date": lambda path, data: write_zarr(path / "a.zarr", data, chunks=(1, 21, 34)),
    "zarr sharded": lambda path, data: write_zarr(path / "a.zarr", data, chunks=(2, 8, 16), shards=(4, 16, 16)),
    "zarr 2": lambda path, data: write_zarr(path / "a.zarr", data, zarr_format=2, chunks=(3, 8, 16)),
}


def _classic(path: Path, data: xr.Dataset) -> Path:
    data = data.assign_coords(time=data["time"].astype("int32"))
    data.to_netcdf(path, format="NETCDF3_CLASSIC", engine="netcdf4", encoding={"v": {"_FillValue": None}})
    return path


@pytest.mark.parametrize(
    ("stored", "order"),
    [
        *((stored, "time y x") for stored in STORED),
        *((stored, order) for stored in ("netcdf", "zarr") for order in ("y x time", "x time y")),
    ],
)
def test_all_windows_equal_those_of_rasters(
    stored: str, order: str, values: Any, reference: pw.RasterStack, tmp_path: Path
) -> None:
    data = cube(values)
    path = STORED[stored](tmp_path, reordered(data, "v", order.split()))
    stack = pw.open_stack(path)
    assert stack.grid == reference.grid
    assert np.array_equal(stack.axis.dates, reference.axis.dates)
    assert stack.dtype == np.float32
    for block in (stack.grid.block, pw.Block(5, 7, 9, 20), pw.Block(20, 33, 1, 1)):
        np.testing.assert_array_equal(stack.read(block), reference.read(block))
    few = stack.take([1, 2, 5])
    np.testing.assert_array_equal(read_all(few), read_all(reference.take([1, 2, 5])))


@pytest.mark.parametrize("write", [write_netcdf, write_zarr])
@pytest.mark.parametrize("turned", [("y",), ("x",), ("y", "x")])
def test_south_and_east_first(
    write: Any, turned: tuple[str, ...], values: Any, reference: pw.RasterStack, tmp_path: Path
) -> None:
    data = cube(values).isel({dim: slice(None, None, -1) for dim in turned})
    path = tmp_path / ("a.nc" if write is write_netcdf else "a.zarr")
    chunks = {"chunksizes": (3, 8, 16)} if write is write_netcdf else {"chunks": (3, 8, 16)}
    stack = pw.open_stack(write(path, data, **chunks))
    assert stack.grid == reference.grid
    np.testing.assert_array_equal(read_all(stack), read_all(reference))
    block = pw.Block(3, 4, 7, 11)
    np.testing.assert_array_equal(stack.read(block), reference.read(block))
    assert stack.layout.shifted  # 21 rows begin with a part of a chunk of 8 when they are turned round


def test_dates_in_descending_order(values: Any, reference: pw.RasterStack, tmp_path: Path) -> None:
    data = cube(values).isel(time=slice(None, None, -1))
    stack = pw.open_stack(write_netcdf(tmp_path / "a.nc", data, chunksizes=(3, 8, 16)))
    assert stack.axis.dates[0] < stack.axis.dates[-1]
    np.testing.assert_array_equal(read_all(stack), read_all(reference))


@pytest.mark.parametrize("kind", [">i2", "u1", "i4", ">f4", "f8", "u2"])
def test_types_and_packing(kind: str, tmp_path: Path) -> None:
    dtype = np.dtype(kind)
    stored = np.random.default_rng(1).integers(0, 200, (4, 6, 7)).astype(dtype)
    data = cube(stored, attrs={"scale_factor": 0.01, "add_offset": 2.0, "_FillValue": dtype.type(7)})
    stack = pw.open_stack(_with_byte_order(tmp_path / "a.nc", data))
    expected = stored.astype(np.float64) * 0.01 + 2.0
    expected[stored == 7] = np.nan
    np.testing.assert_array_equal(read_all(stack), expected)
    assert stack.layers[0].pieces[0].dtype == dtype.newbyteorder("=").name


def _with_byte_order(path: Path, data: xr.Dataset) -> Path:
    """Write by netCDF4 itself: xarray turns bytes into the machine's order."""
    with netCDF4.Dataset(path, "w") as file:
        for name, size in data.sizes.items():
            file.createDimension(str(name), size)
        for name, variable in data.variables.items():
            endian = {">": "big", "<": "little"}.get(variable.dtype.byteorder, "native")
            fill = variable.attrs.get("_FillValue")
            new = file.createVariable(str(name), variable.dtype, variable.dims, endian=endian, fill_value=fill)
            new.set_auto_maskandscale(False)
            new.setncatts({key: value for key, value in variable.attrs.items() if key != "_FillValue"})
            new[...] = variable.values
    return path


def test_bytes_that_are_meant_unsigned(tmp_path: Path) -> None:
    meant = np.array([0, 1, 127, 128, 254, 255], dtype="u1").reshape(3, 1, 2)
    data = cube(meant.view("i1"), attrs={"_Unsigned": "true", "_FillValue": np.int8(-1)}, numbers=[0, 31, 59])
    data["y"].attrs["bounds"] = "edges"
    data["edges"] = (("y", "side"), np.array([[3400000.0, 3399970.0]]))
    found = read_all(pw.open_stack(write_netcdf(tmp_path / "a.nc", data)))
    expected = meant.astype(np.float32)
    expected[meant == 255] = np.nan
    np.testing.assert_array_equal(found, expected)


@given(st.lists(st.integers(0, 60), min_size=1, max_size=40, unique=True), st.integers(1, 9), st.integers(1, 30))
def test_no_chunk_is_decoded_twice(steps: list[int], chunk: int, most: int) -> None:
    given_steps = np.array(steps)
    seen: list[int] = []
    chunks: list[int] = []
    for rows, first, last in _calls(given_steps, chunk, most):
        assert given_steps[rows].min() == first
        assert given_steps[rows].max() == last - 1
        # Several chunks are read at once only if they are next to each other, and are not too many steps.
        assert last - first <= max(most, chunk)
        seen += given_steps[rows].tolist()
        chunks += sorted({step // chunk for step in given_steps[rows].tolist()})
    assert sorted(seen) == sorted(steps)
    assert len(chunks) == len(set(chunks))


def test_bit_rot_is_a_read_error_that_names_variable_and_step(values: Any, tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr", cube(values), chunks=(1, 21, 34))
    chunk = path / "v" / "c" / "4" / "0" / "0"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[: len(whole) // 2])
    stack = pw.open_stack(path)
    with pytest.raises(pw.InputError, match=r"a\.zarr: v, time steps 1 to 8, cannot be read at rows 0\.\.20, columns"):
        read_all(stack)
    lenient = pw.open_stack(path, on_read_error="missing")
    found = read_all(lenient)
    assert np.isnan(found[4]).all()
    np.testing.assert_array_equal(np.delete(found, 4, 0), np.delete(values, 4, 0))


def test_a_damaged_chunk_of_netcdf(tmp_path: Path) -> None:
    random = np.random.default_rng(0).random((4, 64, 64)).astype("f4")
    path = write_netcdf(tmp_path / "a.nc", cube(random), zlib=True, chunksizes=(1, 64, 64))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)
    with pytest.raises(pw.InputError, match=r"a\.nc: v, time steps 1 to 4, cannot be read at rows 0\.\.63"):
        read_all(pw.open_stack(path))


def test_what_reads_a_path(tmp_path: Path) -> None:
    assert array_driver(tmp_path / "x.NC") == "NetCDF"
    assert array_driver(tmp_path / "x.zarr") == "Zarr"
    assert array_driver(tmp_path / "x.tif") == ""
    assert array_driver(tmp_path) == ""
    zarr.create_group(tmp_path / "store")
    assert array_driver(tmp_path / "store") == "Zarr"


def test_nothing_is_read_when_a_store_is_opened(values: Any, tmp_path: Path) -> None:
    """Coordinates of a stranger's store may be objects that run code when they are decoded."""
    path = write_zarr(tmp_path / "a.zarr", cube(values))
    for chunk in path.glob("*/c/**/*"):
        if chunk.is_file():
            chunk.write_bytes(b"no chunk")
    with open_dataset(path, "Zarr") as dataset:
        assert set(dataset.variables) == {"v", "time", "y", "x", "spatial_ref"}


def test_the_stamp_of_a_store_is_that_of_all_its_files(values: Any, tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr", cube(values), chunks=(1, 21, 34))
    stack = pw.open_stack(path)
    stack.check_unchanged()
    (path / "loop").symlink_to(path)
    assert FileStamp.of(path) == stack.stamps[path]
    chunk = path / "v" / "c" / "4" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes() + b" ")
    with pytest.raises(pw.InputError, match=r"a\.zarr: changed since its header was read: \d+ bytes then, now"):
        stack.check_unchanged()


HELD_OPEN = """
import sys, threading, xarray
import pixelwise as pw
held = xarray.open_dataset(sys.argv[1])
for _ in range(3):
    pw.apply(pw.open_stack(sys.argv[1], variable="v"), "ols", executor="threads", jobs=2)
print("fine")
"""


def test_a_file_that_a_notebook_holds_open(tmp_path: Path) -> None:
    """libhdf5 crashed the process, so another one is asked."""
    data = cube(random_series((60, 19, 36), seed=1), projected=False)
    data["expver"] = ("time", np.array(["0001"] * 60))
    path = write_netcdf(tmp_path / "a.nc", data, zlib=True, chunksizes=(10, 10, 12))
    done = subprocess.run([sys.executable, "-c", HELD_OPEN, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr[-2000:]


def test_a_file_is_open_once_and_closed_at_the_end(tmp_path: Path) -> None:
    path = write_netcdf(tmp_path / "a.nc", cube(random_series((6, 8, 9), seed=1)))
    pw.apply(pw.open_stack(path), "ols", executor="threads", jobs=2)
    assert arrays._OPEN == {}
    one, other = (
        arrays.open_window_source(path, "NetCDF", pw.open_stack(path).layers[0].pieces[0].array, 8, 9) for _ in range(2)
    )
    assert [users for _, users in arrays._OPEN.values()] == [2]
    one.close()
    one.close()
    assert [users for _, users in arrays._OPEN.values()] == [1]
    del other
    assert arrays._OPEN == {}
