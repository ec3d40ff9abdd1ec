"""Maps to draw, and what is written on the pictures of them."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from affine import Affine
from PIL import Image
from rasterio.crs import CRS

import pixelwise as pw
from pixelwise.bands import STATUS_BAND

NAN = np.nan
MINUS = "\N{MINUS SIGN}"
UTM = Affine(30, 0, 500000, 0, -30, 3400000)

SLOPE = pw.Band("slope", "Change per year of the fitted line", "1/year", kind="change", pvalue="pvalue")
PVALUE = pw.Band("pvalue", "Two-sided p-value of no trend", kind="test")
QVALUE = pw.Band("qvalue", "Adjusted p-value", kind="test", pvalue="pvalue")
SIGNIFICANT = pw.Band("significant", "0 no, 1 yes", integer=True, kind="code")
RVALUE = pw.Band("rvalue", "Correlation of the two series", kind="correlation", pvalue="pvalue")
COUNT = pw.Band("n", "Number of observations", integer=True, kind="count")


def row(*values: float) -> Any:
    """Return a map of one row."""
    return np.array([values], np.float64)


def make_map(
    bands: Sequence[pw.Band],
    *values: Any,
    status: Any = None,
    crs: str | None = "EPSG:32617",
    transform: Affine = UTM,
    provenance: Mapping[str, Any] | None = None,
) -> pw.Map:
    """Return a map in memory."""
    arrays = {band.name: np.asarray(array) for band, array in zip(bands, values, strict=True)}
    if status is not None:
        arrays["status"], bands = np.asarray(status, np.uint8), (*bands, STATUS_BAND)
    height, width = next(iter(arrays.values())).shape
    grid = pw.Grid(None if crs is None else CRS.from_user_input(crs), transform, height, width)
    return pw.Map(grid, tuple(bands), provenance or {}, arrays=arrays)


def trend_map(height: int = 30, width: int = 40, **options: Any) -> pw.Map:
    """Return a map of noise whose upper left sixteenth is missing."""
    random = np.random.default_rng(0)
    slope = random.normal(0, 0.01, (height, width)).astype(np.float32)
    slope[: height // 4, : width // 4] = NAN
    return make_map((SLOPE, PVALUE), slope, random.random((height, width)), **options)


def headings(figure: Any) -> list[str]:
    """Return the title, and the line below it."""
    return [text.get_text() for text in figure.texts]


def entries(figure: Any, number: int = 0) -> list[str]:
    """Return the lines of a legend, without its title."""
    return [text.get_text() for text in figure.legends[number].get_texts()]


def labels(figure: Any, number: int = 0) -> list[str]:
    """Return the names of the classes in a legend."""
    return [entry.rpartition(" (")[0] for entry in entries(figure, number)]


def shares(figure: Any, number: int = 0) -> dict[str, float]:
    """Return the per cent that a legend gives for each class; 0.05 for less than 0.1."""
    found = {}
    for entry in entries(figure, number):
        label, _, amount = entry.rpartition(" (")
        number_ = re.match(r"(< )?([0-9.]+) %", amount)
        assert number_ is not None, entry
        found[label] = float(number_[2]) / (2 if number_[1] else 1)
    return found


def areas(figure: Any, number: int = 0) -> dict[str, float]:
    """Return the square kilometres that a legend gives for each class."""
    found = {}
    for entry in entries(figure, number):
        label, _, amount = entry.rpartition(" (")
        text = amount.rpartition(", ")[2]
        assert text.endswith(" km²)"), entry
        found[label] = float("".join(c for c in text[:-5] if not c.isspace()))
    return found


def key_colors(figure: Any, number: int = 0) -> dict[str, str]:
    """Return the colour of each class in a legend."""
    from matplotlib.colors import to_hex

    handles = figure.legends[number].legend_handles
    return {
        label: to_hex(handle.get_facecolor()) for label, handle in zip(labels(figure, number), handles, strict=True)
    }


def key_title(figure: Any, number: int = 0) -> str:
    """Return the title of a legend."""
    text: str = figure.legends[number].get_title().get_text()
    return text


def image_of(figure: Any, number: int = 0) -> list[list[str]]:
    """Return the colours of the pixels of a map, row by row."""
    array = figure.axes[number].images[0].get_array()
    return [["#{:02x}{:02x}{:02x}".format(*pixel) for pixel in line] for line in np.asarray(array).tolist()]


def names_of_pixels(figure: Any, number: int = 0) -> list[list[str]]:
    """Return, for each pixel of the image, the class that the legend gives its colour."""
    found = {color: label for label, color in key_colors(figure, number).items()}
    return [[found.get(color, "") for color in line] for line in image_of(figure, number)]


def painted(figure: Any) -> Any:
    """Return (y, x, rgb) of the figure as drawn."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return np.asarray(Image.open(file).convert("RGB"))
