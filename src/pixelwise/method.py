"""The contract between a statistic and the engine.

A `Method` is a value, returned by a factory with typed keyword arguments. Once per job, in the parent process,
`Method.bind` turns it into a `BoundMethod`, which holds everything that depends only on dates and requested bands.
Once per block, in any worker, the bound method turns arrays into values and a status.
"""

from __future__ import annotations

import inspect
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import STATUS_BAND, Band, Floats
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import ParameterError
from pixelwise.kernels.jit import compiling
from pixelwise.words import not_a_choice, unknown

__all__ = [
    "BoundMethod",
    "Method",
    "build",
    "parameters_of",
    "parse",
    "rounded_whole_numbers",
    "say_rounded",
    "select_bands",
]

#: All integers up to these are exact.
FLOAT32_EXACT, FLOAT64_EXACT = 2.0**24, 2.0**53


@runtime_checkable
class BoundMethod(Protocol):
    """A method bound to dates and bands: picklable, pure, without georeferencing."""

    @property
    def bands(self) -> tuple[Band, ...]:
        """The rows of ``values``, without ``status``."""

    @property
    def halo(self) -> int:
        """How many pixels beyond a block it reads on each side."""

    @property
    def releases_gil(self) -> bool:
        """Whether threads can run it in parallel."""

    def __call__(
        self, inputs: tuple[NDArray[Any], ...], dtype: str = "float64"
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Compute one block, in float64.

        Parameters
        ----------
        inputs
            One float32 or float64 array per stack, the response first, NaN where missing:
            (time, pixel), or (time, y + 2 halo, x + 2 halo) where ``halo`` is not 0. They are valid only
            during the call: the next block is read into the same memory.
        dtype
            The type that the caller keeps, ``float32`` or ``float64``. A method that rounds to it saves writing a whole
            block of float64 to memory and reading it back; otherwise the caller rounds.

        Returns
        -------
        values : (band, pixel) float64 or `dtype`
        status : (pixel,) uint8
        """


class Method(ABC):
    """A statistic of each pixel's series; subclasses are frozen dataclasses whose fields are its parameters."""

    name: ClassVar[str]
    halo: int = 0

    @property
    @abstractmethod
    def bands(self) -> tuple[Band, ...]:
        """All available bands, the headline first, without ``status``."""

    @abstractmethod
    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> BoundMethod:
        """Check the parameters against the data and compute what depends only on dates and bands.

        Parameters
        ----------
        axis
            Dates of the response.
        bands
            Names of the requested bands, in order; None for the default ones.
        inputs
            Dates of the covariates, by name, in the order in which their arrays follow the response.
        """

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of this method by name, for the map's provenance."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    @property
    def identity(self) -> dict[str, Any]:
        """Everything, besides versions, that must be equal for two runs to give the same pixels."""
        return self.parameters

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that binding reads besides the stacks."""
        return ()

    @property
    def season_term(self) -> bool:
        """Whether the method models a season, so that it expects several layers per year."""
        return False

    @property
    def needs_step(self) -> bool:
        """Whether the method needs layers at regular calendar steps."""
        return False

    def check_axis(self, axis: TimeAxis) -> None:
        """Refuse dates for which the method is meaningless.

        Raises
        ------
        ParameterError
            When it needs regular steps and there are none.
        """
        if self.needs_step and axis.step is None:
            raise ParameterError(
                f"{self.name} needs layers at regular steps, but the dates of these {len(axis)} are irregular "
                f"({axis.days[0]}..{axis.days[-1]}): make one layer per year, season or month of them "
                "(--composite HOW --every year|season|month), or choose a method without lags, such as ols"
            )

    def cautions(self, axis: TimeAxis) -> tuple[str, ...]:
        """Return what a user should know before trusting the method's result at these dates, one line each.

        These are warnings of `plan` and `apply`, kept in the map's provenance; meaningless requests are refused by
        `check_axis` or `bind` instead.
        """
        return ()

    @property
    def fitted_from(self) -> tuple[str, ...]:
        """Names of the bands that `predict` needs; empty for a method that fits no curve."""
        return ()

    def predict(self, values: Mapping[str, NDArray[Any]], axis: TimeAxis) -> Floats:
        """Return the fitted curve, (time, pixel), at the dates of `axis`.

        Parameters
        ----------
        values
            Arrays (pixel,) or single numbers for the bands in `fitted_from`.
        axis
            The dates.
        """
        raise NotImplementedError(f"{self.name} fits no curve")

    def seasonal_part(self, values: Mapping[str, NDArray[Any]], axis: TimeAxis) -> Floats:
        """Return the part of `predict` that recurs every year, (time, pixel) or an array that broadcasts to it."""
        return np.zeros((len(axis), 1))

    def rehearse(self, axis: TimeAxis, sample: Callable[[], Floats], pixels: int | None = None) -> Method:
        """Return the method to use on this data, after trying it on a few pixels.

        Only user functions do anything here.

        Parameters
        ----------
        axis
            Dates of the response.
        sample
            Returns (time, pixel) float64 with NaN, which takes time.
        pixels
            Number of pixels in the whole job; None if unknown.
        """
        return self

    def __call__(
        self, values: NDArray[Any], times: TimeAxis | NDArray[Any] | Sequence[float], **inputs: NDArray[Any]
    ) -> dict[str, NDArray[Any]]:
        """Apply the method to arrays.

        Parameters
        ----------
        values
            (time, pixel) or (time,) numbers, NaN where missing, in time order.
        times
            (time,) decimal years, datetime64, or a `TimeAxis`.
        **inputs
            Covariate arrays of the same shape, by name.

        Returns
        -------
        dict
            (pixel,) arrays by band name, ``status`` last.

        Raises
        ------
        ParameterError
            When shapes do not match.
        """
        if self.halo:
            raise ParameterError(f"{self.name} uses neighbouring pixels: apply it to a stack, not to series")
        axis = times if isinstance(times, TimeAxis) else TimeAxis.from_times(times)
        arrays = [np.asarray(array) for array in (values, *inputs.values())]
        series = tuple(
            np.ascontiguousarray(a.reshape(len(a), -1), dtype=np.float32 if a.dtype == np.float32 else np.float64)
            for a in arrays
        )
        for array in series:
            if array.shape != (len(axis), series[0].shape[1]):
                raise ParameterError(
                    f"values have shape {array.shape}, but there are {len(axis)} times: expected (time, pixel)"
                )
        self.check_axis(axis)
        method = self.rehearse(axis, lambda: series[0].astype(np.float64), series[0].shape[1])
        bound = method.bind(axis, None, dict.fromkeys(inputs, axis))
        with compiling(self.name):
            table, status = bound(series)
        result: dict[str, NDArray[Any]] = {band.name: row for band, row in zip(bound.bands, table, strict=True)}
        return {**result, "status": status}


def select_bands(method: Method, names: Sequence[str] | None) -> tuple[Band, ...]:
    """Return the requested bands, in that order; ``status`` is always there and therefore left out.

    Raises
    ------
    ParameterError
        When ``names`` is one string, a name is unknown or given twice, or nothing but ``status`` is left.
    """
    if names is None:
        return tuple(band for band in method.bands if not band.optional)
    if isinstance(names, str):  # would be read letter by letter
        raise ParameterError(
            f"bands={names!r} is one string: expected a list of names, as in bands={names.split(',')!r}"
        )
    known = {band.name: band for band in method.bands}
    chosen = []
    for name in names:
        if name == STATUS_BAND.name:
            continue
        if name not in known:
            raise unknown(f"band of {method.name}", name, [*known, STATUS_BAND.name])
        if known[name] in chosen:
            raise ParameterError(f"band {name!r} is requested twice")
        chosen.append(known[name])
    if not chosen:
        raise ParameterError(f"no band of {method.name} is requested (known: {', '.join(known)})")
    return tuple(chosen)


def rounded_whole_numbers(values: NDArray[Any], dtype: str) -> list[tuple[int, float]]:
    """Return the bands of integers that a type would round: dates such as 20240603, identifiers, large counts.

    Parameters
    ----------
    values
        (band, pixel), NaN where missing.
    dtype
        The type of the map.

    Returns
    -------
    list
        For each band whose values are all integers: its number, and a value that would be lost.
    """
    found: list[tuple[int, float]] = []
    if dtype != "float32" or values.dtype != np.float64:
        return found
    for number, row in enumerate(values):
        # Two passes without copies: hardly any map holds numbers this large. Beyond 2^53 all numbers are integers.
        if not max(np.fmax.reduce(row, initial=0.0), -np.fmin.reduce(row, initial=0.0)) > FLOAT32_EXACT:
            continue
        finite = row[np.isfinite(row)]
        large = finite[(np.abs(finite) > FLOAT32_EXACT) & (np.abs(finite) <= FLOAT64_EXACT)]
        lost = large[large.astype(np.float32) != large]
        if lost.size and (finite == np.floor(finite)).all():
            found.append((number, float(lost[0])))
    return found


def say_rounded(band: str, value: float) -> str:
    """Say that the integers of a band would not be kept, and how to keep them."""
    return (
        f"{band}: float32 does not hold whole numbers such as {value:.0f}, which becomes {np.float32(value):.0f}; "
        f'keep them with --dtype float64 (dtype="float64")'
    )


def parameters_of(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the typed keyword parameters of a factory, annotations resolved."""
    return dict(inspect.signature(factory, eval_str=True).parameters)


def build(factory: Callable[..., Method], texts: Mapping[str, str]) -> Method:
    """Call a method's factory with parameters that are still text, as on the command line.

    Raises
    ------
    ParameterError
        For an unknown parameter (with the closest match), or a text that its type does not accept.
    """
    known = parameters_of(factory)
    values = {}
    for name, text in texts.items():
        if name not in known:
            raise unknown(f"parameter of {factory.__name__}", name, known)
        values[name] = parse(name, text, known[name].annotation)
    return factory(**values)


def parse(name: str, text: str, annotation: Any) -> Any:
    """Convert `text` to the annotated type: int, float, bool, str, Literal, or a union of these with None."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        options = typing.get_args(annotation)
        if type(None) in options and text.lower() == "none":
            return None
        for option in options:
            try:
                return parse(name, text, option)
            except ParameterError:
                continue
    elif typing.get_origin(annotation) is Literal:
        choices = typing.get_args(annotation)
        if text in choices:
            return text
        raise not_a_choice(name, text, choices)
    elif annotation is bool and text.lower() in ("true", "yes", "1", "false", "no", "0"):
        return text.lower() in ("true", "yes", "1")
    elif annotation in (int, float):
        try:
            return annotation(text)
        except ValueError:
            pass
    elif annotation is str:
        return text
    wanted = getattr(annotation, "__name__", str(annotation))
    raise ParameterError(f"parameter {name}={text!r} is not {wanted}")
