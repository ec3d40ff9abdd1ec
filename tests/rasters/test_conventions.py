"""Where the pixels of an array are: what CF, GDAL and GeoZarr write, read by other readers and read back."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import rioxarray
import xarray
from affine import Affine
from rasterio.crs import CRS

import pixelwise as pw
from pixelwise.crs import same_crs
from pixelwise.grid import Grid
from pixelwise.rasters.conventions import (
    SPATIAL_REF,
    Coordinate,
    coordinates_of,
    geozarr_of,
    grid_of,
    mapping_of,
    plane_of,
    unit_of,
)

assert rioxarray.__version__  # it registers the accessor .rio

# rioxarray multiplies transforms as affine 2 did.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

UTM = Grid(CRS.from_epsg(32617), Affine(30, 0, 500000, 0, -30, 3400000), 5, 7)
DEGREES = {"y": {"units": "degrees_north"}, "x": {"units": "degrees_east"}}
LCC = {
    "grid_mapping_name": "lambert_conformal_conic",
    "standard_parallel": np.array([25.0, 60.0]),
    "latitude_of_projection_origin": np.array([42.5]),
    "longitude_of_central_meridian": -100.0,
    "false_easting": 10.0,
    "false_northing": 0.0,
    "semi_major_axis": 6378137.0,
    "inverse_flattening": 298.257223563,
}


def axis(name, values, **attributes):
    values = np.asarray(values)
    return Coordinate(name, len(values), values, attributes)


def read_back(grid, **written):
    """Return the grid that what is written of another grid stands for."""
    places = coordinates_of(grid)
    sizes = {"y": grid.height, "x": grid.width}
    y, x = (Coordinate(name, sizes[name], *places.get(name, (None, {}))) for name in ("y", "x"))
    return grid_of(y, x, **written)


def dataset_of(grid):
    """Return an array as xarray has it after reading what is written."""
    found = coordinates_of(grid)
    coords = {name: (name, values, attrs) for name, (values, attrs) in found.items()}
    array = xarray.DataArray(np.zeros((grid.height, grid.width)), coords, ("y", "x"))
    array = array.assign_coords({SPATIAL_REF: ((), 0, mapping_of(grid))})
    array.encoding["grid_mapping"] = SPATIAL_REF
    return array


GRIDS = {
    "UTM": UTM,
    "degrees": Grid(CRS.from_epsg(4326), Affine(0.1, 0, -180, 0, -0.1, 90), 18, 36),
    "south up": Grid(CRS.from_epsg(3035), Affine(20, 0, 5271982.57655193, 0, 20, 2532014.21), 4, 3),
    "one row": Grid(CRS.from_epsg(32617), Affine(30, 0, 500000, 0, -30, 3400000), 1, 7),
    "MODIS": Grid(
        CRS.from_proj4("+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"),
        Affine(463.312716528, 0, -5559752.598333, 0, -463.312716528, 4447802.078667), 6, 6,
    ),
    "feet": Grid(CRS.from_epsg(2225), Affine(10, 0, 6e6, 0, -10, 2e6), 3, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", GRIDS)
def test_a_grid_is_read_back_and_others_read_the_same(name):
    grid = GRIDS[name]
    for written in ({"mapping": mapping_of(grid)}, {"attributes": geozarr_of(grid)}):
        assert tuple(read_back(grid, **written).transform) == tuple(grid.transform)
        assert not grid.differences(read_back(grid, **written))
    array = dataset_of(grid)
    assert array.rio.crs == grid.crs
    assert same_crs(CRS.from_wkt(pyproj.CRS.from_cf(mapping_of(grid)).to_wkt()), grid.crs)
    assert np.allclose(array.rio.transform(), grid.transform, rtol=1e-12)
    assert np.allclose(array.rio.transform(recalc=grid.height > 1), grid.transform, rtol=1e-9)


def test_a_rotated_grid_has_a_transform_and_no_coordinates():
    grid = Grid(UTM.crs, Affine(30, 5, 500000, 5, -30, 3400000), 4, 4)
    assert coordinates_of(grid) == {}
    assert read_back(grid, mapping=mapping_of(grid)) == grid
    assert read_back(grid, attributes=geozarr_of(grid)) == grid
    with pytest.raises(pw.InputError, match="is rotated, but it has one coordinate for each row and column"):
        grid_of(axis("y", [1, 2, 3, 4]), axis("x", [1, 2, 3, 4]), mapping_of(grid))


def test_a_crs_without_a_code_has_none_in_geozarr():
    written = geozarr_of(GRIDS["MODIS"])
    assert "proj:code" not in written
    assert pyproj.CRS.from_wkt(written["proj:wkt2"]).coordinate_operation.method_name == "Sinusoidal"
    assert geozarr_of(UTM)["proj:code"] == "EPSG:32617"
    assert [one["name"] for one in geozarr_of(UTM)["zarr_conventions"]] == ["proj:", "spatial:"]


def test_node_registration_means_centres():
    attributes = {**geozarr_of(UTM), "spatial:registration": "node"}
    shifted = Grid(UTM.crs, UTM.transform @ Affine.translation(-0.5, -0.5), UTM.height, UTM.width)
    found = grid_of(Coordinate("y", 5), Coordinate("x", 7), None, attributes)
    assert found == shifted


def test_float32_coordinates_stand_for_decimal_numbers():
    y, x = np.arange(60, 14, -1.25, dtype=np.float32), np.arange(225, 315.1, 1.875, dtype=np.float32)
    found = grid_of(axis("lat", y, **DEGREES["y"]), axis("lon", x, **DEGREES["x"]))
    assert found.crs.to_epsg() == 4326
    assert found.bounds == (224.0625, 14.375, 315.9375, 60.625)
    tenths = np.round(np.arange(3600) * 0.1 - 179.95, 2).astype(np.float32)
    found = grid_of(axis("lat", tenths[1800:0:-1]), axis("lon", tenths))
    assert found.transform.a == pytest.approx(0.1, abs=1e-15)
    assert found.crs is None


@pytest.mark.parametrize("rising", [True, False])
def test_the_order_of_rows_is_kept(rising):
    rows = [10.0, 20.0, 30.0] if rising else [30.0, 20.0, 10.0]
    found = grid_of(axis("y", rows), axis("x", [1.0, 2.0]))
    assert found.transform.e == (10 if rising else -10)
    assert found.transform.f == (5 if rising else 35)


def test_coordinates_decide_against_a_transform_that_is_left_from_before():
    array = dataset_of(UTM)[1:4, 2:]
    y, x = (axis(name, array[name].values, **array[name].attrs) for name in ("y", "x"))
    found = grid_of(y, x, array[SPATIAL_REF].attrs)
    assert found.bounds == (500060, 3400000 - 120, 500210, 3400000 - 30)
    [row] = array.y.values[:1]
    single = grid_of(axis("y", [row]), x, array[SPATIAL_REF].attrs)
    assert single.bounds[1::2] == (row - 15, row + 15)


def test_coordinates_of_corners_are_told_by_the_transform():
    y, x = 3400000 - 30.0 * np.arange(5), 500000 + 30.0 * np.arange(7)
    attributes = {"transform": UTM.transform, "crs": "epsg:32617"}
    assert grid_of(axis("y", y), axis("x", x), {}, attributes) == UTM
    assert grid_of(axis("y", y[1:]), axis("x", x[2:]), {}, attributes).bounds == (500060, 3399850, 500210, 3399970)


def test_the_size_of_one_pixel_comes_from_its_bounds():
    x = axis("x", [1.0, 2.0])
    y = Coordinate("y", 1, np.array([50.0]), bounds=np.array([[55.0, 45.0]]))
    assert grid_of(y, x).transform.e == -10
    with pytest.raises(pw.InputError, match=r"one value of 'y' only, so the size of its pixels is unknown"):
        grid_of(axis("y", [50.0]), x)


def test_parameters_of_cf_give_the_crs():
    y, x = axis("y", [0.0, 4000.0], units="m"), axis("x", [0.0, 4000.0], units="m")
    found = grid_of(y, x, LCC).crs
    as_pyproj = pyproj.CRS.from_proj4("+proj=lcc +lat_1=25 +lat_2=60 +lat_0=42.5 +lon_0=-100 +x_0=10 +ellps=GRS80")
    point = pyproj.Transformer.from_crs(CRS(found).to_wkt(), as_pyproj, always_xy=True).transform(1e5, 2e5)
    # The datum is not named: WGS 84 and GRS 80 differ by less than a millimetre in shape.
    assert point == pytest.approx((1e5, 2e5), abs=0.01)


def test_kilometres_become_the_units_of_the_crs():
    y, x = axis("y", [0.0, 4.0], units="km"), axis("x", [0.0, 4.0], units="km")
    metres = {**LCC, "false_easting": 10_000.0}
    in_metres = grid_of(axis("y", [0.0, 4000.0], units="m"), axis("x", [0.0, 4000.0], units="m"), metres)
    assert grid_of(y, x, LCC).bounds == (-2000, -2000, 6000, 6000)
    assert same_crs(grid_of(y, x, LCC).crs, in_metres.crs)
    # A CRS in kilometres is left alone, as are numbers of which nobody knows where they are.
    in_km = pyproj.CRS.from_proj4("+proj=lcc +lat_1=25 +lat_0=25 +lon_0=265 +units=km").to_wkt()
    assert grid_of(y, x, {"crs_wkt": in_km}).bounds == (-2, -2, 6, 6)
    assert grid_of(y, x).bounds == (-2, -2, 6, 6)
    with pytest.raises(pw.InputError, match="different units: 'km' for 'y' and 'm' for 'x'"):
        grid_of(y, axis("x", [0.0, 4.0], units="m"), LCC)


def test_scanning_angles_become_metres():
    goes = {
        "grid_mapping_name": "geostationary", "perspective_point_height": 35786023.0, "sweep_angle_axis": "x",
        "semi_major_axis": 6378137.0, "semi_minor_axis": 6356752.31414, "latitude_of_projection_origin": 0.0,
        "longitude_of_projection_origin": -75.0,
    }  # fmt: skip
    found = grid_of(axis("y", [0.1, 0.0], units="rad"), axis("x", [0.0, 0.1], units="rad"), goes)
    assert found.transform.a == pytest.approx(3578602.3)


@pytest.mark.parametrize(
    ("mapping", "attributes"),
    [
        ({"crs_wkt": UTM.crs.to_wkt()}, {}),
        ({"spatial_ref": UTM.crs.to_wkt()}, {}),
        ({"spatial_ref": "EPSG:32617"}, {}),
        ({}, {"proj:code": "EPSG:32617"}),
        ({}, {"proj:wkt2": UTM.crs.to_wkt(version="WKT2_2019")}),
        ({}, {"proj:projjson": pyproj.CRS.from_epsg(32617).to_json_dict()}),
        ({}, {"crs": "epsg:32617"}),
        ({}, {"crs": "+init=epsg:32617"}),
    ],
)
def test_the_crs_may_be_written_in_many_ways(mapping, attributes):
    assert same_crs(grid_of(axis("y", [0, 1]), axis("x", [0, 1]), mapping, attributes).crs, UTM.crs)


@pytest.mark.parametrize(
    ("y", "x", "mapping", "words"),
    [
        ([88.6, 86.7, 84.9], [0, 2], {}, "its latitudes 'lat' are not evenly spaced (a Gaussian grid?): steps from "),
        ([1, 2], [179, 181, -177], {}, "its longitudes 'lon' go from 181 to -177 at number 2; expected evenly spaced"),
        ([1, 1], [1, 2], {}, "its latitudes 'lat' go from 1 to 1 at number 1"),
        ([1, np.nan], [1, 2], {}, "its coordinate 'lat' has missing values"),
        ([[1, 2], [3, 4]], [1, 2], {}, "its coordinate 'lat' is 2-dimensional (a curvilinear grid)"),
        (["a", "b"], [1, 2], {}, "its coordinate 'lat' holds <U1 values; expected numbers"),
        ([1, 2], [1, 2], {"crs_wkt": "PROJCS["}, "its CRS 'PROJCS[' cannot be read"),
        ([1, 2], [1, 2], {"grid_mapping_name": "mercury"}, "its grid mapping 'mercury' cannot be read"),
        ([1, 2], [1, 2], {"spatial_ref": "EPSG:32617"}, "'lat' is in degrees, but its CRS, EPSG:32617, is projected"),
        ([1, 2], [1, 2], {"GeoTransform": "1 2 x"}, "its transform '1 2 x' does not consist of six numbers"),
    ],
)
def test_what_is_no_grid_is_refused(y, x, mapping, words):
    with pytest.raises(pw.InputError) as refused:
        grid_of(axis("lat", y, **DEGREES["y"]), axis("lon", x, **DEGREES["x"]), mapping)
    [problem] = refused.value.problems
    assert problem.startswith(words) or words in problem
    assert "\n" not in problem


def test_dimensions_without_coordinates_are_refused():
    with pytest.raises(pw.InputError, match="its dimension 'y' has no coordinates, and no GeoTransform says"):
        grid_of(Coordinate("y", 2), axis("x", [1, 2]))


@pytest.mark.parametrize(
    ("dimensions", "plane"),
    [
        ({"time": {}, "x": {}, "y": {}}, ("y", "x")),
        ({"Lat": {}, "Lon": {}}, ("Lat", "Lon")),
        ({"a": {"units": "degrees_east"}, "b": {"units": "degree_north"}}, ("b", "a")),
        ({"rlat": {"axis": "Y"}, "rlon": {"axis": "X"}, "y": {}, "x": {}}, ("rlat", "rlon")),
        ({"v": {"standard_name": "projection_y_coordinate"}, "u": {"axis": "X"}}, ("v", "u")),
        ({"time": {}, "depth": {}}, None),
    ],
)
def test_rows_and_columns_are_recognized(dimensions, plane):
    assert plane_of(dimensions) == plane


@pytest.mark.parametrize(
    ("unit", "written"),
    [
        ("K/year", "K year-1"),
        ("K/year^2", "K year-2"),
        ("1/year", "year-1"),
        ("m/s/year", "m/s year-1"),
        ("K/decade", "K (10 year)-1"),
        ("1/decade^2", "(10 year)-2"),
        ("mm", "mm"),
        ("", ""),
        ("g/yearling", "g/yearling"),
    ],
)
def test_units_are_written_as_in_cf(unit, written):
    assert unit_of(unit) == written
