"""From what a method answers to what a job writes of it.

An `Answer` is a bound method made of another one, so that neither the engine nor any method knows of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.completeness import BoundCompleteness
from pixelwise.method import Band, BoundMethod, Status

__all__ = ["Answer"]


@dataclass(frozen=True, eq=False)
class Answer:
    """What is written of a bound method's answer; see `BoundMethod`.

    Attributes
    ----------
    bound
        The method.
    needs
        Of a pixel's series, for its answer to count.
    """

    bound: BoundMethod
    needs: BoundCompleteness

    @property
    def bands(self) -> tuple[Band, ...]:
        """What the rows of ``values`` are."""
        return self.bound.bands

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
        values, status = self.bound(inputs, dtype)
        lacking = self.needs.lacking(self._own(inputs[0]))
        # A method may return a view of what it was lent.
        values = np.where(lacking & ~self._integers, values.dtype.type(np.nan), values)
        return values, np.where(lacking & (status != Status.NO_OBSERVATION), np.uint8(Status.TOO_FEW), status)

    @property
    def _integers(self) -> NDArray[np.bool_]:
        return np.array([[band.integer] for band in self.bound.bands])

    def _own(self, series: NDArray[Any]) -> NDArray[Any]:
        """Return the series of the block's own pixels, without the halo."""
        inner = slice(self.halo, -self.halo or None)
        return series[:, inner, inner] if self.halo else series

    def traceback_of(self, series: NDArray[Any]) -> str | None:
        """Return where a user's function fails at a pixel, None where it does not."""
        found = getattr(self.bound, "traceback_of", None)
        return None if found is None else found(series)
