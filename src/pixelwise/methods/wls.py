"""Weighted least squares: a straight line through each pixel's series, with a weight for each value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band, Floats
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import ParameterError
from pixelwise.kernels.designs import Design, make_design
from pixelwise.kernels.jit import readonly
from pixelwise.kernels.tail_tables import TailTable, tail_table, tails_of
from pixelwise.method import Method, select_bands
from pixelwise.methods.binding import BoundKernel, StraightLine, check_whole, series_of
from pixelwise.words import shown

__all__ = ["WEIGHTS", "WeightedLeastSquares", "wls"]

# The order is that of the kernel's results (kernels/wls.py).
BANDS = (
    Band("slope", "Change per year of the fitted line", "{value}/year", kind="change", pvalue="pvalue"),
    Band("intercept", "Value of the fitted line at year 0", "{value}", kind="level"),
    Band("rvalue", "Weighted correlation of value and time", kind="correlation", pvalue="pvalue"),
    Band("pvalue", "Two-sided p-value of slope = 0 (Student's t, n - 2 degrees of freedom)", kind="test"),
    Band("stderr", "Standard error of the slope", "{value}/year", kind="level"),
    Band("intercept_stderr", "Standard error of the intercept", "{value}", kind="level"),
    Band("n", "Number of valid observations with a weight above 0", integer=True, kind="count"),
)
#: Name of the stack that holds weights.
WEIGHTS = "weights"


def wls(*, weights: Sequence[float] | str | None = None, min_obs: int = 3) -> Method:
    """Fit a straight line to each pixel's series by weighted least squares.

    With the ``n`` valid values ``y`` at times ``t`` (decimal years) with weights ``w``, deviations ``dt`` and ``dy``
    from the weighted means, ``Sxx = sum(w * dt**2)``, ``Sxy = sum(w * dt * dy)``, ``Syy = sum(w * dy**2)``::

        slope            = Sxy / Sxx
        intercept        = mean(y) - slope * mean(t)
        rvalue           = Sxy / sqrt(Sxx * Syy)
        stderr           = sqrt(RSS / (n - 2) / Sxx),  RSS = sum(w * (dy - slope * dt)**2)
        intercept_stderr = stderr * sqrt(Sxx / sum(w) + mean(t)**2)
        pvalue           = P(|T| > |slope / stderr|),  T Student's t with n - 2 degrees of freedom

    A weight is the inverse of a value's variance, up to a common factor, as in R's `lm` and statsmodels' `WLS`:
    doubling all weights changes nothing. Examples are the number of scenes in a composite, and the inverse square of a
    standard error.

    Parameters
    ----------
    weights
        One number per date, in time order, at least 0; as text, separated by commas. None if weights differ from pixel
        to pixel: they then come as a second stack, ``apply(stack, wls(), inputs={"weights": other})``, with a layer for
        each date. With both, the weight is their product.
    min_obs
        Minimum number of valid values per pixel with a weight above 0, at least 3.

    Returns
    -------
    Method
        Bands ``slope`` and ``stderr`` (value per year), ``intercept`` (at year 0) and ``intercept_stderr``
        (value), ``rvalue``, ``pvalue``, ``n``.

    Raises
    ------
    ParameterError
        When there are no weights, one is negative or infinite, their number or dates differ from those of the stack,
        or `min_obs` is below 3.

    Notes
    -----
    A value counts only if its weight is positive and finite; if the weight in a stack is missing, 0, negative or
    infinite, the value is treated as missing and does not count in ``n``.

    The status of a pixel is the first of these that applies:

    - 1 no valid value, 2 fewer than `min_obs`: all bands but ``n`` are NaN;
    - 3 all valid values equal: the slope is 0, the intercept that value, the others are NaN;
    - 4 all valid values, or nearly all of the weight, of the same date, so that there is no slope: all bands but ``n``
      are NaN;
    - 6 ``Syy`` is beyond 1e290 or below 1e-290, where squares overflow or underflow float64, or a value is infinite:
      slope and intercept as computed, the others are NaN.

    As for `ols`, autocorrelation makes the p-value too small. So do weights that were chosen by looking at the
    residuals; `robust` does that properly.

    References
    ----------
    Draper, N. R. & Smith, H. (1998). Applied Regression Analysis, 3rd ed., chapter 9. Wiley.

    Examples
    --------
    >>> fit = wls(weights=[1, 1, 1, 0.5])([[1.0], [3.0], [5.0], [7.5]], [2000, 2001, 2002, 2003])
    >>> round(float(fit["slope"][0]), 3)
    2.115
    """
    numbers: tuple[float, ...] | None = None
    try:
        if weights is not None:
            numbers = tuple(float(w) for w in (weights.split(",") if isinstance(weights, str) else weights))
    except (TypeError, ValueError, OverflowError):
        given = shown(weights)
        raise ParameterError(f"weights={given}: {WeightedLeastSquares.name} needs one number per date") from None
    return WeightedLeastSquares(numbers, min_obs)


@dataclass(frozen=True)
class WeightedLeastSquares(StraightLine):
    """A straight line by weighted least squares; see `wls`."""

    weights: tuple[float, ...] | None = None
    min_obs: int = 3

    name: ClassVar[str] = "wls"

    def __post_init__(self) -> None:
        check_whole(self.name, "min_obs", self.min_obs, 3, "as 2 leave no residuals")
        for number, weight in enumerate(self.weights or (), 1):
            if not 0 <= weight < np.inf:
                raise ParameterError(f"weights: number {number} is {weight:g}: {self.name} needs numbers of at least 0")

    @property
    def bands(self) -> tuple[Band, ...]:
        """All bands, slope first."""
        return BANDS

    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> BoundWeightedLine:
        """Check the weights against the dates, and tabulate p-values for the degrees of freedom that can occur."""
        for name, other in inputs.items():
            if name != WEIGHTS:
                raise ParameterError(f"{self.name} takes only a stack called {WEIGHTS}, but got {name}")
            if not np.array_equal(other.dates, axis.dates):
                raise ParameterError(
                    f"{name}: the {len(other)} dates ({other.days[0]}..{other.days[-1]}) are not the {len(axis)} of "
                    f"the values ({axis.days[0]}..{axis.days[-1]}): {self.name} needs a weight for each layer"
                )
        if self.weights is None and not inputs:
            raise ParameterError(
                f"{self.name} needs weights: weights=... with one number per date, or a stack of them, "
                f'inputs={{"{WEIGHTS}": stack}} or --with {WEIGHTS}=FILES; without weights, it is ols'
            )
        if self.weights is not None and len(self.weights) != len(axis):
            raise ParameterError(f"weights: {len(self.weights)} numbers for {len(axis)} dates; expected one per date")
        reference = float(np.round(np.mean(axis.years))) if len(axis) else 0.0
        half = float(np.ptp(axis.years)) / 2 if len(axis) else 0.0
        design = make_design(((axis.years - reference) / (half or 1.0))[:, None])
        level, slope = design.transform[0], design.transform[1] / (half or 1.0)
        return BoundWeightedLine(
            bands=select_bands(self, bands),
            design=design,
            lines=np.stack([slope, level - reference * slope]),
            weights=np.ones(len(axis)) if self.weights is None else np.array(self.weights),
            min_obs=self.min_obs,
            table=tail_table(self.min_obs - 2, len(axis) - 2) if len(axis) >= self.min_obs else None,
        )


@dataclass(frozen=True, eq=False)
class BoundWeightedLine(BoundKernel):
    """`wls` bound to dates, weights and bands.

    Attributes
    ----------
    design
        Design matrix of the dates.
    lines
        (2, 2): from coefficients of the design to slope and intercept at year 0.
    weights
        (time,) weights of the dates.
    min_obs
        Minimum number of valid values.
    table
        Table of p-values.
    """

    design: Design
    lines: Floats
    weights: Floats
    min_obs: int
    table: TailTable | None

    def fill(self, inputs: tuple[NDArray[Any], ...], result: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Fit the pixels of one block."""
        from pixelwise.kernels.linear import CHUNK, Columns, Observations, workspace
        from pixelwise.kernels.output import output_into
        from pixelwise.kernels.scratch import aligned
        from pixelwise.kernels.wls import fit

        layers = len(self.weights)
        values = series_of("wls", inputs, layers)
        weights: NDArray[Any] = np.empty((0, 0), dtype=values.dtype)
        if len(inputs) > 1:
            weights = series_of("wls", inputs[1:], layers)
        columns = Columns(readonly(self.design.basis), readonly(self.design.products))
        fit(
            Observations(values, readonly(self.weights), readonly(weights)),
            columns,
            readonly(self.lines),
            self.min_obs,
            tails_of(self.table),
            workspace(columns),
            aligned(len(BANDS), CHUNK),
            output_into(self.places_in(BANDS), result, status),
        )
