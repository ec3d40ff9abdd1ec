"""Stacks for the benchmarks: an NDVI-like field, quantised to 1e-4, 5 % nodata in blobs per date."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

NODATA = -9999
#: So many dates differ; further ones are links to them, so that a thousand fit on a disk. Of large rasters fewer do.
DISTINCT, DISTINCT_LARGE = 21, 3
#: Larger rasters repeat this many rows and columns.
PATTERN = 3000
TRANSFORM = rasterio.Affine(30, 0, 500000, 0, -30, 3400000)


@dataclass(frozen=True)
class Layout:
    """How the files of a stack are stored: one per date, or with `together` all dates in one."""

    name: str
    dtype: str = "float32"
    creation: dict[str, Any] = field(default_factory=dict)
    together: bool = False
    driver: str = "GTiff"


def tiled(edge: int, **options: Any) -> dict[str, Any]:
    """Return creation options of square tiles."""
    return {"tiled": True, "blockxsize": edge, "blockysize": edge, **options}


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("strips-raw"),
        Layout("strips-lzw", creation={"compress": "lzw", "blockysize": 1}),
        Layout("strips-deflate", creation={"compress": "deflate", "blockysize": 1}),
        Layout("tile256-lzw", creation=tiled(256, compress="lzw")),
        Layout("tile256-deflate", creation=tiled(256, compress="deflate")),
        Layout("tile256-deflate-p2", creation=tiled(256, compress="deflate", predictor=2)),
        Layout("tile256-deflate-p3", creation=tiled(256, compress="deflate", predictor=3)),
        Layout("int16-tile256-deflate-p2", "int16", tiled(256, compress="deflate", predictor=2)),
        Layout("tile512-zstd", creation=tiled(512, compress="zstd")),
        Layout("tile512-zstd-p2", creation=tiled(512, compress="zstd", predictor=2)),
        Layout("cog-deflate-p3", creation={"compress": "deflate", "predictor": "yes", "blocksize": 512}, driver="COG"),
        Layout("bands-pixel", creation=tiled(256, compress="deflate", predictor=2, interleave="pixel"), together=True),
        Layout("bands-band", creation=tiled(256, compress="deflate", predictor=2, interleave="band"), together=True),
    )
}


def make_layer(size: int, index: int) -> np.ndarray:
    """Return one date: a smooth field, noise, a slope, and round clouds of nodata."""
    random = np.random.default_rng(index)
    rows, cols = np.mgrid[0:size, 0:size].astype(np.float32)
    values = 0.5 + 0.2 * np.sin(cols / 211) * np.cos(rows / 173) + 0.002 * index
    values += random.normal(0, 0.03, values.shape).astype(np.float32)
    missing = np.zeros((size, size), dtype=bool)
    while missing.mean() < 0.05:
        row, col, radius = random.integers(size), random.integers(size), random.integers(size // 60, size // 20)
        part = np.s_[max(row - radius, 0) : row + radius, max(col - radius, 0) : col + radius]
        missing[part] |= (rows[part] - row) ** 2 + (cols[part] - col) ** 2 < radius**2
    return np.where(missing, NODATA, values.round(4)).astype(np.float32)


def write_stack(folder: Path, layout: Layout, size: int, dates: int) -> list[Path]:
    """Write a stack once: `dates` monthly files, or one file of as many bands."""
    target = folder / f"{layout.name}-{size}-{dates}"
    done = target / "done"
    if not done.exists():
        target.mkdir(parents=True, exist_ok=True)
        profile = {
            "driver": layout.driver, "width": size, "height": size, "dtype": layout.dtype, "nodata": NODATA,
            "crs": "EPSG:32617", "transform": TRANSFORM, "bigtiff": "if_safer", **layout.creation,
        }  # fmt: skip
        distinct = DISTINCT if size <= PATTERN else DISTINCT_LARGE
        if layout.together:
            with rasterio.open(target / "all.tif", "w", count=dates, **profile) as dataset:
                dataset.write(np.stack([stored(size, i % distinct, layout.dtype) for i in range(dates)]))
                dataset.descriptions = [date_of(i) for i in range(dates)]
        else:
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda i: write_date(target, layout, profile, i, distinct), range(dates)))
        done.touch()
    return sorted(target.glob("*.tif"))


def write_date(target: Path, layout: Layout, profile: dict[str, Any], index: int, distinct: int) -> None:
    """Write one file, or a link."""
    path = target / f"ndvi_{date_of(index)}.tif"
    path.unlink(missing_ok=True)
    if index >= distinct:
        path.symlink_to(target / f"ndvi_{date_of(index % distinct)}.tif")
        return
    with rasterio.open(path, "w", count=1, **profile) as dataset:
        dataset.write(stored(profile["width"], index, layout.dtype), 1)


def date_of(index: int) -> str:
    """Return the date of a file: one per month."""
    return f"{1940 + index // 12}-{index % 12 + 1:02d}"


def stored(size: int, index: int, dtype: str) -> np.ndarray:
    """Return one date as it is stored: int16 as NDVI x 10000."""
    pattern = make_layer(min(size, PATTERN), index)
    repeats = -(-size // PATTERN)
    values = np.tile(pattern, (repeats, repeats))[:size, :size] if repeats > 1 else pattern
    if dtype == "float32":
        return values
    return np.where(values == NODATA, NODATA, (values * 10000).round()).astype(dtype)
