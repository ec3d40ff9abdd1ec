"""What a method says of one pixel: its numbers, and the curve that it fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from pixelwise.bands import ANSWERED, STATUS_BAND, STATUS_WORDS, Band, Floats, Status, rescale, with_units
from pixelwise.choices import MapType
from pixelwise.dates.axis import TimeAxis
from pixelwise.dates.completeness import Completeness
from pixelwise.errors import ParameterError
from pixelwise.kernels.jit import compiling
from pixelwise.method import Method, select_bands
from pixelwise.methods.functions.base import UserFunction
from pixelwise.methods.lookup import resolve_method
from pixelwise.methods.ols import OrdinaryLeastSquares
from pixelwise.pictures.chart import Chart, Curve
from pixelwise.stacks.series import Series, read_series

__all__ = ["Fit", "chart_of", "fit_series", "number_words", "unit_words"]

#: Bands that are computed beside those of a map, as far as a method has them.
LIMITS = ("low_slope", "high_slope")
#: Points of a curve: on a line, and in a year of a season.
POINTS, POINTS_PER_YEAR = 200, 48


@dataclass(frozen=True, eq=False)
class Fit:
    """The result of a method at one pixel.

    Attributes
    ----------
    series
        The observations.
    method
        The method, as it was used.
    bands
        Its bands, with their units, without ``status``.
    values
        The number of each band, rounded to `dtype`: NaN where there is none.
    status
        Why the pixel has these numbers.
    dtype
        The type of the numbers, as of a map.
    exact
        The number of each band in float64, changes per year, from which curves are computed.
    """

    series: Series
    method: Method
    bands: tuple[Band, ...]
    values: Mapping[str, float]
    status: Status
    dtype: MapType
    exact: Mapping[str, float] = field(repr=False)

    def __getitem__(self, name: str) -> float:
        """Return the number of a band."""
        return float(self.status) if name == STATUS_BAND.name else self.values[name]

    @cached_property
    def numbers(self) -> dict[str, float | int | None]:
        """The number of each band with no more digits than its type has; None where there is none."""
        kind = np.dtype(self.dtype).type
        found: dict[str, float | int | None] = {}
        for band in self.bands:
            value = self.values[band.name]
            # The shortest text that gives the same float32: 0.0031, not 0.0031000000890344381.
            short = int(value) if band.integer and np.isfinite(value) else float(str(kind(value)))
            found[band.name] = None if np.isnan(value) else short
        return found

    @property
    def fitted(self) -> Floats | None:
        """(time,) the curve at the dates of the layers; None for a method, or a pixel, without one."""
        return None if self._bare is None else self._at(self.series.axis)

    @cached_property
    def _bare(self) -> Mapping[str, float] | None:
        """What the curve is computed from."""
        names = self.method.fitted_from
        # Peaks may be missing where an amplitude is 0.
        if not names or self.status not in ANSWERED or all(np.isnan(self.exact[name]) for name in names):
            return None
        return {name: self.exact[name] for name in names}

    def _at(self, axis: TimeAxis) -> Floats:
        values = {name: np.array([value]) for name, value in (self._bare or {}).items()}
        curve: Floats = np.broadcast_to(self.method.predict(values, axis), (len(axis), 1))[:, 0].copy()
        return curve

    @cached_property
    def curve(self) -> Curve | None:
        """The curve from the first to the last observation, with its limits; None without one.

        The limits of `ols` are the confidence band of the line (of the mean value at each time, not of single
        observations): ``line +- q s sqrt(1 / n + (t - mean(t))**2 / Sxx)``, with `q` the quantile of Student's t. Those
        of other methods that have ``low_slope`` and ``high_slope`` are the lines with these slopes, through the point
        of the fitted line at the median date of the observations: they show the limits of the slope alone, and say
        nothing about the level of the line. Methods without limits have none.
        """
        own = self.series.years[self.series.valid]
        if self._bare is None or not len(own):
            return None
        first, last = float(own[0]), float(own[-1])
        count = int(max(POINTS, (last - first) * POINTS_PER_YEAR)) if self.method.season_term else POINTS
        years = np.linspace(first, last, count)
        values = self._at(TimeAxis.from_times(years))
        low, high = self._limits(years, values)
        return Curve(years, values, low, high, self.limits_name, self.method.name)

    @property
    def limits(self) -> tuple[Floats, Floats] | tuple[None, None]:
        """(time,) lower and upper limits at the dates of the layers, as in `curve`; None without any."""
        return (None, None) if self.fitted is None else self._limits(self.series.years, self.fitted)

    @property
    def confidence(self) -> float | None:
        """The confidence level of the limits of the slope; None without limits."""
        level = getattr(self.method, "confidence_level", None)
        has = all(np.isfinite(self.exact.get(name, np.nan)) for name in LIMITS)
        return float(level) if has and level is not None else None

    @property
    def limits_name(self) -> str:
        """What the limits are; empty without any."""
        if self.confidence is None:
            return ""
        what = "confidence band of the line" if isinstance(self.method, OrdinaryLeastSquares) else "limits of the slope"
        return f"{100 * self.confidence:.6g} % {what}"

    def _limits(self, years: Floats, values: Floats) -> tuple[Floats, Floats] | tuple[None, None]:
        own = self.series.years[self.series.valid]
        if self.confidence is None or self._bare is None:
            return None, None
        slope, low, high = (self.exact[name] for name in ("slope", *LIMITS))
        if isinstance(self.method, OrdinaryLeastSquares):
            middle = own.mean()
            # high - slope is q s / sqrt(Sxx).
            half = (high - slope) * np.sqrt(((own - middle) ** 2).mean() + (years - middle) ** 2)
            return values - half, values + half
        middle = float(np.median(own))
        # The line turns about its own point there.
        sides = np.array([values + (one - slope) * (years - middle) for one in (low, high)])
        return sides.min(axis=0), sides.max(axis=0)

    @property
    def words(self) -> str:
        """Say the result in a line: ``slope 0.0031 per year (95 % limits 0.001 to 0.005), p = 0.004, n = 32``."""
        known = {band.name: band for band in self.bands}
        counted = f", n = {self.numbers['n']}" if "n" in known else ""
        if self.status not in ANSWERED:
            return f"{self.method.name}: no result ({STATUS_WORDS[self.status]}){counted}"
        head = next((band for band in self.bands if band.kind == "change"), self.bands[0])
        text = f"{head.name} {_number(self, head)}{unit_words(head.unit)}"
        if head.name == "slope" and self.confidence is not None:
            low, high = (_number(self, known[name]) for name in LIMITS)
            text += f" ({100 * self.confidence:.6g} % limits {low} to {high})"
        if head.pvalue in known:
            text += f", {p_words(self.values[head.pvalue])}"
        why = "" if self.status == Status.OK else f" ({STATUS_WORDS[self.status]})"
        return f"{text}{counted}{why}"

    @property
    def note(self) -> str:
        """Say that limits and p-value disagree, and why; empty if they agree, or the method tests by its limits."""
        known = {band.name: band for band in self.bands}
        head = known.get("slope")
        if self.confidence is None or head is None or head.pvalue not in known or not {*LIMITS} <= set(known):
            return ""
        pvalue, (low, high) = self.values[head.pvalue], (self.values[name] for name in LIMITS)
        # Comparisons with NaN are false; a limit of exactly 0 belongs to neither side.
        found, excluded = pvalue < 1 - self.confidence, low > 0 or high < 0
        included = low < 0 < high
        if self.method.name != "trend" or not ((found and included) or (pvalue >= 1 - self.confidence and excluded)):
            return ""
        limits = "include" if included else "exclude"
        return (
            f"note: {p_words(pvalue)}, but the limits {limits} 0: pvalue tests the least-squares line, while slope and "
            "limits are Theil-Sen's and agree with pvalue_mk; treat this pixel as a borderline case"
        )

    def plot(self) -> Any:
        """Draw observations, curve and limits; needs the extra ``plot``.

        Returns
        -------
        matplotlib.figure.Figure
            Not registered with pyplot; notebooks show it. See `curve` for what the limits are.
        """
        from pixelwise.pictures.chart import draw_charts

        return draw_charts([chart_of(self.series, self)])


def fit_series(
    series: Series,
    method: str | Method | Callable[..., Any],
    *,
    bands: Sequence[str] | None,
    inputs: Mapping[str, Series],
    per: str,
    needs: tuple[float, float],
    dtype: MapType,
) -> Fit:
    """Apply a method to the series of one pixel; see `Series.fit`."""
    resolved, wanted = resolve_method(method, bands)
    for name, other in inputs.items():
        if len(other.axis) != len(series.axis) or (other.row, other.col) != (series.row, series.col):
            raise ParameterError(
                f"{name} has {len(other.axis)} layers at row {other.row}, column {other.col}, but the response has "
                f"{len(series.axis)} at row {series.row}, column {series.col}: expected the same pixel and dates"
            )
    resolved.check_axis(series.axis)
    resolved = _tried(resolved, series)
    names = [band.name for band in select_bands(resolved, wanted)]
    own = [band.name for band in resolved.bands]
    names += [name for name in (*LIMITS, *resolved.fitted_from) if name in own and name not in names]
    with compiling(resolved.name):
        bound = resolved.bind(series.axis, names, {name: other.axis for name, other in inputs.items()})
    given = [_with_neighbours(one, bound.halo) for one in (series, *inputs.values())]
    found, status = bound(
        tuple(np.ascontiguousarray(o.values[:, None]) if o.around is None else o.around for o in given)
    )
    completeness = Completeness(*needs)
    if completeness:
        integers = np.array([band.integer for band in bound.bands])
        required = completeness.bind(series.axis)
        found, status = required.withhold(found, status, series.values[:, None], integers)
    if not series.inside:
        found = np.array([[0.0 if band.integer else np.nan] for band in bound.bands])
        status = np.array([Status.OUTSIDE])
    elif any(one.lost for one in given) and status[0] == Status.OK:
        status = np.array([Status.DATES_LOST])
    scaled, factors = rescale(bound.bands, per)
    if per != "year" and scaled == bound.bands:
        raise ParameterError(f"per={per}: no band is per year ({', '.join(names)})")
    with np.errstate(all="ignore"):
        rounded = (found[:, 0] * np.array(factors)).astype(dtype)
    return Fit(
        series,
        resolved,
        with_units(scaled, series.unit),
        dict(zip(names, rounded.astype(np.float64).tolist(), strict=True)),
        Status(int(status[0])),
        dtype,
        dict(zip(names, found[:, 0].astype(np.float64).tolist(), strict=True)),
    )


def _tried(method: Method, series: Series) -> Method:
    """Return a method after its trial, which only functions have, and only on a series that they would be passed."""
    if not isinstance(method, UserFunction):
        return method
    values = series.values[:, None].astype(np.float64)
    if method.returned is None and np.count_nonzero(series.valid) < method.min_obs:
        raise ParameterError(
            f"{method.name} cannot be tried on this pixel, which has {np.count_nonzero(series.valid)} values, so its "
            "bands are unknown: name them with @pixelwise.per_pixel(bands=[...])"
        )
    return method.rehearse(series.axis, lambda: values)


def _with_neighbours(series: Series, halo: int) -> Series:
    """Return a series with as many neighbours as a method needs, which are read if need be."""
    size = 0 if series.around is None else series.around.shape[1]
    if size == (1 + 2 * halo if halo else 0):
        return series
    if not halo:
        return replace(series, around=None)
    found = read_series(series.stack, [(series.row, series.col)], halo=halo)[0]
    return replace(series, around=found.around, lost=found.lost)


# In words


def chart_of(series: Series, fit: Fit | None = None) -> Chart:
    """Return what is drawn of a series and of what a method says of it."""
    label = series.quantity or "value"
    return Chart(
        title=series.place if series.name else f"P{series.place[1:]}",
        subtitle=_count_words(series) if fit is None else fit.words,
        label=f"{label} ({series.unit})" if series.unit else label,
        years=series.years,
        values=series.values.astype(np.float64),
        gaps={gap: series.years[np.array([one == gap for one in series.gaps])] for gap in series.counts},
        index=series.axis.index,
        curve=None if fit is None else fit.curve,
    )


def _count_words(series: Series) -> str:
    count = np.count_nonzero(series.valid)
    return f"{count} of {len(series.values)} values" if count else f"none of {len(series.values)} values is valid"


def number_words(value: float) -> str:
    """Write a number for people: at most four digits, without idle zeros."""
    if np.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    return "none" if np.isnan(value) else f"{value:.4g}"


def _number(fit: Fit, band: Band) -> str:
    return number_words(fit.values[band.name])


def unit_words(unit: str) -> str:
    """Write a unit behind a number: of numbers without unit, a change is ``per year``."""
    if not unit or unit == "1":
        return ""
    return f" per {unit[2:]}" if unit.startswith("1/") else f" {unit}"


def p_words(value: float) -> str:
    """Write a p-value as ``p = 0.03``."""
    if np.isnan(value):
        return "not tested"
    return "p < 0.0001" if value < 1e-4 else f"p = {value:.2g}"
