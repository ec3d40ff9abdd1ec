"""How to read a stack: the options that all commands share, parsed once."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar, get_args

from pixelwise.choices import Every, FlaggedGains, OnReadError, Period, Resampling, SameDate
from pixelwise.errors import ParameterError
from pixelwise.grid import Bounds
from pixelwise.stacks.masks import MaskRule
from pixelwise.stacks.parts import (
    AreaOptions,
    ArrayOptions,
    CompositeOptions,
    DateOptions,
    GainOptions,
    MaskOptions,
    PlaceOptions,
    ServerOptions,
    ValueOptions,
)
from pixelwise.words import not_a_choice, unknown

__all__ = ["InputSpec"]

Part = TypeVar(
    "Part",
    AreaOptions,
    ArrayOptions,
    CompositeOptions,
    DateOptions,
    GainOptions,
    MaskOptions,
    PlaceOptions,
    ServerOptions,
    ValueOptions,
)


@dataclass(frozen=True)
class InputSpec:
    """How to read a stack.

    Attributes
    ----------
    band
        Number (from 1) or name of the band to read, if files have several bands that are not dates. A pattern
        (``NDVI*``) reads every band whose description matches, each dated by its description.
    variable, group
        The variable of NetCDF, HDF5 or Zarr files to read, if they have several, and the group that it is in.
    select
        Values of their dimensions besides time, rows and columns: ``depth=0``, or a mapping.
    times
        A table of dates (one date per line for the bands of one file; ``path,date`` or ``path,band,date`` for several
        files), or a strptime format that finds the date in each name or band description; see "Dates in names" in
        the documentation.
    period
        Which day of a month, week, pentad, dekad, quarter, year pair or date range its name stands for.
    same_date
        What to do with overlapping images of the same date, otherwise an error: ``keep`` all, or take for each
        pixel the ``first`` image by name that covers it, the first with a value there (``mosaic``), or the ``mean``
        or ``max``. ``duplicates`` is an older name for it.
    extent
        What the grid covers if images have aligned pixels but different extents: the ``union`` or ``intersection`` of
        all, the extent of the ``first`` by date, (left, bottom, right, top) in units of the CRS, or the extent of a
        raster, given by its path. Nothing is resampled for it.
    align
        Path of a raster; files whose pixels are not aligned with its pixels are resampled to them. Its extent is used
        unless `extent` gives another. Or a CRS and a resolution in its units,
        ``EPSG:32633,10``: pixels lie at multiples of the resolution, and cover the union of the files unless `extent`
        says otherwise.
    resampling
        How `align` resamples: GDAL's name of a method.
    crs
        The CRS of files that have none: ``EPSG:32633``, a PROJ string or WKT. A file with another one is refused.
    product
        The product that the files belong to: a built-in one by name, or a TOML file that describes one.
    value
        What to compute from each image's bands: the name of an index (``ndvi``), or a formula in band names.
    mask
        Files that say which pixels are usable, matched to the images by date: given like ``source`` of
        `open_stack`, in one string. ``none`` turns off a product's own masks.
    mask_band
        Number or name of a band of each image's own file to use as the mask instead; of arrays, a variable.
    mask_keep, mask_drop
        Mask values of usable pixels, or of rejected ones.
    mask_bits
        Bits that reject a pixel if any of them is set.
    mask_field
        Groups of bits and the values in them that reject a pixel: ``8-9=2,3``.
    mask_preset
        A named rule instead of these four.
    grow
        How many pixels around rejected ones, in every direction, are rejected too.
    region
        Polygons of a vector file, or (left, bottom, right, top): pixels whose centre lies outside get status 9, and
        blocks entirely outside are not read.
    where
        A static raster and its values at the pixels to compute: ``landcover.tif=1,2``.
    nodata
        Stored values that count as missing instead of the files' own nodata.
    scale, offset
        The value is ``stored * scale + offset``, instead of by the files' own scale and offset.
    valid_range
        Values (scaled) outside low..high count as missing.
    gains
        A table of gains and offsets, as ``pixelwise rectify`` writes it, or the name of a preset: in each file and
        band, ``gain * value + offset`` replaces each value, after valid ranges and before formulas.
    gains_flagged
        ``drop`` leaves out scenes whose gains have a flag other than ``few``, ``keep`` uses them.
    start, end
        First and last date to use, to the year, month or day: ``1990``, ``2020-06``, ``2020-06-15``.
    months
        Months to use, 1 to 12.
    bounds
        Left, bottom, right, top in units of the CRS: only pixels that they touch are read.
    composite
        What the layers of each calendar period are reduced to: ``max``, ``median``, ``p90``, ..., or a function as
        ``file.py:function``. See `RasterStack.composite`, also for the next five.
    every
        ``year``, ``season``, ``month`` or ``dekad``.
    season
        Days of each year that count: ``05-01..09-30``.
    min_count
        How many observations a pixel needs in a period.
    equal_count
        How many observations are drawn for each pixel and period.
    composite_parameters
        Parameters of the function that makes composites: ``q=0.9``, several of these, or a mapping.
    on_read_error
        What to do if a block of a file stays unreadable after retries: ``stop``, or count it as ``missing``.
    asset
        Which asset of STAC items is read, if they have several rasters.
    allow_scheme
        Schemes of servers that may be asked for files: ``https``, ``http``, ``s3``, ``gs``, ``az``; none by default.
        Neither a recipe nor a map can allow them.

    Raises
    ------
    ParameterError
        When a value is impossible.
    """

    band: int | str | None = None
    variable: str | None = None
    group: str | None = None
    select: tuple[str, ...] = ()
    times: str | None = None
    period: Period = "start"
    same_date: SameDate | None = None
    extent: str | Bounds | None = None
    align: str | None = None
    resampling: Resampling = "nearest"
    crs: str | None = None
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
    gains: str | None = None
    gains_flagged: FlaggedGains = "drop"
    start: str | None = None
    end: str | None = None
    months: tuple[int, ...] | None = None
    bounds: Bounds | None = None
    composite: str | None = None
    every: Every = "year"
    season: str | None = None
    min_count: int = 1
    equal_count: int | None = None
    composite_parameters: tuple[str, ...] = ()
    on_read_error: OnReadError = "stop"
    asset: str | None = None
    allow_scheme: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # Each part converts and checks its options; the spec takes over the converted values.
        parts = (self.dates, self.masks, self.composites, self.values, self.rectification)
        for part in (*parts, self.arrays, self.place, self.area, self.servers):
            for field in fields(part):
                object.__setattr__(self, field.name, getattr(part, field.name))
        if self.product is not None:
            object.__setattr__(self, "product", str(self.product))
        if self.on_read_error not in get_args(OnReadError):
            raise not_a_choice("on_read_error", self.on_read_error, get_args(OnReadError))
        if self.product is not None and self.mask_band is not None:
            raise ParameterError(
                "mask_band is for files without a product: a product names its own quality bands, whose rule can be "
                "replaced"
            )
        if self.product is None and not self.masks.given and self.masks.ruled:
            raise ParameterError("a rule for masks, but no mask: give --mask FILES, --mask-band or --product")

    @property
    def values(self) -> ValueOptions:
        """How values are read."""
        return self._part(ValueOptions)

    @property
    def rectification(self) -> GainOptions:
        """What makes scenes comparable."""
        return self._part(GainOptions)

    @property
    def arrays(self) -> ArrayOptions:
        """Which array of a file is read."""
        return self._part(ArrayOptions)

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
        """Which grid the pixels are on."""
        return self._part(PlaceOptions)

    @property
    def area(self) -> AreaOptions:
        """Which pixels are requested."""
        return self._part(AreaOptions)

    @property
    def servers(self) -> ServerOptions:
        """From which servers files may be read."""
        return self._part(ServerOptions)

    @property
    def composites(self) -> CompositeOptions:
        """What the layers of each period are reduced to."""
        return self._part(CompositeOptions)

    def _part(self, kind: type[Part]) -> Part:
        return kind(**{field.name: getattr(self, field.name) for field in fields(kind)})

    @property
    def mask_rule(self) -> MaskRule | None:
        """What the values of masks mean, if given."""
        return self.masks.rule

    @property
    def mask_words(self) -> str:
        """Describe `mask_rule`: the preset with its version, or the rule itself."""
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
        """Return what differs from the defaults, in types that JSON and TOML can hold; what is allowed is not in it."""
        named = [f for f in fields(self) if f.name != "allow_scheme"]
        changed = {f.name: getattr(self, f.name) for f in named if getattr(self, f.name) != f.default}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}
