"""The whole job against the time to decode its input, by layout of the files.

Reference: plain rasterio on two threads, one handle per thread and file, windows of 256 x 1024 (tiles) or full width
x 256 rows (strips), GDAL's cache at 16 MiB, pixels thrown away. Against it, alternating A, B, A, B in one process after
a warm-up: pixelwise reading only, with `ols` kept in memory, and the whole job with five bands written as ZSTD.

    python benchmarks/pipeline.py [--layouts NAME,NAME] [--size 3000] [--dates 21] [--pairs 7] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window
from stacks import LAYOUTS, write_stack

import pixelwise as pw

BANDS = ["slope", "intercept", "rvalue", "pvalue", "stderr"]


def decode(paths: list[Path], threads: int = 2) -> None:
    """Decode every pixel as fast as plain rasterio does."""
    with rasterio.open(paths[0]) as dataset:
        height, width, count, dtype = dataset.height, dataset.width, dataset.count, dataset.dtypes[0]
        columns = width if dataset.block_shapes[0][1] == width else 1024
    windows = [
        Window(col, row, min(columns, width - col), min(256, height - row))
        for row in range(0, height, 256)
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


def seconds(task: Callable[[], object]) -> float:
    """Time one call."""
    began = time.perf_counter()
    task()
    return time.perf_counter() - began


def measure(paths: list[Path], pairs: int, jobs: int) -> dict[str, dict[str, float]]:
    """Return seconds of the reference, and of each task the ratio to the reference run just before it."""
    stack = pw.open_stack(paths)
    with tempfile.TemporaryDirectory(dir=paths[0].parent.parent) as folder:
        output = Path(folder) / "map.tif"

        def write() -> None:
            pw.apply(stack, "ols", output, bands=BANDS, jobs=jobs)

        tasks: dict[str, Callable[[], object]] = {
            "decode-only": lambda: pw.apply(stack, DecodeOnly(), jobs=jobs),
            "ols": lambda: pw.apply(stack, "ols", bands=BANDS, jobs=jobs),
            "ols + write": write,
        }
        results: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
        for name, task in tasks.items():
            for run in range(pairs + 1):
                pair = seconds(lambda: decode(paths, jobs)), seconds(task)
                output.unlink(missing_ok=True)
                if run:  # the first warms up
                    results[name].append(pair)
    return {name: summary(pairs) for name, pairs in results.items()}


def summary(pairs: list[tuple[float, float]]) -> dict[str, float]:
    """Return medians, and the spread of the ratio."""
    ratios = sorted(b / a for a, b in pairs)
    return {
        "reference_s": statistics.median(a for a, _ in pairs),
        "seconds": statistics.median(b for _, b in pairs),
        "ratio": statistics.median(ratios),
        "ratio_min": ratios[0],
        "ratio_max": ratios[-1],
    }


def main() -> None:
    """Measure the layouts asked for and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layouts", default=",".join(LAYOUTS))
    parser.add_argument("--size", type=int, default=3000)
    parser.add_argument("--dates", type=int, default=21)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "pixelwise-benchmarks")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    logging.getLogger("pixelwise").setLevel(logging.ERROR)
    results = {}
    print(f"{'layout':26} {'task':12} {'reference':>9} {'seconds':>8} {'ratio':>6}  spread")
    for name in options.layouts.split(","):
        paths = write_stack(options.folder, LAYOUTS[name], options.size, options.dates)
        results[name] = measure(paths, options.pairs, options.jobs)
        for task, row in results[name].items():
            print(
                f"{name:26} {task:12} {row['reference_s']:9.3f} {row['seconds']:8.3f} {row['ratio']:6.2f}  "
                f"{row['ratio_min']:.2f}..{row['ratio_max']:.2f}",
                flush=True,
            )
    if options.json:
        options.json.write_text(
            json.dumps({"options": {k: str(v) for k, v in vars(options).items()}, **results}, indent=1)
        )


if __name__ == "__main__":
    main()
