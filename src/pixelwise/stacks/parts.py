"""Input options in groups that are used together; each group checks itself.

`InputSpec` documents the options, and has the same names and defaults.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pixelwise.choices import Every, FlaggedGains, Period, Resampling, SameDate, Scheme
from pixelwise.crs import crs_named
from pixelwise.dates.periods import Season
from pixelwise.errors import ParameterError
from pixelwise.grid import LARGEST_COORDINATE, Bounds
from pixelwise.rasters.resolution import named_lattice, names_crs
from pixelwise.stacks.masks import MaskRule, load_preset, parse_field
from pixelwise.words import not_a_choice, shown

__all__ = [
    "LARGEST_NUMBER",
    "AreaOptions",
    "ArrayOptions",
    "CompositeOptions",
    "DateOptions",
    "GainOptions",
    "MaskOptions",
    "PlaceOptions",
    "ServerOptions",
    "ValueOptions",
]

#: A kilometre of Landsat's pixels.
MOST_GROWN = 33
#: No option counts or measures as much as that; and float32, which values are read as, ends there.
LARGEST_NUMBER = 1e38


@dataclass(frozen=True)
class ValueOptions:
    """Which band or formula is read, and what stored numbers mean."""

    band: int | str | None = None
    value: str | None = None
    nodata: tuple[float, ...] | None = None
    scale: float | None = None
    offset: float | None = None
    valid_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        _convert(self, _numbers, "nodata", "valid_range")
        _convert(self, _number, "scale", "offset")
        _convert(self, _band, "band")
        _convert(self, _text, "value")
        if self.value is not None and self.band is not None:
            raise ParameterError(
                f"band {self.band} and value {self.value!r} are mutually exclusive: a formula names its bands"
            )
        _check_band("band", self.band)
        if self.valid_range is not None and not (
            len(self.valid_range) == 2 and self.valid_range[0] < self.valid_range[1]
        ):
            raise ParameterError(f"valid_range {self.valid_range} is empty: expected LOW,HIGH")
        for name in ("scale", "offset"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ParameterError(f"{name} {value} is not finite")
            if value is not None and abs(value) > LARGEST_NUMBER:
                raise ParameterError(f"{name} {value} is too large: expected at most {LARGEST_NUMBER:g}")
        if self.scale == 0:
            raise ParameterError("scale 0 makes every value the same")


@dataclass(frozen=True)
class GainOptions:
    """What makes scenes comparable, and what becomes of scenes for which that is doubtful."""

    gains: str | None = None
    gains_flagged: FlaggedGains = "drop"

    def __post_init__(self) -> None:
        _convert(self, _text, "gains")
        if self.gains == "":
            raise ParameterError("gains is empty: expected a table, or the name of a preset")
        if self.gains_flagged not in get_args(FlaggedGains):
            raise not_a_choice("gains_flagged", self.gains_flagged, get_args(FlaggedGains))
        if self.gains is None and self.gains_flagged != "drop":
            raise ParameterError(f"gains_flagged {self.gains_flagged} without gains: give --gains FILE|PRESET")


@dataclass(frozen=True)
class ArrayOptions:
    """Which array of NetCDF, HDF5 or Zarr files is read."""

    variable: str | None = None
    group: str | None = None
    select: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _convert(self, _text, "variable", "group")
        _convert(self, _selection, "select")
        for name in ("variable", "group"):
            if getattr(self, name) == "":
                raise ParameterError(f"{name} is empty: expected a name")
        if len(self.selected) < len(self.select):
            raise ParameterError(f"select {', '.join(self.select)} names a dimension twice")

    @property
    def selected(self) -> dict[str, str]:
        """The chosen value of each dimension."""
        return {name: value for name, _, value in (one.partition("=") for one in self.select)}

    @property
    def given(self) -> tuple[str, ...]:
        """Names of the options that are set."""
        return tuple(name for name in ("variable", "group", "select") if getattr(self, name))


@dataclass(frozen=True)
class MaskOptions:
    """Where the masks are, what their values mean, and how far rejection grows."""

    mask: str | None = None
    mask_band: int | str | None = None
    mask_keep: tuple[float, ...] | None = None
    mask_drop: tuple[float, ...] | None = None
    mask_bits: tuple[int, ...] = ()
    mask_field: tuple[str, ...] = ()
    mask_preset: str | None = None
    grow: int = 0

    def __post_init__(self) -> None:
        _convert(self, _numbers, "mask_keep", "mask_drop", "mask_bits")
        _convert(self, _band, "mask_band")
        object.__setattr__(self, "grow", _number("grow", self.grow))
        one_field = isinstance(self.mask_field, str)
        object.__setattr__(self, "mask_field", (self.mask_field,) if one_field else tuple(self.mask_field))
        _convert(self, _text, "mask")
        if self.mask is not None and self.mask_band is not None:
            raise ParameterError(
                "mask and mask_band are mutually exclusive: masks are files, or a band of each image's file"
            )
        _check_band("mask_band", self.mask_band)
        if not 0 <= self.grow <= MOST_GROWN:
            raise ParameterError(f"grow {self.grow} is out of range: expected 0 to {MOST_GROWN} pixels")
        if self.given and self.rule is None:
            MaskRule()  # raises, naming what is missing
        if self.mask == "none" and self.ruled:
            raise ParameterError("mask none uses no mask, so a rule for masks has no effect: leave it out")

    @property
    def given(self) -> bool:
        """Whether there are masks besides those of a product."""
        return self.mask not in (None, "none") or self.mask_band is not None

    @property
    def ruled(self) -> bool:
        """Whether any option says how masks are used."""
        return self.rule is not None or self.grow > 0

    @property
    def rule(self) -> MaskRule | None:
        """What the values of masks mean, if given.

        Raises
        ------
        ParameterError
            When it is given twice, or impossible.
        """
        own = (self.mask_keep, self.mask_drop) != (None, None) or bool(self.mask_bits or self.mask_field)
        if self.mask_preset is not None:
            if own:
                raise ParameterError(f"mask_preset {self.mask_preset!r} is a complete rule: no other can be added")
            return load_preset(self.mask_preset).rule
        if not own:
            return None
        fields = tuple(parse_field(text) for text in self.mask_field)
        return MaskRule(self.mask_keep, self.mask_drop, self.mask_bits, fields)

    @property
    def words(self) -> str:
        """Describe `rule`: the preset with its version, or the rule itself."""
        if self.mask_preset is not None:
            preset = load_preset(self.mask_preset)
            return f"{preset.name} version {preset.version} ({preset.source})"
        rule = self.rule
        return "" if rule is None else rule.describe()


@dataclass(frozen=True)
class DateOptions:
    """How files are dated, which dates are used, and how images of the same date are combined."""

    times: str | None = None
    period: Period = "start"
    same_date: SameDate | None = None
    start: str | None = None
    end: str | None = None
    months: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        _convert(self, _numbers, "months")
        _convert(self, _text, "times", "start", "end")
        if self.period not in get_args(Period):
            raise not_a_choice("period", self.period, get_args(Period))
        if self.same_date is not None and self.same_date not in get_args(SameDate):
            raise not_a_choice("same_date", self.same_date, get_args(SameDate))
        if self.months is not None and not (self.months and set(self.months) <= set(range(1, 13))):
            raise ParameterError(f"months {','.join(map(str, self.months))} are not all among 1 to 12")


@dataclass(frozen=True)
class PlaceOptions:
    """What the grid covers, which lattice it is on, and how files are resampled to it."""

    extent: str | Bounds | None = None
    align: str | None = None
    resampling: Resampling = "nearest"
    crs: str | None = None
    bounds: Bounds | None = None

    def __post_init__(self) -> None:
        _convert(self, _numbers, "bounds")
        _convert(self, _place, "extent")
        _convert(self, _text, "align", "crs")
        if self.resampling not in get_args(Resampling):
            raise not_a_choice("resampling", self.resampling, get_args(Resampling))
        if self.resampling != "nearest" and self.align is None:
            raise ParameterError(f"resampling {self.resampling} has no effect without align: give align=RASTER")
        if self.align is not None and names_crs(self.align):
            named_lattice(self.align)  # raises, naming what is wrong
        if self.crs is not None:
            crs_named(self.crs, "crs")
        _check_bounds("extent", self.extent)
        _check_bounds("bounds", self.bounds)

    @property
    def partial(self) -> bool:
        """Whether files may lie outside the grid, in part or as a whole."""
        return self.extent is not None or self.align is not None


@dataclass(frozen=True)
class ServerOptions:
    """From which servers files may be read, and which of the files that a catalogue names."""

    asset: str | None = None
    allow_scheme: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _convert(self, _text, "asset")
        _convert(self, _schemes, "allow_scheme")


@dataclass(frozen=True)
class AreaOptions:
    """Which pixels are requested."""

    region: str | Bounds | None = None
    where: str | None = None

    def __post_init__(self) -> None:
        _convert(self, _place, "region")
        _convert(self, _text, "where")
        _check_bounds("region", self.region)


@dataclass(frozen=True)
class CompositeOptions:
    """What the layers of each calendar period are reduced to."""

    composite: str | None = None
    every: Every = "year"
    season: str | None = None
    min_count: int = 1
    equal_count: int | None = None
    composite_parameters: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _convert(self, _settings, "composite_parameters")
        if self.season is not None:
            Season.parse(self.season)
        if self.composite is None:
            usual = {"every": "year", "season": None, "min_count": 1, "equal_count": None, "composite_parameters": ()}
            given = [name for name, value in usual.items() if getattr(self, name) != value]
            if given:
                raise ParameterError(f"{' and '.join(given)} without composite: give --composite HOW")
        if self.every not in get_args(Every):
            raise not_a_choice("every", self.every, get_args(Every))
        if len(self.parameters) < len(self.composite_parameters):
            raise ParameterError(f"composite_parameters {', '.join(self.composite_parameters)} set a parameter twice")

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of the function that makes composites, as texts."""
        return {name: value for name, _, value in (one.partition("=") for one in self.composite_parameters)}


# ---------------------------------------------------------------------------------------------- conversions
# Natural spellings are accepted: nodata=-9999, start=1990, months=[6, 7, 8], times=Path("dates.csv").


def _convert(part: object, how: Callable[[str, Any], Any], *names: str) -> None:
    """Convert some options from what users write to what the options hold."""
    for name in names:
        value = getattr(part, name)
        if value is not None:
            object.__setattr__(part, name, how(name, value))


def _text(name: str, value: Any) -> str:
    return str(value)


def _schemes(name: str, value: Any) -> tuple[str, ...]:
    """Return schemes of URLs, of one text with commas or several."""
    given = value.split(",") if isinstance(value, str) else value
    schemes = tuple(dict.fromkeys(str(one).strip().removesuffix("://") for one in given))
    for one in schemes:
        if one not in get_args(Scheme):
            raise not_a_choice(name, one, get_args(Scheme))
    return schemes


def _selection(name: str, value: Any) -> tuple[str, ...]:
    """Return ``dimension=value`` texts of a mapping, one text or several."""
    if isinstance(value, Mapping):
        value = [f"{dimension}={one}" for dimension, one in value.items()]
    texts = (value,) if isinstance(value, str) else tuple(map(str, value))
    for text in texts:
        dimension, sign, one = text.partition("=")
        if not (dimension and sign and one):
            raise ParameterError(f"{name} {text!r} does not choose a value: expected DIMENSION=VALUE")
    return texts


def _settings(name: str, value: Any) -> tuple[str, ...]:
    """Return ``name=value`` texts of a mapping, one text or several."""
    if isinstance(value, Mapping):
        value = [f"{parameter}={one}" for parameter, one in value.items()]
    texts = (value,) if isinstance(value, str) else tuple(map(str, value))
    for text in texts:
        parameter, sign, _ = text.partition("=")
        if not (parameter.strip() and sign):
            raise ParameterError(f"{name} {shown(text)} sets no parameter: expected NAME=VALUE")
    return tuple("=".join(part.strip() for part in text.split("=", 1)) for text in texts)


def _several(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str)


def _numbers(name: str, value: Any) -> tuple[int | float, ...]:
    return tuple(_number(name, one) for one in (value if _several(value) else [value]))


def _band(name: str, value: Any) -> int | float | str:
    return value if isinstance(value, str) else _number(name, value)


def _place(name: str, value: Any) -> str | tuple[int | float, ...]:
    if isinstance(value, str):
        value = _bounds_of(value)
    return tuple(_number(name, one) for one in value) if _several(value) else str(value)


def _bounds_of(text: str) -> Any:
    """Return the four numbers in a text, or else the text itself."""
    try:
        bounds = [float(number) for number in text.split(",")]
    except ValueError:
        return text
    return bounds if len(bounds) == 4 else text


def _number(name: str, value: Any) -> int | float:
    """Return a plain Python number, which JSON can hold; NumPy's are accepted."""
    if isinstance(value, numbers.Integral):
        whole = int(value)
        # One with more than 4300 digits cannot even be printed.
        if abs(whole) > LARGEST_NUMBER:
            raise ParameterError(f"{name} is too large: a whole number of {whole.bit_length()} bits")
        return whole
    if isinstance(value, numbers.Real):
        try:
            return float(value)
        except OverflowError:  # a fraction
            raise ParameterError(f"{name} is too large") from None
    raise ParameterError(f"{name} {shown(value)} is not a number")


def _check_band(name: str, band: int | str | None) -> None:
    if isinstance(band, int) and band < 1:
        raise ParameterError(f"{name} {band} is out of range: bands are numbered from 1")


def _check_bounds(name: str, bounds: str | tuple[float, ...] | None) -> None:
    if not isinstance(bounds, tuple):
        return
    if len(bounds) != 4:
        raise ParameterError(f"{name} {bounds} are not four numbers: expected left, bottom, right, top")
    if not all(map(math.isfinite, bounds)):
        raise ParameterError(f"{name} {bounds} are not finite")
    if max(map(abs, bounds)) > LARGEST_COORDINATE:
        raise ParameterError(f"{name} {bounds} lie beyond any coordinate: expected at most {LARGEST_COORDINATE:g}")
