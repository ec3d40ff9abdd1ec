"""`apply` on arrays of xarray: the accessor's dataset, or a map that the engine writes."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray
from rasterio.crs import CRS

import pixelwise as pw
from pixelwise.dates.labels import labels_of
from support.rasters import random_series

#: Where anything that is computed ends.
NOWHERE = {"scheduler": lambda *_, **__: pytest.fail("something was computed")}


@pytest.fixture
def stack(make_stack):
    return pw.open_stack(make_stack(random_series((12, 20, 30), seed=3)))


@pytest.fixture
def array(stack):
    return stack.to_xarray().compute().rename("ndvi")


def test_without_output_it_is_the_accessor(stack, array):
    found = pw.apply(array, "ols", bands=["slope", "n"])
    assert isinstance(found, xarray.Dataset)
    np.testing.assert_array_equal(found["slope"].values, pw.apply(stack, "ols")["slope"])
    with dask.config.set(NOWHERE):
        assert pw.apply(array.rename(time="t").chunk(), "ols", dim="t")["slope"].chunks


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a,
        lambda a: a.transpose("x", "time", "y"),
        lambda a: a[:, ::-1, ::-1],
        lambda a: a.chunk({"time": 5, "y": 7}),
        lambda a: a.drop_vars(["y", "x"]),
    ],
)
def test_a_map_is_written_by_the_engine(stack, array, change, out):
    expected = pw.apply(stack, "ols", out / "expected.tif", write={"residuals": out / "left.tif"})
    found = pw.apply(change(array), "ols", out / "found.tif", write={"residuals": out / "also.tif"})
    assert isinstance(found, pw.Map)
    assert found.grid.crs == expected.grid.crs
    assert tuple(found.grid.transform) == tuple(expected.grid.transform)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])
    left, also = (pw.open_stack(out / name) for name in ("left.tif", "also.tif"))
    np.testing.assert_array_equal(left.read(left.grid.block), also.read(also.grid.block))
    assert pw.open_map(out / "found.tif").provenance["input"]["layers"] == 12


def test_covariates_are_turned_as_the_response_is(stack, array, make_stack, out):
    other = make_stack(random_series((12, 20, 30), seed=4, gaps=0.0), folder="rain")
    method = pw.methods.regress(covariates="rain,time")
    expected = pw.apply(stack, method, inputs={"rain": pw.open_stack(other)})
    rain = pw.open_stack(other).to_xarray()
    found = pw.apply(array[:, ::-1], method, out / "a.tif", inputs={"rain": rain})
    again = pw.apply(array[:, ::-1], method, out / "b.tif", inputs={"rain": rain[:, ::-1]})
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])
        np.testing.assert_array_equal(again[name], expected[name])


@pytest.mark.parametrize("order", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
def test_covariates_without_coordinates_have_the_pixels_of_the_response_as_given(array, order, out):
    turned = array[:, :: order[0], :: order[1]].fillna(0.0)
    bare = (2 * turned + 1).drop_vars(["y", "x"])
    # One pixel keeps the coordinates of its place.
    single = array[:, 3, 4].fillna(0.0) ** 2
    found = pw.apply(turned, pw.methods.regress(covariates="c,one"), out / "a.tif", inputs={"c": bare, "one": single})
    np.testing.assert_allclose(found["c"], 0.5, rtol=1e-5)
    labelled = bare.assign_coords(x=turned["x"])
    found = pw.apply(turned, pw.methods.regress(covariates="c"), out / "b.tif", inputs={"c": labelled})
    np.testing.assert_allclose(found["c"], 0.5, rtol=1e-5)


def test_degrees_without_a_crs_are_those_of_wgs_84(array, out):
    degrees = array.drop_vars("spatial_ref").assign_coords(y=np.arange(20.0), x=np.arange(340.0, 370.0))
    degrees["y"].attrs, degrees["x"].attrs = {"units": "degrees_north"}, {"units": "degrees_east"}
    found = pw.apply(degrees, "ols", out / "trend.tif")
    assert found.grid.crs == CRS.from_epsg(4326)
    assert found.grid.bounds == (339.5, -0.5, 369.5, 19.5)
    assert found.grid.transform.e == -1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a.expand_dims(band=[1, 2]), r"has the dimensions \('band', 'y', 'x'\); select one of band"),
        (lambda a: a[:, 0], r"a map has rows and columns, but it has the dimensions \('x',\)"),
        (lambda a: a.drop_vars(["y", "x", "spatial_ref"]), "its dimension 'y' has no coordinates"),
    ],
)
def test_what_has_no_grid_is_refused_for_a_file(array, change, words, out):
    with pytest.raises(pw.InputError, match=words):
        pw.apply(change(array), "ols", out / "trend.tif")
    assert list(out.iterdir()) == []


def test_uneven_rows_are_kept_where_a_file_can_hold_them(array, out):
    uneven = array.drop_vars("spatial_ref").assign_coords(y=np.arange(20.0) ** 2)
    with pytest.raises(pw.OutputError, match="a GeoTIFF has evenly spaced pixels, but its coordinates 'y' are not"):
        pw.apply(uneven, "ols", out / "trend.tif")
    assert list(out.iterdir()) == []
    found = pw.apply(uneven, "ols", out / "trend.zarr").to_xarray()
    np.testing.assert_array_equal(found["y"], np.arange(20.0)[::-1] ** 2)
    eager = pw.apply(uneven, "ols")
    np.testing.assert_array_equal(found["slope"], eager["slope"][::-1])


def test_what_cannot_be_done_with_arrays_is_refused(array):
    with pytest.raises(pw.ParameterError, match="an array in memory is computed by threads"):
        pw.apply(array, "ols", executor="processes")
    for one in (array, array.chunk()):
        with pytest.raises(pw.ParameterError, match="write=residuals needs an output"):
            pw.apply(one, "ols", write={"residuals": "left.tif"})
    with pytest.raises(pw.ParameterError, match=r"expected a xarray.DataArray \(one of ndvi\), not Dataset"):
        pw.apply(array.to_dataset(), "ols")
    with pytest.raises(pw.ParameterError, match="expected a stack, not ndarray"):
        pw.apply(array.values, "ols")


def test_a_file_keeps_dates_of_another_calendar(array, out):
    days = xarray.date_range("2000-02-30", periods=12, freq="YS-FEB", calendar="360_day", use_cftime=True)
    found = pw.apply(array.assign_coords(time=days), "ols", out / "trend.tif", dtype="float64")
    eager = pw.apply(array.assign_coords(time=days), "ols", dtype="float64")
    np.testing.assert_array_equal(found["slope"], eager["slope"].values)


def test_labels_of_a_stack_are_those_of_its_array(stack, array):
    np.testing.assert_array_equal(labels_of(stack.axis)[0], array["time"].values)
