"""Maps of pixels that no transform places, in the formats that keep their coordinates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import pixelwise as pw
from support.stopping import Stop, stopped_after

ROWS, COLUMNS = 40, 60


def dataset(kind: str) -> xr.Dataset:
    """Return 6 years of a Gaussian grid, or of longitudes and latitudes of each pixel."""
    values = np.random.default_rng(0).normal(size=(6, ROWS, COLUMNS)).astype("f4")
    north = np.degrees(np.arcsin(np.linspace(0.9, -0.9, ROWS)))
    east = np.arange(COLUMNS) * 6.0
    found = xr.Dataset({"tas": (("time", "y", "x"), values, {"units": "K"})})
    found["time"] = ("time", np.arange(2000, 2006), {"units": "year"})
    degrees = {"units": "degrees_north"}, {"units": "degrees_east"}
    if kind == "gaussian":
        return found.assign_coords(y=("y", north, degrees[0]), x=("x", east, degrees[1]))
    rows, cols = np.meshgrid(north, east, indexing="ij")
    return found.assign_coords(
        lat=(("y", "x"), rows + cols / 100, degrees[0]), lon=(("y", "x"), cols - rows / 100, degrees[1])
    )


@pytest.mark.parametrize("kind", ["gaussian", "curvilinear"])
@pytest.mark.parametrize("suffix", ["zarr", "nc"])
def test_coordinates_are_kept(kind: str, suffix: str, tmp_path: Path, out: Path) -> None:
    dataset(kind).to_netcdf(tmp_path / "tas.nc")
    stack = pw.open_stack(tmp_path / "tas.nc")
    assert stack.grid.places is not None
    path = out / f"trend.{suffix}"
    with pytest.raises(Stop):
        pw.apply(stack, "ols", path, executor="inline", jobs=2, progress=stopped_after(1))
    made = pw.apply(stack, "ols", path, write={"fitted": out / f"fitted.{suffix}"})
    wanted = pw.apply(stack, "ols")
    for found in (made, pw.open_map(path)):
        assert found.grid == wanted.grid
        np.testing.assert_array_equal(found["slope"], wanted["slope"])
    options: Any = {"engine": "zarr"} if suffix == "zarr" else {}
    with xr.open_dataset(path, **options) as opened:
        names = ("y", "x") if kind == "gaussian" else ("lat", "lon")
        for name, values in zip(names, (stack.grid.places.y, stack.grid.places.x), strict=True):
            np.testing.assert_array_equal(opened[name], values)
            assert name in opened.slope.coords
    again = pw.open_stack(out / f"fitted.{suffix}")
    assert again.grid.places == stack.grid.places
