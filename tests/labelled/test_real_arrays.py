"""Arrays of real NetCDF files against xarray and NumPy; skipped where the shared data are absent."""

from __future__ import annotations

import cftime
import numpy as np
import pytest
import xarray

import pixelwise.xarray  # noqa: F401 - registers the accessor
from support.places import SHARED

ERSST = SHARED / "ersst_v5_2010_2020" / "sst.mnmean.nc"
IRIS = SHARED / "iris_north_america_annual" / "E1_north_america.nc"


@pytest.mark.skipif(not ERSST.exists(), reason=f"{ERSST} is absent")
@pytest.mark.parametrize("chunks", [None, {"lat": 30, "lon": 50}])
def test_sea_surface_temperature_as_xarray_fits_it(chunks):
    sst = xarray.open_dataset(ERSST)["sst"]
    sst = sst.chunk(chunks) if chunks else sst
    found = sst.pixelwise.apply("ols", dtype="float64").compute()
    with np.errstate(all="ignore"):
        fit = sst.astype("float64").compute().polyfit("time", 1, skipna=True)["polyfit_coefficients"]
    # xarray fits to nanoseconds.
    slope = fit.sel(degree=1).values * 365.25 * 86400e9
    answered = found["status"].isin([0, 3]).values
    assert answered.sum() > 10000
    np.testing.assert_allclose(found["slope"].values[answered], slope[answered], rtol=1e-6, atol=1e-9)
    assert np.isnan(found["slope"].values[~answered]).all()
    assert found["slope"].attrs["units"] == "degC year-1"
    assert found["lat"].attrs == sst["lat"].attrs


@pytest.mark.skipif(not IRIS.exists(), reason=f"{IRIS} is absent")
@pytest.mark.parametrize("chunks", [None, {"latitude": 20}])
def test_a_year_of_360_days_as_numpy_fits_it(chunks):
    air = xarray.open_dataset(IRIS, decode_coords="all")["air_temperature"]
    air = air.chunk(chunks) if chunks else air
    found = air.pixelwise.apply("ols", dtype="float64").compute()
    days = cftime.date2num(air["time"].values, "days since 1970-01-01", "360_day")
    values = air.values.astype(np.float64).reshape(len(days), -1)
    slope = np.polyfit(days / 360.0, values, 1)[0]
    np.testing.assert_allclose(found["slope"].values.ravel(), slope, rtol=1e-9)
    assert found["slope"].attrs["units"] == "K year-1"
    # The grid mapping of the file, and coordinates that do not depend on time.
    assert found["latitude_longitude"].attrs["semi_major_axis"] == 6371229.0
    assert set(found.coords) == {"latitude", "longitude", "height", "forecast_reference_time", "latitude_longitude"}
