"""Small images of three years, whole and cut as Earth Engine cuts exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

import pixelwise as pw
from support.rasters import PROFILE, read_all, write_raster

ORIGIN: Affine = PROFILE["transform"]
IMAGE = np.arange(42, dtype=np.float32).reshape(6, 7)
YEARS = np.stack([IMAGE, IMAGE + 100, IMAGE + 200])

#: Rows and columns at which Earth Engine would cut.
SHARDS = {(0, 0): (4, 5), (0, 5): (4, 2), (4, 0): (2, 5), (4, 5): (2, 2)}


def at(row: float, col: float) -> Affine:
    return ORIGIN @ Affine.translation(col, row)


def write_shards(
    folder: Path, name: str, image: Any, *, without: tuple[int, int] | None = None, **profile: Any
) -> None:
    for (row, col), (height, width) in SHARDS.items():
        if (row, col) != without:
            part = image[..., row : row + height, col : col + width]
            write_raster(folder / f"{name}-{row:010d}-{col:010d}.tif", part, transform=at(row, col), **profile)


def values_of(source: Any, **options: Any) -> Any:
    return read_all(pw.open_stack(source, **options))


def dates_of(stack: pw.RasterStack) -> list[str]:
    return [layer.iso_date for layer in stack.layers]


def names_of(stack: pw.RasterStack) -> list[str]:
    return [path.name for path in stack.paths]
