"""Covariates, on which a response is regressed: time, steps, other stacks, and numbers per date from tables.

Written as text, a covariate is ``time``, ``step(2003-06-01)``, ``FILE.csv``, ``FILE.csv:COLUMN``, or else the name of a
stack.
"""

from __future__ import annotations

import csv
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.bands import Floats
from pixelwise.dates.axis import UNITS, Moment, TimeAxis
from pixelwise.dates.tables import parse_date
from pixelwise.errors import InputError, ParameterError
from pixelwise.regular_files import read_text
from pixelwise.words import first_of, unknown

__all__ = ["Covariate", "Covariates", "FurtherStack", "Table", "parse_covariates"]

#: Covariates as a user specifies them.
Covariates = str | Sequence[str] | Mapping[str, str | Sequence[float]]

#: Number of layers that an error names.
NAMED = 5

GRAMMAR = "time, step(DATE), FILE.csv[:COLUMN], or the name of a stack"


@dataclass(frozen=True)
class Covariate(ABC):
    """One column of a regression.

    Attributes
    ----------
    name
        Name of its bands.
    """

    name: str

    @property
    @abstractmethod
    def given(self) -> Any:
        """The text or numbers by which a user specifies it."""

    #: Unit of its coefficient.
    unit = ""

    def column(self, axis: TimeAxis) -> Floats | None:
        """Return (time,) numbers that are the same for each pixel; None if each pixel has its own.

        Raises
        ------
        InputError
            When a table cannot be read.
        ParameterError
            When there is no number for a date.
        """
        return None


@dataclass(frozen=True)
class FurtherStack(Covariate):
    """The values of another stack, given by its name."""

    source: str

    @property
    def given(self) -> str:
        """The stack's name."""
        return self.source


@dataclass(frozen=True)
class Time(Covariate):
    """Decimal years."""

    unit = "{value}/year"

    @property
    def given(self) -> str:
        """The word ``time``."""
        return "time"

    def column(self, axis: TimeAxis) -> Floats:
        """Return (time,) decimal years."""
        return axis.years


@dataclass(frozen=True)
class Step(Covariate):
    """0 before a date, 1 from then on."""

    date: str
    unit = "{value}"

    @property
    def given(self) -> str:
        """The word ``step`` with its date."""
        return f"step({self.date})"

    def column(self, axis: TimeAxis) -> Floats:
        """Return (time,) 0 or 1."""
        moment = parse_date(self.date)
        if axis.precision == "year" and (moment.start.month, moment.start.day) != (1, 1):
            raise ParameterError(
                f"step({self.date}) lies within a year, but only the year of the layers is known; "
                f"expected step({moment.start.year}) or step({moment.start.year + 1})"
            )
        step: Floats = (axis.dates >= np.datetime64(moment.start)).astype(np.float64)
        return step


@dataclass(frozen=True)
class Numbers(Covariate):
    """Numbers, one for each layer in the order of their dates."""

    values: tuple[float, ...]

    @property
    def given(self) -> list[float]:
        """The numbers."""
        return list(self.values)

    def column(self, axis: TimeAxis) -> Floats:
        """Return the numbers, (time,)."""
        if len(self.values) != len(axis):
            raise ParameterError(f"covariate {self.name!r} has {len(self.values)} numbers for {len(axis)} layers")
        values = np.array(self.values)
        if not np.isfinite(values).all():
            raise ParameterError(
                f"covariate {self.name!r} has no finite number for {_listed(axis, ~np.isfinite(values))}"
            )
        return values


@dataclass(frozen=True)
class Table(Covariate):
    """A column of a CSV with dates.

    Attributes
    ----------
    path
        Path as the user wrote it.
    chosen
        Name of the column; empty if there is only one.
    """

    path: str
    chosen: str = ""

    @property
    def given(self) -> str:
        """The path, and the column if one is chosen."""
        return f"{self.path}:{self.chosen}" if self.chosen else self.path

    def column(self, axis: TimeAxis) -> Floats:
        """Return (time,) the number of each layer: that of its day, month or year, whichever both table and layer know.

        A table of months thus gives each scene the number of its month. It cannot give a layer that is only dated by
        its year a number, because several months would fit.
        """
        rows = self._read()
        table = TimeAxis.from_dates([moment.start for moment, _ in rows], [moment.precision for moment, _ in rows])
        unit = min(table.finest, axis.finest, key=UNITS.index)
        periods = table.numbers(unit).tolist()
        values = dict(zip(periods, (value for _, value in rows), strict=True))
        wanted = axis.numbers(unit).tolist()
        several = next((period for period in wanted if periods.count(period) > 1), None)
        if several is not None:
            same = [_shown(moment) for (moment, _), period in zip(rows, periods, strict=True) if period == several]
            more = ", ..." if len(same) > NAMED else ""
            raise ParameterError(
                f"{self.given} has {len(same)} rows for one {unit} ({', '.join(same[:NAMED])}{more}), but the layers "
                f"come by the {unit}; expected one row for each"
            )
        found = np.array([values.get(period, np.nan) for period in wanted])
        if np.isnan(found).any():
            raise ParameterError(
                f"{self.given} has no number for {_listed(axis, np.isnan(found))}; "
                f"it covers {_shown(rows[0][0])}..{_shown(rows[-1][0])} (--start and --end choose layers)"
            )
        return found

    def _read(self) -> list[tuple[Moment, float]]:
        """Return dates and numbers in ascending order, NaN if a cell is empty."""
        text = read_text(Path(self.path))
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        if not lines:
            raise InputError(f"{self.path}: is empty; expected a CSV with date,value")
        mark = next((mark for mark in ",;\t" if mark in lines[0]), ",")
        header, *cells = ([cell.strip() for cell in row] for row in csv.reader(lines, delimiter=mark))
        if "date" not in header:
            raise InputError(f"{self.path}: its first line ({', '.join(header)}) has no column called date")
        others = [name for name in header if name != "date"]
        if self.chosen and self.chosen not in others:
            raise unknown(f"column of {self.path}", self.chosen, others)
        if not self.chosen and len(others) != 1:
            raise InputError(f"{self.path}: has {len(others)} columns beside date; name one: {self.path}:COLUMN")
        date, value = header.index("date"), header.index(self.chosen or others[0])
        rows, problems = [], []
        for number, row in enumerate(cells, 2):
            try:
                rows.append((parse_date(row[date]), _number(row[value])))
            except (ParameterError, ValueError, IndexError) as error:
                problems.append(f"{self.path}, row {number}: {error}")
        if problems or not rows:
            raise InputError(*(problems[:NAMED] or [f"{self.path}: has no rows below its first line"]))
        return sorted(rows, key=lambda row: row[0].start)


def _shown(moment: Moment) -> str:
    """Return a date to the precision to which it is known."""
    return str(moment)[: {"year": 4, "month": 7}.get(moment.precision)]


def _number(text: str) -> float:
    if text.lower() in ("", "na", "nan", "null"):
        return np.nan
    value = float(text)
    if not np.isfinite(value):
        raise ValueError(f"{text} is not finite")
    return value


def _listed(axis: TimeAxis, lacking: Any) -> str:
    """Name the layers without a number."""
    dates = [str(day) for day in axis.days[lacking]]
    if axis.precision == "year":
        dates = [date[:4] for date in dates]
    return f"{len(dates)} of {len(axis)} layers: {first_of(dates, NAMED)}"


def parse_covariates(given: Covariates) -> tuple[Covariate, ...]:
    """Return the covariates that a user specified.

    Parameters
    ----------
    given
        Texts, separated by commas or in a sequence, or a mapping of names to texts or to numbers per layer.

    Raises
    ------
    ParameterError
        When there are none, a text is not understood, or a name occurs twice.
    """
    if isinstance(given, Mapping):
        found = [
            replace(_parse(value), name=str(name)) if isinstance(value, str) else _numbers(str(name), value)
            for name, value in given.items()
        ]
    else:
        texts = given.split(",") if isinstance(given, str) else list(given)
        found = [_parse(text) for text in texts]
    if not found:
        raise ParameterError(f"no covariate is named; expected {GRAMMAR}")
    names = [covariate.name for covariate in found]
    for name in names:
        if not re.fullmatch(r"[\w.+-]+", name):
            raise ParameterError(f"covariate {name!r} cannot be the name of a band")
        if names.count(name) > 1:
            raise ParameterError(f"two covariates are called {name!r}; use a mapping to give them other names")
    return tuple(found)


def _numbers(name: str, values: Any) -> Numbers:
    try:
        return Numbers(name, tuple(float(value) for value in values))
    except (TypeError, ValueError) as error:
        raise ParameterError(f"covariate {name!r} is not a sequence of numbers ({error})") from None


def _parse(text: Any) -> Covariate:
    text = str(text).strip()
    if text == "time":
        return Time(text)
    if match := re.fullmatch(r"step\((.*)\)", text):
        parse_date(match[1].strip())
        return Step(f"step_{match[1].strip()}", match[1].strip())
    if match := re.fullmatch(r"(.+\.csv)(?::(.+))?", text, re.IGNORECASE):
        return Table(match[2] or Path(match[1]).stem, match[1], match[2] or "")
    if re.fullmatch(r"[^\W\d]\w*", text):
        return FurtherStack(text, text)
    raise ParameterError(f"covariate {text!r} is unknown; expected {GRAMMAR}")
