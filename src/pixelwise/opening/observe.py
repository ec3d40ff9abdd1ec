"""From files to observations: which band of which file was observed when, with which mask."""

from __future__ import annotations

import glob
import logging
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import compress
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pixelwise.dates.axis import Moment
from pixelwise.dates.names import BandDates, Reading, Table, read_format, read_names, read_table, shard_of
from pixelwise.errors import InputError, ParameterError
from pixelwise.grid import Grid
from pixelwise.opening.products import BandRule, Product, SceneFile, load_product, products
from pixelwise.opening.sources import resolve, shortened_by_kind
from pixelwise.rasters.datasets import local_only
from pixelwise.rasters.headers import RASTER_SUFFIXES, BandHeader, Header, read_header
from pixelwise.rasters.windows import Warp
from pixelwise.regular_files import is_file
from pixelwise.stacks.formula import Expression, expression_of
from pixelwise.stacks.masks import MaskRule, load_preset
from pixelwise.stacks.shares import Derivation, Quality
from pixelwise.stacks.spec import LARGEST_NUMBER, InputSpec
from pixelwise.words import NAMED, shortened, unknown

__all__ = ["ZOOMS", "BandFile", "Findings", "Observation", "observe", "product_of_bands"]

#: Rows and columns of the grid that one pixel of a mask may cover: Sentinel-2 has bands of 10 m, masks of 20 and 60.
ZOOMS = (1, 2, 3, 6)

log = logging.getLogger(__name__)

Entry = tuple[Path, Moment | None]
EVERYTHING = (-math.inf, math.inf)


@dataclass(frozen=True)
class BandFile:
    """One band of one file, what its numbers mean, and where they are put.

    Attributes
    ----------
    header, band
        As the file has them.
    scale, offset, nodata, valid
        The value is ``stored * scale + offset``; `nodata` are stored numbers, `valid` a range of values.
    grid, warp
        Where its pixels come to lie, and how where that is elsewhere.
    zoom
        Rows and columns of the grid that one pixel of the file covers.
    """

    header: Header
    band: BandHeader
    scale: float
    offset: float
    nodata: tuple[float, ...]
    valid: tuple[float, float]
    grid: Grid
    warp: Warp | None = None
    zoom: int = 1


@dataclass(frozen=True)
class Observation:
    """A file, or several bands of one image, with its date.

    Attributes
    ----------
    bands
        In the order of the names of the derivation.
    masks
        In the order of its rules; None where an image has none and needs none.
    reading
        The date.
    stem
        What the pieces of one image have in common.
    sensor
        As the product calls it; empty where there is none.
    """

    bands: tuple[BandFile, ...]
    masks: tuple[BandFile | None, ...]
    reading: Reading
    stem: str
    sensor: str = ""

    @property
    def header(self) -> Header:
        """That of the first band's file."""
        return self.bands[0].header

    @property
    def grid(self) -> Grid:
        """Where its first band comes to lie."""
        return self.bands[0].grid


@dataclass(frozen=True)
class Findings:
    """What was found in files.

    Attributes
    ----------
    observations
        As far as there are any.
    derivation
        How values are made of what they hold.
    headers
        Of every file that was opened, by path.
    remarks
        What was left out, one line each.
    """

    observations: tuple[Observation, ...]
    derivation: Derivation
    headers: Mapping[Path, Header] = field(repr=False)
    remarks: tuple[str, ...] = ()


def observe(entries: Sequence[Entry], spec: InputSpec, problems: list[str]) -> Findings:
    """Read headers, find bands, dates and masks; problems are collected.

    Raises
    ------
    ParameterError
        When a product, a band of it or a formula is unknown.
    """
    remarks: list[str] = []
    if spec.product is not None:
        return _of_product(entries, spec, load_product(spec.product), problems, remarks)
    headers = _read_headers([path for path, _ in entries], problems)
    entries = _without_own(entries, headers, remarks)
    expression = _expression_of(headers, spec)
    # Problems of the table are told where dates are looked for.
    table = _table_of(spec, []) if any(header.alpha for header in headers.values()) else None
    for path, date in entries:
        if path in headers and _alpha_is_data(headers[path], spec, expression, table, dated=date is not None):
            headers[path] = headers[path].with_alpha_as_data()
    mixture = _sensors_by_number(list(headers), headers, spec, expression)
    if mixture is not None:
        problems.append(mixture)
    known = [(path, date) for path, date in entries if path in headers]
    found = _observations(known, headers, spec, expression, problems)
    own = _own_quality(spec)
    if own is not None and spec.mask_band is not None:
        found = _with_own_masks(found, spec.mask_band, own.rule, problems)
    elif own is not None:
        found = _with_masks(found, spec, own.rule, headers, problems, remarks)
    derivation = Derivation(
        names=expression.names if expression else (),
        expression=expression,
        qualities=() if own is None else (own,),
        grow=spec.grow,
        valid=spec.valid_range or EVERYTHING if expression else EVERYTHING,
    )
    return Findings(tuple(found), derivation, headers, tuple(remarks))


def _own_quality(spec: InputSpec) -> Quality | None:
    """Return what masks of the user's own mean; None where there are none."""
    rule = spec.mask_rule
    if rule is None or (spec.mask is None and spec.mask_band is None):
        return None
    what = f"--mask {spec.mask}" if spec.mask is not None else f"--mask-band {spec.mask_band}"
    return Quality(what, rule, spec.mask_words)


@local_only()
def _read_headers(paths: Iterable[Path], problems: list[str]) -> dict[Path, Header]:
    headers: dict[Path, Header] = {}
    refused: list[tuple[Path, str]] = []
    for path in dict.fromkeys(paths):
        try:
            headers[path] = read_header(path)
        except InputError as error:
            refused.extend((path, text) for text in error.problems)
    problems.extend(shortened_by_kind(refused))
    return headers


def _without_own(entries: Sequence[Entry], headers: dict[Path, Header], remarks: list[str]) -> list[Entry]:
    """Leave out what pixelwise wrote beside its input (maps, composites, residuals), also of `headers`, and say so.

    A folder, or a glob that the shell resolved, names it by accident; such files alone, maps alone, and those with a
    date of their own in a table, are named on purpose.
    """
    known = [(path, date) for path, date in entries if path in headers]
    for own in ("written", "is_map"):
        chosen = [path for path, date in known if date is None and getattr(headers[path], own)]
        if chosen and len(chosen) < len(known):
            break
    else:
        return list(entries)
    for path in chosen:
        headers.pop(path, None)
    shown = ", ".join(map(str, chosen[:3])) + (", ..." if len(chosen) > 3 else "")
    remarks.append(
        f"{shown} left out: pixelwise wrote {'it' if len(chosen) == 1 else 'them'}, as a map or as layers made of "
        "others (to read such a file as a layer, give its date in a CSV of path,date)"
    )
    log.warning(remarks[-1])
    return [entry for entry in entries if entry[0] in headers]


def _band_file(header: Header, band: BandHeader, spec: InputSpec, *, derived: bool) -> BandFile:
    """Return a band whose numbers mean what the file and the options say."""
    scale = band.scale if spec.scale is None else spec.scale
    offset = band.offset if spec.offset is None else spec.offset
    for name, number in (("scale", scale), ("offset", offset)):
        # Comparisons with NaN are false.
        if not abs(number) <= LARGEST_NUMBER or (name == "scale" and number == 0):
            raise InputError(
                f"{header.path}: band {band} declares {name} {number:g}, which makes no numbers of what is stored; "
                f"say what is right with --{name}"
            )
    return BandFile(
        header,
        band,
        scale=scale,
        offset=offset,
        nodata=spec.nodata if spec.nodata is not None else () if band.nodata is None else (band.nodata,),
        valid=EVERYTHING if derived else spec.valid_range or EVERYTHING,
        grid=header.grid,
    )


def _mask_file(header: Header, band: BandHeader, rule: MaskRule) -> BandFile:
    """Return a band of classes or bits, as they are stored.

    Where a rule says which values to drop, nodata is a value of which nothing is known, and is dropped too: a file of
    0 for clear and nodata 0 rejects everything, which is seen. Bits and values to keep say it all themselves.
    """
    nodata = () if band.nodata is None or rule.drop is None else (band.nodata,)
    return BandFile(header, band, 1.0, 0.0, nodata, EVERYTHING, header.grid)


def _stem(path: Path) -> str:
    shard = shard_of(path.name)
    return str(path if shard is None else path.parent / shard[0])


# ------------------------------------------------------------------------------------- bands and dates


def _expression_of(headers: Mapping[Path, Header], spec: InputSpec) -> Expression | None:
    if spec.value is None:
        return None
    first = next(iter(headers.values()), None)
    # Alpha is a band of a formula where that names it.
    bands = () if first is None else first.with_alpha_as_data().bands
    return expression_of(spec.value, [band.description for band in bands])


def _alpha_is_data(
    header: Header, spec: InputSpec, expression: Expression | None, table: _Table | None, *, dated: bool
) -> bool:
    """Whether what GDAL takes for alpha is named as a band, or dated like the others."""
    if not header.alpha:
        return False
    whole, numbers = header.with_alpha_as_data(), {band.index for band in header.alpha}
    named: list[tuple[Callable[[Header, Any], BandHeader], Any]]
    named = [(_band_named, name) for name in (expression.names if expression else ())]
    named += [(_band_of, name) for name in (spec.band, spec.mask_band) if name is not None]
    for find, name in named:
        try:
            if find(whole, name).index in numbers:
                return True
        except InputError:  # is told where bands are looked for
            pass
    bands = () if expression is not None or dated or table is _BROKEN else _bands_of(whole, spec.band)
    if len(bands) < 2 or not numbers.intersection(band.index for band in bands):
        return False
    try:
        return bool(_dates_of_bands(whole, bands, spec, table, dated=False))
    except InputError:
        return False


def _observations(
    entries: Sequence[Entry],
    headers: Mapping[Path, Header],
    spec: InputSpec,
    expression: Expression | None,
    problems: list[str],
) -> list[Observation]:
    single: list[tuple[Header, tuple[BandHeader, ...], Moment | None]] = []
    found: list[Observation] = []
    undated: list[str] = []
    table = _table_of(spec, problems)
    if table is _BROKEN:
        return []
    several: dict[Path, tuple[BandHeader, ...]] = {}
    if expression is None:
        chosen = {path: _bands_of(headers[path], spec.band) for path, _ in entries}
        several = {path: bands for path, bands in chosen.items() if len(bands) > 1}
    if table is not None and isinstance(table.dates, list) and len({_stem(path) for path in several}) > 1:
        first, *_, last = several
        problems.append(
            f"{spec.times}: dates without paths serve the bands of one file, but {first} and {last} both "
            "have several bands; a table of path,band,date is expected"
        )
        return []
    for path, date in entries:
        header = headers[path]
        try:
            if expression is not None:
                if len(header.bands) < 2 and len(expression.names) > 1:
                    raise InputError(
                        f"{path}: has one band, but the formula names {', '.join(expression.names)}; "
                        "--product says which files of a delivery are which bands"
                    )
                single.append((header, tuple(_band_named(header, name) for name in expression.names), date))
            elif path in several:
                bands = several[path]
                readings = _dates_of_bands(header, bands, spec, table, dated=date is not None)
                found += [
                    Observation((_band_file(header, band, spec, derived=False),), (), reading, _stem(path))
                    for band, reading in zip(bands, readings, strict=True)
                ]
            else:
                single.append((header, chosen[path] or (_band_of(header, spec.band),), date))
        except InputError as error:
            undated.extend(error.problems)
    problems.extend(shortened(undated))
    try:
        readings = _dates_of_files([(header, bands[0], date) for header, bands, date in single], spec, table)
    except InputError as error:
        problems.extend(error.problems)
    else:
        refused: list[str] = []
        for (header, bands, _), reading in zip(single, readings, strict=True):
            try:
                own = tuple(_band_file(header, band, spec, derived=expression is not None) for band in bands)
            except InputError as error:
                refused.extend(error.problems)
                continue
            found.append(Observation(own, (), reading, _stem(header.path)))
        problems.extend(shortened(refused))
    return found


def _band_named(header: Header, name: str) -> BandHeader:
    """Return the band that a formula names: by its description, or b1, b2, ... by its number."""
    if re.fullmatch("[bB][0-9]{1,9}", name):
        described = [band for band in header.bands if band.description.lower() == name.lower()]
        numbered = [band for band in header.bands if band.index == int(name[1:])]
        if numbered and not described:
            return numbered[0]
    return _band_of(header, name)


@dataclass(frozen=True)
class _Table:
    # A table of ``--times``, and what finds a file in it: its path as it is written there.
    source: str
    dates: Table
    name_of: Callable[[Path], str | None]


_BROKEN = _Table("", [], lambda path: None)


def _is_table(times: str) -> bool:
    """Whether ``--times`` names something that is there; what is no file is refused when it is read."""
    # os.path takes any text; is_file refuses a folder that may not be entered.
    return is_file(Path(times)) or (os.path.exists(times) and not os.path.isdir(times))  # noqa: PTH110, PTH112


def _table_of(spec: InputSpec, problems: list[str]) -> _Table | None:
    """Read ``--times FILE``; None where it is a format or absent, `_BROKEN` where it cannot be read."""
    if spec.times is None or not _is_table(spec.times):
        return None
    try:
        dates = read_table(Path(spec.times))
    except InputError as error:
        problems.extend(error.problems)
        return _BROKEN
    paths: list[str] = list(dates) if isinstance(dates, dict) else []
    if isinstance(dates, BandDates):
        paths = list(dict.fromkeys(path for path, _ in dates.by_band))
    return _Table(spec.times, dates, _finder(paths, Path(spec.times).parent))


def _finder(names: Sequence[str], folder: Path) -> Callable[[Path], str | None]:
    by_path = {os.path.realpath(folder / name): name for name in names}
    # A table may lie elsewhere than its files, but a name that it has twice settles nothing.
    often = Counter(Path(name).name for name in names)
    by_name = {Path(name).name: name for name in names if often[Path(name).name] == 1}
    return lambda path: by_path.get(os.path.realpath(path), by_name.get(path.name))


def _bands_of(header: Header, wanted: int | str | None) -> tuple[BandHeader, ...]:
    """Return the bands that are read: all, those whose names fit a pattern, or the one that is named."""
    if wanted is None:
        return header.bands
    if not _is_pattern(wanted):
        return ()
    named = [band for band in header.bands if band.description == wanted]
    fitting = [band for band in header.bands if fnmatchcase(band.description.lower(), str(wanted).lower())]
    return tuple(named or fitting)


def _is_pattern(wanted: int | str | None) -> bool:
    return isinstance(wanted, str) and any(character in wanted for character in "*?[")


def _dates_of_bands(
    header: Header, bands: Sequence[BandHeader], spec: InputSpec, table: _Table | None, *, dated: bool
) -> list[Reading]:
    """Date several bands of a file by a table, by the format of dates, or by their own descriptions."""
    path, count = header.path, len(bands)
    listed = ", ".join(str(band) for band in bands[:12]) + (", ..." if count > 12 else "")
    if table is not None and not isinstance(table.dates, dict):
        if isinstance(table.dates, list) and len(table.dates) != count:
            raise InputError(f"{path}: has {count} bands, but the table of dates has {len(table.dates)} lines")
        of_file = [(header, band) for band in bands]
        moments = table.dates if isinstance(table.dates, list) else _by_path_and_band(of_file, table)
        readings = [Reading(moment, "--times") for moment in moments]
        _check_dates(header, bands, readings)
        return readings
    if dated or (table is not None and table.name_of(path) is not None):
        raise InputError(
            f"{path}: has {count} bands ({listed}), but one date; choose one with --band N|NAME, or date all with a "
            "table of path,band,date (--times FILE)"
        )
    names = [band.description for band in bands]
    problem = ""
    if all(names):
        try:
            readings = _read(names, spec, "band")
        except InputError as error:
            problem = error.problems[0]
        else:
            _check_dates(header, bands, readings)
            return readings
    if problem and not problem.startswith("no date in"):
        raise InputError(f"{path}: {problem}")
    raise InputError(
        f"{path}: has {count} bands that are not dates ({listed}); choose one with --band N|NAME, several with "
        "--band 'NAME*', or date them with --times FILE (one date per line; path,band,date for several files)"
        + _alpha_note(header)
    )


def _check_dates(header: Header, bands: Sequence[BandHeader], readings: Sequence[Reading]) -> None:
    """Refuse bands of one file and date: two variables are no series, and which of two equal ones counts is open."""
    moment, times = Counter(reading.moment for reading in readings).most_common(1)[0]
    if times == 1:
        return
    same = [str(band) for band, reading in zip(bands, readings, strict=True) if reading.moment == moment]
    told = f"{header.path}: has {times} bands of the date {moment} ({', '.join(same[:NAMED])})"
    patterns: dict[str, list[Moment]] = {}
    for band, reading in zip(bands, readings, strict=True):
        if reading.text:
            # What glob would take for a pattern of its own is a character of the name.
            first, _, last = band.description.partition(reading.text)
            patterns.setdefault(f"{glob.escape(first)}*{glob.escape(last)}", []).append(reading.moment)
    if len(patterns) > 1 and all(len(set(moments)) == len(moments) for moments in patterns.values()):
        shown = " or ".join(f"--band '{pattern}'" for pattern in list(patterns)[:NAMED])
        more = f" (and {len(patterns) - NAMED} more)" if len(patterns) > NAMED else ""
        raise InputError(f"{told}: choose one variable with {shown}{more}")
    raise InputError(f"{told}: give each its own date with --times FILE (one date per line, or path,band,date)")


def _band_of(header: Header, wanted: int | str | None) -> BandHeader:
    if wanted is None:
        return header.bands[0]
    for band in header.bands:
        if wanted in (band.index, band.description):
            return band
    matches = [band for band in header.bands if str(wanted).lower() in (band.description.lower(), str(band.index))]
    if len(matches) == 1:
        return matches[0]
    names = [band.description or str(band.index) for band in header.bands]
    raise InputError(f"{header.path}: {unknown('band', str(wanted), names)}{_alpha_note(header)}")


def _alpha_note(header: Header) -> str:
    """Name bands that are not offered because GDAL takes them for alpha."""
    alpha = [str(band) for band in header.alpha if not header.alpha_is_data]
    return f"; band {', '.join(alpha)} is taken for alpha unless it is named" if alpha else ""


def _by_path_and_band(files: Sequence[tuple[Header, BandHeader]], table: _Table) -> list[Moment]:
    # A band is there by its number or by its description.
    assert isinstance(table.dates, BandDates)  # noqa: S101 - the caller looked
    by_band = table.dates.by_band
    given: list[Moment] = []
    missing = []
    for header, band in files:
        name = table.name_of(header.path) or ""
        moment = by_band.get((name, str(band.index))) or by_band.get((name, band.description))
        if moment is None:
            missing.append(f"{header.path}: band {band} is not in {table.source}; list it, or choose bands with --band")
        else:
            given.append(moment)
    if missing:
        raise InputError(*shortened(missing, "bands"))
    return given


def _dates_of_files(
    single: Sequence[tuple[Header, BandHeader, Moment | None]], spec: InputSpec, table: _Table | None
) -> list[Reading]:
    if not single:
        return []
    if table is not None and isinstance(table.dates, BandDates):
        given = _by_path_and_band([(header, band) for header, band, _ in single], table)
        return [Reading(moment, "--times") for moment in given]
    if table is not None and isinstance(table.dates, dict):
        written = [table.name_of(header.path) for header, _, _ in single]
        missing = [
            f"{header.path}: not in {table.source}"
            for (header, _, _), name in zip(single, written, strict=True)
            if name is None
        ]
        if missing:
            raise InputError(*shortened(missing))
        return [Reading(table.dates[name], "--times") for name in written if name is not None]
    if table is not None:
        raise InputError(
            f"{spec.times}: dates without paths serve the bands of one file; path,date is wanted for several files"
        )
    if _is_pattern(spec.band) and all(moment is None for _, _, moment in single):
        # One band of each fits the pattern: its own description dates it, where it can.
        described = [band.description for _, band, _ in single]
        try:
            return _read(described, spec, "band")
        except InputError:
            pass
    names = [header.path.as_posix() for header, _, moment in single if moment is None]
    read = iter(_read(names, spec, "file") if names else ())
    return [next(read) if moment is None else Reading(moment, "given") for _, _, moment in single]


def _read(names: Sequence[str], spec: InputSpec, what: Literal["file", "band"]) -> list[Reading]:
    # By the format that is given, else by what names look like: a table does not date all that is read.
    if spec.times is None or _is_table(spec.times):
        return read_names(names, what=what)
    return read_format(names, spec.times, what=what)


# ----------------------------------------------------------------------------------------------- sensors


def _sensors_by_number(
    paths: Sequence[Path], headers: Mapping[Path, Header], spec: InputSpec, expression: Expression | None
) -> str | None:
    """Say where one number or token of a band is another colour in another sensor.

    Landsat 5 has red in SR_B3 and Landsat 8 in SR_B4: a stack of all SR_B4 is near infrared at first, then red.
    """
    for name in products():
        product = load_product(name)
        matches = [(path, file) for path in paths if (file := product.match(path)) is not None]
        offsets = _offsets(product, [file for _, file in matches])
        if len(offsets) > 1 and spec.offset is None:
            listed = "; ".join(f"{offset:g} from baseline {baseline} on" for offset, baseline in offsets.items())
            return (
                f"the files are of several processing baselines, whose numbers do not mean the same (offset {listed}); "
                f"say what they are, with --product {name} --band NAME"
            )
        for wanted in expression.names if expression is not None else (spec.band,):
            listed = _colours(product, matches, headers, wanted, by_name=expression is not None)
            if listed:
                return (
                    f"the files are of several sensors, and one band number is not one colour: {listed}; "
                    f"name the band, with --product {name} --band NAME (or --value FORMULA)"
                )
    return None


def _offsets(product: Product, files: Sequence[SceneFile]) -> dict[float, str]:
    """Return the offsets of the files' bands, each with the earliest processing baseline that has it."""
    found: dict[float, str] = {}
    for file in sorted(files, key=lambda one: one.baseline or ""):
        rules = [product.band(file.sensor, name) for name in product.names(file.sensor)]
        rule = next((rule for rule in rules if file.band and rule.has(file.band)), None)
        if rule is not None and rule.later is not None and file.baseline is not None:
            offset = rule.offset_of(file.baseline)
            assert offset is not None  # noqa: S101 - the baseline is known
            found.setdefault(offset, file.baseline)
    return found


def product_of_bands(paths: Sequence[Path]) -> str | None:
    """Return the product of which files are several bands of one image, where they are."""
    for name in products():
        product = load_product(name)
        files = [product.match(path.absolute()) for path in paths]
        if all(file is not None for file in files) and len({file.band for file in files if file is not None}) > 1:
            return name
    return None


def _colours(
    product: Product,
    matches: Sequence[tuple[Path, SceneFile]],
    headers: Mapping[Path, Header],
    wanted: int | str | None,
    *,
    by_name: bool,
) -> str:
    """Say what a band is in each sensor, where that is not the same; nothing where it is."""
    colours: dict[str, set[str]] = {}
    example: dict[str, Path] = {}
    for path, file in matches:
        token = file.band or _description_of(headers[path], wanted, by_name=by_name)
        meant = {n for n in product.names(file.sensor) if token and product.band(file.sensor, n).has(token)}
        if meant:
            colours.setdefault(file.sensor, meant)
            example.setdefault(file.sensor, path)
    if len(colours) < 2 or set.intersection(*colours.values()):
        return ""
    return "; ".join(
        f"{'/'.join(sorted(colours[sensor]))} in {sensor} ({example[sensor].name})" for sensor in sorted(colours)
    )


def _description_of(header: Header, wanted: int | str | None, *, by_name: bool) -> str:
    try:
        if wanted is None:
            return ""
        band = _band_named(header, str(wanted)) if by_name else _band_of(header, wanted)
        return band.description
    except InputError:  # is told where bands are looked for
        return ""


# ------------------------------------------------------------------------------------------------- masks


def _with_own_masks(
    found: Sequence[Observation], wanted: int | str, rule: MaskRule, problems: list[str]
) -> list[Observation]:
    """Give each observation the mask that its own file has in a band."""
    refused: list[str] = []
    masked = []
    for observation in found:
        header = observation.header
        try:
            band = _band_of(header, wanted)
            _check_fit(rule, header, band)
        except InputError as error:
            refused.extend(error.problems)
            continue
        masked.append(replace(observation, masks=(_mask_file(header, band, rule),)))
    problems.extend(shortened(list(dict.fromkeys(refused))))
    return masked


def _check_fit(rule: MaskRule, header: Header, band: BandHeader) -> None:
    try:
        rule.check(band.dtype)
    except ParameterError as error:
        raise InputError(f"{header.path}: {error}") from None


def _keys_of(moment: Moment) -> tuple[Any, Any]:
    """Return what the mask of a moment is looked up by: the moment, or its day where only one knows the time."""
    day = moment.start.date()
    if moment.precision == "second":
        return ("second", moment.start), ("whole day", day)
    if moment.precision == "day":
        return ("whole day", day), ("day of a second", day)
    return (moment.precision, moment.start), None


def _covers(mask: Grid, image: Grid) -> bool:
    """Whether a mask lies upon all of an image, each of its pixels perhaps over several."""
    for zoom in ZOOMS:
        finer = mask.refined(zoom)
        if image.shares_lattice(finer):
            return image.place_of(finer).intersection(image.block) == image.block
    return False


def _with_masks(
    found: Sequence[Observation],
    spec: InputSpec,
    rule: MaskRule,
    headers: dict[Path, Header],
    problems: list[str],
    remarks: list[str],
) -> list[Observation]:
    """Give each observation the mask of its date."""
    assert spec.mask is not None  # noqa: S101 - the caller asked
    try:
        entries = resolve(spec.mask)
    except InputError as error:
        problems.extend(f"mask: {text}" for text in error.problems)
        return list(found)
    own = _read_headers([path for path, _ in entries], problems)
    entries = _without_own(entries, own, remarks)
    single = [(own[path], own[path].bands[0], date) for path, date in entries if path in own]
    table = _table_of(spec, [])
    try:
        for header, _, _ in single:
            if len(header.bands) > 1:
                raise InputError(f"{header.path}: has {len(header.bands)} bands; a mask of one band is wanted")
            _check_fit(rule, header, header.bands[0])
        readings = _dates_of_files(single, spec, None if table is None or isinstance(table.dates, list) else table)
    except InputError as error:
        problems.extend(f"mask: {text}" for text in error.problems)
        return list(found)
    dated: dict[Any, list[Header]] = defaultdict(list)
    for (header, _, _), reading in zip(single, readings, strict=True):
        moment = reading.moment
        dated[_keys_of(moment)[0]].append(header)
        if moment.precision == "second":
            dated["day of a second", moment.start.date()].append(header)
    masked, refused = [], []
    for observation in found:
        moment = observation.reading.moment
        exact, other = _keys_of(moment)
        candidates = dated.get(exact) or dated.get(other, [])
        if len(candidates) > 1:
            candidates = [mask for mask in candidates if _covers(mask.grid, observation.grid)] or candidates
        if len(candidates) == 1:
            header = candidates[0]
            headers[header.path] = header
            masked.append(replace(observation, masks=(_mask_file(header, header.bands[0], rule),)))
        elif candidates:
            names = ", ".join(str(mask.path) for mask in candidates[:NAMED])
            refused.append(f"{observation.header.path}: several masks have its date {moment}: {names}")
        else:
            refused.append(
                f"{observation.header.path}: none of {len(single)} masks has its date {moment}; "
                "leave the image out, or give its mask"
            )
    problems.extend(shortened(refused))
    return masked


# ---------------------------------------------------------------------------------------------- products


@dataclass(frozen=True)
class _Delivered:
    """A file of a product."""

    path: Path
    file: SceneFile
    date: Moment | None


def _of_product(
    entries: Sequence[Entry], spec: InputSpec, product: Product, problems: list[str], remarks: list[str]
) -> Findings:
    matches = [
        _Delivered(path, file, date) for path, date in entries if (file := product.match(path.absolute())) is not None
    ]
    if not matches:
        names = ", ".join(str(path) for path, _ in entries[:3]) + (", ..." if len(entries) > 3 else "")
        problems.append(f"none of {len(entries)} files is named as files of {product.name} are: {names}")
        return Findings((), Derivation(), {})
    unmatched = sorted({path for path, _ in entries} - {one.path for one in matches})
    rasters = [str(path) for path in unmatched if path.suffix.lower() in RASTER_SUFFIXES]
    if rasters:
        shown = ", ".join(rasters[:3]) + (", ..." if len(rasters) > 3 else "")
        remarks.append(f"{len(rasters)} files are not named as files of {product.name} are, and are left out: {shown}")
        log.warning(remarks[-1])
    first = matches[0].file.sensor
    expression, wanted = _wanted_of(spec, product, first)
    own = _own_quality(spec)
    qualities = _qualities_of(spec, product) if own is None else []
    scenes: dict[tuple[str, tuple[int, int]], list[_Delivered]] = defaultdict(list)
    for one in matches:
        shard = shard_of(one.path.name)
        scenes[one.file.scene, shard[1:] if shard else (0, 0)].append(one)
    headers: dict[Path, Header] = {}
    found: list[Observation] = []
    refused: list[str] = []
    for (scene, _), files in sorted(scenes.items()):
        try:
            found.append(_of_scene(scene, files, product, wanted, qualities, expression, spec, headers))
        except InputError as error:
            refused.extend(error.problems)
    problems.extend(shortened(refused, "images"))
    if own is not None:
        found = _with_masks(found, spec, own.rule, headers, problems, remarks)
    else:
        # What no image was delivered with is not said to be used.
        present = [any(one.masks[index] is not None for one in found) for index in range(len(qualities))]
        qualities = [quality for quality, there in zip(qualities, present, strict=True) if there]
        found = [replace(one, masks=tuple(compress(one.masks, present))) for one in found]
    derivation = Derivation(
        names=tuple(wanted) if expression else (),
        expression=expression,
        qualities=tuple(quality for _, quality, _ in qualities) if own is None else (own,),
        grow=spec.grow,
        valid=spec.valid_range or EVERYTHING if expression else EVERYTHING,
        product=f"{product.name} version {product.version} ({product.source})",
        families=_families(product),
    )
    return Findings(tuple(found), derivation, headers, tuple(remarks))


def _families(product: Product) -> tuple[tuple[str, ...], ...]:
    """Return groups of sensors whose bands have the same rules."""
    groups: list[list[str]] = []
    for sensor, rules in product.bands.items():
        known = next((group for group in groups if product.bands[group[0]] == rules), None)
        if known is None:
            groups.append([sensor])
        else:
            known.append(sensor)
    return tuple(map(tuple, groups))


def _wanted_of(spec: InputSpec, product: Product, sensor: str) -> tuple[Expression | None, tuple[str, ...]]:
    """Return the formula, and the names of the bands that are wanted."""
    known = product.names(sensor)
    if spec.value is None and spec.band is None:
        raise ParameterError(
            f"product {product.name} has several bands: choose --band NAME or --value FORMULA ({', '.join(known)})"
        )
    if spec.value is None:
        if isinstance(spec.band, int):
            raise ParameterError(
                f"band {spec.band} of {product.name} is not one colour in all sensors: name it ({', '.join(known)})"
            )
        return None, (str(spec.band),)
    expression = expression_of(spec.value, known)
    expression.check(known)
    # A formula that is one band's name needs no arithmetic, and keeps the type of the files.
    return (None, expression.names) if expression.text in known else (expression, expression.names)


def _qualities_of(spec: InputSpec, product: Product) -> list[tuple[tuple[str, ...], Quality, bool]]:
    """Return tokens, rule and necessity of each quality band that is used."""
    if spec.mask == "none":
        return []
    own = spec.mask_rule
    found = []
    for index, quality in enumerate(product.quality):
        if own is not None and index == 0:
            found.append((quality.tokens, Quality(quality.tokens[0], own, spec.mask_words), True))
        else:
            preset = load_preset(quality.preset)
            label = f"{preset.name} version {preset.version} ({preset.source})"
            found.append((quality.tokens, Quality(quality.tokens[0], preset.rule, label), quality.required))
    return found


def _of_scene(
    scene: str,
    files: Sequence[_Delivered],
    product: Product,
    wanted: Sequence[str],
    qualities: Sequence[tuple[tuple[str, ...], Quality, bool]],
    expression: Expression | None,
    spec: InputSpec,
    headers: dict[Path, Header],
) -> Observation:
    """Find the bands and the quality bands of one image.

    Raises
    ------
    InputError
        When one is missing or there twice, or its baseline is unknown.
    """
    file = files[0].file
    rules = {name: product.band(file.sensor, name) for name in wanted}
    chosen = _finest([_files_of(rule, files) for rule in rules.values()], scene, list(rules))
    bands = []
    for (name, rule), one in zip(rules.items(), chosen, strict=True):
        header, band = _opened(one, rule.tokens, headers)
        if band is None:
            raise InputError(f"{one.path}: has no band {' or '.join(rule.tokens)} for {name}")
        offset = rule.offset_of(one.file.baseline) if spec.offset is None else spec.offset
        if offset is None:
            raise InputError(
                f"{one.path}: its path does not tell the processing baseline, on which the offset of {product.name} "
                "depends; keep files in their folders, or give --offset (-0.1 from baseline 04.00 on, else 0)"
            )
        bands.append(_band_by_rule(header, band, rule, offset, spec, derived=expression is not None))
    masks: list[BandFile | None] = []
    for tokens, quality, required in qualities:
        rule = BandRule(tokens)
        size = chosen[0].file.resolution or 0
        # Of the bands' own resolution, else the next coarser one: a mask can cover several pixels, not parts of one.
        candidates = sorted(
            _files_of(rule, files),
            key=lambda one: ((one.file.resolution or 0) < size, one.file.resolution or 0, str(one.path)),
        )
        found = [(h, b) for one in candidates for h, b in [_opened(one, tokens, headers)] if b is not None]
        if found:
            header, band = found[0]
            _check_fit(quality.rule, header, band)
            masks.append(_mask_file(header, band, quality.rule))
        elif required:
            raise InputError(
                f"{scene}: has no {' or '.join(tokens)}, which says what is cloudy; deliver it too, or take all pixels "
                "with --mask none"
            )
        else:
            masks.append(None)
    # All that was acquired in one pass of a day is of one date, whatever the second.
    day = file.moment.start.replace(hour=0, minute=0, second=0)
    moment = files[0].date or Moment(day, "day", day)
    return Observation(tuple(bands), tuple(masks), Reading(moment, product.name), scene, file.sensor)


def _files_of(rule: BandRule, files: Sequence[_Delivered]) -> list[_Delivered]:
    """Return the files that hold a band, or may hold it among others."""
    return [one for one in files if one.file.band is None or rule.has(one.file.band)]


def _finest(candidates: Sequence[Sequence[_Delivered]], scene: str, names: Sequence[str]) -> list[_Delivered]:
    """Choose one file for each band: of the finest resolution that all of them have."""
    for files, name in zip(candidates, names, strict=True):
        if not files:
            raise InputError(f"{scene}: has no file of {name}")
    shared = set.intersection(*({one.file.resolution or 0 for one in files} for files in candidates))
    if not shared:
        listed = "; ".join(
            f"{name} at {', '.join(str(r) for r in sorted({one.file.resolution or 0 for one in files}))} m"
            for files, name in zip(candidates, names, strict=True)
        )
        raise InputError(f"{scene}: its bands have no resolution in common: {listed}")
    chosen = []
    for files, name in zip(candidates, names, strict=True):
        own = [one for one in files if (one.file.resolution or 0) == min(shared)]
        if len(own) > 1:
            raise InputError(f"{scene}: has {name} twice: {own[0].path}, {own[1].path}")
        chosen.append(own[0])
    return chosen


def _opened(one: _Delivered, tokens: Sequence[str], headers: dict[Path, Header]) -> tuple[Header, BandHeader | None]:
    """Read a file's header; return the band that a token stands for, where it has one."""
    if one.path not in headers:
        headers[one.path] = read_header(one.path)
    header = headers[one.path]
    if one.file.band is not None:
        return header, header.bands[0]
    rule = BandRule(tuple(tokens))
    return header, next((band for band in header.bands if rule.has(band.description)), None)


def _band_by_rule(
    header: Header, band: BandHeader, rule: BandRule, offset: float, spec: InputSpec, *, derived: bool
) -> BandFile:
    """Return a band whose numbers mean what the product and the options say."""
    scale = rule.scale if spec.scale is None else spec.scale
    low, high = EVERYTHING
    if rule.valid is not None:
        # Half a step of whole numbers beyond, so that no rounding decides about the limits themselves.
        slack = 0.5 if np.dtype(band.dtype).kind in "iu" else 0.0
        ends = [value * scale + offset for value in (rule.valid[0] - slack, rule.valid[1] + slack)]
        low, high = min(ends), max(ends)
    if spec.valid_range is not None and not derived:
        low, high = max(low, spec.valid_range[0]), min(high, spec.valid_range[1])
    nodata = rule.nodata if spec.nodata is None else spec.nodata
    return BandFile(header, band, scale, offset, nodata, (low, high), header.grid)
