"""The commands of docs/gallery.md run as they stand, on a small scene, and its pictures are small."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from pixelwise import demo
from support.pages import run_sessions
from support.places import ROOT
from support.rasters import random_series, write_raster

PAGE = ROOT / "docs" / "gallery.md"
IMAGES = ROOT / "docs" / "images"
#: Those that docs/make_pictures.py makes.
MADE = sorted(path for path in IMAGES.glob("*.png") if path.name.startswith(("demo", "tutorial-", "gallery-")))


def test_commands_make_the_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "HEIGHT", 80)
    monkeypatch.setattr(demo, "WIDTH", 90)
    for year, layer in enumerate(random_series((8, 12, 14), seed=1), 1982):
        write_raster(tmp_path / "alaska" / f"ndvi_AK_{year}.tif", layer)
    # As large as the pixel that is shown needs.
    days = np.arange("2000-01-08", "2003-01-01", 45, dtype="datetime64[D]")
    for day, layer in zip(days, random_series((len(days), 72, 72), seed=2), strict=True):
        write_raster(tmp_path / "tura" / f"ndvi_{day}.tif", layer * 10_000)
    assert run_sessions(PAGE) == 20
    made = {path.name for path in tmp_path.glob("*.png")}
    shown = re.findall(r"\]\(images/(?:gallery|tutorial)-([\w.]+)\)", PAGE.read_text())
    assert len(shown) == 12
    assert set(shown) - {"report.png"} <= made


def test_pictures_are_shown_and_small() -> None:
    pages = "".join(page.read_text() for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    assert [path.name for path in MADE if f"images/{path.name}" not in pages] == []
    sizes = [path.stat().st_size for path in MADE]
    assert max(sizes) < 150_000
    assert sum(sizes) < 1_200_000
