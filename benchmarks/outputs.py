"""What a format of the output costs: the whole `ols` job written as GeoTIFF, Zarr, NetCDF and cloud-optimized GeoTIFF.

The same job on the same files, in turn in one process after a warm-up. CPU is that of all threads, with what the system
did for them; ratios are those of the same round, to GeoTIFF. Writes the table of docs/outputs.md.

    python benchmarks/outputs.py [--layout tile256-lzw] [--size 3000] [--dates 21] [--rounds 5]
"""

from __future__ import annotations

import argparse
import logging
import random
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import measure
from pipeline import BANDS
from stacks import LAYOUTS, write_stack

import pixelwise as pw

PAGE = Path(__file__).parent.parent / "docs" / "outputs.md"

#: Name of the output, and options of the job.
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "GeoTIFF": ("map.tif", {}),
    "Zarr 3, sharded": ("map.zarr", {}),
    "Zarr 2": ("map2.zarr", {"zarr_format": 2}),
    "NetCDF": ("map.nc", {}),
    "COG": ("cog.tif", {"driver": "COG"}),
}


def size_of(path: Path) -> tuple[int, int]:
    """Return bytes and number of files of an output."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files), len(files)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def main() -> None:
    """Take turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layout", default="tile256-lzw", choices=LAYOUTS)
    parser.add_argument("--size", type=int, default=3000)
    parser.add_argument("--dates", type=int, default=21)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "pixelwise-benchmarks")
    options = parser.parse_args()
    logging.getLogger("pixelwise").setLevel(logging.ERROR)
    stack = pw.open_stack(write_stack(options.folder, LAYOUTS[options.layout], options.size, options.dates))
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in FORMATS}
    sizes: dict[str, tuple[int, int]] = {}
    shuffle = random.Random(0).shuffle
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for turn in range(options.rounds + 1):
            names = list(FORMATS)
            shuffle(names)
            for name in names:
                output, further = FORMATS[name]
                path = Path(folder) / output
                wall, cpu = time.perf_counter(), time.process_time()
                pw.apply(stack, "ols", path, bands=BANDS, jobs=2, **further)
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                sizes[name] = size_of(path)
                remove(path)
                if turn:
                    spent[name].append((wall, cpu))
    walls = measure.compare({name: [wall for wall, _ in one] for name, one in spent.items()}, "GeoTIFF")
    cpus = measure.compare({name: [cpu for _, cpu in one] for name, one in spent.items()}, "GeoTIFF")
    case = f"{options.layout}, {options.size}² x {options.dates}"
    results = {
        name: {"wall": walls[name], "cpu": cpus[name], "bytes": sizes[name][0], "files": sizes[name][1]}
        for name in FORMATS
    }
    measure.save("outputs", {case: results})
    rows = [
        (
            name,
            f"{row['cpu']['ratio']:.2f} ({row['cpu']['ratio_min']:.2f}..{row['cpu']['ratio_max']:.2f})",
            f"{row['wall']['ratio']:.2f} ({row['wall']['ratio_min']:.2f}..{row['wall']['ratio_max']:.2f})",
            f"{row['bytes'] / 1e6:.0f}",
            row["files"],
        )
        for name, row in results.items()
    ]
    header = ("output", "CPU / GeoTIFF", "wall / GeoTIFF", "MB", "files")
    print(measure.table(rows, header))
    seconds = median(cpu for _, cpu in spent["GeoTIFF"])
    print(f"CPU of GeoTIFF: {seconds:.2f} s")
    if PAGE.exists() and case == "tile256-lzw, 3000² x 21":
        lines = [header, ["---"] * len(header), *rows]
        measure.write_parts(PAGE, {"outputs": "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)})


if __name__ == "__main__":
    main()
