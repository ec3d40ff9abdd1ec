"""Speed of the `ols` kernel on one core: ``python benchmarks/kernel_ols.py``.

The cases take turns, so that a machine which others use slows all of them alike.
"""

from __future__ import annotations

from functools import partial
from statistics import median

import measure
import numpy as np

from pixelwise.dates.axis import TimeAxis
from pixelwise.methods import ols

LAYERS, PIXELS, ROUNDS = 21, 256 * 1024, 7
WITHOUT_P = ("slope", "intercept", "rvalue", "stderr")
WITH_P = (*WITHOUT_P, "pvalue")


def main() -> None:
    axis = TimeAxis.from_times(np.arange(1995, 1995 + LAYERS))
    rng = np.random.default_rng(1)
    complete = rng.normal(0.5, 0.1, (LAYERS, PIXELS)).astype(np.float32)
    gappy = np.where(rng.random(complete.shape) < 0.05, np.float32(np.nan), complete)
    kinds = {"complete": complete, "5 % scattered gaps": gappy}
    cases = {
        f"{kind}, {'with' if 'pvalue' in bands else 'without'} p-values": partial(
            ols().bind(axis, bands, {}), (values,), "float32"
        )
        for kind, values in kinds.items()
        for bands in (WITHOUT_P, WITH_P)
    }
    times = measure.alternate(cases, ROUNDS)
    results = {
        name: {"Mpx_per_s": PIXELS / median(spent) / 1e6, "best": PIXELS / min(spent) / 1e6}
        for name, spent in times.items()
    }
    measure.save("kernel", results)
    print(f"{LAYERS} layers, float32, {PIXELS} pixels, one core, {ROUNDS} rounds")
    rows = [(name, f"{row['Mpx_per_s']:.1f}", f"{row['best']:.1f}") for name, row in results.items()]
    print(measure.table(rows, ("", "Mpx/s", "best")))


if __name__ == "__main__":
    main()
