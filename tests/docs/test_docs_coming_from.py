"""The commands and the Python of docs/coming-from.md run, on small files as other tools write them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
import xarray
from affine import Affine

import pixelwise as pw
from support.pages import run_sessions, samples
from support.places import ROOT
from support.rasters import random_series, write_raster

PAGE = ROOT / "docs" / "coming-from.md"
EARTH_ENGINE, FUNCTION, XARRAY, SCIPY = samples(PAGE, "python")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("coming_from")
    values = random_series((21, 12, 10), seed=1)
    for year, layer in enumerate(values, 1995):
        name, filled = f"ndvi_{year}.tif", np.nan_to_num(layer, nan=-9999)
        write_raster(root / "ndvi" / name, filled, nodata=-9999)
        write_raster(root / "zeros" / name, np.nan_to_num(layer, nan=0))
        write_raster(root / "rain" / f"rain_{year}.tif", np.nan_to_num(layer[::-1], nan=0.4))
        for row, col in np.ndindex(2, 2):
            corner = Affine(30, 0, 500000 + 150 * col, 0, -30, 3400000 - 180 * row)
            part = filled[6 * row : 6 * row + 6, 5 * col : 5 * col + 5]
            shard = f"ndvi_{year + 6}-{6 * row:010d}-{5 * col:010d}.tif"
            write_raster(root / "export" / shard, part, nodata=-9999, transform=corner)
    months = np.arange("2010-01", "2014-01", dtype="datetime64[M]").astype("datetime64[ns]")
    coords = {"time": months, "lat": np.arange(4.0), "lon": np.arange(5.0)}
    sst = xarray.DataArray(random_series((48, 4, 5), gaps=0), coords, ("time", "lat", "lon"), "sst")
    sst["lat"].attrs["units"], sst["lon"].attrs["units"] = "degrees_north", "degrees_east"
    sst.to_netcdf(root / "sst.nc")
    (root / "my.py").write_text(FUNCTION)
    return root


def test_commands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert run_sessions(PAGE) == 12


def test_exports_are_named_so_that_their_dates_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = MagicMock()
    monkeypatch.setitem(sys.modules, "ee", engine)
    exec(EARTH_ENGINE, {})
    exported = engine.batch.Export.image.toDrive.call_args_list
    for call in exported:
        nodata = call.kwargs["formatOptions"]["noData"]
        write_raster(tmp_path / f"{call.kwargs['description']}.tif", np.zeros((2, 2), "float32"), nodata=nodata)
    stack = pw.open_stack(tmp_path)
    assert list(stack.axis.years) == list(range(2001, 2025))
    assert "nodata -9999" in str(stack)


@pytest.mark.parametrize("script", [XARRAY, SCIPY])
def test_python(folder: Path, script: str) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    if script == XARRAY:
        assert float(result.stdout) == pytest.approx(1e9 * 86400 * 365.25, rel=1e-6)
