"""Speed of the `ols` kernel on one core: ``python benchmarks/kernel_ols.py``."""

from __future__ import annotations

from statistics import median
from time import perf_counter

import numpy as np

from pixelwise.methods import ols
from pixelwise.times import TimeAxis

LAYERS, PIXELS, ROUNDS = 21, 512 * 1024, 7
WITHOUT_P = ("slope", "intercept", "rvalue", "stderr")
WITH_P = (*WITHOUT_P, "pvalue")


def main() -> None:
    print(f"{LAYERS} layers, float32, {PIXELS} pixels, one core, median of {ROUNDS}")
    axis = TimeAxis.from_times(np.arange(1995, 1995 + LAYERS))
    rng = np.random.default_rng(1)
    complete = rng.normal(0.5, 0.1, (LAYERS, PIXELS)).astype(np.float32)
    gappy = np.where(rng.random(complete.shape) < 0.05, np.float32(np.nan), complete)
    for text, values in (("complete", complete), ("5 % scattered gaps", gappy)):
        for bands in (WITHOUT_P, WITH_P):
            bound = ols().bind(axis, bands, {})
            bound((values,))
            times = []
            for _ in range(ROUNDS):
                start = perf_counter()
                bound((values,))
                times.append(perf_counter() - start)
            speed = PIXELS / median(times) / 1e6
            p = "with p-values" if "pvalue" in bands else "without p-values"
            print(f"{text:20s} {p:18s} {speed:6.1f} Mpx/s {1000 / speed:6.1f} ns/px")


if __name__ == "__main__":
    main()
