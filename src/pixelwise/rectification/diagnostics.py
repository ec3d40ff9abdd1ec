"""A table of gains as a picture, and in a few lines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pixelwise.opening.gain_checks import (
    GainTrend,
    GroundChanges,
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
from pixelwise.stacks.gains import Gain, Gains, said_of
from pixelwise.words import escaped

__all__ = ["plot_gains", "summary_lines"]


def plot_gains(gains: Gains) -> Any:
    """Draw gain and offset of every scene by date, band and sensor, with standard errors and flags.

    Parameters
    ----------
    gains
        What `rectify` returns.

    Returns
    -------
    matplotlib.figure.Figure
        Not registered with pyplot; notebooks show it.

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
    found = {"Reference": said_of(gains.rows, "reference"), "Method": said_of(gains.rows, "method")}
    parts = [f" {name}: {said}." for name, said in found.items() if said]
    if any(np.isfinite(row.gain_se) for row in gains.rows):
        parts.append(" Bars, where larger than the marks, are standard errors.")
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
        A line of headings; one for each band with medians and the range over scenes that are not flagged, or for each
        sensor and band with its line, if sensors were compared; then what the gains change, unless `warnings_of_gains`
        says it.
    """
    rows = _rows_of_sensors(gains) if per_sensor(gains) else _rows_of_bands(gains)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*lines, *_effect(gains, expression, names)]


def _rows_of_bands(gains: Gains) -> list[tuple[str, ...]]:
    """Return the headings, and the medians of each band."""
    rows: list[tuple[str, ...]] = [
        ("band", "median gain (range)", "median offset", "standard error", "rmse before", "after", "flagged")
    ]
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
    return rows


def _rows_of_sensors(gains: Gains) -> list[tuple[str, ...]]:
    """Return the headings, and the line of each band of each sensor but the newest, and what it was compared with."""
    headings = ("sensor", "band", "gain", "offset", "standard error", "rmse before", "after", "compared with", "flag")
    rows: list[tuple[str, ...]] = [headings]
    lines = {(row.sensor, row.band): row for row in gains.rows}
    for sensor in dict.fromkeys(sensor for sensor, _ in lines):
        for row in (lines[sensor, band] for band in gains.bands if (sensor, band) in lines):
            if row.reference == sensor:  # the newest: there is nothing to say
                continue
            numbers = [
                f"{row.gain:.3f}",
                _offset([row]),
                _median([100 * row.gain_se / row.gain], " %"),
                _median([row.rmse_before]),
                _median([row.rmse_after]),
            ]
            numbers = ["-"] * len(numbers) if row.refused else numbers
            rows.append((escaped(sensor), escaped(row.band), *numbers, escaped(row.reference), " ".join(row.flags)))
    return rows


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
    if per_sensor(gains):
        yield from _steps(gains, changes)
        return
    for what, values in changes.values.items():
        trend = GainTrend.of(changes.years, values)
        if trend is None:
            continue
        if trend.significant:
            yield (
                f"before rectification, ground taken as unchanged has a trend: {what} {trend.per_decade()} "
                f"({trend.certainty})"
            )
        else:
            yield (
                "before rectification, ground taken as unchanged has no significant trend: "
                f"{what} {trend.per_decade()} ({trend.certainty})"
            )


def _steps(gains: Gains, changes: GroundChanges) -> Iterator[str]:
    """Say how sensors differ from the one whose values do not change."""
    codes = tuple(dict.fromkeys(changes.sensors))
    as_they_are = [
        code for code in codes if all((row.gain, row.offset) == (1, 0) for row in gains.rows if row.sensor == code)
    ]
    other = f"that of {escaped(as_they_are[0])}" if len(as_they_are) == 1 else "the reference"
    for code in (code for code in codes if code not in as_they_are):
        here = np.array([sensor == code for sensor in changes.sensors])
        for what, values in changes.values.items():
            step = float(values[here].mean())
            if abs(step) > 1e-9:
                apart = f"{abs(step):.2g} {'above' if step > 0 else 'below'}"
                yield f"before rectification, {what} of {escaped(code)} is {apart} {other} on the same ground"
