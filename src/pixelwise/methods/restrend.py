"""RESTREND: the trend of each pixel's series after removing the effect of rain or another covariate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band, Floats
from pixelwise.dates.axis import TimeAxis
from pixelwise.kernels.jit import readonly
from pixelwise.kernels.tail_tables import TailTable, tail_table, tails_of
from pixelwise.method import Method, select_bands
from pixelwise.methods.binding import BoundKernel, check_whole, covariate_series, one_covariate

__all__ = ["ResidualTrend", "restrend"]

# The order is that of the kernel's results (kernels/restrend.py).
BANDS = (
    Band("slope", "Change of the residuals per year", "{value}/year", kind="change", pvalue="pvalue"),
    Band("intercept", "Value of the residuals' line at year 0", "{value}", kind="level"),
    Band(
        "pvalue", "Two-sided p-value of slope = 0, as if the residuals were observed (Student's t, n - 2)", kind="test"
    ),
    Band("stderr", "Standard error of the slope, as if the residuals were observed", "{value}/year", kind="level"),
    Band("covariate_slope", "Change of the value with the covariate", kind="signed", pvalue="covariate_pvalue"),
    Band("covariate_intercept", "Value where the covariate is 0", "{value}", kind="level"),
    Band("covariate_r2", "Share of the variance that the covariate explains", kind="share"),
    Band("covariate_pvalue", "Two-sided p-value of covariate_slope = 0 (Student's t, n - 2)", kind="test"),
    Band("n", "Number of dates on which both are valid", integer=True, kind="count"),
)
PVALUES = ("pvalue", "covariate_pvalue")


def restrend(*, min_obs: int = 4) -> Method:
    """Find the trend left after removing the effect of a covariate such as rain (RESTREND).

    For the ``n`` dates on which the response ``y`` and the covariate ``x`` are valid, at times ``t`` (decimal years)::

        1.  y = covariate_intercept + covariate_slope * x + e,   sum(e**2) minimal
        2.  e = intercept + slope * t + u,                       sum(u**2) minimal

    each with the standard errors and p-values of `ols`. Evans & Geerken interpreted a negative trend of the residuals
    as degradation by land use, which rain does not explain.

    If the covariate has a trend itself, removing it also removes part of the response's trend: ``slope`` is then
    ``1 - r**2`` times the trend at constant rain, with ``r`` the correlation of covariate and time, and ``pvalue`` is
    too large. On the other hand, step 2 ignores the degree of freedom that step 1 used, which makes ``pvalue`` slightly
    too small. ``regress(covariates="rain,time")`` does both in one step and is right in either case: its ``time`` is
    the slope that step 2 would find if the covariate were also removed from time (Frisch & Waugh 1933).

    Parameters
    ----------
    min_obs
        Minimum number of dates on which both are valid, at least 4.

    Returns
    -------
    Method
        Bands ``slope``, ``stderr`` (value per year), ``intercept`` (value), ``pvalue`` of step 2; ``covariate_slope``
        (value per unit of the covariate), ``covariate_intercept`` (value), ``covariate_r2``, ``covariate_pvalue`` of
        step 1; ``n``.

    Raises
    ------
    ParameterError
        When `min_obs` is below 4: with 3 dates, all residuals of step 1 have the same shape.

    Notes
    -----
    It needs a covariate stack: ``inputs={"rain": stack}``, ``--with rain=FILES``. Before mapping degradation, check
    where rain matters at all (``covariate_pvalue``), and that its effect did not change over time, which breaks the
    method (Wessels et al. 2012; Burrell et al. 2017).

    The status of a pixel is the first of these that applies:

    - 1 no date on which both are valid, 2 fewer than `min_obs`: all bands but ``n`` are NaN;
    - 6 a value is infinite: likewise;
    - 3 the response is constant on these dates: both slopes and ``intercept`` are 0, ``covariate_intercept`` is that
      value, the others are NaN;
    - 4 the covariate is constant on these dates, or all are the same date: all bands but ``n`` are NaN;
    - 6 a sum of squares lies beyond 1e290 or below 1e-290, where squares overflow or underflow float64: likewise; or
      the covariate leaves less than 1e-13 of the response's spread, mere rounding: the bands of step 2 are NaN.

    References
    ----------
    Evans, J. & Geerken, R. (2004). Discrimination between climate and human-induced dryland degradation. Journal of
    Arid Environments 57, 535-554.
    Frisch, R. & Waugh, F. V. (1933). Partial time regressions as compared with individual trends. Econometrica 1,
    387-401.
    Wessels, K. J., van den Bergh, F. & Scholes, R. J. (2012). Limits to detectability of land degradation by trend
    analysis of vegetation index data. Remote Sensing of Environment 125, 10-22.
    Burrell, A. L., Evans, J. P. & Liu, Y. (2017). Detecting dryland degradation using Time Series Segmentation and
    Residual Trend analysis (TSS-RESTREND). Remote Sensing of Environment 197, 43-57.

    Examples
    --------
    >>> found = restrend()([[1.0], [2.5], [3.0], [2.0]], [2000, 2001, 2002, 2003], rain=[[1.0], [3.0], [4.0], [3.0]])
    >>> round(float(found["covariate_slope"][0]), 3)
    0.658
    """
    return ResidualTrend(min_obs)


@dataclass(frozen=True)
class ResidualTrend(Method):
    """The trend of residuals; see `restrend`."""

    min_obs: int = 4

    name: ClassVar[str] = "restrend"

    def __post_init__(self) -> None:
        check_whole(self.name, "min_obs", self.min_obs, 4, "as with 3 all residuals have the same shape")

    @property
    def bands(self) -> tuple[Band, ...]:
        """All bands, the slope of the residuals first."""
        return BANDS

    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> BoundResidualTrend:
        """Tabulate p-values for the degrees of freedom that can occur."""
        one_covariate(self.name, inputs, axis, "the covariate")
        chosen = select_bands(self, bands)
        tested = any(band.name in PVALUES for band in chosen)
        table = tail_table(self.min_obs - 2, len(axis) - 2) if tested and len(axis) >= self.min_obs else None
        return BoundResidualTrend(chosen, axis.years, self.min_obs, table)


@dataclass(frozen=True, eq=False)
class BoundResidualTrend(BoundKernel):
    """`restrend` bound to dates and bands.

    Attributes
    ----------
    years
        (time,) decimal years.
    min_obs
        Minimum number of dates on which both are valid.
    table
        Table of p-values, if they are needed.
    """

    years: Floats
    min_obs: int
    table: TailTable | None

    def fill(self, inputs: tuple[NDArray[Any], ...], result: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Fit the pixels of one block."""
        from pixelwise.kernels.output import output_into
        from pixelwise.kernels.restrend import make_scratch
        from pixelwise.kernels.restrend import restrend as fit

        values, (other,) = covariate_series("restrend", inputs, len(self.years), 1)
        fit(
            values,
            other,
            readonly(self.years),
            self.min_obs,
            tails_of(self.table),
            make_scratch(len(self.years)),
            output_into(self.places_in(BANDS), result, status),
        )
