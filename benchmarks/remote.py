"""The whole job from files on a server beside the same files here: nginx on loopback, near and far away.

Between client and server a proxy holds each request back for some milliseconds (`tests/support/delaying_proxy.py`, a
process of its own). In turn in one process after a warm-up, each from names to a written map of five bands: opening,
reading, `ols`, writing. What was kept of headers is forgotten before each run. With `--gdal`, rasterio reads all
blocks through /vsicurl/, as it comes and tuned, on two threads and on 32.

    python benchmarks/remote.py [--size 3000] [--dates 21] [--delays 0,20,50] [--rounds 5] [--jobs 2] [--gdal]
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import measure
import rasterio
from pipeline import BANDS, decode
from stacks import LAYOUTS, write_stack

import pixelwise as pw
from pixelwise.rasters import remote

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.servers import delayed, nginx

PAGE = Path(__file__).parent.parent / "docs" / "remote.md"
TUNED = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "CPL_VSIL_CURL_CHUNK_SIZE": "524288",
    "VSI_CACHE": "TRUE",
}


def job(names: list[str], output: Path, jobs: int) -> None:
    """Make a map of files, from their names."""
    remote._CHUNKS = remote._Chunks()
    stack = pw.open_stack(names, allow_scheme="http")
    pw.apply(stack, "ols", output, bands=BANDS, compress="zstd", jobs=jobs, overwrite=True)


def by_gdal(names: list[str], threads: int, settings: dict[str, str]) -> None:
    """Read all pixels of files with rasterio, block by block."""

    def read(name: str) -> None:
        with rasterio.Env(**settings), rasterio.open(f"/vsicurl/{name}") as dataset:
            for _, window in dataset.block_windows(1):
                dataset.read(1, window=window)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read, names))


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=3000)
    parser.add_argument("--dates", type=int, default=21)
    parser.add_argument("--delays", default="0,20,50")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--gdal", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "pixelwise-benchmarks")
    options = parser.parse_args()
    logging.getLogger("pixelwise").setLevel(logging.ERROR)
    paths = write_stack(options.folder, LAYOUTS["tile256-deflate-p2"], options.size, options.dates)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as entered:
        port = entered.enter_context(nginx(paths[0].parent, Path(folder) / "nginx"))
        output = Path(folder) / "out.tif"
        tasks: dict[str, Callable[[], object]] = {"local": partial(job, list(map(str, paths)), output, options.jobs)}
        for delay in options.delays.split(","):
            far = entered.enter_context(delayed(port, float(delay)))
            names = [f"http://127.0.0.1:{far}/{path.name}" for path in paths]
            tasks[f"{delay} ms"] = partial(job, names, output, options.jobs)
            if options.gdal:
                tasks["rasterio, local"] = partial(decode, paths, 2)
                tasks[f"vsicurl, 2 threads, {delay} ms"] = partial(by_gdal, names, 2, {})
                tasks[f"vsicurl tuned, 2 threads, {delay} ms"] = partial(by_gdal, names, 2, TUNED)
                tasks[f"vsicurl tuned, 32 threads, {delay} ms"] = partial(by_gdal, names, 32, TUNED)
        times = measure.alternate(tasks, options.rounds)
    results = measure.compare(times, "local")
    case = f"{options.size}² x {options.dates}"
    measure.save("remote", {f"{case}/{name}": found for name, found in results.items()})
    rows = [
        (name, f"{r['seconds']:.2f}", f"{r['ratio']:.2f}", f"{r['ratio_min']:.2f}..{r['ratio_max']:.2f}")
        for name, r in results.items()
    ]
    print(measure.table(rows, (f"whole job, {case}", "seconds", "/ local", "spread")))
    write_table()


def _order(place: str) -> tuple[str, str, int]:
    """Sort by the case, then local before the delays, which ascend, and others."""
    case, name = place.split("/")
    found = re.fullmatch(r"(\d+) ms", name)
    return case, "" if found or name == "local" else name, int(found[1]) if found else -1


def write_table() -> None:
    """Put what was measured so far into the documentation."""
    kept = json.loads(measure.RESULTS.read_text())["remote"]
    lines = ["| job | each request held back | seconds | / local (spread) |", "| --- | --- | --- | --- |"]
    for place, row in sorted(kept.items(), key=lambda one: _order(one[0])):
        case, name = place.split("/")
        ratio = f"{row['ratio']:.2f} ({row['ratio_min']:.2f}..{row['ratio_max']:.2f})"
        lines.append(f"| {case} | {name} | {row['seconds']:.1f} | {ratio} |")
    measure.write_parts(PAGE, {"remote": "\n".join(lines)})


if __name__ == "__main__":
    main()
