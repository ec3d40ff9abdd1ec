"""Pictures of maps: classes with their limits and shares, drawn with matplotlib.

What a pixel's class is, is decided by `classify_quintiles`, `classify_trend` and `classify_status`, which know nothing
of drawing.
"""

from __future__ import annotations

import functools
import io
import math
import re
import secrets
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import STATUS_BAND, STATUS_WORDS, YEARS, Band, Status
from pixelwise.errors import OutputError, ParameterError
from pixelwise.grid import Bounds, Grid
from pixelwise.maps.disk import check_folder, check_target, create, remove, write
from pixelwise.maps.map import Map
from pixelwise.methods import METHODS
from pixelwise.regular_files import irregular
from pixelwise.words import unknown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.text import Text

__all__ = [
    "CLASSES",
    "MISSING",
    "Classes",
    "check_output",
    "classify_quintiles",
    "classify_status",
    "classify_trend",
    "import_matplotlib",
    "plot_map",
    "save",
]

ClassKind = Literal["trend", "quintile"]
CLASSES: tuple[ClassKind, ...] = ("trend", "quintile")
SUFFIXES = (".png", ".pdf", ".svg", ".jpg", ".jpeg")

#: The code of missing pixels.
MISSING = 255

# ColorBrewer's BrBG: brown against teal differs in the blue-yellow direction and in lightness, so that the two
# signs stay apart for every common colour blindness and the steps survive a grey print; and brown for less,
# teal for more is what a map of vegetation leads one to expect. Keyed by how many classes share a sign, from
# the one next to zero outwards.
NEGATIVE_SHADES: dict[int, tuple[str, ...]] = {
    1: ("#bf812d",),
    2: ("#dfc27d", "#a6611a"),
    3: ("#dfc27d", "#bf812d", "#8c510a"),
    4: ("#f1dca7", "#dfc27d", "#bf812d", "#8c510a"),
    5: ("#f1dca7", "#dfc27d", "#bf812d", "#8c510a", "#543005"),
}
POSITIVE_SHADES: dict[int, tuple[str, ...]] = {
    1: ("#35978f",),
    2: ("#80cdc1", "#018571"),
    3: ("#80cdc1", "#35978f", "#01665e"),
    4: ("#b9e3dd", "#80cdc1", "#35978f", "#01665e"),
    5: ("#b9e3dd", "#80cdc1", "#35978f", "#01665e", "#003c30"),
}
# Not BrBG's near-white: next to the grey of missing pixels only a tint tells "zero" from "not known".
NEUTRAL_COLOR = "#fffbe0"
MISSING_COLOR = "#d2d2d2"
# No direction, and neither brown nor teal: against every other colour here its distance in CIELAB is at least 24 for
# common colour blindness (Machado et al. 2009) and 10 in grey, where the colours of the two signs come as near as 2.
NOT_TESTED_COLOR = "#9e86b8"
# Paul Tol's light scheme, which stays apart for every common colour blindness; a code has the same colour in every map.
STATUS_COLORS = {
    Status.OK: "#44bb99",
    Status.NO_OBSERVATION: MISSING_COLOR,
    Status.TOO_FEW: "#eedd88",
    Status.CONSTANT: "#99ddff",
    Status.DEGENERATE: "#aaaa00",
    Status.FUNCTION_FAILED: "#ee8866",
    Status.TEST_UNDEFINED: NOT_TESTED_COLOR,
    Status.TRUNCATED: "#77aadd",
    Status.DATES_LOST: "#ffaabb",
    Status.OUTSIDE: "#ffffff",
}
UNKNOWN_COLOR = "#000000"

#: Of units of a change with time; users' functions have no units, and say it by a name.
CHANGE_UNIT = re.compile(rf"/({'|'.join(YEARS)})$")
CHANGE_NAMES = ("slope", "trend", "change")

#: More pixels than this per side do not show at the size of a page.
LARGEST_IMAGE = 2000

# Inches, and points for text.
LONG_EDGE, PAD, GAP = 5.0, 0.12, 0.14
TITLE_SIZE, TEXT_SIZE, TICK_SIZE = 10.0, 8.0, 7.5
DPI = 200
#: A strip with longer sides than this to one would be a hairline: it is stretched.
LARGEST_ASPECT = 8.0
#: Below this width (inches) there is room for one coordinate.
NARROW = 1.4
#: From this ratio of width to height on, the legend stands below the map.
WIDE = 1.5


@dataclass(frozen=True, eq=False)
class Classes:
    """The class of every pixel, and what a legend says of the classes.

    Attributes
    ----------
    codes
        (y, x) number of the class from 0, `MISSING` where there is no value.
    labels, colors
        One per class, from low to high, as a legend has them from the bottom to the top; a class without a place on
        that scale comes first.
    shares
        Of the valid pixels, per class; 0 where no pixel is valid.
    limits
        Lowest and highest value per class, both the same where one value fills a class; empty where classes
        are no ranges of values. A limit that two classes share belongs to the higher one.
    """

    codes: NDArray[np.uint8]
    labels: tuple[str, ...]
    colors: tuple[str, ...]
    shares: tuple[float, ...]
    limits: tuple[tuple[float, float], ...] = ()

    @property
    def missing(self) -> float:
        """The share of all pixels that has no value."""
        return int(np.count_nonzero(self.codes == MISSING)) / self.codes.size


def classify_quintiles(values: NDArray[Any]) -> Classes:
    """Cut values at their quintiles; colours follow the sign of each class.

    A value that fills a quintile or more (many pixels of exactly 0, say) is a class of its own, so that there
    may be fewer than five classes and none of them is empty. Classes below zero are brown, classes above it
    teal, and the class around zero is neutral.

    Parameters
    ----------
    values
        (y, x) numbers; what is not finite is missing.

    Returns
    -------
    Classes
    """
    finite = np.isfinite(values)
    codes = np.full(values.shape, MISSING, np.uint8)
    if not finite.any():
        return Classes(codes, (), (), ())
    ranges = _ranges(_quintile_limits(values[finite]))
    for code, (low, _) in enumerate(ranges):
        # From low to high, each class takes what lies above its lower limit from those before it.
        after_tie = code > 0 and ranges[code - 1] == (low, low)
        above = values > low if after_tie else values >= low
        np.copyto(codes, code, where=finite & above)
    ranges = _drop_empty(codes, ranges)
    if np.issubdtype(values.dtype, np.integer):
        # Of whole numbers, "18 to 20, 20 to 22" leaves open who has the 20: say what each class holds.
        members = [values[codes == code] for code in range(len(ranges))]
        ranges = [(float(held.min()), float(held.max())) for held in members]
    return Classes(
        codes,
        labels=_range_labels(ranges),
        colors=_signed_colors([_sign(low, high) for low, high in ranges]),
        shares=_shares(codes, len(ranges)),
        limits=tuple(ranges),
    )


def _quintile_limits(values: NDArray[Any]) -> list[float]:
    """Return the six limits, interpolated as `numpy.quantile` does; the order of `values` is lost.

    Positions are counted in whole fifths: 0.6 times ten is not quite six to a computer, and a value that is
    itself a limit would fall into the class below.
    """
    places = [divmod(fifth * (values.size - 1), 5) for fifth in range(6)]
    values.partition(sorted({index for place, _ in places for index in (place, min(place + 1, values.size - 1))}))
    limits = []
    for place, rest in places:
        limit = float(values[place])
        if rest:
            limit += (float(values[place + 1]) - limit) * rest / 5
        # As exact as the values that it is compared with.
        limits.append(float(values.dtype.type(limit)) if values.dtype.kind == "f" else limit)
    return limits


def _ranges(limits: Sequence[float]) -> list[tuple[float, float]]:
    """Turn ascending limits into ranges; equal neighbours become the range of one value."""
    ranges: list[tuple[float, float]] = []
    for low, high in pairwise(limits):
        if low < high or not ranges or ranges[-1] != (low, high):
            ranges.append((low, high))
    return ranges


def _drop_empty(codes: NDArray[np.uint8], ranges: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Renumber the classes in place so that each has pixels; return their ranges."""
    kept: list[tuple[float, float]] = []
    for code, limits in enumerate(ranges):
        members = codes == code
        if members.any():
            codes[members] = len(kept)
            kept.append(limits)
    return kept


def _sign(low: float, high: float) -> int:
    """Return the sign that all values of a range have, 0 where it holds both or only zero."""
    if low >= 0:
        return 1 if high > 0 else 0
    return -1 if high <= 0 else 0


def _signed_colors(signs: Sequence[int]) -> tuple[str, ...]:
    """Choose colours for classes from low to high."""
    below, above = signs.count(-1), signs.count(1)
    negative = NEGATIVE_SHADES[below][::-1] if below else ()
    positive = POSITIVE_SHADES[above] if above else ()
    return (*negative, *(NEUTRAL_COLOR for sign in signs if sign == 0), *positive)


def _shares(codes: NDArray[np.uint8], classes: int) -> tuple[float, ...]:
    counts = [int(np.count_nonzero(codes == code)) for code in range(classes)]
    return tuple(count / max(sum(counts), 1) for count in counts)


def classify_trend(
    slope: NDArray[Any],
    pvalue: NDArray[Any],
    significant: float = 0.05,
    *,
    status: NDArray[Any] | None = None,
    change: bool = True,
) -> Classes:
    """Tell significant from other decreases and increases, and from what was not tested.

    A pixel without a p-value is neither significant nor not: it makes a class "not tested". A slope of exactly 0 makes
    a class "no change"; so does a constant series, which has no p-value. Both classes are there only where they have
    pixels.

    Parameters
    ----------
    slope
        (y, x) headline of a test, whose sign is its direction; what is not finite is missing.
    pvalue
        (y, x) two-sided p-values, NaN where there was no test.
    significant
        A p-value below this is significant.
    status
        (y, x) codes of the band ``status``; without them no series is known to be constant.
    change
        Whether the headline is a change with time, which increases or decreases; a correlation is positive or negative.

    Returns
    -------
    Classes

    Raises
    ------
    ParameterError
        When `significant` is not between 0 and 1.
    """
    if not 0 < significant < 1:
        raise ParameterError(f"significant {significant:g} is no level of significance: 0.05 is usual")
    known = np.isfinite(slope)
    untested = known & ~np.isfinite(pvalue)
    if status is not None:
        # Of some methods all bands are NaN there: not for want of data, which "missing" would say.
        untested |= (status == Status.TEST_UNDEFINED) & ~np.isfinite(pvalue)
        untested &= status != Status.CONSTANT
    tested = known & ~untested
    passed = pvalue < significant
    falls, rises, level = tested & (slope < 0), tested & (slope > 0), tested & (slope == 0)
    if change:
        low, none, high = ("decrease", "significant decrease"), "no change", ("increase", "significant increase")
    else:
        low, none, high = ("negative", "significantly negative"), "zero", ("positive", "significantly positive")
    below = f"p < {significant:g}"
    classes = [
        ("not tested", untested, NOT_TESTED_COLOR),
        (f"{low[1]}, {below}", falls & passed, NEGATIVE_SHADES[2][1]),
        (f"{low[0]}, not significant", falls & ~passed, NEGATIVE_SHADES[2][0]),
        (none, level, NEUTRAL_COLOR),
        (f"{high[0]}, not significant", rises & ~passed, POSITIVE_SHADES[2][0]),
        (f"{high[1]}, {below}", rises & passed, POSITIVE_SHADES[2][1]),
    ]
    classes = [found for found in classes if found[0] not in ("not tested", none) or found[1].any()]
    codes = np.full(slope.shape, MISSING, np.uint8)
    for code, (_, members, _) in enumerate(classes):
        codes[members] = code
    labels, _, colors = zip(*classes, strict=True)
    return Classes(codes, labels, colors, _shares(codes, len(classes)))


def classify_status(status: NDArray[Any]) -> Classes:
    """Make a class of each code of the band ``status`` that occurs, called by what it means.

    Parameters
    ----------
    status
        (y, x) codes.

    Returns
    -------
    Classes
        The lowest code last, which is on top of a legend.
    """
    found = np.unique(status)[::-1].tolist()
    codes = np.zeros(status.shape, np.uint8)
    for code, number in enumerate(found):
        codes[status == number] = code
    known = dict(STATUS_WORDS)
    colors = dict(STATUS_COLORS)
    return Classes(
        codes,
        labels=tuple(f"{number} {known.get(number, 'unknown')}" for number in found),
        colors=tuple(colors.get(number, UNKNOWN_COLOR) for number in found),
        shares=_shares(codes, len(found)),
    )


def plot_map(
    map_: Map,
    band: str | None = None,
    *,
    classes: ClassKind | None = None,
    significant: float = 0.05,
    title: str | None = None,
) -> Figure:
    """Draw a band of a map in classes.

    Limits and shares in the legend are those of all pixels, also where a large map is thinned for drawing.

    Parameters
    ----------
    map_
        What `apply` or `open_map` returns.
    band
        Name of the band; the first by default.
    classes
        ``trend``: (significant) decrease and increase, and pixels that were not tested, for a band that has a p-value;
        ``quintile``: five classes of equally many pixels. By default ``trend`` where it is possible. The band
        ``status`` always has a class per code.
    significant
        A p-value below this is significant; for ``trend`` only.
    title
        Instead of method, band and time range; an empty text leaves the title out.

    Returns
    -------
    matplotlib.figure.Figure
        Not known to pyplot; `save` writes it, and notebooks show it.

    Raises
    ------
    ParameterError
        When the band is unknown, the classes are impossible for it, or matplotlib is missing.
    """
    _require_matplotlib()
    chosen = map_.bands[0] if band is None else map_.band(band)
    if classes not in (None, *CLASSES):
        raise unknown("kind of classes", str(classes), CLASSES)
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
    heading = _heading(map_, chosen) if title is None else (_escaped_lines(title), "")
    return _draw(found, map_.grid, heading, _legend_title(chosen, found))


def _pvalue_of(map_: Map, band: str) -> str:
    """Return the name that the p-value of a band has, whether or not the map holds it."""
    own = f"{band}_pvalue"
    # The `pvalue` of a regression is that of all covariates together: each has its own.
    return own if own in map_ or map_.provenance.get("method") == "regress" else "pvalue"


def _is_change(band: Band) -> bool:
    """Whether a band tells a change with time, rather than how two things go together."""
    named = any(word in band.name.lower() for word in CHANGE_NAMES)
    return CHANGE_UNIT.search(band.unit) is not None or (not band.unit and named)


def _obstacle_to_trend(map_: Map, band: str) -> str:
    """Say why a band has no trend classes and what to do; nothing where it has."""
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
        When the file exists and `overwrite` is not set, its folder does not, or its suffix is unknown.
    """
    target = Path(path)
    if target.suffix.lower() not in SUFFIXES:
        raise OutputError(f"{target}: a picture's name must end in one of {', '.join(SUFFIXES)}")
    check_folder(target)
    exists = check_target(target)
    try:
        irregular(_temporary(target))  # a name longer than that of the picture
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror})") from None
    if exists and not overwrite:
        raise OutputError(f"{target}: exists already; --overwrite replaces it")
    return target


def _temporary(target: Path) -> Path:
    """Return a hidden name beside a picture that nobody can foresee."""
    return target.with_name(f".{target.stem}.partial-{secrets.token_hex(4)}{target.suffix}")


def _png(figure: Any) -> bytes:
    with io.BytesIO() as stream:
        figure.savefig(stream, format="png")
        return stream.getvalue()


def save(figure: Figure, path: str | Path, *, overwrite: bool = True) -> None:
    """Write a figure; under its name there is always a whole file.

    Parameters
    ----------
    figure
        What `plot_map` returns, or any other figure.
    path
        Its suffix, one of ``.png``, ``.pdf``, ``.svg``, ``.jpg``, chooses the format.
    overwrite
        Whether a file of that name may be replaced, as matplotlib does.

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
    """Return title and subtitle: method and band; what the band is, and of which time."""
    method = map_.provenance.get("method")
    title = f"{method}: {band.name}" if isinstance(method, str) else band.name
    # Of codes the legend has the words.
    described = "Why each pixel has the values it has" if band.name == STATUS_BAND.name else band.description
    parts = [described, _period(map_.provenance)]
    return _escaped(title), _escaped("; ".join(part for part in parts if part))


def _period(provenance: Mapping[str, Any]) -> str:
    """Say which time the input covers, as exactly as its dates are known."""
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
    # Trend classes are no ranges of values: a unit would belong to nothing.
    unit = f" ({band.unit})" if band.unit and classes.limits else ""
    whole = "all" if band.name == STATUS_BAND.name else "valid"
    return f"{_escaped(band.name + unit)}\n(share of {whole} pixels)"


def _escaped_lines(text: str) -> str:
    """Escape control characters but line feeds: fonts have no shapes of them."""
    return "\n".join(map(_escaped, text.split("\n")))


def _escaped(text: str) -> str:
    """Escape control characters: names in files are somebody else's text."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _range_labels(ranges: Sequence[tuple[float, float]]) -> tuple[str, ...]:
    words = _distinct_numbers(limit for limits in ranges for limit in limits)
    return tuple(words[low] if low == high else f"{words[low]} to {words[high]}" for low, high in ranges)


def _distinct_numbers(values: Iterable[float]) -> dict[float, str]:
    """Write numbers with as many digits as tell neighbours apart, all with the same number of decimals."""
    numbers = sorted(set(values))
    if len(numbers) == 1:
        return {numbers[0]: _with_minus(f"{numbers[0]:.4g}")}
    gaps = [high - low for low, high in pairwise(numbers)]
    # Two digits of the smallest gap: neighbours differ clearly, not just by rounding.
    whole = all(number.is_integer() for number in numbers)
    decimals = 0 if whole else max(0, 1 - math.floor(math.log10(min(gaps))))
    if all(number.is_integer() for number in numbers):
        decimals = 0
    if decimals <= 6 and max(abs(number) for number in numbers) < 1e7:
        texts = [f"{number:.{decimals}f}" for number in numbers]
    else:
        digits = 2
        while len({f"{number:.{digits}g}" for number in numbers}) < len(numbers):
            digits += 1
        texts = [f"{number:#.{digits}g}".rstrip(".") for number in numbers]
    return dict(zip(numbers, map(_with_minus, texts), strict=True))


def _with_minus(number: str) -> str:
    """Write a true minus sign, and none before zero."""
    plain = number if float(number) else number.lstrip("-")
    return plain.replace("-", "\N{MINUS SIGN}")


def _percent(share: float) -> str:
    if 0 < share < 0.0005:
        return "< 0.1 %"
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %" if 0 < share < 1 else f"{100 * share:.0f} %"


# Drawing


@dataclass(frozen=True)
class _Frame:
    """How a grid is drawn: extent of the image, limits of the axes (both left, right, bottom, top), words."""

    extent: Bounds
    limits: Bounds
    aspect: float
    labels: tuple[str, str]
    geographic: bool = False

    @property
    def ratio(self) -> float:
        """Width of the map on paper, by its height."""
        left, right, bottom, top = self.limits
        return abs(right - left) / (abs(top - bottom) * self.aspect)


def _frame(grid: Grid) -> _Frame:
    height, width, t = grid.height, grid.width, grid.transform
    if t.b or t.d or t.is_identity:
        # Coordinates run along the axes only where the grid is not rotated.
        whole = (0.0, float(width), float(height), 0.0)
        return _Frame(whole, whole, 1.0, ("column (pixels)", "row (pixels)"))
    left, bottom, right, top = grid.bounds
    # The extent follows the rows and columns of the image, the limits put north up and east to the right.
    extent = (t.c, t.c + t.a * width, t.f + t.e * height, t.f)
    limits = (left, right, bottom, top)
    if grid.crs is not None and grid.crs.is_geographic:
        # A degree of longitude shrinks towards the poles; at a pole itself nothing can be right.
        aspect = 1 / max(math.cos(math.radians((bottom + top) / 2)), 0.05)
        return _Frame(extent, limits, aspect, ("longitude", "latitude"), geographic=True)
    if grid.crs is None:
        return _Frame(extent, limits, 1.0, ("x", "y"))
    unit = {"metre": "m", "meter": "m", "unknown": ""}.get(grid.crs.linear_units, grid.crs.linear_units)
    suffix = f" ({_escaped(unit)})" if unit else ""
    return _Frame(extent, limits, 1.0, (f"Easting{suffix}", f"Northing{suffix}"))


def _draw(classes: Classes, grid: Grid, heading: tuple[str, str], legend_title: str) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    frame = _frame(grid)
    ratio = min(max(frame.ratio, 1 / LARGEST_ASPECT), LARGEST_ASPECT)
    width, height = LONG_EDGE * min(1.0, ratio), LONG_EDGE * min(1.0, 1 / ratio)
    # The size is that of a page for now; it is fitted when all texts can be measured.
    figure = Figure(figsize=(10, 10), dpi=DPI, facecolor="white")
    # Notebooks show what has this method; figures get it from pyplot only, which keeps global state.
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
    """Return (y, x, rgb) of the map, thinned where it has more pixels than show."""
    from matplotlib.colors import to_rgb

    table = np.zeros((256, 3), np.uint8)
    for code, color in (*enumerate(classes.colors), (MISSING, MISSING_COLOR)):
        table[code] = np.round(np.multiply(to_rgb(color), 255))
    rows, cols = (_spread(size) for size in classes.codes.shape)
    image: NDArray[np.uint8] = table[classes.codes[np.ix_(rows, cols)]]
    return image


def _spread(size: int) -> NDArray[np.int64]:
    """Return at most `LARGEST_IMAGE` indices that stand for equal parts of `size`."""
    count = min(size, LARGEST_IMAGE)
    return ((np.arange(count) + 0.5) * size / count).astype(np.int64)


def _draw_ticks(axes: Axes, frame: _Frame, width: float, height: float) -> None:
    """Mark few coordinates, in full: no offset, no exponent."""
    from matplotlib.ticker import MaxNLocator

    left, right, bottom, top = frame.limits
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    sides = ((axes.xaxis, left, right, width, "EW"), (axes.yaxis, bottom, top, height, "NS"))
    for (axis, start, end, inches, hemispheres), label in zip(sides, frame.labels, strict=True):
        low, high = min(start, end), max(start, end)
        # Wide spans of degrees are cut at 30, 60 or 90.
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
    """Write coordinates with as few decimals as they need; with names of two hemispheres, as degrees."""
    step = min((high - low for low, high in pairwise(ticks)), default=1.0)
    decimals = 0
    while decimals < 12 and any(abs(tick - round(tick, decimals)) > step / 1000 for tick in ticks):
        decimals += 1
    numbers = [f"{tick:.{decimals}f}" for tick in ticks]
    if hemispheres:
        return [_degrees(number, hemispheres) for number in numbers]
    return [_with_minus(number) for number in numbers]


def _degrees(number: str, hemispheres: str) -> str:
    """Write 190 as 170°W, where longitudes are counted from 0 to 360."""
    value = float(number)
    decimals = len(number.partition(".")[2])
    if hemispheres == "EW":
        value = (value + 180) % 360 - 180
    letter = "" if not value or abs(value) == 180 else hemispheres[value < 0]
    return f"{abs(value):.{decimals}f}°{letter}"


def _draw_legend(figure: Figure, classes: Classes, title: str, *, columns: int) -> Legend:
    """List the classes, the highest on top as on a colour bar, and the missing pixels last."""
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
    """Keep matplotlib from reading formulas into somebody else's text."""
    text.set_parse_math(False)
    text.set_usetex(False)


def _fit(
    figure: Figure, axes: Axes, legend: Legend, heading: tuple[str, str], renderer: RendererAgg, *, wide: bool
) -> None:
    """Give the figure the size that map, legend and title need, and put each in its place."""
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
            # A letter is about 0.6 of its size wide, a bold one 0.7.
            letters = max(24, int(width * 72 / size / (0.7 if weight == "bold" else 0.6)))
            lines = "\n".join(textwrap.fill(line, letters) for line in words.splitlines())
            text = figure.text(0, 0, lines, size=size, weight=weight, color=color, va="bottom")
            _take_literally(text)
            texts.append(text)
    return texts


def _require_matplotlib() -> None:
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise ParameterError('drawing needs matplotlib: pip install "pixelwise[plot]"') from None


def import_matplotlib() -> None:
    """Import matplotlib without the ``matplotlibrc`` of the current folder.

    That file comes before ``MATPLOTLIBRC`` and the user's own, which are obeyed: so the folder is changed meanwhile.
    For the command line: in Python the current folder is for the caller to change, and so are ``rcParams``.

    Raises
    ------
    ParameterError
        When it is missing.
    """
    if "matplotlib" in sys.modules:
        return
    with chdir(Path(__file__).parent):
        _require_matplotlib()
