"""Pictures of maps: classes with their limits and shares, drawn with matplotlib.

The class of each pixel is decided by `classify_quintiles`, `classify_trend` and `classify_status`, which know nothing
about drawing.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from numpy.typing import NDArray

from pixelwise.bands import STATUS_BAND, Band
from pixelwise.choices import ClassKind
from pixelwise.errors import ParameterError
from pixelwise.pictures.classes import (
    Classes,
    classify_quintiles,
    classify_status,
    classify_trend,
)
from pixelwise.pictures.drawing import draw, escaped, escaped_lines
from pixelwise.pictures.source import Source
from pixelwise.words import not_a_choice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["import_matplotlib", "plot_map"]


def plot_map(
    map_: Source,
    band: str | None = None,
    *,
    classes: ClassKind | None = None,
    significant: float = 0.05,
    title: str | None = None,
) -> Figure:
    """Draw a band of a map in classes.

    Limits and shares in the legend refer to all pixels, even where a large map is thinned for drawing.

    Parameters
    ----------
    map_
        What `apply` or `open_map` returns.
    band
        Name of the band; the first by default.
    classes
        ``trend``: (significant) decrease and increase, and untested pixels, for a band that has a p-value;
        ``quintile``: five classes of equally many pixels. The default is ``trend`` if possible. The band ``status``
        always has one class per code.
    significant
        A p-value below this is significant; for ``trend`` only.
    title
        Title of the picture; an empty text leaves it out. By default method, band and time range.

    Returns
    -------
    matplotlib.figure.Figure
        Unknown to pyplot; `save` writes it, and notebooks show it.

    Raises
    ------
    ParameterError
        When the band is unknown, the classes are impossible for it, or matplotlib is missing.
    """
    _require_matplotlib()
    chosen = map_.bands[0] if band is None else map_.band(band)
    if classes not in (None, *get_args(ClassKind)):
        raise not_a_choice("classes", classes, get_args(ClassKind))
    obstacle = _obstacle_to_trend(map_, chosen)
    if chosen.name == STATUS_BAND.name:
        if classes is not None:
            raise ParameterError(f"the numbers of status are codes, which have no {classes} classes: leave classes out")
        found = classify_status(map_[chosen.name])
    elif classes == "quintile" or (obstacle and classes is None):
        found = classify_quintiles(map_[chosen.name])
    elif obstacle:
        raise ParameterError(obstacle)
    else:
        found = classify_trend(
            map_[chosen.name],
            map_[chosen.pvalue],
            significant,
            status=_status_of(map_),
            change=chosen.kind == "change",
        )
    heading = _heading(map_, chosen) if title is None else (escaped_lines(title), "")
    return draw(found, map_.grid, heading, _legend_title(chosen, found))


def _status_of(map_: Source) -> NDArray[Any] | None:
    return map_[STATUS_BAND.name] if STATUS_BAND.name in tuple(map_) else None


def _obstacle_to_trend(map_: Source, band: Band) -> str:
    """Say why a band has no trend classes and what to do; empty if it has."""
    advice = "choose the classes quintile"
    if not band.pvalue:
        tested = [other.name for other in map_.bands if other.pvalue in map_]
        draw_other = f"draw band {' or '.join(tested)}, or " if tested else ""
        return f"band {band.name} has no p-value, which trend classes need: {draw_other}{advice}"
    if band.pvalue not in map_:
        return f"trend classes need the band {band.pvalue}, which this map lacks: write it with the map, or {advice}"
    return ""


# Words and numbers


def _heading(map_: Source, band: Band) -> tuple[str, str]:
    """Return title and subtitle: method and band; what the band is, and the time it covers."""
    method = map_.provenance.get("method")
    title = f"{method}: {band.name}" if isinstance(method, str) else band.name
    # The legend explains the codes.
    described = "Why each pixel has the values it has" if band.name == STATUS_BAND.name else band.description
    parts = [described, _period(map_.provenance)]
    return escaped(title), escaped("; ".join(part for part in parts if part))


def _period(provenance: Mapping[str, Any]) -> str:
    """Describe the time that the input covers, as precisely as its dates are known."""
    source = provenance.get("input")
    if not isinstance(source, Mapping) or "first" not in source or "last" not in source:
        return ""
    first, last = str(source["first"]), str(source["last"])
    used = source.get("layers_used") or ()
    if used and all(isinstance(layer, Mapping) and layer.get("precision") == "year" for layer in used):
        first, last = first[:-6], last[:-6]  # without -01-01
    count = f", {source['layers']} layers" if "layers" in source else ""
    return f"{first} to {last}{count}"


def _legend_title(band: Band, classes: Classes) -> str:
    # Trend classes are not ranges of values, so a unit would be meaningless.
    unit = f" ({band.unit})" if band.unit and classes.limits else ""
    whole = "all" if band.name == STATUS_BAND.name else "valid"
    return f"{escaped(band.name + unit)}\n(share of {whole} pixels)"


# Drawing


def _require_matplotlib() -> None:
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
        _require_matplotlib()
