"""What methods share: checks of parameters and inputs, and bound methods that are computed by kernels."""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band, Floats
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import ParameterError
from pixelwise.kernels.jit import readonly
from pixelwise.method import Method
from pixelwise.words import shown

__all__ = [
    "LARGEST_YEAR",
    "BoundKernel",
    "StraightLine",
    "check_confidence_level",
    "check_origin",
    "check_paired",
    "check_whole",
    "covariate_series",
    "line_at",
    "one_covariate",
    "only_the_response",
    "series_of",
]

#: No stack has that many layers, and a C ``int`` holds no more.
LARGEST_WHOLE = 2**31 - 1
#: Allows geological ages; farther away, an intercept has no significant digits left.
LARGEST_YEAR = 1e10

#: Values (and whole chunks of pixels) computed at a time: they fit into the L2 cache together with their results.
PIECE_VALUES, PIECE_PIXELS = 1 << 16, 256

FLOATS = {np.dtype(np.float32), np.dtype(np.float64)}


class StraightLine(Method):
    """A method that fits a straight line to the values, which its bands ``slope`` and ``intercept`` describe.

    Attributes
    ----------
    origin
        The decimal year of the intercept.
    """

    origin: float = 0.0

    @property
    def fitted_from(self) -> tuple[str, ...]:
        """Slope and intercept."""
        return ("slope", "intercept")

    def predict(self, values: Mapping[str, NDArray[Any]], axis: TimeAxis) -> Floats:
        """Return the line at the dates of `axis`: (time, pixel), from ``slope`` and ``intercept``."""
        return line_at(values, axis, self.origin)


@dataclass(frozen=True, eq=False)
class BoundKernel(ABC):
    """A method bound to dates and bands whose kernels need one series at a time; see `BoundMethod`.

    Attributes
    ----------
    bands
        The bands to compute.
    """

    bands: tuple[Band, ...]

    @property
    def halo(self) -> int:
        """No pixels outside the block are needed."""
        return 0

    @property
    def releases_gil(self) -> bool:
        """Kernels release the GIL."""
        return True

    @property
    def in_pieces(self) -> bool:
        """Whether `fill` gets some pixels at a time, because it allocates more arrays of all dates or many results."""
        return False

    def __call__(
        self, inputs: tuple[NDArray[Any], ...], dtype: str = "float64"
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Compute one block."""
        pixels = math.prod(inputs[0].shape[1:])
        result = np.empty((len(self.bands), pixels), dtype=dtype)
        status = np.empty(pixels, dtype=np.uint8)
        # Kernels are compiled for series of one type: up to 5 s for each combination.
        mixed = {values.dtype for values in inputs} == FLOATS and len({values.shape for values in inputs}) == 1
        # Python runs the kernels if numba is disabled, and would warn where IEEE 754 defines a result.
        with np.errstate(all="ignore"):
            if self.in_pieces or mixed:
                size = max(PIECE_VALUES // max(len(inputs[0]), 1) // PIECE_PIXELS, 1) * PIECE_PIXELS
                for start in range(0, pixels, size):
                    part = slice(start, start + size)
                    found = np.empty((len(self.bands), len(status[part])), dtype=dtype)
                    series = (values[..., part] for values in inputs)
                    wide = np.float64 if mixed else None
                    self.fill(tuple(np.ascontiguousarray(one, dtype=wide) for one in series), found, status[part])
                    result[:, part] = found
            else:
                self.fill(inputs, result, status)
        return result, status

    @abstractmethod
    def fill(self, inputs: tuple[NDArray[Any], ...], result: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Write (band, pixel) values and (pixel,) status of some pixels, whose inputs are not checked yet.

        All inputs that are float32 or float64 have the same type.
        """

    def places_in(self, known: Sequence[Band]) -> NDArray[np.int64]:
        """Return the index of each of `bands` among the bands that a kernel computes."""
        return readonly(np.array([known.index(band) for band in self.bands], dtype=np.int64))


def check_whole(method: str, name: str, value: Any, least: int, why: str = "", most: int = LARGEST_WHOLE) -> None:
    """Refuse a parameter that is not a whole number from `least` to `most`; `why` explains the lower limit."""
    if not _is_number(value) or not least <= value < math.inf or value != int(value):
        raise ParameterError(
            f"{name}={shown(value)}: {method} needs a whole number, at least {least}{', ' if why else ''}{why}"
        )
    if value > most:
        raise ParameterError(f"{name}={shown(value)}: {method} needs a whole number, at most {most}")


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def check_confidence_level(method: str, value: float) -> None:
    """Refuse a confidence level that is not between 0 and 1."""
    if not _is_number(value) or not 0 < value < 1:
        hint = f" ({value:g} % is confidence_level={value / 100:g})" if _is_number(value) and 1 < value < 100 else ""
        given = f"{value:g}" if isinstance(value, float) else shown(value)
        raise ParameterError(f"confidence_level={given}: {method} needs a number between 0 and 1, such as 0.95{hint}")


def check_origin(method: str, value: float) -> None:
    """Refuse a year that no raster can be from."""
    if not _is_number(value) or not -LARGEST_YEAR <= value <= LARGEST_YEAR:
        raise ParameterError(f"origin={shown(value)}: {method} needs a decimal year, such as 2000, or 0")


def only_the_response(method: str, inputs: Mapping[str, TimeAxis]) -> None:
    """Refuse covariate stacks."""
    if inputs:
        raise ParameterError(f"{method} takes no covariates, but got {', '.join(inputs)}")


def series_of(method: str, inputs: tuple[NDArray[Any], ...], layers: int) -> NDArray[Any]:
    """Return the response of a block, read-only and contiguous.

    Raises
    ------
    ParameterError
        When it is not a (time, pixel) array of float32 or float64 with as many layers as there are dates.
    """
    values = inputs[0]
    if values.ndim != 2 or len(values) != layers or values.dtype not in (np.float32, np.float64):
        raise ParameterError(
            f"{method} got {values.dtype} values of shape {values.shape} for {layers} times; "
            "expected float32 or float64 (time, pixel)"
        )
    return readonly(np.ascontiguousarray(values))


def line_at(values: Mapping[str, NDArray[Any]], axis: TimeAxis, origin: float = 0.0) -> Floats:
    """Return the straight lines of ``slope`` and ``intercept`` at the dates of `axis`.

    Parameters
    ----------
    values
        (pixel,) or single numbers by band.
    axis
        The dates.
    origin
        The decimal year of the intercept.

    Returns
    -------
    (time, pixel) float64
    """
    slope = np.atleast_1d(np.asarray(values["slope"], dtype=np.float64))
    intercept = np.atleast_1d(np.asarray(values["intercept"], dtype=np.float64))
    line: Floats = slope * (axis.years[:, None] - origin) + intercept
    return line


def covariate_series(
    method: str, inputs: tuple[NDArray[Any], ...], layers: int, count: int
) -> tuple[NDArray[Any], tuple[NDArray[Any], ...]]:
    """Return the response of a block and `count` covariates, read-only and contiguous.

    Raises
    ------
    ParameterError
        When there are more or fewer, or one is not a (time, pixel) array of float32 or float64 as large as the
        response.
    """
    values = series_of(method, inputs, layers)
    if len(inputs) != 1 + count:
        raise ParameterError(f"{method} got {len(inputs) - 1} covariates; expected {count}")
    for other in inputs[1:]:
        if series_of(method, (other,), layers).shape != values.shape:
            raise ParameterError(f"{method} got a covariate of shape {other.shape}; expected {values.shape}")
    return values, tuple(readonly(np.ascontiguousarray(other)) for other in inputs[1:])


def one_covariate(method: str, inputs: Mapping[str, TimeAxis], axis: TimeAxis, what: str) -> str:
    """Return the name of the only covariate stack, which must have a layer for each one of the response.

    `what` describes the expected stack.
    """
    if len(inputs) != 1:
        given = f"{len(inputs)} are given ({', '.join(inputs)})" if inputs else "none is given"
        raise ParameterError(
            f"{method} needs one stack besides the response, {what}, but {given}: "
            "inputs={'NAME': stack}, or --with NAME=FILES on the command line"
        )
    check_paired(method, inputs, axis)
    return next(iter(inputs))


def check_paired(method: str, inputs: Mapping[str, TimeAxis], axis: TimeAxis) -> None:
    """Refuse covariate stacks that do not have a layer for each one of the response."""
    for name, other in inputs.items():
        if len(other) != len(axis):
            raise ParameterError(f"{method} got {len(other)} layers of {name!r} for {len(axis)} of the response")
