"""What gains cost: jobs that scale anyway, with and without a table.

Scenes of two bands of int16 with a scale, as products deliver them, in each layout: one band to a line, an index of
both bands to a line, and annual medians of it to a trend. Jobs take turns in one process after a warm-up, on one
thread. CPU seconds are compared, which others on the machine disturb least; the least of all rounds is what they
disturbed least.

    python benchmarks/gains.py [--layout NAME ...] [--size 1000] [--dates 60] [--rounds 9]
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from functools import partial
from pathlib import Path

import measure
import numpy as np
import rasterio
from affine import Affine

import pixelwise as pw

LAYOUTS = {
    "plain": {},
    "lzw": {"compress": "lzw", "predictor": 2, "tiled": True, "blockxsize": 256, "blockysize": 256},
    "deflate": {"compress": "deflate", "predictor": 2, "tiled": True, "blockxsize": 256, "blockysize": 256},
}
PER_YEAR = 6


def write_scenes(folder: Path, layout: str, size: int, dates: int) -> tuple[Path, Path]:
    """Write scenes and a table of their gains."""
    random = np.random.default_rng(0)
    profile = {"driver": "GTiff", "crs": "EPSG:32617", "transform": Affine(30, 0, 500000, 0, -30, 3400000), "count": 2,
               "height": size, "width": size, "dtype": "int16", "nodata": -9999, **LAYOUTS[layout]}  # fmt: skip
    scenes, lines = folder / layout, ["path,date,band,gain,offset"]
    scenes.mkdir()
    # Smooth with noise, as scenes are, so that compression has its usual work.
    ramp = np.add.outer(np.arange(size), np.arange(size)) % 700
    for number in range(dates):
        date = f"{2000 + number // PER_YEAR}-{4 + number % PER_YEAR:02d}-15"
        path = scenes / f"s_{date}.tif"
        with rasterio.open(path, "w", **profile) as dataset:
            for band, level in ((1, 500), (2, 2500)):
                dataset.write((level + ramp + random.normal(0, 30, ramp.shape)).astype(np.int16), band)
            dataset.descriptions, dataset.scales = ("red", "nir"), (1e-4, 1e-4)
        lines += [f"{layout}/{path.name},{date},{name},{random.uniform(0.9, 1.1)!r},0.01" for name in ("red", "nir")]
    table = folder / f"{layout}.csv"
    table.write_text("\n".join(lines))
    return scenes, table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layout", action="append", choices=LAYOUTS)
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--dates", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    logging.getLogger("pixelwise").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        for layout in options.layout or LAYOUTS:
            scenes, table = write_scenes(Path(folder), layout, options.size, options.dates)
            for name, asked, method in (
                ("band to ols", {"band": "nir"}, "ols"),
                ("index to ols", {"value": "ndvi"}, "ols"),
                ("index to annual medians to trend", {"value": "ndvi"}, "trend"),
            ):
                stacks = {
                    "without": pw.open_stack(scenes, **asked),
                    "with": pw.open_stack(scenes, gains=table, **asked),
                }
                if method == "trend":
                    stacks = {which: stack.composite("median") for which, stack in stacks.items()}
                tasks = {
                    which: partial(pw.apply, stack, method, executor="inline", jobs=1)
                    for which, stack in stacks.items()
                }
                times = measure.alternate(tasks, options.rounds, clock=time.process_time)
                found = measure.compare(times, "without")["with"]
                least = min(times["with"]) / min(times["without"])
                print(
                    f"{layout:8} {name:34} {found['seconds']:6.2f} s   {found['ratio']:.3f} of without "
                    f"({found['ratio_min']:.3f} to {found['ratio_max']:.3f}), least {least:.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
