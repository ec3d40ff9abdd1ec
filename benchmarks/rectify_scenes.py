"""Rectify many scenes from files, beside decoding the sampled blocks: ``python benchmarks/rectify_scenes.py [SCENES]``.

Scenes of 1500 x 1500 pixels and 4 bands, in DEFLATE tiles of 256; a tenth of them is written, the others are links to
these, so that files come from the page cache. Both tasks use two threads and take turns.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import measure
import numpy as np
import rasterio
from affine import Affine

import pixelwise as pw
from pixelwise.rasters.handles import reading, reading_in_worker
from pixelwise.rectification.sample import sample_of
from pixelwise.rectification.scenes import scenes_of

SCENES, SIZE, ROUNDS, LINKS = 200, 1500, 3, 10
BANDS = ("blue", "green", "red", "nir")
#: Forest, crops, soil, water, town.
MEANS = np.array(
    [(0.03, 0.05, 0.04, 0.30), (0.05, 0.08, 0.09, 0.25), (0.08, 0.11, 0.14, 0.22), (0.04, 0.05, 0.04, 0.03),
     (0.12, 0.15, 0.18, 0.24)]
)  # fmt: skip


def write_scenes(folder: Path, count: int) -> None:
    """Write scenes of one landscape under gains and offsets of their own."""
    random = np.random.default_rng(1)
    kinds = random.integers(0, 5, (SIZE // 16 + 1,) * 2).repeat(16, 0).repeat(16, 1)[:SIZE, :SIZE]
    means = MEANS[kinds].transpose(2, 0, 1)
    truth = means * random.normal(1, 0.12, means.shape) + random.normal(0, 0.01, means.shape)
    profile = {
        "driver": "GTiff", "height": SIZE, "width": SIZE, "count": 4, "dtype": "uint16", "crs": "EPSG:32633",
        "transform": Affine(30, 0, 5e5, 0, -30, 5e6), "nodata": 0, "compress": "deflate", "predictor": 2,
        "tiled": True, "blockxsize": 256, "blockysize": 256,
    }  # fmt: skip
    written = folder
    for number in range(count):
        path = folder / f"s{number:04d}_{1980 + number // 24}-07-{1 + number % 24:02d}.tif"
        if number % LINKS:
            os.link(written, path)
            continue
        gain, offset = random.normal(1, 0.06, (4, 1, 1)), random.normal(0, 0.008, (4, 1, 1))
        seen = (truth + random.normal(0, 0.004, truth.shape) - offset) / gain
        with rasterio.open(path, "w", **profile) as dataset:
            dataset.write(np.clip(np.rint((seen + 0.2) / 2.75e-5), 1, 65535).astype(np.uint16))
            dataset.descriptions, dataset.scales, dataset.offsets = BANDS, (2.75e-5,) * 4, (-0.2,) * 4
        written = path


def decode(stack: pw.RasterStack) -> None:
    """Decode the blocks of the sample once, in two threads."""
    sample, scenes = sample_of(stack, 50_000, 0), scenes_of(stack.layers)

    def one(part: int) -> None:
        with reading_in_worker("decode", 200):
            for scene in scenes[part::2]:
                for block in sample.blocks:
                    scene.bands(stack, block)

    with reading((stack,)), ThreadPoolExecutor(2) as pool:
        list(pool.map(one, range(2)))


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else SCENES
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scenes(folder, count)
        stack = pw.open_stack(str(folder / "*.tif"), value=" + ".join(BANDS))
        pw.rectify(sorted(folder.glob("*.tif"))[:3], bands=BANDS)  # compiles
        tasks = {
            "decode the sampled blocks": lambda: decode(stack),
            "rectify": lambda: pw.rectify(stack, jobs=2, memory="1GiB", progress=False),
        }
        many = count > SCENES
        times = (
            {name: [measure.seconds(task)] for name, task in tasks.items()}
            if many
            else measure.alternate(tasks, ROUNDS)
        )
    results = measure.compare(times, "decode the sampled blocks")
    if count == SCENES:
        measure.save("rectify_scenes", results)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{count} scenes of {SIZE} x {SIZE} x 4; at most {memory:.0f} MiB")
    rows = [(name, f"{row['seconds']:.1f} s", f"{row['ratio']:.2f}") for name, row in results.items()]
    print(measure.table(rows, ("", "median", "/ decode once")))


if __name__ == "__main__":
    main()
