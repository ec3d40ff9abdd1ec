"""Ordinary least squares: a straight line through each pixel's series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pixelwise.jit import readonly
from pixelwise.method import Band, Floats, Method, select_bands
from pixelwise.methods.binding import check_whole, line_at, only_the_response, series_of
from pixelwise.methods.pvalues import TailTable, tail_table
from pixelwise.times import TimeAxis

__all__ = ["OrdinaryLeastSquares", "ols"]

# The order is that of the kernel's results (methods/_ols_kernels.py).
BANDS = (
    Band("slope", "Change per year of the fitted line", "{value}/year"),
    Band("intercept", "Value of the fitted line at year 0", "{value}"),
    Band("rvalue", "Pearson correlation of value and time"),
    Band("pvalue", "Two-sided p-value of slope = 0 (Student's t, n - 2 degrees of freedom)"),
    Band("stderr", "Standard error of the slope", "{value}/year"),
    Band("intercept_stderr", "Standard error of the intercept", "{value}"),
    Band("n", "Number of valid observations", integer=True),
)
FROM_RESIDUALS = {"pvalue": 1, "stderr": 1, "intercept_stderr": 2}


def ols(*, min_obs: int = 3) -> Method:
    """Fit a straight line to each pixel's series by ordinary least squares.

    With the ``n`` valid values ``y`` at times ``t`` (decimal years), deviations ``dt`` and ``dy`` from their
    means, ``Sxx = sum(dt**2)``, ``Sxy = sum(dt * dy)``, ``Syy = sum(dy**2)``::

        slope            = Sxy / Sxx
        intercept        = mean(y) - slope * mean(t)
        rvalue           = Sxy / sqrt(Sxx * Syy)
        stderr           = sqrt(RSS / (n - 2) / Sxx),  RSS = sum((dy - slope * dt)**2)
        intercept_stderr = stderr * sqrt(Sxx / n + mean(t)**2)
        pvalue           = P(|T| > |slope / stderr|),  T Student's t with n - 2 degrees of freedom

    The p-value assumes independent, normal residuals of equal variance. Serial correlation makes it too small:
    with 21 annual values and a lag-1 correlation of 0.4, one in five series without a trend has
    ``pvalue < 0.05``.

    Parameters
    ----------
    min_obs
        Fewest valid values of a pixel, at least 3.

    Returns
    -------
    Method
        Bands ``slope`` and ``stderr`` (value per year), ``intercept`` (at year 0) and ``intercept_stderr``
        (value), ``rvalue``, ``pvalue``, ``n``.

    Raises
    ------
    ParameterError
        When `min_obs` is below 3: two points leave no residuals to judge a line by.

    Notes
    -----
    The status of a pixel, the first that applies:

    - 1 no valid value, 2 fewer than `min_obs`: all bands NaN but ``n``;
    - 3 all valid values equal: slope 0, intercept that value, the others NaN (so also where there is one date only);
    - 4 all valid values of the same date: all bands NaN but ``n``;
    - 6 ``Syy`` is beyond 1e290 or below 1e-290, where squares leave float64, or a value is infinite: slope and
      intercept as computed, the others NaN.

    The values are those of `scipy.stats.linregress`. Residuals are summed as such, so that standard errors and
    p-values keep their digits where ``|rvalue|`` is nearly 1. The p-value of a line without residuals is 0.

    References
    ----------
    Draper, N. R. & Smith, H. (1998). Applied Regression Analysis, 3rd ed., chapter 1. Wiley.

    Examples
    --------
    >>> fit = ols()([[1.0], [3.0], [5.0], [7.5]], [2000, 2001, 2002, 2003])
    >>> round(float(fit["slope"][0]), 3)
    2.15
    """
    return OrdinaryLeastSquares(min_obs)


@dataclass(frozen=True)
class OrdinaryLeastSquares(Method):
    """A straight line by least squares; see `ols`."""

    min_obs: int = 3

    name: ClassVar[str] = "ols"

    def __post_init__(self) -> None:
        check_whole(self.name, "min_obs", self.min_obs, 3, "as 2 leave no residuals")

    @property
    def bands(self) -> tuple[Band, ...]:
        """Slope first."""
        return BANDS

    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> BoundLine:
        """Centre the times and tabulate p-values for the degrees of freedom that can occur."""
        only_the_response(self.name, inputs)
        chosen = select_bands(self, bands)
        names = {band.name for band in chosen}
        # A whole number, so that the difference of two decimal years of one era is exact.
        reference = float(np.round(np.mean(axis.years))) if len(axis) else 0.0
        table = None
        if "pvalue" in names and len(axis) >= self.min_obs:
            table = tail_table(self.min_obs - 2, len(axis) - 2)
        return BoundLine(
            bands=chosen,
            times=axis.years - reference,
            reference=reference,
            min_obs=self.min_obs,
            one_date_possible=longest_run(axis.years) >= self.min_obs,
            residuals=max(FROM_RESIDUALS.get(name, 0) for name in names),
            table=table,
        )

    def predict(self, values: Mapping[str, NDArray[Any]], axis: TimeAxis) -> Floats:
        """Return the fitted line at the dates of `axis`, (time, pixel); see `line_at`."""
        return line_at(values, axis)


@dataclass(frozen=True, eq=False)
class BoundLine:
    """`ols` bound to dates and bands.

    Attributes
    ----------
    bands
        The wanted ones.
    times, reference
        (time,) decimal years less `reference`, and this.
    min_obs
        Fewest valid values.
    one_date_possible
        Whether so many valid values may all have the same date.
    residuals
        0 where no wanted band needs the residuals, 2 where the intercept's standard error is wanted, else 1.
    table
        For p-values, where wanted.
    halo, releases_gil
        See `pixelwise.method.BoundMethod`.
    """

    bands: tuple[Band, ...]
    times: Floats
    reference: float
    min_obs: int
    one_date_possible: bool
    residuals: int
    table: TailTable | None
    halo: int = 0
    releases_gil: bool = True

    def __call__(
        self, inputs: tuple[NDArray[Any], ...], dtype: str = "float64"
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Fit the pixels of one block; see `BoundMethod`."""
        from pixelwise.methods._ols_kernels import CHUNK, SCRATCH, STRIDE, fit

        values = series_of("ols", inputs, len(self.times))
        pixels = values.shape[1]
        result = np.empty((len(self.bands), pixels), dtype=dtype)
        status = np.empty(pixels, dtype=np.uint8)
        coefficients = np.empty(0) if self.table is None else self.table.coefficients.ravel()
        times = np.pad(self.times, (0, -len(self.times) % STRIDE))
        # Plain Python warns of what IEEE 754 settles; it runs the kernel where numba is switched off.
        with np.errstate(all="ignore"):
            fit(
                values,
                readonly(times),
                self.reference,
                self.min_obs,
                self.one_date_possible,
                readonly(np.array([BANDS.index(band) for band in self.bands], dtype=np.int64)),
                self.residuals,
                readonly(coefficients),
                np.empty((SCRATCH + len(times), CHUNK)),
                times.copy(),
                result,
                status,
            )
        return result, status


def longest_run(years: Floats) -> int:
    """Return how often the most frequent date occurs; `years` ascend."""
    return max((len(list(group)) for _, group in groupby(years.tolist())), default=0)
