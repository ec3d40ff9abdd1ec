"""What the journal costs: the whole job with every block kept in it, against the job without.

A job that takes less than 5 s keeps none. Here it is forced on and off, in turn, on a job with as much output per input
as jobs usually have: `ols` with five bands of 21 dates.

    python benchmarks/journal.py [--layout tile256-lzw] [--size 6000] [--dates 21] [--rounds 5]
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path

import measure
from pipeline import BANDS
from stacks import LAYOUTS, write_stack

import pixelwise as pw
from pixelwise.jobs import limits


def main() -> None:
    """Alternate the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layout", default="tile256-lzw", choices=LAYOUTS)
    parser.add_argument("--size", type=int, default=6000)
    parser.add_argument("--dates", type=int, default=21)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "pixelwise-benchmarks")
    options = parser.parse_args()
    logging.getLogger("pixelwise").setLevel(logging.ERROR)
    stack = pw.open_stack(write_stack(options.folder, LAYOUTS[options.layout], options.size, options.dates))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        output = Path(folder) / "map.tif"

        def job(short: float) -> None:
            limits.LIMITS = limits.Limits(journal_seconds=short)
            pw.apply(stack, "ols", output, bands=BANDS, jobs=2)

        tasks = {"without": lambda: job(float("inf")), "journal": lambda: job(0.0)}
        times = measure.alternate(tasks, options.rounds, between=lambda: output.unlink(missing_ok=True))
    results = measure.compare(times, "without")
    measure.save("journal", {f"{options.layout}, {options.size}² x {options.dates}": results})
    rows = [
        (name, f"{row['seconds']:.2f}", f"{row['ratio']:.3f}", f"{row['ratio_min']:.2f}..{row['ratio_max']:.2f}")
        for name, row in results.items()
    ]
    print(measure.table(rows, ("job", "seconds", "ratio", "spread")))


if __name__ == "__main__":
    main()
