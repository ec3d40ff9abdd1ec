"""A model of what a job costs, from two small jobs, and how well it foretells larger ones.

    python benchmarks/cost_model.py

Processor seconds = start + values * seconds per value, where values are pixels times dates: `ols` from LZW tiles of
256 into a GeoTIFF, by the command line, on two threads. Two sizes give both numbers; three others are predicted.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import measure
from stacks import LAYOUTS, write_stack

KNOWN = ((500, 21), (2000, 21))
FORETOLD = ((3000, 21), (3000, 100), (1000, 600))
ROUNDS = 3


def run(folder: Path, size: int, dates: int) -> float:
    """Return the processor seconds of a job: the median of a few runs."""
    files = write_stack(folder / f"{size}-{dates}", LAYOUTS["tile256-lzw"], size, dates)
    command = [
        sys.executable, "-m", "pixelwise", "apply", "ols", *map(str, files), "-o", str(folder / "trend.tif"),
        "--overwrite", "--quiet", "--jobs", "2",
    ]  # fmt: skip
    spent = []
    for _ in range(ROUNDS + 1):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{' '.join(command)} failed")
        spent.append(usage.ru_utime + usage.ru_stime)
    return median(spent[1:])  # the first compiles


def main() -> None:
    """Measure, print, keep."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        known = [(size * size * dates, run(folder, size, dates)) for size, dates in KNOWN]
        (few, short), (many, long) = known
        each = (long - short) / (many - few)
        start = short - few * each
        found: dict[str, object] = {"start_seconds": start, "nanoseconds_per_value": 1e9 * each}
        for size, dates in FORETOLD:
            foretold, spent = start + size * size * dates * each, run(folder, size, dates)
            found[f"{size}² x {dates}"] = {"foretold": foretold, "seconds": spent, "ratio": spent / foretold}
    for name_, value in found.items():
        print(name_, value)
    measure.save("cost_model", found)


if __name__ == "__main__":
    main()
