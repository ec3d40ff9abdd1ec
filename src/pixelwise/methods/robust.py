"""Robust regression: a straight line through each pixel's series that outliers do not tilt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band, Floats
from pixelwise.dates.axis import TimeAxis
from pixelwise.kernels.jit import readonly
from pixelwise.method import Method, select_bands
from pixelwise.methods.binding import BoundKernel, StraightLine, check_whole, only_the_response, series_of
from pixelwise.words import not_a_choice

__all__ = ["RobustLine", "robust"]

Kind = Literal["huber", "bisquare"]

# The order is that of the kernel's results (kernels/robust.py).
BANDS = (
    Band("slope", "Change per year of the robust line", "{value}/year", kind="change", pvalue="pvalue"),
    Band("intercept", "Value of the robust line at year 0", "{value}", kind="level"),
    Band("pvalue", "Two-sided p-value of slope = 0 (Student's t, n - 2 degrees of freedom)", kind="test"),
    Band("stderr", "Standard error of the slope", "{value}/year", kind="level"),
    Band("scale", "Robust standard deviation of residuals: their median size / 0.6745", "{value}", kind="level"),
    Band("n", "Number of valid observations", integer=True, kind="count"),
)


def robust(*, kind: Kind = "huber", min_obs: int = 5) -> Method:
    """Fit a straight line to each pixel's series by iterated weights, so that outliers do not tilt it.

    An M-estimate: with residuals ``e`` of the ``n`` valid values, their scale ``s`` and ``u = e / s``, the line that
    minimises ``sum(w * e**2)`` is fitted repeatedly, each time with weights from the residuals of the previous fit::

        s        = median(|e|) / 0.6745
        huber    : w = 1 if |u| <= 1.345, else 1.345 / |u|
        bisquare : w = (1 - (u / 4.685)**2)**2 if |u| < 4.685, else 0

    Both have 95 % of the efficiency of least squares if residuals are normal. Huber's weights start from least squares
    and lead to the same line from any start. The bisquare ignores large outliers altogether, but may have several
    solutions: here, the one near Huber's. Huber's weights do not help against an outlier at either end of a series,
    where it tilts the line most.

    Iteration stops when another fit moves scale and line, at first and last date, by less than 1e-14 of the scale.
    Then, with ``psi = w * u`` and its derivative ``psi'``, means and variances over the ``n`` residuals::

        k      = 1 + 2 / n * var(psi') / mean(psi')**2
        stderr = k * s / mean(psi') * sqrt(sum(psi**2) / (n - 2) / Sxx)
        pvalue = P(|T| > |slope / stderr|),  T Student's t with n - 2 degrees of freedom

    Parameters
    ----------
    kind
        ``huber`` or ``bisquare`` (Tukey's biweight).
    min_obs
        Minimum number of valid values per pixel, at least 4.

    Returns
    -------
    Method
        Bands ``slope`` and ``stderr`` (value per year), ``intercept`` (value at year 0), ``pvalue``, ``scale``
        (value), ``n``.

    Raises
    ------
    ParameterError
        When `kind` is unknown, or `min_obs` is below 4: with a line through two of three values, the scale is 0.

    Notes
    -----
    The status of a pixel is the first of these that applies:

    - 1 no valid value, 2 fewer than `min_obs`: all bands but ``n`` are NaN;
    - 3 all valid values equal: the slope is 0, the intercept that value, the others are NaN;
    - 4 all valid values, or all that keep a weight, of the same date: all bands but ``n`` are NaN;
    - 6 half of the values lie on the line, so the scale is 0 and says nothing; or 2000 fits were not enough, a value
      is infinite or beyond 1e145, or the standard error is undefined: slope and intercept as computed, ``stderr`` and
      ``pvalue`` are NaN.

    Slope, intercept, scale and standard error are those of statsmodels' `RLM` (``HuberT`` or ``TukeyBiweight``, scale
    ``mad``, covariance ``H1``), iterated to convergence; R's `MASS::rlm` rounds 0.6745 to four digits and divides a
    variance by ``n - 1``. Both use the normal distribution or give no p-value; with 21 values, Student's t brings the
    share of trend-free series with ``pvalue < 0.05`` closer to 5 % (`benchmarks/error_rates.py`). As for `ols`,
    autocorrelation makes the p-value too small.

    References
    ----------
    Huber, P. J. & Ronchetti, E. M. (2009). Robust Statistics, 2nd ed., chapter 7. Wiley.

    Holland, P. W. & Welsch, R. E. (1977). Robust regression using iteratively reweighted least-squares. Commun.
    Stat. Theory Methods 6, 813-827.

    Examples
    --------
    >>> values = [[1.0], [2.1], [2.9], [4.0], [5.1], [60.0], [7.0]]
    >>> fit = robust(kind="bisquare")(values, list(range(2000, 2007)))
    >>> round(float(fit["slope"][0]), 2)
    1.0
    """
    return RobustLine(kind, min_obs)


@dataclass(frozen=True)
class RobustLine(StraightLine):
    """A straight line by iterated weights; see `robust`."""

    kind: Kind = "huber"
    min_obs: int = 5

    name: ClassVar[str] = "robust"

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise not_a_choice("kind", self.kind, get_args(Kind))
        check_whole(self.name, "min_obs", self.min_obs, 4, "as a line through two of three values has a scale of 0")

    @property
    def bands(self) -> tuple[Band, ...]:
        """All bands, slope first."""
        return BANDS

    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> BoundRobustLine:
        """Centre the times."""
        only_the_response(self.name, inputs)
        reference = float(np.round(np.mean(axis.years))) if len(axis) else 0.0
        return BoundRobustLine(select_bands(self, bands), axis.years - reference, reference, self.kind, self.min_obs)


@dataclass(frozen=True, eq=False)
class BoundRobustLine(BoundKernel):
    """`robust` bound to dates and bands.

    Attributes
    ----------
    times, reference
        (time,) decimal years less `reference`, and this year.
    kind, min_obs
        Kind of weights, and minimum number of valid values.
    """

    times: Floats
    reference: float
    kind: Kind
    min_obs: int

    def fill(self, inputs: tuple[NDArray[Any], ...], result: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Fit the pixels of one block."""
        from pixelwise.kernels.output import output_into
        from pixelwise.kernels.robust import fit

        values = series_of("robust", inputs, len(self.times))
        fit(
            values,
            readonly(self.times),
            self.reference,
            self.kind == "bisquare",
            self.min_obs,
            output_into(self.places_in(BANDS), result, status),
        )
