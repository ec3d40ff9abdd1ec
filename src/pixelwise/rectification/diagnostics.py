"""A table of gains as a picture, and in a few lines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pixelwise.opening.gain_checks import (
    GainTrend,
    bands_of,
    changes_by_gains,
    per_sensor,
    scenes_of,
    trends_of,
    years_of,
)
from pixelwise.pictures.gains import GainPanel, Slope, draw_gains
from pixelwise.stacks.fits import p_words
from pixelwise.stacks.formula import Expression
from pixelwise.stacks.gains import Gain, Gains

__all__ = ["gains_figure", "summary_lines"]


def gains_figure(gains: Gains) -> Any:
    """Draw gain and offset of every scene by date, band and sensor, with standard errors and flags.

    Parameters
    ----------
    gains
        What `rectify` returns.

    Returns
    -------
    matplotlib.figure.Figure
        Unknown to pyplot; notebooks show it.

    Raises
    ------
    ParameterError
        When matplotlib is missing, or no scene has a date.
    """
    years = years_of(gains.rows)
    ends = float(np.nanmin(years, initial=np.inf)), float(np.nanmax(years, initial=-np.inf))
    lines = {key: _slope(trend, ends, key[0]) for key, trend in trends_of(gains).items()}
    panels = [_panel(band, gains.of_band(band), lines) for band in gains.bands]
    return draw_gains([panel for panel in panels if len(panel.years)], _title(gains), _caption(gains))


def _panel(band: str, rows: tuple[Gain, ...], lines: Mapping[tuple[str, str], Slope]) -> GainPanel:
    """Return what is drawn of a band, of scenes that have gains and dates that exist."""
    rows = tuple(row for row, year in zip(rows, years_of(rows), strict=True) if np.isfinite([year, row.gain]).all())
    return GainPanel(
        band,
        years_of(rows),
        gain=np.array([row.gain for row in rows]),
        gain_se=np.array([row.gain_se for row in rows]),
        offset=np.array([row.offset for row in rows]),
        offset_se=np.array([row.offset_se for row in rows]),
        sensors=tuple(row.sensor for row in rows),
        flagged=np.array([row.doubtful for row in rows], dtype=bool),
        gain_slope=lines.get(("gain", band)),
        offset_slope=lines.get(("offset", band)),
    )


def _slope(trend: GainTrend, ends: tuple[float, float], what: str) -> Slope:
    first, last = (trend.value + trend.slope * (year - trend.year) for year in ends)
    return Slope((first, last), f"{trend.per_decade(relative=what == 'gain')}, {p_words(trend.pvalue)}")


def _title(gains: Gains) -> str:
    number = len(scenes_of(gains))
    first, last = min(row.date for row in gains.rows)[:10], max(row.date for row in gains.rows)[:10]
    span = first if first == last else f"{first} to {last}"
    return f"Gains and offsets of {number} scene{'s' * (number != 1)}, {span}"


def _caption(gains: Gains) -> str:
    """Say what is drawn, and how it was found as far as all rows say the same."""
    found = {name: {getattr(row, name) for row in gains.rows} - {""} for name in ("reference", "method")}
    parts = [f" {name.capitalize()}: {values.pop()}." for name, values in found.items() if len(values) == 1]
    if any(np.isfinite(row.gain_se) for row in gains.rows):
        parts.append(" Bars are standard errors.")
    if any(row.doubtful for row in gains.rows):
        parts.append(" Flagged scenes are left out by --gains, unless --gains-flagged keep is given.")
    lacking = sum(any(not np.isfinite(row.gain) for row in scene.values()) for scene in scenes_of(gains))
    if lacking:
        parts.append(f" {lacking} scene{'s have' if lacking > 1 else ' has'} no gains.")
    return f"gain * value + offset makes a scene comparable with the reference.{''.join(parts)}"


def summary_lines(
    gains: Gains, expression: Expression | None = None, names: Mapping[str, str] | None = None
) -> list[str]:
    """Return a table of the bands for a terminal, and what the gains change over time.

    Parameters
    ----------
    gains, expression, names
        As for `warnings_of_gains`.

    Returns
    -------
    list of str
        A line of headings; one for each band with medians and the range over scenes that are not flagged; then what the
        gains change, unless `warnings_of_gains` says it.
    """
    rows = [("band", "gain (range)", "offset", "standard error", "rmse before", "after", "flagged")]
    for band in gains.bands:
        of_band = gains.of_band(band)
        known = [row for row in of_band if np.isfinite(row.gain)]
        used = [row for row in known if not row.doubtful] or known
        gain = np.array([row.gain for row in used])
        rows.append(
            (
                band,
                f"{np.median(gain):.3f} ({gain.min():.3f} to {gain.max():.3f})" if used else "-",
                _offset(used),
                _median([100 * row.gain_se / row.gain for row in used], " %"),
                _median([row.rmse_before for row in used]),
                _median([row.rmse_after for row in used]),
                f"{sum(row.doubtful for row in of_band)} of {len(of_band)}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*lines, *_effect(gains, expression, names)]


def _offset(rows: Sequence[Gain]) -> str:
    """Return the median offset, to a tenth of its standard error, but at most six decimals."""
    if not rows:
        return "-"
    offset = float(np.median([row.offset for row in rows]))
    errors = [row.offset_se for row in rows if row.offset_se > 0]
    if not errors:
        return f"{offset:+.3g}"
    return f"{offset:+.{min(max(0, 1 - math.floor(math.log10(np.median(errors)))), 6)}f}"


def _median(values: list[float], unit: str = "") -> str:
    known = [value for value in values if np.isfinite(value)]
    return f"{np.median(known):.2g}{unit}" if known else "-"


def _effect(gains: Gains, expression: Expression | None, names: Mapping[str, str] | None) -> Iterator[str]:
    if trends_of(gains, bands_of(expression, names)):
        return
    changes = changes_by_gains(gains, expression, names)
    steps = per_sensor(gains)
    for what, values in changes.values.items():
        if steps:
            codes = dict.fromkeys(changes.sensors)
            own = {code: float(values[[sensor == code for sensor in changes.sensors]].mean()) for code in codes}
            listed = ", ".join(f"{code} {value:+.2g}" for code, value in own.items())
            yield f"before rectification, sensors differ from the reference on the same ground: {what} {listed}"
            continue
        trend = GainTrend.of(changes.years, values)
        if trend is not None:
            yield (
                f"ground taken as unchanged has a trend before rectification: {what} {trend.per_decade()} "
                f"(standard error {10 * trend.stderr:.1g}, {p_words(trend.pvalue)})"
            )
