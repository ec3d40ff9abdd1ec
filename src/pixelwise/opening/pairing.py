"""Layers of several stacks brought together: of the same period of the calendar, on the same grid.

A response and its covariates rarely have the very same dates: a month stands for its first day in one archive and for
its middle in another, and one series begins before the other.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from pixelwise.choices import Every
from pixelwise.dates.axis import UNITS, TimeAxis, Unit
from pixelwise.errors import InputError, ParameterError
from pixelwise.grid import Grid, crs_remedy
from pixelwise.opening.recipe import check_no_code, read_recipe
from pixelwise.opening.survey import open_layers
from pixelwise.stacks.base import FileStack, Stack
from pixelwise.stacks.spec import InputSpec

S = TypeVar("S", bound=Stack)

__all__ = ["Pairing", "open_further", "pair"]

#: What a further stack that is named by its files takes over from the response: where pixels are put, and which dates
#: are used. What stored numbers mean is another matter in each archive.
PLACE = ("extent", "align", "resampling")
DATES = ("period", "start", "end", "months", "on_read_error")

#: How a further stack is made of composites where it is named on the command line.
IN_A_RECIPE = (
    "on the command line keep the composites in a recipe (pixelwise plan FILES --composite {how} --write-recipe "
    "NAME.toml) and give --with NAME=NAME.toml"
)

#: How many layers an error names.
NAMED = 5

#: What provenance and plan call the stack that the others are paired with.
RESPONSE = "response"


@dataclass(frozen=True)
class Pairing(Generic[S]):
    """Stacks with as many layers as each other, of the same periods.

    Attributes
    ----------
    stack
        The response.
    inputs
        The further stacks by name.
    unit
        Of the calendar, by which layers were paired; None where all dates were the same anyway.
    left_out
        Layers without a partner by the name of the stack, ``response`` for the response: their dates, runs of them as
        ``first..last``.
    counts
        How many these are, of how many.
    """

    stack: S
    inputs: Mapping[str, S]
    unit: Unit | None = None
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def stacks(self) -> tuple[S, ...]:
        """All of them, the response first."""
        return self.stack, *self.inputs.values()

    @property
    def warnings(self) -> list[str]:
        """What was left out, one line for each stack."""
        return [
            f"{self.counts[name][0]} of {self.counts[name][1]} layers of {'the ' * (name == RESPONSE)}{name} have no "
            f"partner of the same {self.unit} and are left out: {', '.join(runs)}"
            for name, runs in self.left_out.items()
        ]

    def describe(self) -> dict[str, Any]:
        """Return what a map says of it."""
        return {
            "by": self.unit or "date",
            "layers": len(self.stack.axis),
            "left_out": {name: list(runs) for name, runs in self.left_out.items()},
        }


def open_further(text: str, spec: InputSpec) -> FileStack:
    """Open a further stack as the command line names it.

    Parameters
    ----------
    text
        Files as INPUT names them, or a recipe: ``rain.toml``.
    spec
        The response's options. Files take over where pixels are put and which dates are used; a recipe says all itself,
        but what lattice pixels are put on where it is silent of that.

    Raises
    ------
    InputError, ParameterError
        As `open_layers` does.
    """
    if not text.lower().endswith(".toml"):
        return open_layers(text, InputSpec(**{name: getattr(spec, name) for name in (*PLACE, *DATES)}))
    source, own, _, needs = read_recipe(text)
    if own.composite is not None:
        words = ("pixelwise", "composite", "--recipe", text, "--composite", own.composite, "-o", "FILE.tif")
        check_no_code(text, own, f"{shlex.join(words)} makes a file of them, to be given instead of the recipe")
    for name in needs.as_dict():
        raise ParameterError(f"{text}: {name} says which pixels get an answer: that is for the response to say")
    for name in ("region", "where"):
        if getattr(own, name) is not None:
            raise ParameterError(f"{text}: {name} says which pixels are asked for: that is for the response to say")
    if own.align is None:
        own = own.replace(**{name: getattr(spec, name) for name in PLACE if name != "extent" or own.extent is None})
    return open_layers(source, own)


def pair(stack: S, inputs: Mapping[str, S]) -> Pairing[S]:
    """Bring further stacks onto the response's grid, by whole pixels, and keep the layers that all have.

    Layers belong together that are of the same year, month, dekad, ... of the calendar, whichever the response's
    regular step counts in; of the same day where its dates are irregular.

    Raises
    ------
    InputError
        When a stack is on another grid, has several layers for one of the response's, or fewer than two belong
        together.
    ParameterError
        When layers have to be left out of a stack that is not made of files.
    """
    if RESPONSE in inputs:
        raise ParameterError(f"a further stack cannot be called {RESPONSE!r}: that is the stack that it is paired with")
    fitted = {name: _on_grid(name, other, stack.grid) for name, other in inputs.items()}
    if all(np.array_equal(other.axis.dates, stack.axis.dates) for other in fitted.values()):
        return Pairing(stack, fitted)
    unit = stack.axis.finest
    stacks = {RESPONSE: stack, **fitted}
    numbers = {name: _numbers(name, one.axis, stack.axis, unit) for name, one in stacks.items()}
    common = numbers[RESPONSE]
    for name, own in numbers.items():
        common = np.intersect1d(common, own)
        if len(common) < 2:
            found = "no layer" if not len(common) else "one layer only"
            others = ", ".join(f"{_span(one.axis)} of {other}" for other, one in stacks.items() if other != name)
            raise InputError(
                f"{found} of {name!r}, {_span(stacks[name].axis)}, is of the same {unit} as one of the others "
                f"({others}): a series needs at least two"
            )
    kept = {name: np.flatnonzero(np.isin(own, common)) for name, own in numbers.items()}
    lacking = {name: ~np.isin(own, common) for name, own in numbers.items()}
    paired = {name: _take(name, one, kept[name]) for name, one in stacks.items()}
    return Pairing(
        paired.pop(RESPONSE),
        paired,
        unit,
        {name: _runs(stacks[name].axis, rows) for name, rows in lacking.items() if rows.any()},
        {name: (int(rows.sum()), len(rows)) for name, rows in lacking.items()},
    )


def _on_grid(name: str, other: S, grid: Grid) -> S:
    words = grid.differences(other.grid)
    if not words:
        return other
    told = f"input {name!r} is not on the grid of the response: {'; '.join(words)}"
    if not grid.shares_lattice(other.grid):
        known = grid.crs or other.grid.crs
        if known is not None and (grid.crs is None or other.grid.crs is None):
            raise InputError(f"{told}; for each file without CRS: {crs_remedy('FILE', known)}")
        raise InputError(f"{told}; --align RASTER (align=) puts both on the lattice of one raster")
    place = other.grid.place_of(grid)
    if other.grid.block.intersection(place) != place:
        raise InputError(f"{told}; it covers only a part of it: choose what both cover (--bounds)")
    if not isinstance(other, FileStack):
        raise InputError(told)
    return other.crop(place)


def _numbers(name: str, axis: TimeAxis, response: TimeAxis, unit: Unit) -> NDArray[np.int64]:
    """Return the period of each layer.

    Raises
    ------
    InputError
        When two layers are of one period of the response, or its own are longer.
    """
    numbers = axis.numbers(unit)
    days, theirs = set(axis.days.tolist()), set(response.days.tolist())
    longer = UNITS.index(axis.finest) < UNITS.index(unit)
    # A few of irregular dates may lie on a longer step by chance.
    irregular = response.step is None or response.step.unit != response.finest
    by_chance = irregular and axis.precision not in ("year", "month") and days <= theirs
    if longer and not by_chance:
        remedy = f"make one for each {axis.finest} of the response too (--composite HOW --every {axis.finest})"
        if axis.finest not in get_args(Every):  # there are no composites of 16 days
            how = "HOW --every month"
            remedy = f"make one for each month of both (--composite {how}); of {name!r} {IN_A_RECIPE.format(how=how)}"
        raise InputError(
            f"{name!r} has one layer for each {axis.finest}, but the response has one for each {unit}: {remedy}"
        )
    found, counts = np.unique(numbers[np.isin(numbers, response.numbers(unit))], return_counts=True)
    if (counts > 1).any():
        same = axis.days[numbers == found[counts > 1][0]]
        listed = ", ".join(map(str, same[:NAMED])) + (", ..." if len(same) > NAMED else "")
        raise InputError(
            f"{name!r} has {len(same)} layers of one {unit} ({listed}), where the response comes by the {unit}: make "
            f"one of them with open_stack(...).composite(HOW); {IN_A_RECIPE.format(how='HOW')}"
        )
    return numbers


def _take(name: str, stack: S, rows: NDArray[np.int64]) -> S:
    if len(rows) == len(stack.axis):
        return stack
    if not isinstance(stack, FileStack):
        raise ParameterError(
            f"{len(stack.axis) - len(rows)} layers of {name!r} have no partner, and layers can be left out of stacks "
            "of files only: give it the dates that all have"
        )
    return stack.take(rows.tolist())


def _labels(axis: TimeAxis) -> list[str]:
    """Write dates as far as they are known."""
    length = {"year": 4, "month": 7}.get(axis.precision, 10)
    return [str(day)[:length] for day in axis.days]


def _span(axis: TimeAxis) -> str:
    labels = _labels(axis)
    return f"{labels[0]}..{labels[-1]}"


def _runs(axis: TimeAxis, chosen: NDArray[np.bool_]) -> tuple[str, ...]:
    """Write some of the layers, neighbours as ``first..last``."""
    labels = _labels(axis)
    rows = np.flatnonzero(chosen)
    runs: Sequence[NDArray[np.int64]] = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    return tuple(labels[run[0]] if len(run) == 1 else f"{labels[run[0]]}..{labels[run[-1]]}" for run in runs)
