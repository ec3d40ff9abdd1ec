"""The code of docs/xarray.md runs as it stands, on small files, and gives what the page says."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
import xarray

import pixelwise as pw
from support.pages import samples
from support.places import ROOT
from support.rasters import random_series, write_raster
from support.stac import write_catalogue

PAGE = ROOT / "docs" / "xarray.md"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    months = np.arange("2010-01", "2016-01", dtype="datetime64[M]").astype("datetime64[ns]")
    coordinates = {
        "time": months,
        "lat": ("lat", np.arange(88.0, -90.0, -22.0), {"units": "degrees_north"}),
        "lon": ("lon", np.arange(0.0, 360.0, 30.0), {"units": "degrees_east"}),
    }
    values = random_series((72, 9, 12), seed=1)
    sst = xarray.DataArray(values, coordinates, ("time", "lat", "lon"), "sst", {"units": "degC"})
    sst.to_netcdf("sst.nc")
    nino = xarray.DataArray(np.sin(np.arange(72)), {"time": months}, ("time",), "nino34")
    nino.to_netcdf("nino.nc")
    random = np.random.default_rng(0)
    bands = {name: random.integers(1, 4000, (14, 6, 7)).astype("uint16") for name in ("red", "nir")}
    times = [datetime(year, month, 1, 10) for year in range(2015, 2022) for month in (5, 8)]
    write_catalogue(tmp_path / "catalog", bands, times)
    for year, layer in enumerate(random_series((6, 8, 9)), 2000):
        write_raster(tmp_path / "ndvi" / f"ndvi_{year}.tif", layer)
    return tmp_path


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
@pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning")
def test_python(home):
    found = {}
    for block in samples(PAGE, "python"):
        exec(block, found)
    assert found["trend"]["slope"].attrs["units"] == "degC year-1"
    assert found["trend"]["slope"].dims == ("lat", "lon")
    assert found["slope"].chunks
    assert found["effect"]["nino"].attrs["long_name"]
    assert found["greening"].odc.geobox.crs.epsg == 32617
    assert (found["greening"]["n"].max() == 7).compute()
    assert isinstance(found["written"], pw.Map)
    for name in found["same"].data_vars:
        np.testing.assert_array_equal(found["same"][name].values, found["written"][name])
        np.testing.assert_array_equal(found["again"][name].values, found["written"][name])
