"""A figure for a paper: values, classes, number of observations, and a histogram, with its caption."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixelwise.bands import STATUS_BAND, Status
from pixelwise.choices import Palette
from pixelwise.pictures.captions import description_of, heading, unit_in_words
from pixelwise.pictures.choosing import bands_for, scheme_of
from pixelwise.pictures.drawing import Histogram, Panel, draw
from pixelwise.pictures.numbers import THIN, percent, square_kilometres
from pixelwise.pictures.picture import panel_of, require_matplotlib
from pixelwise.pictures.quantities import quantity
from pixelwise.pictures.scheme import MISSING
from pixelwise.pictures.source import Source
from pixelwise.pictures.tally import areas_of
from pixelwise.pictures.thinned import thinned
from pixelwise.rasters.polygons import read_polygons
from pixelwise.words import escaped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["histogram_of", "plot_paper"]

log = logging.getLogger(__name__)

#: Millimetres: the longest figures that journals print.
PAGE_HEIGHT = 240

#: Two columns of most journals: 170 mm.
WIDTH = 170 / 25.4

BINS = 60
#: The share of values beyond each end of a histogram; a single outlier would leave one bar for all others.
TAILS = 0.005


def plot_paper(
    map_: Source,
    band: str | None = None,
    *,
    classes: str | Sequence[float] | None = None,
    significant: float | None = None,
    pvalue: str | None = None,
    palette: Palette | None = None,
    overlay: str | Path | None = None,
    title: str | None = None,
    width: float | None = None,
) -> tuple[Figure, str]:
    """Draw a band as values, in classes with their areas, with the number of observations, and its histogram.

    The number of observations has no panel if it is the same everywhere: the caption says so. A figure that is higher
    than the page of a journal (240 mm) is warned of.

    Parameters
    ----------
    map_, band, classes, significant, pvalue, palette, overlay, title
        As in `plot_map`; the figure has no title unless one is given, as the caption says what it shows.
    width
        Inches; 170 mm by default.

    Returns
    -------
    figure : matplotlib.figure.Figure
    caption : str
        What the panels show, with areas, ready to be edited.

    Raises
    ------
    ParameterError, InputError
        As `plot_map` does.
    """
    require_matplotlib()
    name = map_.bands[0].name if band is None else band
    outlines = None if overlay is None else read_polygons(overlay, "overlay")
    wish: dict[str, Any] = {"classes": classes, "significant": significant, "pvalue": pvalue, "palette": palette}
    panels: list[Panel | Histogram] = []
    if map_.band(name).kind != "code":
        panels.append(panel_of(map_, name, classes="continuous", palette=palette, outlines=outlines))
    classed = panel_of(map_, name, outlines=outlines, **wish)
    panels.append(classed)
    same = _constant_n(map_) if "n" in map_ and name != "n" else None
    if "n" in map_ and name != "n" and same is None:
        panels.append(panel_of(map_, "n", outlines=outlines))
    if map_.band(name).kind != "code":
        panels.append(histogram_of(map_, name, palette))
    lettered = [_lettered(panel, letter) for panel, letter in zip(panels, "abcd", strict=False)]
    figure = draw(lettered, (escaped(title or "", "\n"), ""), columns=2, width=width or WIDTH)
    _warn_of_height(figure)
    return figure, _caption(map_, name, panels, classed, same)


def _constant_n(map_: Source) -> int | None:
    """Return how many observations all pixels have that have any: a map of them would be plain; None if they differ."""
    found: set[int] = set()
    for block in map_.blocks():
        numbers = map_.read("n", block)
        if (own := numbers[numbers > 0]).size:
            found |= {int(own.min()), int(own.max())}
        if len(found) > 1:
            return None
    return next(iter(found), None)


def _warn_of_height(figure: Figure) -> None:
    """Warn of a figure that is taller than the page of a journal, and say what to do."""
    width, height = (25.4 * float(inches) for inches in figure.get_size_inches())
    if height > PAGE_HEIGHT:
        wider = "choose a larger width, such as 170 mm, " if width < 0.9 * 25.4 * WIDTH else "choose a smaller width, "
        log.warning(
            "the figure is %.0f mm wide and %.0f mm high, but pages of journals have at most %d mm: %s"
            "or draw the band alone, without figure paper",
            width, height, PAGE_HEIGHT, wider,
        )  # fmt: skip


def histogram_of(map_: Source, name: str, palette: Palette | None = None) -> Histogram:
    """Return how much of the area has which values; how many pixels, where their areas are unknown."""
    source = thinned(map_, bands_for(map_, name))
    areas = areas_of(source.grid)
    whole = "pixels" if areas is None else "area"
    parts, sizes = [], []
    for block in source.blocks():
        values = source.read(name, block)
        inside = np.isfinite(values)
        if STATUS_BAND.name in source:
            inside &= source.read(STATUS_BAND.name, block) != Status.OUTSIDE
        parts.append(values[inside].astype(np.float64))
        if areas is not None:
            sizes.append(areas.of(block)[inside])
    values = np.concatenate(parts)
    band = map_.band(name)
    label = f"{name} ({unit_in_words(band.unit)})" if band.unit and band.unit != name else name
    if band.kind == "change" and band.unit.startswith("1/") and (what := quantity(map_)):
        label = f"{what} {unit_in_words(band.unit)}"
    if not values.size:
        return Histogram(np.array([0.0, 1.0]), np.zeros(1), escaped(label), (), whole=whole)
    low, high = (float(edge) for edge in np.quantile(values, (TAILS, 1 - TAILS)))
    if not low < high:
        low, high = low - 0.5, high + 0.5
    weights = np.concatenate(sizes) if sizes else np.ones(values.size)
    sums, edges = np.histogram(np.clip(values, low, high), BINS, (low, high), weights=weights)
    scheme = scheme_of(source, name, classes="continuous", palette=palette)
    # The bars have the colours of the map.
    ends = getattr(scheme, "low", low), getattr(scheme, "high", high)
    places = (edges[:-1] + edges[1:]) / 2
    count = len(scheme.classes)
    codes = np.clip((places - ends[0]) / (ends[1] - ends[0]) * count, 0, count - 1).astype(int)
    colors = tuple(scheme.classes[code].color for code in codes)
    return Histogram(edges, sums / (weights.sum() or 1), escaped(label), colors, whole=whole)


def _lettered(panel: Panel | Histogram, letter: str) -> Panel | Histogram:
    return replace(panel, letter=letter)


def _caption(map_: Source, name: str, panels: Sequence[Panel | Histogram], classed: Panel, same: int | None) -> str:
    """Return the caption: what each panel shows, areas, layers, method; `same` is the n of all pixels."""
    title, below = heading(map_, map_.band(name))
    tally = classed.tally
    parts = []
    said = []
    for place in tally.scheme.listed:
        much = float(tally.measure[place])
        if much:
            area = "" if tally.km2 is None else f" ({square_kilometres(much)})"
            said.append(f"{tally.scheme.classes[place].label}: {percent(float(tally.shares[place]))}{area}")
    whole = "the area with values" if tally.km2 is not None else "the pixels with values"
    for panel, letter in zip(panels, "abcd", strict=False):
        if isinstance(panel, Histogram):
            parts.append(
                f"({letter}) share of the {panel.whole} by value (the bars at the ends include all values beyond)"
            )
        elif panel is classed:
            parts.append(f"({letter}) classes, with their shares of {whole}")
        elif panel.tally.scheme.band.name == "n":
            parts.append(f"({letter}) number of observations")
        else:
            parts.append(f"({letter}) {description_of(map_, map_.band(name))}")
    lines = [f"{title}. {'; '.join(parts)}."]
    if below:
        lines.append(f"Method {below}." if isinstance(map_.provenance.get("method"), str) else f"{below.capitalize()}.")
    if said:
        lines.append(f"Of {whole}: {'; '.join(said)}.")
    if same is not None:
        lines.append(f"All pixels with observations have {same} of them.")
    missing = int(np.count_nonzero(classed.codes == MISSING))
    if missing:
        lines.append(f"Grey: no value ({percent(tally.missing)} of the area).")
    lines.append(f"Coordinates: {map_.grid.crs_name}.")
    versions = map_.provenance.get("versions")
    if isinstance(versions, dict) and isinstance(versions.get("pixelwise"), str):
        lines.append(f"Computed with pixelwise {versions['pixelwise']}.")
    return escaped("\n".join(line for line in lines if line), f"\n{THIN}") + "\n"
