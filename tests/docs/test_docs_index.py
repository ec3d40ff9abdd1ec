"""The commands of docs/index.md run, as those of the README do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pixelwise.cli import main
from support.pages import sessions
from support.places import ROOT
from support.rasters import random_series, write_raster

PAGE = ROOT / "docs" / "index.md"


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for year, layer in enumerate(random_series((21, 12, 10), seed=1), 1995):
        write_raster(Path("ndvi") / f"ndvi_{year}.tif", np.nan_to_num(layer, nan=-9999), nodata=-9999)
    # The others install, or take minutes; CI runs them by themselves.
    commands = [command for command, _ in sessions(PAGE) if not command.startswith(("pip", "pixelwise demo"))]
    assert len(commands) == 3
    for command in commands:
        result = CliRunner().invoke(main, command.split()[1:])
        assert result.exit_code == 0, (command, result.output)
    assert Path("trend.png").stat().st_size > 1000
