"""Bands in their classes, drawn with ticks, legends and titles."""

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

from pixelwise.crs import linear_unit
from pixelwise.errors import ParameterError
from pixelwise.grid import Bounds, Grid
from pixelwise.pictures.layout import LONG_EDGE, NARROW_COLUMN, SMALL, Drawn, Sizes, fit, take_literally
from pixelwise.pictures.numbers import percent, square_kilometres, with_minus
from pixelwise.pictures.palettes import MISSING_COLOR, OUTSIDE_COLOR, rgb
from pixelwise.pictures.scheme import MISSING, OUTSIDE, ContinuousScheme
from pixelwise.pictures.tally import Tally
from pixelwise.pictures.thinned import spread
from pixelwise.words import escaped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

__all__ = ["Histogram", "Panel", "Place", "draw"]

DPI = 200

#: Trials of a size: it settles in three, but for lines of the title that are broken elsewhere.
STEPS = 5

#: Inches: on smaller maps nothing can be seen.
LEAST_EDGE = 1.2

#: A strip longer than this, relative to its width, would be a hairline: it is stretched.
LARGEST_ASPECT = 8.0

#: Below this width (inches) there is room for one coordinate only.
NARROW = 1.4

#: Inches: two or three numbers fit below the narrowest colour bar.
NARROWEST_BAR, WIDEST_BAR, BAR_HEIGHT = 1.8, 3.2, 0.12

#: From this ratio of width to height on, the legend is below the map.
WIDE = 1.5

#: Classes from which on a legend below a map has two columns.
MANY_CLASSES = 4

#: Kilometres: on a larger map no single scale is right.
LARGEST_SCALED = 3000.0
#: The shortest parallel of a map in degrees, relative to the longest, with which a scale bar is still of use, and from
#: which on it is right everywhere.
LEAST_SCALED, SAME_SCALE = 0.4, 0.9


@dataclass(frozen=True, eq=False)
class Panel:
    """One map of a figure.

    Attributes
    ----------
    tally
        The classes and what they cover.
    codes
        (y, x) numbers of classes.
    grid
        Where the pixels are.
    name
        Title of the legend: the band, its unit, and what shares are shares of.
    outlines
        (edge, 4) column and row of both ends of lines that are drawn over the map.
    pixel_km
        Kilometres across a pixel at the centre of the map; None if nobody knows.
    letter
        By which a caption names it.
    """

    tally: Tally
    codes: NDArray[np.uint8]
    grid: Grid
    name: str
    outlines: NDArray[np.float64] | None = None
    pixel_km: float | None = None
    letter: str = ""


@dataclass(frozen=True, eq=False)
class Histogram:
    """How much of a map has which values, in a figure of maps.

    Attributes
    ----------
    edges, shares
        Limits of the bars, and the share of all that has values in each; the first and the last hold what is beyond.
    name
        The band and its unit.
    colors
        One per bar.
    letter
        By which a caption names it.
    whole
        What shares are shares of: ``area``, or ``pixels`` where they have none.
    """

    edges: NDArray[np.float64]
    shares: NDArray[np.float64]
    name: str
    colors: tuple[str, ...]
    letter: str = ""
    whole: str = "area"


def _png(figure: Any) -> bytes:
    with io.BytesIO() as stream:
        figure.savefig(stream, format="png")
        return stream.getvalue()


@dataclass(frozen=True)
class Place:
    """How a grid is drawn: extent of the image, limits of the axes (both left, right, bottom, top), labels."""

    extent: Bounds
    limits: Bounds
    aspect: float
    labels: tuple[str, str]
    geographic: bool = False
    counted: bool = False

    @property
    def ratio(self) -> float:
        """Width of the map on paper divided by its height."""
        left, right, bottom, top = self.limits
        return abs(right - left) / (abs(top - bottom) * self.aspect)

    @classmethod
    def of(cls, grid: Grid) -> Place:
        """Return how a grid is drawn."""
        height, width, t = grid.height, grid.width, grid.transform
        if t.b or t.d or t.is_identity:
            # Coordinates run along the axes only if the grid is not rotated.
            whole = (0.0, float(width), float(height), 0.0)
            return cls(whole, whole, 1.0, ("column (pixels)", "row (pixels)"), counted=True)
        left, bottom, right, top = grid.bounds
        # The extent follows the rows and columns of the image; the limits put north at the top and east on the right.
        extent = (t.c, t.c + t.a * width, t.f + t.e * height, t.f)
        limits = (left, right, bottom, top)
        if grid.crs is None:
            return cls(extent, limits, 1.0, ("x", "y"))
        name = escaped(grid.crs_name)
        if grid.crs.is_geographic:
            # A degree of longitude shrinks towards the poles; at a pole itself no ratio is right.
            aspect = 1 / max(math.cos(math.radians((bottom + top) / 2)), 0.05)
            return cls(extent, limits, aspect, (f"longitude ({name})", "latitude"), geographic=True)
        unit = linear_unit(grid.crs)
        suffix = f" ({escaped(unit)})" if unit else ""
        inside = ", ".join(part for part in (escaped(unit), name) if part)
        return cls(extent, limits, 1.0, (f"Easting ({inside})", f"Northing{suffix}"))


def draw(
    panels: Sequence[Panel | Histogram], heading: tuple[str, str], *, columns: int = 1, width: float | None = None
) -> Figure:
    """Return the figure of maps in classes, with titles, ticks and legends.

    Parameters
    ----------
    panels
        The maps.
    heading
        Title, and the line below it.
    columns
        Maps side by side.
    width
        Inches; None for what suits the maps. Narrow figures have smaller texts, legends below, and one column.

    Raises
    ------
    ParameterError
        When the figure would be wider all the same.
    """
    if width is None:
        return _drawn(panels, heading, columns, LONG_EDGE, Sizes())[0]
    usual, beside = SMALL if len(panels) > 1 else Sizes(), min(columns, len(panels))
    least = math.inf
    ways = (
        (beside, usual, False), (beside, SMALL, True), (beside, NARROW_COLUMN, True), (1, SMALL, True),
        (1, NARROW_COLUMN, True),
    )  # fmt: skip
    for across, sizes, stacked in ways:
        edge, found = LONG_EDGE, None
        for _ in range(STEPS):
            figure, size = _drawn(panels, heading, across, edge, sizes, stacked=stacked)
            least = min(least, size)
            if size <= width + 0.01 and (found is None or size > found[1]):
                found = figure, size
            # Only the maps grow with their edge; ticks, legends and lines of the title keep their sizes.
            edge = max(LEAST_EDGE, edge + (width - size) / across)
        if found is not None:
            found[0].set_size_inches(width, found[0].get_figheight())
            return found[0]
    raise ParameterError(
        f"width {25.4 * width:.0f} mm is too narrow for the maps and their legends: the least is {25.4 * least:.0f} mm"
    )


def _drawn(
    panels: Sequence[Panel | Histogram],
    heading: tuple[str, str],
    columns: int,
    edge: float,
    sizes: Sizes,
    *,
    stacked: bool = False,
) -> tuple[Figure, float]:
    """Return a figure whose maps are at most `edge` inches long, and its width."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # A page-sized figure for now; it is resized once all texts can be measured.
    figure = Figure(figsize=(10, 10), dpi=DPI, facecolor="white")
    # Notebooks show objects with this method; figures get it only from pyplot, which keeps global state.
    figure._repr_png_ = functools.partial(_png, figure)  # type: ignore[attr-defined]
    FigureCanvasAgg(figure)
    drawn = [_draw_part(figure, panel, edge, sizes, alone=len(panels) == 1 and not stacked) for panel in panels]
    return figure, fit(figure, drawn, heading, columns, sizes)


def _draw_part(figure: Figure, part: Panel | Histogram, edge: float, sizes: Sizes, *, alone: bool) -> Drawn:
    """Draw a map or a histogram."""
    if isinstance(part, Histogram):
        drawn = _draw_histogram(figure, part, edge, sizes)
    else:
        drawn = _draw_panel(figure, part, edge, sizes, alone=alone)
    if part.letter:
        title = drawn.axes.set_title(f"({part.letter})", loc="left", fontsize=sizes.text, fontweight="bold", pad=3)
        take_literally(title)
    return drawn


def _draw_histogram(figure: Figure, part: Histogram, edge: float, sizes: Sizes) -> Drawn:
    """Draw bars in the colours of the map."""
    width, height = edge, 0.6 * edge
    axes = figure.add_axes((0.2, 0.2, width / 10, height / 10))
    axes.bar(
        part.edges[:-1], 100 * part.shares, np.diff(part.edges), align="edge", color=part.colors, edgecolor="0.4",
        linewidth=0.2,
    )  # fmt: skip
    axes.set_xlim(part.edges[0], part.edges[-1])
    if part.edges[0] < 0 < part.edges[-1]:
        axes.axvline(0, color="0.2", linewidth=0.8)
    axes.set_ylabel(f"share of {part.whole} (%)", fontsize=sizes.text)
    axes.set_xlabel(part.name, fontsize=sizes.text)
    take_literally(axes.xaxis.get_label())
    axes.tick_params(labelsize=sizes.tick, length=3, width=0.6, color="0.3")
    axes.spines[["left", "bottom"]].set(linewidth=0.6, edgecolor="0.3")
    axes.spines[["top", "right"]].set_visible(False)
    return Drawn(axes, _legend_of(figure, [], "", 1, sizes), (width, height), wide=True)


def _draw_panel(figure: Figure, panel: Panel, edge: float, sizes: Sizes, *, alone: bool) -> Drawn:
    place = Place.of(panel.grid)
    ratio = min(max(place.ratio, 1 / LARGEST_ASPECT), LARGEST_ASPECT)
    width, height = edge * min(1.0, ratio), edge * min(1.0, 1 / ratio)
    axes = figure.add_axes((0.2, 0.2, width / 10, height / 10))
    stretched = not math.isclose(ratio, place.ratio)
    axes.imshow(
        _image(panel),
        extent=place.extent,
        origin="upper",
        interpolation="nearest",
        aspect="auto" if stretched else place.aspect,
    )
    if panel.outlines is not None:
        _draw_outlines(axes, panel, place)
    _draw_ticks(axes, place, (width, height), sizes)
    _draw_scale(axes, panel, place, sizes)
    # Side by side, maps with their legends below leave no gaps.
    wide = ratio >= WIDE or not alone
    if isinstance(panel.tally.scheme, ContinuousScheme):
        size = max(NARROWEST_BAR, min(width, WIDEST_BAR)), BAR_HEIGHT
        bar, legend = _draw_bar(figure, panel, size, sizes)
        return Drawn(axes, legend, (width, height), wide=True, bar=bar, bar_size=size)
    many = ratio >= WIDE and alone and len(panel.tally.pixels) > MANY_CLASSES
    legend = _draw_legend(figure, panel, 2 if many else 1, sizes)
    return Drawn(axes, legend, (width, height), wide)


def _image(panel: Panel) -> NDArray[np.uint8]:
    """Return (y, x, rgb) of the map, thinned if it has more pixels than are visible."""
    table = np.zeros((256, 3), np.uint8)
    others = ((MISSING, MISSING_COLOR), (OUTSIDE, OUTSIDE_COLOR))
    for code, color in (*((i, one.color) for i, one in enumerate(panel.tally.scheme.classes)), *others):
        table[code] = rgb(color)
    rows, cols = (spread(size) for size in panel.codes.shape)
    image: NDArray[np.uint8] = table[panel.codes[np.ix_(rows, cols)]]
    return image


def _draw_outlines(axes: Axes, panel: Panel, place: Place) -> None:
    from matplotlib.collections import LineCollection

    assert panel.outlines is not None  # noqa: S101  (asked before)
    ends = panel.outlines.reshape(-1, 2)
    if not place.counted:
        xs, ys = panel.grid.transform @ (ends[:, 0], ends[:, 1])
        ends = np.stack([xs, ys], axis=1)
    # White around dark lines: visible on every colour.
    for width, color in ((1.4, "white"), (0.6, "0.1")):
        axes.add_collection(LineCollection(list(ends.reshape(-1, 2, 2)), linewidths=width, colors=color))


def _draw_ticks(axes: Axes, place: Place, inches_of: tuple[float, float], sizes: Sizes) -> None:
    """Mark a few coordinates, in full: no offset, no exponent."""
    from matplotlib.ticker import MaxNLocator

    left, right, bottom, top = place.limits
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    sides = ((axes.xaxis, left, right, inches_of[0], "EW"), (axes.yaxis, bottom, top, inches_of[1], "NS"))
    for (axis, start, end, inches, hemispheres), label in zip(sides, place.labels, strict=True):
        low, high = min(start, end), max(start, end)
        # Wide spans of degrees are divided at multiples of 30, 60 or 90.
        steps = [1, 3, 6, 9, 10] if place.geographic and high - low >= 90 else [1, 2, 2.5, 5, 10]
        locator = MaxNLocator(nbins=max(2, min(5, int(inches / 0.95))), steps=steps)
        ticks = [float(tick) for tick in locator.tick_values(low, high) if low <= tick <= high]
        if inches < NARROW and axis is axes.xaxis:
            ticks = ticks[len(ticks) // 2 :][:1]  # two labels would overlap
        axis.set_ticks(ticks, labels=_tick_labels(ticks, hemispheres if place.geographic else ""))
        # A name of a CRS may be longer than its map is wide.
        axis.set_label_text("\n".join(textwrap.wrap(label, max(12, int(inches * 15)))), fontsize=sizes.text)
        take_literally(axis.get_label())
    axes.tick_params(labelsize=sizes.tick, length=3, width=0.6, color="0.3")
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


def _draw_scale(axes: Axes, panel: Panel, place: Place, sizes: Sizes) -> None:
    """Draw a scale bar in the corner with the fewest values, where one scale is nearly right for the whole map."""
    km, cols = panel.pixel_km, panel.codes.shape[1]
    if km is None or not math.isfinite(km) or place.ratio > LARGEST_ASPECT or place.ratio < 1 / LARGEST_ASPECT:
        return
    _, _, bottom, top = place.limits
    shrinks = _shortest_parallel(bottom, top) if place.geographic else 1.0
    if km * cols > LARGEST_SCALED or shrinks < LEAST_SCALED:
        return
    length = _round_length(km * cols / 4)
    share = length / (km * cols)
    label = f"{length:g} km" if length >= 1 else f"{1000 * length:g} m"
    if shrinks < SAME_SCALE:
        label += f" at {_degrees(f'{(bottom + top) / 2:.0f}', 'NS')}"
    corners = {
        (right, up): float(np.count_nonzero(_corner(panel.codes, right=right, up=up) < OUTSIDE))
        for up in (False, True) for right in (False, True)
    }  # fmt: skip
    right, up = min(corners, key=lambda corner: corners[corner])
    x, y = (0.96 - share if right else 0.04), (0.90 if up else 0.06)
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.2, foreground="white")]
    axes.plot(
        [x, x + share], [y, y], transform=axes.transAxes, color="0.1", linewidth=1.6, solid_capstyle="butt",
        path_effects=[withStroke(linewidth=3.6, foreground="white")],
    )  # fmt: skip
    axes.text(
        x + share if right else x, y + 0.015, label, transform=axes.transAxes, ha="right" if right else "left",
        va="bottom", size=sizes.tick, path_effects=halo,
    )  # fmt: skip


def _shortest_parallel(south: float, north: float) -> float:
    """Return the length of the shortest parallel of a map, relative to the longest."""
    lengths = [math.cos(math.radians(min(abs(latitude), 90.0))) for latitude in (south, north)]
    return min(lengths) / (1.0 if south < 0 < north else max(*lengths, 1e-9))


def _corner(codes: NDArray[np.uint8], *, right: bool, up: bool) -> NDArray[np.uint8]:
    rows, cols = (-(-size // 4) for size in codes.shape)
    return codes[: rows if up else None, -cols if right else None :][None if up else -rows :, : None if right else cols]


def _round_length(km: float) -> float:
    """Return the largest of 1, 2 and 5 times a power of ten that is not longer."""
    power = 10.0 ** math.floor(math.log10(km))
    return next(step * power for step in (5, 2, 1) if step * power <= km * 1.0000001)


def _draw_legend(figure: Figure, panel: Panel, columns: int, sizes: Sizes) -> Legend:
    """List the classes, the highest at the top as on a colour bar, and the missing pixels last."""
    from matplotlib.patches import Patch

    def patch(color: str, label: str) -> Patch:
        return Patch(facecolor=color, edgecolor="0.4", linewidth=0.5, label=label)

    tally, gap = panel.tally, "\n" if sizes.broken else " "
    classes, shares = tally.scheme.classes, tally.shares
    entries = [
        patch(classes[place].color, f"{classes[place].label}{gap}({_amount(tally, shares[place], place)})")
        for place in tally.scheme.listed
        if tally.pixels[place] or not classes[place].optional
    ]
    if tally.missing_pixels:
        entries.append(patch(MISSING_COLOR, f"missing{gap}({_missing(tally)})"))
    return _legend_of(figure, entries, panel.name, columns, sizes)


def _legend_of(figure: Figure, entries: Sequence[Any], title: str, columns: int, sizes: Sizes) -> Legend:
    legend = figure.legend(
        handles=entries,
        title=title,
        loc="upper left",
        ncols=columns,
        frameon=False,
        fontsize=sizes.text,
        title_fontsize=sizes.text,
        alignment="left",
        borderpad=0,
        borderaxespad=0,
        handlelength=1.4,
        handleheight=1.0,
    )
    for text in (legend.get_title(), *legend.get_texts()):
        take_literally(text)
    return legend


def _amount(tally: Tally, share: float, place: int) -> str:
    """Say what a class covers: ``15.4 %, 175 950 km²``."""
    if tally.km2 is None:
        return percent(float(share))
    return f"{percent(float(share))}, {square_kilometres(float(tally.km2[place]))}"


def _missing(tally: Tally) -> str:
    if tally.km2 is None:
        return f"{percent(tally.missing)} of all pixels"
    return f"{percent(tally.missing)} of the area, {square_kilometres(tally.missing_km2)}"


def _draw_bar(figure: Figure, panel: Panel, size: tuple[float, float], sizes: Sizes) -> tuple[Any, Legend]:
    """Draw a colour bar of a size in inches, and a legend of what is not on it."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colorbar import Colorbar
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator

    scheme = panel.tally.scheme
    assert isinstance(scheme, ContinuousScheme)  # noqa: S101  (asked before)
    axes = figure.add_axes((0.2, 0.1, size[0] / 10, size[1] / 10))
    colors = ListedColormap([one.color for one in scheme.classes])
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max"}.get(scheme.beyond, "both")
    bar = Colorbar(
        axes, ScalarMappable(Normalize(scheme.low, scheme.high), colors), orientation="horizontal",
        extend=extend,  # type: ignore[arg-type]
    )  # fmt: skip
    bar.ax.tick_params(labelsize=sizes.tick, length=3, width=0.6)
    bar.ax.xaxis.set_major_locator(MaxNLocator(nbins=max(1, int(size[0] / 0.75))))
    bar.outline.set_linewidth(0.5)
    title = bar.ax.set_title(panel.name, loc="left", fontsize=sizes.text, pad=4)
    take_literally(title)
    words = f"missing ({_missing(panel.tally)})"
    missing = Patch(facecolor=MISSING_COLOR, edgecolor="0.4", linewidth=0.5, label=words)
    return bar, _legend_of(figure, [missing] if panel.tally.missing_pixels else [], "", 1, sizes)
