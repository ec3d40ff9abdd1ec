"""Warn of what looks wrong in a table of gains, judging by its rows alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from pixelwise.bands import Floats
from pixelwise.dates.axis import decimal_year
from pixelwise.dates.tables import parse_date
from pixelwise.errors import ParameterError
from pixelwise.kernels.tail_tables import student_tail
from pixelwise.stacks.fits import p_words
from pixelwise.stacks.formula import INDICES, Expression
from pixelwise.stacks.gains import Gain, GainFlag, Gains
from pixelwise.stacks.raster import RasterStack

__all__ = [
    "GainTrend",
    "GroundChanges",
    "bands_of",
    "changes_by_gains",
    "per_sensor",
    "scenes_of",
    "trends_of",
    "warnings_of_applied",
    "warnings_of_gains",
    "years_of",
]

#: A trend of a gain or offset counts if its p-value is below `EACH`, and below `TOGETHER` divided by how many are
#: tested: of tables of independent gains without a trend, 2 % (one band) to 5 % (five bands or more) are then warned
#: of, where .01 alone would warn of 11 % with six bands.
EACH, TOGETHER = 0.01, 0.05

#: At most this many trends are listed.
MOST_TRENDS = 3

#: What each flag says of a scene, and what to do.
ADVICE: Final[Mapping[GainFlag, tuple[str, str]]] = {
    "little_unchanged": (
        "hardly any of their pixels are unchanged",
        "look for clouds and snow that the masks missed; if most of the area did change, use --method controls",
    ),
    "not_converged": (
        "the search for unchanged pixels did not converge",
        "look for clouds that the masks missed, or give a larger --sample",
    ),
    "uncertain": (
        "a gain has a standard error above 5 %",
        "give a larger --sample, or an area with both bright and dark ground",
    ),
    "far": (
        "a gain is outside 0.5 to 2",
        "check that their scale, offset and unit are those of the other scenes",
    ),
    "saturated": (
        "many values are the largest or smallest that a band can have",
        "mask saturated pixels, or exclude them with --valid-range LOW,HIGH",
    ),
    "one_band": (
        "with only one band, change and gain cannot be distinguished",
        "give more --bands, --method controls with polygons (--controls), or --method regression over stable ground",
    ),
    "refused": (
        "they have no gains",
        "look for those that are mostly clouds, and for bands without variation; a larger --sample finds more pixels",
    ),
    "few": (
        "fewer than 10 000 of their pixels can be compared with the reference",
        "their gains are less certain, but used; a larger --sample helps if they have more clear pixels",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class GainTrend:
    """A straight line through numbers of scenes by time.

    Attributes
    ----------
    slope
        Per year.
    stderr
        Its standard error.
    pvalue
        Two-sided, of no slope (Student's t).
    year, value
        Means, through which the line goes.
    """

    slope: float
    stderr: float
    pvalue: float
    year: float
    value: float

    @classmethod
    def of(cls, years: Floats, values: Floats) -> GainTrend | None:
        """Fit a line by least squares; None if there are fewer than three numbers, or all dates or numbers are equal.

        Parameters
        ----------
        years, values
            (scene,) decimal years, and numbers; NaN where unknown.
        """
        known = np.isfinite(years) & np.isfinite(values)
        years, values = years[known], values[known]
        if len(years) < 3:
            return None
        year, value = float(years.mean()), float(values.mean())
        t, y = years - year, values - value
        sxx, syy = float(t @ t), float(y @ y)
        # Equal numbers differ from their mean by rounding.
        if not sxx > 0 or math.sqrt(syy / len(y)) <= 1e-12 * max(abs(value), 1e-3):
            return None
        slope, df = float(t @ y) / sxx, len(y) - 2
        rss = float(((y - slope * t) ** 2).sum())
        r = np.array([min(abs(slope) * math.sqrt(sxx / syy), 1.0)])
        tail = float(student_tail(r, np.array([float(df)]))[0]) if r[0] < 1 else 1.0
        pvalue = min(tail * min(rss / syy, 1.0) ** (df / 2), 1.0)
        return cls(slope, math.sqrt(rss / df / sxx), pvalue, year, value)

    @property
    def significant(self) -> bool:
        """Whether it can be distinguished from no slope, at the usual level of 5 %."""
        return self.pvalue < 0.05

    @property
    def certainty(self) -> str:
        """Its standard error per decade and p-value."""
        return f"standard error {10 * self.stderr:.1g}, {p_words(self.pvalue)}"

    def per_decade(self, *, relative: bool = False) -> str:
        """Write the slope, with its sign; `relative` to the mean, in per cent."""
        if relative:
            return f"{1000 * self.slope / self.value:+.2g} % per decade"
        return f"{10 * self.slope:+.2g} per decade"


def warnings_of_gains(
    gains: Gains, expression: Expression | None = None, names: Mapping[str, str] | None = None
) -> list[str]:
    """Return what a user should look at before a table is used, one line each.

    Parameters
    ----------
    gains
        The table.
    expression
        The formula whose values will be analysed, with whose bands alone trends matter. By default all do, and their
        effect is that on NDVI if the table has ``red`` and ``nir``, else that on each band.
    names
        What the table calls bands of the formula; the same by default.

    Returns
    -------
    list of str
        A trend of gains or offsets over time with its effect, how many scenes have each flag, and whether none would be
        left. Nobody can know from
        the rows whether such a trend is drift of sensors or a change of most of the area.
    """
    return [*_drift(gains, expression, names or {}), *_flagged(gains)]


def warnings_of_applied(stack: RasterStack) -> list[str]:
    """Return a trend of the gains that the scenes of a stack are read with, and its effect on the values that are read.

    Flagged scenes were counted as they were left out. Scenes that are not read have no part in it, whatever the table
    says of them.
    """
    if stack.gains is None or not stack.gains.rows:
        return []
    gains = Gains(stack.gains.rows)
    expression, called = stack.derivation.expression, stack.layers[0].images[0].names
    if expression is None and called and called[0].isidentifier():
        return list(_drift(gains, Expression(called[0]), {}))
    return list(_drift(gains, expression, dict(zip(stack.derivation.names, called, strict=False))))


def scenes_of(gains: Gains) -> list[dict[str, Gain]]:
    """Return the rows of each scene by band, sorted by date.

    Of a product with a file for each band, rows of a scene share no path: the first rows of the bands with a date and
    sensor belong together, and so do the second ones. Rows of equal numbers are those of one image in several files.
    """
    found: dict[tuple[str, str, int], dict[str, Gain]] = {}
    seen: dict[tuple[str, str, str], set[str]] = {}
    for row in gains.rows:
        alike = seen.setdefault((row.date, row.sensor, row.band), set())
        numbers = repr((row.gain, row.offset, row.n, row.mean_weight))
        if numbers not in alike:
            found.setdefault((row.date, row.sensor, len(alike)), {})[row.band] = row
            alike.add(numbers)
    return [found[key] for key in sorted(found, key=lambda key: (key[0], key[2]))]


def years_of(rows: Sequence[Gain]) -> Floats:
    """Return the decimal years of rows; NaN for a date that does not exist, as tables may be edited."""
    return np.array([_year(row.date) for row in rows])


@lru_cache(1 << 14)  # bands and sensors share dates
def _year(date: str) -> float:
    try:
        moment = parse_date(date)
    except ParameterError:
        return math.nan
    return decimal_year(moment.start, moment.precision)


def per_sensor(gains: Gains) -> bool:
    """Whether all scenes of each of several sensors have the same gains, as they have with ``per="sensor"``."""
    lines: dict[tuple[str, str], set[tuple[float, float]]] = {}
    for row in gains.rows:
        lines.setdefault((row.band, row.sensor), set()).add((row.gain, row.offset))
    several = len({sensor for _, sensor in lines}) > 1
    return several and len(lines) < len(gains.rows) and all(len(values) == 1 for values in lines.values())


def trends_of(gains: Gains, bands: Iterable[str] | None = None) -> dict[tuple[str, str], GainTrend]:
    """Return significant trends of gains and offsets over time, of scenes that are not doubtful.

    Parameters
    ----------
    gains
        The table.
    bands
        Those that matter; all by default.

    Returns
    -------
    dict
        By ``gain`` or ``offset`` and band, the most significant first; none if gains belong to sensors, which makes
        them steps.
    """
    if per_sensor(gains):
        return {}
    found: dict[tuple[str, str], GainTrend] = {}
    for band in gains.bands if bands is None else bands:
        rows = [row for row in gains.of_band(band) if not row.doubtful]
        for what, values in (("gain", [row.gain for row in rows]), ("offset", [row.offset for row in rows])):
            trend = GainTrend.of(years_of(rows), np.array(values))
            if trend is not None:
                found[what, band] = trend
    limit = min(EACH, TOGETHER / max(len(found), 1))
    significant = [key for key, trend in found.items() if trend.pvalue < limit]
    return {key: found[key] for key in sorted(significant, key=lambda key: found[key].pvalue)}


@dataclass(frozen=True, eq=False)
class GroundChanges:
    """What ground that does not change shows in scenes as they were taken, less what the reference shows there.

    Ground whose bands have the levels of the reference has the values ``(level - offset) / gain`` in a scene. A trend
    of the difference is what the gains take away.

    Attributes
    ----------
    years
        (scene,) decimal years.
    sensors
        (scene,) codes.
    values
        (scene,) differences by what is analysed: an index, a formula, or each band.
    """

    years: Floats
    sensors: tuple[str, ...]
    values: Mapping[str, Floats]


def bands_of(expression: Expression | None, names: Mapping[str, str] | None = None) -> tuple[str, ...] | None:
    """Return what a table calls the bands of a formula; None without one."""
    return None if expression is None else tuple((names or {}).get(name, name) for name in expression.names)


def changes_by_gains(
    gains: Gains, expression: Expression | None = None, names: Mapping[str, str] | None = None
) -> GroundChanges:
    """Return what gains change in scenes that are not doubtful.

    Parameters
    ----------
    gains, expression, names
        As for `warnings_of_gains`. Nothing is known of a formula if the table lacks one of its bands.
    """
    scenes = [scene for scene in scenes_of(gains) if not any(row.doubtful for row in scene.values())]
    raw, level = {}, {}
    for band in gains.bands:
        rows = [scene[band] for scene in scenes if band in scene]
        known = [row.level for row in rows if math.isfinite(row.level)]
        if len(rows) == len(scenes) and known:
            # One level for all scenes, whichever of their pixels are unchanged.
            level[band] = np.full(len(rows), np.median(known))
            raw[band] = (level[band] - np.array([row.offset for row in rows])) / np.array([row.gain for row in rows])
    first = [next(iter(scene.values())) for scene in scenes]
    years, sensors = years_of(first), tuple(row.sensor for row in first)
    if expression is None and {"red", "nir"} <= raw.keys():
        expression = Expression(INDICES["ndvi"])
    if expression is None:
        return GroundChanges(years, sensors, {band: raw[band] - level[band] for band in raw})
    called = dict(zip(expression.names, bands_of(expression, names) or (), strict=True))
    if not raw.keys() >= set(called.values()):
        return GroundChanges(years, sensors, {})
    before, after = (expression({name: of[band] for name, band in called.items()}) for of in (raw, level))
    return GroundChanges(years, sensors, {_title(expression): before - after})


def _title(expression: Expression) -> str:
    """Return the name of an index in capitals, or else the formula."""
    index = next((name for name, text in INDICES.items() if Expression(text) == expression), None)
    return expression.text if index is None else index.upper()


def _drift(gains: Gains, expression: Expression | None, names: Mapping[str, str]) -> Iterator[str]:
    trends = trends_of(gains, bands_of(expression, names))
    if not trends:
        return
    listed = [
        f"{what} of {band} {trend.per_decade(relative=what == 'gain')}, {p_words(trend.pvalue)}"
        for (what, band), trend in trends.items()
    ]
    more = f"; and {len(listed) - MOST_TRENDS} more" if len(listed) > MOST_TRENDS else ""
    changes = changes_by_gains(gains, expression, names)
    effects = []
    for what, values in changes.values.items():
        trend = GainTrend.of(changes.years, values)
        if trend is not None and (what not in gains.bands or what in {band for _, band in trends}):
            unsure = "" if trend.significant else ": not distinguishable from zero"
            effects.append(f"{what} {trend.per_decade()} ({trend.certainty}{unsure})")
    removed = f"a trend of {', '.join(effects)}" if effects else "a trend"
    differ = " or differ" if len({row.sensor for row in gains.rows}) > 1 else ""
    yield (
        f"the gains have a trend over time ({'; '.join(listed[:MOST_TRENDS])}{more}): rectification removes {removed} "
        f"from every pixel. That is right if sensors drifted{differ}. {_otherwise(gains)}"
    )


def _otherwise(gains: Gains) -> str:
    """Say when it is wrong to remove a trend."""
    for method, ground in (("controls", "control sets"), ("regression", "pixels that are taken as unchanged")):
        if all(row.method.startswith(method) for row in gains.rows):
            return f"If the {ground} changed, it removes their change"
    return (
        "If more than half of the area changed in the same way, it also removes that real change, and the scenes alone "
        "cannot tell which it is: compare with --method controls, or with --method regression over ground known to be "
        "stable"
    )


def _flagged(gains: Gains) -> Iterator[str]:
    scenes = scenes_of(gains)
    flags = [{flag for row in scene.values() for flag in row.flags} for scene in scenes]
    every = f"all {len(scenes)} scenes" if len(scenes) > 1 else "the one scene"
    alone = all("one_band" in one for one in flags)
    if alone:
        yield (
            f"one band ({gains.bands[0]}): change and gain cannot be distinguished, so all scenes are flagged "
            f"one_band, and --gains leaves them out; {ADVICE['one_band'][1]}"
        )
    for flag, (why, advice) in ADVICE.items():
        found = sum(flag in one for one in flags)
        if found and not (alone and flag == "one_band"):
            yield f"{found} of {len(scenes)} scene{'s' * (len(scenes) > 1)} flagged {flag}: {why}; {advice}"
    if not alone and all(any(row.doubtful for row in scene.values()) for scene in scenes):
        have, them = ("have", "all of them") if len(scenes) > 1 else ("has", "it")
        yield f"{every} {have} flags other than few: --gains would leave {them} out"
