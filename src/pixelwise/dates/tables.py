"""Dates as people write them in tables and options."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pixelwise.dates.axis import Moment
from pixelwise.dates.rules import DATE_RULES, last_instant, moment_of
from pixelwise.errors import InputError, ParameterError
from pixelwise.regular_files import read_text
from pixelwise.words import SHOWN, count, show

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["BandDates", "Table", "parse_date", "read_range", "read_table", "rows_of"]

ACCEPTED: Final = (
    "2001, 2001-03, 2001-Q1, 2001-03-D1 for a dekad, 2001-W05 for an ISO week, 2001-03-05, 20010305, 2001-064 or "
    "2001-03-05T10:00:08"
)

FILE_COLUMNS: Final = ("path", "file", "filename", "name")

BAND_COLUMNS: Final = ("band", "bands")

DATE_COLUMNS: Final = ("date", "dates", "time", "datetime")


def _match_date(text: str) -> tuple[re.Match[str], Moment]:
    for rule in DATE_RULES:
        match = rule.pattern.fullmatch(text.strip())
        if match:
            try:
                moment = moment_of(match)
            except ValueError as error:
                raise ParameterError(f"{show(text)!r} is not a date: {error}") from None
            if moment:
                return match, moment
    hint = "; write 2001-03 for a month" if re.fullmatch(r"\d{6}", text.strip()) else ""
    raise ParameterError(
        f"cannot read {show(text)!r} as a date (accepted: {ACCEPTED}, in UTC unless an offset such as +02:00 follows)"
        + hint
    )


def parse_date(text: str) -> Moment:
    """Read one date as people write it in a table: ISO 8601 or parts of it.

    Parameters
    ----------
    text
        ``2001``, ``2001-03``, ``2001-Q1``, ``2001-03-D1`` (dekad), ``2001-03-P4`` (pentad), ``2001-W05`` (ISO week),
        ``2001-03-05``, ``2001/03/05``, ``20010305``, ``2001-064`` or ``2001-03-05T10:00:08``. A time is in UTC, or is
        converted using the offset that follows it: ``Z``, ``+02:00``, ``-0700``.

    Returns
    -------
    Moment
        The date, as precise as it is written.

    Raises
    ------
    ParameterError
        For anything else, such as six digits (a year and month, or a short date?).
    """
    return _match_date(text)[1]


def read_range(text: str) -> tuple[datetime, datetime]:
    """Return the first and last instant of a date, for ``--start`` and ``--end``.

    Parameters
    ----------
    text
        A date as `parse_date` reads it.

    Returns
    -------
    tuple of datetime
        1990-01-01 00:00:00 and 1990-12-31 23:59:59 for ``1990``.
    """
    match, moment = _match_date(text)
    last = last_instant(moment)
    if match.groupdict().get("minute") and not match["second"]:
        last += timedelta(seconds=59)
    return moment.start, last


@dataclass(frozen=True, slots=True)
class BandDates:
    """Dates by path, and number or description of the band, as written in the table."""

    by_band: Mapping[tuple[str, str], Moment]


Table = list[Moment] | dict[str, Moment] | BandDates


def read_table(path: str | os.PathLike[str], content: str | None = None) -> Table:
    """Read the dates of layers from a text file.

    Parameters
    ----------
    content
        The text, if it was read already.
    path
        One date per line, or a CSV of ``path,date``. With a header that names them, the columns may be in any order and
        among others, and ``band`` may be one of them: ``path,band,date``. Blank lines and lines that begin with # are
        skipped.

    Returns
    -------
    list of Moment, dict of str to Moment, or BandDates
        The dates in the order of the lines, by path, or by path and band.

    Raises
    ------
    InputError
        When the file or some of its lines cannot be read; each line is reported.
    """
    rows = rows_of(path, read_text(Path(path)) if content is None else content, "dates")
    if not rows:
        raise InputError(f"{show(str(path))}: no dates in it")
    number, first = rows[0]
    header = [cell.lower() for cell in first]
    file_column, date_column = _column(header, FILE_COLUMNS), _column(header, DATE_COLUMNS)
    band_column = _column(header, BAND_COLUMNS) if date_column is not None else None
    if date_column is not None:
        del rows[0]
    elif len(header) == 1:
        date_column = 0
    else:
        file_column, date_column = 0, 1
    if len(header) > 1 and (file_column is None or (len(header) > 2 and rows and rows[0][0] == number)):
        raise InputError(
            f"{show(str(path))}, line {number}: {len(header)} columns, but no header with path and date "
            "(or path, band and date)"
        )
    return _dates_of_rows(path, rows, (file_column, band_column, date_column), len(header))


def rows_of(path: str | os.PathLike[str], text: str, what: str) -> list[tuple[int, list[str]]]:
    """Return (line number, cells) of the lines of a table that are neither blank nor comments.

    Parameters
    ----------
    path, text
        The table, and its content; cells are separated by the first of comma, semicolon and tab that its first line
        holds.
    what
        What it is a table of, for errors.

    Raises
    ------
    InputError
        When a line cannot be divided into cells.
    """
    lines = text.splitlines()
    content = [
        (number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.lstrip().startswith("#")
    ]
    # Spreadsheets write semicolons where the comma is the decimal point.
    first = content[0][1] if content else ""
    delimiter = next((mark for mark in ",;\t" if mark in first), ",")
    rows = []
    for number, line in content:
        try:
            rows.append((number, [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]))
        except csv.Error as error:  # a cell of more than 131 072 characters
            raise InputError(
                f"{show(str(path))}, line {number}: cannot be read as a table of {what}: {error}"
            ) from None
    return rows


def _column(header: Sequence[str], names: Sequence[str]) -> int | None:
    """Return the first column that has one of the names."""
    return next((index for index, cell in enumerate(header) if cell in names), None)


def _dates_of_rows(
    table: str | os.PathLike[str],
    rows: Iterable[tuple[int, list[str]]],
    columns: tuple[int | None, int | None, int],
    width: int,
) -> Table:
    file_column, band_column, date_column = columns
    problems: list[str] = []
    moments: list[Moment] = []
    by_path: dict[str, Moment] = {}
    by_band: dict[tuple[str, str], Moment] = {}
    for number, cells in rows:
        where = f"{show(str(table))}, line {number}"
        if len(cells) != width:
            problems.append(f"{where}: {count(cells, 'column')}, but {width} in the first line")
            continue
        try:
            moments.append(parse_date(cells[date_column]))
        except ParameterError as error:
            problems.append(f"{where}: {error}")
            continue
        if file_column is None:
            continue
        path, band = cells[file_column], cells[band_column] if band_column is not None else ""
        # The query of a URL may be a credential.
        name = show(path.partition("?")[0] if "://" in path else path)
        words = f"{name}, band {show(band)}," if band_column is not None else name
        if not path or (band_column is not None and not band):
            problems.append(f"{where}: no {'path' if not path else 'band'}")
        elif path in by_path if band_column is None else (path, band) in by_band:
            problems.append(f"{where}: {words} occurs twice")
        if band_column is None:
            by_path[path] = moments[-1]
        else:
            by_band[path, band] = moments[-1]
    if problems:
        more = [f"{show(str(table))}: {len(problems) - SHOWN} more lines like these"] if len(problems) > SHOWN else []
        raise InputError(*problems[:SHOWN], *more)
    if not moments:
        raise InputError(f"{show(str(table))}: no dates in it")
    if file_column is None:
        return moments
    return by_path if band_column is None else BandDates(by_band)
