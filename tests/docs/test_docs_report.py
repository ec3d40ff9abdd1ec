"""The commands of docs/report.md run as they stand, on small files."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.pages import run_sessions, samples
from support.places import ROOT
from support.rasters import random_series, write_raster

pytest.importorskip("bokeh")

PAGE = ROOT / "docs" / "report.md"


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for year, layer in enumerate(random_series((8, 40, 50), seed=1), 2000):
        write_raster(tmp_path / "ndvi" / f"ndvi_{year}.tif", layer)
    monkeypatch.chdir(tmp_path)
    assert run_sessions(PAGE) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"ndvi", "trend.tif", "report.html"}
    (python,) = samples(PAGE, "python")
    exec(compile(python, str(PAGE), "exec"), {})
