"""Speed of every method on one core: ``python benchmarks/kernel_methods.py [NAME ...]``.

The usual bands, without reading or writing. The cases take turns, so that a machine which others use slows all of them
alike; `ols` is among them in each run, as the measure of the machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median

import measure
import numpy as np

from pixelwise.method import Method
from pixelwise.methods import harmonic, ols, polynomial, robust, wls
from pixelwise.times import TimeAxis

PIXELS, ROUNDS, GAPS = 64 * 1024, 7, 0.1
#: One date a year, or five a year where a method has a season.
ANNUAL = np.datetime64("1995-07-01") + 365 * np.arange(100)
FIVE_A_YEAR = np.datetime64("1995-01-01") + 73 * np.arange(100)

#: What is measured, by its line in the table: a method for a number of layers, and that number.
CASES: dict[str, tuple[Callable[[int], Method], int]] = {
    "ols": (lambda layers: ols(), 21),
    "wls": (lambda layers: wls(weights=np.linspace(1, 2, layers).tolist()), 21),
    "robust huber": (lambda layers: robust(), 21),
    "robust bisquare": (lambda layers: robust(kind="bisquare"), 21),
    "polynomial 2": (lambda layers: polynomial(), 21),
    "harmonic 1": (lambda layers: harmonic(), 21),
    "harmonic 1, 100 layers": (lambda layers: harmonic(), 100),
    "harmonic 3, 100 layers": (lambda layers: harmonic(harmonics=3), 100),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="beginnings of the cases' names; all if none is given")
    names = parser.parse_args().names
    tasks = {}
    for name, (make, layers) in CASES.items():
        if names and name != "ols" and not name.startswith(tuple(names)):
            continue
        method = make(layers)
        axis = TimeAxis.from_times((FIVE_A_YEAR if method.season_term else ANNUAL)[:layers])
        rng = np.random.default_rng(1)
        values = rng.normal(0.5, 0.1, (layers, PIXELS)).astype(np.float32)
        values[rng.random(values.shape) < GAPS] = np.nan
        tasks[name] = partial(method.bind(axis, None, {}), (values,), "float32")
    times = measure.alternate(tasks, ROUNDS)
    results = {
        name: {
            "Mpx_per_s": PIXELS / median(spent) / 1e6,
            "slowest": PIXELS / max(spent) / 1e6,
            "best": PIXELS / min(spent) / 1e6,
        }
        for name, spent in times.items()
    }
    measure.save("methods", results)
    print(f"float32, {100 * GAPS:.0f} % gaps, {PIXELS} pixels, one core, {ROUNDS} rounds")
    rows = [(name, *(f"{row[key]:.2f}" for key in ("Mpx_per_s", "slowest", "best"))) for name, row in results.items()]
    print(measure.table(rows, ("", "Mpx/s", "slowest", "best")))


if __name__ == "__main__":
    main()
