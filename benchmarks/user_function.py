"""A SciPy function per pixel over 100 000 pixels: one process against two, alternating, whole jobs.

Prints the median seconds of each and the ratio pair by pair. The classic script reaches 1.7 with two.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio

import pixelwise as pw

SIDE = 317  # squared about 100 000


def write_stack(folder: Path) -> None:
    """Write 21 years of noise."""
    random = np.random.default_rng(0)
    for year in range(1995, 2016):
        with rasterio.open(
            folder / f"ndvi_{year}.tif", "w", driver="GTiff", height=SIDE, width=SIDE, count=1, dtype="float32",
            crs="EPSG:32617", transform=rasterio.Affine(30, 0, 0, 0, -30, 0),
        ) as dataset:  # fmt: skip
            dataset.write(random.normal(0.5, 0.1, (1, SIDE, SIDE)).astype(np.float32))


@pw.per_pixel(bands=["slope", "pvalue"], jit=False)
def scipy_fit(values, times):
    """Fit as the classic script does."""
    from scipy.stats import linregress

    result = linregress(times, values)
    return result.slope, result.pvalue


def seconds(stack: pw.RasterStack, jobs: int) -> float:
    """Time one whole job."""
    began = time.perf_counter()
    pw.apply(stack, scipy_fit, executor="processes", jobs=jobs)
    return time.perf_counter() - began


def main() -> None:
    """Alternate one and two processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory() as name:
        write_stack(Path(name))
        stack = pw.open_stack(name)
        times = [(seconds(stack, 1), seconds(stack, 2)) for _ in range(pairs)]
    one, two = zip(*times, strict=True)
    ratios = sorted(a / b for a, b in times)
    print(f"1 process {statistics.median(one):.2f} s, 2 processes {statistics.median(two):.2f} s")
    print(f"ratio {statistics.median(ratios):.2f} (from {ratios[0]:.2f} to {ratios[-1]:.2f}, {pairs} pairs)")


if __name__ == "__main__":
    main()
