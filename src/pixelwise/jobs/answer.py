"""From what a method answers to what a job writes of it.

An `Answer` is a bound method made of another one, so that neither the engine nor any method knows of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import ANSWERED, PER_YEAR, Band, Floats, Status, rescale
from pixelwise.choices import Per, Written
from pixelwise.dates.axis import TimeAxis
from pixelwise.dates.completeness import BoundCompleteness
from pixelwise.errors import ParameterError
from pixelwise.method import BoundMethod, Method, parameters_of
from pixelwise.methods import METHODS
from pixelwise.words import not_a_choice

__all__ = ["Answer", "Layered", "check_kinds", "check_per"]

#: Pixels whose curves are worked out at once: a few arrays of all layers in float64 stay in the cache.
PIECE = 1024


def check_kinds(method: Method, kinds: Sequence[str]) -> tuple[Written, ...]:
    """Return the stacks to write in the order in which they are written, whatever that in which they are named.

    Raises
    ------
    ParameterError
        When one is unknown, or means nothing for the method.
    """
    for kind in kinds:
        if kind not in get_args(Written):
            raise not_a_choice("write", kind, get_args(Written))
        if method.fitted_from:
            continue
        if kind != "anomalies":
            as_set = ", as its parameters are," if type(method).predict is not Method.predict else ""
            known = ", ".join(factory.__name__ for factory in METHODS if _fits(factory))
            raise ParameterError(f"{kind}: {method.name}{as_set} fits no curve to the values; these do: {known}")
        if method.season_term:
            raise ParameterError(
                f"{kind}: {method.name} takes seasons into account that it does not write, so that values cannot be "
                "told from them; harmonic can"
            )
    return tuple(kind for kind in get_args(Written) if kind in kinds)


def _fits(factory: Any) -> bool:
    required = any(parameter.default is parameter.empty for parameter in parameters_of(factory).values())
    return not required and bool(factory().fitted_from)


def check_per(bound: BoundMethod, per: str) -> None:
    """Refuse a unit of time that is unknown, or that no band has any use for.

    Raises
    ------
    ParameterError
    """
    if per not in get_args(Per):
        raise not_a_choice("per", per, get_args(Per))
    if per != "year" and not any(PER_YEAR.search(band.unit) for band in bound.bands):
        raise ParameterError(f"per={per}: no band is per year ({', '.join(band.name for band in bound.bands)})")


@dataclass(frozen=True, eq=False)
class Layered:
    """Stacks with a value for each layer, made of the input and of a method's bands.

    Attributes
    ----------
    kinds
        Which.
    names
        Of the layers: dates, as `open_stack` reads them back.
    method
        Whose curve it is; None where no curve is needed.
    axis
        The dates.
    """

    kinds: tuple[Written, ...]
    names: tuple[str, ...]
    method: Method | None
    axis: TimeAxis

    @property
    def bands(self) -> tuple[Band, ...]:
        """Those of one stack."""
        return tuple(Band(name, unit="{value}") for name in self.names)

    def of(self, values: NDArray[Any], found: Mapping[str, NDArray[Any]], answered: NDArray[np.bool_]) -> list[Floats]:
        """Return (time, pixel) of each kind, NaN where a pixel has no answer; all but `fitted` also where a value is.

        Parameters
        ----------
        values
            (time, pixel) input.
        found
            (pixel,) what the method found, by band; float64, as a line from year 0 whose numbers are rounded to float32
            misses NDVI by up to 4e-6, a hundred times what rounding the values themselves does.
        answered
            (pixel,) whether there is an answer.
        """
        stacks: list[Floats] = []
        for kind in self.kinds:
            if kind == "anomalies":
                season = 0.0 if self.method is None else self.method.seasonal_part(found, self.axis)
                stack = _centred(values - season)
            else:
                assert self.method is not None  # noqa: S101  (check_kinds)
                fitted = self.method.predict(found, self.axis)
                stack = fitted if kind == "fitted" else values - fitted
            stacks.append(np.where(answered, stack, np.nan))
        return stacks


def _centred(values: Floats) -> Floats:
    """Subtract each pixel's mean from (time, pixel), added up layer by layer.

    NumPy's sum adds in another order where there is one pixel only, and the last bits of it.
    """
    total, count = np.zeros((2, values.shape[1]))
    for layer in values:
        valid = ~np.isnan(layer)
        np.add(total, layer, out=total, where=valid)
        count += valid
    return values - total / count


@dataclass(frozen=True, eq=False)
class Answer:
    """What is written of a bound method's answer; see `BoundMethod`.

    Attributes
    ----------
    bound
        The method; of more bands than are written where the layers need them.
    count
        How many of its bands are written, the first ones.
    needs
        Of a pixel's series, for its answer to count; None of any.
    layered
        Stacks that are written too, if any.
    per
        ``year`` or ``decade``: what changes are told by.
    """

    bound: BoundMethod
    count: int
    needs: BoundCompleteness | None = None
    layered: Layered | None = None
    per: str = "year"

    @property
    def bands(self) -> tuple[Band, ...]:
        """What the rows of ``values`` are: layers of each stack, then the bands of the map."""
        layers = () if self.layered is None else self.layered.bands * len(self.layered.kinds)
        return (*layers, *self._written[0])

    @property
    def _written(self) -> tuple[tuple[Band, ...], tuple[float, ...]]:
        return rescale(self.bound.bands[: self.count], self.per)

    @property
    def halo(self) -> int:
        """That of the method."""
        return self.bound.halo

    @property
    def releases_gil(self) -> bool:
        """Whether the method does."""
        return self.bound.releases_gil

    def __call__(
        self, inputs: tuple[NDArray[Any], ...], dtype: str = "float64"
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Compute one block; a pixel whose series lacks something has status 2 and whole numbers only."""
        kept_as_it_is = self.layered is None and self.per == "year"
        found, status = self.bound(inputs, dtype if kept_as_it_is else "float64")
        own = self._own(inputs[0])
        integers = np.array([[band.integer] for band in self.bound.bands])
        if self.needs is not None:
            lacking = self.needs.lacking(own)
            found = np.where(lacking & ~integers, found.dtype.type(np.nan), found)
            status = np.where(lacking & (status != Status.NO_OBSERVATION), np.uint8(Status.TOO_FEW), status)
        if kept_as_it_is:
            return found, status
        values = np.empty((len(self.bands), len(status)), dtype=dtype)
        # What is too large for float32 becomes infinite, as in any map.
        with np.errstate(all="ignore"):
            first = len(values) - self.count
            np.multiply(found[: self.count], np.array([self._written[1]]).T, out=values[first:], casting="same_kind")
            if self.layered is not None:
                for part, stacks in self._layers(self.layered, own, found, status):
                    values[:first, part] = stacks
        return values, status

    def _layers(
        self, layered: Layered, own: NDArray[Any], found: NDArray[Any], status: NDArray[np.uint8]
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Yield the layers of all stacks, one upon another, for some pixels at a time."""
        series = own.reshape(len(own), -1)
        answered = np.isin(status, ANSWERED)
        for start in range(0, len(status), PIECE):
            part = slice(start, start + PIECE)
            named = {band.name: row[part] for band, row in zip(self.bound.bands, found, strict=True)}
            yield part, np.concatenate(layered.of(series[:, part], named, answered[part]))

    def _own(self, series: NDArray[Any]) -> NDArray[Any]:
        """Return the series of the block's own pixels, without the halo."""
        inner = slice(self.halo, -self.halo or None)
        return series[:, inner, inner] if self.halo else series

    def traceback_of(self, series: NDArray[Any]) -> str | None:
        """Return where a user's function fails at a pixel, None where it does not."""
        found = getattr(self.bound, "traceback_of", None)
        return None if found is None else found(series)
