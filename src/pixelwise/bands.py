"""What a layer of a map is, and why a pixel has its values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pixelwise.choices import BandKind
from pixelwise.errors import ParameterError
from pixelwise.words import not_a_choice

__all__ = [
    "ANSWERED",
    "DIRECTED",
    "PER_YEAR",
    "STATUS_BAND",
    "STATUS_WORDS",
    "YEARS",
    "Band",
    "Floats",
    "Status",
    "rescale",
    "with_units",
]

Floats = NDArray[np.float64]

#: Kinds of numbers that have a direction: above zero and below it mean opposite things.
DIRECTED: tuple[BandKind, ...] = ("change", "signed", "correlation")
#: Kinds that may have p-values; those of a test are what its own were adjusted from (q-values).
WITH_PVALUES: tuple[BandKind, ...] = (*DIRECTED, "test")


class Status(IntEnum):
    """Why a pixel has its values: the first reason that applies. Numbers never change meaning."""

    OK = 0
    NO_OBSERVATION = 1
    TOO_FEW = 2
    CONSTANT = 3
    DEGENERATE = 4
    FUNCTION_FAILED = 5
    TEST_UNDEFINED = 6
    TRUNCATED = 7
    DATES_LOST = 8
    OUTSIDE = 9


#: Statuses of pixels that have values.
ANSWERED = (Status.OK, Status.CONSTANT, Status.TEST_UNDEFINED, Status.TRUNCATED, Status.DATES_LOST)


@dataclass(frozen=True, slots=True)
class Band:
    """One layer of a map.

    Attributes
    ----------
    name
        Short and unique within a method; scipy's name where scipy has one.
    description
        One line, shown by GIS programs.
    unit
        ``{value}`` stands for the unit of the input: ``{value}/year``.
    integer
        Integers that are never missing (``n``, ``status``).
    optional
        Computed only when requested by name.
    kind
        What its numbers are, which decides how they are drawn, divided into classes and averaged; see `BandKind`. Empty
        if unknown.
    pvalue
        Name of the band of kind ``test`` that holds the p-values of these numbers, or that these q-values were adjusted
        from; empty if there is none.

    Raises
    ------
    ParameterError
        When the kind is unknown, or a band that has neither a direction nor holds a test has a p-value.
    """

    name: str
    description: str = ""
    unit: str = ""
    integer: bool = False
    optional: bool = False
    kind: BandKind | Literal[""] = ""
    pvalue: str = ""

    def __post_init__(self) -> None:
        if self.kind and self.kind not in get_args(BandKind):
            raise not_a_choice("kind", self.kind, get_args(BandKind))
        if self.pvalue and self.kind not in WITH_PVALUES:
            raise ParameterError(
                f"band {self.name} has the p-value {self.pvalue}, but its kind is {self.kind or 'not said'}: "
                f"only bands of kind {', '.join(WITH_PVALUES)} have one"
            )

    def dtype(self, map_dtype: str = "float32") -> str:
        """Return the type of its values if stored on its own; `map_dtype` is that of the map's numbers."""
        if self.name == STATUS_BAND.name:
            return "uint8"
        return "int32" if self.integer else map_dtype


#: Names of the statuses in descriptions and legends.
STATUS_WORDS = {
    Status.OK: "ok",
    Status.NO_OBSERVATION: "no observation",
    Status.TOO_FEW: "too few observations",
    Status.CONSTANT: "constant series",
    Status.DEGENERATE: "degenerate",
    Status.FUNCTION_FAILED: "function failed",
    Status.TEST_UNDEFINED: "test undefined",
    Status.TRUNCATED: "truncated",
    Status.DATES_LOST: "dates lost to read errors",
    Status.OUTSIDE: "outside the area",
}

STATUS_BAND = Band(
    "status", ", ".join(f"{code.value} {words}" for code, words in STATUS_WORDS.items()), integer=True, kind="code"
)

#: The periods to which changes may refer, in years.
YEARS: Mapping[str, int] = {"year": 1, "decade": 10}

#: Units of change, with the power of time: ``{value}/year``, ``{value}/year^2``.
PER_YEAR = re.compile(r"/year(?:\^(\d+))?$")


def said_kind(text: str) -> BandKind | Literal[""]:
    """Return the kind that a file says of a band; empty if it is none that this version knows."""
    return next((kind for kind in get_args(BandKind) if kind == text), "")


def band_from_file(name: str, description: str, unit: str, *, integer: bool, kind: str, pvalue: str) -> Band:
    """Return a band as a file describes it; what a file may not say of a band is left out."""
    known = said_kind(kind)
    return Band(name, description, unit, integer, kind=known, pvalue=pvalue if known in WITH_PVALUES else "")


def rescale(bands: Sequence[Band], per: str) -> tuple[tuple[Band, ...], tuple[float, ...]]:
    """Return bands that give changes per `per` instead of per year, and the factors for their numbers."""
    rescaled, factors = [], []
    for band in bands:
        found = PER_YEAR.search(band.unit)
        if found is None or per == "year":
            rescaled.append(band)
            factors.append(1.0)
            continue
        unit = band.unit[: found.start()] + found[0].replace("year", per)
        rescaled.append(replace(band, unit=unit, description=band.description.replace("per year", f"per {per}")))
        factors.append(float(YEARS[per] ** int(found[1] or 1)))
    return tuple(rescaled), tuple(factors)


def with_units(bands: Sequence[Band], unit: str) -> tuple[Band, ...]:
    """Insert the input's unit into those of the bands: ``{value}/year`` of metres is ``m/year``."""
    plain = unit or "1"
    return tuple(
        replace(band, unit="" if band.unit == "{value}" and not unit else band.unit.replace("{value}", plain))
        for band in bands
    )
