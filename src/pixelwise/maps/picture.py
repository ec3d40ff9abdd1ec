"""Pictures of maps: classes with their limits and shares, drawn with matplotlib.

The class of each pixel is decided by `classify_quintiles`, `classify_trend` and `classify_status`, which know nothing
about drawing.
"""

from __future__ import annotations

import io
import re
import secrets
import sys
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pixelwise.bands import STATUS_BAND, YEARS, Band
from pixelwise.choices import ClassKind
from pixelwise.errors import OutputError, ParameterError
from pixelwise.maps.classes import (
    Classes,
    classify_quintiles,
    classify_status,
    classify_trend,
)
from pixelwise.maps.disk import check_folder, check_target, create, remove, write
from pixelwise.maps.drawing import draw, escaped, escaped_lines
from pixelwise.maps.map import Map
from pixelwise.methods import METHODS
from pixelwise.regular_files import irregular
from pixelwise.words import not_a_choice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["check_output", "import_matplotlib", "plot_map", "save"]

SUFFIXES = (".png", ".pdf", ".svg", ".jpg", ".jpeg")

#: Units of a change over time; users' functions have no units, so their bands' names decide.
CHANGE_UNIT = re.compile(rf"/({'|'.join(YEARS)})$")
CHANGE_NAMES = ("slope", "trend", "change")


def plot_map(
    map_: Map,
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
    obstacle = _obstacle_to_trend(map_, chosen.name)
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
            map_[_pvalue_of(map_, chosen.name)],
            significant,
            status=map_.status if STATUS_BAND.name in map_ else None,
            change=_is_change(chosen),
        )
    heading = _heading(map_, chosen) if title is None else (escaped_lines(title), "")
    return draw(found, map_.grid, heading, _legend_title(chosen, found))


def _pvalue_of(map_: Map, band: str) -> str:
    """Return the name of the p-value of a band, whether or not the map holds it."""
    own = f"{band}_pvalue"
    # The `pvalue` of a regression is that of all covariates together: each has its own.
    return own if own in map_ or map_.provenance.get("method") == "regress" else "pvalue"


def _is_change(band: Band) -> bool:
    """Whether a band is a change over time, rather than a relation between two variables."""
    named = any(word in band.name.lower() for word in CHANGE_NAMES)
    return CHANGE_UNIT.search(band.unit) is not None or (not band.unit and named)


def _obstacle_to_trend(map_: Map, band: str) -> str:
    """Say why a band has no trend classes and what to do; empty if it has."""
    advice = "choose the classes quintile"
    pvalue = _pvalue_of(map_, band)
    if pvalue in map_ and pvalue != "pvalue":
        return ""
    if map_.provenance.get("method") == "regress":
        owners = [name.removesuffix("_pvalue") for name in map_ if name.endswith("_pvalue")]
        owners = [name for name in owners if name in map_]
        if owners:
            return f"band {band} has no p-value: draw band {' or '.join(owners)}, or {advice}"
        return f"no coefficient of this map has its p-value (NAME_pvalue): write both with the map, or {advice}"
    if "pvalue" not in map_:
        return f"trend classes need a band pvalue, which this map lacks: write it with the map, or {advice}"
    headline = _headline(map_)
    if headline not in map_:
        return f"the p-value belongs to {headline}, which this map lacks: write it with the map, or {advice}"
    if band != headline:
        return f"the p-value belongs to {headline}, not to {band}: draw band {headline}, or {advice}"
    return ""


def _headline(map_: Map) -> str:
    """Return the band that the p-value belongs to."""
    method = map_.provenance.get("method")
    for factory in METHODS:
        if factory.__name__ == method:
            # Bands may have been selected and reordered: only the method knows what its test is about.
            return factory().bands[0].name
    return map_.bands[0].name


def check_output(path: str | Path, *, overwrite: bool = False) -> Path:
    """Return the path of a picture that can be written.

    Raises
    ------
    OutputError
        When the file exists and `overwrite` is not set, its folder does not exist, or its suffix is unknown.
    """
    target = Path(path)
    if target.suffix.lower() not in SUFFIXES:
        raise OutputError(f"{target}: a picture's name must end in one of {', '.join(SUFFIXES)}")
    check_folder(target)
    exists = check_target(target)
    try:
        irregular(_temporary(target))  # its name is longer than that of the picture
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror})") from None
    if exists and not overwrite:
        raise OutputError(f"{target}: already exists; --overwrite replaces it")
    return target


def _temporary(target: Path) -> Path:
    """Return a hidden, unpredictable name beside a picture."""
    return target.with_name(f".{target.stem}.partial-{secrets.token_hex(4)}{target.suffix}")


def save(figure: Figure, path: str | Path, *, overwrite: bool = True) -> None:
    """Write a figure; the file is complete whenever it has its name.

    Parameters
    ----------
    figure
        What `plot_map` returns, or any other figure.
    path
        Its suffix, one of ``.png``, ``.pdf``, ``.svg``, ``.jpg``, chooses the format.
    overwrite
        Whether an existing file may be replaced, as matplotlib does.

    Raises
    ------
    OutputError
        When it cannot be written there.
    """
    target = check_output(path, overwrite=overwrite)
    temporary = _temporary(target)
    with io.BytesIO() as picture:
        figure.savefig(picture, format=target.suffix[1:].lower())
        content = picture.getvalue()
    try:
        with create(temporary) as file:
            try:
                write(file, content)
                check_output(target, overwrite=overwrite)  # drawing takes seconds
                temporary.replace(target)
            except BaseException:
                remove(temporary)
                raise
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror or error})") from None


# Words and numbers


def _heading(map_: Map, band: Band) -> tuple[str, str]:
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
