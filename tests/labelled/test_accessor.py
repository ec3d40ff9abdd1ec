"""The accessor: arrays of xarray through the methods, in memory and lazily, with the bits of files."""

from __future__ import annotations

import logging

import dask
import dask.array
import numpy as np
import pytest
import xarray

import pixelwise as pw
import pixelwise.xarray  # registers the accessor
from pixelwise.maps.tag import decode_provenance
from support.rasters import random_series, write_raster

#: Where anything that is computed ends.
NOWHERE = {"scheduler": lambda *_, **__: pytest.fail("something was computed")}
YEARS = np.arange(2000, 2016)


def array_of(values, times=YEARS, **attributes):
    values = np.asarray(values)
    coords = {"time": times, "y": 100.0 - np.arange(values.shape[1]), "x": 5.0 + np.arange(values.shape[2])}
    return xarray.DataArray(values, coords, ("time", "y", "x"), "ndvi", attributes)


@pytest.fixture
def values():
    return random_series((16, 20, 30), seed=3)


@pytest.fixture
def array(values):
    return array_of(values, units="K")


def same(found, expected):
    """Compare datasets, bit by bit, in the order of the first."""
    assert set(found.data_vars) == set(expected.data_vars)
    for name in found.data_vars:
        assert found[name].dtype == expected[name].dtype, name
        mine, theirs = found[name].transpose(*expected[name].dims).values, expected[name].values
        np.testing.assert_array_equal(mine, theirs, err_msg=name)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("ols", {}),
        ("theil_sen", {"bands": ["slope", "n"], "dtype": "float64"}),
        ("trend", {"min_valid": 0.85, "per": "decade"}),
        ("contextual_mann_kendall", {}),
    ],
)
def test_arrays_give_the_bits_of_files(make_stack, values, method, options):
    stack = pw.open_stack(make_stack(values))
    expected = pw.apply(stack, method, **options).to_xarray()
    eager = array_of(values).pixelwise.apply(method, **options)
    same(eager, expected)
    lazy = array_of(values).chunk({"time": -1, "y": 7, "x": 11})
    with dask.config.set(NOWHERE):
        found = lazy.pixelwise.apply(method, **options)
    assert all(variable.chunks for variable in found.data_vars.values())
    same(found.compute(), expected)
    same(stack.to_xarray().pixelwise.apply(method, **options).compute(), expected)


def test_variables_are_documented(array):
    found = array.assign_coords(spatial_ref=0, area=(("y", "x"), np.ones((20, 30)))).pixelwise.apply("ols")
    assert found["slope"].attrs["units"] == "K year-1"
    assert found["slope"].attrs["long_name"]
    assert found["n"].dtype == np.int32
    assert found["status"].dtype == np.uint8
    assert found["status"].attrs["flag_meanings"].split()[0] == "ok"
    assert set(found.coords) == {"y", "x", "spatial_ref", "area"}
    assert decode_provenance(found.attrs["PIXELWISE"])["method"] == "ols"
    assert array.pixelwise.apply("ols", per="decade")["slope"].attrs["units"] == "K (10 year)-1"


def test_attributes_say_where_pixels_are(array):
    attrs = {**array.attrs, "grid_mapping": "crs", "crs": "EPSG:32617", "title": "NDVI", "odd": object()}
    found = array.assign_attrs(attrs).assign_coords(crs=0).pixelwise.apply("ols")
    assert found["slope"].attrs["grid_mapping"] == "crs"
    assert found["slope"].attrs["crs"] == "EPSG:32617"
    assert found.attrs["title"] == "NDVI"
    assert "odd" not in found.attrs
    array.encoding["grid_mapping"] = "crs"
    assert array.pixelwise.apply("ols")["slope"].encoding["grid_mapping"] == "crs"


@pytest.mark.parametrize("method", ["ols", "contextual_mann_kendall"])
@pytest.mark.parametrize("lazy", [False, True])
def test_any_order_of_dimensions_and_further_ones(values, method, lazy):
    planes = [array_of(values), array_of(values[:, ::-1])]
    cube = xarray.concat([xarray.concat(planes, "band"), xarray.concat(planes[::-1], "band")], "scenario")
    cube = cube.assign_coords(band=["a", "b"])
    alone = {0: planes[0].pixelwise.apply(method), 1: planes[1].pixelwise.apply(method)}
    for order in (("scenario", "band", "time", "y", "x"), ("y", "time", "scenario", "x", "band")):
        one = cube.transpose(*order)
        found = (one.chunk({"time": -1, "y": 9, "x": 8, "band": 1}) if lazy else one).pixelwise.apply(method)
        assert found["slope"].dims == tuple(dim for dim in order if dim != "time")
        found = found.compute()
        for scenario in range(2):
            for band in range(2):
                picked = found.isel(scenario=scenario, band=band).drop_vars("band")
                same(picked, alone[(scenario + band) % 2])


@pytest.mark.parametrize("lazy", [False, True])
def test_series_without_rows_and_columns(values, lazy):
    points = array_of(values).stack(point=("y", "x")).reset_index("point", drop=True)
    expected = array_of(values).pixelwise.apply("ols")
    found = (points.chunk({"point": 100}) if lazy else points).pixelwise.apply("ols")
    assert found["slope"].dims == ("point",)
    np.testing.assert_array_equal(found["slope"].values, expected["slope"].values.ravel())
    single = points[:, 17].drop_vars("y", errors="ignore")
    found = (single.chunk() if lazy else single).pixelwise.apply("ols")
    assert found["slope"].dims == ()
    assert float(found["slope"]) == expected["slope"].values.ravel()[17]


@pytest.mark.parametrize("lazy", [False, True])
def test_coordinates_of_several_levels_and_two_dimensions_are_kept(array, lazy):
    expected = array.pixelwise.apply("ols")
    both = array.assign_coords(
        lon=(("y", "x"), np.ones((20, 30))), month=("time", np.arange(16)), at=(("time", "y"), np.ones((16, 20)))
    )
    found = (both.chunk() if lazy else both).pixelwise.apply("ols")
    assert set(found.coords) == {"y", "x", "lon"}
    points = array.stack(point=("y", "x"))
    found = (points.chunk({"point": 100}) if lazy else points).pixelwise.apply("ols")
    same(found.compute().unstack("point"), expected)


def test_dates_of_all_kinds_are_times(values):
    days = np.array([f"{year}-07-01" for year in YEARS], "datetime64[ns]")
    expected = pw.methods.ols()(values.reshape(16, -1), days)
    found = array_of(values, days).pixelwise.apply("ols")
    np.testing.assert_array_equal(found["slope"].values.ravel(), expected["slope"].astype("float32"))
    noleap = xarray.date_range("2000-07-01", periods=16, freq="YS-JUL", calendar="noleap", use_cftime=True)
    assert len(noleap) == 16
    in_years = array_of(values, 2000.0 + 181 / 365 + np.arange(16)).pixelwise.apply("ols", dtype="float64")
    found = array_of(values, noleap).pixelwise.apply("ols", dtype="float64")
    np.testing.assert_allclose(found["slope"], in_years["slope"], rtol=1e-9)


@pytest.mark.parametrize("lazy", [False, True])
def test_integers_are_values_unless_an_attribute_says_otherwise(lazy):
    numbers = np.random.default_rng(0).integers(0, 50, (16, 5, 6)).astype("int16")
    floats = np.where(numbers == 7, np.nan, numbers)

    def apply(values, **attributes):
        array = array_of(values, **attributes)
        return (array.chunk({"y": 2}) if lazy else array).pixelwise.apply("ols").compute()

    for dtype in ("int16", "uint8", "float16", ">i2", ">f4"):
        same(apply(numbers.astype(dtype)), apply(numbers.astype("float32")))
    same(apply(numbers.astype("int64")), apply(numbers.astype("float64")))
    for attributes in ({"_FillValue": 7}, {"nodata": 7, "scale_factor": 1.0}, {"missing_value": np.array([7, 99])}):
        same(apply(numbers, **attributes), apply(floats.astype("float32")))
    infinite = np.where(numbers == 7, np.inf, numbers)
    same(apply(infinite), apply(floats))
    assert infinite[numbers == 7].max() == np.inf


@pytest.mark.parametrize("lazy", [False, True])
def test_a_number_that_may_mean_missing_is_refused_among_floats(values, lazy):
    def apply(values, **attributes):
        array = array_of(values, **attributes)
        return (array.chunk({"y": 2}) if lazy else array).pixelwise.apply("ols").compute(scheduler="sync")

    same(apply(values, nodata=-9999), apply(values))
    values[3, 2, 1] = -9999
    with pytest.raises(pw.InputError, match=r"array 'ndvi': -9999, which its attribute nodata calls missing, occurs"):
        apply(values, nodata=-9999)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    ("number", "attributes", "words"),
    [
        (
            9.969209968386869e36,
            {},
            r"9.96921e\+36, which the NetCDF library leaves where nothing was written, occurs 1",
        ),
        (101, {"valid_range": [-100, 100]}, r"1 of \d+ values, such as 101, are outside what its valid_range calls"),
        (-101, {"valid_min": -100}, r"such as -101, .* its valid_min .*, array.where\(\(array >= -100\)\) makes them"),
        (101, {"valid_min": -9, "valid_max": 100}, r"'valid_min'\], array.attrs.*\(array >= -9\) & \(array <= 100\)\)"),
    ],
)
def test_numbers_that_a_file_would_call_missing_are_refused(values, lazy, number, attributes, words):
    def apply(values):
        array = array_of(values, **attributes)
        return (array.chunk({"y": 2}) if lazy else array).pixelwise.apply("ols").compute(scheduler="sync")

    values = np.clip(values, -9, 9)
    same(apply(values), array_of(values).pixelwise.apply("ols"))
    values[3, 2, 1] = number
    with pytest.raises(pw.InputError, match=words):
        apply(values)
    # Missing and infinite values are missing whatever an attribute says.
    values[3, 2, 1] = np.inf
    apply(values)


@pytest.mark.parametrize("attributes", [{"valid_range": [-1.8, 45.0]}, {"valid_min": np.float32(-1.8)}])
def test_rounding_does_not_put_values_outside_of_the_valid_range(values, attributes):
    for dtype in ("float32", "float64"):
        cold = np.clip(values, 0, 9).astype(dtype)
        cold[:, 0, 0] = np.nextafter(np.float32(-1.8), np.float32(-9)) if dtype == "float32" else -1.8
        array_of(cold, **attributes).pixelwise.apply("ols")
        cold[3, 0, 0] = -1.80001
        with pytest.raises(pw.InputError, match=r"such as -1\.80001, are outside"):
            array_of(cold, **attributes).pixelwise.apply("ols")


def test_attributes_kept_by_arithmetic_are_to_be_deleted_first(values):
    """`array.where` would have made all colder anomalies missing."""
    kept = array_of(values - values.mean(axis=0), valid_range=[-1.8, 45.0], nodata=0.0)
    kept[0, 0, 0] = -3.0
    with pytest.raises(pw.InputError, match=r"computed from another .*: del array.attrs\['valid_range'\]; if they"):
        kept.pixelwise.apply("ols")
    del kept.attrs["valid_range"]
    kept[0, 0, 0] = 0.0
    with pytest.raises(pw.InputError, match=r"computed from another .*: del array.attrs\['nodata'\]; if it"):
        kept.pixelwise.apply("ols")


def test_valid_numbers_of_a_packed_file_are_those_stored(tmp_path):
    numbers = np.random.default_rng(0).integers(1, 100, (16, 5, 6)).astype("int16")
    packed = array_of(numbers, valid_range=np.array([1, 100], "int16"), scale_factor=0.01)
    packed.to_netcdf(tmp_path / "packed.nc")
    with xarray.open_dataarray(tmp_path / "packed.nc") as array:
        found = array.load()
    assert found.attrs["valid_range"].tolist() == [1, 100]
    found.pixelwise.apply("ols")
    found[3, 2, 1] = 1.5
    with pytest.raises(pw.InputError, match=r"such as 1.5, are outside"):
        found.pixelwise.apply("ols")
    # Bytes that are meant without a sign, as xarray decodes them: valid are 0 to 200.
    unsigned = array_of(numbers / 100, valid_range=np.array([0, -56], "int8"))
    unsigned.encoding = {"dtype": np.dtype("int8"), "_Unsigned": "true", "scale_factor": 0.01}
    unsigned.pixelwise.apply("ols")
    whole = array_of(np.where(numbers == 7, 999, numbers), valid_max=100)
    with pytest.raises(pw.InputError, match=r"such as 999, are outside"):
        whole.pixelwise.apply("ols")
    whole.attrs["_FillValue"] = 999
    whole.pixelwise.apply("ols")


def test_layers_that_cannot_be_paired_get_the_remedy_of_arrays(values):
    def dated(start, freq):
        return array_of(values, xarray.date_range(start, periods=16, freq=freq))

    yearly, monthly, often = dated("2000-01-01", "YS"), dated("2005-01-01", "MS"), dated("2005-01-01", "8D")
    for response, other, words in (
        (yearly, monthly, r"make one of them, such as c\.resample\(time=\"YS\"\)\.median\(\)$"),
        (monthly, yearly, r"for each year of the response too, such as response\.resample\(time=\"YS\"\)\.median\(\)$"),
        (often, dated("2005-01-01", "16D"), r"each month of both, such as response\.resample\(time=\"MS\"\)\.median"),
    ):
        with pytest.raises(pw.InputError, match=words):
            response.pixelwise.apply("correlation", inputs={"c": other})
    annual = monthly.resample(time="YS").median()
    yearly.pixelwise.apply("correlation", inputs={"c": annual})


@pytest.mark.parametrize("place", ["attrs", "encoding"])
def test_bounds_of_times_are_not_read_without_a_word(values, caplog, place):
    array = array_of(values)
    getattr(array["time"], place)["bounds"] = "time_bnds"
    found = array.pixelwise.apply("ols")
    said = "its times 'time' are used as they are; their bounds (time_bnds), by which open_stack dates"
    assert said in found.attrs["warnings"]
    assert said in caplog.text
    caplog.clear()
    response = array_of(values)
    response.pixelwise.apply("correlation", inputs={"c": array})
    assert f"input 'c': {said}" in caplog.text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a.rename(time="t"), r"unknown dimension of array 'ndvi' 'time'.*\(known: t, y, x\)"),
        (lambda a: a.drop_vars("time"), r"array 'ndvi': its dimension 'time' has no coordinate; expected dates"),
        (lambda a: a[::-1], "do not ascend: number 2, 2014, comes after 2015"),
        (lambda a: a.assign_attrs(scale_factor=0.1), r"scale_factor=0.1 says that its numbers are packed"),
        (lambda a: a.assign_attrs(nodata="none"), "its attribute nodata='none' is no number"),
        (lambda a: a > 0, r"it holds bool values; .* array.astype\(\"uint8\"\) makes 0 and 1 of it"),
        (lambda a: a.astype(complex), "it holds complex128 values"),
        (lambda a: a.chunk({"time": 1}), r"'time' is cut into 16 chunks, .* array.chunk\(\{\"time\": -1\}\) puts them"),
        (lambda a: a[:, :0], r"it has no pixels: its shape is \(16, 0, 30\)"),
        (lambda a: a.assign_coords(slope=1), "has a coordinate 'slope', which is also the name of a band"),
        (lambda a: a[:1], "has 1 time"),
    ],
)
def test_what_makes_no_sense_is_refused(array, change, words):
    with pytest.raises(pw.PixelwiseError, match=words) as refused:
        change(array).pixelwise.apply("ols")
    assert "\n" not in str(refused.value)


def test_neighbours_need_rows_and_columns(array):
    cube = array.expand_dims(p=2).rename(y="u", x="v")
    with pytest.raises(pw.ParameterError, match="which of its dimensions p, u, v are rows and columns is unknown"):
        cube.pixelwise.apply("contextual_mann_kendall")
    cube["u"].attrs["axis"], cube["v"].attrs["axis"] = "Y", "X"
    assert cube.pixelwise.apply("contextual_mann_kendall")["slope"].dims == ("p", "u", "v")


@pytest.mark.parametrize("shape", [(1, 9), (2, 1), (5, 6)])
def test_windows_larger_than_the_array_or_its_chunks(values, shape):
    array = array_of(values[:, : shape[0], : shape[1]])
    method = pw.methods.contextual_mann_kendall(window=7)
    for chunks in ({"y": 1}, {"x": 4}):
        same(array.chunk(chunks).pixelwise.apply(method).compute(), array.pixelwise.apply(method))


def test_dask_computes_lazy_arrays_alone(array):
    with pytest.raises(pw.ParameterError, match="jobs: a lazy array is computed by dask"):
        array.chunk().pixelwise.apply("ols", jobs=2)


def test_covariates_are_paired_and_aligned(values, make_stack):
    rain = random_series((16, 20, 30), seed=9, gaps=0.0)
    method = pw.methods.regress(covariates="rain,time")
    stack, with_rain = pw.open_stack(make_stack(values)), pw.open_stack(make_stack(rain, folder="rain"))
    expected = pw.apply(stack, method, inputs={"rain": with_rain}).to_xarray()
    array, other = array_of(values), array_of(rain).rename("rain")
    for chunks, of_rain in (({}, {}), ({"y": 7}, {"x": 8}), ({"y": 7}, None), (None, {"y": 3}), (None, None)):
        mine = array if chunks is None else array.chunk(chunks)
        theirs = other if of_rain is None else other.chunk(of_rain)
        same(mine.pixelwise.apply(method, inputs={"rain": theirs.transpose("x", "time", "y")}).compute(), expected)


@pytest.mark.parametrize("lazy", [False, True])
def test_a_covariate_may_lack_dimensions_and_layers(values, lazy, caplog):
    index = xarray.DataArray(np.random.default_rng(1).normal(size=14), {"time": YEARS[:14]}, ("time",), "nino")
    method = pw.methods.regress(covariates="nino,time")
    wide = array_of(np.broadcast_to(index.values[:, None, None], (14, 20, 30)), YEARS[:14])
    expected = array_of(values[:14], YEARS[:14]).pixelwise.apply(method, inputs={"nino": wide})
    array = array_of(values).chunk({"y": 7}) if lazy else array_of(values)
    with caplog.at_level(logging.WARNING):
        found = array.pixelwise.apply(method, inputs={"nino": index})
    text = "2 of 16 layers of the response have no partner of the same year and are left out: 2014..2015"
    assert text in caplog.text
    assert text in found.attrs["warnings"]
    same(found.compute(), expected)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda a: a[:, 1:], "input 'rain' has 19 pixels along 'y', the response 20"),
        (lambda a: a.assign_coords(x=a.x + 1), r"other coordinates 'x' than the response: 6.0 instead of 5.0 at num"),
        (lambda a: a.expand_dims(band=[1]), "input 'rain' has the dimension 'band', which the response lacks"),
        (lambda a: a.values, r"expected a xarray.DataArray, not ndarray"),
        (lambda a: a.to_dataset(), r"expected a xarray.DataArray \(one of ndvi\), not Dataset"),
        (lambda a: a.assign_coords(time=a.time + 100), "no layer of "),
    ],
)
def test_covariates_that_do_not_match_are_refused(array, other, words):
    with pytest.raises(pw.PixelwiseError, match=words):
        array.pixelwise.apply(pw.methods.regress(covariates="rain,time"), inputs={"rain": other(array)})


def test_a_band_with_the_name_of_a_coordinate_is_refused_before_anything_is_computed(array, monkeypatch):
    monkeypatch.setattr("pixelwise.labelled.door.run_job", lambda *_: pytest.fail("something was computed"))
    means = pw.per_pixel(lambda values: (values.mean(), values.min()), bands=("mean", "x"))
    for method, coordinate in (("ols", "slope"), ("ols", "status"), (means, "other")):
        with pytest.raises(pw.ParameterError, match="which is also the name of a band"):
            array.assign_coords({coordinate: 1}).pixelwise.apply(method)


def spread(values, times):
    return values.max() - values.min(), times[-1]


@pytest.mark.parametrize("named", [False, True])
def test_functions_of_ones_own(values, named):
    array = array_of(values)
    bands = {"bands": ["range", "last"]} if named else {}
    eager = array.pixelwise.apply(spread, **bands)
    with dask.config.set(NOWHERE):
        lazy = array.chunk({"y": 5}).pixelwise.apply(spread, **bands)
    assert list(eager.data_vars) == [*(["range", "last"] if named else ["value_1", "value_2"]), "n", "status"]
    same(lazy.compute(), eager)


def fails_below(values, times):
    if values.min() < -0.1:
        raise ValueError("negative")
    return values.mean()


def test_a_function_that_fails_is_said_once(values, caplog):
    array = array_of(values).chunk({"y": 5})
    eager = array_of(values).pixelwise.apply(fails_below, bands=["mean"])
    caplog.clear()
    found = array.pixelwise.apply(fails_below, bands=["mean"])
    same(found.compute(scheduler="sync"), eager)
    assert (found["status"] == 5).any()
    assert caplog.text.count("failed at some pixels") == 1
    with pytest.raises(pw.FunctionError, match="negative"):
        array.pixelwise.apply(fails_below, bands=["mean"], strict=True).compute(scheduler="sync")


@pytest.mark.parametrize("lazy", [False, True])
def test_positions_are_no_years(values, lazy, caplog):
    array = array_of(values, np.arange(16))
    found = (array.chunk() if lazy else array).pixelwise.apply("ols")
    text = (
        "array 'ndvi': its times 'time' are the numbers 0 to 15, which are read as years: "
        "slopes are per unit of these numbers"
    )
    assert text in caplog.text
    assert found.attrs["warnings"] == text
    same(found[["slope"]].compute(), array_of(values).pixelwise.apply("ols")[["slope"]])


def test_what_a_method_says_about_the_dates_is_kept(caplog):
    days = np.arange("2000-01", "2004-01", dtype="datetime64[M]").astype("datetime64[ns]")
    monthly = array_of(random_series((48, 3, 4)), days)
    for array in (monthly, monthly.chunk()):
        caplog.clear()
        found = array.pixelwise.apply("ols")
        assert found.attrs["warnings"] in caplog.text
        assert "season" in found.attrs["warnings"]


def test_pixels_are_computed_once_and_chunks_stay(array):
    lazy = array.chunk({"time": -1, "y": 5, "x": 10})
    found = lazy.pixelwise.apply("ols")
    assert found["slope"].chunks == lazy.chunks[1:]
    graph = dict(dask.array.Array.__dask_optimize__(found["slope"].data.dask, found["slope"].data.__dask_keys__()))
    assert len(graph) <= 4 * 12


def test_an_integer_type_of_floats_in_a_file_is_the_same(tmp_path):
    numbers = np.random.default_rng(0).integers(0, 50, (16, 5, 6)).astype("int16")
    for year, layer in zip(YEARS, numbers, strict=True):
        write_raster(tmp_path / f"a_{year}.tif", layer, nodata=7)
    expected = pw.apply(pw.open_stack(tmp_path), "ols").to_xarray()
    same(array_of(numbers, _FillValue=7).pixelwise.apply("ols"), expected)
