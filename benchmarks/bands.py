"""21 dates in one file, interleaved by pixel or by band, against 21 files of the same tiling and compression.

python benchmarks/bands.py [--size 3000] [--rounds 7]
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from functools import partial
from pathlib import Path

import measure
from pipeline import BANDS, DecodeOnly
from stacks import LAYOUTS, write_stack

import pixelwise as pw

SINGLE = "tile256-deflate-p2"


def main() -> None:
    """Alternate the layouts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "pixelwise-benchmarks")
    options = parser.parse_args()
    logging.getLogger("pixelwise").setLevel(logging.ERROR)
    names = (SINGLE, "bands-pixel", "bands-band")
    stacks = {name: pw.open_stack(write_stack(options.folder, LAYOUTS[name], options.size, 21)) for name in names}
    results: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        output = Path(folder) / "map.tif"
        tasks = {
            "decode-only": lambda stack: pw.apply(stack, DecodeOnly(), jobs=2),
            "ols + write": lambda stack: pw.apply(stack, "ols", output, bands=BANDS, jobs=2),
        }
        for task, run in tasks.items():
            times = measure.alternate(
                {name: partial(run, stack) for name, stack in stacks.items()},
                options.rounds,
                between=lambda: output.unlink(missing_ok=True),
            )
            for name, row in measure.compare(times, SINGLE).items():
                results.setdefault(name, {})[task] = row
    measure.save("bands", results)
    rows = [
        (name, task, f"{row['seconds']:.2f}", f"{row['ratio']:.2f}")
        for name, r in results.items()
        for task, row in r.items()
    ]
    print(measure.table(rows, ("", "task", "seconds", "ratio")))


if __name__ == "__main__":
    main()
