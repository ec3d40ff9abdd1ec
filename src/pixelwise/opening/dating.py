"""Date files and bands: by tables, by a format, or by their names."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pixelwise.dates.axis import Moment
from pixelwise.dates.formats import read_format
from pixelwise.dates.names import read_names
from pixelwise.dates.rules import Reading
from pixelwise.dates.tables import BandDates, Table, read_table
from pixelwise.errors import InputError, Problems
from pixelwise.opening.sensors import alpha_note
from pixelwise.rasters.headers import BandHeader, Header
from pixelwise.rasters.urls import Location, Url, is_url
from pixelwise.regular_files import is_file
from pixelwise.words import NAMED, shortened

__all__ = ["BROKEN", "DateTable", "dates_of_bands", "dates_of_files", "finder", "is_pattern", "place_named", "table_of"]


@dataclass(frozen=True)
class DateTable:
    """A table given as ``--times``, and a function that returns a file's path as written in it."""

    source: str
    dates: Table
    name_of: Callable[[Location], str | None]


BROKEN = DateTable("", [], lambda path: None)


def _is_table(times: str) -> bool:
    """Whether ``--times`` names something that exists; unless it is a regular file, reading it fails."""
    # os.path accepts any string; is_file refuses a folder that may not be entered.
    return is_file(Path(times)) or (os.path.exists(times) and not os.path.isdir(times))  # noqa: PTH110, PTH112


def table_of(times: str | None, problems: Problems) -> DateTable | None:
    """Read ``--times FILE``; None if it is a format or absent, `BROKEN` if it cannot be read."""
    if times is None or not _is_table(times):
        return None
    with problems.caught() as failure:
        dates = read_table(Path(times))
    if failure:
        return BROKEN
    paths: list[str] = list(dates) if isinstance(dates, dict) else []
    if isinstance(dates, BandDates):
        paths = list(dict.fromkeys(path for path, _ in dates.by_band))
    return DateTable(times, dates, finder(paths, Path(times).parent))


def finder(names: Sequence[str], folder: Path) -> Callable[[Location], str | None]:
    """Return a function that finds a file among those that a table names.

    Parameters
    ----------
    names
        Files as written in the table: relative to its folder, absolute, or URLs.
    folder
        The folder of the table.

    Returns
    -------
    callable
        It returns a file's name as written in the table; None if it is not there.
    """
    by_path = {place_named(name, folder): name for name in names}
    # A table may be in another folder than its files, and one of dates serves images and their masks, which have the
    # same names in two folders; a name that occurs in it twice is ambiguous.
    often = Counter(Path(name).name for name in names)
    by_name = {Path(name).name: name for name in names if often[Path(name).name] == 1}

    def find(path: Location) -> str | None:
        place = str(path) if isinstance(path, Url) else os.path.realpath(path)
        return by_path.get(place, by_name.get(path.name))

    return find


def place_named(name: str, folder: Path) -> str:
    """Return which file a table in a folder names: a path without links, or a URL without its query."""
    return name.partition("?")[0] if is_url(name) else os.path.realpath(folder / name)


def is_pattern(wanted: int | str | None) -> bool:
    """Whether bands are selected by a pattern of names."""
    return isinstance(wanted, str) and any(character in wanted for character in "*?[")


def dates_of_bands(
    header: Header, bands: Sequence[BandHeader], times: str | None, table: DateTable | None, *, dated: bool
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
            readings = _read(names, times, "band")
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
        + alpha_note(header)
    )


def _check_dates(header: Header, bands: Sequence[BandHeader], readings: Sequence[Reading]) -> None:
    """Refuse bands of one file with the same date: they are two variables, or it is unclear which one counts."""
    moment, times = Counter(reading.moment for reading in readings).most_common(1)[0]
    if times == 1:
        return
    same = [str(band) for band, reading in zip(bands, readings, strict=True) if reading.moment == moment]
    problem = f"{header.path}: has {times} bands with the date {moment} ({', '.join(same[:NAMED])})"
    patterns: dict[str, list[Moment]] = {}
    for band, reading in zip(bands, readings, strict=True):
        if reading.text:
            # Characters that have a meaning in patterns are part of the name here.
            first, _, last = band.description.partition(reading.text)
            patterns.setdefault(f"{glob.escape(first)}*{glob.escape(last)}", []).append(reading.moment)
    if len(patterns) > 1 and all(len(set(moments)) == len(moments) for moments in patterns.values()):
        shown = " or ".join(f"--band '{pattern}'" for pattern in list(patterns)[:NAMED])
        more = f" (and {len(patterns) - NAMED} more)" if len(patterns) > NAMED else ""
        raise InputError(f"{problem}: choose one variable with {shown}{more}")
    raise InputError(f"{problem}: give each its own date with --times FILE (one date per line, or path,band,date)")


def _by_path_and_band(files: Sequence[tuple[Header, BandHeader]], table: DateTable) -> list[Moment]:
    # The table has a band's number or its description.
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


def dates_of_files(
    single: Sequence[tuple[Header, BandHeader, Moment | None]],
    times: str | None,
    table: DateTable | None,
    *,
    described: bool,
) -> list[Reading]:
    """Return the date of each file with a single band, by a table, a format, or the files' names.

    Parameters
    ----------
    single
        File, band, and the date given for it in the input.
    times, table
        The option, and its table if it names one.
    described
        Whether to date bands by their descriptions, if possible.
    """
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
            f"{times}: dates without paths are for the bands of one file; expected path,date for several files"
        )
    if described and all(moment is None for _, _, moment in single):
        descriptions = [band.description for _, band, _ in single]
        try:
            return _read(descriptions, times, "band")
        except InputError:
            pass
    names = [header.path.as_posix() for header, _, moment in single if moment is None]
    read = iter(_read(names, times, "file") if names else ())
    return [next(read) if moment is None else Reading(moment, "given") for _, _, moment in single]


def _read(names: Sequence[str], times: str | None, what: Literal["file", "band"]) -> list[Reading]:
    # By the given format, else by recognizing dates: a table does not date everything that is read.
    if times is None or _is_table(times):
        return read_names(names, what=what)
    return read_format(names, times, what=what)
