"""Charts of a table of gains: gain and offset of every scene by date, band and sensor."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats
from pixelwise.errors import ParameterError
from pixelwise.pictures.chart import TEXT_SIZE, TICK_SIZE, TITLE_SIZE, empty_figure, label_dates, thin_lines
from pixelwise.words import escaped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["GainPanel", "Slope", "draw_gains"]

# Inches: of the figure, of a band among many and among few, and of what is above and below all bands.
WIDTH, ROW, TALL_ROW, AROUND = 7.2, 1.25, 2.2, 1.1

#: A shape and a colour for each sensor, of which neighbours differ in lightness as well, so that a grey print shows
#: them apart; not the orange of fitted lines. Sensors beyond these begin again.
SENSORS = (
    ("o", "#1b4f8a"),
    ("^", "#4fa88d"),
    ("s", "#5b2a6e"),
    ("D", "#b08a1c"),
    ("v", "#3b4a54"),
    ("P", "#8fb3d9"),
)
TREND = "#d55e00"

#: Scenes in a panel from which on marks are small.
DENSE = 80


@dataclass(frozen=True, eq=False)
class Slope:
    """A line through the numbers of a panel.

    Attributes
    ----------
    values
        (2,) its values at the first and the last date of the figure.
    label
        What it says.
    """

    values: tuple[float, float]
    label: str


@dataclass(frozen=True, eq=False)
class GainPanel:
    """Gains and offsets of one band.

    Attributes
    ----------
    band
        Its name.
    years
        (scene,) decimal years.
    gain, offset
        (scene,) the lines.
    gain_se, offset_se
        (scene,) their standard errors, NaN where unknown.
    sensors
        (scene,) codes of sensors; empty where a product has none.
    flagged
        (scene,) whether the scene is left out unless the user keeps it.
    gain_slope, offset_slope
        Their trends over time, where significant.
    """

    band: str
    years: Floats
    gain: Floats
    gain_se: Floats
    offset: Floats
    offset_se: Floats
    sensors: tuple[str, ...]
    flagged: NDArray[np.bool_]
    gain_slope: Slope | None = None
    offset_slope: Slope | None = None


def draw_gains(panels: Sequence[GainPanel], title: str, caption: str) -> Figure:
    """Return a figure with a row for each band: its gains on the left, its offsets on the right.

    Axes show all scenes that are not flagged, and the line of no change; flagged ones beyond them are marked at the
    edge.

    Parameters
    ----------
    panels
        One for each band.
    title
        Above the figure.
    caption
        Below it.

    Returns
    -------
    matplotlib.figure.Figure
        Unknown to pyplot; notebooks show it.

    Raises
    ------
    ParameterError
        When there are no bands, or matplotlib is missing.
    """
    if not panels:
        raise ParameterError("there are no gains to draw")
    height = ROW if len(panels) > 2 else TALL_ROW
    figure = empty_figure(WIDTH, height * len(panels) + AROUND)
    grid = figure.subplots(len(panels), 2, sharex=True, squeeze=False)
    years = np.concatenate([panel.years for panel in panels])
    first, last = float(years.min()), float(years.max())
    aside = 0.02 * (last - first) or 0.5
    grid[0, 0].set_xlim(first - aside, last + aside)
    order = [(when, code) for panel in panels for when, code in zip(panel.years, panel.sensors, strict=True)]
    styles = {
        code: SENSORS[i % len(SENSORS)] for i, code in enumerate(dict.fromkeys(code for _, code in sorted(order)))
    }
    entries: dict[str, Any] = {}
    for row, panel in zip(grid, panels, strict=True):
        _draw(row[0], panel, styles, entries, gain=True)
        _draw(row[1], panel, styles, entries, gain=False)
        row[0].set_ylabel(escaped(panel.band), fontsize=TEXT_SIZE, weight="bold", parse_math=False)
    # Labels of trends are right above their axes, and headings above those.
    labelled = panels[0].gain_slope is not None or panels[0].offset_slope is not None
    for axes, text in zip(grid[0], ("gain", "offset, in units of the values"), strict=True):
        axes.set_title(text, fontsize=TEXT_SIZE, loc="left", pad=5 + 1.5 * TICK_SIZE * labelled)
    for axes in grid[-1]:
        label_dates(axes)
    for axes in grid.flat:
        thin_lines(axes)
    _write(figure, title, caption, entries)
    return figure


def _draw(axes: Axes, panel: GainPanel, styles: dict[str, Any], entries: dict[str, Any], *, gain: bool) -> None:
    """Draw one column of a band, and add what the legend needs to `entries`."""
    values, errors = (panel.gain, panel.gain_se) if gain else (panel.offset, panel.offset_se)
    slope, neutral = (panel.gain_slope, 1.0) if gain else (panel.offset_slope, 0.0)
    low, high = _limits(values, errors, panel.flagged, neutral)
    axes.set_ylim(low, high)
    axes.axhline(neutral, color="0.6", linewidth=0.6, zorder=0)
    dense = len(values) > DENSE
    size = 2.0 if dense else 3.6
    codes = np.array(panel.sensors)
    for code, (marker, color) in styles.items():
        mine = (codes == code) & ~panel.flagged
        known = mine & np.isfinite(errors)
        bars = {"color": color, "linewidth": 0.4 if dense else 0.7, "alpha": 0.5 if dense else 0.8}
        axes.vlines(panel.years[known], (values - errors)[known], (values + errors)[known], zorder=1, **bars)
        style: dict[str, Any] = {"color": color, "marker": marker, "linestyle": "none", "markeredgewidth": 0.3}
        (points,) = axes.plot(panel.years[mine], values[mine], markersize=size, zorder=3, **style)
        if mine.any():
            entries.setdefault(f"sensor {escaped(code)}" if code else "scene", points)
    _draw_flagged(axes, panel, values, entries, size + 0.8)
    if slope is not None:
        first, last = axes.get_xlim()
        aside = 0.02 / 1.04 * (last - first)
        (line,) = axes.plot([first + aside, last - aside], slope.values, color=TREND, linewidth=1.4, zorder=4)
        entries.setdefault("trend over time, if significant", line)
        _label(axes, slope.label)


def _draw_flagged(axes: Axes, panel: GainPanel, values: Floats, entries: dict[str, Any], size: float) -> None:
    """Cross flagged scenes, at the edge of the axes if they are beyond."""
    low, high = axes.get_ylim()
    style: dict[str, Any] = {"color": "0.15", "linestyle": "none", "markeredgewidth": 0.7, "zorder": 5}
    inside = panel.flagged & (values >= low) & (values <= high)
    if inside.any():
        (crosses,) = axes.plot(panel.years[inside], values[inside], marker="x", markersize=size, clip_on=False, **style)
        entries.setdefault("flagged", crosses)
    # No sensor's shape: arrows.
    for beyond, place, marker in ((values > high, 0.94, r"$\uparrow$"), (values < low, 0.06, r"$\downarrow$")):
        chosen = panel.flagged & beyond
        if chosen.any():
            arrow = {**style, "marker": marker, "markersize": size + 3, "markeredgewidth": 0}
            where = np.full(np.count_nonzero(chosen), place)
            (marks,) = axes.plot(panel.years[chosen], where, transform=axes.get_xaxis_transform(), **arrow)
            entries.setdefault("flagged, beyond the axis", marks)


def _limits(values: Floats, errors: Floats, flagged: NDArray[np.bool_], neutral: float) -> tuple[float, float]:
    """Return limits that show values and `neutral`, and standard errors but for a few large ones."""
    shown = ~flagged if not flagged.all() else np.abs(values - np.median(values)) <= _spread(values)
    values, errors = values[shown], np.where(np.isfinite(errors), errors, 0.0)[shown]
    low, high = float(min(values.min(), neutral)), float(max(values.max(), neutral))
    height = high - low or abs(high) * 0.1 or 0.01
    # One scene of large errors must not flatten all others.
    most = max(height / 2, 1.5 * float(np.median(errors)))
    low = min(low, max(float((values - errors).min()), low - most))
    high = max(high, min(float((values + errors).max()), high + most))
    room = 0.12 * ((high - low) or height)
    return low - room, high + room


def _spread(values: Floats) -> float:
    """Return within which distance of the median values are not outliers, where all scenes are flagged."""
    return 5 * float(np.median(np.abs(values - np.median(values)))) or float("inf")


def _label(axes: Axes, text: str) -> None:
    axes.annotate(
        text.replace("-", "\N{MINUS SIGN}"),
        (1, 1),
        xytext=(0, 2),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="bottom",
        size=TICK_SIZE,
        color=TREND,
        parse_math=False,
    )


def _write(figure: Figure, title: str, caption: str, entries: dict[str, Any]) -> None:
    """Write title, caption and legend."""
    # A letter is about 0.53 times its size wide, a bold one 0.62.
    wrapped = textwrap.fill(escaped(title), int(WIDTH * 72 / TITLE_SIZE / 0.62))
    above = figure.suptitle(wrapped, x=0.01, ha="left", fontsize=TITLE_SIZE, weight="bold")
    legend = figure.legend(
        handles=list(entries.values()),
        labels=list(entries),
        loc="outside lower left",
        ncols=min(len(entries), 4),
        frameon=False,
        fontsize=TEXT_SIZE,
        markerscale=1.3,
        title=textwrap.fill(escaped(caption), int(WIDTH * 72 / TEXT_SIZE / 0.53)),
        title_fontsize=TEXT_SIZE,
        alignment="left",
    )
    legend.get_title().set_color("0.25")
    for text in (above, legend.get_title(), *legend.get_texts()):
        text.set_parse_math(False)
