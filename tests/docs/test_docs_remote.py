"""The commands of docs/remote.md run as they stand, but on a server on loopback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.pages import run_sessions
from support.places import ROOT
from support.rasters import random_series, write_raster
from support.servers import odd_server

PAGE = ROOT / "docs" / "remote.md"


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    names = [f"ndvi_{2000 + year}.tif" for year in range(5)]
    for name, layer in zip(names, random_series((5, 40, 50), seed=1), strict=True):
        write_raster(root / "ndvi" / name, layer, compress="deflate", tiled=True, blockxsize=16, blockysize=16)
    (root / "ndvi" / "list.txt").write_text("\n".join(names))
    (root / "ndvi" / "dates.csv").write_text("".join(f"{name},{name[5:9]}\n" for name in names))
    with odd_server(root) as server:
        items = [
            {
                "id": name, "properties": {"datetime": f"{name[5:9]}-07-01T00:00:00Z"},
                "assets": {"ndvi": {"href": f"{server.url}/ndvi/{name}"}, "other": {"href": "x"}},
            }
            for name in names
        ]  # fmt: skip
        home = tmp_path / "home"
        home.mkdir()
        (home / "items.json").write_text(json.dumps(items))
        page = tmp_path / "page.md"
        text = PAGE.read_text().replace("https://data.example.org", server.url)
        page.write_text(text.replace("--allow-scheme https", "--allow-scheme http"))
        monkeypatch.chdir(home)
        assert run_sessions(page) == 5
    assert {path.name for path in home.iterdir()} == {"items.json", "trend.tif", "stac.tif"}
