"""Stacks for the benchmarks: an NDVI-like field, quantised to 1e-4, 5 % nodata in blobs per date."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

NODATA = -9999
TRANSFORM = rasterio.Affine(30, 0, 500000, 0, -30, 3400000)


@dataclass(frozen=True)
class Layout:
    """How the files of a stack are stored; `bands` dates per file."""

    name: str
    dtype: str = "float32"
    creation: dict[str, Any] = field(default_factory=dict)
    bands: int = 1


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
        Layout("bands-pixel", creation=tiled(256, compress="deflate", predictor=2, interleave="pixel"), bands=21),
        Layout("bands-band", creation=tiled(256, compress="deflate", predictor=2, interleave="band"), bands=21),
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
    """Write a stack once: `dates` files of one year each, or one file of as many bands.

    Dates beyond 21 are links to the first 21, so that a thousand of them fit on a disk.
    """
    target = folder / f"{layout.name}-{size}-{dates}"
    done = target / "done"
    if not done.exists():
        target.mkdir(parents=True, exist_ok=True)
        profile = {
            "driver": "GTiff", "width": size, "height": size, "dtype": layout.dtype, "nodata": NODATA,
            "crs": "EPSG:32617", "transform": TRANSFORM, "bigtiff": "if_safer", **layout.creation,
        }  # fmt: skip
        if layout.bands > 1:
            with rasterio.open(target / "all.tif", "w", count=dates, **profile) as dataset:
                dataset.write(np.stack([stored(size, i, layout.dtype) for i in range(dates)]))
                dataset.descriptions = [f"y{1000 + i}" if dates > 200 else f"y{1990 + i}" for i in range(dates)]
        for index in range(dates if layout.bands == 1 else 0):
            path = target / f"ndvi_{date_of(index)}.tif"
            if index < 21:
                with rasterio.open(path, "w", count=1, **profile) as dataset:
                    dataset.write(stored(size, index, layout.dtype), 1)
            else:
                path.symlink_to(target / f"ndvi_{date_of(index % 21)}.tif")
        done.touch()
    return sorted(target.glob("*.tif"))


def date_of(index: int) -> str:
    """Return the date of a file: one per month."""
    return f"{1990 + index // 12}-{index % 12 + 1:02d}"


def stored(size: int, index: int, dtype: str) -> np.ndarray:
    """Return one date as it is stored: int16 as NDVI x 10000."""
    values = make_layer(size, index)
    if dtype == "float32":
        return values
    return np.where(values == NODATA, NODATA, (values * 10000).round()).astype(dtype)
