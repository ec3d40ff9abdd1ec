"""Find layers in NetCDF, HDF5 and Zarr files: which array, which of its time steps was observed when."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pixelwise.dates.axis import Moment
from pixelwise.dates.rules import Reading
from pixelwise.errors import InputError, ParameterError, Problems
from pixelwise.opening.array_steps import readings_of
from pixelwise.opening.dating import BROKEN, DateTable, dates_of_bands, dates_of_files, table_of
from pixelwise.opening.named_files import without_own
from pixelwise.opening.observation import EVERYTHING, BandFile, Entry, Findings, Observation
from pixelwise.opening.quality import check_fit, mask_file, own_quality, with_masks
from pixelwise.rasters.array_groups import ArrayGroup
from pixelwise.rasters.array_headers import ArrayHeader, header_of
from pixelwise.rasters.arrays import array_driver
from pixelwise.rasters.headers import Header
from pixelwise.rasters.urls import Location
from pixelwise.stacks.file_reader import Derivation
from pixelwise.stacks.formula import Expression, expression_of
from pixelwise.stacks.masks import MaskRule
from pixelwise.stacks.parts import ArrayOptions, ValueOptions
from pixelwise.stacks.spec import InputSpec
from pixelwise.words import shortened

__all__ = ["are_arrays", "of_arrays"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Found:
    """The arrays of one file: those of the values, in the order of the formula's names, and the mask.

    Attributes
    ----------
    date
        The date given for the file.
    """

    path: Location
    date: Moment | None
    values: tuple[ArrayHeader, ...]
    mask: ArrayHeader | None


@dataclass
class _Opened:
    """What opening a file gave: its arrays, or problems; a map lies among the input by accident, and has neither."""

    written: bool
    is_map: bool
    problems: Problems
    found: _Found | None = None


def are_arrays(entries: Sequence[Entry], spec: InputSpec) -> bool:
    """Whether the files hold arrays and not rasters.

    Raises
    ------
    InputError
        When some do and others do not.
    ParameterError
        When options of one kind are given for the other.
    """
    arrays = [path for path, _ in entries if array_driver(path)]
    if arrays and len(arrays) < len(entries):
        other = next(path for path, _ in entries if not array_driver(path))
        raise InputError(
            f"{arrays[0]} holds arrays and {other} is a raster: expected one kind of files in a stack; a covariate "
            "(--with) may be of the other"
        )
    if arrays and spec.product is not None:
        raise ParameterError(f"product {spec.product} is for rasters, but {arrays[0]} holds arrays: leave it out")
    if arrays and spec.align is not None:
        raise ParameterError(
            f"align {spec.align}: GDAL cannot warp the arrays of {arrays[0]}; write them as GeoTIFF first "
            "(pixelwise composite, or write_layers)"
        )
    if arrays and spec.band is not None:
        raise ParameterError(
            f"band {spec.band} is for rasters, but {arrays[0]} holds arrays: name one with --variable (variable=)"
        )
    if not arrays:
        for name in spec.arrays.given:
            raise ParameterError(f"{name} is for NetCDF, HDF5 and Zarr, but {entries[0][0]} is a raster: leave it out")
    return bool(arrays)


def of_arrays(entries: Sequence[Entry], spec: InputSpec, problems: Problems) -> Findings:
    """Find arrays and the dates of their time steps, and collect problems."""
    values, masks, times, remarks = spec.values, spec.masks, spec.times, list[str]()
    own = own_quality(masks)
    opened: dict[Location, _Opened] = {}
    expression: Expression | None = None
    for path, date in entries:
        lines = Problems()
        with lines.caught(), ArrayGroup(path, spec.arrays.group or "") as group:
            opened[path] = _Opened(group.written, group.is_map, lines)
            if values.value is not None and expression is None:
                expression = expression_of(values.value, group.names)
            opened[path].found = _arrays_of(group, date, spec, expression)
        opened.setdefault(path, _Opened(written=False, is_map=False, problems=lines))
    kept = [opened[path] for path, _ in without_own(entries, opened, remarks)]
    found = [one.found for one in kept if one.found is not None]
    problems.add(*shortened([line for one in kept for line in one.problems.lines]))
    for text in dict.fromkeys(remark for one in found for header in one.values for remark in header.remarks):
        remarks.append(f"{found[0].path}: {text}")
        log.warning(remarks[-1])
    table = table_of(times, problems)
    observations: list[Observation] = []
    undated = Problems()
    if table is not BROKEN:
        dated = list(_dated(found, times, table, undated))
        for one, readings in dated:
            with undated.caught():
                observations += _observations(one, readings, values, expression, own.rule if own else None)
    problems.add(*shortened(undated.lines))
    headers = {one.path: _largest(one) for one in found}
    if own is not None and masks.mask_band is None:
        observations = with_masks(
            observations, masks, times, own.rule, headers, problems, remarks, described=False, allowed=spec.allow_scheme
        )
    derivation = Derivation(
        names=expression.names if expression else (),
        expression=expression,
        qualities=() if own is None else (own,),
        grow=masks.grow,
        valid=values.valid_range or EVERYTHING if expression else EVERYTHING,
    )
    return Findings(tuple(observations), derivation, headers, tuple(remarks))


def _arrays_of(group: ArrayGroup, date: Moment | None, spec: InputSpec, expression: Expression | None) -> _Found:
    """Return the headers of the arrays of a file that are read."""
    arrays: ArrayOptions = spec.arrays
    select = arrays.selected
    if expression is not None:
        if arrays.variable is not None:
            raise ParameterError(
                f"variable {arrays.variable!r} and value {spec.value!r} are mutually exclusive: a formula names its "
                "variables"
            )
        names = tuple(_named(group, name) for name in expression.names)
    else:
        names = (group.only_name() if arrays.variable is None else arrays.variable,)
    headers = tuple(header_of(group, name, select) for name in names)
    for other in headers[1:]:
        _check_alike(headers[0], other)
    mask = None
    if spec.mask_band is not None:
        mask = header_of(group, str(spec.mask_band), select)
        _check_alike(headers[0], mask)
    return _Found(group.path, date, headers, mask)


def _named(group: ArrayGroup, name: str) -> str:
    """Return the array that a formula names, whatever the case of its letters."""
    alike = [one for one in group.names if one.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else name


def _check_alike(first: ArrayHeader, other: ArrayHeader) -> None:
    """Refuse arrays of one file that do not have the same time steps."""
    places = first.header.array, other.header.array
    if places[0] is not None and places[1] is not None and places[0].time != places[1].time:
        raise InputError(
            f"{first.header.path}: {places[0].variable} has the time dimension {places[0].time or 'none'!r} and "
            f"{places[1].variable} {places[1].time or 'none'!r}: expected the same"
        )
    steps = (len(first.header.bands), len(other.header.bands))
    if steps[0] != steps[1]:
        names = [one.header.array.variable for one in (first, other) if one.header.array is not None]
        raise InputError(
            f"{first.header.path}: {names[0]} has {steps[0]} time steps and {names[1]} {steps[1]}: expected the same"
        )


def _largest(found: _Found) -> Header:
    """Return the header that stands for a file: that of its values, with the largest chunks that are read."""
    first = found.values[0].header
    others = [one.header for one in (*found.values[1:], *((found.mask,) if found.mask else ()))]
    largest = max((first, *others), key=lambda header: header.block_bytes)
    if first.array is None or largest.array is None:
        return first
    return replace(first, array=replace(first.array, time_chunk=max(first.array.time_chunk, largest.array.time_chunk)))


def _dated(
    found: Sequence[_Found], times: str | None, table: DateTable | None, problems: Problems
) -> Iterator[tuple[_Found, list[Reading]]]:
    """Yield each file with the dates of its time steps."""
    bare: list[_Found] = []
    for one in found:
        header, stored = one.values[0].header, one.values[0].times
        several = len(header.bands) > 1
        if one.date is None and stored is not None and times is None:
            with problems.caught() as failure:
                readings = readings_of(one.path, stored)
            if not failure:
                yield one, readings
        elif several and (times is not None or one.date is not None):
            with problems.caught() as failure:
                given = dates_of_bands(header, header.bands, times, table, dated=one.date is not None)
            if not failure:
                yield one, given
        elif several:
            problems.add(
                f"{one.path}: {_variable(one)} has {len(header.bands)} time steps, but no coordinate says when: "
                "give a table with one date per line (--times FILE)"
            )
        else:
            bare.append(one)
    # Files of one image each are dated all by the same rule.
    with problems.caught() as failure:
        singles = [(one.values[0].header, one.values[0].header.bands[0], one.date) for one in bare]
        single = dates_of_files(singles, times, table, described=False)
    if not failure:
        yield from ((one, [reading]) for one, reading in zip(bare, single, strict=True))


def _variable(found: _Found) -> str:
    array = found.values[0].header.array
    return "" if array is None else array.variable


def _observations(
    found: _Found,
    readings: Sequence[Reading],
    values: ValueOptions,
    expression: Expression | None,
    rule: MaskRule | None,
) -> list[Observation]:
    """Return one observation for each time step of a file."""
    mask = found.mask if rule is not None else None
    if mask is not None and rule is not None:
        check_fit(rule, mask.header, mask.header.bands[0])
    whole = [_band_file(one, values, derived=expression is not None) for one in found.values]
    stem = str(found.path)
    observations = []
    for index, reading in enumerate(readings):
        bands = tuple(replace(one, band=one.header.bands[index]) for one in whole)
        masks = () if mask is None or rule is None else (mask_file(mask.header, mask.header.bands[index], rule),)
        observations.append(Observation(bands, masks, reading, stem))
    return observations


def _band_file(found: ArrayHeader, values: ValueOptions, *, derived: bool) -> BandFile:
    """Return the first time step of an array with the meaning of its numbers, by the file and the options."""
    band = found.header.bands[0]
    low, high = found.valid
    if values.valid_range is not None and not derived:
        low, high = max(low, values.valid_range[0]), min(high, values.valid_range[1])
    if values.scale is not None or values.offset is not None:
        # The limits are those of the file's own scale.
        low, high = EVERYTHING if values.valid_range is None or derived else values.valid_range
    scale = band.scale if values.scale is None else values.scale
    offset = band.offset if values.offset is None else values.offset
    if not abs(scale) < float("inf") or scale == 0 or not abs(offset) < float("inf"):
        raise InputError(
            f"{found.header.path}: scale_factor {scale:g} and add_offset {offset:g} yield no usable numbers; give the "
            "right ones with --scale and --offset"
        )
    nodata = found.nodata if values.nodata is None else values.nodata
    return BandFile(found.header, band, scale, offset, nodata, (low, high), found.header.grid)
