"""A band in its classes, drawn with ticks, legend and title."""

from __future__ import annotations

import functools
import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.grid import Bounds, Grid
from pixelwise.pictures.classes import MISSING, MISSING_COLOR, Classes, with_minus

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.text import Text

__all__ = ["draw", "escaped", "escaped_lines"]

#: More pixels than this per side are not visible on a page.
LARGEST_IMAGE = 2000

# Inches, and points for text.
LONG_EDGE, PAD, GAP = 5.0, 0.12, 0.14

TITLE_SIZE, TEXT_SIZE, TICK_SIZE = 10.0, 8.0, 7.5

DPI = 200

#: A strip longer than this, relative to its width, would be a hairline: it is stretched.
LARGEST_ASPECT = 8.0

#: Below this width (inches) there is room for one coordinate only.
NARROW = 1.4

#: From this ratio of width to height on, the legend is below the map.
WIDE = 1.5


def _png(figure: Any) -> bytes:
    with io.BytesIO() as stream:
        figure.savefig(stream, format="png")
        return stream.getvalue()


def escaped_lines(text: str) -> str:
    """Escape control characters except line feeds: fonts cannot draw them."""
    return "\n".join(map(escaped, text.split("\n")))


def escaped(text: str) -> str:
    """Escape control characters: names in files may come from anyone."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _percent(share: float) -> str:
    if 0 < share < 0.0005:
        return "< 0.1 %"
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %" if 0 < share < 1 else f"{100 * share:.0f} %"


@dataclass(frozen=True)
class _Frame:
    """How a grid is drawn: extent of the image, limits of the axes (both left, right, bottom, top), labels."""

    extent: Bounds
    limits: Bounds
    aspect: float
    labels: tuple[str, str]
    geographic: bool = False

    @property
    def ratio(self) -> float:
        """Width of the map on paper divided by its height."""
        left, right, bottom, top = self.limits
        return abs(right - left) / (abs(top - bottom) * self.aspect)


def _frame(grid: Grid) -> _Frame:
    height, width, t = grid.height, grid.width, grid.transform
    if t.b or t.d or t.is_identity:
        # Coordinates run along the axes only if the grid is not rotated.
        whole = (0.0, float(width), float(height), 0.0)
        return _Frame(whole, whole, 1.0, ("column (pixels)", "row (pixels)"))
    left, bottom, right, top = grid.bounds
    # The extent follows the rows and columns of the image; the limits put north at the top and east on the right.
    extent = (t.c, t.c + t.a * width, t.f + t.e * height, t.f)
    limits = (left, right, bottom, top)
    if grid.crs is not None and grid.crs.is_geographic:
        # A degree of longitude shrinks towards the poles; at a pole itself no ratio is right.
        aspect = 1 / max(math.cos(math.radians((bottom + top) / 2)), 0.05)
        return _Frame(extent, limits, aspect, ("longitude", "latitude"), geographic=True)
    if grid.crs is None:
        return _Frame(extent, limits, 1.0, ("x", "y"))
    unit = {"metre": "m", "meter": "m", "unknown": ""}.get(grid.crs.linear_units, grid.crs.linear_units)
    suffix = f" ({escaped(unit)})" if unit else ""
    return _Frame(extent, limits, 1.0, (f"Easting{suffix}", f"Northing{suffix}"))


def draw(classes: Classes, grid: Grid, heading: tuple[str, str], legend_title: str) -> Figure:
    """Return the figure of a map in classes, with title, ticks and legend."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    frame = _frame(grid)
    ratio = min(max(frame.ratio, 1 / LARGEST_ASPECT), LARGEST_ASPECT)
    width, height = LONG_EDGE * min(1.0, ratio), LONG_EDGE * min(1.0, 1 / ratio)
    # A page-sized figure for now; it is resized once all texts can be measured.
    figure = Figure(figsize=(10, 10), dpi=DPI, facecolor="white")
    # Notebooks show objects with this method; figures get it only from pyplot, which keeps global state.
    figure._repr_png_ = functools.partial(_png, figure)  # type: ignore[attr-defined]
    renderer = FigureCanvasAgg(figure).get_renderer()
    axes = figure.add_axes((0.2, 0.2, width / 10, height / 10))
    stretched = not math.isclose(ratio, frame.ratio)
    axes.imshow(
        _image(classes),
        extent=frame.extent,
        origin="upper",
        interpolation="nearest",
        aspect="auto" if stretched else frame.aspect,
    )
    _draw_ticks(axes, frame, width, height)
    wide = ratio >= WIDE
    legend = _draw_legend(figure, classes, legend_title, columns=2 if wide else 1)
    _fit(figure, axes, legend, heading, renderer, wide=wide)
    return figure


def _image(classes: Classes) -> NDArray[np.uint8]:
    """Return (y, x, rgb) of the map, thinned if it has more pixels than are visible."""
    from matplotlib.colors import to_rgb

    table = np.zeros((256, 3), np.uint8)
    for code, color in (*enumerate(classes.colors), (MISSING, MISSING_COLOR)):
        table[code] = np.round(np.multiply(to_rgb(color), 255))
    rows, cols = (_spread(size) for size in classes.codes.shape)
    image: NDArray[np.uint8] = table[classes.codes[np.ix_(rows, cols)]]
    return image


def _spread(size: int) -> NDArray[np.int64]:
    """Return at most `LARGEST_IMAGE` indices that represent equal parts of `size`."""
    count = min(size, LARGEST_IMAGE)
    return ((np.arange(count) + 0.5) * size / count).astype(np.int64)


def _draw_ticks(axes: Axes, frame: _Frame, width: float, height: float) -> None:
    """Mark a few coordinates, in full: no offset, no exponent."""
    from matplotlib.ticker import MaxNLocator

    left, right, bottom, top = frame.limits
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    sides = ((axes.xaxis, left, right, width, "EW"), (axes.yaxis, bottom, top, height, "NS"))
    for (axis, start, end, inches, hemispheres), label in zip(sides, frame.labels, strict=True):
        low, high = min(start, end), max(start, end)
        # Wide spans of degrees are divided at multiples of 30, 60 or 90.
        steps = [1, 3, 6, 9, 10] if frame.geographic and high - low >= 90 else [1, 2, 2.5, 5, 10]
        locator = MaxNLocator(nbins=max(2, min(5, int(inches / 0.95))), steps=steps)
        ticks = [float(tick) for tick in locator.tick_values(low, high) if low <= tick <= high]
        if inches < NARROW and axis is axes.xaxis:
            ticks = ticks[len(ticks) // 2 :][:1]  # two labels would overlap
        axis.set_ticks(ticks, labels=_tick_labels(ticks, hemispheres if frame.geographic else ""))
        axis.set_label_text(label, fontsize=TEXT_SIZE)
    axes.tick_params(labelsize=TICK_SIZE, length=3, width=0.6, color="0.3")
    axes.spines[:].set(linewidth=0.6, edgecolor="0.3")


def _tick_labels(ticks: Sequence[float], hemispheres: str) -> list[str]:
    """Format coordinates with as few decimals as they need; given the names of two hemispheres, as degrees."""
    step = min((high - low for low, high in pairwise(ticks)), default=1.0)
    decimals = 0
    while decimals < 12 and any(abs(tick - round(tick, decimals)) > step / 1000 for tick in ticks):
        decimals += 1
    numbers = [f"{tick:.{decimals}f}" for tick in ticks]
    if hemispheres:
        return [_degrees(number, hemispheres) for number in numbers]
    return [with_minus(number) for number in numbers]


def _degrees(number: str, hemispheres: str) -> str:
    """Write 190 as 170°W, where longitudes are counted from 0 to 360."""
    value = float(number)
    decimals = len(number.partition(".")[2])
    if hemispheres == "EW":
        value = (value + 180) % 360 - 180
    letter = "" if not value or abs(value) == 180 else hemispheres[value < 0]
    return f"{abs(value):.{decimals}f}°{letter}"


def _draw_legend(figure: Figure, classes: Classes, title: str, *, columns: int) -> Legend:
    """List the classes, the highest at the top as on a colour bar, and the missing pixels last."""
    from matplotlib.patches import Patch

    def patch(color: str, label: str) -> Patch:
        return Patch(facecolor=color, edgecolor="0.4", linewidth=0.5, label=label)

    entries = [
        patch(color, f"{label} ({_percent(share)})")
        for label, color, share in zip(classes.labels, classes.colors, classes.shares, strict=True)
    ][::-1]
    if classes.missing:
        entries.append(patch(MISSING_COLOR, f"missing ({_percent(classes.missing)} of all pixels)"))
    legend = figure.legend(
        handles=entries,
        title=title,
        loc="upper left",
        ncols=columns,
        frameon=False,
        fontsize=TEXT_SIZE,
        title_fontsize=TEXT_SIZE,
        alignment="left",
        borderpad=0,
        borderaxespad=0,
        handlelength=1.4,
        handleheight=1.0,
    )
    for text in (legend.get_title(), *legend.get_texts()):
        _take_literally(text)
    return legend


def _take_literally(text: Text) -> None:
    """Keep matplotlib from interpreting names in files as formulas."""
    text.set_parse_math(False)
    text.set_usetex(False)


def _fit(
    figure: Figure, axes: Axes, legend: Legend, heading: tuple[str, str], renderer: RendererAgg, *, wide: bool
) -> None:
    """Give the figure the size that map, legend and title need, and place them."""
    inches = 1 / figure.dpi
    box, outer = axes.get_window_extent(renderer), axes.get_tightbbox(renderer) or axes.bbox
    left, right = (box.x0 - outer.x0) * inches, (outer.x1 - box.x1) * inches
    below, above = (box.y0 - outer.y0) * inches, (outer.y1 - box.y1) * inches
    width, height = box.width * inches, box.height * inches
    key = legend.get_window_extent(renderer)
    key_width, key_height = key.width * inches, key.height * inches
    x = PAD + left
    if wide:
        y = PAD + key_height + GAP + below
        key_x, key_y = x, PAD + key_height
        full_width = x + max(width + right, key_width) + PAD
    else:
        y = PAD + max(below, key_height - height)
        key_x, key_y = x + width + right + GAP, y + height
        full_width = key_x + key_width + PAD
    title_y = y + height + above + GAP / 2
    texts = _draw_heading(figure, heading, full_width - x - PAD)
    boxes = [text.get_window_extent(renderer) for text in texts]
    full_width = max([full_width, *(x + box.width * inches + PAD for box in boxes)])
    full_height = title_y + sum(box.height * inches + GAP / 3 for box in boxes) + PAD
    figure.set_size_inches(full_width, full_height)
    axes.set_position((x / full_width, y / full_height, width / full_width, height / full_height))
    legend.set_bbox_to_anchor((key_x / full_width, key_y / full_height), transform=figure.transFigure)
    for text, text_box in zip(texts[::-1], boxes[::-1], strict=True):
        text.set_position((x / full_width, title_y / full_height))
        title_y += text_box.height * inches + GAP / 3


def _draw_heading(figure: Figure, heading: tuple[str, str], width: float) -> list[Text]:
    """Write title and subtitle, broken into lines of about `width` inches."""
    styles = ((TITLE_SIZE, "bold", "black"), (TEXT_SIZE, "normal", "0.25"))
    texts = []
    for words, (size, weight, color) in zip(heading, styles, strict=True):
        if words.strip():
            # A letter is about 0.6 times its size wide, a bold one 0.7.
            letters = max(24, int(width * 72 / size / (0.7 if weight == "bold" else 0.6)))
            lines = "\n".join(textwrap.fill(line, letters) for line in words.splitlines())
            text = figure.text(0, 0, lines, size=size, weight=weight, color=color, va="bottom")
            _take_literally(text)
            texts.append(text)
    return texts
