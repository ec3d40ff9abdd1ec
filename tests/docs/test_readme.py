"""The README's code samples run as they stand, on a small stack."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pixelwise.cli import main
from support.pages import samples
from support.places import ROOT
from support.rasters import random_series, write_raster

README = ROOT / "README.md"

#: These install, or take minutes; CI runs them by themselves.
NOT_HERE = ("make", "pip", "pixelwise demo")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("readme")
    values = random_series((21, 400, 20), seed=1)
    for year, layer in enumerate(values, 1995):
        write_raster(root / "ndvi" / f"ndvi_{year}.tif", np.nan_to_num(layer, nan=-9999), nodata=-9999)
    for year, layer in enumerate(random_series((21, 400, 20), seed=2, gaps=0), 1995):
        write_raster(root / "chirps" / f"chirps_{year}.tif", layer)
    months = np.arange("2010-01", "2014-01", dtype="datetime64[M]")
    for month, layer in zip(months, random_series((48, 4, 5), seed=3), strict=True):
        write_raster(root / "modis" / f"modis_{month}-15.tif", layer)
    module, *_ = samples(README, "python")
    (root / "my_module.py").write_text(module)
    return root


def test_python_samples(folder: Path) -> None:
    _, *scripts = samples(README, "python")
    script = "\n".join(scripts)
    assert "pw.apply" in script
    (folder / "samples.py").write_text(script)
    result = subprocess.run(
        [sys.executable, "-W", "error", "samples.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(
        "21 layers, 1995..2015, 20 x 400 pixels (width x height), EPSG:32617, float32, nodata -9999"
    )
    assert (folder / "spread.tif").exists()


def words_of(command: str, folder: Path) -> list[str]:
    """Return the words that a shell makes of a command."""
    text = subprocess.run(
        ["sh", "-c", f"printf '%s\\0' {command}"], cwd=folder, capture_output=True, text=True, check=True
    )
    return text.stdout.split("\0")[:-1]


def test_console_samples(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process: to start one takes longer than most commands."""
    monkeypatch.chdir(folder)
    lines = [line.removeprefix("$ ") for text in samples(README, "console") for line in text.splitlines() if line]
    commands = [line for line in lines if not line.startswith(NOT_HERE)]
    assert len(commands) >= 13
    for command in commands:
        program, *words = words_of(command, folder)
        assert program == "pixelwise"
        result = CliRunner().invoke(main, words)
        # The samples stand for runs on one day each; in one folder the second would find the first's map.
        if "already exists" in result.output:
            result = CliRunner().invoke(main, [*words, "--overwrite"])
        assert result.exit_code == 0, (command, result.output)
    assert (folder / "line_pvalue.tif").exists()
    assert (folder / "trend.png").stat().st_size > 1000


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)", README.read_text())
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_ratios_are_those_that_were_measured() -> None:
    text, page = README.read_text(), (ROOT / "docs" / "performance.md").read_text()
    table = page.partition("<!-- begin pipeline -->")[2].partition("<!-- end")[0]
    measured = {
        name: float(ratio) for name, ratio in re.findall(r"^\| ([^|]+) \|.*\| ([\d.]+) \([^|]+\|$", table, re.M)
    }
    others = [ratio for name, ratio in measured.items() if "lzw" not in name and "raw" not in name]
    assert f"takes {measured['tile256-lzw, 3000² x 21']:.1f} times as long" in text
    assert f"{min(others):.1f} to {max(others):.1f} times with other compression" in text
    dask = re.search(r"^\| dask apply_ufunc \| [\d.]+ \| ([\d.]+) ", page, re.M)
    assert dask is not None
    assert f"takes {float(dask[1]):.1f} times as long as the job" in text
    speed = re.search(r"^\| trend \| 21 \| ([\d.]+ million)", page, re.M)
    assert speed is not None
    assert f"{speed[1]} pixels a second and core" in text
