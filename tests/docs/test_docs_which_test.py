"""The commands of docs/which-test.md run, and its numbers are those that were measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from support.pages import run_sessions
from support.places import ROOT
from support.rasters import random_series, write_raster

PAGE = ROOT / "docs" / "which-test.md"

#: Name in results.json by row of the page.
NAMES = {
    "`ols`": "`ols` pvalue",
    "`mann_kendall`": "`mann_kendall`",
    "**`trend`**": "**`trend` pvalue**",
    "`mann_kendall`, `correction=hamed_rao`": "... `hamed_rao`",
    "`mann_kendall`, `correction=yue_wang`": "... `yue_wang`",
    "`mann_kendall`, `correction=yue_wang`, all lags, no floor": "... `yue_wang`, all lags, `floor=False`",
    "`mann_kendall`, `correction=prewhiten`": "... `prewhiten`",
}


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for year, layer in enumerate(random_series((21, 12, 10), seed=1), 1995):
        layer += 0.02 * (year - 1995)
        write_raster(Path("ndvi") / f"ndvi_{year}.tif", np.nan_to_num(layer, nan=-9999), nodata=-9999)
    assert run_sessions(PAGE) == 2


@pytest.mark.parametrize(("kind", "columns", "count"), [("no trend", 4, 7), ("power", 3, 4)])
def test_error_rates_are_those_that_were_measured(kind: str, columns: int, count: int) -> None:
    results = json.loads((ROOT / "benchmarks" / "results.json").read_text())["error_rates"]
    measured = results["21 annual values, trend of 0.09 sd a year"]
    rows = re.findall(rf"^\| ([^|]+) \| ((?:\d+ \| ){{{columns - 1}}}\d+) \|$", PAGE.read_text(), re.MULTILINE)
    assert len(rows) == count
    for name, cells in rows:
        expected = measured[NAMES[name]][kind][:columns]
        assert [int(cell) for cell in cells.split(" | ")] == [round(one) for one in expected], name
