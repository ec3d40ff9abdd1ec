"""Scenes to a trend in one pass: annual maxima of 300 dates, then a slope, against decoding the scenes alone.

In turn in one process after a warm-up: plain rasterio that throws the pixels away (as in `pipeline.py`), pixelwise
that reads the scenes, that makes annual maxima of them, and that fits them (`ols`, `theil_sen`).
The methods' own time is that on the annual layers, held in memory. Then the peak memory with 1000 dates.

    python benchmarks/scenes.py [--layout NAME] [--size 3000] [--dates 300] [--rounds 5] [--memory SIZE]
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import measure
import numpy as np
from pipeline import DecodeOnly, decode
from stacks import LAYOUTS, write_stack

import pixelwise as pw


@dataclass(frozen=True, eq=False)
class InMemory:
    """Layers that are read already."""

    grid: pw.Grid
    axis: pw.TimeAxis
    values: np.ndarray

    def read(self, block):
        """Return a part."""
        return self.values[(slice(None), *block.slices)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layout", default="tile256-deflate-p2")
    parser.add_argument("--size", type=int, default=3000)
    parser.add_argument("--dates", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "pixelwise-benchmarks")
    parser.add_argument("--peak", nargs=2, metavar=("DATES", "MEMORY"), help="One job, for its memory.")
    options = parser.parse_args()
    logging.getLogger("pixelwise").setLevel(logging.ERROR)
    if options.peak:
        paths = write_stack(options.folder, LAYOUTS[options.layout], options.size, int(options.peak[0]))
        limit = None if options.peak[1] == "none" else options.peak[1]
        pw.apply(pw.open_stack(paths).composite("max"), "ols", options.folder / "out.tif", memory=limit, overwrite=True)
        return
    paths = write_stack(options.folder, LAYOUTS[options.layout], options.size, options.dates)
    scenes = pw.open_stack(paths)
    annual = scenes.composite("max")
    held = InMemory(annual.grid, annual.axis, annual.read(annual.grid.block))
    tasks = {
        "rasterio": partial(decode, paths),
        "scenes": partial(pw.apply, scenes, DecodeOnly()),
        "annual": partial(pw.apply, annual, DecodeOnly()),
        "annual, ols": partial(pw.apply, annual, "ols"),
        "annual, theil_sen": partial(pw.apply, annual, "theil_sen"),
        "ols alone": partial(pw.apply, held, "ols"),
        "theil_sen alone": partial(pw.apply, held, "theil_sen"),
    }
    times = measure.alternate(tasks, options.rounds)
    for name, found in measure.compare(times, "rasterio").items():
        spread = f"{found['ratio_min']:.2f} to {found['ratio_max']:.2f}"
        print(f"{name:20} {found['seconds']:7.2f} s   {found['ratio']:.2f} of rasterio ({spread})")
    for limit in ("none", "1GiB", "600MiB"):
        seconds, peak = measure.peak_memory(
            [__file__, "--layout", options.layout, "--size", "1000", "--peak", "1000", limit]
        )
        print(f"1000 dates, --memory {limit}: {peak:.0f} MB, {seconds:.1f} s")
    for name in ("ols", "theil_sen"):
        ratios = sorted(
            (fused - alone) / read
            for fused, alone, read in zip(
                times[f"annual, {name}"], times[f"{name} alone"], times["rasterio"], strict=True
            )
        )
        low, middle, high = ratios[0], ratios[len(ratios) // 2], ratios[-1]
        print(f"{name}: (fused - method alone) / rasterio {middle:.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
