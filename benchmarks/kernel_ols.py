"""Speed of the `ols` kernel on one core: ``python benchmarks/kernel_ols.py``.

The cases take turns, so that a machine which others use slows all of them alike.
"""

from __future__ import annotations

from statistics import median
from time import perf_counter

import numpy as np

from pixelwise.methods import ols
from pixelwise.times import TimeAxis

LAYERS, PIXELS, ROUNDS = 21, 256 * 1024, 7
WITHOUT_P = ("slope", "intercept", "rvalue", "stderr")
WITH_P = (*WITHOUT_P, "pvalue")


def main() -> None:
    axis = TimeAxis.from_times(np.arange(1995, 1995 + LAYERS))
    rng = np.random.default_rng(1)
    complete = rng.normal(0.5, 0.1, (LAYERS, PIXELS)).astype(np.float32)
    gappy = np.where(rng.random(complete.shape) < 0.05, np.float32(np.nan), complete)
    cases = {
        (text, p): (ols().bind(axis, bands, {}), values)
        for text, values in (("complete", complete), ("5 % scattered gaps", gappy))
        for p, bands in (("without p-values", WITHOUT_P), ("with p-values", WITH_P))
    }
    seconds: dict[tuple[str, str], list[float]] = {case: [] for case in cases}
    for turn in range(ROUNDS + 1):
        for case, (bound, values) in cases.items():
            start = perf_counter()
            bound((values,))
            if turn:  # the first loads the kernel, or compiles it
                seconds[case].append(perf_counter() - start)
    print(f"{LAYERS} layers, float32, {PIXELS} pixels, one core, median (best) of {ROUNDS}")
    for (text, p), times in seconds.items():
        middle, best = PIXELS / median(times) / 1e6, PIXELS / min(times) / 1e6
        print(f"{text:20s} {p:18s} {middle:6.1f} ({best:.1f}) Mpx/s {1000 / middle:6.1f} ns/px")


if __name__ == "__main__":
    main()
