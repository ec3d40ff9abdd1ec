"""Arrays as odc-stac and stackstac make them, of a static STAC catalogue on disk."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pystac
import pytest
import rioxarray

import pixelwise as pw
import pixelwise.xarray  # registers the accessor
from support.rasters import PROFILE
from support.stac import write_catalogue

odc_stac = pytest.importorskip("odc.stac")
stackstac = pytest.importorskip("stackstac")

assert rioxarray.__version__  # it registers the accessor .rio

pytestmark = [
    pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
]

TIMES = [datetime(year, 7, 1, 10, 30) for year in range(2015, 2022)]


@pytest.fixture(scope="module")
def red():
    values = np.random.default_rng(0).integers(1, 4000, (7, 12, 15)).astype("uint16")
    values[2, 3:6, 4:9] = 0
    return values


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory, red):
    return write_catalogue(tmp_path_factory.mktemp("stac"), {"red": red, "nir": red[::-1]}, TIMES)


@pytest.fixture
def items(catalogue):
    return list(pystac.Catalog.from_file(catalogue).get_items(recursive=True))


@pytest.fixture
def expected(catalogue):
    """Return what the engine finds in the same files."""
    dates = {path: time.isoformat() for path, time in zip(_files(catalogue, "red"), TIMES, strict=True)}
    return pw.apply(pw.open_stack(dates), "ols")


def _files(catalogue, name):
    return sorted((catalogue.parent / "files").glob(f"{name}-*.tif"))


def test_odc_stac(items, expected):
    red = odc_stac.load(items, bands=["red"], chunks={})["red"]
    assert red.dtype == np.uint16
    assert red.attrs["nodata"] == 0
    with pytest.raises(pw.ParameterError, match="'time' is cut into 7 chunks"):
        red.pixelwise.apply("ols")
    found = red.chunk({"time": -1}).pixelwise.apply("ols")
    for name in expected:
        np.testing.assert_array_equal(found[name].values, expected[name])
    assert found.odc.geobox.crs.epsg == 32617
    assert tuple(found.odc.geobox.affine)[:6] == tuple(PROFILE["transform"])[:6]


def test_stackstac(items, expected):
    stack = stackstac.stack(
        items, assets=["red", "nir"], epsg=32617, resolution=30, bounds=expected.grid.bounds, snap_bounds=False
    )
    found = stack.chunk({"time": -1}).pixelwise.apply("ols")
    assert found["slope"].dims == ("band", "y", "x")
    # Its numbers are float64: pixels of the same integers have the same line.
    for name in expected:
        np.testing.assert_array_equal(found[name].sel(band="red").values, expected[name])
    assert found["slope"].attrs["crs"] == "epsg:32617"
    assert found["slope"].rio.crs.to_epsg() == 32617
