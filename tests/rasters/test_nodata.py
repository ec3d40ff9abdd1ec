"""What is missing because it is nodata: the same as GDAL says, in every way of reading."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import pixelwise as pw
from pixelwise.rasters import windows
from pixelwise.rasters.nodata import is_among, nodata_bounds, spelled
from pixelwise.verify.compare import verify
from support.rasters import MakeStack, write_raster

SINGLE = np.float32
#: Fill values as products declare them, and as they are stored after they went through float32.
DECLARED = (
    -9999.0,
    -999.99,
    -3.40282306074e38,
    -3.4e38,
    3.4e37,
    2147483647.0,
    9.969209968386869e36,
    1e20,
    0.1,
    255.0,
    1.0,
    0.0,
    -1e-35,
)


def gdals_mask(path: Path, values: Any, nodata: float) -> Any:
    """Return which values GDAL says are missing."""
    write_raster(path, values[None], nodata=nodata)
    with rasterio.open(path) as dataset:
        return dataset.read_masks(1)[0] == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("nodata", DECLARED)
def test_numbers_near_nodata_are_missing_where_gdal_says_so(tmp_path: Path, nodata: float, dtype: str):
    kind = np.dtype(dtype).type
    bounds = nodata_bounds([nodata], dtype)
    near = [kind(nodata), kind(SINGLE(nodata))]
    with np.errstate(over="ignore"):
        for end in bounds.ravel():
            outwards = inwards = end
            for _ in range(3):
                outwards, inwards = np.nextafter(outwards, kind(-np.inf)), np.nextafter(inwards, kind(np.inf))
                near += [outwards, inwards]
        near += [kind(nodata) * kind(1 + share) for share in (-1e-3, -4e-7, -1e-7, 1e-7, 4e-7, 1e-3)]
    values = np.array([*near, *bounds.ravel(), 0.0, -1.0, 3.0], dtype)
    values = values[np.isfinite(values)]
    missing = gdals_mask(tmp_path / "a.tif", values, nodata)
    assert missing.any()
    assert not missing.all()
    np.testing.assert_array_equal(is_among(values, bounds), missing)


def test_integers_are_nodata_exactly():
    np.testing.assert_array_equal(nodata_bounds([-9999, 0.5, 70000, np.nan, 7], "int16"), [[-9999, -9999], [7, 7]])
    assert nodata_bounds([np.nan], "float32").shape == (0, 2)


@pytest.mark.parametrize("compress", ["deflate", "lzw", None])
@pytest.mark.parametrize(("declared", "dtype"), [(-999.99, "float64"), (2147483647, "float64"), (1e-3, "float64")])
def test_fill_values_that_went_through_float32_are_missing_everywhere(
    make_stack: MakeStack, out: Path, declared: float, dtype: str, compress: str | None
):
    values = np.random.default_rng(0).normal(80, 3, (6, 70, 300)).astype(dtype)
    values[np.random.default_rng(1).random(values.shape) < 0.2] = SINGLE(declared)
    folder = make_stack(values, nodata=declared, compress=compress, predictor=None)
    stack = pw.open_stack(folder)
    expected = []
    for path in stack.paths:
        with rasterio.open(path) as dataset:
            expected.append(dataset.read(1, masked=True).filled(np.nan))
    np.testing.assert_array_equal(stack.read(stack.grid.block), np.array(expected))
    assert np.isnan(expected).any()
    # What the user gives means the same as what a file declares.
    np.testing.assert_array_equal(pw.open_stack(folder, nodata=SINGLE(declared)).read(stack.grid.block), expected)
    pw.apply(stack, "ols", out / "map.tif")
    assert verify(out / "map.tif", folder, pixels=300).differing == 0


def test_the_smallest_float_is_nodata_where_fewer_digits_are_declared(make_stack: MakeStack, out: Path):
    values = np.random.default_rng(0).normal(80, 3, (5, 20, 20)).astype("float32")
    values[:, 3] = np.finfo("float32").min
    stack = pw.open_stack(make_stack(values, nodata=-3.40282306074e38))
    assert np.isnan(stack.read(stack.grid.block)[:, 3]).all()
    pw.apply(stack, "ols", out / "map.tif")
    assert verify(out / "map.tif", stack.paths, everything=True).differing == 0


def test_masks_of_floats_have_nodata_within_rounding(make_stack: MakeStack):
    values = np.full((3, 4, 5), 7.0, "float32")
    clouds = np.zeros((3, 4, 5))
    clouds[:, 1] = SINGLE(-999.99)
    clouds[:, 2] = 1
    folder = make_stack(values)
    masks = make_stack(clouds, folder="masks", nodata=-999.99)
    stack = pw.open_stack(folder, mask=masks, mask_drop=1)
    missing = np.isnan(stack.read(stack.grid.block))
    assert missing[:, 1:3].all()
    assert not missing[:, [0, 3]].any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [-999.99, -3.4028234663852886e38, 0.1, -9999.0, 2147483648.0])
def test_a_number_that_is_printed_works_when_it_is_given_back(value: float, dtype: str):
    stored = np.dtype(dtype).type(SINGLE(value))
    text = spelled(stored, dtype)
    assert is_among(np.array([stored]), nodata_bounds([float(text)], dtype)).all()
    assert np.dtype(dtype).type(float(text)) == stored
    assert len(spelled(SINGLE(value), "float32")) < 16


def test_bands_that_share_blocks_are_decoded_once_whatever_is_nodata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two NaNs are equal only where they are one object: bands with nodata NaN were decoded once for each band."""
    reads: list[tuple[int, ...]] = []

    def counted(piece: windows.Piece, bands: tuple[int, ...], *rest: Any) -> Any:
        reads.append(bands)
        return read_window(piece, bands, *rest)

    read_window = windows.read_window
    monkeypatch.setattr(windows, "read_window", counted)
    values = np.arange(12, dtype="float32").reshape(3, 2, 2)
    for nodata in (float("nan"), -9999.0, None):
        path = write_raster(tmp_path / "a.tif", values, descriptions=["2001", "2002", "2003"], nodata=nodata)
        stack = pickle.loads(pickle.dumps(pw.open_stack(path)))
        reads.clear()
        stack.read(stack.grid.block)
        assert reads == [(1, 2, 3)], nodata
