"""Rasters that tests write and read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

import pixelwise as pw

PROFILE = {"driver": "GTiff", "crs": "EPSG:32617", "transform": Affine(30, 0, 500000, 0, -30, 3400000)}

MakeStack = Callable[..., Path]


def write_raster(path: Path, bands: Any, **profile: Any) -> Path:
    """Write (y, x) or (band, y, x) as GeoTIFF; ``descriptions`` and ``tags`` are taken from the profile."""
    bands = np.asarray(bands)
    bands = bands[None] if bands.ndim == 2 else bands
    descriptions = profile.pop("descriptions", None)
    scales, offsets = profile.pop("scales", None), profile.pop("offsets", None)
    mask = profile.pop("mask", None)
    count, height, width = bands.shape
    merged = {**PROFILE, "count": count, "height": height, "width": width, "dtype": bands.dtype, **profile}
    merged = {key: value for key, value in merged.items() if value is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **merged) as dataset:
        dataset.write(bands)
        if descriptions is not None:
            dataset.descriptions = descriptions
        if scales is not None:
            dataset.scales = scales
        if offsets is not None:
            dataset.offsets = offsets
        if mask is not None:
            dataset.write_mask(mask)
    return path


def random_series(shape: tuple[int, ...], *, seed: int = 0, gaps: float = 0.2, dtype: str = "float32") -> Any:
    """Return seeded values of (time, ...) with gaps (NaN) and ties."""
    random = np.random.default_rng(seed)
    values = random.normal(0.4, 0.2, shape).round(2)
    values[random.random(shape) < gaps] = np.nan
    return values.astype(dtype)


def read_all(stack: pw.RasterStack) -> Any:
    """Return (time, y, x) of a whole stack."""
    return stack.read(stack.grid.block)


def pixels_in(path: Path) -> Any:
    """Return (band, y, x) of a file, by plain rasterio."""
    with rasterio.open(path) as dataset:
        return dataset.read()


def problems_of(source: Any, **options: Any) -> list[str]:
    """Return the problems for which a stack is refused."""
    with pytest.raises(pw.InputError) as refused:
        pw.open_stack(source, **options)
    assert str(refused.value) == "\n".join(refused.value.problems)
    return list(refused.value.problems)


def problem_of(source: Any, **options: Any) -> str:
    """Return the one problem for which a stack is refused: one line."""
    [problem] = problems_of(source, **options)
    assert "\n" not in problem
    return problem


def refusal_of(source: Any, **options: Any) -> str:
    """Return the problems for which a stack is refused, as a user sees them."""
    return "\n".join(problems_of(source, **options))
