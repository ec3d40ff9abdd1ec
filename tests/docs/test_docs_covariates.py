"""The commands of docs/covariates.md run as they stand, on a small stack, and say what it shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import pixelwise as pw
from pixelwise.cli import main
from support.places import ROOT
from support.rasters import random_series, write_raster

PAGE = (ROOT / "docs" / "covariates.md").read_text()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for year, layer in enumerate(random_series((16, 4, 5), seed=1), 2000):
        write_raster(tmp_path / "ndvi" / f"ndvi_{year}.tif", layer)
    months = np.arange("1998-01", "2013-01", dtype="datetime64[M]")
    for month, layer in zip(months, random_series((len(months), 4, 5), seed=2, gaps=0.0), strict=True):
        write_raster(tmp_path / "chirps" / f"chirps_{month}-01.tif", layer)
    rows = "".join(f"{year},{(7 * year) % 11}\n" for year in range(1990, 2020))
    (tmp_path / "nino.csv").write_text(f"date,nino34\n{rows}")
    return tmp_path


def pattern(line: str) -> str:
    return ".*".join(re.escape(part) for part in line.split("..."))


def test_commands(home: Path) -> None:
    told = 0
    for block in re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        for sample in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *lines = sample.splitlines()
            result = CliRunner().invoke(main, shlex.split(command)[1:])
            refused = any("but the response has one for each" in line for line in lines)
            assert result.exit_code == (1 if refused else 0), result.output
            for line in lines:
                assert re.search(pattern(line), result.output), (line, result.output)
                told += line != "..."
    assert told == 5


def test_python(home: Path) -> None:
    script = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0]
    exec(script, {"pw": pw})
    assert pw.open_map("trend.tif").provenance["pairing"]["left_out"] == {
        "response": ["2013..2015"], "rain": ["1998..1999"]
    }  # fmt: skip
