"""How much of the time of making annual composites anew it takes to append a year to them.

Usage: python benchmarks/append.py [--years 20] [--scenes 12] [--size 1500] [--rounds 3]

Scenes are int16 GeoTIFFs (DEFLATE, 256 x 256) with noise around a season. Both tasks end with the same file.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from measure import alternate, compare

import pixelwise as pw
from pixelwise.appending import append_layers
from pixelwise.jobs.execution import Execution
from pixelwise.jobs.output_spec import OutputSpec

log = logging.getLogger(__name__)


def write_scenes(folder: Path, years: range, scenes: int, size: int) -> None:
    random = np.random.default_rng(years.start)
    profile = {
        "driver": "GTiff", "height": size, "width": size, "count": 1, "dtype": "int16", "crs": "EPSG:32633",
        "transform": rasterio.Affine(30, 0, 300000, 0, -30, 5000000), "tiled": True, "blockxsize": 256,
        "blockysize": 256, "compress": "deflate", "nodata": -9999,
    }  # fmt: skip
    for year in years:
        for number in range(scenes):
            month = 1 + 12 * number // scenes
            season = 3000 + 3000 * np.sin(np.pi * (month - 1) / 11)
            values = (season + random.normal(0, 300, (size, size))).astype("int16")
            with rasterio.open(folder / f"ndvi_{year}-{month:02}-15.tif", "w", **profile) as dataset:
                dataset.write(values, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, usual in (("years", 20), ("scenes", 12), ("size", 1500), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    options = parser.parse_args()
    logging.getLogger("pixelwise").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "scenes").mkdir()
        last = 2000 + options.years
        write_scenes(folder / "scenes", range(2000, last), options.scenes, options.size)
        before = pw.open_stack(folder / "scenes").composite("median")
        pw.write_layers(before, folder / "before.tif", progress=False)
        write_scenes(folder / "scenes", range(last, last + 1), options.scenes, options.size)

        def stack() -> pw.CompositeStack:
            return pw.open_stack(folder / "scenes").composite("median")

        def anew() -> None:
            pw.write_layers(stack(), folder / "anew.tif", progress=False, overwrite=True)

        def append() -> None:
            append_layers(stack(), folder / "appended.tif", OutputSpec(), Execution(progress=False))

        def restore() -> None:
            shutil.copy(folder / "before.tif", folder / "appended.tif")

        restore()
        times = alternate({"anew": anew, "append": append}, options.rounds, restore)
        append()
        one, other = pw.open_map(folder / "anew.tif"), pw.open_map(folder / "appended.tif")
        assert one.names == other.names
        assert all(np.array_equal(one[band], other[band], equal_nan=True) for band in one.names)
        for task, found in compare(times, "anew").items():
            print(task, {key: round(value, 3) for key, value in found.items()})


if __name__ == "__main__":
    main()
