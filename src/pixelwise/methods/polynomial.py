"""Polynomials of time: trends that change direction or speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb
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
from pixelwise.methods.binding import BoundKernel, check_origin, check_whole, only_the_response, series_of

__all__ = ["Polynomial", "polynomial"]

# The order of results of the kernel (kernels/polynomial.py), before the coefficients.
FIXED = ("slope", "pvalue", "stderr", "pvalue_curvature", "pvalue_model", "r2", "rmse", "turning_point", "n")

# Beyond about 30 powers, no dates can separate them in float64.
MOST_POWERS = 50


def polynomial(*, degree: int = 2, origin: float = 2000.0, min_obs: int | None = None) -> Method:
    """Fit a polynomial of time to each pixel's series.

    With the ``n`` valid values ``y`` at times ``t`` (decimal years) and ``d = degree``::

        y     = c0 + c1 * (t - origin) + ... + c_d * (t - origin)**d + error
        slope = (curve(last) - curve(first)) / (last - first)      first and last date of the stack
        rmse  = sqrt(RSS / (n - p))                                p = d + 1 coefficients
        r2    = 1 - RSS / Syy
        pvalue:           t-test of slope = 0                      n - p degrees of freedom
        pvalue_curvature: F-test of c_2 = ... = c_d = 0            d - 1 and n - p: against a straight line
        pvalue_model:     F-test of c_1 = ... = c_d = 0            d and n - p: against the mean

    The slope is the mean change per year of the fitted curve; for a parabola, this is its slope halfway. The sign of
    ``c1``, in contrast, depends on the choice of the origin.

    Parameters
    ----------
    degree
        2 for a parabola, or more.
    origin
        Decimal year in which ``t - origin`` is 0. Powers of the year itself would be useless: those of 2000 differ by
        10 orders of magnitude, and float32 holds 7 digits. With an origin within the stack, ``c0`` and ``c1`` are value
        and slope at that time.
    min_obs
        Minimum number of valid values per pixel: at least one more than there are coefficients; three more by default.

    Returns
    -------
    Method
        Bands ``slope`` and ``stderr`` (value per year), ``pvalue``, ``c0``, ``c1``, ... (value per year to that
        power), ``pvalue_curvature``, ``pvalue_model``, ``r2``, ``rmse`` (value), ``n``; on request, if the degree is
        2: ``turning_point`` (decimal year of the parabola's highest or lowest value, which may lie outside the series;
        NaN for a straight line).

    Raises
    ------
    ParameterError
        When a parameter is out of range, or there are too few dates for the degree.

    Notes
    -----
    The status of a pixel is the first of these that applies:

    - 1 no valid value, 2 fewer than `min_obs`: all bands but ``n`` are NaN;
    - 3 all valid values equal: slope and coefficients are 0, except c0, which is that value; the others are NaN;
    - 4 the dates left by gaps cannot separate the powers, because there are too few or all lie close together (less
      than 1e-7 of the squared length of a power is independent of the others): all bands but ``n`` are NaN;
    - 6 a value is infinite, or squares overflow or underflow float64: slope and coefficients as computed, the others
      are NaN.

    All p-values assume independent, normal residuals of equal variance; autocorrelation makes them too small. A
    polynomial says nothing outside the dates that it was fitted to; if a pixel lacks its first or last years, ``slope``
    extrapolates into them. The powers are orthogonalised over all dates before the fit, so that higher degrees lose no
    digits; coefficients for an origin far outside the series lose some.

    References
    ----------
    Draper, N. R. & Smith, H. (1998). Applied Regression Analysis, 3rd ed., chapter 12. Wiley.

    Examples
    --------
    >>> fit = polynomial()([[4.0], [1.2], [0.0], [0.8], [4.2], [9.0], [16.0]], list(range(1998, 2005)))
    >>> round(float(fit["c2"][0]), 2), round(float(fit["slope"][0]), 2)
    (1.0, 1.99)
    """
    check_whole(Polynomial.name, "degree", degree, 2, "as ols fits straight lines", MOST_POWERS)
    return Polynomial(degree, origin, degree + 4 if min_obs is None else min_obs)


@dataclass(frozen=True)
class Polynomial(Method):
    """A polynomial by least squares; see `polynomial`."""

    degree: int = 2
    origin: float = 2000.0
    min_obs: int = 6

    name: ClassVar[str] = "polynomial"

    def __post_init__(self) -> None:
        check_whole(self.name, "degree", self.degree, 2, "as ols fits straight lines", MOST_POWERS)
        check_origin(self.name, self.origin)
        terms = self.degree + 1
        check_whole(self.name, "min_obs", self.min_obs, terms + 1, f"one more than the {terms} coefficients")

    @property
    def bands(self) -> tuple[Band, ...]:
        """All bands, slope first."""
        origin = f"{self.origin:g}"
        powers = (
            Band(
                f"c{k}",
                f"Value of the fitted curve in {origin}"
                if k == 0
                else f"Coefficient of the time since {origin} to the power of {k}",
                "{value}" + ("" if k == 0 else "/year" if k == 1 else f"/year^{k}"),
                kind="level" if k == 0 else "signed",
            )
            for k in range(self.degree + 1)
        )
        turning_point = Band(
            "turning_point", "Year of the parabola's highest or lowest value", "year", optional=True, kind="time"
        )
        return (
            Band(
                "slope",
                "Mean change per year of the fitted curve from first to last date",
                "{value}/year",
                kind="change",
                pvalue="pvalue",
            ),
            Band(
                "pvalue",
                "Two-sided p-value of slope = 0 (Student's t, n - coefficients degrees of freedom)",
                kind="test",
            ),
            Band("stderr", "Standard error of the slope", "{value}/year", kind="level"),
            *powers,
            Band("pvalue_curvature", "p-value of a straight line (F-test of all powers above 1)", kind="test"),
            Band("pvalue_model", "p-value of no change at all (F-test of all powers)", kind="test"),
            Band("r2", "Share of the variance that the curve explains", kind="share"),
            Band(
                "rmse", "Standard deviation of residuals: squares divided by n - coefficients", "{value}", kind="level"
            ),
            Band("n", "Number of valid observations", integer=True, kind="count"),
            *([turning_point] if self.degree == 2 else []),
        )

    def check_axis(self, axis: TimeAxis) -> None:
        """Refuse a degree that the dates do not support."""
        super().check_axis(axis)
        if len(axis) > self.degree + 1 and not self.design(axis)[0].full_rank:
            raise ParameterError(
                f"degree={self.degree}: {self.name} cannot separate so many powers with these {len(axis)} dates, of "
                f"which {len(set(axis.years.tolist()))} differ; choose a lower degree"
            )

    def design(self, axis: TimeAxis) -> tuple[Design, float, float]:
        """Return the design matrix of powers of ``(t - middle) / half``, between -1 and 1, with middle and half."""
        first, last = (axis.years[0], axis.years[-1]) if len(axis) else (self.origin, self.origin)
        middle, half = (first + last) / 2, (last - first) / 2 or 1.0
        scaled = (axis.years - middle) / half
        return make_design(scaled[:, None] ** np.arange(1, self.degree + 1)), float(middle), float(half)

    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> BoundPolynomial:
        """Make the design and tabulate p-values for the degrees of freedom that can occur."""
        only_the_response(self.name, inputs)
        design, middle, half = self.design(axis)
        powers = np.arange(self.degree + 1)
        # From (t - middle) / half: change from -1 to 1 over 2 half years; slope, and half the second derivative, at 0.
        slopes = np.stack([(1.0 - (-1.0) ** powers) / (2 * half), (powers == 1) / half, (powers == 2) / half**2])
        table = None
        if len(axis) >= self.min_obs:
            table = tail_table(self.min_obs - design.terms, len(axis) - design.terms)
        return BoundPolynomial(
            bands=select_bands(self, bands),
            design=design,
            layers=len(axis),
            transform=shifted_powers(self.degree, middle, half, self.origin) @ design.transform,
            slopes=slopes @ design.transform,
            middle=middle,
            min_obs=self.min_obs,
            table=table,
        )

    @property
    def fitted_from(self) -> tuple[str, ...]:
        """The bands of the coefficients."""
        return tuple(f"c{k}" for k in range(self.degree + 1))

    def predict(self, values: Mapping[str, NDArray[Any]], axis: TimeAxis) -> Floats:
        """Return the fitted curve at the dates of `axis`.

        Parameters
        ----------
        values
            (pixel,) arrays or single numbers by band; the coefficients are used.
        axis
            The dates.

        Returns
        -------
        (time, pixel) float64
        """
        t = axis.years[:, None] - self.origin
        curve: Floats = np.zeros((len(axis), 1))
        for k in range(self.degree, -1, -1):
            curve = curve * t + np.atleast_1d(np.asarray(values[f"c{k}"], dtype=np.float64))
        return curve


def shifted_powers(degree: int, middle: float, half: float, origin: float) -> Floats:
    """Return the matrix from coefficients of powers of ``(t - middle) / half`` to those of ``t - origin``.

    The binomial theorem in exact arithmetic, rounded once, because its terms alternate in sign and cancel.
    """
    shift, scale = Fraction(origin) - Fraction(middle), Fraction(half)
    matrix = np.zeros((degree + 1, degree + 1))
    for power in range(degree + 1):
        for k in range(power + 1):
            matrix[k, power] = float(comb(power, k) * shift ** (power - k) / scale**power)
    return matrix


@dataclass(frozen=True, eq=False)
class BoundPolynomial(BoundKernel):
    """`polynomial` bound to dates and bands.

    Attributes
    ----------
    design, layers
        Design matrix, and number of dates.
    transform, slopes
        (term, term) and (3, term): from coefficients of the design to those for the origin, and to slopes.
    middle
        Decimal year halfway between first and last date.
    min_obs
        Minimum number of valid values.
    table
        Table of p-values of the slope.
    """

    design: Design
    layers: int
    transform: Floats
    slopes: Floats
    middle: float
    min_obs: int
    table: TailTable | None

    def fill(self, inputs: tuple[NDArray[Any], ...], result: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Fit the pixels of one block."""
        from pixelwise.kernels.linear import Columns, Observations, workspace
        from pixelwise.kernels.output import output_into
        from pixelwise.kernels.polynomial import Curve, Options, fit, make_scratch

        values = series_of("polynomial", inputs, self.layers)
        rows = np.array([row_of(band.name) for band in self.bands], dtype=np.int64)
        wanted = np.zeros(len(FIXED) + self.design.terms, dtype=np.bool_)
        wanted[rows] = True
        columns = Columns(readonly(self.design.basis), readonly(self.design.products))
        fit(
            Observations(values, readonly(np.ones(self.layers)), readonly(np.empty((0, 0)))),
            Curve(columns, readonly(self.transform), readonly(self.slopes), self.middle),
            Options(self.min_obs, readonly(wanted), tails_of(self.table)),
            workspace(columns),
            make_scratch(len(wanted)),
            output_into(rows, result, status),
        )


def row_of(band: str) -> int:
    """Return the row of a band in the results of the kernel."""
    return FIXED.index(band) if band in FIXED else len(FIXED) + int(band.removeprefix("c"))
