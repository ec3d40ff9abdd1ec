"""From a method's results to what a job writes.

`PostProcessed` wraps a bound method in another bound method, so that neither the engine nor the methods know of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import ANSWERED, PER_YEAR, Band, Floats, rescale
from pixelwise.choices import BandKind
from pixelwise.dates.axis import TimeAxis
from pixelwise.dates.completeness import BoundCompleteness
from pixelwise.errors import ParameterError
from pixelwise.jobs.climatology import FROM_CLIMATOLOGY, Climatology
from pixelwise.jobs.output_spec import OutputSpec
from pixelwise.kernels.jit import compiling
from pixelwise.method import BoundMethod, Method, parameters_of, select_bands
from pixelwise.methods import METHODS

__all__ = ["LayerOutputs", "PostProcessed", "check_kinds", "check_per"]

#: Pixels whose curves are computed at once: a few float64 arrays of all layers then fit into the CPU cache.
PIECE = 1024


def check_kinds(method: Method, kinds: Iterable[str]) -> None:
    """Refuse stacks to write that make no sense for a method.

    Raises
    ------
    ParameterError
    """
    for kind in kinds:
        if kind in FROM_CLIMATOLOGY or (method.fitted_from and (kind != "deseasonalised" or method.season_term)):
            continue
        if kind == "deseasonalised":
            raise ParameterError(
                f"{kind}: {method.name} fits no season that could be subtracted; these do: {_known(season=True)}; "
                "anomalies are values minus the mean of their month, half-month, ... with any method"
            )
        as_set = ", as its parameters are," if type(method).predict is not Method.predict else ""
        raise ParameterError(f"{kind}: {method.name}{as_set} fits no curve to the values; these do: {_known()}")


def _known(*, season: bool = False) -> str:
    """Return the names of the methods that fit a curve, or one with a season."""
    required = [factory for factory in METHODS if any(p.default is p.empty for p in parameters_of(factory).values())]
    made = {factory.__name__: factory() for factory in METHODS if factory not in required}
    return ", ".join(name for name, one in made.items() if one.fitted_from and (one.season_term or not season))


def check_per(bands: Sequence[Band], per: str) -> None:
    """Refuse a unit of time that no band uses.

    Raises
    ------
    ParameterError
    """
    if per != "year" and not any(PER_YEAR.search(band.unit) for band in bands):
        raise ParameterError(f"per={per}: no band is per year ({', '.join(band.name for band in bands)})")


@dataclass(frozen=True, eq=False)
class LayerOutputs:
    """Stacks with a value for each layer, computed from the input and the bands of a method.

    Attributes
    ----------
    kinds
        The stacks to write.
    names
        Names of the layers: dates, as `open_stack` reads them back.
    method
        The method that fits the curve; None if no curve is needed.
    axis
        The dates.
    climatology
        What is usual at each date; None if nothing is compared with it.
    """

    kinds: tuple[str, ...]
    names: tuple[str, ...]
    method: Method | None
    axis: TimeAxis
    climatology: Climatology | None = None

    def bands_of(self, kind: str) -> tuple[Band, ...]:
        """Return the bands of one stack."""
        curve = "" if self.method is None else self.method.name
        usual = "" if self.climatology is None else self.climatology.words
        said = {
            "fitted": f"Fitted curve of {curve}",
            "residuals": f"Value minus the fitted curve of {curve}",
            "deseasonalised": f"Value minus the fitted season of {curve}, minus the mean of the rest",
            "anomalies": f"Anomaly from {usual}",
            "standardized": f"Anomaly from {usual}, in standard deviations of that period",
        }
        unit = "" if kind == "standardized" else "{value}"
        sort: BandKind = "level" if kind == "fitted" else "signed"
        return tuple(Band(name, said[kind], unit, kind=sort) for name in self.names)

    def cautions(self) -> list[str]:
        """Return what to know of the base period, one line each."""
        return [] if self.climatology is None else list(self.climatology.cautions())

    @cached_property
    def bands(self) -> tuple[Band, ...]:
        """The bands of all stacks, one after the other."""
        return tuple(band for kind in self.kinds for band in self.bands_of(kind))

    def of(self, values: NDArray[Any], found: Mapping[str, NDArray[Any]], answered: NDArray[np.bool_]) -> list[Floats]:
        """Return a (time, pixel) array for each kind, NaN where a pixel has no result or (except `fitted`) no value.

        Parameters
        ----------
        values
            (time, pixel) input.
        found
            (pixel,) results of the method, by band. In float64: with coefficients rounded to float32, a line from
            year 0 is off by up to 4e-6 in NDVI, a hundred times more than rounding the values themselves.
        answered
            (pixel,) whether there is a result.
        """
        odd = None if self.climatology is None else self.climatology.anomalies(values)
        stacks = [self._stack(kind, values, found, odd) for kind in self.kinds]
        # The sign of a NaN that arithmetic makes depends on how many pixels are computed at once.
        return [np.where(answered & ~np.isnan(stack), stack, np.nan) for stack in stacks]

    def _stack(self, kind: str, values: NDArray[Any], found: Mapping[str, NDArray[Any]], odd: Floats | None) -> Floats:
        """Return the (time, pixel) values of one kind, whether a pixel has a result or not; `odd` are the anomalies."""
        if kind in FROM_CLIMATOLOGY:
            assert self.climatology is not None  # noqa: S101  (`layers_beside`)
            assert odd is not None  # noqa: S101
            return odd if kind == "anomalies" else self.climatology.standardized(odd)
        assert self.method is not None  # noqa: S101  (`check_kinds`)
        if kind == "deseasonalised":
            return _centred(values - self.method.seasonal_part(found, self.axis))
        fitted = self.method.predict(found, self.axis)
        return fitted if kind == "fitted" else values - fitted


def _centred(values: Floats) -> Floats:
    """Subtract the mean of each pixel from (time, pixel) values, summing layer by layer.

    NumPy's own sum adds in a different order when there is only one pixel, which changes the last bits.
    """
    total, count = np.zeros((2, values.shape[1]))
    for layer in values:
        valid = ~np.isnan(layer)
        np.add(total, layer, out=total, where=valid)
        count += valid
    return values - total / count


@dataclass(frozen=True, eq=False)
class PostProcessed:
    """A bound method whose results are filtered, rescaled and extended before they are written; see `BoundMethod`.

    Attributes
    ----------
    bound
        The method; it has more bands than are written if `layered` needs them.
    count
        How many of its bands are written: the first ones.
    needs
        What the series of a pixel needs for its result to count; None for nothing.
    layered
        Stacks to write as well, if any.
    per
        ``year`` or ``decade``: the unit of time of changes.
    """

    bound: BoundMethod
    count: int
    needs: BoundCompleteness | None = None
    layered: LayerOutputs | None = None
    per: str = "year"

    @classmethod
    def of(
        cls, method: Method, axis: TimeAxis, inputs: Mapping[str, TimeAxis], output: OutputSpec, layered: LayerOutputs
    ) -> PostProcessed:
        """Bind a method to the requested bands, and to those that the layers also need.

        Raises
        ------
        ParameterError
            As `Method.bind` and `check_per` do.
        """
        names, further = output.bands, []
        if layered.kinds and layered.method is not None:
            names = [band.name for band in select_bands(method, output.bands)]
            further = [name for name in method.fitted_from if name not in names]
            names += further
        with compiling(method.name):
            bound = method.bind(axis, names, inputs)
        count = len(bound.bands) - len(further)
        check_per(bound.bands[:count], output.per)
        needs = output.needs.bind(axis) if output.needs else None
        return cls(bound, count, needs, layered if layered.kinds else None, output.per)

    @property
    def simplest(self) -> BoundMethod:
        """What to call for the same result: the method itself if its results are written unchanged."""
        return self.bound if self.needs is None and self._numbers_stay else self

    @property
    def written(self) -> tuple[Band, ...]:
        """The bands of the map, without ``status``."""
        return rescale(self.bound.bands[: self.count], self.per)[0]

    @property
    def bands(self) -> tuple[Band, ...]:
        """The rows of ``values``: the layers of each stack, then the bands of the map."""
        layers = () if self.layered is None else self.layered.bands
        return (*layers, *self.written)

    @property
    def _numbers_stay(self) -> bool:
        """Whether the numbers of the method are written unchanged."""
        return self.layered is None and self.per == "year"

    @property
    def halo(self) -> int:
        """The halo of the method."""
        return self.bound.halo

    @property
    def releases_gil(self) -> bool:
        """Whether the method releases the GIL."""
        return self.bound.releases_gil

    def __call__(
        self, inputs: tuple[NDArray[Any], ...], dtype: str = "float64"
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Compute one block; a pixel whose series is not complete enough gets status 2 and keeps only integer bands."""
        found, status = self.bound(inputs, dtype if self._numbers_stay else "float64")
        own = self._own(inputs[0])
        if self.needs is not None:
            integers = np.array([band.integer for band in self.bound.bands])
            found, status = self.needs.withhold(found, status, own, integers)
        if self._numbers_stay:
            return found, status
        values = np.empty((len(self.bands), len(status)), dtype=dtype)
        # Values too large for float32 become infinite, as in any map.
        with np.errstate(all="ignore"):
            first = len(values) - self.count
            factors = np.array([rescale(self.bound.bands[: self.count], self.per)[1]]).T
            np.multiply(found[: self.count], factors, out=values[first:], casting="same_kind")
            if self.layered is not None:
                for part, stacks in self._layers(self.layered, own, found, status):
                    values[:first, part] = stacks
        return values, status

    def _layers(
        self, layered: LayerOutputs, own: NDArray[Any], found: NDArray[Any], status: NDArray[np.uint8]
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Yield the layers of all stacks, stacked along the first axis, for some pixels at a time."""
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
        """Return the traceback of a user's function that fails at a pixel; None if it does not fail."""
        found = getattr(self.bound, "traceback_of", None)
        return None if found is None else found(series)
