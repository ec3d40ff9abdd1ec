"""How a stack is to be read: the options that every command shares, parsed once."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, get_args

from pixelwise.choices import Every, OnReadError, Period, Resampling, SameDate
from pixelwise.dates.periods import Season
from pixelwise.errors import ParameterError
from pixelwise.grid import LARGEST_COORDINATE, Bounds
from pixelwise.stacks.masks import MaskRule, load_preset, parse_field
from pixelwise.words import shown, unknown

__all__ = ["LARGEST_NUMBER", "InputSpec"]

#: A kilometre of Landsat's pixels.
MOST_GROWN = 33
#: No option counts or measures as much as that; and float32, which values are read as, ends there.
LARGEST_NUMBER = 1e38


@dataclass(frozen=True)
class InputSpec:
    """How a stack is to be read.

    Attributes
    ----------
    band
        Number (from 1) or name of the band to read, where files have several that are not dates. A pattern
        (``NDVI*``) reads every band whose description fits it, each dated by its description.
    times
        A table of dates (one date per line for the bands of one file; ``path,date`` or ``path,band,date`` for several
        files), or else a strptime format that finds the date in each name or band description; see docs/dates.md.
    period
        What months, weeks, pentads, dekads, quarters, year pairs and from-to names stand for.
    same_date
        What to do with images of one date that lie upon each other, which is an error otherwise: ``keep`` all,
        of each pixel the ``first`` image by name that covers it, the first one that has a value there
        (``mosaic``), or the ``mean`` or ``max``. ``duplicates`` is an older name of it.
    extent
        What the grid covers where images lie on one lattice but not in one place: the ``union`` or
        ``intersection`` of all, the ``first`` one's by date, (left, bottom, right, top) in units of the CRS, or that
        of a raster, by its path. Nothing is resampled for it.
    align
        A raster on whose lattice all files are put that lie on others, by its path; its extent is taken where no
        other is asked for.
    resampling
        How that is done: GDAL's name of a rule.
    product
        What the files are deliveries of: one of our products by name, or a TOML file that describes one.
    value
        What is computed of the bands of each image: the name of an index (``ndvi``), or a formula in band names.
    mask
        Files that say which pixels are of use, matched to the images by date: as ``source`` of `open_stack`, in one
        text. ``none`` uses none of a product's.
    mask_band
        Number or name of the band of each image's own file that says so, instead.
    mask_keep, mask_drop
        Values of a mask that are of use, or that are not.
    mask_bits
        Bits of which none may be set.
    mask_field
        Groups of bits and what may not be in them: ``8-9=2,3``.
    mask_preset
        A known rule instead of these four.
    grow
        Pixels around rejected ones, in every direction, that are rejected too.
    region
        Polygons of a vector file, or (left, bottom, right, top): pixels whose centre lies outside get status 9, and
        what holds none of the others is not read.
    where
        A static raster and the values of pixels that are asked for: ``landcover.tif=1,2``.
    nodata
        Stored values that count as missing instead of the files' own nodata.
    scale, offset
        The value is ``stored * scale + offset``, instead of the files' own.
    valid_range
        Values (scaled) outside low..high count as missing.
    start, end
        First and last date to use, as far as written: ``1990``, ``2020-06``, ``2020-06-15``.
    months
        Months to use, 1 to 12.
    bounds
        Left, bottom, right, top in units of the CRS: only pixels that it touches are read.
    composite
        What the layers of each calendar period are reduced to: ``max``, ``median``, ``p90``, ...; a function by its
        name. See `RasterStack.composite`, also for the next four.
    every
        ``year``, ``season``, ``month`` or ``dekad``.
    season
        Days of each year that count: ``05-01..09-30``.
    min_count
        Observations that a pixel needs in a period.
    equal_count
        Observations that are drawn of each pixel and period.
    on_read_error
        What to do where a block of a file cannot be read, again and again: ``stop``, or count it as ``missing``.

    Raises
    ------
    ParameterError
        When a value is impossible.
    """

    band: int | str | None = None
    times: str | None = None
    period: Period = "start"
    same_date: SameDate | None = None
    extent: str | Bounds | None = None
    align: str | None = None
    resampling: Resampling = "nearest"
    product: str | None = None
    value: str | None = None
    mask: str | None = None
    mask_band: int | str | None = None
    mask_keep: tuple[float, ...] | None = None
    mask_drop: tuple[float, ...] | None = None
    mask_bits: tuple[int, ...] = ()
    mask_field: tuple[str, ...] = ()
    mask_preset: str | None = None
    grow: int = 0
    region: str | Bounds | None = None
    where: str | None = None
    nodata: tuple[float, ...] | None = None
    scale: float | None = None
    offset: float | None = None
    valid_range: tuple[float, float] | None = None
    start: str | None = None
    end: str | None = None
    months: tuple[int, ...] | None = None
    bounds: Bounds | None = None
    composite: str | None = None
    every: Every = "year"
    season: str | None = None
    min_count: int = 1
    equal_count: int | None = None
    on_read_error: OnReadError = "stop"

    def __post_init__(self) -> None:
        # What people write is accepted: nodata=-9999, start=1990, months=[6, 7, 8], times=Path("dates.csv").
        for name in ("nodata", "valid_range", "months", "bounds", "mask_keep", "mask_drop", "mask_bits"):
            value = getattr(self, name)
            if value is not None:
                several = isinstance(value, Iterable) and not isinstance(value, str)
                object.__setattr__(self, name, tuple(_number(name, v) for v in (value if several else [value])))
        for name in ("scale", "offset"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _number(name, value))
        for name in ("band", "mask_band"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                object.__setattr__(self, name, _number(name, value))
        object.__setattr__(self, "grow", _number("grow", self.grow))
        one_field = isinstance(self.mask_field, str)
        object.__setattr__(self, "mask_field", (self.mask_field,) if one_field else tuple(self.mask_field))
        for name in ("extent", "region"):
            place: Any = getattr(self, name)
            if isinstance(place, str):
                place = _bounds_of(place)
            if place is not None:
                several = isinstance(place, Iterable) and not isinstance(place, str)
                object.__setattr__(self, name, tuple(_number(name, v) for v in place) if several else str(place))
        for name in ("times", "start", "end", "align", "product", "value", "mask", "where"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, str(value))
        self._check()

    def _check(self) -> None:
        if self.period not in get_args(Period):
            raise unknown("period", str(self.period), get_args(Period))
        if self.same_date is not None and self.same_date not in get_args(SameDate):
            raise unknown("treatment of equal dates", str(self.same_date), get_args(SameDate))
        if self.on_read_error not in get_args(OnReadError):
            raise unknown("treatment of read errors", str(self.on_read_error), get_args(OnReadError))
        self._check_masks()
        if self.season is not None:
            Season.parse(self.season)
        if self.composite is None:
            given = [name for name in ("every", "season", "min_count", "equal_count") if name in self.as_dict()]
            if given:
                raise ParameterError(f"{' and '.join(given)} without composite: --composite HOW is wanted")
        if self.every not in get_args(Every):
            raise unknown("period", str(self.every), get_args(Every))
        if self.value is not None and self.band is not None:
            raise ParameterError(
                f"band {self.band} and value {self.value!r} exclude each other: a formula names its bands"
            )
        if self.resampling not in get_args(Resampling):
            raise unknown("resampling", str(self.resampling), get_args(Resampling))
        if self.resampling != "nearest" and self.align is None:
            raise ParameterError(f"resampling {self.resampling} is for files on other lattices: align=RASTER is wanted")
        for name in ("extent", "region"):
            if isinstance(getattr(self, name), tuple):
                _check_bounds(name, getattr(self, name))
        for name in ("band", "mask_band"):
            value = getattr(self, name)
            if isinstance(value, int) and value < 1:
                raise ParameterError(f"{name} {value} is impossible: bands count from 1")
        if self.valid_range is not None and not (
            len(self.valid_range) == 2 and self.valid_range[0] < self.valid_range[1]
        ):
            raise ParameterError(f"valid range {self.valid_range} is empty: LOW,HIGH is wanted")
        if self.months is not None and not (self.months and set(self.months) <= set(range(1, 13))):
            raise ParameterError(f"months {','.join(map(str, self.months))} are not all among 1 to 12")
        if self.bounds is not None:
            _check_bounds("bounds", self.bounds)
        for name in ("scale", "offset"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ParameterError(f"{name} {value} is not finite")
            if value is not None and abs(value) > LARGEST_NUMBER:
                raise ParameterError(f"{name} {value} is beyond {LARGEST_NUMBER:g}, which no values are")
        if self.scale == 0:
            raise ParameterError("scale 0 makes every value the same")

    def _check_masks(self) -> None:
        if self.mask is not None and self.mask_band is not None:
            raise ParameterError(
                "mask and mask_band exclude each other: masks are files, or a band of each image's file"
            )
        if self.product is not None and self.mask_band is not None:
            raise ParameterError(
                "mask_band is for files without a product: one names its own quality bands, whose rule can be replaced"
            )
        if not 0 <= self.grow <= MOST_GROWN:
            raise ParameterError(f"grow {self.grow} is impossible: 0 to {MOST_GROWN} pixels are wanted")
        masks = self.mask not in (None, "none") or self.mask_band is not None
        rule = self.mask_rule
        if masks and rule is None:
            MaskRule()  # says what is missing
        if not masks and self.product is None and (rule is not None or self.grow):
            raise ParameterError("a rule for masks, but no mask: --mask FILES, --mask-band or --product is wanted")
        if self.mask == "none" and (rule is not None or self.grow):
            raise ParameterError("mask none uses no mask, so that no rule for masks makes sense")

    @property
    def mask_rule(self) -> MaskRule | None:
        """What the values of masks mean, where that is said.

        Raises
        ------
        ParameterError
            When it is said twice, or impossible.
        """
        own = (self.mask_keep, self.mask_drop) != (None, None) or bool(self.mask_bits or self.mask_field)
        if self.mask_preset is not None:
            if own:
                raise ParameterError(f"mask preset {self.mask_preset!r} is a whole rule: no other can be added")
            return load_preset(self.mask_preset).rule
        if not own:
            return None
        fields_ = tuple(parse_field(text) for text in self.mask_field)
        return MaskRule(self.mask_keep, self.mask_drop, self.mask_bits, fields_)

    @property
    def mask_words(self) -> str:
        """Say what `mask_rule` is: the preset with its version, or the rule itself."""
        if self.mask_preset is not None:
            preset = load_preset(self.mask_preset)
            return f"{preset.name} version {preset.version} ({preset.source})"
        rule = self.mask_rule
        return "" if rule is None else rule.describe()

    def replace(self, **options: Any) -> InputSpec:
        """Return the spec with some options changed; an unknown name is a `ParameterError`."""
        if "duplicates" in options:
            options["same_date"] = options.pop("duplicates")
        known = [field.name for field in fields(self)]
        for name in options:
            if name not in known:
                raise unknown("input option", name, known)
        return replace(self, **options)

    def as_dict(self) -> dict[str, Any]:
        """Return what differs from the defaults, as JSON and TOML can write it."""
        changed = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}


def _bounds_of(text: str) -> Any:
    """Return the four numbers that a text holds, else the text."""
    try:
        numbers_ = [float(number) for number in text.split(",")]
    except ValueError:
        return text
    return numbers_ if len(numbers_) == 4 else text


def _check_bounds(name: str, bounds: tuple[float, ...]) -> None:
    if len(bounds) != 4:
        raise ParameterError(f"{name} {bounds} are not four numbers: left, bottom, right, top")
    if not all(map(math.isfinite, bounds)):
        raise ParameterError(f"{name} {bounds} are not finite")
    if max(map(abs, bounds)) > LARGEST_COORDINATE:
        raise ParameterError(f"{name} {bounds} lie beyond all coordinates: up to {LARGEST_COORDINATE:g} are accepted")


def _number(name: str, value: Any) -> int | float:
    """Return a number of Python's own, which JSON can write; NumPy's are accepted."""
    if isinstance(value, numbers.Integral):
        whole = int(value)
        # One of more than 4300 digits cannot even be printed.
        if abs(whole) > LARGEST_NUMBER:
            raise ParameterError(f"{name} is a whole number of {whole.bit_length()} bits: it is too large")
        return whole
    if isinstance(value, numbers.Real):
        try:
            return float(value)
        except OverflowError:  # a fraction
            raise ParameterError(f"{name} is too large") from None
    raise ParameterError(f"{name} {shown(value)} is not a number")
