"""Pair the layers of several stacks: those of the same calendar period, on the same grid.

A response and its covariates rarely have exactly the same dates: one archive dates a month by its first day, another by
its middle, and one series begins before the other.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from pixelwise.choices import Every
from pixelwise.crs import crs_remedy
from pixelwise.dates.axis import UNITS, TimeAxis, Unit
from pixelwise.errors import InputError, ParameterError
from pixelwise.grid import Grid
from pixelwise.opening.recipe import check_no_code, read_recipe
from pixelwise.opening.sources import Source
from pixelwise.opening.survey import open_layers
from pixelwise.stacks.base import FileStack, Stack
from pixelwise.stacks.spec import InputSpec

S = TypeVar("S", bound=Stack)

__all__ = ["Pairing", "open_covariate", "pair"]

#: Options that a covariate given as files inherits from the response: the place of pixels, and the dates to use. The
#: meaning of stored numbers differs from archive to archive.
PLACE = ("extent", "align", "resampling")
DATES = ("period", "start", "end", "months", "on_read_error")
#: What is allowed for the response is allowed for a covariate, and for nothing else in a recipe.
SERVERS = ("allow_scheme",)

#: How to give composites as a covariate on the command line.
IN_A_RECIPE = (
    "on the command line, put the composites in a recipe (pixelwise plan FILES --composite {how} --write-recipe "
    "NAME.toml) and give --with NAME=NAME.toml"
)

#: Periods of xarray's `resample`, by unit: how arrays get one layer for each.
RESAMPLE = {"year": "YS", "month": "MS", "day": "D"}

#: Number of layers that an error lists.
NAMED = 5

#: Name of the response in provenance and plan.
RESPONSE = "response"


@dataclass(frozen=True)
class Pairing(Generic[S]):
    """Stacks with the same number of layers, of the same periods.

    Attributes
    ----------
    stack
        The response.
    inputs
        The covariates by name.
    unit
        The unit of the calendar by which layers were paired; None if all dates were the same anyway.
    left_out
        Dates of layers without a partner, by name of the stack, ``response`` for the response; runs of dates as
        ``first..last``.
    counts
        Number of such layers and of all layers, by name of the stack.
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
        """The layers left out, one line for each stack."""
        return [
            f"{self.counts[name][0]} of {self.counts[name][1]} layers of {'the ' * (name == RESPONSE)}{name} have no "
            f"partner of the same {self.unit} and are left out: {', '.join(runs)}"
            for name, runs in self.left_out.items()
        ]

    def describe(self) -> dict[str, Any]:
        """Return what a map records about it."""
        return {
            "by": self.unit or "date",
            "layers": len(self.stack.axis),
            "left_out": {name: list(runs) for name, runs in self.left_out.items()},
        }


def open_covariate(text: str, spec: InputSpec) -> FileStack:
    """Open a covariate as given on the command line.

    Parameters
    ----------
    text
        Files as for INPUT, or a recipe: ``rain.toml``.
    spec
        The response's options. Files inherit the place of pixels and the dates to use; a recipe inherits only the
        place, and only if it does not have ``align``. A CRS given for the response is that of files without one.

    Raises
    ------
    InputError, ParameterError
        As `open_layers` does.
    """
    if not text.lower().endswith(".toml"):
        inherited = InputSpec(**{name: getattr(spec, name) for name in (*PLACE, *DATES, *SERVERS)})
        return _open_files(text, inherited, spec.crs)
    source, own, _, needs = read_recipe(text)
    if own.composite is not None:
        words = ("pixelwise", "composite", "--recipe", text, "--composite", own.composite, "-o", "FILE.tif")
        check_no_code(text, own, f"{shlex.join(words)} writes them to a file; give that instead of the recipe")
    for name in needs.as_dict():
        raise ParameterError(f"{text}: {name} decides which pixels get a result: give it for the response only")
    for name in ("region", "where"):
        if getattr(own, name) is not None:
            raise ParameterError(f"{text}: {name} selects pixels: give it for the response only")
    own = own.replace(**{name: getattr(spec, name) for name in SERVERS})
    if own.align is None:
        own = own.replace(**{name: getattr(spec, name) for name in PLACE if name != "extent" or own.extent is None})
    return _open_files(source, own, spec.crs)


def _open_files(source: Source, spec: InputSpec, crs: str | None) -> FileStack:
    """Open a covariate; the CRS given for the response is also that of its files if these have none."""
    if crs is None or spec.crs is not None:
        return open_layers(source, spec)
    assumed = spec.replace(crs=crs)
    try:
        stack = open_layers(source, spec)
    except InputError:  # cannot be aligned without a CRS, for one
        return open_layers(source, assumed)
    return stack if stack.grid.crs is not None else open_layers(source, assumed)


def pair(stack: S, inputs: Mapping[str, S]) -> Pairing[S]:
    """Crop covariates to the response's grid, and keep the layers that all stacks have.

    Layers belong together if they are of the same calendar year, month, dekad, ..., whichever unit the response's
    regular step has, or of the same day if its dates are irregular.

    Raises
    ------
    InputError
        When a stack is on another grid, has several layers for one of the response's, or fewer than two belong
        together.
    ParameterError
        When layers would have to be left out of a stack that does not consist of files.
    """
    if RESPONSE in inputs:
        raise ParameterError(f"a covariate cannot be called {RESPONSE!r}: that is the stack that it is paired with")
    fitted = {name: _on_grid(name, other, stack.grid) for name, other in inputs.items()}
    if all(np.array_equal(other.axis.dates, stack.axis.dates) for other in fitted.values()):
        return Pairing(stack, fitted)
    unit = stack.axis.finest
    stacks = {RESPONSE: stack, **fitted}
    numbers = {name: _numbers(name, one, stack, unit) for name, one in stacks.items()}
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
    problem = f"input {name!r} is not on the grid of the response: {'; '.join(words)}"
    if not grid.shares_lattice(other.grid):
        known = grid.crs or other.grid.crs
        if known is not None and (grid.crs is None or other.grid.crs is None):
            raise InputError(f"{problem}; for each file without CRS: {crs_remedy('FILE', known, option=True)}")
        raise InputError(f"{problem}; --align RASTER (align=) puts both on the grid of one raster")
    place = other.grid.place_of(grid)
    if other.grid.block.intersection(place) != place:
        raise InputError(f"{problem}; it covers only part of it: choose an area that both cover (--bounds)")
    if not isinstance(other, FileStack):
        raise InputError(problem)
    return other.crop(place)


def _numbers(name: str, stack: Stack, other: Stack, unit: Unit) -> NDArray[np.int64]:
    """Return the period of each layer of a stack.

    Parameters
    ----------
    name
        What messages call it.
    stack
        The stack, which may be the response itself.
    other
        The response.
    unit
        The response's.

    Raises
    ------
    InputError
        When two layers are of one period of the response, or its own are longer.
    """
    axis, response = stack.axis, other.axis
    numbers = axis.numbers(unit)
    days, theirs = set(axis.days.tolist()), set(response.days.tolist())
    longer = UNITS.index(axis.finest) < UNITS.index(unit)
    # A few irregular dates may have a longer step by chance.
    irregular = response.step is None or response.step.unit != response.finest
    by_chance = irregular and axis.precision not in ("year", "month") and days <= theirs
    if longer and not by_chance:
        remedy = f"make one for each {axis.finest} of the response too (--composite HOW --every {axis.finest})"
        if axis.finest not in get_args(Every):  # there are no composites of 16 days
            how = "HOW --every month"
            remedy = f"make one for each month of both (--composite {how}); for {name!r}, {IN_A_RECIPE.format(how=how)}"
        if not isinstance(other, FileStack):
            every, whose = (axis.finest, "the response too") if axis.finest in RESAMPLE else ("month", "both")
            remedy = f"make one for each {every} of {whose}, such as {_resampled(RESPONSE, every)}"
        raise InputError(
            f"{name!r} has one layer for each {axis.finest}, but the response has one for each {unit}: {remedy}"
        )
    found, counts = np.unique(numbers[np.isin(numbers, response.numbers(unit))], return_counts=True)
    if (counts > 1).any():
        same = axis.days[numbers == found[counts > 1][0]]
        listed = ", ".join(map(str, same[:NAMED])) + (", ..." if len(same) > NAMED else "")
        remedy = f"make one of them with open_stack(...).composite(HOW); {IN_A_RECIPE.format(how='HOW')}"
        if not isinstance(stack, FileStack):
            remedy = f"make one of them, such as {_resampled(name, unit)}"
            if unit not in RESAMPLE:
                remedy = f"make one for each month of both, such as {_resampled(name, 'month')}"
        raise InputError(
            f"{name!r} has {len(same)} layers in one {unit} ({listed}), but the response has one for each {unit}: "
            f"{remedy}"
        )
    return numbers


def _resampled(name: str, every: str) -> str:
    """Return the code that makes one layer of an array for each period."""
    return f'{name}.resample(time="{RESAMPLE[every]}").median()'


def _take(name: str, stack: S, rows: NDArray[np.int64]) -> S:
    if len(rows) == len(stack.axis):
        return stack
    # Stacks of files and of arrays have it; one with `read` alone does not.
    take: Callable[[Sequence[int]], S] | None = getattr(stack, "take", None)
    if take is None:
        raise ParameterError(
            f"{len(stack.axis) - len(rows)} layers of {name!r} have no partner, but layers can be left out only of "
            "stacks of files or arrays: give it only dates that all stacks have"
        )
    return take(rows.tolist())


def _labels(axis: TimeAxis) -> list[str]:
    """Write dates as precisely as they are known."""
    length = {"year": 4, "month": 7}.get(axis.precision, 10)
    return [str(day)[:length] for day in axis.days]


def _span(axis: TimeAxis) -> str:
    labels = _labels(axis)
    return f"{labels[0]}..{labels[-1]}"


def _runs(axis: TimeAxis, chosen: NDArray[np.bool_]) -> tuple[str, ...]:
    """Write the dates of some layers, runs of neighbours as ``first..last``."""
    labels = _labels(axis)
    rows = np.flatnonzero(chosen)
    runs: Sequence[NDArray[np.int64]] = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    return tuple(labels[run[0]] if len(run) == 1 else f"{labels[run[0]]}..{labels[run[-1]]}" for run in runs)
