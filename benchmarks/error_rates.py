"""How often tests find a trend where there is none, and where there is one: ``python benchmarks/error_rates.py``.

Series of AR(1) noise, seeded, through the methods themselves. A p-value that is right is below 0.05 for 5 % of those
without a trend. What is NaN (the test is undefined) counts as not below. Writes the tables of docs/methods.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import measure
import numpy as np
from numpy.typing import NDArray

from pixelwise.dates.axis import TimeAxis
from pixelwise.method import Method
from pixelwise.methods import harmonic, mann_kendall, ols, robust, seasonal_kendall, theil_sen, trend

DAY = np.timedelta64(1, "D")
MONTH = np.timedelta64(1, "M")
SERIES, LEVEL = 20_000, 0.05
PAGE = Path(__file__).parent.parent / "docs" / "methods.md"

Floats = NDArray[np.float64]

#: Length of annual series, and a slope, in standard deviations a year, that two thirds of good tests find.
ANNUAL = ((21, 0.09), (41, 0.033))
PHIS = (0.0, 0.2, 0.4, 0.6, 0.8)

#: When a forest is cut, as a share of the time: in the 7th, 10th and 13th of 21 years.
CUTS = (1 / 3, 10 / 21, 13 / 21)

#: Tests of annual values, by the row of the table: a method for a number of layers, and the bands that judge.
TESTS: dict[str, tuple[Callable[[int], Method], tuple[str, ...]]] = {
    "`ols` pvalue": (lambda n: ols(), ("pvalue",)),
    "`theil_sen` limits exclude 0": (lambda n: theil_sen(), ("low_slope", "high_slope")),
    "`robust` pvalue": (lambda n: robust(), ("pvalue",)),
    "**`trend` pvalue**": (lambda n: trend(), ("pvalue",)),
    "`trend` pvalue_mk": (lambda n: trend(), ("pvalue_mk",)),
    "`mann_kendall`": (lambda n: mann_kendall(), ("pvalue",)),
    "... `hamed_rao`": (lambda n: mann_kendall(correction="hamed_rao"), ("pvalue",)),
    "... `hamed_rao`, `floor=False`": (lambda n: mann_kendall(correction="hamed_rao", floor=False), ("pvalue",)),
    "... `yue_wang`": (lambda n: mann_kendall(correction="yue_wang"), ("pvalue",)),
    "... `yue_wang`, `floor=False`": (lambda n: mann_kendall(correction="yue_wang", floor=False), ("pvalue",)),
    "... `yue_wang`, all lags, `floor=False`": (
        lambda n: mann_kendall(correction="yue_wang", lags=n - 1, floor=False),
        ("pvalue",),
    ),
    "... `prewhiten`": (lambda n: mann_kendall(correction="prewhiten"), ("pvalue",)),
}


def ar1(rng: np.random.Generator, layers: int, phi: float) -> Floats:
    """Return (time, series) stationary AR(1) noise of variance 1."""
    noise = rng.normal(size=(layers, SERIES))
    for i in range(1, layers):
        noise[i] = phi * noise[i - 1] + np.sqrt(1 - phi**2) * noise[i]
    return noise


def rejected(method: Method, axis: TimeAxis, values: Floats, *bands: str) -> list[dict[str, float]]:
    """Return the shares of series below the level, and without a p-value, in percent, for each band."""
    table, _ = method.bind(axis, bands, {})((values,))
    if bands == ("low_slope", "high_slope"):
        low, high = table
        return [shares((low > 0) | (high < 0), np.isnan(low))]
    return [shares(row < LEVEL, np.isnan(row)) for row in table]


def shares(found: NDArray[np.bool_], undefined: NDArray[np.bool_]) -> dict[str, float]:
    return {"rejected": 100 * float(found.mean()), "undefined": 100 * float(undefined.mean())}


def of(found: Iterable[dict[str, float]], *names: str) -> dict[str, float]:
    return {name: share["rejected"] for name, share in zip(names, found, strict=True)}


def shown(found: Iterable[dict[str, float]]) -> list[str]:
    return [f"{share['rejected']:.1f}" for share in found]


def markdown(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return f"{title}\n\n" + "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def annual_tests(results: dict[str, Any]) -> Iterator[str]:
    """Yield a table for each length of annual series."""
    for layers, slope in ANNUAL:
        axis = TimeAxis.from_times(2000 + np.arange(layers))
        found: dict[str, list[dict[str, float]]] = {name: [] for name in TESTS}
        for rise in (0.0, slope):
            for phi in PHIS:
                rng = np.random.default_rng((layers, round(10 * phi)))
                values = ar1(rng, layers, phi) + rise * np.arange(layers)[:, None]
                for name, (make, bands) in TESTS.items():
                    found[name] += rejected(make(layers), axis, values, *bands)
        results[f"{layers} annual values, trend of {slope} sd a year"] = {
            name: {
                "phi": PHIS,
                "no trend": [cell["rejected"] for cell in cells[: len(PHIS)]],
                "no trend, no test": [cell["undefined"] for cell in cells[: len(PHIS)]],
                "power": [cell["rejected"] for cell in cells[len(PHIS) :]],
            }
            for name, cells in found.items()
        }
        title = (
            f"**{layers} annual values.** False-alarm rate (%, nominal 5), power (%) for a trend of {slope} standard "
            "deviations a year, and share of series (%) that cannot be tested (no trend, phi 0)."
        )
        columns = [f"{phi:g}" for phi in PHIS]
        columns[0] = "phi 0"
        header = ("", *columns, "power: phi 0", *columns[1:], "no test")
        yield markdown(
            title, header, [(name, *shown(cells), f"{cells[0]['undefined']:.1f}") for name, cells in found.items()]
        )


def steps_and_gaps(results: dict[str, Any]) -> Iterator[str]:
    """Yield the table of what `trend` does with gaps, and of clear-cuts."""
    rows = []
    for layers, slope in ANNUAL:
        axis = TimeAxis.from_times(2000 + np.arange(layers))
        third = np.arange(layers) // (layers // 3) == 1
        for gaps, missing in (("none", 0.0), ("30 %", 0.3), ("50 %", 0.5), ("middle third", third[:, None])):
            for name, method in (("`ols`", ols(min_obs=5)), ("**`trend`**", trend())):
                noise = [ar1(np.random.default_rng((layers, round(10 * phi))), layers, phi) for phi in PHIS]
                risen = [values + slope * np.arange(layers)[:, None] for values in noise]
                # NDVI of 0.80 +- 0.03, 0.35 less from a third, half or two thirds of the time on.
                cut = [0.03 * noise[0] - 0.35 * (np.arange(layers) >= share * layers)[:, None] for share in CUTS]
                found = []
                for values in (*noise, *risen, *cut):
                    kept = np.where(np.random.default_rng(9).random(values.shape) < missing, np.nan, values)
                    enough = kept[:, np.isfinite(kept).sum(axis=0) >= 5]
                    found += rejected(method, axis, enough, "pvalue")
                untested = max(share["undefined"] for share in found)
                rows.append((layers, gaps, name, *shown(found), f"{untested:.1f}"))
                results[f"{name.strip('*`')}, {layers} annual values, gaps: {gaps}"] = {
                    "no trend": [share["rejected"] for share in found[: len(PHIS)]],
                    "power": [share["rejected"] for share in found[len(PHIS) : 2 * len(PHIS)]],
                    "clear-cuts": [share["rejected"] for share in found[2 * len(PHIS) :]],
                    "untested": untested,
                }
    columns = [f"{phi:g}" for phi in PHIS]
    title = (
        "**Gaps and steps.** Annual values with random or consecutive gaps, and at least 5 values. Percent of series "
        "in which a trend is found: without a trend, with one (slopes as above), and with a clear-cut after a third, "
        "half and two thirds of the time (0.80 to 0.45, noise 0.03). Last, the largest share that was left untested."
    )
    header = (
        "values",
        "gaps",
        "",
        "phi 0",
        *columns[1:],
        "power: phi 0",
        *columns[1:],
        "cut: 1/3",
        "1/2",
        "2/3",
        "no test",
    )
    yield markdown(title, header, rows)


def limits(results: dict[str, Any]) -> Iterator[str]:
    """Yield the table of confidence limits, and of slopes that are detectable."""
    rows = []
    for layers, _ in ANNUAL:
        axis = TimeAxis.from_times(2000 + np.arange(layers))
        for name, method in (("`theil_sen`", theil_sen()), ("**`trend`**", trend())):
            cells = []
            for phi in PHIS:
                values = ar1(np.random.default_rng((layers, round(10 * phi))), layers, phi)
                cells.append(100 - rejected(method, axis, values, "low_slope", "high_slope")[0]["rejected"])
            results[f"coverage of {name.strip('*`')}, {layers} annual values"] = dict(
                zip(map(str, PHIS), cells, strict=True)
            )
            rows.append((layers, f"{name} limits hold the slope", *(f"{cell:.1f}" for cell in cells)))
        told, cells, medians = [], [], []
        for phi in PHIS:
            values = ar1(np.random.default_rng((layers, round(10 * phi))), layers, phi)
            (slopes,), _ = trend().bind(axis, ["detectable_slope"], {})((values,))
            finite = np.isfinite(slopes)
            new = ar1(np.random.default_rng((layers, round(10 * phi), 1)), layers, phi)[:, finite]
            new += slopes[finite] * np.arange(layers)[:, None]
            told.append(100 * float(finite.mean()))
            cells.append(rejected(trend(), axis, new, "pvalue")[0]["rejected"])
            medians.append(float(np.median(slopes[finite])))
        results[f"detectable slopes, {layers} annual values"] = {"finite": told, "found": cells, "median": medians}
        rows.append((layers, "**`trend`** detectable_slope is finite", *(f"{cell:.1f}" for cell in told)))
        rows.append((layers, "... and is found", *(f"{cell:.1f}" for cell in cells)))
        rows.append((layers, "... its median, sd a year", *(f"{median:.3f}" for median in medians)))
    title = (
        "**Limits and detectable slopes.** Annual values without a trend. Percent of series whose limits (95 %) "
        "include the slope 0; percent with a finite detectable slope; and percent of new series with the same noise in "
        "which the detectable slope of another series is found (intended: 90)."
    )
    yield markdown(title, ("values", "", "phi 0", *(f"{phi:g}" for phi in PHIS[1:])), rows)


def ties(results: dict[str, Any]) -> Iterator[str]:
    """Yield the table of counts and classes."""
    axis, rows = TimeAxis.from_times(2000 + np.arange(21)), []
    rng = np.random.default_rng(1)
    shape = (21, SERIES)
    rise = np.linspace(0.55, 1.82, 21)[:, None]
    for name, values in {
        "fires, 0.4 a year": rng.poisson(0.4 * rise, shape),
        "burnt area, 25 % of years": rng.gamma(1, 50, shape) * (rng.random(shape) < 0.25 * rise),
        "counts, 3 a year": rng.poisson(3 * rise, shape),
        "three classes": np.clip(np.round(rng.normal(1.4 + 0.6 * rise, 0.5, shape)), 1, 3),
    }.items():
        bands = ["slope", "low_slope", "high_slope", "pvalue"]
        (slope, low, high, pvalue), _ = trend().bind(axis, bands, {})((values.astype(np.float64),))
        (sen,), _ = theil_sen().bind(axis, ["slope"], {})((values.astype(np.float64),))
        found = pvalue < LEVEL
        contradicted = np.where(found, (low < 0) & (high > 0), (low > 0) | (high < 0))
        cells = {
            "found": found.mean(),
            "theil_sen is 0": (sen[found] == 0).mean(),
            "trend is 0": (slope[found] == 0).mean(),
            "limits contradict": contradicted[np.isfinite(pvalue)].mean(),
        }
        results[f"ties: {name}"] = {what: 100 * float(share) for what, share in cells.items()}
        rows.append((name, *(f"{100 * share:.1f}" for share in cells.values())))
    title = (
        "**Counts and classes**, 21 years, rising threefold. Percent of series in which `trend`'s `pvalue` is below "
        "0.05; percent of these in which the slope of `theil_sen`, and of `trend`, is exactly 0; and percent of all in "
        "which the limits contradict the p-value."
    )
    yield markdown(title, ("", "found", "`theil_sen` slope 0", "`trend` slope 0", "limits differ"), rows)


def harmonics(results: dict[str, Any]) -> Iterator[str]:
    """Yield the tables of season and trend."""
    rows = []
    for years, gaps in ((5, 0.0), (10, 0.0), (10, 0.3), (20, 0.0)):
        days = [np.datetime64(f"{2000 + y}-01-01") + 16 * k * DAY for y in range(years) for k in range(23)]
        axis = TimeAxis.from_times(np.array(days))
        season = 2 * np.cos(2 * np.pi * (axis.years - 0.4))[:, None]
        for phi in (0.0, 0.3, 0.5, 0.7):
            rng = np.random.default_rng(1)
            values = season + ar1(rng, len(axis), phi)
            values[rng.random(values.shape) < gaps] = np.nan
            found = rejected(harmonic(), axis, values, "pvalue", "pvalue_ols")
            results[f"harmonic, {years} years, {100 * gaps:.0f} % gaps, phi = {phi}"] = of(
                found, "pvalue", "pvalue_ols"
            )
            rows.append((years, f"{100 * gaps:.0f} %", phi, *shown(found)))
    title = (
        "**`harmonic`**, 23 layers a year, 16 days apart, a season of amplitude 2, no trend; random gaps; phi from "
        "layer to layer. Percent of series in which a trend is found:"
    )
    yield markdown(title, ("years", "gaps", "phi", "pvalue", "pvalue_ols"), rows)
    yield from irregular_harmonics(results)


#: Irregular dates, by what the table says of them: days between visits, share of visits lost, days by which they vary.
IRREGULAR = {
    "16 days, 60 % lost": ((0,), 16, 0.6, 0),
    "16 days or 17, 30 % lost": ((0,), 16, 0.3, 1),
    "two satellites, 7 and 9 days": ((0, 7), 16, 0.0, 0),
    "8 days, 55 % lost": ((0,), 8, 0.55, 0),
}
MEMORIES = (0, 8, 16, 30)


def irregular_axis(rng: np.random.Generator, visits: str, years: int) -> TimeAxis:
    """Return dates of so many years."""
    starts, step, lost, jitter = IRREGULAR[visits]
    days = np.sort(np.concatenate([np.arange(start, 365.25 * years, step) for start in starts])).astype(np.int64)
    days = days[rng.random(len(days)) >= lost]
    return TimeAxis.from_times(np.datetime64("2000-01-01") + (days + rng.integers(0, jitter + 1, len(days))) * DAY)


def fading(rng: np.random.Generator, axis: TimeAxis, memory: float) -> Floats:
    """Return (time, series) noise of variance 1, of correlation exp(-d / memory) at a distance of d days."""
    noise = rng.normal(size=(len(axis), SERIES))
    for i, distance in enumerate(np.diff(axis.years) * 365.25, start=1):
        phi = np.exp(-distance / memory) if memory else 0.0
        noise[i] = phi * noise[i - 1] + np.sqrt(1 - phi**2) * noise[i]
    return noise


def irregular_harmonics(results: dict[str, Any]) -> Iterator[str]:
    """Yield the table of season and trend at irregular dates."""
    rows = []
    for visits in IRREGULAR:
        for years, gaps in ((10, 0.0), (10, 0.4), (20, 0.0), (30, 0.0)):
            axis = irregular_axis(np.random.default_rng(1), visits, years)
            season = 2 * np.cos(2 * np.pi * (axis.years - 0.4))[:, None]
            # A slope that independent values of this number and spread show in about 85 of 100 cases.
            slope = 3 / np.sqrt(len(axis) * (1 - gaps)) / np.std(axis.years)
            cells = []
            for memory in (*MEMORIES, "mixed"):
                rng = np.random.default_rng(2)
                if memory == "mixed":
                    noise = np.sqrt(0.5) * (fading(rng, axis, 30) + rng.normal(size=(len(axis), SERIES)))
                else:
                    noise = fading(rng, axis, float(memory))
                noise[rng.random(noise.shape) < gaps] = np.nan
                found = rejected(harmonic(), axis, season + noise, "pvalue", "pvalue_ols")
                results[f"harmonic, {visits}, {years} years, {100 * gaps:.0f} % gaps, memory {memory}"] = of(
                    found, "pvalue", "pvalue_ols"
                )
                cells.append("{} ({})".format(*shown(found)))
                if memory == 0:
                    trends = season + noise + slope * axis.years[:, None]
                    power = "{} ({})".format(*shown(rejected(harmonic(), axis, trends, "pvalue", "pvalue_ols")))
            rows.append((visits, years, f"{100 * gaps:.0f} %", *cells, power))
    title = (
        "**`harmonic`** at irregular dates, a season of amplitude 2, no trend; random gaps of pixels in addition "
        "to lost dates. The autocorrelation of the noise is exp(-days / T); mixed: half of the variance has T = 30 "
        "days, half is independent. Percent of series in which `pvalue` (`pvalue_ols`) finds a trend; last, the same "
        "for independent series with a trend."
    )
    header = ("dates", "years", "gaps", "T = 0", *(f"{days} days" for days in MEMORIES[1:]), "mixed", "power: 0")
    yield markdown(title, header, rows)


def seasonal_tests(results: dict[str, Any]) -> Iterator[str]:
    """Yield the tables of tests within seasons, and without them."""
    rows = []
    for years in (10, 20):
        months = np.datetime64("2000-01") + np.arange(12 * years) * MONTH
        axis = TimeAxis.from_times(months.astype("datetime64[D]"))
        season = 2 * np.cos(2 * np.pi * (np.arange(len(axis)) - 5) / 12)[:, None]
        for phi in (0.0, 0.3, 0.6):
            values = season + ar1(np.random.default_rng(1), len(axis), phi)
            found = rejected(seasonal_kendall(), axis, values, "pvalue", "pvalue_independent")
            results[f"seasonal_kendall, {years} years, phi = {phi}"] = of(found, "pvalue", "pvalue_independent")
            rows.append((years, phi, *shown(found)))
    title = (
        "**`seasonal_kendall`**, monthly layers, a season of amplitude 2, no trend; phi from month to month. Percent "
        "of series in which a trend is found:"
    )
    yield markdown(title, ("years", "phi", "pvalue", "pvalue_independent"), rows)
    yield from deseasonalised(results)


def deseasonalised(results: dict[str, Any]) -> Iterator[str]:
    """Yield the table of series without their seasons."""
    rows = []
    for years in (3, 5, 10):
        axis = TimeAxis.from_times((np.datetime64("2000-01") + np.arange(12 * years) * MONTH).astype("datetime64[D]"))
        season = 2 * np.cos(2 * np.pi * (axis.years - 0.4))[:, None]
        for gaps in (0.0, 0.5, 0.7, 0.85):
            rng = np.random.default_rng(1)
            noise = season + rng.normal(size=(len(axis), SERIES))
            noise[rng.random(noise.shape) < gaps] = np.nan
            slopes, values = theil_sen(deseasonalise="month").bind(axis, ["slope", "n"], {})(
                (noise[:, : SERIES // 4] + axis.years[:, None],)
            )[0]
            test = mann_kendall(deseasonalise="month")
            # A slope that as many independent values without seasons show in about 85 of 100 cases.
            trend_too = noise + 3 / np.sqrt(len(axis) * (1 - gaps)) / np.std(axis.years) * axis.years[:, None]
            none, some = (rejected(test, axis, series, "pvalue")[0] for series in (noise, trend_too))
            ratio = float(np.nanmean(slopes))
            results[f"deseasonalise, {years} years, {100 * gaps:.0f} % gaps"] = {
                "slope": ratio,
                "no trend": none["rejected"],
                "no trend, no test": none["undefined"],
                "power": some["rejected"],
            }
            cells = (f"{np.median(values):.0f}", f"{ratio:.2f}", *shown((none, some)), f"{none['undefined']:.1f}")
            rows.append((years, f"{100 * gaps:.0f} %", *cells))
    title = (
        "**`deseasonalise`**, monthly layers, a season of amplitude 2, independent noise, gaps at random. Median "
        "number of values that count; mean slope of `theil_sen` as a multiple of the true one; percent of series "
        "in which `mann_kendall` finds a trend, without one and (power) with one; in how many it cannot test:"
    )
    yield markdown(title, ("years", "gaps", "n", "slope", "no trend", "power", "no test"), rows)


def robust_lines(results: dict[str, Any]) -> Iterator[str]:
    """Yield the table of outliers."""
    rows = []
    for layers in (10, 21, 41):
        axis = TimeAxis.from_times(2000 + np.arange(layers))
        for outliers in (0.0, 0.1):
            rng = np.random.default_rng(1)
            values = ar1(rng, layers, 0.0)
            values[rng.random(values.shape) < outliers] *= 10
            methods = (robust(), robust(kind="bisquare"), ols())
            found = [rejected(method, axis, values, "pvalue")[0] for method in methods]
            results[f"robust, {layers} values, {100 * outliers:.0f} % outliers"] = of(found, "huber", "bisquare", "ols")
            rows.append((layers, f"{100 * outliers:.0f} %", *shown(found)))
    title = (
        "**`robust`**, independent annual values, no trend; outliers are values multiplied by ten. Percent of "
        "series in which a trend is found:"
    )
    yield markdown(title, ("values", "outliers", "huber", "bisquare", "`ols`"), rows)


def main() -> None:
    results: dict[str, Any] = {}
    parts = []
    for tables in (annual_tests, steps_and_gaps, limits, ties, seasonal_tests, harmonics, robust_lines):
        for table in tables(results):
            print(table)
            parts.append(table)
    measure.save("error_rates", results)
    measure.write_parts(PAGE, {"error_rates": "\n".join(parts).strip()})


if __name__ == "__main__":
    main()
