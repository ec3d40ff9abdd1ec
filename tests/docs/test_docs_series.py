"""The commands of docs/series.md run as they stand, on small files, and print what the page shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.pages import run_sessions, samples
from support.places import ROOT
from support.rasters import random_series, write_raster

PAGE = ROOT / "docs" / "series.md"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the commands of the page ran."""
    home = tmp_path_factory.mktemp("series")
    values = random_series((21, 6, 7), seed=1, gaps=0.0)
    values[[4, 9], 3, 4] = np.nan
    for year, layer in enumerate(values, 2000):
        write_raster(home / "ndvi" / f"ndvi_{year}.tif", layer)
    (home / "plots.csv").write_text("name,x,y\nwood,500130,3399890\nfield,500015,3399985\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert run_sessions(PAGE) == 9
    return home


def test_commands_write_what_they_say(made: Path) -> None:
    assert {path.name for path in made.iterdir()} == {
        "ndvi", "plots.csv", "trend.tif", "pixel.png", "line.pdf", "plots.pdf", "plot_wood.png", "plot_field.png",
    }  # fmt: skip


def test_python(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)
    names: dict[str, Any] = {}
    for sample in samples(PAGE, "python"):
        exec(compile(sample, str(PAGE), "exec"), names)
    assert (names["pixel"].row, names["pixel"].col) == (3, 4)
    assert len(names["fits"]) == 2
