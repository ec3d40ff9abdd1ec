"""The ratios of docs/compare.md are those of docs/performance.md."""

from __future__ import annotations

import re

from support.places import ROOT

DOCS = ROOT / "docs"

#: Row of docs/performance.md by the beginning of a row of the page.
ROWS = {
    "CDO `trend`, uncompressed": "cdo trend",
    "CDO `trend`, compressed": "cdo trend, compressed",
    "GRASS": "GRASS r.series",
    "xarray": "dask apply_ufunc",
    "NumPy": "NumPy masked sums",
    "terra": "terra app",
    "SciPy": "scipy loop, 1 process",
}


def test_ratios_are_those_that_were_measured() -> None:
    table = (DOCS / "performance.md").read_text().partition("<!-- begin peers -->")[2].partition("<!-- end")[0]
    measured = dict(re.findall(r"^\| ([^|]+) \| [\d.]+ \| ([\d.]+) \|", table, re.MULTILINE))
    text = (DOCS / "compare.md").read_text()
    shown = dict(re.findall(r"^\| ([^|]+) \| ([\d.]+) \|$", text, re.MULTILINE))
    assert len(shown) == len(ROWS)
    for name, ratio in shown.items():
        row = next(row for start, row in ROWS.items() if name.startswith(start))
        assert measured[row] == ratio, name
    for method in ("ols", "trend"):
        speed = re.search(
            rf"^\| {method} \| 21 \| ([\d.]+) million", (DOCS / "performance.md").read_text(), re.MULTILINE
        )
        assert speed is not None
        assert f"{speed[1]} million" in text
