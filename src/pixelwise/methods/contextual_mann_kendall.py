"""The Mann-Kendall test of a pixel together with its neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import ParameterError
from pixelwise.kernels.jit import readonly
from pixelwise.method import BoundMethod, Method, select_bands
from pixelwise.methods.binding import check_whole, only_the_response
from pixelwise.methods.mann_kendall import MannKendall
from pixelwise.methods.theil_sen import TheilSen

__all__ = ["ContextualMannKendall", "contextual_mann_kendall"]

BANDS = (
    Band(
        "slope",
        "Median change per year between all pairs of dates of the pixel itself (Theil-Sen)",
        "{value}/year",
        kind="change",
        pvalue="pvalue",
    ),
    Band("s", "Mean Mann-Kendall score of the window", kind="signed"),
    Band("var_s", "Variance of the mean score, with the covariances of the window's pixels", kind="level"),
    Band("z", "Standard normal score of the window, without correction for continuity", kind="signed", pvalue="pvalue"),
    Band("pvalue", "Two-sided p-value of no trend in the window", kind="test"),
    Band("members", "Pixels of the window that have a test", integer=True, kind="count"),
    Band("n", "Number of valid observations of the pixel itself", integer=True, kind="count"),
)
# Rows of the kernel's results (kernels/contextual.py).
OF_WINDOWS = ("s", "var_s", "z", "pvalue", "members")

# 3 km of Landsat pixels; each block is read with half a window around it.
LARGEST_WINDOW = 101


def contextual_mann_kendall(*, window: int = 3, min_obs: int = 4) -> Method:
    """Test for a monotonic trend in a window around each pixel.

    With the scores ``s[k]`` and variances ``var[k]`` of `mann_kendall` for the ``m`` pixels of a window that have
    a test, and the correlation ``rho[j, k]`` of their series::

        s      = mean of s[k]
        var_s  = 1/m**2 * sum over j, k of rho[j, k] sqrt(var[j] var[k])
        z      = s / sqrt(var_s)
        pvalue = 2 P(Z > |z|),  Z standard normal

    Neighbours that change alike confirm each other, and a single pixel that does not is outvoted: pixels within a
    forest are tested with more power, and the map has less noise. The price is that borders between land uses blur by
    half a window, and that p-values of neighbours are not independent of each other. As in `mann_kendall`,
    autocorrelation makes them too small.

    Parameters
    ----------
    window
        Width and height in pixels, an odd number. Pixels outside the image do not count; 1 tests each pixel alone.
    min_obs
        Minimum number of valid values per pixel, at least 3.

    Returns
    -------
    Method
        Bands ``slope`` (of the pixel itself, value per year), ``s``, ``var_s``, ``z``, ``pvalue``, ``members``, ``n``.

    Raises
    ------
    ParameterError
        For an even window, or when `min_obs` is below 3.

    Notes
    -----
    The status is that of the pixel itself, as in `mann_kendall`: if the pixel has no test, neither has its window. It
    is also 6 if the series of a window cancel each other out. Constant pixels are members with a score of 0.

    ``rho`` is Pearson's correlation of the unmodified series. A missing value counts as the mean of its series, which
    makes correlations somewhat too small but keeps the sum positive.

    Neeti & Eastman prewhiten first; this method does not. As in their eq. 10, there is no continuity correction; ConMK
    has one.

    References
    ----------
    Neeti, N. & Eastman, J. R. (2011). A contextual Mann-Kendall approach for the assessment of trend significance in
    image time series. Trans. GIS 15, 599-611.
    Douglas, E. M., Vogel, R. M. & Kroll, C. N. (2000). Trends in floods and low flows in the United States: impact of
    spatial correlation. J. Hydrol. 240, 90-105.
    """
    return ContextualMannKendall(window, min_obs)


@dataclass(frozen=True)
class ContextualMannKendall(Method):
    """The test of a window; see `contextual_mann_kendall`."""

    window: int = 3
    min_obs: int = 4

    name: ClassVar[str] = "contextual_mann_kendall"

    def __post_init__(self) -> None:
        check_whole(self.name, "window", self.window, 1, most=LARGEST_WINDOW)
        if self.window % 2 == 0:
            raise ParameterError(
                f"window={self.window}: {self.name} needs an odd number, so that a pixel is its centre"
            )
        check_whole(self.name, "min_obs", self.min_obs, 3, "as 2 values always rise or fall")

    @property
    def halo(self) -> int:  # type: ignore[override]
        """Half a window."""
        return self.window // 2

    @property
    def bands(self) -> tuple[Band, ...]:
        """All bands, slope first."""
        return BANDS

    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> BoundContextual:
        """Bind the test and the slope of single series."""
        only_the_response(self.name, inputs)
        chosen = select_bands(self, bands)
        slope = TheilSen(min_obs=self.min_obs).bind(axis, ["slope"], {})
        return BoundContextual(
            bands=chosen,
            layers=len(axis),
            halo=self.halo,
            test=MannKendall(min_obs=self.min_obs).bind(axis, ["s", "var_s", "n"], {}),
            slope=slope if any(band.name == "slope" for band in chosen) else None,
        )


@dataclass(frozen=True, eq=False)
class BoundContextual:
    """`contextual_mann_kendall` bound to dates and bands; see `pixelwise.method.BoundMethod`.

    Attributes
    ----------
    bands
        The bands to compute.
    layers
        Number of dates.
    halo
        Half a window.
    test, slope
        The test of single series, and their Theil-Sen slope if it is needed.
    """

    bands: tuple[Band, ...]
    layers: int
    halo: int
    test: BoundMethod
    slope: BoundMethod | None
    releases_gil: bool = True

    def __call__(
        self, inputs: tuple[NDArray[Any], ...], dtype: str = "float64"
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Test the pixels of one block; see `BoundMethod`."""
        from pixelwise.kernels import contextual as kernels

        values = readonly(self._checked(inputs[0]))
        series = values.reshape(self.layers, -1)
        padded = values.shape[1:]
        height, width = (size - 2 * self.halo for size in padded)
        (score, variance, n), status = self.test((series,))
        mean, scale = np.empty(series.shape[1]), np.empty(series.shape[1])
        found = np.empty((kernels.BANDS, height, width))
        found_status = np.empty((height, width), dtype=np.uint8)
        with np.errstate(all="ignore"):
            kernels.standardise(series, status, variance, mean, scale)
            kernels.test_windows(
                values,
                self.halo,
                kernels.Tests._make(plane.reshape(padded) for plane in (score, status, mean, scale)),
                kernels.make_scratch(height, width, self.halo),
                found,
                found_status,
            )
        inner = (..., slice(self.halo, self.halo + height), slice(self.halo, self.halo + width))
        result = np.empty((len(self.bands), height * width), dtype=dtype)
        for row, band in zip(result, self.bands, strict=True):
            if band.name in OF_WINDOWS:
                row[:] = found[OF_WINDOWS.index(band.name)].ravel()
            elif band.name == "n":
                row[:] = n.reshape(padded)[inner].ravel()
            elif self.slope is not None:
                own = np.ascontiguousarray(values[inner]).reshape(self.layers, -1)
                row[:] = self.slope((readonly(own),))[0][0]
        return result, found_status.ravel()

    def _checked(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return (time, y + 2 halo, x + 2 halo) values, contiguous; without a halo, they arrive as (time, pixel)."""
        if self.halo == 0 and values.ndim == 2:
            values = values[:, None]
        least = 2 * self.halo
        fits = values.ndim == 3 and len(values) == self.layers and min(values.shape[1:]) >= least
        if not fits or values.dtype not in (np.float32, np.float64):
            raise ParameterError(
                f"contextual_mann_kendall got {values.dtype} values of shape {values.shape} for {self.layers} times; "
                f"expected float32 or float64 (time, y + {least}, x + {least})"
            )
        return np.ascontiguousarray(values)
