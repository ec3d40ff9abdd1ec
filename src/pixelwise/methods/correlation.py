"""Correlation of two stacks, pixel by pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band
from pixelwise.dates.axis import TimeAxis
from pixelwise.kernels.tail_tables import TailTable, tail_table, tails_of
from pixelwise.method import Method, select_bands
from pixelwise.methods.binding import BoundKernel, check_whole, covariate_series, one_covariate
from pixelwise.words import not_a_choice

__all__ = ["Correlation", "correlation"]

Kind = Literal["pearson", "spearman"]

# The order is that of the kernel's results (kernels/correlation.py).
BANDS = (
    Band("rvalue", "Correlation of the two series", kind="correlation", pvalue="pvalue"),
    Band("pvalue", "Two-sided p-value of no correlation (Student's t, n - 2 degrees of freedom)", kind="test"),
    Band("n", "Number of dates on which both are valid", integer=True, kind="count"),
)


def correlation(*, kind: Kind = "pearson", min_obs: int = 3) -> Method:
    """Correlate each pixel's series with that of another stack.

    For the ``n`` dates on which both are valid, with deviations ``dx`` and ``dy`` from their means::

        rvalue = sum(dx * dy) / sqrt(sum(dx**2) * sum(dy**2))
        pvalue = P(|T| > |rvalue| * sqrt((n - 2) / (1 - rvalue**2))),  T Student's t with n - 2 degrees of freedom

    ``spearman`` does this with ranks (equal values share their mean rank): it finds any monotonic relation, and
    outliers hardly affect it.

    Two series that both have a trend, a season or autocorrelation are correlated even if unrelated, and the p-value
    treats every date as new evidence: see `regress`, which can separate the effect of time.

    Parameters
    ----------
    kind
        ``pearson`` or ``spearman``.
    min_obs
        Minimum number of dates on which both are valid, at least 3.

    Returns
    -------
    Method
        Bands ``rvalue``, ``pvalue``, ``n``.

    Raises
    ------
    ParameterError
        When the kind is unknown or `min_obs` is below 3.

    Notes
    -----
    It needs a second stack: ``inputs={"rain": stack}``, ``--with rain=FILES``.

    The status of a pixel is the first of these that applies; all bands but ``n`` are NaN unless it is 0:

    - 1 no date on which both are valid, 2 fewer than `min_obs`;
    - 3 the response is constant on these dates, 4 the other series is;
    - 6 with ``pearson`` only: a value is infinite (takes precedence over 3), or a sum of squares lies beyond 1e290 or
      below 1e-290, where squares overflow or underflow float64.

    The values are those of `scipy.stats.pearsonr` and `scipy.stats.spearmanr`. With few values, or many ties, Student's
    t only approximates the distribution of a rank correlation: with fewer than 10 dates the p-value is rough (Zar
    1972). Ranking takes n**2 / 2 comparisons.

    References
    ----------
    Zar, J. H. (1972). Significance testing of the Spearman rank correlation coefficient. Journal of the American
    Statistical Association 67, 578-580.

    Examples
    --------
    >>> found = correlation()([[1.0], [2.0], [4.0]], [2000, 2001, 2002], rain=[[10.0], [30.0], [50.0]])
    >>> round(float(found["rvalue"][0]), 3)
    0.982
    """
    return Correlation(kind, min_obs)


@dataclass(frozen=True)
class Correlation(Method):
    """Correlation with another stack; see `correlation`."""

    kind: Kind = "pearson"
    min_obs: int = 3

    name: ClassVar[str] = "correlation"

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise not_a_choice("kind", self.kind, get_args(Kind))
        check_whole(self.name, "min_obs", self.min_obs, 3, "as 2 always lie on a line")

    @property
    def bands(self) -> tuple[Band, ...]:
        """All bands, the correlation first."""
        return BANDS

    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> BoundCorrelation:
        """Tabulate p-values for the degrees of freedom that can occur."""
        one_covariate(self.name, inputs, axis, "the one to correlate with")
        chosen = select_bands(self, bands)
        table = None
        if BANDS[1] in chosen and len(axis) >= self.min_obs:
            table = tail_table(self.min_obs - 2, len(axis) - 2)
        return BoundCorrelation(chosen, len(axis), self.kind == "spearman", self.min_obs, table)


@dataclass(frozen=True, eq=False)
class BoundCorrelation(BoundKernel):
    """`correlation` bound to dates and bands.

    Attributes
    ----------
    layers
        Number of dates.
    ranked
        Whether ranks are correlated.
    min_obs
        Minimum number of dates on which both are valid.
    table
        Table of p-values, if they are needed.
    """

    layers: int
    ranked: bool
    min_obs: int
    table: TailTable | None

    def fill(self, inputs: tuple[NDArray[Any], ...], result: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Correlate the pixels of one block."""
        from pixelwise.kernels.correlation import correlate, make_scratch
        from pixelwise.kernels.output import output_into

        values, (other,) = covariate_series("correlation", inputs, self.layers, 1)
        correlate(
            values,
            other,
            self.ranked,
            self.min_obs,
            tails_of(self.table),
            make_scratch(self.layers, ranked=self.ranked),
            output_into(self.places_in(BANDS), result, status),
        )
