"""Charts of the series of pixels: observations, gaps, the fitted curve and its limits."""

from __future__ import annotations

import functools
import io
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats
from pixelwise.errors import ParameterError
from pixelwise.pictures.picture import import_matplotlib
from pixelwise.words import escaped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["MOST_CHARTS", "Chart", "Curve", "draw_charts", "empty_figure", "label_dates", "thin_lines"]

#: More small charts than this in one figure cannot be read.
MOST_CHARTS = 12

# Inches of one chart, alone and among others, and of what is beside its axes; points for text.
ALONE, SMALL, BESIDE = (7.2, 3.6), (4.2, 2.9), 0.7
TITLE_SIZE, TEXT_SIZE, TICK_SIZE = 9.0, 8.0, 7.5
DPI = 200

# Dark grey observations under an orange line: they differ in lightness too, so that a grey print shows both.
OBSERVED, FITTED, LIMITS, MISSING = "#3b4a54", "#d55e00", "#f2b48c", "#6f6f6f"

#: Each reason has its own shape, which a grey print keeps: hollow circles are values that a mask rejected.
MARKS: Mapping[str, Mapping[str, Any]] = {
    "masked": {"marker": "o", "markerfacecolor": "white", "markersize": 4.0},
    "no data": {"marker": "|", "markersize": 5.5},
    "outside image": {"marker": "x", "markersize": 4.0},
    "too few scenes": {"marker": "v", "markerfacecolor": "white", "markersize": 4.0},
    "unreadable": {"marker": "*", "markersize": 5.0},
}
#: Height of the strip at the bottom of the axes in which missing values are marked.
STRIP = 0.1

#: Series of fewer years are labelled by months.
MONTHS_BELOW = 4.0
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, eq=False)
class Curve:
    """A fitted curve.

    Attributes
    ----------
    years
        (point,) decimal years.
    values
        (point,) its values.
    low, high
        (point,) limits; None if there are none.
    limits
        What they are, for the legend.
    name
        What is fitted, for the legend.
    """

    years: Floats
    values: Floats
    low: Floats | None
    high: Floats | None
    limits: str
    name: str


@dataclass(frozen=True, eq=False)
class Chart:
    """The series of one pixel as it is drawn.

    Attributes
    ----------
    title, subtitle
        The place, and the result in words.
    label
        What the values are.
    years
        (time,) decimal years of the layers.
    values
        (time,) observations, NaN where missing.
    gaps
        Decimal years of missing values, by reason.
    index
        (time,) positions of the layers on a regular step; None for irregular dates.
    curve
        The fitted curve; None without one.
    """

    title: str
    subtitle: str
    label: str
    years: Floats
    values: Floats
    gaps: Mapping[str, Floats] = field(default_factory=dict)
    index: NDArray[np.int64] | None = None
    curve: Curve | None = None


def draw_charts(charts: Sequence[Chart]) -> Figure:
    """Return a figure of one chart, or of several small ones.

    Neighbouring observations are joined by a thin line, which is broken wherever a layer is missing between them. Marks
    in a strip at the bottom say when a value is missing, and their shape why.

    Parameters
    ----------
    charts
        At most `MOST_CHARTS`.

    Returns
    -------
    matplotlib.figure.Figure
        Unknown to pyplot; notebooks show it.

    Raises
    ------
    ParameterError
        When there are none or too many, or matplotlib is missing.
    """
    if not 0 < len(charts) <= MOST_CHARTS:
        raise ParameterError(f"{len(charts)} charts do not fit into one figure: expected 1 to {MOST_CHARTS}")
    columns = 1 if len(charts) == 1 else 2 if len(charts) <= 8 else 3
    rows = math.ceil(len(charts) / columns)
    width, height = ALONE if len(charts) == 1 else SMALL
    figure = empty_figure(width * columns, height * rows + 0.3)
    entries: dict[str, Any] = {}
    for number, chart in enumerate(charts, 1):
        axes = figure.add_subplot(rows, columns, number)
        _draw(axes, chart, entries, width - BESIDE)
    legend = figure.legend(
        handles=list(entries.values()),
        labels=list(entries),
        loc="outside lower center",
        ncols=min(len(entries), 4 if len(charts) == 1 else 6),
        frameon=False,
        fontsize=TEXT_SIZE,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def empty_figure(width: float, height: float) -> Figure:
    """Return a figure of so many inches, unknown to pyplot, that notebooks show.

    Raises
    ------
    ParameterError
        When matplotlib is missing.
    """
    import_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")
    figure._repr_png_ = functools.partial(_png, figure)  # type: ignore[attr-defined]
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Any) -> bytes:
    with io.BytesIO() as stream:
        figure.savefig(stream, format="png")
        return stream.getvalue()


def _draw(axes: Axes, chart: Chart, entries: dict[str, Any], width: float) -> None:
    """Draw one chart, whose axes have about this width in inches, and add what the legend needs to `entries`."""
    valid = ~np.isnan(chart.values)
    dense = np.count_nonzero(valid) > 150
    style: dict[str, Any] = {"color": OBSERVED, "marker": "o", "markersize": 1.8 if dense else 3.6, "linestyle": "none"}
    axes.plot(*_joined(chart), color=OBSERVED, linewidth=0.5, alpha=0.55, zorder=2)
    (points,) = axes.plot(chart.years[valid], chart.values[valid], zorder=3, **style)
    entries.setdefault("observation", points)
    curve = chart.curve
    if curve is not None:
        if curve.low is not None and curve.high is not None:
            band = axes.fill_between(
                curve.years, curve.low, curve.high, color=LIMITS, alpha=0.45, linewidth=0, zorder=1
            )
            entries.setdefault(escaped(curve.limits), band)
        (line,) = axes.plot(curve.years, curve.values, color=FITTED, linewidth=1.4, zorder=4)
        entries.setdefault(f"fitted: {escaped(curve.name)}", line)
    for why, when in chart.gaps.items():
        style = {"color": MISSING, "markeredgewidth": 0.7, "linestyle": "none", **MARKS[why]}
        place = np.full(len(when), STRIP / 2)
        (marks,) = axes.plot(when, place, transform=axes.get_xaxis_transform(), zorder=5, clip_on=False, **style)
        entries.setdefault(f"missing: {why}", marks)
    if not valid.any():
        axes.text(0.5, 0.55, "no observation", transform=axes.transAxes, ha="center", color="0.35", size=TITLE_SIZE)
    _set_limits(axes, chart, valid)
    _set_ticks(axes, chart)
    _write(axes, chart, width)


def _joined(chart: Chart) -> tuple[Floats, Floats]:
    """Return the observations as a line that is broken where a layer is missing in between."""
    years, values = chart.years, chart.values
    if chart.index is not None:
        behind = np.flatnonzero(np.diff(chart.index) > 1) + 1
        years, values = np.insert(years, behind, years[behind]), np.insert(values, behind, np.nan)
    return years, values


def _set_limits(axes: Axes, chart: Chart, valid: NDArray[np.bool_]) -> None:
    """Show all observations and the curve; limits, which may be wide, only to twice that height."""
    first, last = float(chart.years[0]), float(chart.years[-1])
    aside = 0.02 * (last - first) or 0.5
    axes.set_xlim(first - aside, last + aside)
    shown = [chart.values[valid]] + ([] if chart.curve is None else [chart.curve.values])
    numbers = np.concatenate(shown)
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        axes.set_yticks([])
        axes.set_ylim(0, 1)
        return
    low, high = float(numbers.min()), float(numbers.max())
    height = high - low or abs(high) or 1.0
    if chart.curve is not None and chart.curve.low is not None and chart.curve.high is not None:
        low = max(float(np.nanmin([low, chart.curve.low.min()])), low - height / 2)
        high = min(float(np.nanmax([high, chart.curve.high.max()])), high + height / 2)
    if high == low:
        low, high = low - height / 2, high + height / 2
    height = high - low
    low, high = low - 0.05 * height, high + 0.05 * height
    if chart.gaps:
        low -= STRIP * (high - low) / (1 - STRIP)
        axes.axhline(low + STRIP * (high - low), color="0.85", linewidth=0.6, zorder=0)
    axes.set_ylim(low, high)


def label_dates(axes: Axes) -> None:
    """Label the horizontal axis, in decimal years, by years or months."""
    from matplotlib.ticker import MaxNLocator

    first, last = axes.get_xlim()
    if last - first >= MONTHS_BELOW:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=True, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
        axes.set_xlabel("year", fontsize=TEXT_SIZE)
    else:
        every = next(step for step in (1, 2, 3, 6, 12) if (last - first) * 12 / step <= 8)
        months = range(math.ceil(first * 12 - 0.1), math.floor(last * 12 + 0.1) + 1)
        ticks = [month for month in months if month % every == 0]
        axes.set_xticks([month / 12 for month in ticks], [f"{MONTHS[m % 12]} {m // 12}" for m in ticks])


def _set_ticks(axes: Axes, chart: Chart) -> None:
    label_dates(axes)
    axes.set_ylabel(escaped(chart.label), fontsize=TEXT_SIZE, parse_math=False)
    thin_lines(axes)


def thin_lines(axes: Axes) -> None:
    """Write numbers and draw lines of the axes as small as those of all charts."""
    # In full: neither an offset nor a power of ten, which would stand apart.
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.6g}".replace("-", "\N{MINUS SIGN}"))
    axes.tick_params(labelsize=TICK_SIZE, length=3, width=0.6, color="0.3")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(linewidth=0.6, edgecolor="0.3")


def _write(axes: Axes, chart: Chart, width: float) -> None:
    """Write title and result above the axes, broken into lines that fit."""
    # A letter is about 0.53 times its size wide, a bold one 0.62.
    result = re.sub(r"\b([pn]) ([=<]) ", "\\1\N{NO-BREAK SPACE}\\2\N{NO-BREAK SPACE}", escaped(chart.subtitle))
    result = textwrap.fill(result, int(width * 72 / TEXT_SIZE / 0.53))
    title, letters = escaped(chart.title), int(width * 72 / TITLE_SIZE / 0.62)
    if len(title) > letters:
        # Coordinates stay together on a line of their own.
        title = "\n".join(textwrap.fill(part, letters) for part in title.replace(" (x ", "\n(x ").split("\n"))
    above = 5 + TEXT_SIZE * 1.25 * (result.count("\n") + 1)
    styles = ((result, 5.0, TEXT_SIZE, "normal", "0.25"), (title, above + 2, TITLE_SIZE, "bold", "black"))
    for words, offset, size, weight, color in styles:
        axes.annotate(
            words,
            (0, 1),
            xytext=(0, offset),
            xycoords="axes fraction",
            textcoords="offset points",
            va="bottom",
            size=size,
            weight=weight,
            color=color,
            parse_math=False,
            annotation_clip=False,
        )
