"""Siegel's repeated medians: a line that withstands errors in up to half of the observations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band, Floats
from pixelwise.dates.axis import TimeAxis
from pixelwise.kernels.jit import readonly
from pixelwise.method import Method, select_bands
from pixelwise.methods.binding import BoundKernel, StraightLine, check_whole, only_the_response, series_of
from pixelwise.methods.theil_sen import BANDS as THEIL_SEN_BANDS

__all__ = ["Siegel", "siegel"]

BANDS = (
    Band(
        "slope", "Median over all dates of the median change per year to all other dates", "{value}/year", kind="change"
    ),
    *(band for band in THEIL_SEN_BANDS if band.name in ("intercept", "n")),
)

# The kernel's results have the same order as those of `theil_sen`.
ROWS = {band.name: row for row, band in enumerate(THEIL_SEN_BANDS)}


def siegel(*, min_obs: int = 3) -> Method:
    """Fit the line of repeated medians.

    With the valid values ``y`` at times ``t`` (decimal years)::

        slope     = median over i of (median over j, t[j] != t[i], of (y[j] - y[i]) / (t[j] - t[i]))
        intercept = median(y - slope * t)

    The line withstands arbitrary errors in up to half of the values; `theil_sen` in up to 29 %. There are no confidence
    limits, and the cost grows with the square of the number of dates.

    Parameters
    ----------
    min_obs
        Minimum number of valid values per pixel, at least 3.

    Returns
    -------
    Method
        Bands ``slope`` (value per year), ``intercept`` (at year 0), ``n``.

    Raises
    ------
    ParameterError
        When `min_obs` is below 3.

    Notes
    -----
    The status of a pixel is that of `theil_sen`. The values are those of `scipy.stats.siegelslopes`, to the last
    bit.

    References
    ----------
    Siegel, A. F. (1982). Robust regression using repeated medians. Biometrika 69, 242-244.

    Examples
    --------
    >>> fit = siegel()([[1.0], [30.0], [5.0], [70.0], [9.0], [11.0]], [2000, 2001, 2002, 2003, 2004, 2005])
    >>> float(fit["slope"][0])
    2.0
    """
    return Siegel(min_obs)


@dataclass(frozen=True)
class Siegel(StraightLine):
    """The line of repeated medians; see `siegel`."""

    min_obs: int = 3

    name: ClassVar[str] = "siegel"

    def __post_init__(self) -> None:
        check_whole(self.name, "min_obs", self.min_obs, 3, "as 2 values have one slope")

    @property
    def bands(self) -> tuple[Band, ...]:
        """All bands, slope first."""
        return BANDS

    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> BoundSiegel:
        """Choose the bands."""
        only_the_response(self.name, inputs)
        return BoundSiegel(select_bands(self, bands), axis.years, self.min_obs)


@dataclass(frozen=True, eq=False)
class BoundSiegel(BoundKernel):
    """`siegel` bound to dates and bands.

    Attributes
    ----------
    times
        (time,) decimal years.
    min_obs
        Minimum number of valid values.
    """

    times: Floats
    min_obs: int

    def fill(self, inputs: tuple[NDArray[Any], ...], result: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Fit the pixels of one block."""
        from pixelwise.kernels.output import output_into
        from pixelwise.kernels.theil_sen import fit_repeated_medians, make_scratch

        layers = len(self.times)
        values = series_of("siegel", inputs, layers)
        rows = readonly(np.array([ROWS[band.name] for band in self.bands], dtype=np.int64))
        fit_repeated_medians(
            values,
            readonly(self.times),
            self.min_obs,
            make_scratch(layers, repeated=True),
            output_into(rows, result, status),
        )
