"""Pictures of maps: classes with their limits and areas, drawn with matplotlib."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.choices import Palette
from pixelwise.errors import ParameterError
from pixelwise.grid import Block, Grid
from pixelwise.pictures.captions import description_of, heading, heading_of_several, legend_title
from pixelwise.pictures.choosing import bands_for, scheme_of
from pixelwise.pictures.drawing import Panel, draw
from pixelwise.pictures.scheme import OUTSIDE
from pixelwise.pictures.source import Source
from pixelwise.pictures.tally import tally_of
from pixelwise.pictures.thinned import thinned
from pixelwise.rasters.cell_areas import CellAreas
from pixelwise.rasters.polygons import Polygons, read_polygons
from pixelwise.rasters.region import edges_in_pixels
from pixelwise.words import escaped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["import_matplotlib", "panel_of", "plot_map", "require_matplotlib"]

#: Maps side by side in small multiples.
COLUMNS = 2


def plot_map(
    map_: Source,
    band: str | Sequence[str] | None = None,
    *,
    classes: str | Sequence[float] | None = None,
    significant: float | None = None,
    pvalue: str | None = None,
    palette: Palette | None = None,
    overlay: str | Path | None = None,
    title: str | None = None,
    width: float | None = None,
) -> Figure:
    """Draw one or more bands of a map in classes.

    Classes follow from what the numbers of a band are (its kind): changes with a test are divided by direction and
    significance, p-values at 0.001, 0.01, 0.05 and 0.1, days of the year by months, codes have one class each,
    correlations and shares have fixed limits, and other numbers five classes of about equally many pixels. Pixels
    without a test are "not tested", and no area outside ``--region`` counts as missing.

    Shares are those of the area on the ellipsoid. Maps of more than 16 million pixels are thinned, and shares are then
    estimates, which the legend says.

    Parameters
    ----------
    map_
        What `apply` or `open_map` returns.
    band
        Name of the band, or of several, drawn side by side; the first by default.
    classes
        ``trend``: (significant) decrease and increase, and untested pixels, for a band that has a p-value;
        ``confidence``: the same at levels of 90, 95 and 99 %; ``quintile`` or ``quantile:K``: classes of equally many
        pixels; ``equal:K``: classes of equal width; ``fisher:K``: natural breaks (Fisher, Jenks); ``continuous``: a
        colour bar; or the limits between classes, as numbers or as a text such as ``0,0.1,0.5``.
    significant
        A p-value below this is significant, and a q-value not above it; 0.05 by default, and for q-values what
        `fdr` was asked for.
    pvalue
        Name of the band of p-values where there are several; by default, the q-values that `fdr` wrote, or the
        p-values that the method names.
    palette
        ``greening`` (brown to teal) or ``warming`` (blue to red) for numbers with a direction, ``viridis`` or
        ``cividis`` for others. By default, units of temperature warm, and other numbers are green.
    overlay
        File of polygons whose outlines are drawn over the map.
    title
        Title of the picture instead of quantity, band and period; the line below it stays. An empty text leaves both
        out.
    width
        Width of the figure in inches; what suits the maps by default.

    Returns
    -------
    matplotlib.figure.Figure
        Unknown to pyplot; notebooks show it.

    Raises
    ------
    ParameterError
        When the band is unknown, the classes are impossible for it, or matplotlib is missing.
    InputError
        When the file of polygons cannot be read, or lies elsewhere.
    """
    require_matplotlib()
    names = [map_.bands[0].name] if band is None else [band] if isinstance(band, str) else list(band)
    outlines = None if overlay is None else read_polygons(overlay, "overlay")
    if len(names) > 1 and (significant is not None or pvalue is not None):
        raise ParameterError("significant and pvalue belong to one band: draw it alone")
    wishes: dict[str, Any] = {"classes": classes, "significant": significant, "pvalue": pvalue, "palette": palette}
    panels = [panel_of(map_, name, outlines=outlines, **wishes) for name in names]
    if len(names) > 1:
        panels = [replace(one, name=_named(map_, name, one.name)) for name, one in zip(names, panels, strict=True)]
        first, second = heading_of_several(map_)
    else:
        first, second = heading(map_, map_.band(names[0]))
    if title is not None:
        first, second = escaped(title, "\n"), second if title else ""
    return draw(panels, (first, second), columns=COLUMNS, width=width)


def _named(map_: Source, name: str, legend: str) -> str:
    """Return the title of a legend after what the band is, for a map among others."""
    described = escaped(description_of(map_, map_.band(name)))
    return legend if legend.startswith(described) else f"{described[:1].upper()}{described[1:]}\n{legend}"


def panel_of(
    map_: Source,
    name: str,
    *,
    classes: str | Sequence[float] | None = None,
    significant: float | None = None,
    pvalue: str | None = None,
    palette: Palette | None = None,
    outlines: Polygons | None = None,
) -> Panel:
    """Return a band in its classes, ready to be drawn; see `plot_map`."""
    band = map_.band(name)
    source = thinned(map_, bands_for(map_, name, pvalue))
    scheme = scheme_of(source, name, classes=classes, significant=significant, pvalue=pvalue, palette=palette)
    codes = np.empty((source.grid.height, source.grid.width), np.uint8)

    def keep(block: Block, own: NDArray[np.uint8]) -> None:
        codes[block.slices] = own

    tally = tally_of(source, scheme, keep)
    step = (round(map_.grid.height / source.grid.height), round(map_.grid.width / source.grid.width))
    around = _inside(codes)
    grid = source.grid.crop(around)
    lines = None if outlines is None else edges_in_pixels(outlines, grid, "overlay")[0]
    return Panel(
        tally,
        codes[around.slices],
        grid,
        legend_title(band, tally, step),
        outlines=lines,
        pixel_km=_pixel_km(grid),
    )


def _inside(codes: NDArray[np.uint8]) -> Block:
    """Return the block around all pixels that were asked for; all of it if none was."""
    inside = codes != OUTSIDE
    rows, cols = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not rows.size:
        return Block(0, 0, *codes.shape)
    top, left = int(rows[0]), int(cols[0])
    return Block(top, left, int(rows[-1]) - top + 1, int(cols[-1]) - left + 1)


def _pixel_km(grid: Grid) -> float | None:
    """Return the kilometres across a pixel at the centre of a grid; None if nobody knows."""
    try:
        return CellAreas(grid).width_at_centre()
    except ParameterError:  # without pyproj there is no scale bar
        return None


def require_matplotlib() -> None:
    """Raise `ParameterError` when matplotlib is missing."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise ParameterError('drawing needs matplotlib: pip install "pixelwise[plot]"') from None


def import_matplotlib() -> None:
    """Import matplotlib without the ``matplotlibrc`` of the current folder.

    That file would override ``MATPLOTLIBRC`` and the user file, so the import happens in another folder.
    Only the command line needs this: in Python the current folder and ``rcParams`` are up to the caller.

    Raises
    ------
    ParameterError
        When matplotlib is missing.
    """
    if "matplotlib" in sys.modules:
        return
    with chdir(Path(__file__).parent):
        require_matplotlib()
