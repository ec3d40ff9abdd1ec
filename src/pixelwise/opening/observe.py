"""Turn files into observations: find out which band of which file was observed when, with which mask."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from pixelwise.dates.axis import Moment
from pixelwise.dates.paths import shard_of
from pixelwise.errors import InputError, Problems
from pixelwise.opening.array_files import are_arrays, of_arrays
from pixelwise.opening.dating import BROKEN, DateTable, dates_of_bands, dates_of_files, is_pattern, table_of
from pixelwise.opening.named_files import read_headers, without_own
from pixelwise.opening.observation import EVERYTHING, BandFile, Entry, Findings, Observation
from pixelwise.opening.product_files import of_product
from pixelwise.opening.products import load_product
from pixelwise.opening.quality import own_quality, with_masks, with_own_masks
from pixelwise.opening.sensors import band_named, band_of, sensors_by_number
from pixelwise.rasters.headers import BandHeader, Header
from pixelwise.rasters.urls import Location
from pixelwise.stacks.file_reader import Derivation
from pixelwise.stacks.formula import Expression, expression_of
from pixelwise.stacks.parts import LARGEST_NUMBER, ValueOptions
from pixelwise.stacks.spec import InputSpec
from pixelwise.words import shortened

__all__ = ["observe"]

log = logging.getLogger(__name__)


def observe(entries: Sequence[Entry], spec: InputSpec, problems: Problems) -> Findings:
    """Read headers, find bands, dates and masks, and collect problems.

    Raises
    ------
    ParameterError
        When a product, a band of it or a formula is unknown.
    """
    remarks: list[str] = []
    values, masks, times = spec.values, spec.masks, spec.times
    with problems.caught() as failure:
        arrays = are_arrays(entries, spec)
    if failure:
        return Findings((), Derivation(), {})
    if arrays:
        return of_arrays(entries, spec, problems)
    if spec.product is not None:
        return of_product(
            entries, load_product(spec.product), values, masks, times, problems, remarks, spec.allow_scheme
        )
    headers = read_headers([path for path, _ in entries], problems)
    entries = without_own(entries, headers, remarks)
    expression = _expression_of(headers, values.value)
    # Problems with the table are reported when dates are looked up.
    table = table_of(times, Problems()) if any(header.alpha for header in headers.values()) else None
    for path, date in entries:
        if path in headers and _alpha_is_data(
            headers[path], values.band, masks.mask_band, expression, times, table, dated=date is not None
        ):
            headers[path] = headers[path].with_alpha_as_data()
    mixture = sensors_by_number(list(headers), headers, values, expression)
    if mixture is not None:
        problems.add(mixture)
    known = [(path, date) for path, date in entries if path in headers]
    found = _observations(known, headers, values, times, expression, problems)
    own = own_quality(masks)
    if own is not None and masks.mask_band is not None:
        found = with_own_masks(found, masks.mask_band, own.rule, problems)
    elif own is not None:
        described = is_pattern(values.band)
        found = with_masks(
            found, masks, times, own.rule, headers, problems, remarks, described=described, allowed=spec.allow_scheme
        )
    derivation = Derivation(
        names=expression.names if expression else (),
        expression=expression,
        qualities=() if own is None else (own,),
        grow=masks.grow,
        valid=values.valid_range or EVERYTHING if expression else EVERYTHING,
    )
    return Findings(tuple(found), derivation, headers, tuple(remarks))


def _band_file(header: Header, band: BandHeader, values: ValueOptions, *, derived: bool) -> BandFile:
    """Return a band with the meaning of its numbers, according to the file and the options."""
    scale = band.scale if values.scale is None else values.scale
    offset = band.offset if values.offset is None else values.offset
    for name, number in (("scale", scale), ("offset", offset)):
        # Comparisons with NaN are false.
        if not abs(number) <= LARGEST_NUMBER or (name == "scale" and number == 0):
            raise InputError(
                f"{header.path}: band {band} declares {name} {number:g}, which yields no usable numbers; "
                f"give the right one with --{name}"
            )
    return BandFile(
        header,
        band,
        scale=scale,
        offset=offset,
        nodata=values.nodata if values.nodata is not None else () if band.nodata is None else (band.nodata,),
        valid=EVERYTHING if derived else values.valid_range or EVERYTHING,
        grid=header.grid,
    )


def _stem(path: Location) -> str:
    shard = shard_of(path.name)
    return str(path if shard is None else path.parent / shard[0])


# ------------------------------------------------------------------------------------- bands and dates


def _expression_of(headers: Mapping[Location, Header], value: str | None) -> Expression | None:
    if value is None:
        return None
    first = next(iter(headers.values()), None)
    # An alpha band is data if the formula names it.
    bands = () if first is None else first.with_alpha_as_data().bands
    return expression_of(value, [band.description for band in bands])


def _alpha_is_data(
    header: Header,
    wanted: int | str | None,
    mask_band: int | str | None,
    expression: Expression | None,
    times: str | None,
    table: DateTable | None,
    *,
    dated: bool,
) -> bool:
    """Whether a band that GDAL treats as alpha is named as data, or dated like the other bands."""
    if not header.alpha:
        return False
    whole, numbers = header.with_alpha_as_data(), {band.index for band in header.alpha}
    named: list[tuple[Callable[[Header, Any], BandHeader], Any]]
    named = [(band_named, name) for name in (expression.names if expression else ())]
    named += [(band_of, name) for name in (wanted, mask_band) if name is not None]
    for find, name in named:
        try:
            if find(whole, name).index in numbers:
                return True
        except InputError:  # reported when bands are looked up
            pass
    bands = () if expression is not None or dated or table is BROKEN else _bands_of(whole, wanted)
    if len(bands) < 2 or not numbers.intersection(band.index for band in bands):
        return False
    try:
        return bool(dates_of_bands(whole, bands, times, table, dated=False))
    except InputError:
        return False


def _observations(
    entries: Sequence[Entry],
    headers: Mapping[Location, Header],
    values: ValueOptions,
    times: str | None,
    expression: Expression | None,
    problems: Problems,
) -> list[Observation]:
    single: list[tuple[Header, tuple[BandHeader, ...], Moment | None]] = []
    found: list[Observation] = []
    undated = Problems()
    table = table_of(times, problems)
    if table is BROKEN:
        return []
    several: dict[Location, tuple[BandHeader, ...]] = {}
    if expression is None:
        chosen = {path: _bands_of(headers[path], values.band) for path, _ in entries}
        several = {path: bands for path, bands in chosen.items() if len(bands) > 1}
    if table is not None and isinstance(table.dates, list) and len({_stem(path) for path in several}) > 1:
        first, *_, last = several
        problems.add(
            f"{times}: dates without paths are for the bands of one file, but {first} and {last} both "
            "have several bands; expected a table of path,band,date"
        )
        return []
    for path, date in entries:
        header = headers[path]
        with undated.caught():
            if expression is not None:
                if len(header.bands) < 2 and len(expression.names) > 1:
                    raise InputError(
                        f"{path}: has one band, but the formula names {', '.join(expression.names)}; "
                        "--product finds the bands of a product in its files"
                    )
                single.append((header, tuple(band_named(header, name) for name in expression.names), date))
            elif path in several:
                bands = several[path]
                readings = dates_of_bands(header, bands, times, table, dated=date is not None)
                found += [
                    Observation((_band_file(header, band, values, derived=False),), (), reading, _stem(path))
                    for band, reading in zip(bands, readings, strict=True)
                ]
            else:
                single.append((header, chosen[path] or (band_of(header, values.band),), date))
    problems.add(*shortened(undated.lines))
    return found + _of_single_images(single, values, times, table, problems, derived=expression is not None)


def _of_single_images(
    single: Sequence[tuple[Header, tuple[BandHeader, ...], Moment | None]],
    values: ValueOptions,
    times: str | None,
    table: DateTable | None,
    problems: Problems,
    *,
    derived: bool,
) -> list[Observation]:
    """Date files that hold one image each, all by the same rule."""
    with problems.caught() as failure:
        readings = dates_of_files(
            [(header, bands[0], date) for header, bands, date in single],
            times,
            table,
            described=is_pattern(values.band),
        )
    if failure:
        return []
    found: list[Observation] = []
    refused = Problems()
    for (header, bands, _), reading in zip(single, readings, strict=True):
        with refused.caught():
            own = tuple(_band_file(header, band, values, derived=derived) for band in bands)
            found.append(Observation(own, (), reading, _stem(header.path)))
    problems.add(*shortened(refused.lines))
    return found


def _bands_of(header: Header, wanted: int | str | None) -> tuple[BandHeader, ...]:
    """Return all bands, or those whose descriptions match a pattern; none if a single band is selected."""
    if wanted is None:
        return header.bands
    if not is_pattern(wanted):
        return ()
    named = [band for band in header.bands if band.description == wanted]
    fitting = [band for band in header.bands if fnmatchcase(band.description.lower(), str(wanted).lower())]
    return tuple(named or fitting)
