"""How a stack is to be read: the options that every command shares, parsed once."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar, get_args

from pixelwise.choices import Every, OnReadError, Period, Resampling, SameDate
from pixelwise.errors import ParameterError
from pixelwise.grid import Bounds
from pixelwise.stacks.masks import MaskRule
from pixelwise.stacks.parts import AreaOptions, CompositeOptions, DateOptions, MaskOptions, PlaceOptions, ValueOptions
from pixelwise.words import not_a_choice, unknown

__all__ = ["InputSpec"]

Part = TypeVar("Part", AreaOptions, CompositeOptions, DateOptions, MaskOptions, PlaceOptions, ValueOptions)


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
        # Each part converts and checks what it holds; the spec holds the same.
        for part in (self.dates, self.masks, self.composites, self.values, self.place, self.area):
            for field in fields(part):
                object.__setattr__(self, field.name, getattr(part, field.name))
        if self.product is not None:
            object.__setattr__(self, "product", str(self.product))
        if self.on_read_error not in get_args(OnReadError):
            raise not_a_choice("on_read_error", self.on_read_error, get_args(OnReadError))
        if self.product is not None and self.mask_band is not None:
            raise ParameterError(
                "mask_band is for files without a product: one names its own quality bands, whose rule can be replaced"
            )
        if self.product is None and not self.masks.given and self.masks.ruled:
            raise ParameterError("a rule for masks, but no mask: --mask FILES, --mask-band or --product is wanted")

    @property
    def values(self) -> ValueOptions:
        """What values are made of."""
        return self._part(ValueOptions)

    @property
    def masks(self) -> MaskOptions:
        """What rejects pixels."""
        return self._part(MaskOptions)

    @property
    def dates(self) -> DateOptions:
        """How files are dated, and which dates are used."""
        return self._part(DateOptions)

    @property
    def place(self) -> PlaceOptions:
        """Where pixels are put."""
        return self._part(PlaceOptions)

    @property
    def area(self) -> AreaOptions:
        """Which pixels are asked for."""
        return self._part(AreaOptions)

    @property
    def composites(self) -> CompositeOptions:
        """What the layers of each period are reduced to."""
        return self._part(CompositeOptions)

    def _part(self, kind: type[Part]) -> Part:
        return kind(**{field.name: getattr(self, field.name) for field in fields(kind)})

    @property
    def mask_rule(self) -> MaskRule | None:
        """What the values of masks mean, where that is said."""
        return self.masks.rule

    @property
    def mask_words(self) -> str:
        """Say what `mask_rule` is: the preset with its version, or the rule itself."""
        return self.masks.words

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
