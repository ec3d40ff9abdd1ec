"""The commands and the Python of docs/faq.md run, on files that raise these questions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from support.pages import run_sessions, samples
from support.places import ROOT
from support.rasters import random_series, write_raster

PAGE = ROOT / "docs" / "faq.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faq")
    values = random_series((21, 40, 30), seed=1)
    values[:, 0, 0] = np.nan
    values += 0.02 * np.arange(21, dtype="float32")[:, None, None]
    dates = ["path,date"]
    for number, layer in enumerate(values, 1):
        name = f"ndvi_{1994 + number}.tif"
        write_raster(root / "ndvi" / name, np.nan_to_num(layer, nan=-9999), nodata=-9999)
        write_raster(root / "zeros" / name, np.nan_to_num(layer, nan=0))
        packed = np.nan_to_num(layer * 10000, nan=-3000).astype("int16")
        write_raster(root / "packed" / name, packed, nodata=-3000)
        write_raster(root / "numbered" / f"image{number}.tif", layer)
        dates.append(f"numbered/image{number}.tif,{1994 + number}")
    (root / "dates.csv").write_text("\n".join(dates) + "\n")
    layer = np.nan_to_num(values[0, :20, :20], nan=0.4)
    for name in ("seasons/x_2001_02", "seasons/x_2002_03", "seasons/x_2003_04"):
        write_raster(root / f"{name}.tif", layer)
    for name in ("twice/a_1995", "twice/b_1995", "twice/c_1996", "twice/c_1997"):
        write_raster(root / f"{name}.tif", layer)
    for year in range(2000, 2006):
        corner = Affine(30, 0, 500007 if year == 2003 else 500000, 0, -30, 3400000)
        write_raster(root / "grids" / f"g_{year}.tif", layer, transform=corner)
    (root / "swapped.py").write_text("def fit(x, y):\n    return y.max()\n")
    return root


def test_commands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert run_sessions(PAGE) == 29


def test_python(folder: Path) -> None:
    (script,) = samples(PAGE, "python")
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "(40, 30)\n"
