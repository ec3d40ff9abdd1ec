"""The Mann-Kendall test for a monotonic trend, and corrections for autocorrelation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band, Floats, Status
from pixelwise.dates.axis import TimeAxis
from pixelwise.dates.slots import Season
from pixelwise.errors import ParameterError
from pixelwise.kernels.jit import readonly
from pixelwise.method import BoundMethod, Method, select_bands
from pixelwise.methods.binding import BoundKernel, check_whole, only_the_response, series_of
from pixelwise.methods.seasons import check_season, without_seasons
from pixelwise.methods.theil_sen import TheilSen
from pixelwise.words import not_a_choice, shown

__all__ = ["BoundMannKendall", "MannKendall", "mann_kendall"]

Correction = Literal["none", "hamed_rao", "yue_wang", "prewhiten"]

# The order is that of the kernel's results (kernels/mann_kendall.py).
BANDS = (
    Band(
        "slope",
        "Median change per year between all pairs of dates (Theil-Sen)",
        "{value}/year",
        kind="change",
        pvalue="pvalue",
    ),
    Band("tau", "Kendall's rank correlation of value and time (tau-b)", kind="correlation", pvalue="pvalue"),
    Band("s", "Mann-Kendall score: pairs that rise less pairs that fall", kind="signed"),
    Band("var_s", "Variance of the score without a trend, with ties and the correction", kind="level"),
    Band("z", "Standard normal score, with correction for continuity", kind="signed", pvalue="pvalue"),
    Band("pvalue", "Two-sided p-value of no trend", kind="test"),
    Band("n", "Number of valid observations", integer=True, kind="count"),
)

# The distribution of the score is tabulated for up to this many observations; beyond, its normal approximation is
# within 0.0006 of it for p from 0.03 to 0.07 (tests/methods/test_mann_kendall.py).
EXACT = 50

# Hamed & Rao keep only the correlations of ranks that are significant at 5 %.
SIGNIFICANT = NormalDist().inv_cdf(0.975)


def mann_kendall(
    *,
    correction: Correction = "none",
    lags: int | None = None,
    floor: bool = True,
    exact: bool = False,
    deseasonalise: Season | None = None,
    min_obs: int = 4,
) -> Method:
    """Test for a monotonic trend, with the Theil-Sen slope.

    With the ``n`` valid values ``y`` in time order, and ``u`` the sizes of groups of equal values::

        s      = sum over i < j of sign(y[j] - y[i])
        var_s  = (n (n-1) (2n+5) - sum of u (u-1) (2u+5)) / 18
        z      = (s - sign(s)) / sqrt(var_s)
        pvalue = 2 P(Z > |z|),  Z standard normal
        tau    = s / sqrt((n0 - n1) n0),  n0 = n (n-1) / 2,  n1 = sum of u (u-1) / 2

    The test assumes independent observations. With a lag-1 correlation of 0.4, 17 % of series of 21 values
    without a trend are "significant" at 5 %. With a `correction`, ``var_s`` is multiplied by a factor::

        hamed_rao   1 + 2 / (n (n-1) (n-2)) * sum over k of (n-k) (n-k-1) (n-k-2) r[k]
        yue_wang    1 + 2 * sum over k of (1 - k/n) r[k]
        prewhiten   none: the test is of y[i] - r[1] * y[i-1]

    ``r[k]`` is the correlation of values exactly `k` calendar steps apart: for ``hamed_rao`` of the ranks of
    ``y - slope * t``, ignoring correlations below 1.96 / sqrt(n); for ``yue_wang`` of ``y - slope * t``; for
    ``prewhiten`` of ``y``. No correction is exact for short series: with 21 values and a correlation of 0.4,
    ``hamed_rao`` still rejects 16 % (19 % without the floor), ``yue_wang`` 11 %, ``prewhiten`` 5 % at half the power
    or less.

    Parameters
    ----------
    correction
        Correction for autocorrelation; needs layers at regular steps.
    lags
        The largest lag: by default all lags for ``hamed_rao``, 1 for ``yue_wang``. With all lags, ``yue_wang`` gives an
        artefact, because the correlations of any series add up to -1/2: without the floor, it rejects 44 % of series of
        21 values without a trend.
    floor
        Use 1 instead of factors below 1, so that negative correlations cannot create a trend. The published formulas
        have no floor (False); if they give a factor that is not positive, the test is undefined (status 6).
    exact
        Use the exact distribution of ``s`` for the p-value if there are no ties and at most 50 values. Not with a
        correction or `deseasonalise`.
    deseasonalise
        First subtract the level of each season, estimated together with the trend, and inflate ``var_s`` accordingly
        (see `theil_sen`): ``month``, ``quarter``, or a number of seasons per year (see `seasonal_kendall`). Without it,
        seasons that are observed unequally often can look like a trend, or hide one.
    min_obs
        Minimum number of valid values per pixel, at least 3.

    Returns
    -------
    Method
        Bands ``slope`` (value per year), ``tau``, ``s``, ``var_s``, ``z``, ``pvalue``, ``n``.

    Raises
    ------
    ParameterError
        When a parameter is out of range or cannot be combined with another; for irregular dates with a correction.

    Notes
    -----
    The status of a pixel is the first of these that applies: 1 no valid value, 2 fewer than `min_obs`, 6 an infinite
    value, 3 all values equal (slope and s are 0), 4 all of the same date, 6 no variance is left (see `floor`).

    Pairs of the same date count neither as a rise nor as a fall, and such ties reduce the variance as ties of values do
    (Kendall 1975, eq. 5.3). Values are equal only if they are the same number: nothing is rounded.

    `scipy.stats.kendalltau(method="asymptotic")` has no continuity correction, and so gives smaller p-values.
    pyMannKendall gives tau-a (``2 s / (n (n-1))``), treats neighbours in the list as neighbours in time even if there
    are gaps, and has no floor: ``floor=False`` reproduces its version 1.4.3 on series without gaps, ``lags=n - 1`` its
    default for ``yue_wang``.

    References
    ----------
    Mann, H. B. (1945). Nonparametric tests against trend. Econometrica 13, 245-259.
    Kendall, M. G. (1975). Rank Correlation Methods, 4th ed. Griffin.
    Hamed, K. H. & Rao, A. R. (1998). A modified Mann-Kendall trend test for autocorrelated data. J. Hydrol. 204,
    182-196.
    Yue, S. & Wang, C. (2004). The Mann-Kendall test modified by effective sample size to detect trend in serially
    correlated hydrological series. Water Resour. Manag. 18, 201-218.
    von Storch, H. (1995). Misuses of statistical analysis in climate research. In: Analysis of Climate Variability,
    11-26. Springer.

    Examples
    --------
    >>> fit = mann_kendall()([[1.0], [3.0], [5.0], [4.0], [9.0]], [2000, 2001, 2002, 2003, 2004])
    >>> float(fit["s"][0]), round(float(fit["pvalue"][0]), 3)
    (8.0, 0.086)
    """
    return MannKendall(correction, lags, floor, exact, deseasonalise, min_obs)


@dataclass(frozen=True)
class MannKendall(Method):
    """The Mann-Kendall test; see `mann_kendall`."""

    correction: Correction = "none"
    lags: int | None = None
    floor: bool = True
    exact: bool = False
    deseasonalise: Season | None = None
    min_obs: int = 4

    name: ClassVar[str] = "mann_kendall"

    def __post_init__(self) -> None:
        check_whole(self.name, "min_obs", self.min_obs, 3, "as 2 values always rise or fall")
        if self.correction not in get_args(Correction):
            raise not_a_choice("correction", self.correction, get_args(Correction))
        if self.deseasonalise is not None:
            check_season(self.name, self.deseasonalise)
        if self.lags is not None:
            if self.correction not in ("hamed_rao", "yue_wang"):
                raise ParameterError(
                    f"lags={shown(self.lags)} is for correction=hamed_rao or yue_wang, not for {self.correction}"
                )
            check_whole(self.name, "lags", self.lags, 1)
        if not self.floor and self.correction not in ("hamed_rao", "yue_wang"):
            raise ParameterError(f"floor=False is for correction=hamed_rao or yue_wang, not for {self.correction}")
        if self.exact and self.correction != "none":
            raise ParameterError(
                f"exact=True cannot be combined with correction={self.correction}, which changes the variance"
            )
        if self.exact and self.deseasonalise is not None:
            raise ParameterError(
                f"exact=True cannot be combined with deseasonalise={self.deseasonalise}, which changes the variance"
            )

    @property
    def bands(self) -> tuple[Band, ...]:
        """All bands, slope first."""
        return BANDS

    @property
    def needs_step(self) -> bool:
        """Corrections need lags of whole steps."""
        return self.correction != "none"

    @property
    def season_term(self) -> bool:
        """Whether seasonal levels are subtracted."""
        return self.deseasonalise is not None

    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> BoundMethod:
        """Prepare the slope, the steps of the axis, and exact p-values."""
        only_the_response(self.name, inputs)
        bound = self.bound(axis, bands)
        return without_seasons(bound, bound.test, axis, self.deseasonalise)

    def bound(self, axis: TimeAxis, bands: Sequence[str] | None) -> BoundMannKendall:
        """Return the bound test of series as they are, including their seasons."""
        chosen = select_bands(self, bands)
        self.check_axis(axis)
        wanted = self.correction != "none" or any(band.name == "slope" for band in chosen)
        most = min(EXACT, len(axis))
        lags = self.lags or (1 if self.correction == "yue_wang" else len(axis))
        return BoundMannKendall(
            bands=chosen,
            times=axis.years,
            places=np.empty(0) if axis.index is None else axis.index.astype(np.float64),
            method=self,
            lags=lags,
            line=TheilSen(min_obs=self.min_obs).bind(axis, ["slope", "n"], {}) if wanted else None,
            exact=exact_pvalues(self.min_obs, most) if self.exact else np.empty(0),
        )


@dataclass(frozen=True, eq=False)
class BoundMannKendall(BoundKernel):
    """`mann_kendall` bound to dates and bands.

    Attributes
    ----------
    times, places
        (time,) decimal years, and step numbers of a regular axis.
    method
        The parameters.
    lags
        The largest lag.
    line
        Computes Theil-Sen slopes, if they are needed.
    exact
        Tables of p-values, concatenated.
    """

    times: Floats
    places: Floats
    method: MannKendall
    lags: int
    line: BoundMethod | None
    exact: Floats

    @property
    def in_pieces(self) -> bool:
        """Corrections need the residuals of all dates."""
        return self.method.correction != "none"

    def fill(self, inputs: tuple[NDArray[Any], ...], result: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Test the pixels of one block."""
        values = series_of(self.method.name, inputs, len(self.times))
        self.test(values, np.empty(0), result, status)

    def test(self, values: NDArray[Any], factors: Floats, result: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Write bands and status of pixels whose values are contiguous.

        `factors`, (pixel,), multiply the variances of scores in addition to the correction; empty for none.
        """
        from pixelwise.kernels import mann_kendall as kernels
        from pixelwise.kernels.output import output_into

        layers, pixels = values.shape
        correction, dates = self.method.correction, kernels.Dates(readonly(self.times), readonly(self.places))
        tested = values
        if self.line is not None:
            (slopes, counts), status_of_series = self.line((values,))
        rows = [-1 if band.name == "slope" else BANDS.index(band) for band in self.bands]
        if correction == "prewhiten":
            whitened = np.empty(values.shape)
            kernels.prewhiten(values, dates, np.empty((3, layers)), whitened)
            tested = readonly(whitened)
        elif correction != "none":
            correlated = np.empty(pixels)
            kernels.variance_factors(
                values,
                dates,
                slopes,
                kernels.Correction(
                    of_ranks=correction == "hamed_rao",
                    lags=self.lags,
                    limit=SIGNIFICANT if correction == "hamed_rao" else 0.0,
                    floor=1.0 if self.method.floor else 0.0,
                ),
                np.empty((4, layers)),
                correlated,
            )
            factors = correlated * factors if factors.size else correlated
        kernels.test_trend(
            tested,
            dates.times,
            3 if correction == "prewhiten" else self.method.min_obs,
            bool((np.diff(self.times) == 0).any()),
            factors,
            kernels.Exact(self.exact, self.method.min_obs, min(EXACT, layers)),
            kernels.make_scratch(layers),
            output_into(np.array(rows, dtype=np.int64), result, status),
        )
        for row, band in zip(result, self.bands, strict=True):
            if band.name == "slope":
                row[:] = slopes
            elif band.name == "n" and correction == "prewhiten":
                row[:] = counts
        if correction == "prewhiten":
            # A prewhitened series may be too short, or constant, although the original one had a slope.
            status[:] = np.where(
                (status_of_series == Status.OK) & (status > 0), Status.TEST_UNDEFINED, status_of_series
            )


def exact_pvalues(first: int, last: int) -> Floats:
    """Return ``P(|S| >= s)`` for s = 0, 1, ..., n (n-1) / 2 without ties, for n = `first` to `last`, joined.

    The n-th value in time order forms 0 to n - 1 inversions with those before it, all equally probable: the
    distribution of the number of inversions is that for n - 1 values, averaged over n shifts (Kendall 1975, 5.2).
    """
    tables = []
    inversions = np.ones(1)
    for n in range(1, last + 1):
        inversions = np.convolve(inversions, np.full(n, 1.0 / n))
        if n >= first:
            # S = pairs - 2 * inversions: |S| >= s if inversions <= (pairs - s) / 2, on either side.
            pairs = n * (n - 1) // 2
            below = np.cumsum(inversions)
            tables.append(np.minimum(2.0 * below[(pairs - np.arange(pairs + 1)) // 2], 1.0))
    return np.concatenate(tables) if tables else np.empty(0)
