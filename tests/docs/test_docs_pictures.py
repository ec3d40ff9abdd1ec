"""The commands of docs/pictures.md run as they stand, on small files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from pixelwise.choices import ClassKind, Palette
from support.pages import run_sessions, samples
from support.places import ROOT
from support.rasters import random_series, write_raster

PAGE = ROOT / "docs" / "pictures.md"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the commands of the page ran."""
    home = tmp_path_factory.mktemp("pictures")
    for year, layer in enumerate(random_series((12, 40, 50), seed=1, gaps=0.01), 2000):
        write_raster(home / "ndvi" / f"ndvi_{year}.tif", layer)
    ring = [[-80.999, 30.724], [-80.99, 30.724], [-80.99, 30.73], [-80.999, 30.724]]
    shape = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    (home / "districts.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [shape]}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert run_sessions(PAGE) == 9
    return home


def test_commands_write_what_they_say(made: Path) -> None:
    assert {path.name for path in made.iterdir()} >= {
        "trend.png", "both.png", "confidence.png", "slope.pdf", "figure1.pdf", "figure1.txt", "areas.csv",
        *(f"{name}.{ending}" for name in ("classes", "green") for ending in ("tif", "qml", "tif.aux.xml")),
    }  # fmt: skip
    assert not (made / "n.png").exists()


def test_python(made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(made)
    found = samples(PAGE, "python")
    assert len(found) == 2
    names: dict[str, object] = {}
    for sample in found:
        exec(compile(sample, str(PAGE), "exec"), names)
    assert "significant increase, p < 0.05: " in capsys.readouterr().out


def test_every_choice_is_described() -> None:
    text = PAGE.read_text()
    described = set(re.findall(r"`([a-z]+)(?::\d+)?`", text))
    assert described >= {*get_args(ClassKind), *get_args(Palette)} - {"quantile"}
    assert "`quantile:7`" in text
