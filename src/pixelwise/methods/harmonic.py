"""Season and trend: harmonics of a period and a straight line, fitted together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band, Floats
from pixelwise.dates.axis import TimeAxis
from pixelwise.dates.calendars import YEAR_DAYS
from pixelwise.errors import ParameterError
from pixelwise.kernels.designs import Design, make_design
from pixelwise.kernels.jit import readonly
from pixelwise.kernels.tail_tables import TailTable, tail_table, tails_of
from pixelwise.method import Method, select_bands
from pixelwise.methods.binding import LARGEST_YEAR, BoundKernel, check_whole, line_at, only_the_response, series_of
from pixelwise.methods.decay import MemoryTable, memory_table
from pixelwise.words import shown

if TYPE_CHECKING:
    from pixelwise.kernels.memory import Memory

__all__ = ["HarmonicRegression", "harmonic"]

# The order of results of the kernel (kernels/harmonic.py), before four for each harmonic.
FIXED = ("slope", "intercept", "pvalue", "pvalue_ols", "stderr", "pvalue_season", "rmse", "r1", "n")
EACH = ("amplitude", "peak", "amplitude_stderr", "peak_stderr")

# Largest standard error of a harmonic's coefficient, relative to that of dates spread evenly over the period. With one
# date a year, leap days shift the date by 0.75 days, which is enough for a fit: R's lm finds amplitudes of 10 000 in
# noise of 0.4 (Alaska's NDVI, tests/whole/test_reference_data.py).
WORST = 100.0

# With less than one and a half cycles, hardly any time of the year is seen twice: a slope is part of the season.
ONE_CYCLE = 1.5
# The false-alarm rate of p-values is known from five years on (benchmarks/error_rates.py): 4 to 6 %.
FEWEST_CYCLES = 5.0

# Daily values resolve no more of them in a year, and each makes four bands.
MOST_HARMONICS = 183


def harmonic(*, harmonics: int = 1, trend: bool = True, period: float = 1.0, min_obs: int | None = None) -> Method:
    """Fit a seasonal cycle (harmonics) and a straight line together to each pixel's series.

    With the ``n`` valid values ``y`` at times ``t`` (decimal years), a period ``T`` and ``k = 1..harmonics``::

        y           = intercept + slope * t + sum_k[c_k * cos(2 pi k t / T) + s_k * sin(2 pi k t / T)] + error
        amplitude_k = sqrt(c_k**2 + s_k**2)
        peak_k      = atan2(s_k, c_k) * T / (2 pi k)      first time of the highest value of harmonic k
        rmse        = sqrt(RSS / (n - p))                 p = 2 + 2 * harmonics coefficients
        stderr      = rmse * sqrt(v)                      v: the slope's diagonal element of inv(X' X)
        pvalue_ols  = P(|t| > |slope / stderr|)           Student's t, n - p degrees of freedom
        pvalue_season: F-test of all c_k = s_k = 0        2 * harmonics and n - p degrees of freedom

    Layers within a year are rarely independent, which makes ``pvalue_ols`` too small. ``pvalue`` uses an effective
    sample size ``n_e`` instead of ``n`` (Santer et al. 2000)::

        r1     = lag-1 correlation of the residuals, corrected for bias: r + (1 + 4 r) / n
        n_e    = n * (1 - r1) / (1 + r1), n if r1 <= 0
        pvalue = P(|t| > |slope| / sqrt(v * RSS / (n_e - p)))      Student's t, n_e - p degrees of freedom

    with ``r`` from all pairs of values exactly one calendar step apart. Irregular dates have no step, and if less than
    half of the neighbouring layers are one step apart, there are few pairs. In both cases, the autocorrelation of the
    residuals is modelled as ``exp(-d / T_c)`` at a distance ``d`` in time with a correlation time ``T_c``, which is
    AR(1) noise sampled at arbitrary dates. With ``D`` the median distance of neighbouring dates, and with the slope
    ``sum(q * y)``::

        a   = mean of e[i] * e[j] over pairs, weighted by exp(-|t[i] - t[j]| / 4 D), divided by the mean of e**2
        T_c = correlation time of noise that, after the same fit to as many values, has this a (median of simulations)
        n_e = n * sum(q**2) / sum over i and j of q[i] * q[j] * exp(-|t[i] - t[j]| / T_c), at most n
        r1  = exp(-D / T_c)

    Parameters
    ----------
    harmonics
        Number of harmonics: 1 is a sine wave; 2 or 3 can follow an asymmetric season, or two seasons a year.
    trend
        Whether to fit a slope. Without, its bands are missing, and ``intercept`` is the mean level.
    period
        Length of the seasonal cycle in years.
    min_obs
        Minimum number of valid values per pixel: at least one more than coefficients; three more by default.

    Returns
    -------
    Method
        Bands ``slope`` and ``stderr`` (value per year), ``intercept`` (value at year 0), ``pvalue``, ``pvalue_ols``,
        ``amplitude_k`` (value; half the difference of peak and trough), ``peak_k`` (day of the year from 1 if
        `period` is 1, else years since a multiple of it), ``pvalue_season``, ``rmse`` (value), ``r1``, ``n``; on
        request ``amplitude_k_stderr``, ``peak_k_stderr`` (delta method; days or years).

    Raises
    ------
    ParameterError
        When a parameter is out of range, or the dates cannot separate season and trend: one date per year says
        nothing about the season.

    Notes
    -----
    The status of a pixel is the first of these that applies:

    - 1 no valid value, 2 fewer than `min_obs`: all bands but ``n`` are NaN;
    - 3 all valid values equal: slope and amplitudes are 0, the intercept that value, the others are NaN;
    - 4 with the gaps, the dates cannot separate season and trend (less than 1e-7 of the squared length of a column is
      independent of the others): all bands but ``n`` are NaN;
    - 6 either ``n_e`` allows no test, because ``n_e < p + 1``, no two values are one step apart, or (irregular dates)
      residuals are more correlated than those for any ``T_c`` up to ``1 / (2 p)`` of the whole time: ``pvalue`` is NaN,
      the others as computed; or a value is infinite or squares overflow or underflow float64: slope, intercept and
      amplitudes as computed, the others are NaN.

    Weaknesses. A single ``r1`` describes all autocorrelation: if it lasts longer than in an AR(1) process, such as with
    slow changes beneath independent noise, ``pvalue`` is still too small. It is also too small for short series:
    `benchmarks/error_rates.py` measures how often a series without a trend has ``pvalue < 0.05``. With regular steps,
    ``n_e`` treats all values as one step apart, so ``pvalue`` is too large if there are many gaps. A correlation time
    much shorter than the distance between dates cannot be detected, and does no harm. ``pvalue_season`` and all
    standard errors assume independent residuals. The season is the same in all years: changes of its amplitude or
    timing go into the residuals. A peak is that of one harmonic, not of their sum, and meaningless unless the amplitude
    exceeds its standard error. A decimal year is as long as one of the calendar (360, 365 or 366
    days of those without leap years); with leap years 365.25 days, so a day of the year is accurate to a day.

    References
    ----------
    Santer, B. D. et al. (2000). Statistical significance of trends and trend differences in layer-average
    atmospheric temperature time series. J. Geophys. Res. 105, 7337-7356.

    Kendall, M. G. (1954). Note on bias in the estimation of autocorrelation. Biometrika 41, 403-404.

    Draper, N. R. & Smith, H. (1998). Applied Regression Analysis, 3rd ed., chapters 5 and 6. Wiley.

    Examples
    --------
    >>> import numpy as np
    >>> years = 2000 + np.arange(60) / 12
    >>> fit = harmonic()(3.0 + 0.1 * years + np.cos(2 * np.pi * (years - 0.5)), years)
    >>> round(float(fit["slope"][0]), 6), round(float(fit["amplitude_1"][0]), 6), round(float(fit["peak_1"][0]))
    (0.1, 1.0, 184)
    """
    check_whole(HarmonicRegression.name, "harmonics", harmonics, 1, most=MOST_HARMONICS)
    return HarmonicRegression(
        harmonics, trend, period, parameters(harmonics, trend) + 3 if min_obs is None else min_obs
    )


def parameters(harmonics: int, trend: bool) -> int:
    """Return the number of coefficients."""
    return (2 if trend else 1) + 2 * harmonics


LINE = (
    Band("slope", "Change per year of the fitted line", "{value}/year", kind="change", pvalue="pvalue"),
    Band("intercept", "Value of the fitted line at year 0", "{value}", kind="level"),
    Band("pvalue", "Two-sided p-value of slope = 0 (Student's t, effective number of values by AR(1))", kind="test"),
    Band("pvalue_ols", "Two-sided p-value of slope = 0 if residuals were independent", kind="test"),
    Band("stderr", "Standard error of the slope if residuals were independent", "{value}/year", kind="level"),
)
LEVEL = Band("intercept", "Level of the season", "{value}", kind="level")
PVALUE_SEASON = Band(
    "pvalue_season", "p-value of no season (F-test of all harmonics; independent residuals)", kind="test"
)
RMSE = Band("rmse", "Standard deviation of residuals: squares divided by n - coefficients", "{value}", kind="level")
R1 = Band(
    "r1",
    "Lag-1 correlation of residuals, less its bias (irregular dates: at their median distance)",
    kind="correlation",
)
COUNT = Band("n", "Number of valid observations", integer=True, kind="count")


@dataclass(frozen=True)
class HarmonicRegression(Method):
    """Season and trend by least squares; see `harmonic`."""

    harmonics: int = 1
    trend: bool = True
    period: float = 1.0
    min_obs: int = 7

    name: ClassVar[str] = "harmonic"

    def __post_init__(self) -> None:
        check_whole(self.name, "harmonics", self.harmonics, 1, most=MOST_HARMONICS)
        if not 0 < self.period < LARGEST_YEAR:
            raise ParameterError(f"period={shown(self.period)}: {self.name} needs a positive number of years")
        terms = parameters(self.harmonics, self.trend)
        check_whole(self.name, "min_obs", self.min_obs, terms + 1, f"one more than the {terms} coefficients")

    @property
    def bands(self) -> tuple[Band, ...]:
        """All bands, slope first; the first amplitude if there is no trend."""
        ranks = range(1, self.harmonics + 1)
        seasonal = [band for k in ranks for band in self._season(k)]
        errors = [band for k in ranks for band in self._season_errors(k)]
        if not self.trend:
            return (*seasonal, LEVEL, PVALUE_SEASON, RMSE, COUNT, *errors)
        return (*LINE, *seasonal, PVALUE_SEASON, RMSE, R1, COUNT, *errors)

    def _season(self, k: int) -> tuple[Band, Band]:
        """Return amplitude and peak of harmonic `k`."""
        which = f"of harmonic {k}" if self.harmonics > 1 else "of the season"
        amplitude = Band(f"amplitude_{k}", f"Amplitude {which}: half of peak to trough", "{value}", kind="level")
        if self.period == 1.0:
            when = f"Day of year of the first peak {which}"
            return amplitude, Band(f"peak_{k}", when, "day of year", kind="day of year")
        when = f"Years since a multiple of {self.period:g} years of the first peak {which}"
        return amplitude, Band(f"peak_{k}", when, "year", kind="level")

    def _season_errors(self, k: int) -> tuple[Band, Band]:
        """Return the standard errors of what `_season` returns."""
        unit = "day" if self.period == 1.0 else "year"
        amplitude = Band(f"amplitude_{k}_stderr", f"Standard error of amplitude_{k}", "{value}", kind="level")
        peak = Band(f"peak_{k}_stderr", f"Standard error of peak_{k}", unit, kind="level")
        return replace(amplitude, optional=True), replace(peak, optional=True)

    @property
    def season_term(self) -> bool:
        """The method always fits a season."""
        return True

    def cautions(self, axis: TimeAxis) -> tuple[str, ...]:
        """Warn of a slope from few cycles."""
        if not self.trend or len(axis) < 2:
            return ()
        span = float(axis.years[-1] - axis.years[0])
        # As long as the layers: twelve months are a year, not eleven months.
        cycles = round(span * len(axis) / (len(axis) - 1) / self.period, 1)
        length = f"{cycles:.1f} years" if self.period == 1.0 else f"{cycles:.1f} periods of {self.period:g} years"
        text = ""
        if cycles < ONE_CYCLE:
            text = (
                f"{length}: slope and season cannot be told apart: do not use slope and pvalue; with -p trend=false, "
                "harmonic fits the season alone"
            )
        elif cycles < FEWEST_CYCLES:
            text = (
                f"{length}: a single unusual season looks like a trend, and pvalue is untested below "
                f"{FEWEST_CYCLES:g}: take a longer series, or do not use slope and pvalue"
            )
        return (text,) if text else ()

    def check_axis(self, axis: TimeAxis) -> None:
        """Refuse dates that cannot separate season and trend."""
        super().check_axis(axis)
        terms = parameters(self.harmonics, self.trend)
        if len(axis) <= terms:
            return
        design, _ = self.design(axis)
        variances = (design.transform**2).sum(axis=1)[-2 * self.harmonics :]
        if not design.full_rank or variances.max() > 2 * WORST**2:
            raise ParameterError(
                f"harmonics={self.harmonics}, period={self.period:g}{' and a trend' if self.trend else ''}: "
                f"{self.name} cannot separate them with these {len(axis)} dates "
                f"({axis.days[0]}..{axis.days[-1]}): too few times within a period; choose fewer harmonics or another "
                "period, or a method without a season, such as ols"
            )

    def design(self, axis: TimeAxis) -> tuple[Design, float]:
        """Return the design matrix of the dates, and the year that it subtracts from decimal years."""
        # A whole number, so that differences of decimal years near it are exact.
        reference = float(np.round(np.mean(axis.years))) if len(axis) else 0.0
        columns = [axis.years - reference] if self.trend else []
        columns += seasons(axis.years, self.harmonics, self.period)
        return make_design(np.stack(columns, axis=1)), reference

    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> BoundHarmonic:
        """Make the design and tabulate p-values for the degrees of freedom that can occur."""
        only_the_response(self.name, inputs)
        design, reference = self.design(axis)
        table = memory = None
        steps = neighbours_of(axis)
        if self.trend and len(axis) >= self.min_obs:
            table = tail_table(self.min_obs - design.terms, len(axis) - design.terms)
            if not steps.size and design.full_rank:
                memory = memory_table(axis.years, design.basis[: len(axis)], self.min_obs)
        return BoundHarmonic(
            bands=select_bands(self, bands),
            design=design,
            layers=len(axis),
            trend=self.trend,
            reference=reference,
            steps=steps,
            memory=memory,
            period=self.period,
            days=YEAR_DAYS[axis.calendar],
            min_obs=self.min_obs,
            table=table,
        )

    @property
    def fitted_from(self) -> tuple[str, ...]:
        """The bands of line, amplitudes and peaks."""
        line = ("slope", "intercept") if self.trend else ("intercept",)
        return (*line, *(f"{kind}_{k}" for k in range(1, self.harmonics + 1) for kind in ("amplitude", "peak")))

    def predict(self, values: Mapping[str, NDArray[Any]], axis: TimeAxis) -> Floats:
        """Return the fitted curve at the dates of `axis`.

        Parameters
        ----------
        values
            (pixel,) arrays or single numbers by band; ``intercept``, ``slope``, and the amplitude and peak of each
            harmonic are used. Peaks may be NaN if the amplitude is 0.
        axis
            The dates.

        Returns
        -------
        (time, pixel) float64
        """
        level = np.atleast_1d(np.asarray(values["intercept"], dtype=np.float64))
        return (line_at(values, axis) if self.trend else level) + self.seasonal_part(values, axis)

    def seasonal_part(self, values: Mapping[str, NDArray[Any]], axis: TimeAxis) -> Floats:
        """Return the periodic part of `predict`: (time, pixel), 0 on average over a period."""

        def of(band: str) -> Floats:
            return np.atleast_1d(np.asarray(values[band], dtype=np.float64))

        curve: Floats = np.zeros((len(axis), 1))
        within = np.remainder(axis.years, self.period)[:, None]
        for k in range(1, self.harmonics + 1):
            amplitude, peak = of(f"amplitude_{k}"), of(f"peak_{k}")
            if self.period == 1.0:
                peak = (peak - 1.0) / YEAR_DAYS[axis.calendar]
            wave = amplitude * np.cos(2 * np.pi * k / self.period * (within - peak))
            curve = curve + np.where(amplitude == 0.0, 0.0, wave)
        return curve


def seasons(years: Floats, harmonics: int, period: float) -> list[Floats]:
    """Return cosine and sine of each harmonic.

    The time within the period is exact: the cosine of ``2 pi * 2000`` would lose four digits.
    """
    within = np.remainder(years, period) / period
    angles = [2 * np.pi * np.remainder(k * within, 1.0) for k in range(1, harmonics + 1)]
    return [wave(angle) for angle in angles for wave in (np.cos, np.sin)]


@dataclass(frozen=True, eq=False)
class BoundHarmonic(BoundKernel):
    """`harmonic` bound to dates and bands.

    Attributes
    ----------
    design, layers
        Design matrix, and number of dates.
    trend, reference
        Whether there is a slope, and the year that is subtracted from decimal years in its column.
    steps
        (time - 1,) bool: whether a date and the next are exactly one step apart; empty if few or none are.
    memory
        Table for estimating the correlation time at irregular dates; None if it is not estimated.
    period, days, min_obs
        Years; days of a year of the calendar; minimum number of valid values.
    table
        For p-values of the slope.
    """

    design: Design
    layers: int
    trend: bool
    reference: float
    steps: NDArray[np.bool_]
    memory: MemoryTable | None
    period: float
    days: float
    min_obs: int
    table: TailTable | None

    def fill(self, inputs: tuple[NDArray[Any], ...], result: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Fit the pixels of one block."""
        from pixelwise.kernels.harmonic import Curve, Options, fit, make_scratch
        from pixelwise.kernels.linear import Columns, Observations, workspace
        from pixelwise.kernels.output import output_into

        values = series_of("harmonic", inputs, self.layers)
        harmonics = (self.design.terms - 1) // 2
        rows = np.array([row_of(band.name) for band in self.bands], dtype=np.int64)
        wanted = np.zeros(len(FIXED) + len(EACH) * harmonics, dtype=np.bool_)
        wanted[rows] = True
        columns = Columns(readonly(self.design.basis), readonly(self.design.products))
        fit(
            Observations(values, readonly(np.ones(self.layers)), readonly(np.empty((0, 0)))),
            Curve(columns, readonly(self.design.transform), self.trend, self.reference, self.period, self.days),
            memory_of(self.steps, self.memory),
            Options(self.min_obs, readonly(wanted), tails_of(self.table)),
            workspace(columns),
            make_scratch(len(wanted), self.design.terms),
            output_into(rows, result, status),
        )


def neighbours_of(axis: TimeAxis) -> NDArray[np.bool_]:
    """Return (time - 1,) whether a date and the next are one step apart; empty if less than half of them are.

    With few neighbours, autocorrelation is estimated better from the actual distances in time.
    """
    if axis.index is None:
        return np.empty(0, dtype=np.bool_)
    steps: NDArray[np.bool_] = np.diff(axis.index) == 1
    return steps if 2 * np.count_nonzero(steps) >= len(steps) else steps[:0]


def memory_of(steps: NDArray[np.bool_], table: MemoryTable | None) -> Memory:
    """Return what the kernel takes of neighbours and of a table of memories; empty arrays for none."""
    from pixelwise.kernels.memory import Memory

    if table is None:
        none, nothing = readonly(np.empty(0)), readonly(np.empty((0, 0)))
        return Memory(readonly(steps), none, 0.0, none, nothing, nothing)
    return Memory(
        readonly(steps),
        readonly(table.memories),
        table.usual,
        readonly(table.near),
        readonly(table.fades),
        readonly(table.expected),
    )


def row_of(band: str) -> int:
    """Return the row of a band in the results of the kernel."""
    if band in FIXED:
        return FIXED.index(band)
    kind, number, *error = band.split("_")
    return len(FIXED) + len(EACH) * (int(number) - 1) + EACH.index("_".join([kind, *error]))
