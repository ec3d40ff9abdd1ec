"""The commands of docs/outputs.md run as they stand, on small files."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.pages import run_sessions, samples
from support.places import ROOT
from support.rasters import random_series, write_raster

PAGE = ROOT / "docs" / "outputs.md"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the commands of the page ran."""
    home = tmp_path_factory.mktemp("outputs")
    for year, layer in enumerate(random_series((6, 40, 50), seed=1), 2000):
        write_raster(home / "ndvi" / f"ndvi_{year}.tif", layer)
    days = [f"{year}{month:02}{day:02}" for year in range(1998, 2014) for month in range(1, 13) for day in (1, 16)]
    for day, layer in zip(days, random_series((len(days), 6, 8), seed=2), strict=True):
        write_raster(home / "gimms" / f"ndvi_{day}.tif", layer)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert run_sessions(PAGE) == 11
    return home


def test_commands_write_what_they_say(made: Path) -> None:
    assert {path.name for path in made.iterdir()} == {
        "ndvi", "trend.tif", "trend_cog.tif", "trend.zarr", "trend.nc", "trend.png", "annual.zarr", "slope.nc",
        "residuals.zarr", "gimms", "mean.tif", "anomalies.tif", "z.nc", "change.tif",
    }  # fmt: skip


def test_python(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)
    found = samples(PAGE, "python")
    assert len(found) == 3
    for sample in found:
        exec(compile(sample, str(PAGE), "exec"), {})
    assert (made / "ndvi.nc").exists()
