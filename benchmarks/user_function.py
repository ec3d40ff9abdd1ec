"""A SciPy function per pixel over 100 000 pixels: one process against two, alternating, whole jobs.

Prints the median seconds of each and the ratio pair by pair. The classic script reaches 1.7 with two.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

import measure
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


def main() -> None:
    """Alternate one and two processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        write_stack(Path(name))
        stack = pw.open_stack(name)
        tasks = {
            f"{jobs} processes": partial(pw.apply, stack, scipy_fit, executor="processes", jobs=jobs) for jobs in (2, 1)
        }
        times = measure.alternate(tasks, rounds)
    results = measure.compare(times, "2 processes")
    measure.save("user function", results)
    rows = [(name, f"{row['seconds']:.2f}", f"{row['ratio']:.2f}") for name, row in results.items()]
    print(measure.table(rows, ("", "seconds", "ratio")))


if __name__ == "__main__":
    main()
