"""Which classes suit a band: by its kind, or as a user asks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import DIRECTED, STATUS_BAND, STATUS_WORDS, Band, Status
from pixelwise.choices import ClassKind, Palette
from pixelwise.errors import ParameterError
from pixelwise.pictures.agreement import tested_by
from pixelwise.pictures.breaks import equal_limits, fisher_limits, quantile_limits, ranges_of
from pixelwise.pictures.numbers import distinct_numbers, range_label, readable, shortest
from pixelwise.pictures.palettes import (
    CONSTANT_COLOR,
    INFINITE_COLOR,
    MISSING_COLOR,
    MONTH_COLORS,
    NEUTRAL_COLOR,
    NOT_TESTED_COLOR,
    STATUS_COLORS,
    UNKNOWN_COLOR,
    between,
    palette_for,
    sequential,
    shades,
)
from pixelwise.pictures.quantities import quantity
from pixelwise.pictures.scheme import (
    LARGEST_SCHEME,
    Class,
    CodeScheme,
    ContinuousScheme,
    RangeScheme,
    Scheme,
    TestScheme,
    codes_in,
    range_of,
)
from pixelwise.pictures.source import Source
from pixelwise.pictures.values import Ends, Values, codes_of, values_of
from pixelwise.words import escaped, not_a_choice, shown

__all__ = ["Wish", "bands_for", "scheme_of"]

#: As the users of Trends.Earth and of ArcGIS's hot spots know them.
CONFIDENCE_LEVELS = (0.01, 0.05, 0.1)

PVALUE_LIMITS = (0.001, 0.01, 0.05, 0.1)
SHARE_LIMITS = (0.2, 0.4, 0.6, 0.8)
CORRELATION_LIMITS = (-0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75)

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December")  # fmt: skip
#: First day of each month but January in a year of 365 days.
MONTH_STARTS = (32.0, 60.0, 91.0, 121.0, 152.0, 182.0, 213.0, 244.0, 274.0, 305.0, 335.0)

#: Classes of as many pixels, where nothing else is asked for.
USUAL_CLASSES = 5
#: Limits that nobody typed are written with fewer digits if they are longer than this.
LONGEST_LIMIT = 10

#: The ends of a colour bar are quantiles: a single outlier would leave one colour for all others.
TAILS = 0.02

#: Most classes that are told apart by colour; ColorBrewer's palettes end at 11.
MOST_CLASSES = 12


@dataclass(frozen=True)
class Wish:
    """The classes that a user asks for.

    Attributes
    ----------
    kind
        One of `ClassKind`, or empty for what suits the band.
    count
        How many, for kinds that have a number.
    limits
        Limits given by hand, ascending; then `kind` is empty.
    """

    kind: ClassKind | str = ""
    count: int = USUAL_CLASSES
    limits: tuple[float, ...] = ()

    @classmethod
    def parse(cls, text: str | Sequence[float] | None) -> Wish:
        """Return the classes of a text such as ``quantile:7`` or ``0,0.1,0.5``, or of limits.

        Raises
        ------
        ParameterError
            When it is none of these.
        """
        if text is None:
            return cls()
        if not isinstance(text, str):
            try:
                return cls(limits=_ascending([float(limit) for limit in text]))
            except (TypeError, ValueError):
                raise ParameterError(f"classes {shown(text)}: expected a text such as quintile, or limits") from None
        kind, _, number = text.partition(":")
        try:
            limits = [float(limit) for limit in text.split(",")]
        except ValueError:
            limits = []
        if text.strip() in map(str, range(2, MOST_CLASSES + 1)):
            count = text.strip()
            raise ParameterError(
                f"classes {count}: for {count} classes, give quantile:{count} or equal:{count}; for one limit at "
                f"{count}, give {count}.0"
            )
        if limits:
            return cls(limits=_ascending(limits))
        if kind in ("natural", "jenks"):
            raise ParameterError(f"classes {shown(text)}: natural breaks are fisher:{number or USUAL_CLASSES}")
        if kind not in get_args(ClassKind):
            raise not_a_choice("classes", text, (*get_args(ClassKind), "limits such as 0,0.1,0.5"))
        numbered = kind in ("quantile", "equal", "fisher")
        if not number and not numbered:
            return cls(kind)
        counts = {str(count): count for count in range(2, MOST_CLASSES + 1)}
        if not numbered or number not in counts:
            expected = f"{kind}:K with K from 2 to {MOST_CLASSES}" if numbered else kind
            raise ParameterError(f"classes {shown(text)}: expected {expected}")
        return cls(kind, counts[number])


def _ascending(limits: list[float]) -> tuple[float, ...]:
    if not limits or not all(map(math.isfinite, limits)) or any(a >= b for a, b in pairwise(limits)):
        raise ParameterError(f"classes {shown(limits)}: expected limits that ascend, such as 0,0.1,0.5")
    if len(limits) >= MOST_CLASSES:
        raise ParameterError(f"{len(limits)} limits make more than {MOST_CLASSES} classes: too many to tell apart")
    return tuple(limits)


def scheme_of(
    source: Source,
    band: str | None = None,
    *,
    classes: str | Sequence[float] | None = None,
    significant: float | None = None,
    pvalue: str | None = None,
    palette: Palette | None = None,
    ends: Callable[[], Ends] | None = None,
) -> Scheme:
    """Return the classes of a band.

    Parameters
    ----------
    source
        What holds the band.
    band
        Its name; the first by default.
    classes
        As in `plot_map`.
    significant
        The level of significance, for classes of tests only.
    pvalue
        Name of the band of p-values; the q-values that belong to the band's p-values, or these, by default.
    palette
        As in `plot_map`.
    ends
        Where the source holds some pixels of a map, and all are put into classes: returns the ends of all.

    Raises
    ------
    ParameterError
        When the band or a choice is unknown, or the classes are impossible for it.
    """
    chosen = source.bands[0] if band is None else source.band(band)
    wish = Wish.parse(classes)
    if palette is not None and palette not in get_args(Palette):
        raise not_a_choice("palette", palette, get_args(Palette))
    if chosen.kind == "code":
        if wish != Wish():
            raise ParameterError(f"the numbers of {chosen.name} are codes with one class each: leave classes out")
        return _codes(source, chosen)
    if chosen.kind == "day of year" and wish.kind:
        raise ParameterError(
            f"band {chosen.name} holds days of the year, which have no lowest value: leave classes out, or give limits"
        )
    colors = palette_for(chosen, palette, quantity(source))
    test = _test_of(source, chosen, pvalue)
    if wish.kind in ("trend", "confidence") or (wish == Wish() and isinstance(test, _Test)):
        if isinstance(test, str):
            raise ParameterError(test)
        return _tested(source, chosen, test, wish, significant, colors)
    if significant is not None:
        why = test if isinstance(test, str) else f"classes {classes} have no level"
        raise ParameterError(f"significant {significant:g} is the level of a test: {why}")
    if pvalue is not None:
        raise ParameterError(f"pvalue {pvalue} is for classes trend and confidence")
    if wish.limits:
        return _open_ended(chosen, wish.limits, colors, typed=True)
    fixed = {"test": PVALUE_LIMITS, "share": SHARE_LIMITS, "correlation": CORRELATION_LIMITS}
    if not wish.kind:
        if chosen.kind == "day of year":
            named = zip(MONTHS, MONTH_COLORS, (1.0, *MONTH_STARTS), (*MONTH_STARTS, 366.0), strict=True)
            months = tuple(Class(month, color, limits=(low, high)) for month, color, low, high in named)
            return RangeScheme(chosen, months, downwards=True, starts=MONTH_STARTS)
        if chosen.kind in fixed:
            return _open_ended(chosen, fixed[chosen.kind], colors)
    return _of_values(chosen, values_of(source, chosen, None if ends is None else ends()), wish, colors)


def bands_for(source: Source, band: str, pvalue: str | None = None) -> list[str]:
    """Return the names of the bands by which `scheme_of` divides a band into classes, itself first."""
    tests = {pvalue, source.band(band).pvalue} - {None, ""}
    adjusted = {other.name for other in source.bands if other.kind == "test" and other.pvalue in tests}
    flags = {"significant"} if adjusted else set()
    tested = {tested_by(source, source.band(band), test) for test in tests}
    wanted = {band, *tests, *adjusted, *flags, *tested, STATUS_BAND.name}
    return [band, *(name for name in source if name in wanted and name != band)]


# Tests


@dataclass(frozen=True)
class _Test:
    """A band of p-values or q-values."""

    band: Band
    adjusted: bool


def _test_of(source: Source, band: Band, wanted: str | None) -> _Test | str:
    """Return the test of a band, or why it has none and what to do."""
    advice = "choose other classes, such as quintile"
    if wanted is not None:
        found = source.band(wanted)
        if found.kind not in ("test", ""):
            raise ParameterError(f"pvalue {wanted}: the numbers of this band are not p-values ({found.kind})")
        return _Test(found, bool(found.pvalue))
    if not band.pvalue or band.kind not in DIRECTED:
        tested = [other.name for other in source.bands if other.kind in DIRECTED and other.pvalue in source]
        instead = f"choose band {' or '.join(tested)}, or " if tested else ""
        named = band.name if band.name.startswith("band ") else f"band {band.name}"
        return f"{named} has no p-value, which trend classes need: {instead}{advice}"
    for other in source.bands:
        if other.kind == "test" and other.pvalue == band.pvalue:
            return _Test(other, adjusted=True)
    if band.pvalue in source:
        return _Test(source.band(band.pvalue), adjusted=False)
    return f"trend classes need the band {band.pvalue}, which this map lacks: write it with the map, or {advice}"


def _tested(
    source: Source, band: Band, test: _Test, wish: Wish, significant: float | None, colors: Palette
) -> TestScheme:
    """Return classes of significance."""
    if wish.kind == "confidence":
        if significant is not None:
            raise ParameterError(f"significant {significant:g}: classes confidence have the levels 90, 95 and 99 %")
        levels: tuple[float, ...] = CONFIDENCE_LEVELS
    else:
        levels = (_level(source, test, significant),)
    flags = _flags(source, test, levels)
    change = band.kind == "change"
    low, none, high = ("decrease", "no change", "increase") if change else ("negative", "zero", "positive")
    adverb = "significant" if change else "significantly"
    letter, sign = ("q", "\N{LESS-THAN OR EQUAL TO}") if test.adjusted else ("p", "<")
    untested = Class("not tested", NOT_TESTED_COLOR, tested=False, optional=True)
    same = "no change (constant series)" if change else "constant series"
    constant = Class(same, CONSTANT_COLOR, tested=False, optional=True)
    if len(levels) > 1:
        # A q-value is no confidence level.
        at = [f", {letter} {sign} {one:g}" if test.adjusted else f" at {100 * (1 - one):.0f} %, {letter} {sign} {one:g}"
              for one in levels]  # fmt: skip
        below, above = ([word + level for level in at] for word in (low, high))
        down, up = (shades(colors, side, len(levels)) for side in (-1, 1))
        middle: tuple[Class, ...] = (Class("not significant", NEUTRAL_COLOR),)
    else:
        below, above = ([f"{adverb} {word}, {letter} {sign} {levels[0]:g}"] for word in (low, high))
        (weak_down, strong_down), (weak_up, strong_up) = (shades(colors, side, 2) for side in (-1, 1))
        down, up = (strong_down,), (strong_up,)
        middle = (
            Class(f"{low}, not significant", weak_down),
            Class(none, NEUTRAL_COLOR, optional=True),
            Class(f"{high}, not significant", weak_up),
        )
    falling = [Class(label, color) for label, color in zip(below, down[::-1], strict=True)]
    rising = [Class(label, color) for label, color in zip(above[::-1], up, strict=True)]
    return TestScheme(
        band,
        (untested, constant, *falling, *middle, *rising),
        pvalue=test.band.name,
        levels=levels,
        adjusted=test.adjusted,
        flags=flags,
        tested=tested_by(source, band, test.band.pvalue if test.adjusted else test.band.name),
        split=len(levels) == 1,
    )


def _level(source: Source, test: _Test, significant: float | None) -> float:
    if significant is None:
        return _fdr_level(source) if test.adjusted else 0.05
    if not 0 < significant < 1:
        raise ParameterError(f"significant {significant:g} is not a significance level; expected a number such as 0.05")
    return significant


def _fdr_level(source: Source) -> float:
    """Return the share of false discoveries for which a map's q-values were judged."""
    said = source.provenance.get("fdr")
    level = said.get("q") if isinstance(said, dict) else None
    return level if isinstance(level, float) and 0 < level < 1 else 0.05


def _flags(source: Source, test: _Test, levels: Sequence[float]) -> str:
    """Return the band that says exactly which pixels pass: q-values were rounded to the type of the map."""
    usable = test.adjusted and "significant" in source and levels == (_fdr_level(source),)
    return "significant" if usable else ""


# Codes


def _codes(source: Source, band: Band) -> CodeScheme:
    found = codes_of(source, band)
    if band.name == STATUS_BAND.name:
        found.discard(Status.OUTSIDE)
        words, colors = {int(code): text for code, text in STATUS_WORDS.items()}, dict(STATUS_COLORS)
    else:
        words = {code: escaped(text) for code, text in codes_in(band).items()}
        listed = sorted(found | set(words))
        colors = dict(zip(listed, sequential("viridis", len(listed)), strict=True))
    # The lowest code comes last, which is at the top of a legend.
    numbers = tuple(sorted(found, reverse=True))
    classes = tuple(
        Class(f"{number} {words.get(number, 'unknown')}", colors.get(number, UNKNOWN_COLOR)) for number in numbers
    )
    return CodeScheme(band, classes, numbers=numbers)


# Ranges of values


def _open_ended(band: Band, limits: Sequence[float], colors: Palette, *, typed: bool = False) -> RangeScheme:
    """Return the classes between limits, below the first and above the last; those that a user typed stay as they are.

    A limit that was rounded would name the wrong class for the values next to it.
    """
    written = [shortest(limit) for limit in limits]
    if max(map(len, written)) > LONGEST_LIMIT and not typed:
        words = distinct_numbers(limits)
        written = [words[limit] for limit in limits]
    below, above = ("before {}", "{} and later") if band.kind == "time" else ("below {}", "{} and above")
    labels = [below.format(written[0])]
    labels += [f"{low} to {high}" for low, high in pairwise(written)]
    labels.append(above.format(written[-1]))
    bounds = [-math.inf, *limits, math.inf]
    found = _colored(band, labels, list(pairwise(bounds)), colors)
    return RangeScheme(band, found, starts=tuple(limits))


def _colored(
    band: Band, labels: Sequence[str], ranges: Sequence[tuple[float, float]], colors: Palette
) -> tuple[Class, ...]:
    """Return classes with colours by their sign, where it is a direction, else from low to high."""
    if band.kind in DIRECTED or not band.kind:
        signs = [_sign(low, high) for low, high in ranges]
        below, above = signs.count(-1), signs.count(1)
        chosen = (
            *(shades(colors, -1, below)[::-1] if below else ()),
            *(NEUTRAL_COLOR for sign in signs if not sign),
            *(shades(colors, 1, above) if above else ()),
        )
    else:
        chosen = sequential(colors, len(ranges))
    if band.kind == "count":
        # Nothing observed is no small number of observations.
        chosen = tuple(MISSING_COLOR if high == 0 else color for color, (_, high) in zip(chosen, ranges, strict=True))
    return tuple(
        Class(label, color, limits=limits) for label, color, limits in zip(labels, chosen, ranges, strict=True)
    )


def _sign(low: float, high: float) -> int:
    """Return the sign shared by all values of a range; 0 if it holds both signs or only zero."""
    if low >= 0:
        return 1 if high > 0 else 0
    return -1 if high <= 0 else 0


def _of_values(band: Band, found: Values, wish: Wish, colors: Palette) -> Scheme:
    """Return classes whose limits follow from the values."""
    values, infinite = found.numbers, found.infinite
    if not values.size:
        return RangeScheme(band, _with_infinite((), infinite), infinite=infinite)
    if wish.kind == "continuous":
        return _continuous(band, values, colors)
    directed = band.kind in DIRECTED or not band.kind
    count = USUAL_CLASSES if wish.kind == "quintile" else wish.count
    if wish.kind == "equal":
        limits = equal_limits(values, count)
    elif wish.kind == "fisher":
        limits = fisher_limits(values, count)
    elif not wish.kind and not directed and found.few:
        limits = [float(number) for number in np.unique(values)]
        limits.append(limits[-1])
    else:
        limits = quantile_limits(values, count)
        if not wish.kind and not directed and band.kind != "count":
            inner = [limit for limit in sorted(set(readable(limits)[1:-1])) if values.min() < limit <= values.max()]
            if inner:
                return _extended(_open_ended(band, inner, colors), infinite)
    return _extended(_ranges(band, found, limits, colors), infinite)


def _ranges(band: Band, found: Values, limits: Sequence[float], colors: Palette) -> RangeScheme:
    """Return the classes between limits, without empty ones; a value that fills several becomes one of its own.

    Of a large map, whose pixels are not all known here, classes stay that may be empty.
    """
    values = found.numbers
    if (band.kind in DIRECTED or not band.kind) and 0.0 in limits[1:-1] and (values == 0).any():
        # Neither above nor below: a class of its own.
        limits = [*(limit for limit in limits if limit < 0), 0.0, 0.0, *(limit for limit in limits if limit > 0)]
    ranges = ranges_of(limits)
    kind = values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)
    starts = [
        # Above a single value that fills a class, the next class begins with the next number.
        float(np.nextafter(kind.type(low), kind.type(np.inf))) if before == (low, low) else low
        for before, (low, _) in pairwise(ranges)
    ]
    whole = values.dtype.kind in "iu"
    # The whole numbers of each range, from the first to below the last.
    bounds = list(pairwise([float(values.min()), *(float(math.ceil(start)) for start in starts), values.max() + 1.0]))
    if found.complete:
        filled = np.bincount(range_of(values, starts), minlength=len(ranges)) > 0
    else:
        filled = np.array([not whole or low < above for low, above in bounds])
    kept = [place for place in range(len(ranges)) if filled[place]]
    starts = [starts[place - 1] for place in kept[1:]]
    ranges = [ranges[place] for place in kept]
    if whole:
        # For integers, "18 to 20, 20 to 22" leaves open which class has the 20: give the range that each class holds.
        if found.complete:
            codes = range_of(values, starts)
            members = [values[codes == code] for code in range(len(ranges))]
            ranges = [(float(held.min()), float(held.max())) for held in members]
        else:
            ranges = [(bounds[place][0], bounds[place][1] - 1) for place in kept]
    words = distinct_numbers(limit for limits in ranges for limit in limits)
    labels = [range_label(words[low], words[high]) for low, high in ranges]
    return RangeScheme(band, _colored(band, labels, ranges, colors), starts=tuple(starts))


def _extended(scheme: RangeScheme, infinite: bool) -> RangeScheme:
    """Return the scheme with a class of infinite numbers, if there are any."""
    return RangeScheme(scheme.band, _with_infinite(scheme.classes, infinite), starts=scheme.starts, infinite=infinite)


def _with_infinite(classes: tuple[Class, ...], infinite: bool) -> tuple[Class, ...]:
    return (*classes, Class("infinite", INFINITE_COLOR)) if infinite else classes


def _continuous(band: Band, values: NDArray[Any], colors: Palette) -> ContinuousScheme:
    """Return a colour bar from the lowest to the highest values but for outliers; about zero where signs matter."""
    # The difference of two numbers of float32 may not be one.
    low, high = (float(edge) for edge in np.quantile(values.astype(np.float64, copy=False), (TAILS, 1 - TAILS)))
    if band.kind in DIRECTED or not band.kind:
        high = max(abs(low), abs(high))
        low = -high
        steps = LARGEST_SCHEME // 2
        names = (*shades(colors, -1, 5)[::-1], NEUTRAL_COLOR, *shades(colors, 1, 5))
        chosen = between(names, 2 * steps)
    else:
        chosen = sequential(colors, LARGEST_SCHEME)
    if not low < high:
        low, high = low - 0.5, high + 0.5
    classes = tuple(Class("", color) for color in chosen)
    beyond = bool(values.min() < low), bool(values.max() > high)
    return ContinuousScheme(band, classes, low=low, high=high, beyond=beyond)
