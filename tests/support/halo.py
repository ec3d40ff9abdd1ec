"""A method with a halo, and its oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

import pixelwise as pw
from pixelwise.method import select_bands


def box_mean(values: Any) -> Any:
    """3 x 3 mean of the layers' temporal sums, NaN beyond the image and where missing left out."""
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    return windows_mean(padded)


def windows_mean(padded: Any) -> Any:
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    valid = ~np.isnan(windows)
    total = np.where(valid, windows, 0).sum(axis=(0, 3, 4))
    count = valid.sum(axis=(0, 3, 4))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


@dataclass(frozen=True)
class BoundBoxMean:
    bands: tuple[pw.Band, ...]
    halo: int = 1
    releases_gil: bool = True

    def __call__(self, inputs: tuple[Any, ...], dtype: str = "float64") -> tuple[Any, Any]:
        mean = windows_mean(inputs[0].astype(np.float64)).reshape(1, -1)
        return mean, np.where(np.isnan(mean[0]), 1, 0).astype(np.uint8)


@dataclass(frozen=True)
class BoxMean(pw.Method):
    """A test-only method with a halo."""

    name: ClassVar[str] = "box_mean"
    halo: int = 1

    @property
    def bands(self) -> tuple[pw.Band, ...]:
        return (pw.Band("mean"),)

    def bind(self, axis: pw.TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, pw.TimeAxis]) -> Any:
        return BoundBoxMean(select_bands(self, bands))
