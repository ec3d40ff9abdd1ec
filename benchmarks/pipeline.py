"""The whole job against the time to decode its input, by layout of the files.

Reference: plain rasterio on two threads, one handle per thread and file, windows of 256 x 1024 (512 x 1024 on tiles
of 512) or full width x 256 rows (strips), GDAL's cache at 16 MiB, pixels thrown away. Against it, in turn in one
process after a warm-up: pixelwise reading only, with `ols` kept in memory, and the whole job with five bands written
as ZSTD.

    python benchmarks/pipeline.py [--layouts NAME,NAME] [--size 3000] [--dates 21] [--rounds 7] [--threads]
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import measure
import numpy as np
import rasterio
from rasterio.windows import Window
from stacks import LAYOUTS, write_stack

import pixelwise as pw

BANDS = ["slope", "intercept", "rvalue", "pvalue", "stderr"]
REFERENCE = "reference"


def decode(paths: list[Path], threads: int = 2) -> None:
    """Decode every pixel as fast as plain rasterio does."""
    with rasterio.open(paths[0]) as dataset:
        height, width, count, dtype = dataset.height, dataset.width, dataset.count, dataset.dtypes[0]
        tile_height, tile_width = dataset.block_shapes[0]
        columns = width if tile_width == width else 1024
        rows = max(tile_height, 256)
    windows = [
        Window(col, row, min(columns, width - col), min(rows, height - row))
        for row in range(0, height, rows)
        for col in range(0, width, columns)
    ]
    local = threading.local()

    def read(window: Window) -> None:
        handles = local.__dict__.setdefault("handles", {})
        out = np.empty((len(paths) * count, window.height, window.width), dtype=dtype)
        for index, path in enumerate(paths):
            if path not in handles:
                handles[path] = rasterio.open(path, sharing=False)
            part = out[index * count : (index + 1) * count]
            handles[path].read(window=window, out=part)

    with rasterio.Env(GDAL_CACHEMAX=16 << 20), ThreadPoolExecutor(threads) as pool:
        list(pool.map(read, windows))


@dataclass(frozen=True)
class DecodeOnly(pw.Method):
    """Reads, and computes nothing: what the engine itself costs."""

    name = "decode_only"

    @property
    def bands(self) -> tuple[pw.Band, ...]:
        """One band of zeros."""
        return (pw.Band("nothing"),)

    def bind(self, axis, bands, inputs):
        """Bind."""
        return BoundDecodeOnly(self.bands)


@dataclass(frozen=True)
class BoundDecodeOnly:
    """Returns zeros."""

    bands: tuple[pw.Band, ...]
    halo: int = 0
    releases_gil: bool = True

    def __call__(self, inputs, dtype="float64"):
        """Return zeros."""
        pixels = inputs[0].shape[1]
        return np.zeros((1, pixels), dtype), np.zeros(pixels, np.uint8)


def measure_layout(paths: list[Path], rounds: int, jobs: int) -> dict[str, dict[str, float]]:
    """Measure all tasks on one stack, in turn, as ratios to the reference of the same round."""
    stack = pw.open_stack(paths)
    with tempfile.TemporaryDirectory(dir=paths[0].parent.parent) as folder:
        output = Path(folder) / "map.tif"
        tasks: dict[str, Callable[[], object]] = {
            REFERENCE: lambda: decode(paths, jobs),
            "decode-only": lambda: pw.apply(stack, DecodeOnly(), jobs=jobs),
            "ols": lambda: pw.apply(stack, "ols", bands=BANDS, jobs=jobs),
            "ols + write": lambda: pw.apply(stack, "ols", output, bands=BANDS, jobs=jobs),
        }
        times = measure.alternate(tasks, rounds, between=lambda: output.unlink(missing_ok=True))
    return measure.compare(times, REFERENCE)


def measure_threads(paths: list[Path], rounds: int) -> dict[str, dict[str, float]]:
    """Measure the whole job in the calling thread alone against two workers.

    With ``jobs=1`` the map is written beside the one worker, which is no single thread.
    """
    stack = pw.open_stack(paths)
    with tempfile.TemporaryDirectory(dir=paths[0].parent.parent) as folder:
        whole = partial(pw.apply, stack, "ols", output := Path(folder) / "map.tif", bands=BANDS)
        tasks = {
            "2 threads": partial(whole, jobs=2),
            "1 thread": partial(whole, jobs=1, executor="inline"),
            "1 worker": partial(whole, jobs=1),
        }
        times = measure.alternate(tasks, rounds, between=lambda: output.unlink(missing_ok=True))
    return measure.compare(times, "2 threads")


def main() -> None:
    """Measure the layouts asked for, save the results and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layouts", default=",".join(LAYOUTS))
    parser.add_argument("--size", type=int, default=3000)
    parser.add_argument("--dates", type=int, default=21)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--threads", action="store_true", help="one thread against two instead")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "pixelwise-benchmarks")
    options = parser.parse_args()
    logging.getLogger("pixelwise").setLevel(logging.ERROR)
    rows = []
    for name in options.layouts.split(","):
        paths = write_stack(options.folder, LAYOUTS[name], options.size, options.dates)
        case = f"{name}, {options.size}² x {options.dates}"
        if options.threads:
            results = measure_threads(paths, options.rounds)
            measure.save("threads", {case: results})
        else:
            results = measure_layout(paths, options.rounds, options.jobs)
            measure.save("pipeline", {case: results})
        for task, row in results.items():
            spread = f"{row['ratio_min']:.2f}..{row['ratio_max']:.2f}"
            rows.append((case, task, f"{row['seconds']:.3f}", f"{row['ratio']:.2f}", spread))
            print(*rows[-1], sep="  ", flush=True)
    print(measure.table(rows, ("stack", "task", "seconds", "ratio", "spread")))


if __name__ == "__main__":
    main()
