"""The commands of docs/zones.md run as they stand, on small files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely

from support.pages import run_sessions, samples
from support.places import ROOT
from support.rasters import PROFILE, random_series, write_raster

PAGE = ROOT / "docs" / "zones.md"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the commands of the page ran."""
    home = tmp_path_factory.mktemp("zones")
    for year, layer in enumerate(random_series((8, 40, 50), seed=1), 2000):
        write_raster(home / "ndvi" / f"ndvi_{year}.tif", layer)
    write_raster(home / "landcover.tif", np.arange(2000, dtype=np.uint8).reshape(40, 50) // 100)
    left, top = PROFILE["transform"].c, PROFILE["transform"].f
    shapes = [
        shapely.box(left + 100, top - 900, left + 700, top - 200),
        shapely.Point(left + 900, top - 600).buffer(300),
    ]
    pyogrio.raw.write(
        str(home / "parks.gpkg"), shapely.to_wkb(shapes), [np.array(["North", "South"], object)], ["name"],
        layer="parks", driver="GPKG", geometry_type="Polygon", crs=PROFILE["crs"],
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert run_sessions(PAGE) == 5
    return home


def test_the_columns_are_those_of_the_page(made: Path) -> None:
    with (made / "parks.csv").open(newline="") as file:
        [north, _] = csv.DictReader(file)
    assert north["name"] == "North"
    page = PAGE.read_text()
    for column in ("zone_km2", "covered", "valid_km2", "tested_km2", "tested_pixels", "significant_increase_km2",
                   "significant_increase_share"):  # fmt: skip
        assert column in north
        assert f"`{column}`" in page
    assert {"slope_mean", "slope_sd", "slope_median", "n_mean"} <= set(north)
    assert (made / "means.csv").read_text().startswith("zone,name,date,mean,share\n1,North,2000,")
    assert "series_slope" in (made / "parks_series.csv").read_text()
    assert (made / "landcover.csv").read_text().startswith("class,")


def test_python(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)
    [sample] = samples(PAGE, "python")
    found: dict[str, object] = {}
    exec(compile(sample, str(PAGE), "exec"), found)
    assert (made / "parks_again.gpkg").exists()
