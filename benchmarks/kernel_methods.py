"""Speed of every method on one core: ``python benchmarks/kernel_methods.py [NAME ...]``.

Without reading or writing. The cases take turns, so that a machine which others use slows all of them alike; `ols` is
among them in each run, as the measure of the machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

import measure
import numpy as np

from pixelwise.dates.axis import TimeAxis
from pixelwise.method import Method
from pixelwise.methods import (
    contextual_mann_kendall,
    correlation,
    harmonic,
    mann_kendall,
    ols,
    polynomial,
    regress,
    restrend,
    robust,
    seasonal_kendall,
    siegel,
    summary,
    theil_sen,
    trend,
    wls,
)

MONTH = np.timedelta64(1, "M")
ROUNDS, GAPS = 7, 0.1
#: Values of a block: what a job hands to a kernel at once is of this order.
VALUES = 21 * 64 * 1024


@dataclass(frozen=True)
class Case:
    """A method on noise.

    Attributes
    ----------
    make
        The method.
    layers
        How many.
    bands
        The usual ones if None.
    inputs
        Names of further stacks.
    monthly
        A layer each month instead of each year.
    ties
        Values of one decimal, 8 different ones or so.
    """

    make: Callable[[], Method]
    layers: int = 21
    bands: tuple[str, ...] | None = None
    inputs: tuple[str, ...] = ()
    monthly: bool = False
    ties: bool = False


TEST = ("s", "z", "pvalue")

#: By the line in the table.
CASES: dict[str, Case] = {
    "ols": Case(ols),
    "ols, all bands": Case(ols, bands=tuple(band.name for band in ols().bands)),
    "theil_sen": Case(theil_sen),
    "theil_sen, 200 layers": Case(theil_sen, 200),
    "theil_sen, 2000 layers": Case(theil_sen, 2000, monthly=True),
    "siegel": Case(siegel),
    "mann_kendall s, z, p": Case(mann_kendall, bands=TEST),
    "mann_kendall s, z, p, ties": Case(mann_kendall, bands=TEST, ties=True),
    "mann_kendall": Case(mann_kendall),
    "mann_kendall yue_wang": Case(lambda: mann_kendall(correction="yue_wang")),
    "seasonal_kendall, 20 years": Case(seasonal_kendall, 240, monthly=True),
    "contextual_mann_kendall s, z, p": Case(contextual_mann_kendall, bands=TEST),
    "contextual_mann_kendall": Case(contextual_mann_kendall),
    "trend": Case(trend),
    "harmonic 1": Case(harmonic, monthly=True),
    "harmonic 1, 100 layers": Case(harmonic, 100, monthly=True),
    "harmonic 3, 100 layers": Case(lambda: harmonic(harmonics=3), 100, monthly=True),
    "polynomial 2": Case(polynomial),
    "wls": Case(wls, inputs=("weights",)),
    "robust huber": Case(robust),
    "robust bisquare": Case(lambda: robust(kind="bisquare")),
    "regress 2 stacks": Case(lambda: regress(covariates=("a", "b")), inputs=("a", "b")),
    "restrend": Case(restrend, inputs=("covariate",)),
    "correlation pearson": Case(correlation, inputs=("other",)),
    "correlation spearman": Case(lambda: correlation(kind="spearman"), inputs=("other",)),
    "summary": Case(summary),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="beginnings of the cases' names; all if none is given")
    names = parser.parse_args().names
    tasks, pixels = {}, {}
    for name, case in CASES.items():
        if not names or name == "ols" or name.startswith(tuple(names)):
            tasks[name], pixels[name] = task(case)
    times = measure.alternate(tasks, ROUNDS)
    results = {
        name: {
            "Mpx_per_s": pixels[name] / median(spent) / 1e6,
            "slowest": pixels[name] / max(spent) / 1e6,
            "best": pixels[name] / min(spent) / 1e6,
        }
        for name, spent in times.items()
    }
    measure.save("methods", results)
    print(f"float32, {100 * GAPS:.0f} % gaps, one core, {ROUNDS} rounds")
    rows = [(name, *(f"{row[key]:.4g}" for key in ("Mpx_per_s", "slowest", "best"))) for name, row in results.items()]
    print(measure.table(rows, ("", "Mpx/s", "slowest", "best")))


def task(case: Case) -> tuple[Callable[[], object], int]:
    """Return what is timed, and how many pixels it computes."""
    method = case.make()
    if case.monthly:
        months = np.datetime64("1840-01") + np.arange(case.layers) * MONTH
        axis = TimeAxis.from_times(months.astype("datetime64[D]"))
    else:
        axis = TimeAxis.from_times(1995 + np.arange(case.layers))
    rng = np.random.default_rng(1)
    width = 256 + 2 * method.halo
    height = max(VALUES // case.layers // 256, 1) + 2 * method.halo
    stacks = []
    for _ in range(1 + len(case.inputs)):
        values = rng.normal(0.5, 0.1, (case.layers, height, width)).astype(np.float32)
        values = values.round(1) if case.ties else values
        values[rng.random(values.shape) < GAPS] = np.nan
        stacks.append(values if method.halo else values.reshape(case.layers, -1))
    bound = method.bind(axis, case.bands, dict.fromkeys(case.inputs, axis))
    return partial(bound, tuple(stacks), "float32"), (height - 2 * method.halo) * 256


if __name__ == "__main__":
    main()
