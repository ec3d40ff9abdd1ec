"""The code and commands of docs/functions.md run as they stand, on small files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pixelwise.cli import main
from support.pages import run_sessions, samples
from support.places import ROOT
from support.rasters import random_series, write_raster

PAGE = ROOT / "docs" / "functions.md"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for year, layer in enumerate(random_series((21, 40, 50), seed=1, gaps=0.05), 1995):
        write_raster(tmp_path / "ndvi" / f"ndvi_{year}.tif", layer)
    (tmp_path / "limit.txt").write_text("0.5\n")
    # Functions belong to the file; what opens the stack is typed elsewhere.
    definitions = [sample for sample in samples(PAGE, "python") if "def " in sample]
    assert len(definitions) == 10
    (tmp_path / "mine.py").write_text("\n\n".join(definitions))
    return tmp_path


def test_commands(home: Path) -> None:
    assert run_sessions(PAGE) == 13
    assert (home / "halves.png").exists()
    assert not (home / "wrong.tif").exists()


def test_python(home: Path) -> None:
    names: dict[str, Any] = {}
    for sample in samples(PAGE, "python"):
        exec(compile(sample, str(PAGE), "exec"), names)
    assert names["fit"].words.startswith("value_1 ")
    assert names["longest_gap"](names["values"], names["times"]) == 0
    assert names["result"].names == ("value", "n", "status")


def test_a_doubt_is_named(home: Path) -> None:
    """In jobs that are long enough to be saved."""
    for year, layer in enumerate(random_series((21, 80, 80), seed=1), 1995):
        write_raster(home / "large" / f"ndvi_{year}.tif", layer)
    result = CliRunner().invoke(main, ["plan", "large", "--method", "mine.py:above_limit"])
    assert result.exit_code == 0, result.output
    assert "if the job is interrupted, it cannot be resumed" in result.output
    assert "loadtxt" in result.output
