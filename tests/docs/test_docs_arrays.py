"""The commands of docs/arrays.md run as they stand, on small files, and print what the page shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from support.arrays import cube, month_starts, write_netcdf, write_zarr
from support.dates import MONTH
from support.pages import run_sessions, samples
from support.places import ROOT

PAGE = ROOT / "docs" / "arrays.md"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    sst = random.normal(15, 2, (120, 18, 36)).astype("f4")
    sst[:, :3] = np.nan
    write_netcdf(tmp_path / "sst.nc", _on_the_globe(cube(sst, name="sst", numbers=_months_of_2010(), units=SINCE)))
    deep = random.normal(10, 1, (12, 3, 18, 36)).astype("f4")
    ocean = _on_the_globe(cube(deep[:, 0], name="temperature")).rename(y="lat", x="lon")
    dims = ("time", "depth", "lat", "lon")
    ocean["temperature"] = (dims, deep, {"units": "degC", "long_name": "sea water temperature"})
    ocean["salinity"] = (dims, deep + 20, {"units": "1"})
    ocean["depth"] = ("depth", np.array([0.0, 10.0, 100.0]))
    write_netcdf(tmp_path / "ocean.nc", ocean)
    red, nir = random.integers(100, 3000, (2, 90, 8, 9)).astype("u2")
    days = np.arange(90) * 30
    scenes = cube(red, name="B4", numbers=days).assign(
        B8=(("time", "y", "x"), nir), SCL=(("time", "y", "x"), random.choice([4, 5, 8], (90, 8, 9)).astype("u1"))
    )
    write_zarr(tmp_path / "scenes.zarr", scenes, chunks=(10, 8, 9))
    uneven = _on_the_globe(cube(sst[:12, 3:], numbers=month_starts(12))).rename(y="lat", x="lon")
    uneven["lat"] = ("lat", np.degrees(np.arcsin(np.linspace(0.9, -0.9, 15))), {"units": "degrees_north"})
    write_netcdf(tmp_path / "gaussian.nc", uneven)
    return tmp_path


SINCE = "days since 2010-01-01"


def _months_of_2010() -> Any:
    return (
        (np.datetime64("2010-01") + np.arange(120) * MONTH).astype("datetime64[D]") - np.datetime64("2010-01-01")
    ).astype(int)


def _on_the_globe(data: xr.Dataset) -> xr.Dataset:
    """Return pixels of ten degrees."""
    height, width = data.sizes["y"], data.sizes["x"]
    for variable in data.variables.values():
        variable.attrs.pop("grid_mapping", None)
    data = data.drop_vars("spatial_ref", errors="ignore")
    return data.assign(
        y=("y", 85.0 - 10 * np.arange(height), {"units": "degrees_north"}),
        x=("x", 5.0 + 10 * np.arange(width), {"units": "degrees_east"}),
    )


def test_commands(home: Path) -> None:
    assert run_sessions(PAGE) == 9


def test_python(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (script,) = samples(PAGE, "python")
    names: dict[str, Any] = {}
    exec(compile(script, "arrays.md", "exec"), names)
    assert capsys.readouterr().out.startswith(
        "12 layers, 2001-01-01..2001-12-01, 36 x 18 pixels (width x height), EPSG:4326"
    )
    assert names["trend"]["n"].max() == 12
    assert len(names["scenes"]) == 90
