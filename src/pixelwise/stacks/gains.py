"""Gains and offsets that make scenes comparable: a table with a row for each band of each file."""

from __future__ import annotations

import csv
import hashlib
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from pixelwise.dates.tables import rows_of
from pixelwise.errors import InputError
from pixelwise.regular_files import read_bytes, text_of
from pixelwise.words import SHOWN, count, show, shown

__all__ = ["COLUMNS", "AppliedGains", "Gain", "GainFlag", "Gains", "read_gains", "said_of"]

#: What is said about a scene's gains: fewer than 10 000 pixels; no convergence; hardly any unchanged pixels; a standard
#: error of more than 5 %; a gain outside 0.5 to 2; one band, so that change and gain cannot be distinguished; values
#: that end at the largest or smallest that a band has; no gains at all, for lack of pixels, say.
GainFlag = Literal["few", "not_converged", "little_unchanged", "uncertain", "far", "one_band", "saturated", "refused"]


@dataclass(frozen=True, slots=True)
class Gain:
    """The line that makes one band of one file comparable with the reference: ``gain * value + offset``.

    Attributes
    ----------
    path
        The file as the table names it: relative to the table's folder, absolute, or a URL.
    date
        When it was observed, in ISO 8601.
    sensor
        Its code in the product; empty if there is none.
    band
        What the product, or the file, calls the band.
    gain, offset
        The line; the offset has the unit of the values (after scale and offset of the file). NaN if `refused`.
    gain_se, offset_se
        Their standard errors; NaN where unknown.
    n
        Pixels that both scene and reference have.
    mean_weight
        Mean probability, over these pixels, that nothing changed; 0 to 1.
    iterations
        Rounds until the weights converged; 0 if none were needed.
    rmse_before, rmse_after
        Root of the mean squared difference from the reference over unchanged pixels, without and with the line.
    level
        Mean of the reference over unchanged pixels.
    flags
        Doubts about it.
    reference, method
        With what it was compared, and how.

    Raises
    ------
    ValueError
        When a number is impossible.
    """

    path: str
    date: str
    sensor: str
    band: str
    gain: float
    offset: float
    gain_se: float = math.nan
    offset_se: float = math.nan
    n: int = 0
    mean_weight: float = math.nan
    iterations: int = 0
    rmse_before: float = math.nan
    rmse_after: float = math.nan
    level: float = math.nan
    flags: tuple[GainFlag, ...] = ()
    reference: str = ""
    method: str = ""

    def __post_init__(self) -> None:
        for name in ("path", "date", "band"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty")
        for flag in self.flags:
            if flag not in get_args(GainFlag):
                raise ValueError(f"flag {shown(flag)} is unknown: expected {', '.join(get_args(GainFlag))}")
        if self.refused:
            return
        if not (math.isfinite(self.gain) and self.gain > 0):
            raise ValueError(f"gain {self.gain:g} is impossible: expected a number above 0")
        if not math.isfinite(self.offset):
            raise ValueError(f"offset {self.offset:g} is not a number")

    @property
    def refused(self) -> bool:
        """Whether there is no line, so that its scene cannot be kept."""
        return "refused" in self.flags

    @property
    def doubtful(self) -> bool:
        """Whether its scene is left out unless the user keeps it: it has a flag other than ``few``."""
        return any(flag != "few" for flag in self.flags)


#: The columns of a table; `flags` is written as ``flag``, with spaces between several.
COLUMNS = tuple("flag" if column.name == "flags" else column.name for column in fields(Gain))
#: Those that every table has, and those that hold numbers, or whole numbers.
REQUIRED = ("path", "date", "band", "gain", "offset")
NUMBERS = tuple(column.name for column in fields(Gain) if column.type == "float")
COUNTS = tuple(column.name for column in fields(Gain) if column.type == "int")
#: How a date begins in ISO 8601. Spreadsheets like to write others, which no layer would have.
ISO_DATE = re.compile(r"\d{4}(-\d\d(-\d\d([T ][\d:.]+)?)?)?")


@dataclass(frozen=True)
class Gains:
    """All rows of a table, in its order.

    Attributes
    ----------
    rows
        One for each band of each file.
    sha256
        Of the file that it was read from, in hexadecimal; empty for a table that was not read from a file.

    Raises
    ------
    InputError
        When a file, date and band occur twice, or there are no rows.
    """

    rows: tuple[Gain, ...]
    sha256: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not self.rows:
            raise InputError("the table of gains has no rows")
        seen: set[tuple[str, str, str]] = set()
        for row in self.rows:
            key = row.path, row.date, row.band
            if key in seen:
                raise InputError(f"{show(row.path)}, band {show(row.band)}, {row.date} occurs twice; delete one row")
            seen.add(key)

    @cached_property
    def bands(self) -> tuple[str, ...]:
        """The bands, in the order of their first rows."""
        return tuple(dict.fromkeys(row.band for row in self.rows))

    def of_band(self, band: str) -> tuple[Gain, ...]:
        """Return the rows of a band."""
        return tuple(row for row in self.rows if row.band == band)

    def as_csv(self) -> str:
        """Return the table as text, each number as short as it can be read back without loss."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([_cell(getattr(row, column.name)) for column in fields(Gain)] for row in self.rows)
        return text.getvalue()


@dataclass(frozen=True)
class AppliedGains:
    """Which gains the scenes of a stack were read with.

    Attributes
    ----------
    table
        The table; None for a preset.
    preset
        The name of the preset; empty for a table.
    sha256
        Of the file that has them, in hexadecimal.
    scenes
        Number of scenes that are read with gains.
    left_out
        Number of scenes that are left out because of flags.
    kept
        Number of scenes that are used in spite of flags.
    rows
        Those rows of the table with which the scenes are read; none of a preset.
    unchanged
        Number of scenes that are read as they are, since a preset has gains of 1 for their sensor.
    """

    table: Path | None
    preset: str
    sha256: str
    scenes: int
    left_out: int = 0
    kept: int = 0
    rows: tuple[Gain, ...] = field(default=(), repr=False, compare=False)  # `sha256` tells tables apart
    unchanged: int = 0

    def __str__(self) -> str:
        changed = f"{self.scenes - self.unchanged} of " * bool(self.unchanged)
        words = [f"{self.table or self.preset}: {changed}{self.scenes} scene{'s' * (self.scenes != 1)}"]
        words += [f"{self.kept} of them flagged"] * bool(self.kept)
        words += [f"{self.left_out} more flagged and left out"] * bool(self.left_out)
        return ", ".join(words)

    def describe(self, name: str) -> dict[str, Any]:
        """Return what provenance records; `name` is the table's path from the map's folder."""
        source = {"preset": self.preset} if self.table is None else {"path": name}
        found = {"method": said_of(self.rows, "method"), "reference": said_of(self.rows, "reference")}
        return {
            **source,
            **{name: text for name, text in found.items() if text},
            "sha256": self.sha256,
            "scenes": self.scenes,
            "left_out": self.left_out,
            "kept": self.kept,
            **({"unchanged": self.unchanged} if self.unchanged else {}),
        }


def said_of(rows: Sequence[Gain], column: Literal["reference", "method"]) -> str:
    """Return what all rows say of how gains were found; what those of each sensor say, if sensors were compared.

    Returns
    -------
    str
        Empty where rows say nothing, or different things.
    """
    said = list(dict.fromkeys(text for row in rows if (text := getattr(row, column))))
    # The newest sensor is its own reference, as the rows of others say as well: LC08, and LC08, 11 pairs.
    more = [text for text in said if not any(other.startswith(f"{text}, ") for other in said)]
    if len(more) < 2:
        return "".join(more)
    sensors: dict[str, set[str]] = {}
    for row in rows:
        sensors.setdefault(row.sensor, set()).add(getattr(row, column))
    if any(len(texts) > 1 for texts in sensors.values()):
        return ""
    return "; ".join(f"{code}: {text}" for code, texts in sensors.items() for text in texts if text in more)


def read_gains(path: str | Path) -> Gains:
    """Read a table of gains.

    Parameters
    ----------
    path
        A CSV file as `Gains.as_csv` writes it, or one of your own: its first line names the columns, of which path,
        date, band, gain and offset must be there, in any order. Columns of other names, blank lines and lines that
        begin with # are skipped. Cells may be separated by semicolons, and numbers have decimal commas then.

    Raises
    ------
    InputError
        When the file or some of its lines cannot be read; each line is reported.
    """
    path = Path(path)
    content = read_bytes(path, "gains")
    rows = rows_of(path, text_of(content, f"gains {path}"), "gains")
    if not rows:
        raise InputError(f"gains {show(str(path))}: is empty; expected a line with the names of columns")
    (_, header), *lines = rows
    places = _places([cell.lower() for cell in header], f"gains {show(str(path))}, line {rows[0][0]}")
    found: list[Gain] = []
    problems: list[str] = []
    seen: dict[tuple[str, str, str], int] = {}
    for number, cells in lines:
        where = f"gains {show(str(path))}, line {number}"
        if len(cells) != len(header):
            problems.append(f"{where}: {count(cells, 'column')}, but {len(header)} in the first line")
            continue
        try:
            row = _gain_of({name: cells[place] for name, place in places.items()})
        except ValueError as error:
            problems.append(f"{where}: {error}")
            continue
        first = seen.setdefault((row.path, row.date, row.band), number)
        if first != number:
            problems.append(
                f"{where}: {show(row.path)}, band {show(row.band)}, {row.date} occurs twice, first in line {first}; "
                "delete one of them"
            )
        found.append(row)
    if problems:
        more = [f"gains {show(str(path))}: {len(problems) - SHOWN} more lines like these"]
        raise InputError(*problems[:SHOWN], *more * (len(problems) > SHOWN))
    if not found:
        raise InputError(f"gains {show(str(path))}: has no lines below the names of its columns")
    return Gains(tuple(found), hashlib.sha256(content).hexdigest())


def _places(header: Sequence[str], where: str) -> dict[str, int]:
    """Return the number of each known column.

    Raises
    ------
    InputError
        When one that must be there is missing, or one occurs twice, or seems to be misspelt.
    """
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise InputError(
            f"{where}: no column {' and no column '.join(missing)}; expected {', '.join(REQUIRED)} and, as far as they "
            f"are known, {', '.join(name for name in COLUMNS if name not in REQUIRED)}"
        )
    absent = [name for name in COLUMNS if name not in header]
    for name in header:
        if header.count(name) > 1 and name in COLUMNS:
            raise InputError(f"{where}: two columns have the name {name}; delete one of them")
        # A misspelt flag would let doubtful scenes in.
        close = [] if name in COLUMNS or len(name) > 20 else get_close_matches(name, absent, n=1, cutoff=0.8)
        if close:
            raise InputError(f"{where}: unknown column {show(name)}; did you mean {close[0]}?")
    return {name: header.index(name) for name in COLUMNS if name in header}


def _gain_of(cells: Mapping[str, str]) -> Gain:
    """Return the row of a line's cells; a ValueError says which of them is wrong."""
    given: dict[str, Any] = {name: text for name, text in cells.items() if text or name in REQUIRED}
    given.setdefault("sensor", "")
    if "flag" in given:
        given["flags"] = tuple(given.pop("flag").split())
    if not ISO_DATE.fullmatch(given["date"]):
        why = " (spreadsheets rewrite dates: format the column as text)" * bool(given["date"])
        raise ValueError(f"date {shown(given['date'])} is not written like 2001-07-15{why}")
    for name in given.keys() & {*NUMBERS, *COUNTS}:
        text = given[name] or "nan" * ("refused" in given.get("flags", ()))
        try:
            # Where semicolons separate cells, commas are decimal; a count with a comma is no whole number.
            value = float(text.replace(",", ".", 1))
        except ValueError:
            raise ValueError(f"{name} {shown(text)} is not a number") from None
        if name in COUNTS and not value.is_integer():
            raise ValueError(f"{name} {shown(text)} is not a whole number")
        given[name] = int(value) if name in COUNTS else value
    return Gain(**given)


def _cell(value: str | float | Sequence[str]) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(float(value))  # NumPy's floats write their type as well
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else " ".join(value)
