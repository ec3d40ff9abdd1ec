"""Warnings that must not depend on resampling, or on a product being named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from affine import Affine

import pixelwise as pw
from pixelwise.opening.checks import warnings_of
from pixelwise.opening.named_sensors import sensors_of
from support.rasters import MakeStack, write_raster


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic", "average", "lanczos"])
def test_zeros_are_found_however_files_are_resampled(make_stack: MakeStack, resampling: Any) -> None:
    values = np.random.default_rng(0).uniform(0.1, 0.9, (4, 40, 50)).astype("float32")
    values[:, :, :8] = 0
    folder = make_stack(values, folder="lai", transform=Affine(30, 0, 500010, 0, -30, 3400010), crs="EPSG:32617")
    stack = pw.open_stack(folder, align="EPSG:32617,30", resampling=resampling)
    assert any(text.startswith("the value 0 occurs") for text in warnings_of(stack))


def landsat(folder: Any, names: list[str]) -> pw.Stack:
    """Write one image for each name."""
    values = np.random.default_rng(0).uniform(0.1, 0.9, (len(names), 20, 25)).astype("float32")
    for name, layer in zip(names, values, strict=True):
        write_raster(folder / f"{name}.tif", layer)
    return pw.open_stack(folder)


def test_sensors_are_known_from_names_alone(tmp_path: Any) -> None:
    names = ["LT51700551986035XXX02.evi", "LE71700552004269ASN03.evi", "LC81700552014269LGN00.evi"]
    stack = landsat(tmp_path, names)
    assert sensors_of(stack.layers) == [("LT05",), ("LE07",), ("LC08",)]
    [warning] = [text for text in warnings_of(stack) if "several sensors" in text]
    assert "(LT05/LE07 2, 1986-02-04 to 2004-09-25; LC08 1, 2014-09-26 to 2014-09-26)" in warning
    assert "landsat-c2-l2" in warning


@pytest.mark.parametrize(
    "names",
    [
        ["LT51700551986035XXX02.evi", "LE71700552004269ASN03.evi"],  # their bands are alike
        ["LC8_2001.evi", "LT5_2002.evi"],  # not names of Landsat scenes
    ],
)
def test_nothing_is_read_into_other_names(tmp_path: Any, names: list[str]) -> None:
    assert not any("several sensors" in text for text in warnings_of(landsat(tmp_path, names)))
