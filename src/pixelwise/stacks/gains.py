"""Gains and offsets that make scenes comparable: a table with a row for each band of each file."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Literal, get_args

from pixelwise.errors import InputError
from pixelwise.words import show, shown

__all__ = ["COLUMNS", "Gain", "GainFlag", "Gains"]

#: What is said about a scene's gains: fewer than 10 000 pixels; no convergence; hardly any unchanged pixels; a standard
#: error of more than 5 %; a gain outside 0.5 to 2; one band, so that change cannot be told from gain; values that end
#: at the largest or smallest that a band has; no gains at all, for lack of pixels, say.
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
COLUMNS = tuple("flag" if field.name == "flags" else field.name for field in fields(Gain))


@dataclass(frozen=True)
class Gains:
    """All rows of a table, in its order.

    Raises
    ------
    InputError
        When a file, date and band occur twice, or there are no rows.
    """

    rows: tuple[Gain, ...]

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
        writer.writerows([_cell(getattr(row, field.name)) for field in fields(Gain)] for row in self.rows)
        return text.getvalue()


def _cell(value: str | float | Sequence[str]) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else " ".join(value)
