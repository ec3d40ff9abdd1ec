"""The commands of docs/significance.md run as they stand, on small files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pixelwise as pw
from support.pages import run_sessions, samples
from support.places import ROOT
from support.rasters import random_series, write_raster

PAGE = ROOT / "docs" / "significance.md"


def test_commands_and_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    series = random_series((15, 60, 130), seed=4, gaps=0.1)
    series[:, :, 90:] += np.linspace(0, 0.6, 15, dtype="float32")[:, None, None]
    for year, layer in enumerate(series, 2000):
        write_raster(tmp_path / "ndvi" / f"ndvi_{year}.tif", layer)
    monkeypatch.chdir(tmp_path)
    assert run_sessions(PAGE) == 5
    whole, sure = pw.open_map("trend.tif"), pw.open_map("trend_fdr.tif")
    for name in whole.names:
        assert whole[name].tobytes() == sure[name].tobytes(), name
    assert pw.open_map("strict.zarr").provenance["fdr"]["pvalue"] == "pvalue_mk"
    [sample] = samples(PAGE, "python")
    exec(compile(sample, str(PAGE), "exec"), {})
    assert f"7800 tests, {(whole['significant'] == 1).sum()} significant\n" in capsys.readouterr().out
